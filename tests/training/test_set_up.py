"""Where weights come from: none, another model, a run of ours or the reference's; LVSM, scenes, dry runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rayzer
from rayzer.configs import load_config
from rayzer.errors import InputError
from rayzer.model.reference_names import to_reference
from rayzer.model.weights import build_model
from rayzer.training.checkpoints import name_of
from rayzer.training.dry_run import dry_run
from rayzer.training.loss import TrainingLoss
from rayzer.training.recipe import LossConfig
from rayzer.training.run_folder import RunConfig
from rayzer.training.set_up import build, needs_any_views
from rayzer.training.train import train

from .conftest import TINY

ADAMW = ["training.optimizer.kind=adamw", "training.steps=9"]


def done(config):
    assert train(config.model, config.training, "cpu") == 0
    return Path(config.training.output_dir)


def built(config, world):
    loss = TrainingLoss.from_config(LossConfig(perceptual=0))
    return build(RunConfig(config.model, config.training), world, loss)[0]


def checkpoint(folder, step):
    return folder / "checkpoints" / name_of(step)


def test_first_weights_depend_on_the_seed(tiny, alone):
    first, same, other = (built(tiny(f"training.seed={seed}"), alone) for seed in (1, 1, 2))
    weight = first.model.scene_encoder.scene_tokens
    assert weight.equal(same.model.scene_encoder.scene_tokens)
    assert not weight.equal(other.model.scene_encoder.scene_tokens)


def test_weights_from_a_folder(tiny, alone, tmp_path):
    model = build_model(replace(tiny().model, context_views=7))
    rayzer.save_model(model, tmp_path / "model")
    state = built(tiny(f"training.init_from={tmp_path / 'model'}"), alone)
    for name, value in model.state_dict().items():
        assert value.equal(state.model.state_dict()[name])
        if name in state.average:
            assert value.equal(state.average[name])
    with pytest.raises(InputError, match=r"of another model: model\.scene_layers differs"):
        built(tiny(f"training.init_from={tmp_path / 'model'}", "model.scene_layers=2"), alone)
    with pytest.raises(InputError, match="no such file or folder"):
        built(tiny(f"training.init_from={tmp_path / 'nothing'}"), alone)


def test_averaged_weights_of_a_run(tiny, alone):
    first = done(tiny(folder="first"))
    state = built(tiny(f"training.init_from={checkpoint(first, 6)}"), alone)
    average = load_file(checkpoint(first, 6) / "ema.safetensors")
    assert all(value.equal(state.model.state_dict()[name]) for name, value in average.items())
    assert state.step == 0


def test_continuing_a_run_under_another_configuration(tiny):
    first = done(tiny(folder="first"))
    second = done(tiny(f"training.continue_from={checkpoint(first, 6)}", "training.steps=8", folder="second"))
    steps = [json.loads(line)["step"] for line in (second / "metrics.jsonl").read_text().splitlines()]
    assert steps == [6, 7]
    with pytest.raises(InputError, match="not a whole checkpoint of a run"):
        done(tiny(f"training.continue_from={first}", folder="third"))
    with pytest.raises(InputError, match="state of another optimiser"):
        done(tiny(f"training.continue_from={checkpoint(first, 6)}", "training.optimizer.kind=adamw", folder="fourth"))


def test_continuing_an_interrupted_run_elsewhere_changes_nothing(tiny):
    whole = done(tiny("training.checkpoint_every=3", folder="whole"))
    moved = done(tiny(f"training.continue_from={checkpoint(whole, 3)}", folder="moved"))
    for name in ("model.safetensors", "ema.safetensors"):
        assert (checkpoint(whole, 6) / name).read_bytes() == (checkpoint(moved, 6) / name).read_bytes()


def reference_training_file(path, model, order, steps=5):
    """What the reference implementation saves, its optimiser in one order of groups."""
    parameters = list(model.parameters())
    groups = {
        "decayed first": [[p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]],
        "others first": [[p for p in parameters if p.ndim <= 1], [p for p in parameters if p.ndim > 1]],
        "one group": [parameters],
    }[order]
    optimizer = torch.optim.AdamW([{"params": group} for group in groups])
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    content = {
        "model": to_reference(model),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": {"last_epoch": steps + 2},
        "fwdbwd_pass_step": 4 * (steps + 2),
        "param_update_step": steps,
    }
    torch.save(content, path)
    return optimizer


@pytest.mark.parametrize("order", ["decayed first", "others first", "one group"])
def test_continuing_a_run_of_the_reference(tiny, alone, tmp_path, order):
    torch.manual_seed(3)
    model = build_model(tiny().model)
    theirs = reference_training_file(tmp_path / "theirs.pt", model, order)
    state = built(
        tiny(f"training.continue_from={tmp_path / 'theirs.pt'}", *ADAMW),
        alone,
    )
    assert (state.step, state.updates) == (7, 5)
    names = dict(model.named_parameters())
    for name, parameter in state.model.named_parameters():
        assert parameter.equal(names[name])
        assert state.average[name].equal(names[name])
        for kind, value in theirs.state[names[name]].items():
            assert value.equal(state.optimizer.parts[0].state[parameter][kind]), (name, kind)


def test_a_run_that_is_done_cannot_go_on(tiny):
    first = done(tiny(folder="first"))
    with pytest.raises(InputError, match=r"has done 6 steps already; set training\.steps higher"):
        done(tiny(f"training.continue_from={checkpoint(first, 6)}", folder="second"))


def test_what_cannot_be_continued(tiny, alone, tmp_path):
    model = build_model(tiny().model)
    torch.save({"model": to_reference(model)}, tmp_path / "weights.pt")
    source = f"training.continue_from={tmp_path / 'weights.pt'}"
    with pytest.raises(InputError, match="holds no optimiser and step"):
        built(tiny(source, "training.optimizer.kind=adamw"), alone)
    reference_training_file(tmp_path / "theirs.pt", model, "one group")
    with pytest.raises(InputError, match="its optimiser is AdamW"):
        built(tiny(f"training.continue_from={tmp_path / 'theirs.pt'}"), alone)
    content = torch.load(tmp_path / "theirs.pt", weights_only=True)
    content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3, 3)
    torch.save(content, tmp_path / "theirs.pt")
    with pytest.raises(InputError, match="the state of its optimiser does not fit"):
        built(
            tiny(
                f"training.continue_from={tmp_path / 'theirs.pt'}", "training.optimizer.kind=adamw", "training.steps=9"
            ),
            alone,
        )


LVSM = [
    "training.steps=3",
    "training.batch_size=2",
    "training.samples_at_once=1",
    "training.data.workers=0",
    "training.loss.perceptual=0",
    "training.views.start_distance=[5,20]",
    "training.views.end_distance=[5,20]",
    "training.log.pictures_every=2",
    "training.validation.every=3",
    "training.validation.samples=1",
    *(f"model.{key}" for key in ("image_height=16", "image_width=16", "patch_size=8", "width=32", "head_width=16")),
    *(f"model.{key}" for key in ("renderer_layers=1", "context_views=3", "target_views=2")),
]


@pytest.mark.parametrize("preset", ["lvsm_encoder_decoder", "lvsm_decoder_only"])
@pytest.mark.parametrize("source", ["rooms", "scenes"])
def test_lvsm_trains_with_given_cameras(tmp_path, preset, source, rooms_on_disk):
    where = "training.data.rooms=1" if source == "rooms" else f"training.data.scenes={rooms_on_disk}"
    encoder = ["model.encoder_layers=1", "model.scene_tokens=8"] if preset == "lvsm_encoder_decoder" else []
    words = [*LVSM, where, *encoder, f"training.validation.scenes={rooms_on_disk}"]
    folder = done(load_config(preset, [*words, f"training.output_dir={tmp_path}"]))
    assert rayzer.load_model(checkpoint(folder, 3)).config.context_views == 3
    scores = json.loads((folder / "validation.jsonl").read_text())
    assert set(scores) == {"step", "psnr"}
    assert {"samples-00000002.png", "cameras-00000002.png"} <= {p.name for p in (folder / "pictures").iterdir()}


def test_scenes_with_cameras_give_pose_figures(tiny, rooms_on_disk):
    scenes = [f"training.data.scenes={rooms_on_disk}", "training.data.rooms=0", "training.views.end_distance=[8,12]"]
    validation = [f"training.validation.scenes={rooms_on_disk}", "training.validation.every=6"]
    folder = done(tiny(*scenes, *validation, "training.validation.samples=3"))
    scores = json.loads((folder / "validation.jsonl").read_text())
    assert scores["step"] == 6
    assert 0 <= scores["rpa_15"] <= 1
    assert scores["rotation_error_deg"] > 0


def test_a_dry_run_writes_nothing(tiny):
    config = tiny()
    text = dry_run(config.model, config.training, "cpu")
    assert not Path(config.training.output_dir).exists()
    count = sum(p.numel() for p in build_model(config.model).parameters())
    assert f"parameters    {count / 1e6:.2f} M" in text
    assert "2 forward passes" in text
    assert "whole run     6 steps" in text
    small = tiny("model.image_height=8", "model.image_width=8", "training.loss.structural=0.1")
    with pytest.raises(InputError, match="8 pixels are too few"):
        dry_run(small.model, small.training, "cpu")


def test_command_line(run, tmp_path, capsys):
    words = ["train", "--config", "smoke", "--device", "cpu", *TINY, f"training.output_dir={tmp_path / 'run'}"]
    code, out, _ = run(*words)
    assert code == 0
    assert str(tmp_path / "run") in out
    assert run(*words)[0] == 0
    code, _, err = run(*words, "training.seed=5")
    assert code == 2
    assert "training.seed (was 0, now 5)" in err
    assert err.count("\n") == 1
    code, _, err = run("train", "--config", "smokey")
    assert code == 2
    assert "smoke" in err
    code, out, _ = run(*words, "--dry-run", "training.seed", "=", "5")
    assert code == 0
    assert "scenes/s" in out


def test_weights_that_are_absent_are_a_plain_error(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYZER_CACHE", str(tmp_path))
    code, _, err = run("train", "--config", "smoke", *TINY, "training.loss.perceptual=0.2")
    assert code == 2
    assert "imagenet-vgg-verydeep-19.mat" in err
    assert err.count("\n") == 1


def test_one_graph_for_all_numbers_of_views_is_of_any_view_models_only():
    """Other blocks attend over lengths that a graph must know."""
    for name, expected in (("smoke", False), ("anyview_rooms", True)):
        config = load_config(name, ["training.views.context_views=[2,5]"])
        with torch.device("meta"):
            assert needs_any_views(build_model(config.model), config.training.views) == expected
    config = load_config("anyview_rooms")
    with torch.device("meta"):
        assert not needs_any_views(build_model(config.model), config.training.views)

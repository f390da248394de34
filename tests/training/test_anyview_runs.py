"""Runs of an AnyViewRayZer: resumed ones equal uninterrupted ones, and every option takes effect at its step."""

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rayzer
from rayzer.configs import load_config
from rayzer.data.synthetic.writing import RoomsRequest, synthesize
from rayzer.errors import InputError
from rayzer.model.anyview import AnyViewConfig, AnyViewRayZer, ViewCameraEstimator
from rayzer.training import step as step_module
from rayzer.training import train as train_module
from rayzer.training.checkpoints import name_of
from rayzer.training.dry_run import dry_run
from rayzer.training.train import train

from .conftest import TINY

SMALL = [
    *(word for word in TINY if "scene_tokens" not in word),
    *(f"model.{key}" for key in ("head_width=16", "camera_layers=2", "scene_layers=2", "renderer_layers=1")),
    "model.target_views=2",
    "training.steps=4",
    "training.optimizer.warmup_steps=2",
    "training.cameras.true_until=1",
]


@pytest.fixture
def tiny_run(tmp_path):
    """The preset of procedural rooms made small, in a folder of its own; more overrides may be given."""

    def make(*overrides, folder="run"):
        return load_config("anyview_rooms", [*SMALL, f"training.output_dir={tmp_path / folder}", *overrides])

    return make


def run(config):
    return train(config.model, config.training, "cpu")


def folder_of(config):
    return Path(config.training.output_dir)


def metrics(config):
    return [json.loads(line) for line in (folder_of(config) / "metrics.jsonl").read_text().splitlines()]


def interrupt(monkeypatch, step):
    """Let a signal arrive while the given step is done."""
    real = train_module.train_step

    def stopping(trainer, state, *rest):
        if state.step == step:
            signal.raise_signal(signal.SIGTERM)
        return real(trainer, state, *rest)

    monkeypatch.setattr(train_module, "train_step", stopping)


ANY_NUMBER = ["training.views.context_views=[2,4]", "training.views.target_views=[1,3]"]
RELATIVE = ["model.order_code=relative", "training.cameras.any_canonical_after=2", *ANY_NUMBER]


@pytest.mark.parametrize("options", [[], RELATIVE], ids=["preset", "relative"])
def test_a_resumed_run_equals_an_uninterrupted_one(tiny_run, monkeypatch, options):
    whole, cut = tiny_run(*options, folder="whole"), tiny_run(*options, folder="cut")
    assert run(whole) == 0
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        assert run(cut) == 143
    assert run(cut) == 0
    for name in ("model.safetensors", "ema.safetensors"):
        first, second = (folder_of(config) / "checkpoints" / name_of(4) / name for config in (whole, cut))
        assert first.read_bytes() == second.read_bytes()
    assert (folder_of(whole) / "metrics.jsonl").read_bytes() == (folder_of(cut) / "metrics.jsonl").read_bytes()
    assert {"loss", "mse", "anchor", "points", "psnr", "focal_mean"} <= set(metrics(whole)[0])


def test_a_resumed_run_of_a_mixture_equals_an_uninterrupted_one(tiny_run, monkeypatch, rooms_on_disk):
    sources = f"[{{scenes: {rooms_on_disk}, weight: 3}}, {{anchored: true}}]"
    mix = ["training.data.rooms=0", f"training.data.mix={sources}", "training.views.start_distance=[8,12]"]
    mix += ["training.views.end_distance=[8,20]", "training.batch_size=4"]
    whole, cut = tiny_run(*mix, folder="whole"), tiny_run(*mix, folder="cut")
    assert run(whole) == 0
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        assert run(cut) == 143
    assert run(cut) == 0
    assert (folder_of(whole) / "metrics.jsonl").read_bytes() == (folder_of(cut) / "metrics.jsonl").read_bytes()
    assert all(line["anchor"] > 0 for line in metrics(whole))  # of one micro-batch in four


def test_a_checkpoint_is_a_source_of_models(tiny_run):
    config = tiny_run("training.steps=2")
    assert run(config) == 0
    model = rayzer.load_model(folder_of(config) / "checkpoints" / name_of(2))
    assert isinstance(model, AnyViewRayZer)
    assert isinstance(model.config, AnyViewConfig)
    assert model.config == config.model


def test_any_view_is_canonical_from_its_step_on(tiny_run, monkeypatch):
    """The world frame of the model and that of its anchor are of one view."""
    of_model, of_anchor, of_points = [], [], []
    forward, anchor, points = AnyViewRayZer.forward, step_module.camera_anchor, step_module.point_anchor

    def seen(self, images, split, canonical=None, **more):
        of_model.append(images.shape[1] // 2 if canonical is None else canonical)
        return forward(self, images, split, canonical=canonical, **more)

    monkeypatch.setattr(AnyViewRayZer, "forward", seen)
    monkeypatch.setattr(step_module, "camera_anchor", lambda *x: of_anchor.append(x[2]) or anchor(*x))
    monkeypatch.setattr(step_module, "point_anchor", lambda *x: of_points.append(x[3]) or points(*x))
    later = tiny_run("training.cameras.any_canonical_after=2", folder="later")
    never = tiny_run("training.cameras.any_canonical_after=null", folder="never")
    assert run(later) == 0
    assert of_model == of_anchor == of_points
    assert of_model[:4] == 4 * [2]  # two micro-batches in each of two steps, of four views
    assert len(of_model) == 8
    assert set(of_model[4:]) - {2}
    assert run(never) == 0
    assert of_model[8:] == 8 * [2]
    losses = [[line["loss"] for line in metrics(config)] for config in (later, never)]
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2] != losses[1][2]


def test_pictures_are_rendered_with_true_cameras_until_their_step(tiny_run, monkeypatch):
    given, forward = [], AnyViewRayZer.forward

    def seen(self, images, split, **more):
        given.append("given" in more)
        return forward(self, images, split, **more)

    monkeypatch.setattr(AnyViewRayZer, "forward", seen)
    assert run(tiny_run("training.cameras.true_until=3")) == 0
    assert given == 6 * [True] + 2 * [False]  # two micro-batches a step


@pytest.mark.parametrize("until", [3, 4])
def test_a_run_that_never_renders_with_predicted_cameras_is_warned_of(tiny_run, caplog, until):
    assert run(tiny_run(f"training.cameras.true_until={until}")) == 0
    assert ("training.cameras.true_until = 4: no picture" in caplog.text) == (until == 4)


def test_all_of_a_run_is_told_which_frames_its_views_are(tiny_run, monkeypatch):
    told, tokens = [], ViewCameraEstimator._all_tokens

    def seen(self, images, positions, canonical):
        told.append(positions)
        return tokens(self, images, positions, canonical)

    monkeypatch.setattr(ViewCameraEstimator, "_all_tokens", seen)
    known = ["model.order_code=relative", "training.cameras.drop_order=0"]
    assert run(tiny_run(*known, "training.validation.every=4", "training.validation.samples=1")) == 0
    assert len(told) > 8  # validation, too
    assert all((positions.diff(dim=1) > 0).all() for positions in told)
    assert not all((positions.diff(dim=1) == 1).all() for positions in told)


def test_the_loss_has_the_anchors_in_it(tiny_run):
    weights = ["training.cameras.anchor=2.5", "training.cameras.points=0.5", "training.loss.mse=1"]
    config = tiny_run("training.steps=1", *weights)
    assert run(config) == 0
    (line,) = metrics(config)
    assert line["loss"] == pytest.approx(line["mse"] + 2.5 * line["anchor"] + 0.5 * line["points"])


def test_points_are_told_of_patches_and_learned_from_depth(tiny_run):
    config = tiny_run("training.steps=60", "training.optimizer.warmup_steps=5", "training.data.rooms=1", *ALONE)
    assert run(config) == 0
    values = [line["points"] for line in metrics(config)]
    assert sum(values[-10:]) < 0.7 * sum(values[:10])
    model = rayzer.load_model(folder_of(config) / "checkpoints" / name_of(60))
    prediction = model(torch.rand(2, 4, 3, 16, 24), None)
    assert prediction.points.shape == (2, 4, 2, 3, 3)


def test_points_of_no_weight_are_not_learned_but_have_a_gradient(tiny_run, monkeypatch):
    """Which processes that exchange gradients wait for."""
    gradients, before_update = [], step_module.clip_gradients

    def seen(model, norm):
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
        return before_update(model, norm)

    monkeypatch.setattr(step_module, "clip_gradients", seen)
    config = tiny_run("training.cameras.points=0", "training.steps=1")
    assert run(config) == 0
    assert all("points" not in line for line in metrics(config))
    assert all(gradient is not None for gradient in gradients[0].values())
    heads = [gradient for name, gradient in gradients[0].items() if "point_head" in name]
    assert len(heads) == 3
    assert all((gradient == 0).all() for gradient in heads)


def packed_rooms(folder, cell, scenes=3):
    request = RoomsRequest(scenes=scenes, views=26, image_size=16, quality="fast", packed=True, depth_cell=cell)
    synthesize(folder, request, "cpu", 1, False)
    return folder


def test_packed_depth_is_trained_on_beside_scenes_without(tiny_run, rooms_on_disk, tmp_path):
    """And neither a damaged scene nor one without depth is in the way."""
    folder = packed_rooms(tmp_path / "rooms", 8)
    first = next((folder / "scenes").glob("*000000*"))
    first.write_bytes(first.read_bytes()[:500])
    sources = f"[{{scenes: {folder}, anchored: true}}, {{scenes: {rooms_on_disk}, anchored: true}}, {{}}]"
    mix = ["training.data.rooms=0", f"training.data.mix={sources}", "training.views.start_distance=[8,12]"]
    mix += ["training.views.end_distance=[8,20]", "training.batch_size=6", "training.data.allowed_bad_share=0.9"]
    config = tiny_run(*mix)
    assert run(config) == 0
    assert all(0 < line["points"] < 2 and line["anchor"] > 0 for line in metrics(config))


@pytest.mark.parametrize("first", ["true", "false"])
def test_weights_with_and_without_points_begin_a_run(tiny_run, first):
    before = tiny_run(f"model.patch_points={first}", "training.cameras.points=0", "training.steps=1", folder="before")
    assert run(before) == 0
    start, other = folder_of(before) / "checkpoints" / name_of(1), "true" if first == "false" else "false"
    still = ["training.steps=1", "training.optimizer.learning_rate=0", "training.cameras.points=0"]
    for wanted in (first, other):
        after = tiny_run(f"model.patch_points={wanted}", f"training.init_from={start}", *still, folder=wanted)
        assert run(after) == 0
        states = [
            rayzer.load_model(folder_of(each) / "checkpoints" / name_of(1)).state_dict() for each in (before, after)
        ]
        heads = [{name for name in state if "point_head" in name} for state in states]
        assert (heads[0] == heads[1]) == (wanted == first)
        assert states[0].keys() - heads[0] == states[1].keys() - heads[1]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0].keys() & states[1].keys())


def test_points_need_a_model_that_tells_them(tiny_run):
    with pytest.raises(InputError, match=r"the model tells none; set model\.patch_points=true"):
        run(tiny_run("model.patch_points=false"))


def test_points_need_depth(tiny_run, rooms_on_disk, tmp_path):
    mix = ["training.data.rooms=0", f"training.data.mix=[{{scenes: {rooms_on_disk}, anchored: true}}]"]
    with pytest.raises(InputError, match=r"no anchored scene that was looked at has depth; .* --depth-cell 8`"):
        run(tiny_run(*mix))
    mix[1] = f"training.data.mix=[{{scenes: {packed_rooms(tmp_path / 'coarse', 16)}, anchored: true}}]"
    with pytest.raises(InputError, match=r"known at 1x1 places of a picture, not at the centres of its 2x2 patches"):
        run(tiny_run(*mix))


ALONE = ["training.loss.mse=0", "training.loss.structural=0"]


def test_cameras_are_trained_alone_where_no_pictures_are_compared(tiny_run):
    config = tiny_run(*ALONE)
    assert run(config) == 0
    for line in metrics(config):
        assert "psnr" not in line
        assert line["loss"] == pytest.approx(line["anchor"] + line["points"])
    before = tiny_run("training.steps=1", "training.optimizer.learning_rate=0", folder="before")
    assert run(before) == 0
    first, last = (
        load_file(folder_of(each) / "checkpoints" / name_of(each.training.steps) / "model.safetensors")
        for each in (before, config)
    )
    changed = {name.split(".")[0] for name, value in last.items() if not torch.equal(value, first[name])}
    assert changed == {"camera_estimator"}


def test_cameras_that_were_trained_alone_begin_a_run(tiny_run):
    alone = tiny_run(*ALONE, folder="alone")
    assert run(alone) == 0
    start = folder_of(alone) / "checkpoints" / name_of(4)
    config = tiny_run(f"training.init_from={start}", "training.steps=1", "training.optimizer.learning_rate=0")
    assert run(config) == 0
    loaded = rayzer.load_model(folder_of(config) / "checkpoints" / name_of(1)).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in rayzer.load_model(start).state_dict().items())


def test_there_must_be_something_to_learn(tiny_run):
    with pytest.raises(InputError, match=r"training\.loss: give a term a weight"):
        tiny_run(*ALONE, *(f"training.cameras.{name}=0" for name in ("anchor", "points", "true_until")))


def test_only_cameras_of_an_any_view_model_are_trained_alone(tmp_path):
    words = [*TINY, *ALONE, "training.cameras.anchor=1", f"training.output_dir={tmp_path}"]
    with pytest.raises(InputError, match=r"only the cameras of an AnyViewRayZer"):
        run(load_config("smoke", words))


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        (
            "smoke",
            ["training.cameras.anchor=1", "training.cameras.true_until=2"],
            r"cameras\.true_until = 2: a model of kind rayzer takes no notice",
        ),
        ("smoke", ["training.cameras.colour=1"], r"cameras\.colour = 1\.0: a model of kind rayzer takes no notice"),
        (
            "smoke",
            ["training.cameras.anchor=1", "training.data.rooms=0", "training.data.scenes=."],
            "no source is anchored",
        ),
        (
            "smoke",
            ["training.cameras.anchor=1", "training.cameras.points=2"],
            r"cameras\.points = 2\.0: a model of kind rayzer takes no notice",
        ),
        ("smoke", ["training.cameras.points=2"], r"cameras\.points = 2: true points come with true cameras"),
        ("smoke", ["training.data.rooms=0", "training.data.mix={scenes: x}"], r"training\.data\.mix"),
        ("smoke", ["training.data.rooms=0", "training.data.format=x", "training.data.mix=[{scenes: x}]"], "leave out"),
    ],
)
def test_what_would_be_ignored_is_refused(tmp_path, preset, overrides, message):
    def begin(start):
        config = load_config(preset, [*TINY, *overrides, f"training.output_dir={tmp_path}"])
        start(config.model, config.training, "cpu")

    for start in (train, dry_run):
        with pytest.raises(InputError, match=message):
            begin(start)


def test_validation_of_cameras_alone_has_no_score_of_pictures(tiny_run):
    config = tiny_run(*ALONE, "training.validation.every=2", "training.validation.samples=1")
    assert run(config) == 0
    lines = [json.loads(line) for line in (folder_of(config) / "validation.jsonl").read_text().splitlines()]
    assert all("psnr" not in line and "rotation_error_deg" in line for line in lines)

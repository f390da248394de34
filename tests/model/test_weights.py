"""Our checkpoint folder: written, read back, and refused where it is damaged."""

import dataclasses
import hashlib
import json
import shutil
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

import rayzer
from rayzer import InputError
from rayzer.model.weights import fingerprint, initialise, kind_of, load_model, save_model, save_reference

MODELS = [
    *((kind, changes) for kind in ("rayzer", "lvsm", "lvsm_decoder_only") for changes in ({}, {"qk_norm": False})),
    ("rayzer", {"renderer": "one_way"}),
    ("anyview", {}),
    ("anyview", {"order_code": "relative", "relative_cameras": False}),
]


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def sum_up(folder):
    """Write SHA256SUMS anew, as someone who edits a checkpoint by hand would."""
    names = ["config.json", "model.safetensors"]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def message(function, *args):
    with pytest.raises(InputError) as error:
        function(*args)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A checkpoint folder to damage."""
    rayzer.save_model(tiny_model(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(("kind", "changes"), MODELS, ids=str)
def test_round_trip_is_exact(tiny_model, tmp_path, kind, changes):
    model = tiny_model(kind, **changes)
    rayzer.save_model(model, tmp_path / "a")
    read = rayzer.load_model(tmp_path / "a")
    assert same_weights(model, read)
    assert read.config == model.config
    assert fingerprint(read) == fingerprint(model)
    rayzer.save_model(read, tmp_path / "b")
    for name in ("config.json", "model.safetensors", "SHA256SUMS"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_options_survive(tiny_model, tmp_path):
    options = {"canonical": "first", "rotation": "quaternion", "position_code": "none", "block_init": "stack"}
    rayzer.save_model(tiny_model(**options), tmp_path / "a")
    config = rayzer.load_model(str(tmp_path / "a")).config
    assert {name: getattr(config, name) for name in options} == options


def test_loaded_models_are_ready_to_train_or_run(folder):
    model = rayzer.load_model(folder)
    assert not model.training
    assert all(p.requires_grad and p.is_leaf and p.dtype == torch.float32 for p in model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sum(p.square().sum() for p in model.parameters()).backward()
    optimizer.step()


def test_a_loaded_model_does_not_hold_on_to_its_file(folder):
    model = rayzer.load_model(folder)
    before = fingerprint(model)
    shutil.rmtree(folder)
    assert fingerprint(model) == before


def test_fingerprint_follows_weights_and_configuration(tiny_model):
    model = tiny_model()
    prints = {fingerprint(model), fingerprint(tiny_model(canonical="first"))}
    with torch.no_grad():
        model.camera_estimator.camera_token[0, 0] += 1
    assert len(prints | {fingerprint(model)}) == 3


def test_checksums_are_those_of_sha256sum(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    found = dict(reversed(line.split("  ", 1)) for line in lines)
    assert found == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("config.json", "model.safetensors")
    }


def test_config_json_is_complete_and_plain(folder):
    content = json.loads((folder / "config.json").read_text())
    model = rayzer.load_model(folder)
    assert content == {
        "format": "rayzer",
        "version": 1,
        "kind": "rayzer",
        "model": dataclasses.asdict(model.config),
    }


def test_files_can_be_read_by_others(folder):
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) & 0o444 == 0o444


def test_saving_over_something_needs_overwrite(tiny_model, folder):
    text = message(rayzer.save_model, tiny_model("lvsm"), folder)
    assert str(folder) in text
    assert kind_of(rayzer.load_model(folder).config) == "rayzer"
    rayzer.save_model(tiny_model("lvsm"), folder, overwrite=True)
    assert kind_of(rayzer.load_model(folder).config) == "lvsm"


def test_half_precision_weights_load_as_float32(folder):
    half = {name: value.bfloat16() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(half, folder / "model.safetensors")
    sum_up(folder)
    for name, value in rayzer.load_model(folder).state_dict().items():
        assert torch.equal(value, half[name].float())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "SHA256SUMS"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    text = message(rayzer.load_model, folder)
    assert str(folder) in text
    assert f"{name} missing" in text


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("position", [0, 8, -1])
def test_flipped_bit(folder, name, position):
    content = bytearray((folder / name).read_bytes())
    content[position] ^= 1
    (folder / name).write_bytes(content)
    text = message(rayzer.load_model, folder)
    assert str(folder / name) in text
    assert "SHA256SUMS" in text


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert str(path) in message(rayzer.load_model, folder)
    sum_up(folder)
    text = message(rayzer.load_model, folder)
    assert str(path) in text
    assert "damaged" in text


def change_weights(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    sum_up(folder)
    return message(rayzer.load_model, folder)


def test_missing_extra_and_misshaped_keys(folder):
    def change(state):
        del state["fusion.1.bias"]
        state["fusion.9.bias"] = torch.zeros(3)
        state["fusion.3.bias"] = torch.zeros(5)

    text = change_weights(folder, change)
    assert str(folder / "model.safetensors") in text
    assert "1 missing: fusion.1.bias" in text
    assert "1 unexpected: fusion.9.bias" in text
    assert "fusion.3.bias is [5] but should be [32]" in text


def test_integers_are_not_weights(folder):
    text = change_weights(folder, lambda state: state.update({"fusion.3.bias": torch.zeros(32, dtype=torch.int64)}))
    assert "not floating point: fusion.3.bias" in text


def test_long_lists_of_keys_are_cut(folder):
    text = change_weights(folder, lambda state: state.update({f"x{i}": torch.zeros(1) for i in range(30)}))
    assert "30 unexpected" in text
    assert "22 more" in text


def replaced(content, **changes):
    return {**content, "model": {**content["model"], **changes}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: {**c, "kind": "nerf"}, "kind 'nerf'"),
        (lambda c: {**c, "kind": ["rayzer"]}, "kind ['rayzer']"),
        (lambda c: {**c, "version": 2}, "version 2"),
        (lambda c: {k: v for k, v in c.items() if k != "kind"}, "'kind'"),
        (lambda c: {k: v for k, v in c.items() if k != "model"}, "'model'"),
        (lambda c: {**c, "model": 5}, "model: expected keys and values"),
        (lambda c: [c], "not a rayzer model configuration"),
        (lambda c: replaced(c, widht=64), 'model.widht: unknown key; did you mean "model.width"?'),
        (lambda c: replaced(c, width="wide"), "model.width = 'wide'"),
        (lambda c: replaced(c, width=3.5), "model.width = 3.5"),
        (lambda c: replaced(c, width=None), "model.width"),
        (lambda c: replaced(c, canonical="last"), "model.canonical = 'last'"),
        (lambda c: replaced(c, width=-8), "model.width = -8"),
        (lambda c: replaced(c, width=64), "is [32] but should be [64]"),
    ],
)
def test_wrong_config_json(folder, change, named):
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert "SHA256SUMS" in message(rayzer.load_model, folder)
    sum_up(folder)
    text = message(rayzer.load_model, folder)
    assert named in text
    assert str(folder) in text


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b"{}"])
def test_config_json_that_is_none(folder, content):
    (folder / "config.json").write_bytes(content)
    sum_up(folder)
    assert str(folder / "config.json") in message(rayzer.load_model, folder)


def test_a_given_configuration_must_agree(folder, tiny_config):
    assert rayzer.load_model(folder, tiny_config()).config == tiny_config()
    text = message(rayzer.load_model, folder, tiny_config(canonical="first", scene_tokens=7))
    assert "model.canonical, model.scene_tokens" in text
    assert str(folder) in text
    assert str(folder) in message(rayzer.load_model, folder, tiny_config("lvsm"))


def test_a_folder_that_is_no_checkpoint(tmp_path):
    text = message(rayzer.load_model, tmp_path)
    assert str(tmp_path) in text
    assert "config.json" in text


@pytest.mark.parametrize("name", ["nowhere", "./nowhere/model", "~/x", "/nowhere/m.pt", "a/b/c/d", "x" * 300, ""])
def test_a_source_that_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message(rayzer.load_model, name)


def test_weights_of_half_the_size_become_float32(folder):
    """A folder whose weights were rounded to bfloat16, as those are that come with the package."""
    weights = folder / "model.safetensors"
    rounded = {name: value.bfloat16() for name, value in load_file(weights).items()}
    save_file(rounded, weights)
    sum_up(folder)
    state = rayzer.load_model(folder).state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert all(torch.equal(state[name], value.float()) for name, value in rounded.items())


def test_what_the_reference_has_not_is_neither_read_nor_written(tiny_model, recordings_folder, tmp_path):
    for model in (tiny_model("anyview"), tiny_model("rayzer", renderer="one_way")):
        with pytest.raises(InputError, match=r"out\.pt: the reference has no such model"):
            save_reference(model, tmp_path / "out.pt")
    with pytest.raises(InputError, match=r"rayzer_tiny\.pt: a reference checkpoint holds no AnyViewRayZer"):
        load_model(recordings_folder / "rayzer_tiny.pt", "anyview_rooms")


def test_weights_of_another_kind_of_model_are_named(tiny_model, tmp_path):
    save_model(tiny_model("lvsm"), tmp_path / "lvsm")
    with pytest.raises(InputError, match="another kind of model, lvsm, not anyview"):
        initialise(tiny_model("anyview"), tmp_path / "lvsm")

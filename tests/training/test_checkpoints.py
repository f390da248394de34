"""Checkpoints: whole or absent, verified before use, damaged ones set aside, old ones removed."""

import json
import os
import random
import shutil

import pytest
import torch

from rayzer.configs import load_config
from rayzer.data.bad_data import BadData
from rayzer.errors import InputError, RunError
from rayzer.model.manifest import manifest_text, read_manifest
from rayzer.model.weights import build_model
from rayzer.training import checkpoints as module
from rayzer.training.checkpoints import Checkpoints, damage, name_of, steps_in
from rayzer.training.optim import Optimizer
from rayzer.training.run_folder import RunConfig
from rayzer.training.state import Best, TrainingState

from .conftest import TINY


def config():
    found = load_config("smoke", TINY)
    return RunConfig(found.model, found.training)


def state(seed=0, kind="muon"):
    torch.manual_seed(seed)
    found = config()
    model = build_model(found.model)
    optimizer = Optimizer(model, load_config("smoke", [*TINY, f"training.optimizer.kind={kind}"]).training.optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step(0.1)
    average = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    return TrainingState(model, optimizer, average, BadData(bad=3, seen=70), step=7, updates=5, best=Best(2, 21.5))


@pytest.fixture
def make(tmp_path, alone):
    """Checkpoints in a folder, and a list of what they report."""

    def build(keep_last=2, keep_every=0):
        events = []
        report = lambda event, **values: events.append((event, values))  # noqa: E731
        return Checkpoints(tmp_path / "checkpoints", alone, keep_last, keep_every, report), events

    return build


def save(checkpoints, *steps, seed=0):
    some = state(seed)
    for step in steps:
        some.step = step
        checkpoints.save(some, config(), {"machine": "here"})
    checkpoints.wait()


def test_everything_comes_back(make):
    checkpoints, events = make()
    before = state(1)
    checkpoints.save(before, config(), {"machine": "here"})
    checkpoints.finish(7)
    folder = checkpoints.newest()
    assert events == [("checkpoint", {"checkpoint": "step-00000007"})]
    after = state(2)
    after.restore_tensors(folder)
    after.restore_numbers(module.read_state(folder))
    assert after.numbers() == before.numbers()
    for mine, theirs in ((after.model.state_dict(), before.model.state_dict()), (after.average, before.average)):
        assert all(mine[name].equal(theirs[name]) for name in theirs)
    mine, theirs = dict(after.optimizer.tensors()), dict(before.optimizer.tensors())
    assert mine.keys() == theirs.keys()
    assert all(mine[name].equal(theirs[name]) for name in theirs)


def test_the_copy_is_of_the_moment_of_saving(make):
    checkpoints, _ = make()
    some = state()
    before = some.model.renderer.norm.weight.detach().clone()
    checkpoints.save(some, config(), {})
    some.model.renderer.norm.weight.data.fill_(7)
    checkpoints.wait()
    other = state(3)
    other.restore_tensors(checkpoints.newest())
    assert other.model.renderer.norm.weight.equal(before)


def test_model_file_depends_on_the_weights_only(make, tmp_path):
    checkpoints, _ = make()
    save(checkpoints, 1)
    first = (checkpoints.folder / name_of(1) / "model.safetensors").read_bytes()
    shutil.rmtree(checkpoints.folder)
    again, _ = make()
    save(again, 1)
    assert (again.folder / name_of(1) / "model.safetensors").read_bytes() == first
    told = json.loads((again.folder / name_of(1) / "environment.json").read_text())
    assert told["machine"] == "here"
    assert "time" in told


def damaged_in_some_way(folder, rng):
    """Damage one file of a checkpoint at random; what was done."""
    path = rng.choice(sorted(folder.iterdir()))
    data = bytearray(path.read_bytes())
    how = rng.choice(["flip", "truncate", "zeros", "missing"])
    at = rng.randrange(len(data))
    if how == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif how == "truncate":
        data = data[:at]
    elif how == "zeros":
        block = slice(at // 64 * 64, at // 64 * 64 + 64)
        fill = b"\0" if any(data[block]) else b"\1"
        data[block] = fill * len(data[block])
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data)
    return f"{how} {path.name}"


def test_two_hundred_damages_are_all_found(make):
    checkpoints, _ = make()
    save(checkpoints, 4)
    folder = checkpoints.folder / name_of(4)
    save(checkpoints, 8)
    whole = checkpoints.folder / name_of(8)
    kept = checkpoints.folder.parent / "kept"
    shutil.copytree(whole, kept)
    rng = random.Random(0)
    kinds = set()
    for _ in range(200):
        how = damaged_in_some_way(whole, rng)
        kinds.add(how)
        again, events = make()
        assert again.newest() == folder, how
        ((event, told),) = events
        assert (event, told["checkpoint"], told["kept_as"]) == (
            "damaged checkpoint",
            name_of(8),
            "damaged-step-00000008",
        )
        shutil.rmtree(checkpoints.folder / "damaged-step-00000008")
        shutil.copytree(kept, whole)
    assert len(kinds) > 20


def test_damaged_checkpoints_are_set_aside_under_names_of_their_own(make):
    checkpoints, _ = make()
    for _ in range(3):
        save(make()[0], 4, 8)
        (checkpoints.folder / name_of(8) / "state.json").unlink()
        assert checkpoints.newest().name == name_of(4)
    names = {entry.name for entry in checkpoints.folder.iterdir()}
    assert names == {name_of(4), *(f"damaged-step-00000008{end}" for end in ("", "-2", "-3"))}


def test_a_run_does_not_begin_again_by_accident(make):
    checkpoints, _ = make()
    assert checkpoints.newest() is None
    save(checkpoints, 4)
    (checkpoints.folder / name_of(4) / "manifest.json").write_text("{}")
    for _ in range(2):
        with pytest.raises(InputError, match="all checkpoints are damaged"):
            make()[0].newest()


def test_an_unfinished_save_is_no_checkpoint(make):
    checkpoints, _ = make()
    save(checkpoints, 4)
    shutil.copytree(checkpoints.folder / name_of(4), checkpoints.folder / "step-00000008.tmp")
    assert checkpoints.newest().name == name_of(4)
    save(make()[0], 8)
    assert checkpoints.newest().name == name_of(8)
    assert not (checkpoints.folder / "step-00000008.tmp").exists()


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "kept"), [(2, 0, [2, 9, 10]), (3, 0, [2, 8, 9, 10]), (2, 3, [2, 3, 6, 9, 10])]
)
def test_old_ones_are_removed(make, keep_last, keep_every, kept):
    checkpoints, _ = make(keep_last, keep_every)
    save(checkpoints, *range(1, 11))  # step 2 is the best
    assert sorted(steps_in(checkpoints.folder)) == kept


@pytest.mark.parametrize("when", ["write_tensors", "_write_text", "move_entry", "_to_disk"])
def test_a_disk_that_is_full_costs_one_checkpoint(make, monkeypatch, caplog, when):
    checkpoints, events = make()
    save(checkpoints, 4)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, when, full)
        save(checkpoints, 8)
        assert (
            "step-00000008: could not be written (No space left on device); the checkpoints before stay" in caplog.text
        )
        assert events[-1][0] == "checkpoint failed"
        with pytest.raises(RunError, match="step-00000008: could not be written"):
            checkpoints.finish(8)
    assert [entry.name for entry in checkpoints.folder.iterdir()] == [name_of(4)]
    save(checkpoints, 12)
    assert checkpoints.newest().name == name_of(12)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(make):
    checkpoints, _ = make()
    save(checkpoints, 4)
    checkpoints.folder.chmod(0o500)
    save(checkpoints, 8)
    checkpoints.folder.chmod(0o700)
    assert checkpoints.newest().name == name_of(4)


def test_manifest_tells_every_change(tmp_path):
    text = manifest_text({"a": "0" * 64, "b": "1" * 64})
    (tmp_path / "manifest.json").write_text(text)
    assert read_manifest(tmp_path) == {"a": "0" * 64, "b": "1" * 64}
    for at in range(len(text)):
        changed = bytearray(text.encode())
        changed[at] ^= 1
        (tmp_path / "manifest.json").write_bytes(changed)
        with pytest.raises(InputError, match=r"manifest\.json: missing or damaged"):
            read_manifest(tmp_path)
    assert "manifest.json" in damage(tmp_path)


def test_weights_of_another_model_are_refused(make):
    checkpoints, _ = make()
    save(checkpoints, 4)
    other = load_config("smoke", [*TINY, "model.scene_layers=2"])
    model = build_model(other.model)
    stranger = TrainingState(model, Optimizer(model, other.training.optimizer), None, BadData())
    with pytest.raises(InputError, match="does not fit this model"):
        stranger.restore_tensors(checkpoints.newest())


def test_what_cannot_be_read_is_not_taken_for_damaged(make, monkeypatch):
    checkpoints, _ = make()
    save(checkpoints, 4, 8)

    def failing(path):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(module, "file_sha256", failing)
        with pytest.raises(InputError, match=r"step-00000008: cannot be read \(Input/output error\); mend that"):
            make()[0].newest()
    assert make()[0].newest().name == name_of(8)


def test_old_checkpoints_that_cannot_be_removed_are_told(make, monkeypatch, caplog):
    checkpoints, events = make()
    save(checkpoints, 4, 8)

    def refused(path):
        if not path.name.endswith(".tmp"):
            raise OSError(13, "Permission denied")

    monkeypatch.setattr(module, "remove_entry", refused)
    save(checkpoints, 12)
    checkpoints.finish(12)
    assert "old checkpoints could not be removed (Permission denied)" in caplog.text
    assert [event for event, _ in events] == ["checkpoint"] * 3


def test_the_best_on_the_disk_is_kept_when_a_better_one_cannot_be_written(make, monkeypatch):
    checkpoints, _ = make()
    some = state()

    def save_as_best(step, best):
        some.step, some.best = step, Best(best, 20.0)
        checkpoints.save(some, config(), {})
        checkpoints.wait()

    save_as_best(1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "move_entry", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        save_as_best(2, 2)
    for step in (3, 4, 5):
        save_as_best(step, 2)
    assert sorted(steps_in(checkpoints.folder)) == [1, 4, 5]


def test_a_renamed_checkpoint_is_set_aside(make):
    checkpoints, _ = make()
    save(checkpoints, 4)
    shutil.copytree(checkpoints.folder / name_of(4), checkpoints.folder / name_of(99))
    again, events = make()
    assert again.newest().name == name_of(4)
    assert "was renamed: it holds step 4" in events[0][1]["problem"]


def test_what_is_no_checkpoint_by_name_is_left_alone(make):
    checkpoints, _ = make()
    save(checkpoints, 4)
    for name in ("step-0000000099", "step-4", "step-00000008.old"):
        (checkpoints.folder / name).mkdir()
    assert make()[0].newest().name == name_of(4)


def test_leftovers_go_and_a_folder_that_cannot_be_written_is_refused(make):
    checkpoints, _ = make()
    save(checkpoints, 4)
    (checkpoints.folder / "step-00000005.tmp").mkdir()
    checkpoints.check_writable()
    assert [entry.name for entry in checkpoints.folder.iterdir()] == [name_of(4)]
    shutil.rmtree(checkpoints.folder)
    checkpoints.folder.write_text("")
    with pytest.raises(InputError, match="checkpoints: cannot write there"):
        checkpoints.check_writable()

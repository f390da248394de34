"""The checkpoint that comes with the package: used where it is, said what it is good for, and built into wheels."""

import shutil
from pathlib import Path

import pytest
import torch

from rayzer.model.weights import load_model
from rayzer.prediction import embedded
from rayzer.prediction.embedded import CAUTION, shows_rooms

ROOT = Path(__file__).parents[2]
FILES = ("config.json", "model.safetensors", "SHA256SUMS", "README.md")
CAUTIOUS = "trained on procedural rooms of 128x128 pixels and nothing else"
MOST_BYTES = 32 * 2**20


def test_photos_without_a_checkpoint(run, make_photos, tmp_path, any_views, embed):
    embed(any_views)
    code, _, err = run("predict", make_photos(4), "-o", tmp_path / "out", "--frames", 2)
    assert code == 0, err
    assert f"note: {CAUTION}" in err.splitlines()
    page = (tmp_path / "out/index.html").read_text()
    assert CAUTIOUS in page
    assert embedded.NAME in page
    code, _, err = run("predict", tmp_path / "out/scene.safetensors", "-o", tmp_path / "again", "--frames", 2)
    assert code == 0, err
    assert (
        "trained on procedural rooms of 128x128 pixels and nothing else" in (tmp_path / "again/index.html").read_text()
    )


def test_another_checkpoint_is_not_cautioned_against(run, make_photos, tmp_path, any_views, embed):
    embed(any_views)
    code, _, err = run("predict", make_photos(4), "-o", tmp_path / "out", "--checkpoint", any_views, "--frames", 2)
    assert code == 0
    assert CAUTION not in err


def test_an_empty_name_does_not_stand_for_it(run, make_photos, tmp_path, any_views, embed):
    """Such as that of a variable that was never set."""
    embed(any_views)
    assert run("predict", make_photos(4), "-o", tmp_path / "out", "--checkpoint", "")[0] == 2


@pytest.mark.parametrize("packed", [[], ["--packed"]])
def test_rooms_are_what_it_has_seen(run, tmp_path, any_views, embed, packed):
    embed(any_views)
    words = ["--scenes", 1, "--views", 8, "--image-size", 32, "--quality", "fast", "--workers", 1]
    assert run("data", "synthesize", tmp_path / "rooms", *words, *packed)[0] == 0
    room = tmp_path / ("rooms/scenes/room-000000.safetensors" if packed else "rooms/room-000000")
    code, _, err = run("predict", room, "-o", tmp_path / "out", "--frames", 2)
    assert code == 0, err
    assert CAUTION not in err
    assert "Cameras against the known ones" in (tmp_path / "out/index.html").read_text()


def test_photos_are_not_rooms(make_photos, tmp_path):
    (tmp_path / "rooms.json").write_text("[]")
    assert not shows_rooms(make_photos(2))


def test_a_damaged_one_is_named(run, make_photos, tmp_path, any_views, embed):
    shutil.copytree(any_views, tmp_path / "cut")
    weights = tmp_path / "cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    embed(tmp_path / "cut")
    code, _, err = run("predict", make_photos(3), "-o", tmp_path / "out")
    assert code == 2
    assert "cut/model.safetensors: does not match SHA256SUMS" in err


def test_wheels_and_source_archives_hold_it(tmp_path):
    """Under the project's own build settings and what its git ignores."""
    pytest.importorskip("hatchling")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    for name in ("pyproject.toml", ".gitignore", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    folder = tmp_path / "src/rayzer/assets/anyview-rooms"
    folder.mkdir(parents=True)
    for path in (tmp_path / "src/rayzer/__init__.py", *(folder / name for name in FILES)):
        path.touch()
    for builder, start in ((WheelBuilder, "rayzer"), (SdistBuilder, "src/rayzer")):
        listed = {file.distribution_path for file in builder(str(tmp_path)).recurse_included_files()}
        assert {f"{start}/assets/anyview-rooms/{name}" for name in FILES} <= listed


def test_the_one_that_is_there():
    folder = embedded.embedded_checkpoint()
    if folder is None:
        pytest.skip("this version comes without weights")
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert (folder / "model.safetensors").stat().st_size <= MOST_BYTES
    model = load_model(folder)
    assert model.takes_any_views
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in model.state_dict().values())

"""The demo on smaller rooms: its files, its scores, and where it puts them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rayzer.data.room_samples import TRAINING_SEEDS, VALIDATION_SEEDS
from rayzer.data.synthetic.writing import MAX_SEED
from rayzer.model.weights import fingerprint, load_model
from rayzer.prediction import demo
from rayzer.prediction.embedded import CAUTION
from rayzer.prediction.encoded import load_scene


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path, embed):
    """Rooms of 32 pixels and a model to match, so that a demo takes seconds; no weights come with the package."""
    embed(None)
    model = replace(demo.RANDOM_MODEL, image_height=32, image_width=32, context_views=3, target_views=2, width=64)
    monkeypatch.setattr(demo, "RANDOM_MODEL", model)
    monkeypatch.chdir(tmp_path)


def test_demo(run, tmp_path):
    code, out, err = run("demo")
    assert code == 0, err
    folder = tmp_path / "rayzer-demo-1"
    assert str(Path("rayzer-demo-1/index.html")) in out
    assert str(Path("rayzer-demo-1/room-2/index.html")) in out
    for room in (folder, folder / "room-2"):
        assert (room / "flythrough.mp4").is_file()
        assert "weights are random" in (room / "index.html").read_text()
        assert load_scene(room / "scene.safetensors").true_cameras is not None
    results = json.loads((folder / "results.json").read_text())
    assert results["summary"]["scenes"] == 2
    assert results["summary"]["lpips"] is None
    assert [scene["name"] for scene in results["scenes"]] == ["room-1", "room-2"]
    views = results["scenes"][0]["views"]
    assert [view["index"] for view in views] == [1, 3]
    assert results["scenes"][0]["psnr"] == pytest.approx(sum(view["psnr"] for view in views) / 2)
    # Copying the nearest photo is a fair guess, noise is not.
    assert results["controls"]["copy_nearest"]["psnr"] > results["summary"]["psnr"] + 1


def test_with_the_embedded_checkpoint(run, tmp_path, any_views, embed):
    embed(any_views)
    code, out, err = run("demo", "-o", tmp_path / "out")
    assert code == 0, err
    assert "random" not in out
    assert re.search(r"Held-out views: \d+\.\d dB PSNR; copies of the nearest photo: \d+\.\d dB", out)
    assert re.search(r"Cameras against the true ones: \d+ % of the pairs", out)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["checkpoint"]["sha256"] == fingerprint(load_model(any_views))
    page = (tmp_path / "out/index.html").read_text()
    assert "weights are random" not in page
    assert "AnyViewRayZer" in page
    assert "Cameras against the known ones" in page
    assert CAUTION not in page


def test_on_one_thread(run, monkeypatch):
    """More would wait for each other wherever something else is running."""
    seen, original, before = [], demo.predict_photos, torch.get_num_threads()
    monkeypatch.setattr(demo, "ROOMS", {"room-1": 1})
    monkeypatch.setattr(
        demo, "predict_photos", lambda *given, **more: seen.append(torch.get_num_threads()) or original(*given, **more)
    )
    torch.set_num_threads(2)
    try:
        assert run("demo")[0] == 0
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_no_training_shows_the_rooms_of_the_demo():
    """Nor do validation, rooms that anybody synthesizes (pairs of seed s are of rooms 2s and 2s + 1), or rooms-v1."""
    for seeds in (TRAINING_SEEDS, VALIDATION_SEEDS, range(2 * MAX_SEED), range(4 * MAX_SEED, 16 * MAX_SEED)):
        assert not any(seed in seeds for seed in demo.ROOMS.values())


def test_the_next_free_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "ROOMS", {"room-1": 1})
    for _ in range(2):
        assert run("demo")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rayzer-demo-1", "rayzer-demo-2"]
    code, _, err = run("demo", "-o", tmp_path / "rayzer-demo-1")
    assert code == 2
    assert "--overwrite" in err
    assert run("demo", "-o", tmp_path / "rayzer-demo-1", "--overwrite")[0] == 0

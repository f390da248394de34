"""The demo on smaller rooms: its files, its scores, and where it puts them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rayzer.prediction import demo
from rayzer.prediction.encoded import load_scene


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Rooms of 32 pixels and a model to match, so that a demo takes seconds."""
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


def test_the_next_free_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "ROOMS", {"room-1": 1})
    for _ in range(2):
        assert run("demo")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rayzer-demo-1", "rayzer-demo-2"]
    code, _, err = run("demo", "-o", tmp_path / "rayzer-demo-1")
    assert code == 2
    assert "--overwrite" in err
    assert run("demo", "-o", tmp_path / "rayzer-demo-1", "--overwrite")[0] == 0

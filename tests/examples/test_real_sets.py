"""The real sets: which views are used fits the pictures, and the cameras of `room` are what we take them for."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rayzer import save_model
from rayzer.configs import load_config
from rayzer.data.formats import read_scene
from rayzer.data.view_index import read_view_index
from rayzer.model.weights import build_model

SETS = Path(__file__).parents[2] / "examples/real_sets"
VIEWS = SETS / "views.json"
COPIED = {"fox": 15.18, "room": 16.69, "vrnerf_apartment": 17.83}  # in dB: copy the nearest
SLOTS = [2, 4, 7, 9]  # of the targets among 12 views, as in rooms-v1


@pytest.fixture(scope="module")
def room():
    return runpy.run_path(str(SETS / "room.py"))


def test_views_are_those_of_rooms_v1():
    for name in ("fox", "vrnerf_apartment"):
        entry = json.loads(VIEWS.read_text())[name]
        views = sorted(entry["context"] + entry["target"])
        assert views == list(range(views[0], views[0] + 12))
        assert [views.index(target) for target in entry["target"]] == SLOTS


def seen_from(depth, camera, other, size, half):
    """Where pixels [h, w] of known depth along the axis lie in another view, and how deep there."""
    (pose, lens), (other_pose, other_lens), (height, width) = camera, other, size
    v, u = np.mgrid[:height, :width] + half
    rays = np.stack([(u - lens[2]) / lens[0], (v - lens[3]) / lens[1], np.ones(size)], -1)
    world = (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
    x, y, z = np.moveaxis((world - other_pose[:3, 3]) @ other_pose[:3, :3], -1, 0)
    z = np.where((depth > 0) & (z > 0), z, np.nan)
    columns, rows = x / z * other_lens[0] + other_lens[2] - half, y / z * other_lens[1] + other_lens[3] - half
    return columns, rows, z


def agreement(found, depth):
    """Median relative difference between depths carried over and those found there."""
    columns, rows, z = found
    inside = (columns >= 0) & (columns <= depth.shape[1] - 1) & (rows >= 0) & (rows <= depth.shape[0] - 1)
    there = depth[rows[inside].round().astype(int), columns[inside].round().astype(int)]
    return np.median(np.abs(there - z[inside]) / z[inside])


def test_depth_of_room_agrees_between_views(real_scene, room):
    """Camera to world, OpenCV axes, depth along the axis: 0.2 % apart. World to camera, for one, is 29 % off."""
    folder = real_scene("room")
    depths = np.load(folder / "condition.npz")["depths"]
    poses, lenses = room["read_cameras"](folder / "condition.npz")

    def between(a, b, poses=poses):
        cameras = (poses[a], lenses[a]), (poses[b], lenses[b])
        return agreement(seen_from(depths[a], *cameras, depths[a].shape, 0.5), depths[b])

    assert max(between(0, 1), between(1, 0), between(0, 2), between(2, 1)) < 0.005
    assert between(0, 1, np.linalg.inv(poses)) > 0.1
    assert between(0, 1, poses @ np.diag([1, -1, -1, 1])) > 0.1


def test_room_becomes_a_scene(real_scene, room, tmp_path):
    room["main"](real_scene("room"), tmp_path / "room")
    scene = read_scene(tmp_path / "room")
    assert (scene.name, len(scene)) == ("room", 8)
    width, height = scene.frames[0].width_px, scene.frames[0].height_px
    assert scene.frames[3].fxfycxcy_px[2:] == (width / 2, height / 2)
    assert read_view_index(VIEWS).split_of(scene) is not None


def test_sets_are_evaluated(real_scene, room, run, tmp_path):
    """The commands of the guide, with a tiny model; the score of copying is what it is."""
    photos, frames, video = (real_scene(name) for name in ("fox", "room", "vrnerf_apartment.mp4"))
    real = tmp_path / "real"
    assert run("data", "convert", photos, real / "fox")[0] == 0
    assert run("data", "convert", video, real / "apartment", "--fps", 1)[0] == 0
    room["main"](frames, real / "room")
    scenes = [real / name for name in ("fox", "room", "apartment")]
    assert run("data", "index", *scenes, "--no-poses", "-o", real / "scenes.txt")[0] == 0
    torch.manual_seed(0)
    layers = [f"model.{part}_layers=1" for part in ("camera", "scene", "renderer")]
    save_model(build_model(load_config("anyview_rooms", ["model.width=64", *layers]).model), tmp_path / "checkpoint")
    words = ["--checkpoint", tmp_path / "checkpoint", "--scenes", real / "scenes.txt", "--view-index", VIEWS]
    assert run("evaluate", *words, "-o", tmp_path / "out", "evaluation.fly_throughs=0", "--device", "cpu")[0] == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    copied = {scene["name"]: scene["controls"]["copy_nearest"]["psnr"] for scene in results["scenes"]}
    assert copied == pytest.approx(COPIED, abs=0.05)
    assert results["poses"]["scenes"] == 2


@pytest.mark.parametrize("content", [None, b"no archive", {"poses": np.zeros((2, 4, 4))}, "shape"])
def test_cameras_that_cannot_be_read_are_named(room, tmp_path, content):
    file = tmp_path / "condition.npz"
    if content == "shape":
        content = {"poses": np.zeros((2, 3, 4)), "intrinsics": np.zeros((2, 3, 3))}
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        np.savez(file, **content)
    with pytest.raises(ValueError, match=r"condition\.npz: "):
        room["read_cameras"](file)


def test_missing_picture_is_named(room, tmp_path):
    np.savez(tmp_path / "condition.npz", poses=np.stack([np.eye(4)] * 2), intrinsics=np.stack([np.eye(3)] * 2))
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match=r"1\.png"):
        room["main"](tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()

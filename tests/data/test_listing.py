"""Scene lists hold every usable scene, and nothing else."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from rayzer.data.formats import find_scenes, read_scene
from rayzer.data.images import Preprocessing
from rayzer.data.listing import Wanted, list_scenes
from rayzer.data.packing import PackRequest, pack
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.rayzer_json import write_rayzer_json
from rayzer.errors import InputError


def make(folder, count=3, cameras=True, pose=None):
    (folder / "images").mkdir(parents=True)
    frames = []
    for number in range(count):
        path = folder / f"images/{number}.png"
        Image.new("RGB", (8, 6), (number, 0, 0)).save(path)
        camera = {"fxfycxcy_px": (8, 8, 4, 3), "world_from_camera": np.eye(4)} if cameras else {}
        frames.append(Frame(path.name, path, 8, 6, **camera))
    write_rayzer_json(Scene(folder.name, tuple(frames), folder), folder)


@pytest.fixture
def data(tmp_path):
    make(tmp_path / "data/good")
    make(tmp_path / "data/short", 2)
    make(tmp_path / "data/unposed", cameras=False)
    make(tmp_path / "data/mirrored")
    file = tmp_path / "data/mirrored/opencv_cameras.json"
    content = json.loads(file.read_text())
    content["frames"][1]["w2c"] = np.diag([-1.0, 1, 1, 1]).tolist()
    file.write_text(json.dumps(content))
    make(tmp_path / "data/holes")
    (tmp_path / "data/holes/images/1.png").unlink()
    (tmp_path / "data/photos/images").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (8, 6)).save(tmp_path / f"data/photos/images/{number}.png")
    (tmp_path / "data/clip.mp4").write_bytes(b"any")
    return tmp_path / "data"


def listed(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_valid_cameras_are_asked_for(data, tmp_path, run):
    code, out, err = run("data", "index", data, "-o", tmp_path / "scenes.txt")
    assert code == 0
    assert listed(tmp_path / "scenes.txt") == [f"data/{n}/opencv_cameras.json" for n in ("good", "holes", "short")]
    assert "3 of 7 scenes, 7 pictures" in out
    complaints = [line for line in err.splitlines() if ": " in line and str(data) in line]
    assert [line.split(": ")[0] for line in complaints] == [
        *("videos", "cannot be read", "no cameras", "no cameras", "note"),
    ]
    assert "holes: 1 picture missing" in complaints[4]
    assert "frame 1" in complaints[1]
    assert [ref.path.parent.name for ref in find_scenes(tmp_path / "scenes.txt")] == ["good", "holes", "short"]


def test_pictures_suffice(data, tmp_path, run):
    code, out, _ = run("data", "index", data, "--no-poses", "--min-frames", 3, "-o", tmp_path / "l/scenes.txt")
    assert code == 0
    names = ("good/opencv_cameras.json", "mirrored/opencv_cameras.json", "photos", "unposed/opencv_cameras.json")
    assert listed(tmp_path / "l/scenes.txt") == [str(data / name) for name in names]  # not below the list's folder
    assert "4 of 7 scenes, 12 pictures" in out


def test_several_places_and_each_scene_once(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (data / "link").symlink_to(data / "good")
    list_scenes([data / "good", data / "unposed", data / "link", data], tmp_path / "scenes.txt", Wanted(poses=False))
    lines = listed(tmp_path / "scenes.txt")
    assert lines[:2] == ["data/good/opencv_cameras.json", "data/unposed/opencv_cameras.json"]
    assert len(lines) == 6


def test_a_list_and_its_folder_name_the_same_scenes(data, tmp_path):
    list_scenes([data / "good", data / "short"], tmp_path / "first.txt")
    (tmp_path / "folders.txt").write_text("data/good\ndata/short\n")
    for given in (["first.txt", "data"], ["folders.txt", "first.txt"], ["data", "folders.txt"]):
        list_scenes([tmp_path / name for name in given], tmp_path / "second.txt", overwrite=True)
        lines = listed(tmp_path / "second.txt")
        assert len(set(lines)) == len(lines)
        assert {"data/good/opencv_cameras.json", "data/short/opencv_cameras.json"} <= set(lines)


def test_packed_scenes(data, tmp_path):
    pack(data / "good", tmp_path / "packed", PackRequest(Preprocessing(8, 8)))
    list_scenes([tmp_path / "packed"], tmp_path / "packed/mine.txt")
    assert listed(tmp_path / "packed/mine.txt") == ["scenes/good.safetensors"]


@pytest.mark.parametrize("name", ["#1", "a#b", "größe ß", "a b"])
def test_odd_names(tmp_path, name):
    make(tmp_path / name)
    list_scenes([tmp_path], tmp_path / "scenes.txt")
    (ref,) = find_scenes(tmp_path / "scenes.txt")
    assert read_scene(ref).name == name


def test_names_that_no_list_can_hold(tmp_path):
    make(tmp_path / "a\nb")
    make(tmp_path / "good")
    assert [bool(scene.kind) for scene in list_scenes([tmp_path], tmp_path / "scenes.txt")] == [True, False]


def test_nothing_is_usable(data, tmp_path, run):
    code, out, err = run("data", "index", data / "unposed", data / "photos", "-o", tmp_path / "scenes.txt")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "--no-poses" in line
    assert not (tmp_path / "scenes.txt").exists()
    assert run("data", "index", tmp_path / "nothing", "-o", tmp_path / "scenes.txt")[0] == 2


def test_a_folder_is_no_name_for_a_list(data, run):
    code, _, err = run("data", "index", data, "-o", data, "--overwrite")
    assert code == 2
    assert f"{data}: is a folder" in err


def test_an_earlier_list_is_kept(data, tmp_path, run):
    (tmp_path / "scenes.txt").write_text("mine")
    assert run("data", "index", data, "-o", tmp_path / "scenes.txt")[0] == 2
    assert listed(tmp_path / "scenes.txt") == ["mine"]
    assert run("data", "index", data, "-o", tmp_path / "scenes.txt", "--overwrite")[0] == 0
    assert len(listed(tmp_path / "scenes.txt")) == 3


def test_pictures_outside(data, tmp_path, run):
    shutil.move(data / "good/images/0.png", data / "0.png")
    file = data / "good/opencv_cameras.json"
    file.write_text(file.read_text().replace("images/0.png", "../0.png"))
    assert run("data", "index", data / "good", "-o", tmp_path / "scenes.txt")[0] == 2
    assert run("data", "index", data / "good", "-o", tmp_path / "scenes.txt", "--allow-outside")[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_list_that_cannot_be_written(data, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(InputError, match="cannot be written"):
        list_scenes([data], tmp_path / "locked/scenes.txt")

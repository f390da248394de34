import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rayzer.data.sources.lvsm_json import LvsmJson, read_lvsm_json
from rayzer.data.sources.source import ReadOptions
from rayzer.errors import InputError
from rayzer.geometry.rotations import rotation_from_quaternion

# Two cameras of a 40 x 30 picture: one turned by 90 degrees about z and moved, one of 3-4-5 entries.
TYPED = """{
  "scene_name": "a clip",
  "frames": [
    {"image_path": "./images/KEY/00000.png", "fxfycxcy": [50.0, 51, 20.5, 15.25],
     "w2c": [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]},
    {"image_path": "./images/KEY/00001.png", "fxfycxcy": [60.0, 61, 19.5, 14.75],
     "w2c": [[0.6, 0, 0.8, -0.5], [0, 1, 0, 0.25], [-0.8, 0, 0.6, 2], [0, 0, 0, 1]]}
  ]
}"""


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "train"
    (root / "metadata").mkdir(parents=True)
    pictures(root / "images" / "KEY")
    return root


def pictures(folder, count=2, size=(40, 30)):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size).save(folder / f"{number:05d}.png")


def write(root, text=TYPED, key="KEY"):
    path = root / "metadata" / f"{key}.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


def write_paths(root, *paths):
    return write(root, {"frames": [{"image_path": str(path)} for path in paths]})


def refused(path, *words, **options):
    with pytest.raises(InputError) as caught:
        read_lvsm_json(path, ReadOptions(**options))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


def test_reads_a_file_typed_by_hand(root, seen_at):
    scene = read_lvsm_json(write(root))
    assert scene.name == "a clip"
    assert [frame.name for frame in scene.frames] == ["00000.png", "00001.png"]
    assert [frame.image for frame in scene.frames] == [root / f"images/KEY/0000{number}.png" for number in (0, 1)]
    assert (scene.frames[1].width_px, scene.frames[1].height_px) == (40, 30)
    point = (0.3, -0.2, 4.0)
    for frame, entry in zip(scene.frames, json.loads(TYPED)["frames"], strict=True):
        x, y, z = (sum(a * b for a, b in zip(row, (*point, 1), strict=True)) for row in entry["w2c"][:3])
        fx, fy, cx, cy = entry["fxfycxcy"]
        np.testing.assert_allclose(seen_at(frame, point), [fx * x / z + cx, fy * y / z + cy], atol=1e-9)


def test_the_scene_is_called_as_its_file_unless_it_says_otherwise(root):
    assert read_lvsm_json(write_paths(root, "images/KEY/00000.png")).name == "KEY"


unit = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda wxyz: math.hypot(*wxyz) > 0.1)


@settings(deadline=None, max_examples=30)
@given(unit, st.tuples(*[st.floats(-100, 100)] * 3), st.tuples(*[st.floats(1, 1e4)] * 4))
def test_cameras_come_back(tmp_path_factory, wxyz, translation, fxfycxcy):
    root = tmp_path_factory.mktemp("set")
    (root / "metadata").mkdir()
    Image.new("RGB", (4, 3)).save(root / "0.png")
    w2c = np.eye(4)
    w2c[:3, :3] = rotation_from_quaternion(torch.tensor(wxyz, dtype=torch.float64))
    w2c[:3, 3] = translation
    entry = {"image_path": "0.png", "fxfycxcy": list(fxfycxcy), "w2c": w2c.tolist()}
    (frame,) = read_lvsm_json(write(root, {"frames": [entry]})).frames
    np.testing.assert_allclose(frame.world_from_camera @ w2c, np.eye(4), atol=1e-9)
    assert frame.fxfycxcy_px == tuple(fxfycxcy)


# ---- where pictures lie


def test_relative_to_the_root_before_the_file_before_the_working_directory(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    places = [root / "p" / "0.png", root / "metadata" / "p" / "0.png", tmp_path / "p" / "0.png"]
    for width, place in enumerate(places, start=10):
        place.parent.mkdir()
        Image.new("RGB", (width, 8)).save(place)
    path = write_paths(root, "p/0.png")
    for place in places:
        assert read_lvsm_json(path, ReadOptions(allow_outside=True)).frames[0].image == place
        place.unlink()
    refused(path, "frame 0", "'p/0.png'", *map(str, places), str(root / "images/KEY/0.png"), allow_outside=True)


def test_relative_to_the_folder_of_the_file(root):
    (frame,) = read_lvsm_json(write_paths(root, "../images/KEY/00001.png")).frames
    assert frame.image == root / "images/KEY/00001.png"


def test_paths_from_a_working_directory_above(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    (frame,) = read_lvsm_json(write_paths(root, "train/images/KEY/00001.png")).frames
    assert frame.image.samefile(root / "images/KEY/00001.png")


def test_absolute_paths_inside_the_data_set(root):
    (frame,) = read_lvsm_json(write_paths(root, root / "images/KEY/00001.png")).frames
    assert frame.image == root / "images/KEY/00001.png"


def test_absolute_paths_through_a_link_to_the_data_set(root):
    link = root.parent / "link"
    link.symlink_to(root)
    write_paths(root, root.resolve() / "images/KEY/00001.png")
    (frame,) = read_lvsm_json(link / "metadata/KEY.json").frames
    assert frame.image.samefile(root / "images/KEY/00001.png")


def test_a_data_set_may_be_moved(root):
    (frame,) = read_lvsm_json(write_paths(root, "/home/someone/re10k/train/images/KEY/00001.png")).frames
    assert frame.image == root / "images/KEY/00001.png"


@pytest.mark.parametrize("relative", [True, False])
def test_pictures_outside_need_to_be_allowed(root, relative):
    pictures(root.parent / "elsewhere", 3)
    path = write_paths(root, "../elsewhere/00002.png" if relative else root.parent / "elsewhere/00002.png")
    refused(path, "frame 0", "images/KEY/00002.png", "--allow-outside")
    (frame,) = read_lvsm_json(path, ReadOptions(allow_outside=True)).frames
    assert frame.image.samefile(root.parent / "elsewhere/00002.png")


def test_the_working_directory_does_not_matter_for_what_is_in_the_data_set(root, monkeypatch):
    path = write(root)
    for folder in (root.parent, root, root / "metadata"):
        monkeypatch.chdir(folder)
        assert read_lvsm_json(path).frames[0].image == root / "images/KEY/00000.png"
    assert read_lvsm_json(path.relative_to(folder)).frames[0].image == root / "images/KEY/00000.png"


def test_links_to_image_folders_are_followed(root):
    pictures(root.parent / "store", 1, (8, 6))
    (root / "images" / "linked").symlink_to(root.parent / "store")
    assert read_lvsm_json(write_paths(root, "images/linked/00000.png")).frames[0].width_px == 8


def test_missing_pictures_keep_their_number_if_somebody_takes_the_report(root):
    (root / "images/KEY/00000.png").unlink()
    reported = []
    scene = read_lvsm_json(write(root), ReadOptions(report=lambda *problem: reported.append(problem)))
    assert scene.present == [1]
    assert scene.frames[0].name == "00000.png"
    ((kind, error),) = reported
    assert kind == "image"
    assert "frame 0" in str(error)


# ---- files that are wrong


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("fxfycxcy", [1, 2, 3], "list of 4 numbers"),
        ("fxfycxcy", 50, "list of 4 numbers"),
        ("fxfycxcy", [50, -50, 20, 15], "positive"),
        ("fxfycxcy", [50, float("nan"), 20, 15], "not finite"),
        ("fxfycxcy", [50, "50", 20, 15], "expected a number"),
        ("w2c", np.diag([2.0, 2, 2, 1]).tolist(), "not a rotation"),
        ("w2c", np.diag([-1.0, 1, 1, 1]).tolist(), "mirrored"),
        ("w2c", np.eye(4).tolist()[:3], "4x4"),
        ("w2c", np.full((4, 4), np.nan).tolist(), "not finite"),
        ("image_path", 7, "path of a picture"),
        ("image_path", "a\0.png", "path of a picture"),
        ("image_path", "", "path of a picture"),
    ],
)
@pytest.mark.parametrize("allow_outside", [False, True])
def test_wrong_values_name_frame_and_key(root, key, value, says, allow_outside):
    data = json.loads(TYPED)
    data["frames"][1][key] = value
    refused(write(root, data), "frame 1", key, says, allow_outside=allow_outside)


@pytest.mark.parametrize("key", ["fxfycxcy", "w2c", "image_path"])
def test_a_key_missing_in_one_frame(root, key):
    data = json.loads(TYPED)
    del data["frames"][1][key]
    refused(write(root, data), "frame 1", key)


def test_cameras_may_be_absent_or_left_out(root):
    for frame in read_lvsm_json(write_paths(root, "images/KEY/00000.png")).frames:
        assert frame.fxfycxcy_px is frame.world_from_camera is None
    data = json.loads(TYPED)
    data["frames"][1]["w2c"] = "not looked at"
    for frame in read_lvsm_json(write(root, data), ReadOptions(cameras=False)).frames:
        assert frame.fxfycxcy_px is frame.world_from_camera is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"frames": []}', '{"frames": [3]}', "\udcff"])
def test_files_that_are_no_scenes(root, text):
    path = root / "metadata" / "KEY.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(path)


# ---- finding


def test_a_data_set_is_the_folder_above_metadata(root):
    for key in ("clip10", "clip2", "ünï côdé"):
        write(root, key=key)
    (root / "metadata" / ".hidden.json").write_text("{}")
    (root / "metadata" / "notes.txt").write_text("x")
    source = LvsmJson()
    assert source.recognises(root)
    assert [ref.path.stem for ref in source.find(root)] == ["clip2", "clip10", "ünï côdé"]
    assert source.read(source.pick(root, "ünï côdé"), ReadOptions()).name == "a clip"
    with pytest.raises(InputError, match="holds no scene 'clip1'; it has 3, for instance 'clip2'"):
        source.pick(root, "clip1")


def test_what_is_no_data_set(root):
    source = LvsmJson()
    assert not source.recognises(root)
    (root / "metadata" / "other.json").write_text('{"frames": [{"file_path": "0.png"}]}')
    assert not source.recognises(root)
    assert not source.recognises(root / "metadata" / "other.json")
    with pytest.raises(InputError, match="cannot be listed"):
        source.find(root.parent)
    (root / "metadata" / "other.json").unlink()
    with pytest.raises(InputError, match="holds no scene files"):
        source.find(root)

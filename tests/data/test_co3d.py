import gzip
import json
import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rayzer.data.formats import find_scenes, read_scene, recognise
from rayzer.data.sources import co3d, json_list
from rayzer.data.sources.co3d import read_co3d
from rayzer.data.sources.source import ReadOptions, SceneRef
from rayzer.errors import InputError

SEQUENCE = "110_13051_23361"
# As in the published files, one frame a line. The first camera has the world's axes, in PyTorch3D's sense, and
# stands at (1, 2, -3): x_camera = x_world + (-1, -2, 3). The second is turned by a quarter about y.
FRAMES = """[
{"sequence_name": "110_13051_23361", "frame_number": 7, "frame_timestamp": 0.56, "image": {"path":
 "apple/110_13051_23361/images/frame000012.jpg", "size": [60, 80]}, "depth": {"path":
 "apple/110_13051_23361/depths/frame000012.jpg.geometric.png", "scale_adjustment": 1.8, "mask_path": null},
 "mask": {"path": "apple/110_13051_23361/masks/frame000012.png", "mass": 5231.0}, "viewpoint": {"R":
 [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], "T": [0.5, 0.0, 4.0], "focal_length": [3.0, 2.5],
 "principal_point": [0.125, -0.25], "intrinsics_format": "ndc_norm_image_bounds"}, "meta": {"frame_type": "train"}},
{"sequence_name": "110_13051_23361", "frame_number": 0, "frame_timestamp": 0.0, "image": {"path":
 "apple/110_13051_23361/images/frame000031.jpg", "size": [80, 60]}, "viewpoint": {"R":
 [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], "T": [-1.0, -2.0, 3.0], "focal_length": [4.0, 4.5],
 "principal_point": [0.1, -0.2], "intrinsics_format": "ndc_isotropic"}},
{"sequence_name": "35_2671_5000", "frame_number": 1, "frame_timestamp": -1.0, "image": {"path":
 "apple/35_2671_5000/images/frame000001.jpg", "size": [60, 80]}, "viewpoint": null}
]"""
SEQUENCES = """[
{"sequence_name": "110_13051_23361", "category": "apple", "viewpoint_quality_score": 1.25},
{"sequence_name": "35_2671_5000", "category": "apple", "viewpoint_quality_score": 0.5},
{"sequence_name": "9_1_1", "category": "apple", "viewpoint_quality_score": null}]"""


def _zip(path: Path, data) -> None:
    path.write_bytes(gzip.compress((data if isinstance(data, str) else json.dumps(data)).encode(), 1))


@pytest.fixture
def apple(tmp_path):
    """A category with two sequences that are here and one that was not downloaded."""
    category = tmp_path / "co3d/apple"
    for entry in json.loads(FRAMES):
        picture = category.parent / entry["image"]["path"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", entry["image"]["size"][::-1]).save(picture)
    _zip(category / "frame_annotations.jgz", FRAMES)
    _zip(category / "sequence_annotations.jgz", SEQUENCES)
    return category


def _changed(category: Path, change, index: int = 1) -> Path:
    data = json.loads(FRAMES)
    change(data[index])
    _zip(category / "frame_annotations.jgz", data)
    return category


def test_reads_a_hand_typed_category(apple, seen_at):
    scene = read_co3d(apple, SEQUENCE)
    assert (scene.name, scene.notes, scene.skipped) == (f"apple_{SEQUENCE}", (), ())
    first, second = scene.frames  # by frame_number, which is neither the list's order nor that of the names
    assert [first.name, second.name] == ["frame000031.jpg", "frame000012.jpg"]
    assert first.image == apple / SEQUENCE / "images/frame000031.jpg"
    assert (first.width_px, first.height_px, first.time_s) == (60, 80, 0.0)
    assert (second.width_px, second.height_px, second.time_s) == (80, 60, 0.56)
    np.testing.assert_allclose(first.fxfycxcy_px, [120, 135, 27, 46])  # units of 30 pixels
    np.testing.assert_allclose(second.fxfycxcy_px, [120, 75, 35, 37.5])  # units of 40 and 30 pixels
    # left and up are its x and y: to OpenCV it stands on its head, turned by half about z
    np.testing.assert_allclose(first.world_from_camera, [[-1, 0, 0, 1], [0, -1, 0, 2], [0, 0, 1, -3], [0, 0, 0, 1]])
    # one to the left of the first camera, two above it, five ahead
    np.testing.assert_allclose(seen_at(first, (2, 4, 2)), [27 - 120 / 5, 46 - 135 * 2 / 5])


def test_pictures_without_viewpoint_have_no_camera(apple):
    scene = read_co3d(apple, "35_2671_5000")
    (frame,) = scene.frames
    assert (frame.width_px, frame.height_px) == (80, 60)
    assert frame.world_from_camera is frame.fxfycxcy_px is frame.time_s is None
    assert scene.notes[0] == "1 of 1 frames have no viewpoint."


def test_doubtful_poses_are_noted_not_dropped(apple):
    assert "viewpoint_quality_score is 0.50" in read_co3d(apple, "35_2671_5000").notes[1]
    assert read_co3d(apple, "35_2671_5000", ReadOptions(cameras=False)).notes == ()
    for score in (10**400, "good", None):  # of these nothing can be said
        _zip(apple / "sequence_annotations.jgz", [{"sequence_name": "35_2671_5000", "viewpoint_quality_score": score}])
        assert len(read_co3d(apple, "35_2671_5000").notes) == 1
    (apple / "sequence_annotations.jgz").unlink()
    assert len(read_co3d(apple, "35_2671_5000").notes) == 1


def test_intrinsics_formats(apple):
    scene = read_co3d(_changed(apple, lambda frame: frame["viewpoint"].pop("intrinsics_format")), SEQUENCE)
    np.testing.assert_allclose(scene.frames[0].fxfycxcy_px, [120, 180, 27, 48])  # units of 30 and 40 pixels


def test_intrinsics_follow_the_size_of_the_picture(apple):
    Image.new("RGB", (30, 40)).save(apple / SEQUENCE / "images/frame000031.jpg")
    frame = read_co3d(apple, SEQUENCE).frames[0]
    np.testing.assert_allclose(frame.fxfycxcy_px, [60, 67.5, 13.5, 23])
    Image.new("RGB", (40, 30)).save(apple / SEQUENCE / "images/frame000031.jpg")
    with pytest.raises(InputError, match=rf"{SEQUENCE} frame 0: .*40x30 pixels, its camera 60x80"):
        read_co3d(apple, SEQUENCE)


def test_missing_pictures_keep_their_number(apple):
    (apple / SEQUENCE / "images/frame000031.jpg").unlink()
    scene = read_co3d(apple, SEQUENCE)
    assert [frame.name for frame in scene.frames] == ["frame000031.jpg", "frame000012.jpg"]
    assert scene.present == [1]
    assert f"frame_annotations.jgz: {SEQUENCE} frame 0: there is no picture" in scene.skipped[0][1]
    (apple / SEQUENCE / "images/frame000012.jpg").unlink()
    with pytest.raises(InputError, match=r"there is no picture .*unzip the pictures, too"):
        read_co3d(apple, SEQUENCE)


# ---- finding


def test_scenes_are_sequences(apple):
    assert recognise(apple).name == "co3d"
    assert [ref.key for ref in find_scenes(apple)] == ["35_2671_5000", SEQUENCE]  # 9_1_1 is not here
    (apple.parent / "_in_progress").mkdir()
    (apple.parent / "LICENSE").touch()
    (apple.parent / "banana").mkdir()
    _zip(apple.parent / "banana/frame_annotations.jgz", [])
    _zip(apple.parent / "banana/sequence_annotations.jgz", [])
    refs = find_scenes(apple.parent)
    assert [str(ref) for ref in refs] == [f"{apple.parent}#apple/{key}" for key in ("35_2671_5000", SEQUENCE)]
    assert [read_scene(ref).name for ref in refs] == ["apple_35_2671_5000", f"apple_{SEQUENCE}"]
    with pytest.raises(InputError, match="holds 2 scenes, expected one"):
        read_scene(apple)


def test_a_line_of_a_list_names_a_sequence(apple):
    file = apple.parent / "list.txt"
    file.write_text(f"apple#{SEQUENCE}\n.#apple/{SEQUENCE}\n")
    assert [read_scene(ref).name for ref in find_scenes(file)] == [f"apple_{SEQUENCE}"] * 2


def test_a_line_of_a_list_does_not_look_at_every_sequence(apple, monkeypatch):
    ref = SceneRef(apple, SEQUENCE)
    read_scene(ref, ReadOptions(cameras=False))
    monkeypatch.setattr("rayzer.data.sources.co3d.objects_in", lambda file: pytest.fail(f"{file} is read again"))
    assert read_scene(ref, ReadOptions(cameras=False)).name == f"apple_{SEQUENCE}"


def test_other_scenes_beside_categories_are_found_too(apple):
    (apple.parent / "photos").mkdir()
    Image.new("RGB", (8, 6)).save(apple.parent / "photos/0.png")
    refs = find_scenes(apple.parent)
    assert [str(ref) for ref in refs] == [
        f"{apple}#35_2671_5000",
        f"{apple}#{SEQUENCE}",
        str(apple.parent / "photos"),
    ]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("apple/1_2_3", r"frame_annotations\.jgz: has no sequence '1_2_3'"),
        ("pear/1_2_3", "no such category"),
        ("../x", "no such category"),
        ("apple", r"has no sequence ''"),
    ],
)
def test_names_that_are_not_there(apple, key, says):
    (ref, *_) = find_scenes(apple.parent)
    with pytest.raises(InputError, match=says):
        read_scene(type(ref)(apple.parent, key, "co3d"))


def test_nothing_here(apple, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no frame_annotations\.jgz"):
        find_scenes(tmp_path / "empty", "co3d")
    _zip(apple / "sequence_annotations.jgz", json.loads(SEQUENCES)[2:])
    with pytest.raises(InputError, match=r"none of the sequences .* is here"):
        find_scenes(apple)
    (apple / "sequence_annotations.jgz").unlink()
    with pytest.raises(InputError, match=r"sequence_annotations\.jgz: cannot be unpacked .*No such file"):
        find_scenes(apple)


def test_a_list_is_parsed_once(apple, monkeypatch):
    opened = []
    original = gzip.open
    monkeypatch.setattr(gzip, "open", lambda path, *rest, **more: opened.append(path) or original(path, *rest, **more))
    for _ in range(3):
        read_co3d(apple, SEQUENCE, ReadOptions(cameras=False))
    frames = apple / "frame_annotations.jgz"
    assert opened.count(frames) == 1
    os.utime(frames, ns=(1, 1))  # another file, as far as one can tell
    read_co3d(apple, SEQUENCE)
    assert opened.count(frames) == 2


# ---- a slow twin


def _slow_pixel(viewpoint: dict, size: tuple[int, int], point: np.ndarray) -> np.ndarray:
    """Where PyTorch3D sees a point: row vectors, normalised coordinates that grow to the left and up."""
    height, width = size
    x, y, z = point @ np.array(viewpoint["R"]) + np.array(viewpoint["T"])
    left = viewpoint["focal_length"][0] * x / z + viewpoint["principal_point"][0]
    up = viewpoint["focal_length"][1] * y / z + viewpoint["principal_point"][1]
    per_axis = viewpoint["intrinsics_format"] == "ndc_norm_image_bounds"
    half_x, half_y = (width / 2, height / 2) if per_axis else (min(size) / 2, min(size) / 2)
    return np.array([width / 2 - left * half_x, height / 2 - up * half_y])


@settings(max_examples=40, deadline=None)
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1),
    translation=st.tuples(*[st.floats(-20, 20)] * 3),
    principal_point=st.tuples(*[st.floats(-0.5, 0.5)] * 2),
    ahead=st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.5, 9)),
    form=st.sampled_from(["ndc_isotropic", "ndc_norm_image_bounds"]),
    size=st.sampled_from([(60, 80), (80, 60), (50, 50)]),
)
def test_sees_what_pytorch3d_sees(seen_at, quaternion, translation, principal_point, ahead, form, size):
    x, y, z, w = np.array(quaternion) / math.hypot(*quaternion)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    viewpoint = {"R": rotation.tolist(), "T": translation, "focal_length": [2.0, 2.5]}
    viewpoint |= {"principal_point": principal_point, "intrinsics_format": form}
    entry = {"sequence_name": "s", "frame_number": 0, "image": {"path": "a/s/0.png", "size": size}}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a/s").mkdir(parents=True)
        Image.new("RGB", size[::-1]).save(Path(folder) / "a/s/0.png")
        _zip(Path(folder) / "a/frame_annotations.jgz", [entry | {"viewpoint": viewpoint}])
        (frame,) = read_co3d(Path(folder) / "a", "s").frames
    point = (np.asarray(frame.world_from_camera) @ [*ahead, 1.0])[:3]
    np.testing.assert_allclose(seen_at(frame, point), _slow_pixel(viewpoint, size, point), rtol=0, atol=1e-9)


# ---- broken entries


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (lambda v: v.update(R=None), "pose", r"viewpoint\.R: expected 3 lists"),
        (lambda v: v.update(R=[[1, 0, 0]] * 3), "pose", "viewpoint: the 3x3 part"),
        (lambda v: v.update(R=[[1, 0, 0], [0, 1, 0], [0, 0, -1]]), "pose", "viewpoint: the pose is mirrored"),
        (lambda v: v.update(T=[0, math.nan, 0]), "pose", r"viewpoint\.T: the number is not finite"),
        (lambda v: v.update(T=[0, 0]), "pose", r"viewpoint\.T: expected a list of 3 numbers"),
        (lambda v: v.update(focal_length=[0, 1]), "intrinsics", "fx fy cx cy = 0 .*focal lengths must be positive"),
        (lambda v: v.update(focal_length="2"), "intrinsics", r"viewpoint\.focal_length: expected"),
        (lambda v: v.pop("principal_point"), "intrinsics", r"viewpoint\.principal_point: expected"),
        (
            lambda v: v.update(intrinsics_format="pixels"),
            "intrinsics",
            r"viewpoint\.intrinsics_format: expected ndc_iso",
        ),
        (lambda v: v.update(intrinsics_format=[]), "intrinsics", r"viewpoint\.intrinsics_format: expected ndc_iso"),
    ],
)
def test_broken_viewpoints_are_reported(apple, change, kind, says):
    _changed(apple, lambda frame: change(frame["viewpoint"]))
    with pytest.raises(InputError, match=rf"frame_annotations\.jgz: {SEQUENCE} frame 0: {says}") as caught:
        read_co3d(apple, SEQUENCE)
    assert "\n" not in str(caught.value)
    problems = []
    scene = read_co3d(apple, SEQUENCE, ReadOptions(report=lambda kind, error: problems.append(kind)))
    assert problems == [kind]
    assert scene.present == [0, 1]
    assert read_co3d(apple, SEQUENCE, ReadOptions(cameras=False)).present == [0, 1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.update(sequence_name=3), "sequence_name: expected a text"),
        (lambda f: f.update(frame_number="7"), f"{SEQUENCE}: frame_number: expected a whole number"),
        (lambda f: f.update(frame_number=True), f"{SEQUENCE}: frame_number: expected a whole number"),
        (lambda f: f.update(frame_number=7), f"{SEQUENCE}: frame_number 7 stands twice"),
        (lambda f: f.pop("image"), f"{SEQUENCE} frame 0: expected an image and a viewpoint"),
        (lambda f: f.update(viewpoint=[1]), f"{SEQUENCE} frame 0: expected an image and a viewpoint"),
        (lambda f: f["image"].pop("path"), rf"{SEQUENCE} frame 0: image\.path: expected the path"),
        (lambda f: f["image"].update(path="../../x.png"), rf"{SEQUENCE} frame 0: image\.path: .*leaves the scene"),
        (lambda f: f["image"].update(size=[1]), rf"{SEQUENCE} frame 0: image\.size: expected \[height, width\]"),
        (lambda f: f["image"].update(size=[0, 4]), rf"{SEQUENCE} frame 0: image\.size: 0 is not a size"),
    ],
)
def test_broken_entries_are_named(apple, change, says):
    with pytest.raises(InputError, match=rf"frame_annotations\.jgz: {says}") as caught:
        read_co3d(_changed(apple, change), SEQUENCE)
    assert "\n" not in str(caught.value)


# ---- the file itself


def _objects(path: Path, text: str | bytes) -> list:
    path.write_bytes(gzip.compress(text if isinstance(text, bytes) else text.encode()))
    return list(json_list.objects_in(path))


@pytest.mark.parametrize("chunk", [1, 2, 7, 2**20])
@pytest.mark.parametrize("text", [FRAMES, SEQUENCES, "[]", " [ \n] ", '[{"a": "}"} , {"b": [1, {"c": null}]}]'])
def test_reads_the_same_as_json(tmp_path, monkeypatch, chunk, text):
    monkeypatch.setattr(json_list, "_CHUNK", chunk)
    assert _objects(tmp_path / "x.jgz", text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[", "[{}", "[{},", "[{},]", "[{} {}]", "[3]", "[[]]", "[{}]]", "[{}] x", '[{"a": }]'),
        *('[{"a": 1]', '[{"a": "', '[{"a": ' + "[" * 100_000, '[{"a": ' + "9" * 5000 + "}]"),
    ],
    ids=lambda text: text[:9],
)
def test_what_is_no_list_of_objects(tmp_path, text):
    with pytest.raises(InputError, match=r"x\.jgz: is not a JSON list of objects \(at character \d+\)"):
        _objects(tmp_path / "x.jgz", text)


def test_what_cannot_be_unpacked(tmp_path):
    path = tmp_path / "x.jgz"
    with pytest.raises(InputError, match=r"x\.jgz: holds text that is not UTF-8"):
        _objects(path, b'[{"a": "\xff"}]')
    _objects(path, FRAMES)
    healthy = path.read_bytes()
    for data in (b"", b"[]", healthy[:-12], healthy[:100] + b"\xff\xff" + healthy[102:]):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"x\.jgz: ") as caught:
            list(json_list.objects_in(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be unpacked"):
        list(json_list.objects_in(tmp_path))


def test_bombs_are_refused(tmp_path, monkeypatch):
    """A few kilobytes unpack to gigabytes of spaces, of one endless object, or of many small ones."""
    monkeypatch.setattr(json_list, "MAX_CHARACTERS", 3 * 2**20)
    path = tmp_path / "x.jgz"
    with pytest.raises(InputError, match="unpacks to more than"):
        _objects(path, "[" + " " * 4 * 2**20)
    with pytest.raises(InputError, match="unpacks to more than"):
        _objects(path, "[" + ('{"a": "' + "x" * 1000 + '"},') * 4 * 2**10)
    with pytest.raises(InputError, match="is not a JSON list"):  # after little more than one chunk
        _objects(path, '[{"a": "' + "x" * 4 * 2**20)


def test_memory_of_parsed_lists_is_bounded():
    assert co3d._records.cache_info().maxsize == 8

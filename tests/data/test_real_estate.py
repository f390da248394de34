import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rayzer.data.sources.real_estate import RealEstate, read_real_estate
from rayzer.data.sources.source import ReadOptions
from rayzer.errors import InputError
from rayzer.geometry.rotations import rotation_from_quaternion

URL = "https://www.youtube.com/watch?v=0a-B_c1"
# Pictures of 64 x 36 pixels; a camera turned by 90 degrees about z, one of 3-4-5 entries, one at the origin.
TYPED = f"""{URL}
17266000 0.5 0.875 0.5 0.5 0.0 0.0 0 -1 0 1 1 0 0 2 0 0 1 3
17299999 0.6 1.0625 0.484375 0.52 0.0 0.0 0.6 0 0.8 -0.5 0 1 0 0.25 -0.8 0 0.6 2
17333000 0.5 0.875 0.5 0.5 0.0 0.0 1 0 0 0 0 1 0 0 0 0 1 0
"""
TIMES = (17266000, 17299999, 17333000)


def pictures(folder, times=TIMES, size=(64, 36), suffix=".jpg"):
    folder.mkdir(parents=True)
    for time in times:
        Image.new("RGB", size).save(folder / f"{time}{suffix}")


@pytest.fixture
def split(tmp_path):
    split = tmp_path / "train"
    pictures(split / "0a1b2c")
    return split


def write(split, text=TYPED, key="0a1b2c"):
    path = split / f"{key}.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_real_estate(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "; " in message  # what; what to do
    for word in words:
        assert word in message


def test_reads_a_file_typed_by_hand(split, seen_at):
    scene = read_real_estate(write(split))
    assert scene.name == "0a1b2c"
    assert [frame.name for frame in scene.frames] == [f"{time}.jpg" for time in TIMES]
    assert [frame.time_s for frame in scene.frames] == [17.266, 17.299999, 17.333]
    assert scene.skipped == scene.notes == ()
    assert scene.frames[1].fxfycxcy_px == pytest.approx((38.4, 38.25, 31.0, 18.72))
    assert (scene.frames[1].width_px, scene.frames[1].height_px) == (64, 36)
    point = (0.3, -0.2, 4.0)
    for frame, line in zip(scene.frames, TYPED.splitlines()[1:], strict=True):
        _, fx, fy, cx, cy, _, _, *matrix = map(float, line.split())
        x, y, z = (sum(a * b for a, b in zip(matrix[4 * i : 4 * i + 4], (*point, 1), strict=True)) for i in range(3))
        expected = [64 * (fx * x / z + cx), 36 * (fy * y / z + cy)]  # the corner of the picture is (0, 0)
        np.testing.assert_allclose(seen_at(frame, point), expected, atol=1e-9)


unit = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda wxyz: math.hypot(*wxyz) > 0.1)
cameras = st.tuples(unit, st.tuples(*[st.floats(-100, 100)] * 3), st.tuples(*[st.floats(0.01, 10)] * 4))


@settings(deadline=None, max_examples=25)
@given(st.lists(cameras, min_size=1, max_size=4))
def test_cameras_come_back(tmp_path_factory, cameras):
    split = tmp_path_factory.mktemp("split")
    pictures(split / "0a1b2c", range(len(cameras)))
    lines, expected = [URL], []
    for time, (wxyz, translation, fxfycxcy) in enumerate(cameras):
        w2c = np.eye(4)
        w2c[:3, :3] = rotation_from_quaternion(torch.tensor(wxyz, dtype=torch.float64))
        w2c[:3, 3] = translation
        lines.append(" ".join(map(repr, [time, *fxfycxcy, 0.0, 0.0, *w2c[:3].ravel().tolist()])))
        expected.append((w2c, np.array(fxfycxcy) * [64, 36, 64, 36]))
    for frame, (w2c, fxfycxcy_px) in zip(
        read_real_estate(write(split, "\n".join(lines))).frames, expected, strict=True
    ):
        np.testing.assert_allclose(frame.world_from_camera @ w2c, np.eye(4), atol=1e-9)
        np.testing.assert_allclose(frame.fxfycxcy_px, fxfycxcy_px, rtol=1e-12)


def test_intrinsics_follow_the_size_of_the_picture(split):
    small, large = split / "0a1b2c", split / "frames" / "large"
    pictures(large, size=(1280, 720))
    for key, folder, width in (("0a1b2c", small, 64), ("large", large, 1280)):
        frame = read_real_estate(write(split, key=key)).frames[0]
        assert frame.image.parent == folder
        assert frame.fxfycxcy_px == pytest.approx(np.array([0.5, 0.875, 0.5, 0.5]) * ([width, width * 36 / 64] * 2))


def test_line_ends_marks_and_blanks(split):
    messy = "\ufeff" + TYPED.replace("\n", "  \r\n\r\n").replace(" 0.5 ", "\t0.5  ")
    frames = read_real_estate(write(split, messy)).frames
    for frame, expected in zip(frames, read_real_estate(write(split)).frames, strict=True):
        np.testing.assert_array_equal(frame.world_from_camera, expected.world_from_camera)
        assert frame.fxfycxcy_px == expected.fxfycxcy_px


def test_frames_stay_in_the_order_of_the_file(split):
    url, *lines = TYPED.splitlines()
    scene = read_real_estate(write(split, "\n".join([url, *reversed(lines)])))
    assert [frame.time_s for frame in scene.frames] == [17.333, 17.299999, 17.266]


# ---- pictures


@pytest.mark.parametrize(
    "place",
    [
        "cameras/train/0a1b2c",
        "cameras/train/frames/0a1b2c",
        "cameras/train/images/0a1b2c",
        "cameras/train/videos/0a1b2c",
        "cameras/frames/train/0a1b2c",
        "cameras/frames/0a1b2c",
        "frames/train/0a1b2c",
        "images/train/0a1b2c",
    ],
)
def test_places_of_pictures(tmp_path, monkeypatch, place):
    split = tmp_path / "cameras" / "train"
    pictures(tmp_path / place)
    split.mkdir(parents=True, exist_ok=True)
    path = write(split)
    assert read_real_estate(path).frames[0].image == tmp_path / place / "17266000.jpg"
    monkeypatch.chdir(split)
    frame = read_real_estate(path.relative_to(split)).frames[0]
    assert frame.image.samefile(tmp_path / place / "17266000.jpg")


def test_a_folder_without_frames_is_passed_over(split):
    pictures(split / "frames" / "b", TIMES)
    (split / "b").mkdir()
    Image.new("RGB", (8, 8)).save(split / "b" / "preview.jpg")
    assert read_real_estate(write(split, key="b")).present == [0, 1, 2]


def test_names_with_leading_zeros_and_two_pictures_of_one_time(tmp_path):
    pictures(tmp_path / "k", ["00017266000", TIMES[1], TIMES[2]], suffix=".png")
    Image.new("RGB", (64, 36)).save(tmp_path / "k" / f"{TIMES[1]}.jpg")
    (tmp_path / "k" / "._17333000.jpg").write_bytes(b"a companion that macOS leaves")
    scene = read_real_estate(write(tmp_path, key="k"))
    assert [frame.name for frame in scene.frames] == ["00017266000.png", "17299999.jpg", "17333000.png"]


def test_missing_pictures_keep_their_numbers(split):
    (split / "0a1b2c" / f"{TIMES[1]}.jpg").unlink()
    scene = read_real_estate(write(split))
    assert scene.present == [0, 2]
    lost = scene.frames[1]
    assert (lost.name, lost.image, lost.width_px, lost.fxfycxcy_px) == ("17299999", None, 0, None)
    assert lost.world_from_camera is not None
    assert lost.time_s == 17.299999
    ((path, why),) = scene.skipped
    assert path == split / "0a1b2c" / "17299999"
    assert "frame 1 (line 3): there is no such picture" in why


def test_no_picture_at_all(tmp_path):
    refused(write(tmp_path), "no picture 17266000.jpg", "nor any other", str(tmp_path / "0a1b2c"))
    pictures(tmp_path / "0a1b2c", range(3))
    refused(write(tmp_path), "no picture 17266000.jpg", str(tmp_path / "0a1b2c" / "0.jpg"))


def test_broken_pictures_are_refused_or_reported(split):
    picture = split / "0a1b2c" / f"{TIMES[1]}.jpg"
    picture.write_bytes(b"text")
    path = write(split)
    with pytest.raises(InputError, match=r"17299999\.jpg: is not a picture"):
        read_real_estate(path)
    reported = []
    scene = read_real_estate(path, ReadOptions(report=lambda *problem: reported.append(problem)))
    assert scene.present == [0, 2]
    assert [kind for kind, _ in reported] == ["image"]


# ---- files that are wrong


def changed(line, column, text):
    lines = [line.split() for line in TYPED.splitlines()]
    lines[line][column] = text
    return "\n".join(map(" ".join, lines))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (changed(2, 1, "nan"), "fx fy cx cy"),
        (changed(2, 1, "-0.5"), "positive"),
        (changed(2, 1, "0"), "positive"),
        (changed(2, 8, "nan"), "not finite"),
        (changed(2, 10, "inf"), "not finite"),
        (changed(2, 10, "1e13"), "1e+12"),
        (changed(2, 7, "0.7"), "not a rotation"),
        (changed(2, 12, "-1"), "mirrored"),
        (changed(2, 3, "x" * 500), "is not a number"),
        (changed(2, 0, "17.3"), "not a time"),
        (changed(2, 0, "-5"), "not a time"),
        (changed(2, 0, "9" * 5000), "not a time"),
        (changed(2, 18, ""), "19 columns; found 18"),
        (changed(2, 18, "1 2"), "19 columns; found 20"),
    ],
)
def test_wrong_values_name_line_and_frame(split, text, says):
    refused(write(split, text), "frame 1 (line 3)", says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: expected the address"),
        ("\n\n", "line 1: expected the address"),
        ("\u2003\n", "line 1: expected the address"),
        (TYPED.split("\n", 1)[1], "line 1: expected the address"),
        (URL, "holds no frames"),
        (URL + "\n\n", "holds no frames"),
        (bytes(range(256)), "not UTF-8"),
        (b"\0" * 100, "holds no frames"),
    ],
)
def test_files_that_are_none(split, text, says):
    refused(write(split, text), says)


def test_missing_file(split):
    refused(split / "none.txt", "no such file")
    refused(split, "is a folder")


@pytest.mark.parametrize("text", ["nan", "x"])
def test_cameras_that_are_not_asked_for_are_not_looked_at(split, text):
    for frame in read_real_estate(write(split, changed(2, 8, text)), ReadOptions(cameras=False)).frames:
        assert frame.fxfycxcy_px is frame.world_from_camera is None
        assert frame.time_s is not None


# ---- finding


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TYPED, True),
        (URL, True),
        ("\ufeff" + TYPED, True),
        (TYPED.replace("\n", "\r\n"), True),
        (TYPED.replace(URL, "no address"), True),
        (TYPED.split("\n", 1)[1], True),
        ("scenes/a/scene.json\nscenes/b/scene.json\n", False),
        ("# https://example.org\nscene.json\n", False),
        ("1 2 3\n4 5 6\n", False),
        ("", False),
        (bytes(range(256)), False),
    ],
)
def test_recognises_by_the_first_lines(tmp_path, text, expected):
    assert RealEstate().recognises(write(tmp_path, text)) is expected
    assert RealEstate().recognises(tmp_path) is expected


def test_a_folder_of_camera_files_is_a_data_set(split):
    for key in ("clip10", "clip2"):
        write(split, key=key)
    (split / "README.txt").write_text("what this is")
    source = RealEstate()
    assert [ref.path.stem for ref in source.find(split)] == ["clip2", "clip10"]
    assert source.pick(split, "clip10").path == split / "clip10.txt"
    with pytest.raises(InputError, match="holds no camera files"):
        source.find(split / "0a1b2c")

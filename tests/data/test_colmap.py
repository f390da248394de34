import math
import shutil
import struct
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from rayzer.data.scenes import Frame
from rayzer.data.sources.colmap import read_colmap, write_colmap
from rayzer.data.sources.source import ReadOptions, refuse
from rayzer.errors import InputError

NOTE = "Cameras of a learned frame.\nNot metric."
CAMERAS = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
# Number of cameras: 3
7 PINHOLE 8 6 10 11 4 3

2 SIMPLE_RADIAL 80 60 100 40 30 0.25
40 OPENCV 8 6 10 11 4 3 0.1 0.2 0.3 0.4
"""
IMAGES = """# Image list with two lines of data per image:
9 0.5 0.5 0.5 0.5 1 2 3 7 sub folder/b 2.png
1.5 2.5 -1 3 4 77
4 1 0 0 0 -1 -2 -3 2 a 1.png

12 0 0 1 0 0 0 5 40 c.png
"""


def only_cameras(kind, error):
    """Missing pictures are fine, everything else is not."""
    if kind != "image":
        refuse(kind, error)


NO_IMAGES = ReadOptions(report=only_cameras)


def _text_model(folder: Path, cameras: str = CAMERAS, images: str = IMAGES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.txt").write_text(cameras)
    (folder / "images.txt").write_text(images)
    return folder


@pytest.fixture
def scene(tmp_path):
    """A scene folder with a hand-typed text model and pictures of the sizes that it states."""
    _text_model(tmp_path / "room/sparse/0")
    _pictures(tmp_path / "room/images")
    return tmp_path / "room"


def _pictures(folder: Path, divisor: int = 1) -> None:
    for name, width, height in (("a 1.png", 80, 60), ("sub folder/b 2.png", 8, 6), ("c.png", 8, 6)):
        picture = folder / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width // divisor, height // divisor)).save(picture)


def test_reads_a_hand_typed_model(scene):
    got = read_colmap(scene)
    assert got.name == "room"
    first, third, second = got.frames
    assert [frame.name for frame in got.frames] == ["a 1.png", "c.png", "sub folder/b 2.png"]
    assert first.image == scene / "images/a 1.png"
    assert (first.width_px, first.height_px) == (80, 60)
    assert first.fxfycxcy_px == (100, 100, 40, 30)
    assert first.distortion == (0.25, 0, 0, 0)
    np.testing.assert_allclose(first.world_from_camera, [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    # The quaternion (1, 1, 1, 1) / 2 turns x to y, y to z and z to x: world x is the camera's y.
    assert second.fxfycxcy_px == (10, 11, 4, 3)
    assert second.distortion == ()
    np.testing.assert_allclose(
        second.world_from_camera, [[0, 1, 0, -2], [0, 0, 1, -3], [1, 0, 0, -1], [0, 0, 0, 1]], atol=1e-15
    )
    # Half a turn about y, 5 in front of the camera: the camera stands at z = 5 and looks back.
    assert third.distortion == (0.1, 0.2, 0.3, 0.4)
    np.testing.assert_allclose(third.world_from_camera, np.diag([-1, 1, -1, 1]) + _at(2, 3, 5), atol=1e-15)


def _at(row: int, column: int, value: float) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "colmap/sparse/0", "."])
def test_finds_the_model(tmp_path, place):
    _text_model(tmp_path / place)
    assert len(read_colmap(tmp_path, NO_IMAGES)) == 3


def test_finds_the_pictures_from_the_model_folder(scene, monkeypatch):
    expected = [(scene / "images" / frame.name).resolve() for frame in read_colmap(scene).frames]
    for folder in (scene / "sparse/0", Path()):
        monkeypatch.chdir(scene / "sparse/0")
        got = read_colmap(folder)
        assert got.name == "room"
        assert [Path(frame.image).resolve() for frame in got.frames] == expected


def test_binary_is_preferred_to_text(scene):
    frames = _random_frames(scene, 1)
    write_colmap(scene / "sparse/0", frames, NOTE)
    _text_model(scene / "sparse/0")
    assert [frame.name for frame in read_colmap(scene, NO_IMAGES).frames] == ["photo 0.png"]


def test_missing_pictures(scene):
    (scene / "images/c.png").unlink()
    with pytest.raises(InputError, match=r"images\.txt: image 'c\.png': .*images/c\.png does not exist"):
        read_colmap(scene)
    assert [frame.image is None for frame in read_colmap(scene, NO_IMAGES).frames] == [False, True, False]


def test_cameras_that_are_not_asked_for_are_not_looked_at(scene):
    without = read_colmap(scene, ReadOptions(cameras=False))
    _text_model(scene / "sparse/0", cameras="7 OPENCV_FISHEYE 8 6 10 11 4 3 0 0 0 0\nnonsense\n")
    again = read_colmap(scene, ReadOptions(cameras=False))
    assert [frame.name for frame in again.frames] == [frame.name for frame in without.frames]
    assert all(frame.image and frame.fxfycxcy_px is frame.world_from_camera is None for frame in again.frames)


def test_a_byte_order_mark(scene):
    before = read_colmap(scene)
    _text_model(scene / "sparse/0", "\ufeff" + CAMERAS, "\ufeff" + IMAGES)
    for frame, old in zip(read_colmap(scene).frames, before.frames, strict=True):
        _assert_same_cameras(old, frame)


def test_pictures_outside(scene):
    (scene / "images/c.png").rename(scene / "c.png")
    _text_model(scene / "sparse/0", images="1 1 0 0 0 0 0 0 7 ../c.png\n\n")
    with pytest.raises(InputError, match="allow-outside"):
        read_colmap(scene)
    assert len(read_colmap(scene, ReadOptions(allow_outside=True))) == 1


def test_intrinsics_follow_the_size_of_the_picture(scene):
    Image.new("RGB", (40, 30)).save(scene / "images/a 1.png")
    first, *_ = read_colmap(scene).frames
    assert (first.width_px, first.height_px) == (40, 30)
    assert first.fxfycxcy_px == (50, 50, 20, 15)
    assert first.distortion == (0.25, 0, 0, 0)
    Image.new("RGB", (30, 40)).save(scene / "images/a 1.png")
    with pytest.raises(InputError, match=r"images\.txt: image 'a 1\.png': .*30x40 pixels, its camera 80x60"):
        read_colmap(scene)
    assert read_colmap(scene, ReadOptions(cameras=False)).frames[0].width_px == 30
    problems = []
    first, *_ = read_colmap(scene, ReadOptions(report=lambda kind, error: problems.append(kind))).frames
    assert problems == ["intrinsics"]
    assert first.fxfycxcy_px is None
    assert first.world_from_camera is not None


def test_the_largest_smaller_copy_stands_in(scene):
    shutil.rmtree(scene / "images")
    _pictures(scene / "images_4", 4)
    _pictures(scene / "images_2", 2)
    for folder in (scene, scene / "sparse/0"):
        got = read_colmap(folder)
        assert got.name == "room"
        assert [Path(frame.image).resolve() for frame in got.frames] == [
            scene / "images_2" / name for name in ("a 1.png", "c.png", "sub folder/b 2.png")
        ]
        assert got.frames[2].fxfycxcy_px == (5, 5.5, 2, 1.5)


def test_natural_order(tmp_path):
    names = ("10.png", "9.png", "left/2.png", "left/10.png", "100.png")
    _text_model(tmp_path, images="".join(f"{i} 1 0 0 0 0 0 0 7 {name}\n\n" for i, name in enumerate(names)))
    got = [frame.name for frame in read_colmap(tmp_path, NO_IMAGES).frames]
    assert got == ["9.png", "10.png", "100.png", "left/2.png", "left/10.png"]


def test_a_damaged_picture_is_named(scene):
    (scene / "images/c.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"images\.txt: image 'c\.png': .*c\.png: is not a picture") as caught:
        read_colmap(scene)
    assert "\n" not in str(caught.value)
    assert read_colmap(scene, NO_IMAGES).present == [0, 2]


def _slow_pixel(wxyz: np.ndarray, translation: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Where COLMAP's camera 7 sees a point, from `x_camera = q x q* + t`, in pixels."""
    w, q = wxyz[0], wxyz[1:]
    x, y, z = point + 2 * np.cross(q, np.cross(q, point) + w * point) + translation
    return np.array([10 * x / z + 4, 11 * y / z + 3])


@settings(max_examples=40, deadline=None)
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1),
    translation=st.tuples(*[st.floats(-20, 20)] * 3),
    ahead=st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.5, 9)),
)
def test_sees_what_the_documentation_says(seen_at, quaternion, translation, ahead):
    wxyz = np.array(quaternion) / math.hypot(*quaternion)
    line = " ".join(map(repr, map(float, (*wxyz, *translation))))
    with tempfile.TemporaryDirectory() as folder:
        _text_model(Path(folder), images=f"1 {line} 7 a.png\n\n")
        (frame,) = read_colmap(Path(folder), NO_IMAGES).frames
    point = (np.asarray(frame.world_from_camera) @ [*ahead, 1.0])[:3]
    expected = _slow_pixel(wxyz, np.array(translation), point)
    np.testing.assert_allclose(seen_at(frame, point), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("cameras", "images", "says"),
    [
        (
            "7 OPENCV_FISHEYE 8 6 1 1 1 1 0 0 0 0\n",
            IMAGES,
            r"cameras.txt: line 1: camera model OPENCV_FISHEYE",
        ),
        ("7 NEW_MODEL 8 6 1 1 1 1\n", IMAGES, r"cameras.txt: line 1: camera model NEW_MODEL"),
        ("7 PINHOLE 8 6 1 1 1\n", IMAGES, r"cameras.txt: line 1: PINHOLE has 4 parameters, found 3"),
        ("7 PINHOLE 8\n", IMAGES, r"cameras.txt: line 1: expected CAMERA_ID"),
        ("7 PINHOLE 8 six 1 1 1 1\n", IMAGES, r"cameras.txt: line 1: expected whole numbers"),
        ("7 PINHOLE 8 0 1 1 1 1\n", IMAGES, r"cameras.txt: line 1: height"),
        ("7 PINHOLE 8 6 1 nan 1 1\n", IMAGES, r"cameras.txt: line 1: a parameter is not finite"),
        ("7 PINHOLE 8 6 1 x 1 1\n", IMAGES, r"cameras.txt: line 1: expected numbers"),
        ("7 PINHOLE 8 6 0 1 1 1\n", IMAGES, r"cameras.txt: line 1: .*focal"),
        (CAMERAS * 2, IMAGES, r"cameras.txt: camera 7 is listed twice"),
        ("", IMAGES, r"images.txt: image 'a 1.png': its camera 2 is not"),
        (CAMERAS, "# nothing\n", r"images.txt: holds no images"),
        (CAMERAS, "1 1 0 0 0 0 0 0 7\n\n", r"images.txt: line 1: expected IMAGE_ID"),
        (CAMERAS, "1 1 0 0 0 0 0 x 7 a.png\n\n", r"images.txt: line 1: expected numbers"),
        (CAMERAS, "1 1 0 0 0 0 0 0 seven a.png\n\n", r"images.txt: line 1: expected whole numbers"),
        (CAMERAS, "1 0 0 0 0 0 0 0 7 a.png\n\n", r"images.txt: image 'a.png': its quaternion"),
        (CAMERAS, "1 nan 0 0 0 0 0 0 7 a.png\n\n", r"images.txt: image 'a.png': its quaternion"),
        (CAMERAS, "1 1 0 0 0 inf 0 0 7 a.png\n\n", r"images.txt: image 'a.png': the pose"),
        (CAMERAS, "1 1 0 0 0 0 0 0 7 a.png\n\n" * 2, r"images.txt: image 'a.png' is listed twice"),
        (
            CAMERAS,
            "1 1 0 0 0 0 0 0 7 a.png\n2 1 0 0 0 0 0 0 7 b.png\n",
            r"images.txt: line 2: expected the points",
        ),
        (
            CAMERAS,
            "1 1 0 0 0 0 0 0 7 a.png\n2 1 0 0 0 0 0 0 7 b c d.png\n",
            r"images.txt: line 2: expected the",
        ),
    ],
)
def test_names_file_line_and_trouble(tmp_path, cameras, images, says):
    _text_model(tmp_path, cameras, images)
    with pytest.raises(InputError, match=says) as caught:
        read_colmap(tmp_path, NO_IMAGES)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf8_and_no_model_at_all(tmp_path):
    with pytest.raises(InputError, match="no COLMAP model"):
        read_colmap(tmp_path)
    _text_model(tmp_path)
    (tmp_path / "images.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"images\.txt: .*UTF-8"):
        read_colmap(tmp_path, NO_IMAGES)


# ---- writing


def _random_frames(scene: Path, count: int, seed: int = 0) -> tuple[Frame, ...]:
    """Frames of random poses; every third has distortion, every other its own lens."""
    random = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
        pose = np.eye(4)
        pose[:3, :3] = rotation * np.linalg.det(rotation)
        pose[:3, 3] = random.normal(size=3) * 5
        lens = tuple((random.random(4) * 100 + 50).tolist()) if index % 2 else (300.5, 301.0, 160.0, 120.0)
        distortion = (0.1, -0.02, 0.001, 1 / 3) if index % 3 == 2 else ()
        name = f"photo {index}.png"
        frames.append(Frame(name, scene / "images" / name, 320, 240, lens, distortion, pose))
    return tuple(frames)


def _slow_ray(frame: Frame, x_px: float, y_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Origin and unit direction of the (undistorted) ray through one point, from the textbook."""
    assert frame.fxfycxcy_px is not None
    fx, fy, cx, cy = frame.fxfycxcy_px
    pose = np.asarray(frame.world_from_camera)
    in_camera = np.array([(x_px - cx) / fx, (y_px - cy) / fy, 1.0])
    in_world = pose[:3, 0] * in_camera[0] + pose[:3, 1] * in_camera[1] + pose[:3, 2] * in_camera[2]
    return pose[:3, 3], in_world / np.linalg.norm(in_world)


def _assert_same_cameras(before: Frame, after: Frame, atol: float = 1e-6) -> None:
    assert (before.name, before.width_px, before.height_px) == (after.name, after.width_px, after.height_px)
    np.testing.assert_allclose(after.distortion, before.distortion, atol=1e-15)
    for x_px, y_px in ((0, 0), (320, 0), (17.5, 239.5)):
        for a, b in zip(_slow_ray(before, x_px, y_px), _slow_ray(after, x_px, y_px), strict=True):
            np.testing.assert_allclose(b, a, atol=atol, rtol=0)


@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_round_trip_keeps_rays(tmp_path, suffix):
    frames = _random_frames(tmp_path, 7)
    write_colmap(tmp_path / "sparse/0", frames, NOTE)
    for other in (tmp_path / "sparse/0").glob("*.txt" if suffix == ".bin" else "*.bin"):
        other.unlink()
    scene = read_colmap(tmp_path, NO_IMAGES)
    for before, after in zip(frames, scene.frames, strict=True):
        _assert_same_cameras(before, after, atol=1e-12)
        assert after.fxfycxcy_px == before.fxfycxcy_px


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: math.hypot(*q) > 0.1))
@example([0.0, 1.0, 0.0, 0.0])
@example([0.0, 0.0, -1.0, 0.0])
@example([1.0, 0.0, 0.0, 0.0])
@example([1e-9, 0.0, 0.0, 1.0])
def test_every_rotation_survives(wxyz):
    w, v = wxyz[0] / math.hypot(*wxyz), np.array(wxyz[1:]) / math.hypot(*wxyz)
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    pose = np.eye(4)
    pose[:3, :3] = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    pose[:3, 3] = (1, 2, 3)
    frame = Frame("x.png", Path("x.png"), 320, 240, (300, 300, 160, 120), (), pose)
    with tempfile.TemporaryDirectory() as folder:
        write_colmap(Path(folder), [frame], NOTE)
        (again,) = read_colmap(Path(folder), NO_IMAGES).frames
        text = (Path(folder) / "images.txt").read_text()
    _assert_same_cameras(frame, again, atol=1e-12)
    header = next(line for line in text.split("\n") if line and not line.startswith("#"))
    assert float(header.split()[1]) >= 0


def test_layout_note_and_shared_lenses(tmp_path):
    frames = _random_frames(tmp_path, 3)
    write_colmap(tmp_path, (*frames[:1], frames[2]), NOTE)
    expected = {f"{stem}{suffix}" for stem in ("cameras", "images", "points3D") for suffix in (".bin", ".txt")}
    assert {path.name for path in tmp_path.iterdir()} == expected | {"README.txt"}
    assert (tmp_path / "README.txt").read_text() == NOTE + "\n"
    for stem in ("cameras", "images", "points3D"):
        assert (tmp_path / f"{stem}.txt").read_text().startswith("# Cameras of a learned frame.\n# Not metric.\n")
    lines = (tmp_path / "cameras.txt").read_text().splitlines()
    assert [line.split()[:4] for line in lines if not line.startswith("#")] == [
        ["1", "PINHOLE", "320", "240"],
        ["2", "OPENCV", "320", "240"],
    ]
    assert (tmp_path / "points3D.bin").read_bytes() == bytes(8)
    write_colmap(tmp_path, (frames[0], _renamed(frames[0], "again.png")), NOTE)
    assert struct.unpack("<Q", (tmp_path / "cameras.bin").read_bytes()[:8]) == (1,)


def _renamed(frame: Frame, name: str) -> Frame:
    return Frame(name, *(getattr(frame, key) for key in list(Frame.__dataclass_fields__)[1:]))


@pytest.mark.parametrize("name", ["", " a.png", "a\nb.png", "a\0b.png", "a\ud800.png"])
def test_names_that_cannot_be_written(tmp_path, name):
    frame = _random_frames(tmp_path, 1)[0]
    with pytest.raises(InputError, match="cannot hold this name"):
        write_colmap(tmp_path / "out", [_renamed(frame, name)], NOTE)
    with pytest.raises(InputError, match="two frames have this name"):
        write_colmap(tmp_path / "out", [frame, frame], NOTE)
    with pytest.raises(InputError, match="camera is not known"):
        write_colmap(tmp_path / "out", [Frame("x", tmp_path, 4, 4)], NOTE)
    assert not (tmp_path / "out").exists()


# ---- against pycolmap


@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_pycolmap_reads_what_we_write(tmp_path, suffix):
    pycolmap = pytest.importorskip("pycolmap")
    frames = _random_frames(tmp_path, 7)
    if suffix == ".txt":  # COLMAP's own text reader ends names at the first space
        frames = tuple(_renamed(frame, frame.name.replace(" ", "_")) for frame in frames)
    write_colmap(tmp_path, frames, NOTE)
    for other in tmp_path.glob("*.txt" if suffix == ".bin" else "*.bin"):
        other.unlink()
    model = pycolmap.Reconstruction(str(tmp_path))
    assert len(model.points3D) == 0
    by_name = {image.name: image for image in model.images.values()}
    assert set(by_name) == {frame.name for frame in frames}
    for frame in frames:
        image = by_name[frame.name]
        camera_from_world = np.eye(4)
        camera_from_world[:3] = image.cam_from_world().matrix()
        np.testing.assert_allclose(np.linalg.inv(camera_from_world), frame.world_from_camera, atol=1e-12)
        camera = model.cameras[image.camera_id]
        assert (camera.width, camera.height) == (320, 240)
        assert tuple(camera.params) == (*frame.fxfycxcy_px, *frame.distortion)
        # The ray through a point, as COLMAP sees it (without distortion, which rays do not have here).
        if not frame.distortion:
            in_camera = np.append(np.asarray(camera.cam_from_img(np.array([17.5, 239.5]))).ravel()[:2], 1)
            direction = np.asarray(frame.world_from_camera)[:3, :3] @ in_camera
            np.testing.assert_allclose(
                direction / np.linalg.norm(direction), _slow_ray(frame, 17.5, 239.5)[1], atol=1e-9
            )


def _pycolmap_model(pycolmap):
    model = pycolmap.Reconstruction()
    params = {
        "SIMPLE_PINHOLE": [100, 40, 30],
        "PINHOLE": [100, 101, 40, 30],
        "SIMPLE_RADIAL": [100, 40, 30, 0.1],
        "RADIAL": [100, 40, 30, 0.1, 0.2],
        "OPENCV": [100, 101, 40, 30, 0.1, 0.2, 0.3, 0.4],
    }
    random = np.random.default_rng(3)
    for number, (kind, values) in enumerate(params.items(), start=5):
        camera = pycolmap.Camera(camera_id=number, model=kind, width=80, height=60, params=values)
        model.add_camera_with_trivial_rig(camera)
        quaternion = random.normal(size=4)
        rotation = pycolmap.Rotation3d(quaternion / np.linalg.norm(quaternion))
        pose = pycolmap.Rigid3d(rotation, random.normal(size=3))
        points = pycolmap.Point2DList([pycolmap.Point2D(np.array([1.5, 2.5]))] * (number % 3))
        image = pycolmap.Image(name=f"deep/{20 - number}.png", camera_id=number, image_id=30 - number, points2D=points)
        model.add_image_with_trivial_frame(image, pose)
    return model


@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_we_read_what_pycolmap_writes(tmp_path, suffix):
    pycolmap = pytest.importorskip("pycolmap")
    model = _pycolmap_model(pycolmap)
    (model.write_binary if suffix == ".bin" else model.write_text)(str(tmp_path))
    assert (tmp_path / f"rigs{suffix}").exists()
    assert (tmp_path / f"frames{suffix}").exists()
    frames = {frame.name: frame for frame in read_colmap(tmp_path, NO_IMAGES).frames}
    assert list(frames) == sorted(frames)
    assert len(frames) == 5
    for image in model.images.values():
        frame = frames[image.name]
        camera_from_world = np.eye(4)
        camera_from_world[:3] = image.cam_from_world().matrix()
        np.testing.assert_allclose(frame.world_from_camera, np.linalg.inv(camera_from_world), atol=1e-12)
        camera = model.cameras[image.camera_id]
        matrix = camera.calibration_matrix()
        assert frame.fxfycxcy_px == (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        extra = [camera.params[index] for index in camera.extra_params_idxs()]
        assert frame.distortion == ((*extra, 0, 0, 0, 0)[:4] if extra else ())


# ---- damaged binary files


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """Bytes of a small healthy binary model with points."""
    folder = tmp_path_factory.mktemp("healthy")
    write_colmap(folder, _random_frames(folder, 3), NOTE)
    cameras, images = (folder / "cameras.bin").read_bytes(), (folder / "images.bin").read_bytes()
    shutil.rmtree(folder)
    return cameras, images[:-8] + struct.pack("<Q2dQ", 1, 1.5, 2.5, 2**64 - 1)


def _read_bytes(cameras: bytes, images: bytes) -> None:
    """Success or InputError; anything else, warnings included, fails the test."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        (Path(folder) / "cameras.bin").write_bytes(cameras)
        (Path(folder) / "images.bin").write_bytes(images)
        try:
            scene = read_colmap(Path(folder), NO_IMAGES)
        except InputError as error:
            assert str(error).startswith(folder)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert all(np.isfinite(frame.world_from_camera).all() for frame in scene.frames)


def test_every_cut_is_an_input_error(healthy, tmp_path):
    cameras, images = healthy
    for stem, data in (("cameras", cameras), ("images", images)):
        (tmp_path / "cameras.bin").write_bytes(cameras)
        (tmp_path / "images.bin").write_bytes(images)
        assert len(read_colmap(tmp_path, NO_IMAGES)) == 3
        for damaged in (*(data[:size] for size in range(len(data))), data + b"\0"):
            (tmp_path / f"{stem}.bin").write_bytes(damaged)
            with pytest.raises(InputError, match=rf"{stem}\.bin: "):
                read_colmap(tmp_path, NO_IMAGES)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_flipped_bits_are_harmless(healthy, data):
    parts = [bytearray(part) for part in healthy]
    for _ in range(data.draw(st.integers(1, 4))):
        part = parts[data.draw(st.integers(0, 1))]
        part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _read_bytes(bytes(parts[0]), bytes(parts[1]))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_noise_is_harmless(cameras, images):
    _read_bytes(cameras, images)


def test_huge_counts_allocate_nothing(healthy, tmp_path):
    cameras, images = healthy
    (tmp_path / "cameras.bin").write_bytes(cameras)
    first_points = images.index(b"\0", 8 + 4 + 7 * 8 + 4) + 1
    for position in (0, first_points):
        (tmp_path / "images.bin").write_bytes(images[:position] + b"\xff" * 8 + images[position + 8 :])
        tracemalloc.start()
        with pytest.raises(InputError, match="ends too early for 18446744073709551615 entries"):
            read_colmap(tmp_path, NO_IMAGES)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000

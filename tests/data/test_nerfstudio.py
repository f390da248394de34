import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rayzer.data.exchange import cameras_from_frames, frames_from_cameras
from rayzer.data.formats import find_scenes, read_scene, recognise
from rayzer.data.scenes import Frame
from rayzer.data.sources.nerfstudio import read_transforms, write_transforms
from rayzer.data.sources.source import ReadOptions
from rayzer.data.views import open_image
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras

# One original camera: OpenCV axes equal to the world's, centre (1, 2, 3). In OpenGL axes its y and z flip.
# Saved with today's applied_transform (x, y, z) -> (x, z, -y), and the legacy one (x, y, z) -> (y, x, -z).
TODAY = """{"w": 8, "h": 6, "fl_x": 10, "fl_y": 11, "cx": 4, "cy": 3, "camera_model": "OPENCV",
  "applied_transform": [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]],
  "frames": [{"file_path": "./images/a b.png", "colmap_im_id": 7,
    "transform_matrix": [[1, 0, 0, 1], [0, 0, -1, 3], [0, 1, 0, -2], [0, 0, 0, 1]]}]}"""
LEGACY = """{"w": 8, "h": 6, "fl_x": 10, "fl_y": 11, "cx": 4, "cy": 3,
  "applied_transform": [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]],
  "frames": [{"file_path": "images/a b.png",
    "transform_matrix": [[0, -1, 0, 2], [1, 0, 0, 1], [0, 0, 1, -3], [0, 0, 0, 1]]}]}"""
ORIGINAL = [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a b", "b", "c"):
        Image.new("RGB", (8, 6)).save(tmp_path / f"images/{name}.png")
    return tmp_path


def _write(folder: Path, data) -> Path:
    path = folder / "transforms.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def _scene(count: int = 2, **lens) -> dict:
    names = ["images/a b.png", "images/b.png", "images/c.png"][:count]
    lens = lens or {"w": 8, "h": 6, "fl_x": 10.0, "fl_y": 11.0, "cx": 4.5, "cy": 2.5}
    return lens | {"frames": [{"file_path": name, "transform_matrix": np.eye(4).tolist()} for name in names]}


@pytest.mark.parametrize("text", [TODAY, LEGACY], ids=["today", "legacy"])
def test_reads_hand_typed_files(folder, text):
    (frame,) = read_transforms(_write(folder, text)).frames
    assert frame.world_from_camera is not None
    assert frame.world_from_camera.tolist() == ORIGINAL
    assert frame.fxfycxcy_px == (10, 11, 4, 3)
    assert (frame.width_px, frame.height_px, frame.distortion) == (8, 6, ())
    assert (frame.name, frame.image) == ("a b.png", folder / "images/a b.png")


def test_legacy_transform_is_assumed_beside_a_colmap_model_only(folder):
    data = json.loads(LEGACY)
    del data["applied_transform"]
    path = _write(folder, data)
    plain = read_transforms(path)
    assert plain.notes == ()
    np.testing.assert_array_equal(plain.frames[0].world_from_camera[:3, 3], [2, 1, -3])
    (folder / "colmap/sparse/0").mkdir(parents=True)
    scene = read_transforms(path)
    assert scene.frames[0].world_from_camera.tolist() == ORIGINAL
    assert "applied_transform" in scene.notes[0]


def test_applied_scale_is_undone(folder):
    data = json.loads(TODAY)
    data["applied_scale"] = 0.5
    (frame,) = read_transforms(_write(folder, data)).frames
    np.testing.assert_allclose(frame.world_from_camera[:3, 3], [2, 4, 6])
    np.testing.assert_allclose(frame.world_from_camera[:3, :3], np.eye(3))


def test_frames_are_sorted_and_named(folder):
    data = _scene(3)
    data["frames"].reverse()
    scene = read_transforms(_write(folder, data))
    assert [frame.name for frame in scene.frames] == ["a b.png", "b.png", "c.png"]
    (folder / "other").mkdir()
    Image.new("RGB", (8, 6)).save(folder / "other/b.png")
    data["frames"][0]["file_path"] = "other/b.png"
    names = [frame.name for frame in read_transforms(_write(folder, data)).frames]
    assert names == ["images/a b.png", "images/b.png", "other/b.png"]


def test_intrinsics_per_frame_and_what_may_be_missing(folder):
    data = _scene(2, camera_angle_x=1.0)
    Image.new("RGB", (80, 60)).save(folder / "images/b.png")
    data["frames"][1] |= {"w": 80, "h": 60, "cy": 7, "k1": 0.5, "p2": 0.25, "k3": 0.125}
    first, second = read_transforms(_write(folder, data)).frames
    focal = 4 / math.tan(0.5)
    np.testing.assert_allclose(first.fxfycxcy_px, [focal, focal, 4, 3])  # 8 x 6 from the picture
    np.testing.assert_allclose(second.fxfycxcy_px, [10 * focal, 10 * focal, 40, 7])
    assert second.distortion == (0.5, 0, 0, 0.25, 0.125)


def test_the_top_level_wins_as_in_nerfstudio(folder):
    data = _scene(1)
    data["frames"][0] |= {"fl_x": 99.0}
    data["distortion_params"] = [0.1, 0.2, 0, 0, 0.3, 0.4]
    (frame,) = read_transforms(_write(folder, data)).frames
    assert frame.fxfycxcy_px == (10, 11, 4.5, 2.5)
    assert frame.distortion == (0.1, 0.2, 0.3, 0.4)


def test_blender_names_have_no_extension(folder):
    data = _scene(1, camera_angle_x=0.6911112070083618)
    data["frames"][0]["file_path"] = "./images/b"
    (frame,) = read_transforms(_write(folder, data)).frames
    assert (frame.name, frame.image) == ("b.png", folder / "images/b.png")


def test_missing_pictures(folder):
    data = _scene(2)
    data["frames"][1]["file_path"] = "images/lost.png"
    path = _write(folder, data)
    scene = read_transforms(path)
    assert [(frame.name, frame.image is None) for frame in scene.frames] == [("a b.png", False), ("lost.png", True)]
    assert scene.present == [0]
    ((lost, why),) = scene.skipped
    assert lost == folder / "images/lost.png"
    assert "transforms.json: frame 1 (images/lost.png): there is no such picture" in why
    (folder / "images/a b.png").unlink()
    with pytest.raises(InputError, match=r"transforms.json: frame 0 .*a b.png does not exist, nor does any other"):
        read_transforms(path)


def test_names_too_long_for_a_file_are_missing_pictures(folder):
    data = _scene(2)
    data["frames"][1]["file_path"] = "x" * 253  # with a suffix it is longer than a name may be
    assert read_transforms(_write(folder, data)).present == [0]


def test_pictures_outside(folder):
    inner = folder / "json"
    inner.mkdir()
    data = _scene(1)
    data["frames"][0]["file_path"] = "../images/b.png"
    path = _write(inner, data)
    with pytest.raises(InputError, match="allow-outside"):
        read_transforms(path)
    (frame,) = read_transforms(path, ReadOptions(allow_outside=True)).frames
    assert frame.name == "b.png"
    data["frames"][0]["file_path"] = str(folder / "images/c.png")
    (frame,) = read_transforms(_write(inner, data), ReadOptions(allow_outside=True)).frames
    assert (frame.name, frame.image) == ("c.png", folder / "images/c.png")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("frames"), "frames: expected a list"),
        (lambda d: d.update(frames=[]), "frames: expected a list"),
        (lambda d: d.update(frames=[3]), "frame 0: expected an object"),
        (lambda d: d["frames"][1].pop("transform_matrix"), "frame 1: transform_matrix: missing"),
        (lambda d: d["frames"][1].pop("file_path"), "frame 1: file_path: missing"),
        (lambda d: d["frames"][1].update(file_path=3), "frame 1: file_path: expected"),
        (
            lambda d: d["frames"][1].update(transform_matrix=[[1]]),
            r"frame 1 \(images/b.png\): transform_matrix",
        ),
        (
            lambda d: d["frames"][1]["transform_matrix"][0].__setitem__(0, 2),
            r"frame 1 .*transform_matrix: .*rotat",
        ),
        (lambda d: d["frames"][1]["transform_matrix"][0].__setitem__(3, None), "frame 1 .*transform_matrix"),
        (lambda d: d["frames"][1].update(file_path="images/a b.png"), "frames: images/a b.png stands in two"),
        (lambda d: d.pop("fl_x"), "frame 0 .*fl_x: missing"),
        (lambda d: d.update(fl_x=-1), "frame 0 .*focal"),
        (lambda d: d.update(cx="4"), "frame 0 .*cx: expected a number"),
        (lambda d: d.update(w=0), "frame 0 .*w: 0 is not a size"),
        (lambda d: d.update(k4=0.1), "frame 0 .*k4"),
        (lambda d: d.update(camera_model="OPENCV_FISHEYE"), "frame 0 .*camera_model"),
        (lambda d: d.update(camera_model=[1]), "frame 0 .*camera_model"),
        (lambda d: d.update(is_fisheye=True), "frame 0 .*camera_model"),
        (lambda d: d.update(applied_transform=[[1, 0, 0, 0]]), "applied_transform: expected 3 lists"),
        (
            lambda d: d.update(applied_transform=[[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
            "applied_transform: ",
        ),
        (lambda d: d.update(applied_scale=0), "applied_scale: 0 is not a scale"),
    ],
)
def test_names_file_frame_and_key(folder, change, says):
    data = _scene(2)
    change(data)
    with pytest.raises(InputError, match=f"transforms.json: {says}"):
        read_transforms(_write(folder, data))


def test_angles_out_of_range(folder):
    for angle in (0, 3.2, "wide"):
        with pytest.raises(InputError, match=r"frame 0 .*camera_angle_x"):
            read_transforms(_write(folder, _scene(1, camera_angle_x=angle)))


def _collect(problems: list) -> ReadOptions:
    """Options that go on after every problem, and write it down."""
    return ReadOptions(report=lambda kind, error: problems.append((kind, str(error))))


def test_numbers_that_are_not_finite_are_a_matter_of_their_frame(folder):
    data = _scene(3)
    data["frames"][1]["transform_matrix"][0][3] = math.nan
    data["frames"][2]["transform_matrix"][2][3] = math.inf
    path = _write(folder, data)
    with pytest.raises(InputError, match=r"frame 1 \(images/b\.png\): transform_matrix: the number is not finite"):
        read_transforms(path)
    problems = []
    scene = read_transforms(path, _collect(problems))
    assert [frame.world_from_camera is None for frame in scene.frames] == [False, True, True]
    assert [frame.fxfycxcy_px for frame in scene.frames] == [(10, 11, 4.5, 2.5)] * 3
    assert [kind for kind, _ in problems] == ["pose", "pose"]
    with pytest.raises(InputError, match=r"frame 0 .*fl_y: the number is not finite"):
        read_transforms(_write(folder, TODAY.replace("11", "1e999")))
    with pytest.raises(InputError, match=r"applied_scale: the number is not finite"):
        read_transforms(_write(folder, _scene(1) | {"applied_scale": math.nan}))


# ---- the picture that is there


def _downscaled(folder: Path, **sizes: tuple[int, int]) -> None:
    """Replace `images/` by other folders of pictures, of these sizes."""
    shutil.rmtree(folder / "images")
    for name, size in sizes.items():
        (folder / name).mkdir()
        for stem in ("a b", "b", "c"):
            Image.new("RGB", size).save(folder / name / f"{stem}.png")


def test_intrinsics_follow_the_size_of_the_picture(folder):
    data = _scene(1, w=32, h=18, fl_x=40.0, fl_y=36.0, cx=15.0, cy=9.0, k1=0.1)
    Image.new("RGB", (16, 9)).save(folder / "images/a b.png")
    (frame,) = read_transforms(_write(folder, data)).frames
    assert (frame.width_px, frame.height_px) == (16, 9)
    assert frame.fxfycxcy_px == (20, 18, 7.5, 4.5)
    assert frame.distortion == (0.1, 0, 0, 0)


def test_each_axis_has_its_own_factor(folder):
    """1920x1079 halves to 960x540 or 960x539: neither is exactly half."""
    data = _scene(1, w=1920, h=1079, fl_x=1000.0, cx=960.0, cy=539.5)
    for height in (539, 540):
        Image.new("RGB", (960, height)).save(folder / "images/a b.png")
        (frame,) = read_transforms(_write(folder, data)).frames
        np.testing.assert_allclose(frame.fxfycxcy_px, [500, 1000 * height / 1079, 480, height / 2])


def test_another_shape_is_wrong_intrinsics(folder):
    data = _scene(1, w=1080, h=1920, fl_x=1000.0)
    Image.new("RGB", (192, 108)).save(folder / "images/a b.png")
    path = _write(folder, data)
    with pytest.raises(InputError, match=r"frame 0 .*192x108 pixels, its camera 1080x1920.*the cameras were estimated"):
        read_transforms(path)
    problems = []
    (frame,) = read_transforms(path, _collect(problems)).frames
    assert [kind for kind, _ in problems] == ["intrinsics"]
    assert (frame.fxfycxcy_px, frame.width_px, frame.height_px) == (None, 192, 108)
    assert frame.world_from_camera is not None
    assert read_transforms(path, ReadOptions(cameras=False)).frames[0].image is not None


def test_cameras_for_the_stored_picture(folder):
    """Programs that estimate cameras mostly do not look at EXIF orientation, so neither do we."""
    exif = Image.Exif()
    for orientation, size in ((3, (20, 10)), (6, (20, 10)), (8, (10, 10))):
        exif[274] = orientation
        pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images/a b.png", exif=exif)
        width, height = 2 * size[0], 2 * size[1]
        (frame,) = read_transforms(_write(folder, _scene(1, w=width, h=height, fl_x=30.0, cx=12.0, cy=8.0))).frames
        assert (frame.width_px, frame.height_px) == size
        np.testing.assert_allclose(frame.fxfycxcy_px, [15, 15, 6, 4])
        np.testing.assert_array_equal(open_image(frame), pixels)


def test_cameras_for_the_picture_as_exif_turns_it(folder):
    """Where only that has the shape of the lens."""
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (20, 10)).save(folder / "images/a b.png", exif=exif)
    (frame,) = read_transforms(_write(folder, _scene(1, w=20, h=40, fl_x=30.0))).frames
    assert (frame.width_px, frame.height_px) == open_image(frame).size == (10, 20)
    np.testing.assert_allclose(frame.fxfycxcy_px, [15, 15, 5, 10])


def test_wrong_cameras_do_not_matter_to_who_asks_for_none(folder):
    scene = _scene(1, applied_transform=[[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], applied_scale=0)
    del scene["frames"][0]["transform_matrix"]
    path = _write(folder, scene)
    with pytest.raises(InputError):
        read_transforms(path)
    (frame,) = read_transforms(path, ReadOptions(cameras=False)).frames
    assert (frame.image is not None, frame.world_from_camera, frame.fxfycxcy_px) == (True, None, None)
    assert recognise(path).name == "nerfstudio"


@pytest.mark.parametrize("empty", [True, False], ids=["empty images", "no images"])
def test_the_largest_smaller_copy_stands_in(folder, empty):
    _downscaled(folder, images_8=(4, 3), images_2=(16, 12), images_10=(3, 2), images_old=(5, 5))
    if empty:
        (folder / "images").mkdir()
        (folder / "images/.keep").touch()
    path = _write(folder, _scene(3, w=32, h=24, fl_x=20.0))
    scene = read_transforms(path)
    assert [frame.image for frame in scene.frames] == [folder / f"images_2/{name}.png" for name in ("a b", "b", "c")]
    assert [frame.name for frame in scene.frames] == ["a b.png", "b.png", "c.png"]
    assert {frame.fxfycxcy_px for frame in scene.frames} == {(10, 10, 8, 6)}
    assert scene.skipped == ()
    (folder / "images_2/b.png").unlink()
    scene = read_transforms(path)
    assert [frame.image is None for frame in scene.frames] == [False, True, False]
    assert (scene.frames[1].width_px, scene.frames[1].fxfycxcy_px) == (32, (20, 20, 16, 12))


def test_copies_keep_their_folders_and_images_comes_first(folder):
    data = _scene(2, w=32, h=24, fl_x=20.0)
    for number, side in enumerate(("left", "right")):
        (folder / "images_4" / side).mkdir(parents=True)
        Image.new("RGB", (8, 6)).save(folder / "images_4" / side / "0.png")
        data["frames"][number]["file_path"] = f"images/{side}/0.png"
    with pytest.raises(InputError, match="does not exist, nor does any other"):
        read_transforms(_write(folder, data))  # images/ is there
    shutil.rmtree(folder / "images")
    names = [frame.name for frame in read_transforms(_write(folder, data)).frames]
    assert names == ["images_4/left/0.png", "images_4/right/0.png"]


def test_a_copy_needs_the_size_that_the_focal_length_is_for(folder):
    _downscaled(folder, images_4=(8, 6))
    with pytest.raises(InputError, match=r"frame 0 .*w, h: missing"):
        read_transforms(_write(folder, _scene(1, fl_x=20.0)))
    (frame,) = read_transforms(_write(folder, _scene(1, camera_angle_x=math.pi / 2))).frames
    np.testing.assert_allclose(frame.fxfycxcy_px, [4, 4, 4, 3])


def test_a_damaged_picture_is_named_with_its_frame(folder):
    (folder / "images/b.png").write_bytes(b"no picture")
    path = _write(folder, _scene(3))
    with pytest.raises(
        InputError, match=r"transforms\.json: frame 1 \(images/b\.png\): .*b\.png: is not a picture"
    ) as caught:
        read_transforms(path)
    assert "\n" not in str(caught.value)
    problems = []
    scene = read_transforms(path, _collect(problems))
    assert [kind for kind, _ in problems] == ["image"]
    assert scene.present == [0, 2]
    assert scene.frames[1].world_from_camera is not None


def test_natural_order(folder):
    names = ["frame_10", "frame_9", "Frame_100", "frame_2"]
    for name in names:
        Image.new("RGB", (8, 6)).save(folder / f"images/{name}.png")
    data = _scene(1)
    frame = data["frames"].pop()
    data["frames"] = [frame | {"file_path": f"images/{name}.png"} for name in names]
    scene = read_transforms(_write(folder, data))
    assert [frame.name[6:-4] for frame in scene.frames] == ["2", "9", "10", "100"]


def test_without_cameras_nothing_about_them_is_checked(folder):
    data = _scene(2, w=-1, fl_x="x", camera_model=3)
    data["frames"][1]["transform_matrix"] = "?"
    scene = read_transforms(_write(folder, data), ReadOptions(cameras=False))
    assert [(frame.width_px, frame.height_px) for frame in scene.frames] == [(8, 6), (8, 6)]
    assert all(frame.world_from_camera is frame.fxfycxcy_px is None for frame in scene.frames)


# ---- Blender

BLENDER = """{"camera_angle_x": 0.6911112070083618, "frames": [
  {"file_path": "./train/r_10", "rotation": 0.012566370614359171, "transform_matrix": [
    [-0.9999021887779236, 0.004192245192825794, -0.013345719315111637, -0.05379832163453102],
    [-0.013988681137561798, -0.2996590733528137, 0.95394366979599, 3.845470428466797],
    [-4.656612873077393e-10, 0.9540371894836426, 0.29968830943107605, 1.2080823183059692],
    [0.0, 0.0, 0.0, 1.0]]},
  {"file_path": "./train/r_2", "rotation": 0.012566370614359171, "transform_matrix": [
    [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]}]}"""


@pytest.fixture
def lego(tmp_path):
    """A Blender scene of two splits, its pictures RGBA: half transparent, half red."""
    for split in ("train", "test"):
        (tmp_path / "lego" / split).mkdir(parents=True)
        for number in (2, 10):
            picture = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
            picture.paste((255, 0, 0, 255), (40, 0, 80, 80))
            picture.save(tmp_path / "lego" / split / f"r_{number}.png")
        text = BLENDER.replace("train", split)
        (tmp_path / "lego" / f"transforms_{split}.json").write_text(text)
    return tmp_path / "lego"


def test_reads_a_hand_typed_blender_scene(lego, seen_at):
    train, test = find_scenes(lego)
    assert (read_scene(train).name, read_scene(test).name) == ("lego_train", "lego_test")
    with pytest.raises(InputError, match=r"holds 2 scenes.*transforms_train\.json"):
        read_scene(lego)
    first, second = read_scene(train).frames
    assert [first.name, second.name] == ["r_2.png", "r_10.png"]
    focal = 40 / math.tan(0.5 * 0.6911112070083618)
    np.testing.assert_allclose(first.fxfycxcy_px, [focal, focal, 40, 40])
    # The camera stands 4 above the origin and looks down at it; up in the picture is the world's y.
    np.testing.assert_allclose(seen_at(first, (0, 0, 0)), [40, 40])
    np.testing.assert_allclose(seen_at(first, (1, 0, 0)), [40 + focal / 4, 40])
    np.testing.assert_allclose(seen_at(first, (0, 1, 0)), [40, 40 - focal / 4])
    np.testing.assert_allclose(seen_at(second, (0, 0, 0)), [40, 40], atol=1.5)  # all of them look at it, about


def test_transparent_becomes_white(lego):
    frame = read_transforms(lego / "transforms_train.json").frames[0]
    pixels = np.asarray(open_image(frame))
    assert pixels[:, :40].min() == 255
    assert (pixels[:, 40:] == [255, 0, 0]).all()


# ---- a slow twin


def _slow_pixel(data: dict, entry: dict, point: np.ndarray) -> np.ndarray:
    """Where nerfstudio sees a point of the original world, as its documentation says it, in declared pixels."""
    applied = np.array(data.get("applied_transform", np.eye(4)[:3]))
    saved = data.get("applied_scale", 1.0) * (applied[:, :3] @ point + applied[:, 3])
    matrix = np.array(entry["transform_matrix"])
    right, up, back = np.linalg.inv(matrix[:3, :3]) @ (saved - matrix[:3, 3])
    return np.array([data["fl_x"] * right / -back + data["cx"], data["fl_y"] * -up / -back + data["cy"]])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1),
    centre=st.tuples(*[st.floats(-20, 20)] * 3),
    ahead=st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.5, 9)),
    applied=st.sampled_from([None, LEGACY, TODAY]),
    scale=st.sampled_from([1.0, 0.125, 3.0]),
)
def test_sees_what_the_documentation_says(folder, seen_at, quaternion, centre, ahead, applied, scale):
    x, y, z, w = np.array(quaternion) / math.hypot(*quaternion)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    matrix[:3, 3] = centre
    data = _scene(1, w=80, h=60, fl_x=50.0, fl_y=45.0, cx=37.0, cy=31.0) | {"applied_scale": scale}
    if applied is not None:
        data["applied_transform"] = json.loads(applied)["applied_transform"]
        data["applied_transform"][1][3] = 0.5
    data["frames"][0]["transform_matrix"] = matrix.tolist()
    (frame,) = read_transforms(_write(folder, data)).frames
    point = (np.asarray(frame.world_from_camera) @ [*ahead, 1.0])[:3]
    expected = _slow_pixel(data, data["frames"][0], point) / 10  # the picture is 8x6
    np.testing.assert_allclose(seen_at(frame, point), expected, rtol=0, atol=1e-9)


def _random_frames(folder: Path, count: int = 3) -> tuple[Frame, ...]:
    generator = torch.Generator().manual_seed(1)
    rotation = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))[0]
    pose = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    pose[:, :3, :3] = rotation * torch.linalg.det(rotation)[:, None, None]
    pose[:, :3, 3] = torch.randn(count, 3, generator=generator, dtype=torch.float64) * 5
    lens = torch.rand(count, 4, generator=generator, dtype=torch.float64) + 0.3
    paths = [folder / f"images/{name}.png" for name in ("a b", "b", "c")][:count]
    return frames_from_cameras(Cameras(pose, lens), [path.name for path in paths], paths, 8, 6)


def _slow_ray(frame: Frame, x_px: float, y_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Origin and unit direction of the ray through one point of the picture, from the textbook."""
    assert frame.fxfycxcy_px is not None
    fx, fy, cx, cy = frame.fxfycxcy_px
    pose = np.asarray(frame.world_from_camera)
    in_camera = np.array([(x_px - cx) / fx, (y_px - cy) / fy, 1.0])
    in_world = pose[:3, 0] * in_camera[0] + pose[:3, 1] * in_camera[1] + pose[:3, 2] * in_camera[2]
    return pose[:3, 3], in_world / np.linalg.norm(in_world)


def test_round_trip_keeps_rays_even_beside_a_colmap_model(folder):
    frames = _random_frames(folder)
    (folder / "colmap/sparse/0").mkdir(parents=True)  # must not make a reader assume the legacy transform
    write_transforms(folder / "transforms.json", frames, "made up")
    scene = read_transforms(folder / "transforms.json")
    assert scene.notes == ()
    for before, after in zip(frames, scene.frames, strict=True):
        assert (after.name, after.image) == (before.name, before.image)
        for x_px, y_px in ((0, 0), (8, 0), (3.5, 5.5)):
            for a, b in zip(_slow_ray(before, x_px, y_px), _slow_ray(after, x_px, y_px), strict=True):
                np.testing.assert_allclose(b, a, atol=1e-6)


def test_writes_what_nerfstudio_expects(folder):
    """The steps of nerfstudio's own loader, by hand."""
    frames = _random_frames(folder, 2)
    write_transforms(folder / "transforms.json", frames, "learned frame, not metric")
    meta = json.loads((folder / "transforms.json").read_text())
    assert meta["note"] == "learned frame, not metric"
    assert meta["camera_model"] == "OPENCV"
    original_from_saved = np.linalg.inv(np.array([*meta["applied_transform"], [0, 0, 0, 1]]))
    for frame, entry in zip(frames, meta["frames"], strict=True):
        assert entry["file_path"] == f"images/{frame.name}"
        assert [entry[key] for key in ("w", "h")] == [8, 6]
        assert tuple(entry[key] for key in ("fl_x", "fl_y", "cx", "cy")) == frame.fxfycxcy_px
        assert [entry[key] for key in ("k1", "k2", "p1", "p2")] == [0, 0, 0, 0]
        opengl = original_from_saved @ np.array(entry["transform_matrix"])
        pose = np.asarray(frame.world_from_camera)
        np.testing.assert_allclose(opengl[:3, 1], -pose[:3, 1])  # up is minus down
        np.testing.assert_allclose(opengl[:3, 2], -pose[:3, 2])  # backward is minus forward
        np.testing.assert_allclose(opengl[:3, [0, 3]], pose[:3, [0, 3]])


def test_writer_needs_cameras_and_files(folder):
    for frame in (
        Frame("x.png", folder / "x.png", 8, 6),
        Frame("x.png", folder / "x.png", 8, 6, (1, 1, 1, 1), world_from_camera=np.full((4, 4), np.nan)),
        Frame("x.png", folder / "x.png", 8, 6, (1, 1, 1, 1), (0, 0, 0, 0, 0.1), np.eye(4)),
        Frame("x.png", np.zeros((6, 8, 3), np.uint8), 8, 6, (1, 1, 1, 1), world_from_camera=np.eye(4)),
    ):
        with pytest.raises(InputError, match=r"^x\.png: "):
            write_transforms(folder / "out.json", [frame], "")
    assert not (folder / "out.json").exists()


def test_frames_and_cameras_exchange(folder):
    frames = _random_frames(folder)
    cameras = cameras_from_frames(frames)
    assert cameras.world_from_camera.dtype == torch.float64
    again = frames_from_cameras(cameras, ["1", "2", "3"], [Path("x")] * 3, 16, 12)
    for before, after in zip(frames, again, strict=True):
        np.testing.assert_allclose(np.array(after.fxfycxcy_px) / 2, before.fxfycxcy_px)
        np.testing.assert_array_equal(after.world_from_camera, before.world_from_camera)
    with pytest.raises(ValueError, match="zip"):
        frames_from_cameras(cameras, ["1"], [Path("x")] * 3, 16, 12)


def test_reads_the_fox(real_scene):
    scene = read_transforms(real_scene("fox") / "transforms.json")
    assert len(scene) == 67
    assert len(scene.present) == 50
    assert len(scene.skipped) == 17  # listed in the file, but not published: they keep their numbers
    assert scene.name == "fox"
    assert [frame.name for frame in scene.frames] == sorted(frame.name for frame in scene.frames)
    for frame in scene.frames:  # the missing ones, too, have the size that the file says
        assert (frame.width_px, frame.height_px) == (1080, 1920)
        assert frame.fxfycxcy_px == (1375.52, 1374.49, 554.558, 965.268)
        assert len(frame.distortion) == 4
        rotation = np.asarray(frame.world_from_camera)[:3, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-5)
        assert np.linalg.det(rotation) > 0

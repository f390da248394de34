import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rayzer.data.exchange import cameras_from_frames, frames_from_cameras
from rayzer.data.scenes import Frame
from rayzer.data.sources.nerfstudio import read_transforms, write_transforms
from rayzer.data.sources.source import ReadOptions
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras

FOX = Path(__file__).parents[3] / "shared/real/fox/transforms.json"
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


def test_nan_is_refused(folder):
    with pytest.raises(InputError, match=r"transforms\.json: NaN"):
        read_transforms(_write(folder, TODAY.replace("11", "NaN")))


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


@pytest.mark.skipif(not FOX.is_file(), reason="the fox scene is not here")
def test_reads_the_fox():
    scene = read_transforms(FOX)
    assert len(scene) == 67
    assert len(scene.present) == 50
    assert len(scene.skipped) == 17  # listed in the file, but not published: they keep their numbers
    assert scene.name == "fox"
    assert [frame.name for frame in scene.frames] == sorted(frame.name for frame in scene.frames)
    for frame in scene.frames:
        assert (frame.width_px, frame.height_px) == (1080, 1920)
        assert len(frame.distortion) == 4
        rotation = np.asarray(frame.world_from_camera)[:3, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-5)
        assert np.linalg.det(rotation) > 0

import json
import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayzer.data.formats import find_scenes, read_scene, recognise
from rayzer.data.sources.dl3dv import read_dl3dv
from rayzer.data.sources.source import ReadOptions
from rayzer.errors import InputError

HASH = "07d9f9724ca854fae07cb4c57d7ea22bf667d5decd4058f547728922f909956b"
# A scene as released: full resolution 3840x2160, COLMAP's random order, frame 2 of 4 without a pose. One camera
# stands at (1, 2, 3) of COLMAP's world with its axes, saved with (x, y, z) -> (y, x, -z) and OpenGL's axes.
TRANSFORMS = """{"w": 3840, "h": 2160, "fl_x": 1880.0, "fl_y": 1884.0, "cx": 1920.0, "cy": 1080.0,
  "k1": -0.0125, "k2": 0.0025, "p1": 0.0005, "p2": -0.00025, "camera_model": "OPENCV",
  "applied_transform": [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [-0.0, -0.0, -1.0, -0.0]],
  "frames": [
    {"file_path": "images/frame_00004.png", "colmap_im_id": 3,
     "transform_matrix": [[0, -1, 0, 2.5], [1, 0, 0, 1], [0, 0, 1, -3], [0, 0, 0, 1]]},
    {"file_path": "images/frame_00001.png", "colmap_im_id": 1,
     "transform_matrix": [[0, -1, 0, 2], [1, 0, 0, 1], [0, 0, 1, -3], [0, 0, 0, 1]]},
    {"file_path": "images/frame_00003.png", "colmap_im_id": 2,
     "transform_matrix": [[0, -1, 0, 2.25], [1, 0, 0, 1], [0, 0, 1, -3], [0, 0, 0, 1]]}]}"""
NAMES = [f"frame_0000{number}.png" for number in (1, 2, 3, 4)]
LAYOUTS = {"released": "", "benchmark": "nerfstudio", "sample": "colmap"}


def _scene(root: Path, inner: str = "", folder: str = "images_8", size: tuple[int, int] = (480, 270)) -> Path:
    """The folder of a scene whose files lie in `inner`."""
    pictures = root / HASH / inner / folder
    pictures.mkdir(parents=True)
    for name in NAMES:
        Image.new("RGB", size).save(pictures / name)
    (root / HASH / inner / "transforms.json").write_text(TRANSFORMS)
    return root / HASH


def _rewrite(scene: Path, change) -> None:
    data = json.loads(TRANSFORMS)
    change(data)
    (scene / "transforms.json").write_text(json.dumps(data))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("folder", "size"), [("images_4", (960, 540)), ("images_8", (480, 270))])
def test_reads_a_hand_typed_scene_in_every_layout(tmp_path, seen_at, layout, folder, size):
    path = _scene(tmp_path / "1K", LAYOUTS[layout], folder, size)
    (path / "gaussian_splat").mkdir()
    (path / "gaussian_splat/cameras.json").write_text("[]")
    scene = read_scene(path)
    assert (scene.name, scene.source) == (HASH, path)
    assert [frame.name for frame in scene.frames] == [NAMES[0], NAMES[2], NAMES[3]]
    (note,) = scene.notes
    assert note.startswith("Left out: pictures without a pose in transforms.json (1); ")
    first = scene.frames[0]
    assert first.image == path / LAYOUTS[layout] / folder / NAMES[0]
    assert (first.width_px, first.height_px) == size
    assert first.distortion == (-0.0125, 0.0025, 0.0005, -0.00025)
    assert first.world_from_camera is not None
    assert first.world_from_camera.tolist() == [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    # by hand: 4 ahead of the camera, 1 to the right of it and 2 below, in pixels of 3840x2160
    full = np.array([1880 * 1 / 4 + 1920, 1884 * 2 / 4 + 1080])
    np.testing.assert_allclose(seen_at(first, (2, 4, 7)), full * size[0] / 3840, rtol=0, atol=1e-9)


def test_the_real_size_counts_not_the_number_in_the_folder(tmp_path):
    """Some scenes were shot at 2K: their `images_4` are 480x270, whatever `w` and `h` say."""
    frame = read_dl3dv(_scene(tmp_path, folder="images_4", size=(480, 270))).frames[0]
    assert (frame.width_px, frame.height_px) == (480, 270)
    np.testing.assert_allclose(frame.fxfycxcy_px, [235, 235.5, 240, 135])


def test_vertical_videos_are_read(tmp_path):
    path = _scene(tmp_path, size=(270, 480))
    _rewrite(path, lambda data: data.update(w=2160, h=3840, cx=1080.0, cy=1920.0))
    assert read_dl3dv(path).frames[0].fxfycxcy_px == (235, 235.5, 135, 240)


def test_the_largest_copy_wins(tmp_path):
    path = _scene(tmp_path, "nerfstudio", "images_8")
    shutil.copytree(path / "nerfstudio/images_8", path / "nerfstudio/images_4")
    assert {frame.image.parent.name for frame in read_dl3dv(path).frames} == {"images_4"}
    assert {frame.image.parent.name for frame in read_dl3dv(path, ReadOptions(cameras=False)).frames} == {"images_4"}


@pytest.mark.parametrize("inner", LAYOUTS.values())
def test_is_found_however_it_is_pointed_at(tmp_path, inner, monkeypatch):
    path = _scene(tmp_path / "batch", inner)
    for place in (path, path / inner, path / inner / "transforms.json"):
        assert recognise(place).name == "dl3dv"
        assert read_scene(place).name == HASH
    assert [ref.path for ref in find_scenes(tmp_path)] == [path]
    monkeypatch.chdir(path / inner)
    assert recognise(Path()).name == "dl3dv"
    assert read_scene(Path()).name == HASH


def test_other_scenes_are_left_to_nerfstudio(tmp_path):
    path = _scene(tmp_path).rename(tmp_path / "my scene")
    assert recognise(path).name == "nerfstudio"
    nested = _scene(tmp_path, "nerfstudio").rename(tmp_path / "renamed")
    assert (recognise(nested).name, read_scene(nested).name) == ("dl3dv", "renamed")
    (path / "colmap/sparse/0").mkdir(parents=True)
    assert recognise(path).name == "nerfstudio"


def test_a_model_beside_the_scene_does_not_distract(tmp_path):
    """DL3DV's separate archive of COLMAP models unpacks to `<hash>/colmap/`."""
    path = _scene(tmp_path)
    (path / "colmap/sparse/0").mkdir(parents=True)
    assert len(read_scene(path)) == 3


# ---- pictures without poses, poses without pictures


def test_frames_have_the_same_numbers_without_cameras(tmp_path):
    path = _scene(tmp_path)
    scene = read_dl3dv(path, ReadOptions(cameras=False))
    assert [frame.name for frame in scene.frames] == [frame.name for frame in read_dl3dv(path).frames]
    assert [(frame.width_px, frame.fxfycxcy_px, frame.world_from_camera) for frame in scene.frames] == [
        (480, None, None)
    ] * 3


def test_all_pictures_are_used_as_a_plain_folder(tmp_path):
    path = _scene(tmp_path)
    assert "(1); to use all pictures without poses, give images_8/ itself" in read_dl3dv(path).notes[0]
    assert [frame.name for frame in read_scene(path / "images_8").frames] == NAMES


def test_without_transforms_it_is_a_folder_of_pictures(tmp_path):
    path = _scene(tmp_path)
    (path / "transforms.json").unlink()
    scene = read_scene(path)
    assert (scene.name, [frame.name for frame in scene.frames]) == (HASH, NAMES)
    assert scene.notes == ("There is no transforms.json: the cameras are not known.",)
    assert all(frame.world_from_camera is None for frame in scene.frames)


def test_missing_pictures_never_shift_numbers(tmp_path):
    path = _scene(tmp_path)
    (path / "images_8" / NAMES[0]).unlink()
    scene = read_dl3dv(path)
    assert [frame.name for frame in scene.frames] == [NAMES[0], NAMES[2], NAMES[3]]
    assert scene.present == [1, 2]
    ((lost, why),) = scene.skipped
    assert lost == path / "images_8" / NAMES[0]
    assert "frame 1 (images/frame_00001.png): there is no such picture" in why


@pytest.mark.parametrize("cameras", [True, False])
def test_damaged_pictures_are_reported_and_keep_their_number(tmp_path, cameras):
    path = _scene(tmp_path)
    (path / "images_8" / NAMES[2]).write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"frame_00003\.png: is ") as caught:
        read_dl3dv(path, ReadOptions(cameras=cameras))
    assert "\n" not in str(caught.value)
    problems = []
    options = ReadOptions(cameras=cameras, report=lambda kind, error: problems.append(kind))
    scene = read_dl3dv(path, options)
    assert problems == ["image"]
    assert [frame.name for frame in scene.frames if frame.image is None] == [NAMES[2]]
    assert len(scene) == 3


# ---- poses that failed


@pytest.mark.parametrize(
    ("row", "column", "value", "says"),
    [
        (0, 3, math.nan, r"frame 1 \(images/frame_00001.png\): transform_matrix: the number is not finite"),
        (1, 3, math.inf, r"frame 1 \(images/frame_00001.png\): transform_matrix: the number is not finite"),
        (2, 2, -1, r"frame 1 \(images/frame_00001.png\): transform_matrix: the pose is mirrored"),
        (2, 2, 2, r"frame 1 \(images/frame_00001.png\): transform_matrix: the 3x3 part"),
        (0, 3, 1500.0, r"transforms.json: frame_00001.png: transform_matrix: the camera is 1500 units away"),
        (0, 3, -1e7, r"transforms.json: frame_00001.png: transform_matrix: the camera is 10000000 units away"),
    ],
)
def test_poses_that_failed_are_reported(tmp_path, row, column, value, says):
    path = _scene(tmp_path)
    _rewrite(path, lambda data: data["frames"][1]["transform_matrix"][row].__setitem__(column, value))
    with pytest.raises(InputError, match=says):
        read_dl3dv(path)
    problems = []
    scene = read_dl3dv(path, ReadOptions(report=lambda kind, error: problems.append((kind, str(error)))))
    assert [kind for kind, _ in problems] == ["pose"]
    assert [frame.world_from_camera is None for frame in scene.frames] == [True, False, False]
    assert scene.present == [0, 1, 2]
    assert read_dl3dv(path, ReadOptions(cameras=False)).present == [0, 1, 2]


# ---- what is no scene


def test_archives_must_be_unzipped(tmp_path):
    batch = tmp_path / "DL3DV-ALL-480P/1K"
    batch.mkdir(parents=True)
    (batch / f"{HASH}.zip").touch()
    (batch / ".cache").mkdir()
    for call in (find_scenes, read_scene):
        for path in (batch, tmp_path):
            with pytest.raises(InputError, match=r"1K: holds only \.zip files; unzip them there"):
                call(path)
    _scene(batch)
    assert [ref.path.name for ref in find_scenes(tmp_path)] == [HASH]


def test_a_scene_without_pictures(tmp_path):
    path = _scene(tmp_path)
    shutil.rmtree(path / "images_8")
    for cameras in (True, False):
        with pytest.raises(InputError, match="holds no folder images, images_4 or images_8 with pictures"):
            read_scene(path, ReadOptions(cameras=cameras))


class _Trap:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_the_pickled_index_is_never_loaded(tmp_path):
    root = tmp_path / "benchmark"
    scene = _scene(root, "nerfstudio")
    for folder in (root, scene, scene / "nerfstudio"):
        (folder / ".cache").mkdir()
        (folder / ".cache/filelist.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    for ref in find_scenes(root):
        read_scene(ref)
    assert not (tmp_path / "sprung").exists()


def test_real_frames_of_dl3dv_without_transforms_are_photos(real_scene):
    folder = real_scene("example_0_dl3dv_000053")
    assert recognise(folder).name == "photos"
    assert [frame.name[:8] for frame in read_scene(folder).frames] == [f"view_00{number}" for number in range(5)]

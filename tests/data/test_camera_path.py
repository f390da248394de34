import json
import math

import numpy as np
import pytest
import torch

from rayzer.data.camera_path import CameraPath, read_camera_path, write_camera_path
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras

HAND_TYPED = """{
  "keyframes": [], "camera_type": "perspective",
  "render_height": 540, "render_width": 960, "fps": 24, "seconds": 2.0, "is_cycle": false, "crop": null,
  "camera_path": [
    {"camera_to_world": [1, 0, 0, 1,  0, 1, 0, 2,  0, 0, 1, 3,  0, 0, 0, 1], "fov": 90.0, "aspect": 1.6},
    {"camera_to_world": [0, 0, 1, 4,  0, 1, 0, 5, -1, 0, 0, 6,  0, 0, 0, 1], "fov": 60, "aspect": 2}
  ]
}"""


@pytest.fixture
def hand_typed(tmp_path):
    path = tmp_path / "camera_path.json"
    path.write_text(HAND_TYPED)
    return path


def test_reads_a_hand_typed_path(hand_typed):
    got = read_camera_path(hand_typed)
    assert (got.width_px, got.height_px, got.fps) == (960, 540, 24)
    # 90 degrees from top to bottom: the focal length is half the height.
    np.testing.assert_allclose(got.cameras.intrinsics_px(960, 540)[0], [300, 270, 480, 270], rtol=1e-9)
    fy = 0.5 / math.tan(math.radians(30))
    np.testing.assert_allclose(got.cameras.intrinsics[1], [fy / 2, fy, 0.5, 0.5])
    # An OpenGL camera with identity rotation looks along -z of the world, and its y is up.
    first, second = got.cameras.world_from_camera
    assert first.tolist() == [[1, 0, 0, 1], [0, -1, 0, 2], [0, 0, -1, 3], [0, 0, 0, 1]]
    assert second[:3, 2].tolist() == [-1, 0, 0]
    assert second[:3, 3].tolist() == [4, 5, 6]


def _random_cameras(count: int) -> Cameras:
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))[0]
    rotation = rotation * torch.linalg.det(rotation)[:, None, None]
    pose = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    lens = torch.tensor([0.8, 1.3, 0.5, 0.5], dtype=torch.float64).repeat(count, 1)
    lens[:, :2] *= torch.rand(count, 2, generator=generator, dtype=torch.float64) + 0.5
    return Cameras(pose, lens)


def test_round_trip(tmp_path):
    cameras = _random_cameras(5)
    write_camera_path(tmp_path / "p.json", CameraPath(cameras, 256, 144, 30.0))
    got = read_camera_path(tmp_path / "p.json")
    assert (got.width_px, got.height_px, got.fps) == (256, 144, 30)
    torch.testing.assert_close(got.cameras.world_from_camera, cameras.world_from_camera, rtol=0, atol=1e-12)
    torch.testing.assert_close(got.cameras.intrinsics, cameras.intrinsics, rtol=1e-12, atol=0)


def test_writes_what_nerfstudio_renders(tmp_path):
    """What `ns-render` does with the file: f = h / 2 / tan(fov / 2), poses as they are, fps = n / seconds."""
    square_pixels = torch.tensor([[0.9, 1.6, 0.5, 0.5]])
    camera = Cameras(torch.eye(4)[None], square_pixels)
    write_camera_path(tmp_path / "p.json", CameraPath(camera, 1600, 900, 25.0))
    data = json.loads((tmp_path / "p.json").read_text())
    (only,) = data["camera_path"]
    assert 900 / 2 / math.tan(math.radians(only["fov"]) / 2) == pytest.approx(0.9 * 1600)
    assert only["aspect"] == pytest.approx(1600 / 900)
    assert only["camera_to_world"] == [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]
    assert 1 / data["seconds"] == pytest.approx(25)


def test_refuses_to_lose_the_principal_point(tmp_path):
    cameras = Cameras(torch.eye(4)[None], torch.tensor([[1.0, 1.0, 0.4, 0.5]]))
    with pytest.raises(InputError, match="principal point"):
        write_camera_path(tmp_path / "p.json", CameraPath(cameras, 8, 8, 30.0))
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("fps"), "fps: missing"),
        (lambda d: d.update(fps=0), "fps: 0 is out of range"),
        (lambda d: d.update(render_width=0), "render_width"),
        (lambda d: d.update(camera_path=[]), "camera_path: expected"),
        (lambda d: d.update(camera_type="fisheye"), "camera_type: 'fisheye'"),
        (lambda d: d["camera_path"][1].pop("fov"), r"camera_path\[1\]: fov: missing"),
        (lambda d: d["camera_path"][1].update(fov=180), r"camera_path\[1\]: fov"),
        (lambda d: d["camera_path"][1].update(aspect=-1), r"camera_path\[1\]: aspect"),
        (
            lambda d: d["camera_path"][0].update(camera_to_world=[0] * 16),
            r"camera_path\[0\]: camera_to_world",
        ),
        (
            lambda d: d["camera_path"][0].update(camera_to_world=[0] * 12),
            r"camera_path\[0\]: camera_to_world",
        ),
        (lambda d: d["camera_path"].append(7), r"camera_path\[2\]"),
    ],
)
def test_names_what_is_wrong(hand_typed, change, says):
    data = json.loads(HAND_TYPED)
    change(data)
    hand_typed.write_text(json.dumps(data))
    with pytest.raises(InputError, match=f"camera_path.json: {says}"):
        read_camera_path(hand_typed)

import math
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.nerfstudio import read_transforms
from rayzer.data.undistort import undistorted
from rayzer.data.views import decode_views, open_image
from rayzer.errors import InputError

WIDTH, HEIGHT = 160, 120
LENS = (118.0, 121.0, 83.4, 57.3)
BARREL = (-0.28, 0.07, 0.003, -0.004)
LINES = np.linspace(-0.5, 0.5, 7)  # where lines of the synthetic grid cross the plane one ahead of the camera
THICKNESS = 0.012  # standard deviation of their profile in that plane


def distort(x: np.ndarray, y: np.ndarray, coefficients: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """OpenCV's model as its documentation writes it, on the plane one ahead of the camera."""
    k1, k2, p1, p2, *rest = coefficients
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + (rest[0] if rest else 0) * r2**3
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def straighten(
    x_seen: np.ndarray, y_seen: np.ndarray, coefficients: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `distort`, by going on until nothing changes any more."""
    x, y = x_seen.copy(), y_seen.copy()
    for _ in range(200):
        x_now, y_now = distort(x, y, coefficients)
        x, y = x + (x_seen - x_now), y + (y_seen - y_now)
    assert max(np.abs(x_now - x_seen).max(), np.abs(y_now - y_seen).max()) < 1e-12
    return x, y


def plane(lens: tuple[float, ...], width: int = WIDTH, height: int = HEIGHT) -> tuple[np.ndarray, np.ndarray]:
    """Where the centres of all pixels, which are at +0.5, lie on the plane one ahead: x and y [h, w]."""
    fx, fy, cx, cy = lens
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return (columns - cx) / fx, (rows - cy) / fy


def grid_picture(coefficients: tuple[float, ...]) -> np.ndarray:
    """What the distorting lens sees of upright (red) and level (green) lines, and of y as blue."""
    x, y = straighten(*plane(LENS), coefficients)
    profiles = [np.exp(-0.5 * ((c[..., None] - LINES) / THICKNESS) ** 2).max(-1) for c in (x, y)]
    channels = [*profiles, np.clip(0.5 + 0.5 * y, 0, 1)]
    return np.round(255 * np.stack(channels, -1)).astype(np.uint8)


def grid_frame(coefficients: tuple[float, ...]) -> Frame:
    pixels = grid_picture(coefficients)
    return Frame("grid", pixels, WIDTH, HEIGHT, LENS, coefficients, np.eye(4), 1.5)


def line_centres(profile: np.ndarray, expected: np.ndarray) -> list[tuple[float, float]]:
    """(expected, found) place in pixels of each line that crosses one row of pixels."""
    places = np.arange(len(profile)) + 0.5
    pairs = []
    for place in expected:
        near = np.abs(places - place) < 5
        if 6 < place < len(profile) - 6:
            pairs.append((place, float((places * profile)[near].sum() / profile[near].sum())))
    return pairs


@pytest.mark.parametrize(
    "coefficients",
    [BARREL, (0.2, -0.05, 0, 0), (-0.2, 0.05, 0, 0, -0.01), (0, 0, 0.01, 0.02)],
    ids=["barrel", "pincushion", "k3", "tangential"],
)
def test_a_grid_comes_out_straight(coefficients):
    pytest.importorskip("cv2")
    frame = undistorted(grid_frame(coefficients))
    assert frame.distortion == ()
    assert (frame.name, frame.width_px, frame.height_px, frame.time_s) == ("grid", WIDTH, HEIGHT, 1.5)
    np.testing.assert_array_equal(frame.world_from_camera, np.eye(4))
    fx, fy, cx, cy = frame.fxfycxcy_px
    pixels = np.asarray(open_image(frame)).astype(float)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    upright = [pair for row in pixels[..., 0] for pair in line_centres(row, fx * LINES + cx)]
    level = [pair for column in pixels[..., 1].T for pair in line_centres(column, fy * LINES + cy)]
    for pairs in (upright, level):
        expected, found = np.array(pairs).T
        assert len(expected) > 400
        assert np.abs(found - expected).max() < 0.1
        assert abs((found - expected).mean()) < 0.02  # half a pixel would show, and so would a quarter


def test_pixels_are_where_the_new_intrinsics_say():
    """The blue channel is y of the plane, so every pixel can be checked by itself."""
    pytest.importorskip("cv2")
    frame = undistorted(grid_frame(BARREL))
    _, y = plane(frame.fxfycxcy_px)
    blue = np.asarray(open_image(frame))[..., 2]
    error = blue[2:-2, 2:-2] / 255.0 - (0.5 + 0.5 * y[2:-2, 2:-2])
    assert np.abs(error).max() < 2.1 / 255  # stored in steps of 1 / 255; a pixel is 1.05 of these


def test_no_border_shows():
    pytest.importorskip("cv2")
    for coefficients in (BARREL, (0.2, -0.05, 0, 0)):
        frame = replace(grid_frame(coefficients), image=np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
        assert np.asarray(open_image(undistorted(frame))).min() == 255


def test_little_distortion_changes_little():
    pytest.importorskip("cv2")
    frame = grid_frame((1e-9, 0, 0, 0))
    result = undistorted(frame)
    np.testing.assert_allclose(result.fxfycxcy_px, LENS, atol=1e-3)
    np.testing.assert_allclose(np.asarray(open_image(result)).astype(int), frame.image, atol=1)


def test_depth_does_not_outlive_the_picture_it_belongs_to():
    pytest.importorskip("cv2")
    assert undistorted(replace(grid_frame((0.0, 0, 0, 0)), depth_m=np.ones((2, 2)))).depth_m is not None
    assert undistorted(replace(grid_frame(BARREL), depth_m=np.ones((2, 2)))).depth_m is None


def test_frames_without_distortion_stay(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)  # not even OpenCV is needed
    frame = grid_frame((0.0, 0.0, 0.0, 0.0))
    assert undistorted(frame).image is frame.image
    assert undistorted(frame).fxfycxcy_px == LENS
    assert undistorted(frame).distortion == ()
    with pytest.raises(InputError, match=r'install it with `pip install "rayzer\[undistort\]"`'):
        undistorted(grid_frame(BARREL))


def test_the_picture_is_loaded_late_and_travels_to_workers(tmp_path):
    pytest.importorskip("cv2")
    path = tmp_path / "grid.png"
    frame = undistorted(replace(grid_frame(BARREL), image=path))
    with pytest.raises(InputError, match=r"grid\.png: there is no such file"):
        open_image(frame)
    Image.fromarray(grid_picture(BARREL)).save(path)
    expected = np.asarray(open_image(undistorted(grid_frame(BARREL))))
    np.testing.assert_array_equal(open_image(pickle.loads(pickle.dumps(frame))), expected)  # noqa: S301
    views = decode_views(Scene("s", (frame,), path), [0], 64, 48, 16)
    assert views.cameras is not None
    np.testing.assert_allclose(views.cameras.intrinsics[0, 0], frame.fxfycxcy_px[0] / WIDTH, rtol=1e-6)
    Image.new("RGB", (HEIGHT, WIDTH)).save(path)
    with pytest.raises(InputError, match="grid: has 120x160 pixels, expected 160x120"):
        open_image(frame)


def test_missing_pictures_and_unusable_lenses():
    pytest.importorskip("cv2")
    frame = grid_frame(BARREL)
    missing = undistorted(replace(frame, image=None))
    assert (missing.image, missing.fxfycxcy_px) == (None, undistorted(frame).fxfycxcy_px)
    with pytest.raises(InputError, match="grid: has distortion but no intrinsics"):
        undistorted(replace(frame, fxfycxcy_px=None))
    for strange in (
        (math.nan, 0, 0, 0),
        (-2, 0, 0, 0),
        (-1e3, 0, 0, 0),
        (0, 0, 0.5, 0.5),
        (-1, 1, 0, 0),
    ):
        with pytest.raises(InputError, match=r"grid: no pinhole fits its distortion \("):
            undistorted(replace(frame, distortion=strange))


def test_undistorts_the_fox(real_scene):
    pytest.importorskip("cv2")
    scene = read_transforms(real_scene("fox") / "transforms.json")
    frame = undistorted(scene.frames[scene.present[0]])
    assert np.asarray(open_image(frame)).shape == (1920, 1080, 3)
    np.testing.assert_allclose(frame.fxfycxcy_px, scene.frames[0].fxfycxcy_px, rtol=0.02)

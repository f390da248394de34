"""nerfstudio's `camera_path.json`: the way of a virtual camera, from its viewer to `ns-render`.

The format knows square-on pinhole cameras only: a vertical field of view, an aspect ratio and no principal
point (it is the centre of the picture). Axes are OpenGL's (x right, y up, z backward).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rayzer.data.exchange import OPENCV_FROM_OPENGL
from rayzer.data.strict_json import finite_float, finite_floats, load_json, rigid_matrix, side_px
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras

_CENTRE_TOLERANCE = 1e-6  # of the picture's side: float32 rounding


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Cameras to render one after the other.

    Attributes:
        cameras: batch shape [n].
        width_px, height_px: size of the pictures to render.
        fps: pictures per second.
    """

    cameras: Cameras
    width_px: int
    height_px: int
    fps: float


def read_camera_path(path: Path) -> CameraPath:
    """Read a camera path; poses are float64 `world_from_camera` in the file's own world.

    Raises:
        InputError: naming file, camera and key, if one is missing, not finite or not rigid, or if the cameras
            are not perspective ones.
    """
    data = load_json(path)
    kind = data.get("camera_type", "perspective")
    if str(kind).lower() != "perspective":
        raise InputError(f"{path}: camera_type: {kind!r} cannot be rendered; use a perspective camera path")
    for key in ("render_width", "render_height", "fps", "camera_path"):
        if key not in data:
            raise InputError(f"{path}: {key}: missing; is this a nerfstudio camera_path.json?")
    entries = data["camera_path"]
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: camera_path: expected a list of at least one camera; add key frames")
    cameras = [_read_camera(entry, f"{path}: camera_path[{index}]") for index, entry in enumerate(entries)]
    return CameraPath(
        Cameras(
            torch.from_numpy(np.stack([pose for pose, _ in cameras])),
            torch.tensor([intrinsics for _, intrinsics in cameras], dtype=torch.float64),
        ),
        side_px(data["render_width"], f"{path}: render_width"),
        side_px(data["render_height"], f"{path}: render_height"),
        _between(data["fps"], 0, 1000, f"{path}: fps"),
    )


def write_camera_path(path: Path, camera_path: CameraPath) -> None:
    """Write a camera path that nerfstudio renders.

    Raises:
        InputError: naming the camera, if its principal point is not the centre, which the format cannot hold.
    """
    cameras = camera_path.cameras.detach().to("cpu", torch.float64)
    poses = cameras.world_from_camera.numpy() @ OPENCV_FROM_OPENGL
    content = {
        "camera_type": "perspective",
        "render_width": camera_path.width_px,
        "render_height": camera_path.height_px,
        "fps": camera_path.fps,
        "seconds": len(cameras) / camera_path.fps,
        "camera_path": [
            {"camera_to_world": pose.flatten().tolist(), **_write_lens(intrinsics, f"{path}: camera {index}")}
            for index, (pose, intrinsics) in enumerate(zip(poses, cameras.intrinsics.tolist(), strict=True))
        ],
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _read_camera(entry: object, where: str) -> tuple[np.ndarray, list[float]]:
    """`world_from_camera` [4, 4] in OpenCV axes and intrinsics as fractions."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected an object with camera_to_world, fov and aspect; save the path again")
    for key in ("camera_to_world", "fov", "aspect"):
        if key not in entry:
            raise InputError(f"{where}: {key}: missing; save the path again")
    numbers = finite_floats(entry["camera_to_world"], 16, f"{where}: camera_to_world")
    rows = [list(numbers[start : start + 4]) for start in range(0, 16, 4)]
    pose = rigid_matrix(rows, f"{where}: camera_to_world") @ OPENCV_FROM_OPENGL
    fov = _between(entry["fov"], 0, 180, f"{where}: fov")
    fy = 0.5 / math.tan(math.radians(fov) / 2)
    return pose, [fy / _between(entry["aspect"], 0.01, 100, f"{where}: aspect"), fy, 0.5, 0.5]


def _write_lens(intrinsics: list[float], where: str) -> dict[str, float]:
    fx, fy, cx, cy = intrinsics
    if max(abs(cx - 0.5), abs(cy - 0.5)) > _CENTRE_TOLERANCE:
        raise InputError(f"{where}: a camera path cannot hold a principal point off the centre ({cx:g}, {cy:g})")
    return {"fov": math.degrees(2 * math.atan(0.5 / fy)), "aspect": fy / fx}


def _between(value: object, low: float, high: float, where: str) -> float:
    number = finite_float(value, where)
    if not low < number < high:
        raise InputError(f"{where}: {number:g} is out of range; expected a number between {low:g} and {high:g}")
    return number

"""Between lists of `Frame` (what files hold) and `Cameras` (what models and geometry work with)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rayzer.data.scenes import Frame
from rayzer.data.strict_json import checked_rigid
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras

Intrinsics = tuple[float, float, float, float]
"""`fx, fy, cx, cy`; in pixels wherever this type stands."""

_LARGEST_PX = 1e9

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""Turns OpenGL's camera axes (x right, y up, z backward) into ours; its own inverse."""


@dataclass(frozen=True)
class Lens:
    """A pinhole with distortion, in pixels of a picture of one size.

    Attributes:
        width_px, height_px: size of the picture.
        fxfycxcy_px: its pinhole intrinsics.
        distortion: OpenCV coefficients `k1, k2, p1, p2[, k3]`, or empty; they do not depend on the size.
    """

    width_px: int
    height_px: int
    fxfycxcy_px: Intrinsics
    distortion: tuple[float, ...] = ()

    def resized(self, width_px: int, height_px: int) -> Lens:
        """The same lens for the same picture at another size; each axis is scaled by its own factor."""
        x, y = width_px / self.width_px, height_px / self.height_px
        fx, fy, cx, cy = self.fxfycxcy_px
        return Lens(width_px, height_px, (fx * x, fy * y, cx * x, cy * y), self.distortion)


def inverse_rigid(transform: np.ndarray) -> np.ndarray:
    """Inverse of a rigid transform, float64 [4, 4]: `[R t]^-1 = [R^T  -R^T t]`."""
    inverse = np.eye(4)
    inverse[:3, :3] = transform[:3, :3].T
    inverse[:3, 3] = -inverse[:3, :3] @ transform[:3, 3]
    return inverse


def frames_from_cameras(
    cameras: Cameras, names: Sequence[str], images: Sequence[Path] | np.ndarray, width_px: int, height_px: int
) -> tuple[Frame, ...]:
    """Frames of pictures of one size.

    Args:
        cameras: batch shape [n].
        names, images: n names, and n image files or pictures uint8 [n, h, w, 3].
        width_px, height_px: size of each picture.

    Returns:
        n frames in the same order, without distortion, poses float64.

    Raises:
        ValueError: if there are not n names and n images.
    """
    cameras = cameras.detach().to("cpu", torch.float64)
    poses = cameras.world_from_camera.numpy()
    intrinsics = cameras.intrinsics_px(width_px, height_px).tolist()
    return tuple(
        Frame(name, image, width_px, height_px, tuple(fxfycxcy_px), world_from_camera=pose)
        for name, image, fxfycxcy_px, pose in zip(names, images, intrinsics, poses, strict=True)
    )


def cameras_from_frames(frames: Sequence[Frame]) -> Cameras:
    """Pinhole cameras [n] in float64; lens distortion is not part of `Cameras` and left behind.

    Raises:
        InputError: naming the frame, if its camera is unknown or not usable.
    """
    known = [known_camera(frame) for frame in frames]
    poses = np.stack([pose for pose, _ in known])
    sizes = [(frame.width_px, frame.height_px) * 2 for frame in frames]
    intrinsics = torch.tensor([fxfycxcy_px for _, fxfycxcy_px in known], dtype=torch.float64)
    return Cameras(torch.from_numpy(poses), intrinsics / intrinsics.new_tensor(sizes))


def known_camera(frame: Frame) -> tuple[np.ndarray, Intrinsics]:
    """The frame's `world_from_camera` float64 [4, 4] and `fx, fy, cx, cy` in pixels.

    Raises:
        InputError: naming the frame, if either is unknown or not finite, or the pose is not rigid or a focal
            length not positive.
    """
    if frame.world_from_camera is None or frame.fxfycxcy_px is None:
        raise InputError(f"{frame.name}: its camera is not known; estimate the cameras first")
    pose = checked_rigid(np.asarray(frame.world_from_camera, dtype=np.float64), f"{frame.name}: camera")
    fx, fy, cx, cy = (float(value) for value in frame.fxfycxcy_px)
    return pose, usable_intrinsics((fx, fy, cx, cy), f"{frame.name}: camera")


def usable_intrinsics(fxfycxcy_px: Intrinsics, where: str) -> Intrinsics:
    """Check that focal lengths are positive, and all four numbers of a size that float32 can hold.

    Raises:
        InputError: starting with `where`.
    """
    numbers = " ".join(f"{value:g}" for value in fxfycxcy_px)
    if not np.isfinite(fxfycxcy_px).all() or min(fxfycxcy_px[:2]) <= 0:
        raise InputError(f"{where}: fx fy cx cy = {numbers} is not a camera; focal lengths must be positive")
    if np.abs(fxfycxcy_px).max() > _LARGEST_PX or min(fxfycxcy_px[:2]) < 1 / _LARGEST_PX:
        raise InputError(f"{where}: fx fy cx cy = {numbers} are not pixels of any picture; export them again")
    return fxfycxcy_px


def opencv_distortion(frame: Frame) -> tuple[float, float, float, float]:
    """The frame's `k1, k2, p1, p2`, zero where it has none.

    Raises:
        InputError: naming the frame, if it has further coefficients, which exchange formats cannot hold.
    """
    k1, k2, p1, p2, *further = (*map(float, frame.distortion), *[0.0] * max(0, 4 - len(frame.distortion)))
    if any(further):
        raise InputError(f"{frame.name}: has more distortion than k1, k2, p1, p2; undistort the pictures first")
    return k1, k2, p1, p2

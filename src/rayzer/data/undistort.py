"""Pictures without lens distortion: what a pinhole would have seen from the same place.

OpenCV does the work (`pip install "rayzer[undistort]"`). The new lens is that of
`getOptimalNewCameraMatrix(alpha=0)`, the largest one that sees no border, and the picture keeps its size and is
resampled bilinearly: the choices of the public DL3DV-10K converters, whose pictures published numbers are for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from rayzer.data.exchange import Intrinsics, Lens
from rayzer.data.scenes import Frame
from rayzer.data.views import open_image
from rayzer.errors import InputError

_GRID = 16  # steps across and down of the grid on which a new lens is checked
_BORDER = 0.01  # of a side: how much of a picture may be made of its repeated border


def undistorted(frame: Frame) -> Frame:
    """The frame as a pinhole camera would have taken it: same pose, same size, other intrinsics.

    The picture is decoded and resampled when it is loaded. A frame without distortion is returned as it is,
    and one whose picture is missing stays without it.

    Raises:
        InputError: naming the frame, if its intrinsics are unknown, its distortion is no lens, or OpenCV
            is not installed.
    """
    if not any(frame.distortion):
        return replace(frame, distortion=())
    if frame.fxfycxcy_px is None:
        raise InputError(f"{frame.name}: has distortion but no intrinsics; add its focal lengths and centre")
    lens = Lens(frame.width_px, frame.height_px, frame.fxfycxcy_px, frame.distortion)
    pinhole = _pinhole(lens)
    if not _is_seen(lens, pinhole):
        raise InputError(f"{frame.name}: no pinhole fits its distortion {lens.distortion}; leave the frame out")
    image = None if frame.image is None else UndistortedImage(frame, lens, pinhole)
    return replace(frame, image=image, fxfycxcy_px=pinhole, distortion=(), depth_m=None)


@dataclass(frozen=True, eq=False)
class UndistortedImage:
    """A picture that loses its distortion when it is loaded.

    Attributes:
        frame: with the distorted picture.
        lens: that took it.
        pinhole_px: intrinsics that the picture shall have, at the same size.
    """

    frame: Frame
    lens: Lens
    pinhole_px: Intrinsics

    def load(self) -> np.ndarray:
        """Decode and resample it to uint8 [h, w, 3] (RGB, upright).

        Raises:
            InputError: naming file or frame, if it cannot be decoded or has not the size that its frame says.
        """
        pixels = np.asarray(open_image(self.frame))
        height, width = pixels.shape[:2]
        if (width, height) != (self.lens.width_px, self.lens.height_px):
            expected = f"{self.lens.width_px}x{self.lens.height_px}"
            raise InputError(f"{self.frame.name}: has {width}x{height} pixels, expected {expected}; read it again")
        cv2 = _opencv()
        # a replicated border, because the new lens is fitted to a few points of the border only
        return cv2.remap(pixels, *_maps(self.lens, self.pinhole_px), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _pinhole(lens: Lens) -> Intrinsics:
    distortion = np.array(lens.distortion)
    size = lens.width_px, lens.height_px
    matrix, _ = _opencv().getOptimalNewCameraMatrix(_matrix(lens.fxfycxcy_px), distortion, size, 0.0)
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]) + 0.5, float(matrix[1, 2]) + 0.5


def _is_seen(lens: Lens, pinhole_px: Intrinsics) -> bool:
    """Whether the lens saw all that the pinhole would see, without folds; OpenCV does not say when it fails."""
    sides = lens.width_px - 1, lens.height_px - 1
    to_grid = np.diag([_GRID / max(sides[0], 1), _GRID / max(sides[1], 1), 1.0])
    maps = _maps_of(lens, to_grid @ _matrix(pinhole_px), (_GRID + 1, _GRID + 1))
    for places, side, axis in zip(maps, sides, (1, 0), strict=True):
        slack = _BORDER * side + 1
        # put so that NaN is refused as well
        if not (places.min() > -slack and places.max() < side + slack and np.diff(places, axis=axis).min() > 0):
            return False
    return True


@lru_cache(maxsize=2)  # 8 bytes a pixel; the frames of a scene mostly share one lens
def _maps(lens: Lens, pinhole_px: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Where in the distorted picture each pixel comes from: x and y, float32 [h, w], whole at pixel centres."""
    return _maps_of(lens, _matrix(pinhole_px), (lens.width_px, lens.height_px))


def _maps_of(lens: Lens, pinhole: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    cv2 = _opencv()
    matrix, distortion = _matrix(lens.fxfycxcy_px), np.array(lens.distortion)
    return cv2.initUndistortRectifyMap(matrix, distortion, np.eye(3), pinhole, size, cv2.CV_32FC1)


def _matrix(fxfycxcy_px: Intrinsics) -> np.ndarray:
    """The 3x3 matrix that OpenCV means: to it, the centre of the first pixel is 0, to us 0.5."""
    fx, fy, cx, cy = fxfycxcy_px
    return np.array([[fx, 0.0, cx - 0.5], [0.0, fy, cy - 0.5], [0.0, 0.0, 1.0]])


def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        message = 'undistorting pictures needs OpenCV; install it with `pip install "rayzer[undistort]"`'
        raise InputError(message) from None
    return cv2

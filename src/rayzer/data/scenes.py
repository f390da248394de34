"""The one in-memory idea of all data: a scene is an ordered list of named frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture and what is known about its camera.

    Attributes:
        name: the name a user knows the picture by (file name, or time in a video).
        pixels: the image file, or decoded pixels uint8 [h, w, 3] (RGB, upright).
        width_px, height_px: size of the upright picture (after EXIF rotation).
        fxfycxcy_px: pinhole intrinsics in pixels of that picture, or None if unknown.
        distortion: OpenCV coefficients `k1, k2, p1, p2, ...`; empty if there is none or it is unknown.
        world_from_camera: float64 [4, 4], OpenCV axes, or None if unknown.
        time_s: time in seconds since the start of the video, or None.
    """

    name: str
    pixels: Path | np.ndarray
    width_px: int
    height_px: int
    fxfycxcy_px: tuple[float, float, float, float] | None = None
    distortion: tuple[float, ...] = ()
    world_from_camera: np.ndarray | None = None
    time_s: float | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """A named, ordered list of frames of one static scene.

    Attributes:
        name: the scene's own name (`scene_name` in a scene file, else the folder or file name).
        frames: in the order in which they were taken.
        source: the file or folder it was read from.
        notes: plain sentences that a user should read (what was left out, what was guessed).
        skipped: files that would be frames if they could be read, each with the line that says why not.
    """

    name: str
    frames: tuple[Frame, ...]
    source: Path
    notes: tuple[str, ...] = field(default=())
    skipped: tuple[tuple[Path, str], ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

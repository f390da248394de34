"""The one in-memory idea of all data: a scene is an ordered list of named frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np


class StoredImage(Protocol):
    """A picture that is neither a file of its own nor decoded yet: it lies in an archive, a chunk, a pack."""

    def load(self) -> np.ndarray:
        """Decode it to uint8 [h, w, 3] (RGB, upright).

        Raises:
            InputError: naming the file that it lies in, if it cannot be decoded.
        """
        ...


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture and what is known about its camera.

    Attributes:
        name: the name a user knows the picture by (file name, or time in a video).
        image: the image file, decoded pixels uint8 [h, w, 3] (RGB, upright), or something that can load them;
            None if the picture is known to be missing (the frame stays, so that frames keep their numbers).
        width_px, height_px: size of the picture (after EXIF rotation, if any); 0 where it is missing and unknown.
        fxfycxcy_px: pinhole intrinsics in pixels of that picture, or None if unknown.
        distortion: OpenCV coefficients `k1, k2, p1, p2, ...`; empty if there is none or it is unknown.
        world_from_camera: float64 [4, 4], OpenCV axes, or None if unknown.
        time_s: time in seconds since the start of the video, or None.
        depth_m: float [rows, columns], distance along the optical axis of what the centres of equal cells of the
            picture show, in the unit of the pose; NaN where unknown. None if all of it is.
        as_stored: whether the picture file is taken as it is stored, even if EXIF asks to turn it: that is the
            picture which cameras in scene files are for.
    """

    name: str
    image: Path | np.ndarray | StoredImage | None
    width_px: int
    height_px: int
    fxfycxcy_px: tuple[float, float, float, float] | None = None
    distortion: tuple[float, ...] = ()
    world_from_camera: np.ndarray | None = None
    time_s: float | None = None
    depth_m: np.ndarray | None = None
    as_stored: bool = False


@dataclass(frozen=True, eq=False)
class Scene:
    """A named, ordered list of frames of one static scene.

    Attributes:
        name: the scene's own name (`scene_name` in a scene file, else the folder or file name).
        frames: in the order in which they were taken.
        source: the file or folder it was read from.
        notes: plain sentences that a user should read (what was left out, what was guessed).
        skipped: pictures that cannot be used, each with the line that says why not.
    """

    name: str
    frames: tuple[Frame, ...]
    source: Path
    notes: tuple[str, ...] = field(default=())
    skipped: tuple[tuple[Path, str], ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def present(self) -> list[int]:
        """Positions of the frames whose picture is not known to be missing, ascending."""
        return [index for index, frame in enumerate(self.frames) if frame.image is not None]

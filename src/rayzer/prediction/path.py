"""The way of the camera in the fly-through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from rayzer.data.camera_path import CameraPath, read_camera_path
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras
from rayzer.geometry.trajectories import PRESETS
from rayzer.strict import nearest

DEFAULT_PATH, DEFAULT_FRAMES, DEFAULT_FPS = "interpolate", 60, 24.0
MAX_FRAMES = 10_000


@dataclass(frozen=True)
class PathRequest:
    """A preset or a file, checked before long work starts; `cameras` makes the path.

    Attributes:
        preset: name of a preset, or None where a file is given.
        file: the content of a `camera_path.json`, or None.
        frames: number of pictures (of a preset).
        fps: pictures per second.
    """

    preset: str | None
    file: CameraPath | None
    frames: int
    fps: float

    @staticmethod
    def parse(path: str = DEFAULT_PATH, frames: int | None = None, fps: float | None = None) -> PathRequest:
        """Understand `--path`, `--frames` and `--fps`.

        Raises:
            InputError: unknown preset, unusable file or number.
        """
        if frames is not None and not 2 <= frames <= MAX_FRAMES:
            raise InputError(f"--frames {frames}: a fly-through has 2 to {MAX_FRAMES} frames")
        if fps is not None and not 0 < fps <= 240:
            raise InputError(f"--fps {fps:g}: must be above 0 and at most 240")
        if path in PRESETS:
            return PathRequest(path, None, frames or DEFAULT_FRAMES, fps or DEFAULT_FPS)
        if not Path(path).is_file():
            known = ", ".join(PRESETS)
            raise InputError(f"--path {path}: neither a file nor one of {known}{nearest(path, PRESETS)}")
        if frames is not None:
            raise InputError(f"--frames {frames}: {path} fixes the number of frames; leave --frames out")
        file = read_camera_path(Path(path))
        return PathRequest(None, file, len(file.cameras), fps or file.fps)

    def cameras(self, views: Cameras, height: int, width: int) -> Cameras:
        """The path [frames] among the cameras of the views [v], for pictures of the given size.

        The principal point is the centre of every picture. A file keeps its vertical field of view; its aspect gives
        way to that of the pictures.
        """
        if self.preset is not None:
            way = PRESETS[self.preset](views, self.frames)
            fx, fy = way.intrinsics[:, 0], way.intrinsics[:, 1]
        else:
            assert self.file is not None
            way = self.file.cameras.to(torch.float32)
            fy = way.intrinsics[:, 1]
            fx = fy * height / width
        half = torch.full_like(fy, 0.5)
        return Cameras(way.world_from_camera, torch.stack([fx, fy, half, half], -1))

    @property
    def goes_back(self) -> bool:
        """Whether the video plays the path to its end and back, because it does not end where it began."""
        return self.preset == "interpolate"

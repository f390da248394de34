"""What is known about a scene once it is read and its pictures are decoded; the checks judge it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from rayzer.data.exchange import usable_intrinsics
from rayzer.data.images import read_header
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import VIDEO_FRAMES, ProblemKind
from rayzer.data.strict_json import checked_rigid
from rayzer.data.views import open_image
from rayzer.errors import InputError

Severity = Literal["error", "warning", "note"]
Prevents = Literal["", "poses", "everything"]

MAX_NAMES = 20
SHARPNESS_SIDE_PX = 256  # what models see; larger pictures would be judged by detail that is thrown away


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a scene.

    Attributes:
        severity: an error prevents a use of the scene, a warning makes it worse, a note is good to know.
        message: one plain sentence, with the way out.
        frames: names of the frames that it is about; empty if it is about the scene.
        prevents: what an error rules out: use with poses, or any use.
        unnamed: how many further frames it is about.
    """

    severity: Severity
    message: str
    frames: tuple[str, ...] = ()
    prevents: Prevents = ""
    unnamed: int = 0

    @property
    def frame_count(self) -> int:
        """How many frames it is about; 0 if it is about the scene."""
        return len(self.frames) + self.unnamed

    def shortened(self) -> Problem:
        """The same with at most `MAX_NAMES` names: there may be ten thousand scenes with all frames named."""
        return replace(self, frames=self.frames[:MAX_NAMES], unnamed=max(0, self.frame_count - MAX_NAMES))


@dataclass(frozen=True)
class Recipe:
    """What a training recipe asks of a scene.

    Attributes:
        name: what users call it; empty for no recipe in particular.
        frames_needed: with fewer, some steps of the training get no sample.
        frames_wanted: with fewer, some samples are shorter than the recipe would have them.
    """

    name: str = ""
    frames_needed: int = 2
    frames_wanted: int = 2

    def lack(self, count: int, what: str) -> str:
        """Why so many frames with `what` (say, "a usable picture") are too few; empty if they are enough."""
        if count >= self.frames_needed:
            return ""
        have = {0: "no frame has", 1: "only 1 frame has"}.get(count, f"only {count} frames have")
        return f"{have} {what}, {self.name or 'a sample'} needs {self.frames_needed}"


ANYTHING = Recipe()
"""No recipe in particular: two views are a sample."""


@dataclass(frozen=True)
class Picture:
    """What decoding one picture showed.

    Attributes:
        width_px, height_px: size of the upright picture.
        digest: equal for pictures that look the same at the size that models see.
        sharpness: variance of the Laplacian of grey values 0 .. 255 at that size.
        taken: EXIF time of exposure `YYYY:MM:DD HH:MM:SS`, or None.
    """

    width_px: int
    height_px: int
    digest: bytes
    sharpness: float
    taken: str | None


@dataclass(frozen=True, eq=False)
class Evidence:
    """A scene and all that was found out about it.

    Attributes:
        scene: as read, frames in their order.
        format: name of its format.
        pictures: of the frames that were decoded, by position.
        faults: why a picture cannot be decoded, by position.
        reported: what the reader had to leave out of frames, in its own words.
        recipe: what the scene is wanted for.
    """

    scene: Scene
    format: str
    pictures: Mapping[int, Picture]
    faults: Mapping[int, str]
    reported: Mapping[ProblemKind, Sequence[str]]
    recipe: Recipe

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames of the scene."""
        return self.scene.frames

    def names(self, positions: Iterable[int]) -> tuple[str, ...]:
        """What users know the frames at these positions by."""
        return tuple(self.frames[position].name for position in positions)

    def size_px(self, position: int) -> tuple[int, int]:
        """Width and height of a frame's picture where it was decoded, else as the scene states them (0 if unknown)."""
        picture = self.pictures.get(position)
        return (picture.width_px, picture.height_px) if picture else _stated(self.frames[position])

    @cached_property
    def wrong_size(self) -> list[int]:
        """Positions of pictures of another size than the scene file states."""
        return [
            position
            for position, picture in self.pictures.items()
            if (picture.width_px, picture.height_px) != _stated(self.frames[position])
        ]

    @cached_property
    def usable(self) -> list[int]:
        """Positions of frames whose picture is there and, as far as it was looked at, can be used."""
        broken = {*self.faults, *self.wrong_size}
        return [position for position in self.scene.present if position not in broken]

    @cached_property
    def poses(self) -> dict[int, np.ndarray]:
        """The usable poses `world_from_camera` [4, 4] by position."""
        found = ((position, _pose(frame)) for position, frame in enumerate(self.frames))
        return {position: pose for position, pose in found if pose is not None}

    @cached_property
    def intrinsics(self) -> dict[int, np.ndarray]:
        """The usable intrinsics by position: `fx, fy, cx, cy` as fractions of width, height, width, height."""
        found = ((at, _intrinsics(frame, self.size_px(at))) for at, frame in enumerate(self.frames))
        return {position: fractions for position, fractions in found if fractions is not None}

    def comes_with(self, kind: Literal["pose", "intrinsics"]) -> bool:
        """Whether the scene has poses or intrinsics at all, be they right or wrong."""
        values = (frame.world_from_camera if kind == "pose" else frame.fxfycxcy_px for frame in self.frames)
        return bool(self.reported.get(kind)) or any(value is not None for value in values)

    @property
    def is_selection(self) -> bool:
        """Whether the frames are some of a video, which may have more."""
        return self.format == "video" and len(self.frames) >= VIDEO_FRAMES

    @cached_property
    def centers(self) -> np.ndarray:
        """Camera centres float64 [n, 3] of the usable poses, in the order of frames."""
        return np.array([pose[:3, 3] for pose in self.poses.values()], dtype=np.float64).reshape(-1, 3)

    def steps(self, positions: Sequence[int]) -> np.ndarray:
        """How far the camera moves per frame, [n - 1], from each of n frames with usable poses to the next."""
        centers = np.array([self.poses[position][:3, 3] for position in positions]).reshape(-1, 3)
        return np.linalg.norm(np.diff(centers, axis=0), axis=1) / np.diff(positions)

    @property
    def from_middle(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances [n] of the camera centres from their median [3], and that."""
        middle = np.median(self.centers, axis=0)
        return np.linalg.norm(self.centers - middle, axis=1), middle


def look_at(frame: Frame) -> Picture:
    """Decode the picture of a frame.

    Raises:
        InputError: naming the file, if it is missing or cannot be decoded.
    """
    image = open_image(frame)
    taken = read_header(frame.image).taken if isinstance(frame.image, Path) else None
    grey = _seen_by_models(image)
    return Picture(*image.size, hashlib.blake2b(grey.tobytes(), digest_size=16).digest(), _sharpness(grey), taken)


def _seen_by_models(image: Image.Image) -> np.ndarray:
    """Grey values uint8 [h, w] with a short side of at most `SHARPNESS_SIDE_PX`."""
    grey = image.convert("L")
    shrink = SHARPNESS_SIDE_PX / min(grey.size)
    if shrink < 1:
        size = (round(grey.width * shrink), round(grey.height * shrink))
        grey = grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(grey)


def _sharpness(grey: np.ndarray) -> float:
    if min(grey.shape) < 3:
        return 0.0
    value = grey.astype(np.float32)
    around = value[:-2, 1:-1] + value[2:, 1:-1] + value[1:-1, :-2] + value[1:-1, 2:]
    return float((around - 4 * value[1:-1, 1:-1]).var())


def _stated(frame: Frame) -> tuple[int, int]:
    return frame.width_px, frame.height_px


def _pose(frame: Frame) -> np.ndarray | None:
    """Its pose, unless it is unknown, not finite or not rigid."""
    with suppress(InputError):
        if frame.world_from_camera is not None:
            return checked_rigid(np.asarray(frame.world_from_camera, dtype=np.float64), frame.name)
    return None


def _intrinsics(frame: Frame, size: tuple[int, int]) -> np.ndarray | None:
    """Its intrinsics as fractions, unless they or the picture's size are unknown, or they are no camera."""
    with suppress(InputError):
        if frame.fxfycxcy_px is not None and min(size) > 0:
            return np.divide(usable_intrinsics(frame.fxfycxcy_px, frame.name), size * 2)
    return None

"""How the cameras that a model estimates are doing in training: a picture, and numbers that show when they diverge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rayzer.geometry import Cameras, align_cameras
from rayzer.geometry.rotations import rotation_angle
from rayzer.training.pictures import CONTEXT, INK, LINE, MUTED, PAGE, TARGET, TRUE
from rayzer.view_split import ViewSplit

LARGER = 3  # drawn this many times as large and shrunk: smooth lines
PANEL, PAD, HEAD = 460, 46, 56  # pixels of the finished picture: side of a panel, room for its axis, for the legend
FRUSTUM = 0.09  # depth of a frustum as a share of the panel's extent, less where there are many
ROOM = (17, 12)  # pixels that a number takes
PATH = "#b4b8c0"

PERIOD, DASH = 12 * LARGER, 0.58  # of a dashed line: its length on the large image, and the share that is drawn
CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))

Point = tuple[float, float]


@torch.no_grad()
def camera_statistics(cameras: Cameras) -> dict[str, Tensor]:
    """Numbers that show early whether cameras [b, v] diverge; scalars on their device, computed without waiting for it.

    Returns:
        `focal_mean`: mean of fx and fy, as fractions of the picture's width and height.
        `focal_spread`: standard deviation over the samples of a sample's mean focal length, same unit (0 for one).
        `rotation_mean_deg`: mean angle between a camera and the canonical one, whose pose is the identity, in degrees.
        `translation_mean`, `translation_max`: distances of the camera centres from the canonical one, in the model's
        own unit of length.
    """
    focal = cameras.intrinsics[..., :2].mean((-1, -2))
    distance = cameras.centers.norm(dim=-1)
    return {
        "focal_mean": focal.mean(),
        "focal_spread": focal.std(correction=0),
        "rotation_mean_deg": rotation_angle(cameras.rotations).rad2deg().mean(),
        "translation_mean": distance.mean(),
        "translation_max": distance.max(),
    }


def camera_picture(cameras: Cameras, split: ViewSplit, true: Cameras | None = None) -> np.ndarray:
    """The cameras of one sample from above and from the side, numbered like its views, in one scale.

    Args:
        cameras: [v]. Views whose camera is not finite are left out, and the picture says how many.
        split: of this sample (the first, if there are several): colours of context and target.
        true: [v]; drawn dashed after the Sim(3) alignment of its centres with those of `cameras`.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    cameras = cameras.detach().to("cpu", torch.float64)
    finite = _finite(cameras)
    views = finite.nonzero().flatten().tolist()
    shown = cameras[finite]
    aligned = None if true is None else _aligned(true.detach().to("cpu", torch.float64)[finite], shown)
    targets = set(split.target[0].tolist())
    colors = [TARGET if view in targets else CONTEXT for view in views]
    drawing = _Drawing.of(shown, aligned)
    drawing.head(len(cameras) - len(views), aligned is not None)
    for panel, (title, right, up) in enumerate((("from above", (0, 1), (2, 1)), ("from the side", (2, 1), (1, -1)))):
        drawing.axes(panel, title, right, up)
        drawing.pen.line(drawing.onto(panel, right, up, shown.centers), PATH, LARGER)
        if aligned is not None:
            drawing.dashes(drawing.onto(panel, right, up, aligned.centers))
        drawing.cameras(panel, right, up, shown, views, colors)
    return drawing.finished()


def _aligned(true: Cameras, estimated: Cameras) -> Cameras | None:
    """The true cameras [n] in the world of the estimated ones, if that can be said."""
    if len(true) < 2 or not _finite(true).all():
        return None
    aligned = align_cameras(true, estimated).cameras(true)
    return aligned if _finite(aligned).all() else None


def _finite(cameras: Cameras) -> Tensor:
    return cameras.intrinsics.isfinite().all(-1) & cameras.world_from_camera.isfinite().all(-1).all(-1)


@dataclass(frozen=True)
class _Drawing:
    """A canvas of two square panels; axes of the world are (index, sign).

    Attributes:
        image, pen: `LARGER` times as large as the finished picture.
        center: [3] the point of the world in the middle of both panels.
        extent: the length in the world that fills a panel.
    """

    image: Image.Image
    pen: ImageDraw.ImageDraw
    center: Tensor
    extent: float

    @staticmethod
    def of(*sets: Cameras | None) -> _Drawing:
        """An empty drawing that has room for these cameras."""
        points = torch.cat([cameras.centers for cameras in sets if cameras is not None])
        low, high = (points.amin(0), points.amax(0)) if len(points) else (torch.zeros(3), torch.zeros(3))
        extent = 1.3 * float((high - low).max())
        size = (2 * (PANEL + PAD) + PAD // 2, HEAD + PANEL + PAD)
        image = Image.new("RGB", (LARGER * size[0], LARGER * size[1]), PAGE)
        return _Drawing(image, ImageDraw.Draw(image), (low + high) / 2, extent if extent > 1e-12 else 1.0)

    def finished(self) -> np.ndarray:
        return np.asarray(self.image.reduce(LARGER))

    def onto(self, panel: int, right: tuple[int, int], up: tuple[int, int], points: Tensor) -> list[Point]:
        """Where points [n, 3] of the world lie on a panel, in pixels of the large image."""
        across, along = ((points - self.center)[:, axis] * sign / self.extent for axis, sign in (right, up))
        left, top = self._corner(panel)
        x, y = left + PANEL * (0.5 + across), top + PANEL * (0.5 - along)
        return [(LARGER * a, LARGER * b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]

    def head(self, missing: int, with_true: bool) -> None:
        """The legend."""
        x = float(PAD)
        entries = [("context", CONTEXT), ("target", TARGET)] + [("true, aligned", TRUE)] * with_true
        for name, color in entries:
            y = 18.0
            if color == TRUE:
                self.dashes([(LARGER * (x - 8), LARGER * y), (LARGER * (x + 22), LARGER * y)])
                x += 16
            else:
                self._disc((LARGER * x, LARGER * y), 5, color)
            x += 12 + self._text((x + 12, y), name, INK, 14, "lm") + 24
        if missing:
            self._text((x, 18), f"{missing} not finite, not shown", TARGET, 14, "lm")

    def axes(self, panel: int, title: str, right: tuple[int, int], up: tuple[int, int]) -> None:
        """Frame, title, grid lines with numbers, names of the axes."""
        left, top = self._corner(panel)
        self._box(left, top)
        self._text((left + PANEL / 2, top - 8), title, INK, 14, "mb")
        step = _round_step(self.extent / 7)
        for (axis, sign), horizontal in ((right, True), (up, False)):
            low = float(self.center[axis]) - self.extent / 2
            for tick in range(math.ceil(low / step), math.floor((low + self.extent) / step) + 1):
                at = PANEL * (0.5 + sign * (tick * step - float(self.center[axis])) / self.extent)
                self._tick(left, top, at, horizontal, f"{tick * step:.4g}")
        names = [("-" if sign < 0 else "") + "xyz"[axis] for axis, sign in (right, up)]
        self._text((left + PANEL / 2, top + PANEL + 22), f"{'xyz'[right[0]]} (arbitrary units)", MUTED, 12, "mt")
        self._text((left + 6, top + 6), f"up: {names[1]}", MUTED, 12, "lt", halo=True)

    def cameras(
        self,
        panel: int,
        right: tuple[int, int],
        up: tuple[int, int],
        cameras: Cameras,
        views: Sequence[int],
        colors: Sequence[str],
    ) -> None:
        """The frusta of the cameras, and the numbers of the views where there is room."""
        depth = FRUSTUM * self.extent * min(1.0, math.sqrt(8 / max(1, len(cameras))))
        centers = self.onto(panel, right, up, cameras.centers)
        behind = self.onto(panel, right, up, cameras.centers - 0.025 * self.extent * cameras.rotations[..., 2])
        for camera, center, color in zip(cameras, centers, colors, strict=True):
            corners = self.onto(panel, right, up, _corners(camera, depth))
            for first, second in zip(corners, (*corners[1:], corners[0]), strict=True):
                self.pen.line([center, first, second], color, LARGER)
            self._disc(center, 3, color)
        self._numbers([str(view) for view in views], behind, colors)

    def _numbers(self, numbers: Sequence[str], places: Sequence[Point], colors: Sequence[str]) -> None:
        """Write numbers, the first and the last before the others; those that would cover another are left out."""
        taken: list[Point] = []
        for index in sorted(range(len(numbers)), key=lambda index: 0 < index < len(numbers) - 1):
            x, y = places[index]
            if all(abs(x - a) >= LARGER * ROOM[0] or abs(y - b) >= LARGER * ROOM[1] for a, b in taken):
                taken.append((x, y))
                self._text((x / LARGER, y / LARGER), numbers[index], colors[index], 12, "mm", halo=True)

    def dashes(self, points: Sequence[Point]) -> None:
        """A dashed line through points, in the colour of true cameras."""
        before = 0.0  # length of the line so far
        for start, end in pairwise(points):
            length = math.dist(start, end)
            for dash in range(math.floor(before / PERIOD), math.ceil((before + length) / PERIOD) if length else 0):
                shares = [(at * PERIOD - before) / length for at in (dash, dash + DASH)]
                a, b = (_between(start, end, min(max(share, 0.0), 1.0)) for share in shares)
                self.pen.line([a, b], TRUE, 2 * LARGER)
            before += length

    def _corner(self, panel: int) -> Point:
        return PAD + panel * (PANEL + PAD), float(HEAD)

    def _box(self, left: float, top: float) -> None:
        corners = [LARGER * value for value in (left, top, left + PANEL, top + PANEL)]
        self.pen.rectangle(corners, "#ffffff", LINE, LARGER)

    def _tick(self, left: float, top: float, at: float, horizontal: bool, number: str) -> None:
        if horizontal:
            line = [(left + at, top), (left + at, top + PANEL)]
            self._text((left + at, top + PANEL + 6), number, MUTED, 11, "mt")
        else:
            line = [(left, top + PANEL - at), (left + PANEL, top + PANEL - at)]
            self._text((left - 5, top + PANEL - at), number, MUTED, 11, "rm")
        self.pen.line([(LARGER * x, LARGER * y) for x, y in line], LINE, LARGER)

    def _disc(self, center: Point, radius: float, color: str) -> None:
        x, y = center
        self.pen.ellipse([x - LARGER * radius, y - LARGER * radius, x + LARGER * radius, y + LARGER * radius], color)

    def _text(self, at: Point, text: str, color: str, size: int, anchor: str, halo: bool = False) -> float:
        """Write at a place and in a size of the finished picture; the width there."""
        font = ImageFont.load_default(LARGER * size)
        edge = LARGER * 2 if halo else 0
        place = (LARGER * at[0], LARGER * at[1])
        self.pen.text(place, text, color, font, anchor=anchor, stroke_width=edge, stroke_fill="#ffffff")
        return self.pen.textlength(text, font) / LARGER


def _corners(camera: Cameras, depth: float) -> Tensor:
    """[4, 3] the corners of a camera's picture in the world, at a depth; the field of view is kept within reason."""
    half = (0.5 / camera.intrinsics[:2].abs().clamp(min=0.25)).clamp(min=0.1)
    rays = torch.stack([torch.stack([half[0] * x, half[1] * y, torch.ones(())]) for x, y in CORNERS])
    return camera.centers + depth * rays.to(camera.rotations.dtype) @ camera.rotations.mT


def _between(start: Point, end: Point, share: float) -> Point:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _round_step(length: float) -> float:
    """The nearest of 1, 2, 5 times a power of ten that is not below `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= length * (1 - 1e-9))

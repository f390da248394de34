"""Composition of a room: walls, furniture along them, a group in the middle, pictures, a window, light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rayzer.data.synthetic.decor import picture, window
from rayzer.data.synthetic.furniture import FLOOR_PIECES, LOW_WALL_PIECES, TALL_WALL_PIECES, table
from rayzer.data.synthetic.parts import Part, Piece, Vector, assemble, box, cylinder, moved
from rayzer.data.synthetic.shading import Lamps, Room
from rayzer.data.synthetic.styles import Style

_CORNER_M = 0.95  # what the pieces of one wall leave free for those of the next
_WINDOW_SILL_M = 1.3
_SKIRTING = (0.09, 0.02)  # height and depth


@dataclass(frozen=True)
class _Wall:
    """A wall seen from inside: `yaw` turns a piece's frame to it, `reach_m` is its distance from the middle."""

    yaw: float
    reach_m: float
    width_m: float
    margin_m: float

    def hang(self, parts: list[Part], along_m: float, height_m: float = 0.0) -> list[Part]:
        """Parts with their backs at z = 0, moved to the wall `along_m` to the right of its middle."""
        return moved(moved(parts, (along_m, height_m, -self.reach_m)), (0, 0, 0), self.yaw)

    def point(self, along_m: float, height_m: float, off_m: float) -> Vector:
        """The point `off_m` off the wall, `along_m` to the right of its middle, in room coordinates."""
        sine, cosine, out = math.sin(self.yaw), math.cos(self.yaw), off_m - self.reach_m
        return (cosine * along_m + sine * out, -height_m, cosine * out - sine * along_m)


@dataclass(frozen=True)
class _Lamp:
    """One lamp, with the fields of `Lamps`."""

    center: Vector
    sides: tuple[Vector, Vector]
    facing: Vector
    color: Vector


def compose_room(seed: int) -> Room:
    """The room of a seed, on the CPU: the origin is the middle of the floor, y points down, metres."""
    rng = np.random.default_rng([seed, 0])
    style = Style(rng)
    half_x, half_z = rng.uniform(2.3, 3.1, 2)
    half_size = (float(half_x), float(rng.uniform(1.3, 1.5)), float(half_z))
    walls = _walls(half_size)
    parts = [_shell(style, rng, half_size), *_skirting(style, walls)]
    lamps: list[_Lamp] = []
    window_wall = rng.integers(4)
    for number, wall in enumerate(walls):
        placed = _along_wall(style, rng, wall)
        for piece, along in placed:
            parts += wall.hang(list(piece.parts), along)
        parts += _wall_art(style, rng, wall, placed, number == window_wall, lamps)
    parts += _middle(style, rng, half_size)
    parts += _ceiling_lamp(style, rng, half_size, lamps)
    solids, materials = assemble(parts)
    return Room(solids, materials, _lamp_record(lamps), _ambient(style))


def _walls(half_size: Vector) -> list[_Wall]:
    x, _, z = half_size
    return [
        _Wall(0.0, z, 2 * x, 0.15),
        _Wall(math.pi / 2, x, 2 * z, _CORNER_M),
        _Wall(math.pi, z, 2 * x, 0.15),
        _Wall(-math.pi / 2, x, 2 * z, _CORNER_M),
    ]


def _shell(style: Style, rng: np.random.Generator, half_size: Vector) -> Part:
    """The room itself; one of its walls stands out."""
    plain, feature = style.wall(feature=False), style.wall(feature=True)
    standing = [plain, plain, plain, feature]
    left, right, front, back = (standing[k] for k in rng.permutation(4))
    skin = (left, right, style.floor(), style.ceiling(), front, back)
    return Part("room", (0.0, -half_size[1], 0.0), half_size, skin)


def _skirting(style: Style, walls: list[_Wall]) -> list[Part]:
    height, depth = _SKIRTING
    trim = style.trim()
    board = [box((wall.width_m, height, depth), (0, 0, depth / 2), trim) for wall in walls]
    return [part for wall, item in zip(walls, board, strict=True) for part in wall.hang([item], 0)]


def _along_wall(style: Style, rng: np.random.Generator, wall: _Wall) -> list[tuple[Piece, float]]:
    """Pieces from left to right with their places along the wall, metres from its middle."""
    end = wall.width_m / 2 - wall.margin_m
    low = [LOW_WALL_PIECES[k] for k in rng.permutation(len(LOW_WALL_PIECES))]
    tall = [TALL_WALL_PIECES[k] for k in rng.permutation(len(TALL_WALL_PIECES))]
    queue = [low[0], *(kind for pair in zip(tall, [*low[1:], *tall[3:]], strict=False) for kind in pair)]
    if rng.random() < 0.5:
        queue[:2] = queue[1::-1]
    placed, left = [], -end + rng.uniform(0, 0.1)
    for kind in queue:
        piece = kind(style, rng)
        if left + piece.size[0] <= end:
            placed.append((piece, left + piece.size[0] / 2))
            left += piece.size[0] + rng.uniform(0.06, 0.3)
    spread = (end - left) / max(1, len(placed))
    return [(piece, along + max(0.0, spread) * (k + 0.5)) for k, (piece, along) in enumerate(placed)]


def _wall_art(
    style: Style,
    rng: np.random.Generator,
    wall: _Wall,
    placed: list[tuple[Piece, float]],
    with_window: bool,
    lamps: list[_Lamp],
) -> list[Part]:
    """Pictures above the low pieces of a wall; above the first of them the window, if this wall has it."""
    parts = []
    for piece, along in placed:
        if piece.size[1] > 0.9 or piece.size[0] < 0.7:
            continue
        if with_window:
            width, height = float(rng.uniform(0.9, 1.2)), float(rng.uniform(0.8, 0.95))
            parts += wall.hang(window(style, width, height), along, _WINDOW_SILL_M)
            lamps.append(_window_light(wall, along, width, height))
            with_window = False
        else:
            parts += wall.hang(_pictures(style, rng, piece.size[0]), along, 1.2 + rng.uniform(0, 0.1))
    return parts


def _pictures(style: Style, rng: np.random.Generator, width_m: float) -> list[Part]:
    """One large picture or a row of two or three, above something `width_m` wide."""
    count = int(rng.integers(1, 1 + max(1, round(width_m / 0.5))))
    pitch = width_m / count
    parts = []
    for k in range(count):
        width = float(min(pitch - 0.1, rng.uniform(0.5, 1.1)))
        height = float(np.clip(width * rng.uniform(0.7, 1.3), 0.35, 0.75))
        x = (k + 0.5) * pitch - width_m / 2
        parts += moved(picture(style, rng, width, height), (x, rng.uniform(0, 0.08), 0))
    return parts


def _middle(style: Style, rng: np.random.Generator, half_size: Vector) -> list[Part]:
    """A rug, a table on it and a few things around it, on the part of the floor that the walls leave free."""
    x, z = rng.uniform(-0.3, 0.3, 2)
    yaw = rng.uniform(-0.5, 0.5)
    round_rug = bool(rng.random() < 0.4)
    rug = style.rug(round_rug)
    flat = cylinder(1.05, 0.012, (0, 0, 0), rug) if round_rug else box((2.1, 0.012, 1.5), (0, 0, 0), rug)
    parts = moved([flat, *table(style, rng).parts], (x, 0, z), yaw)
    first = rng.uniform(0, 2 * math.pi)
    for k in range(3):
        angle = first + k * 2.1 + rng.uniform(-0.4, 0.4)
        piece = FLOOR_PIECES[rng.integers(len(FLOOR_PIECES))](style, rng)
        radius = 0.95 + piece.size[0] / 4
        place = (x + radius * math.cos(angle), 0.012, z + radius * math.sin(angle))
        if abs(place[0]) < half_size[0] - 1.15 and abs(place[2]) < half_size[2] - 1.15:
            parts += moved(piece.parts, place, rng.uniform(0, 3))
    return parts


def _window_light(wall: _Wall, along_m: float, width_m: float, height_m: float) -> _Lamp:
    """Daylight out of a window; its source floats a little before the pane, clear of the frame."""
    spot = wall.point(along_m, _WINDOW_SILL_M + height_m / 2, 0.16)
    sine, cosine = math.sin(wall.yaw), math.cos(wall.yaw)
    sides = ((0.25 * width_m * cosine, 0.0, -0.25 * width_m * sine), (0.0, 0.25 * height_m, 0.0))
    return _Lamp(spot, sides, (sine, 0.0, cosine), (9.0, 10.0, 11.2))


def _ceiling_lamp(style: Style, rng: np.random.Generator, half_size: Vector, lamps: list[_Lamp]) -> list[Part]:
    """A round lamp under the ceiling; its light starts just below its glass."""
    x, z = rng.uniform(-0.8, 0.8, 2)
    height, radius = 2 * half_size[1], 0.26
    rim, glass = style.metal(), style.glowing()
    sides = ((0.14, 0.0, 0.0), (0.0, 0.0, 0.14))
    lamps.append(_Lamp((x, -height + 0.12, z), sides, (0.0, 1.0, 0.0), (11.5, 10.2, 8.6)))
    return [
        cylinder(radius, 0.07, (x, height - 0.07, z), rim),
        cylinder(radius * 0.9, 0.03, (x, height - 0.09, z), glass),
    ]


def _lamp_record(lamps: list[_Lamp]) -> Lamps:
    def stacked(name: str) -> torch.Tensor:
        return torch.tensor([getattr(lamp, name) for lamp in lamps], dtype=torch.float32)

    return Lamps(stacked("center"), stacked("sides"), stacked("facing"), stacked("color"))


def _ambient(style: Style) -> torch.Tensor:
    """Light from above, tinted by the ceiling, and from below, tinted by the floor."""
    above = np.array([0.36, 0.36, 0.38])
    below = 0.17 + 0.22 * np.array(style.color(style.palette.floor, 0.0)) ** 1.2
    return torch.tensor(np.stack([above, below]), dtype=torch.float32)

"""The shell of a room: walls, floor, ceiling, and what belongs to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rayzer.data.synthetic.parts import Part, Vector, box, cylinder, moved, rod
from rayzer.data.synthetic.styles import Style, pick

_CORNER_M = 0.95  # what the pieces of one wall leave free for those of the next


@dataclass(frozen=True)
class Wall:
    """A wall seen from inside: `yaw` turns a piece's frame to it, `reach_m` is its distance from the middle."""

    yaw: float
    reach_m: float
    width_m: float
    margin_m: float

    def hang(self, parts: list[Part], along_m: float, height_m: float = 0.0) -> list[Part]:
        """Parts with their backs at z = 0, moved to the wall, `along_m` along local x from its middle."""
        return moved(moved(parts, (along_m, height_m, -self.reach_m)), (0, 0, 0), self.yaw)

    def point(self, along_m: float, height_m: float, off_m: float) -> Vector:
        """The point `off_m` off the wall, `along_m` along local x from its middle, in room coordinates."""
        sine, cosine, out = math.sin(self.yaw), math.cos(self.yaw), off_m - self.reach_m
        return (cosine * along_m + sine * out, -height_m, cosine * out - sine * along_m)


def walls_of(half_size: Vector) -> list[Wall]:
    """The four walls of a room."""
    x, _, z = half_size
    return [
        Wall(0.0, z, 2 * x, 0.15),
        Wall(math.pi / 2, x, 2 * z, _CORNER_M),
        Wall(math.pi, z, 2 * x, 0.15),
        Wall(-math.pi / 2, x, 2 * z, _CORNER_M),
    ]


def papered(style: Style, rng: np.random.Generator, half_size: Vector) -> Part:
    """A room in which one wall, or two opposite ones, stand out; now and then one is covered by a picture."""
    plain, feature = style.wall(feature=False), style.wall(feature=True)
    kind = rng.random()
    standing = [plain, plain, plain, feature] if kind < 0.6 else [plain, feature, plain, feature]
    if kind > 0.85:
        standing = [plain, plain, plain, style.picture(2 * half_size[0], 2 * half_size[1])]
    first = int(rng.integers(4))
    right, front, left, back = (standing[(first + k) % 4] for k in range(4))
    # Faces are counted by their inward normals.
    return room_box(half_size, (right, left, style.floor(), style.ceiling(), front, back))


def room_box(half_size: Vector, skin) -> Part:
    """The room itself, its floor at height 0."""
    return Part("room", (0.0, -half_size[1], 0.0), half_size, skin)


def skirting(style: Style, walls: list[Wall]) -> list[Part]:
    """Boards along the foot of all walls."""
    trim, height, depth = style.trim(), 0.09, 0.02
    return [
        part for wall in walls for part in wall.hang([box((wall.width_m, height, depth), (0, 0, depth / 2), trim)], 0)
    ]


def ceiling_work(style: Style, rng: np.random.Generator, half_size: Vector) -> list[Part]:
    """Beams, a cornice, pipes, or nothing under the ceiling."""
    return pick(rng, (_nothing, _nothing, _beams, _cornice, _pipes))(style, rng, half_size)


def _nothing(style: Style, rng: np.random.Generator, half_size: Vector) -> list[Part]:
    return []


def _beams(style: Style, rng: np.random.Generator, half_size: Vector) -> list[Part]:
    wood, height, count = style.wood(), 2 * half_size[1], int(rng.integers(3, 5))
    pitch = 2 * half_size[2] / count
    return [
        box((2 * half_size[0], 0.14, 0.12), (0, height - 0.14, (k + 0.5) * pitch - half_size[2]), wood)
        for k in range(count)
    ]


def _cornice(style: Style, rng: np.random.Generator, half_size: Vector) -> list[Part]:
    trim, height = style.trim(), 2 * half_size[1]
    return [
        part
        for wall in walls_of(half_size)
        for part in wall.hang([box((wall.width_m, 0.12, 0.1), (0, height - 0.12, 0.05), trim)], 0)
    ]


def _pipes(style: Style, rng: np.random.Generator, half_size: Vector) -> list[Part]:
    x, height, z = half_size[0], 2 * half_size[1], half_size[2]
    side = float(rng.uniform(0.3, 0.8)) * z
    parts = [rod(0.07, (-x, height - 0.15, side), (x, height - 0.15, side), style.scrap_metal())]
    parts.append(rod(0.04, (-x, height - 0.12, side - 0.2), (x, height - 0.12, side - 0.2), style.scrap_metal()))
    duct = float(rng.uniform(0.3, 0.8)) * x
    parts.append(box((0.34, 0.22, 2 * z), (-duct, height - 0.26, 0), style.scrap_metal()))
    return [*parts, cylinder(0.06, height, (x - 0.1, 0, side), style.scrap_metal())]

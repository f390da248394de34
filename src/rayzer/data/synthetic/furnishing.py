"""Furnished rooms: pieces along the walls, things above them, a group in the middle, things on the floor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rayzer.data.synthetic.lights import COLD, NEUTRAL, Lamp, Rig, draw_rig, window_light
from rayzer.data.synthetic.parts import Part, Piece, Vector, box, cylinder, moved
from rayzer.data.synthetic.pieces.decor import door, window
from rayzer.data.synthetic.shells import Wall, ceiling_work, papered, skirting, walls_of
from rayzer.data.synthetic.styles import Style, pick

PieceMaker = Callable[[Style, np.random.Generator], Piece]
HungMaker = Callable[[Style, np.random.Generator], list[Part]]
_SILL_M = 1.25
_LEAST_PARTS = 18  # along a wall, even if the room is full already
_MOST_PARTS = 118  # nothing is added beyond them


@dataclass(frozen=True)
class Furnishing:
    """What a kind of room is furnished with.

    Attributes:
        low: pieces along the walls that leave the wall above them free; tall: those that do not.
        hung: things on walls, about a metre wide, backs at z = 0, lower edges at height 0.
        middle: groups in the middle of the room; floor: things on the floor. Both are centred on the origin and lower
            than the camera.
        rug: the probability of a rug.
    """

    low: tuple[PieceMaker, ...]
    tall: tuple[PieceMaker, ...]
    hung: tuple[HungMaker, ...]
    middle: tuple[PieceMaker, ...]
    floor: tuple[PieceMaker, ...]
    rug: float = 0.0

    def furnish(self, style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
        """A whole room; its lights come with it."""
        rig = draw_rig(style, rng, half_size)
        walls = walls_of(half_size)
        parts = [
            papered(style, rng, half_size),
            *skirting(style, walls),
            *ceiling_work(style, rng, half_size),
            *rig.parts,
        ]
        parts += self._middle(style, rng, half_size)
        lamps = list(rig.lamps)
        window_wall, door_wall = rng.permutation(4)[:2].tolist()
        limit = float(rng.uniform(0.55, 1.0)) * _MOST_PARTS
        for number in rng.permutation(4).tolist():
            wall = walls[number]
            placed = self._along(style, rng, wall, limit - len(parts))
            if number == door_wall:
                placed = _with_door(style, rng, placed)
            parts += [part for piece, along in placed for part in wall.hang(list(piece.parts), along)]
            light = rig.daylight and number == window_wall
            parts += self._above(style, rng, wall, placed, lamps if light else None, half_size[1])
        return Rig(parts, lamps, rig.ambient)

    def _along(self, style: Style, rng: np.random.Generator, wall: Wall, room_for: float) -> list[tuple[Piece, float]]:
        """Pieces with their places along the wall, metres from its middle; at least one."""
        end, count = wall.width_m / 2 - wall.margin_m, 0
        placed, left = [], -end + float(rng.uniform(0, 0.1))
        for step in range(7):
            tall = rng.random() < 0.5 if step else rng.random() < 0.2
            piece = pick(rng, self.tall if tall else self.low)(style, rng)
            fits = count + len(piece.parts) <= max(room_for, _LEAST_PARTS)
            if left + piece.size[0] <= end and (fits or not placed):
                placed.append((piece, left + piece.size[0] / 2))
                left += piece.size[0] + float(rng.uniform(0.06, 0.35))
                count += len(piece.parts)
        spread = (end - left) / max(1, len(placed))
        return [(piece, along + max(0.0, spread) * (k + 0.5)) for k, (piece, along) in enumerate(placed)]

    def _above(
        self,
        style: Style,
        rng: np.random.Generator,
        wall: Wall,
        placed: list[tuple[Piece, float]],
        lamps: list[Lamp] | None,
        half_height: float,
    ) -> list[Part]:
        """Things hung above the low pieces of a wall; above the first of them a window, if its light is wanted."""
        parts = []
        for piece, along in placed:
            if piece.size[1] > 1.15 or piece.size[0] < 0.55:
                continue
            height = max(piece.size[1] + 0.25, float(rng.uniform(1.15, 1.3)))
            if lamps is not None:
                size = (float(rng.uniform(0.9, 1.3)), float(rng.uniform(0.8, 0.95)))
                parts += wall.hang(window(style, *size), along, _SILL_M)
                lamps.append(window_light(wall, along, _SILL_M, size, pick(rng, (COLD, NEUTRAL, (1.15, 0.9, 0.66)))))
                lamps = None
            elif height < 2 * half_height - 1.05:
                offsets = (0.0,) if piece.size[0] < 1.55 or rng.random() < 0.3 else (-0.55, 0.55)
                for offset in offsets:
                    parts += wall.hang(pick(rng, self.hung)(style, rng), along + offset, height)
        return parts

    def _middle(self, style: Style, rng: np.random.Generator, half_size: Vector) -> list[Part]:
        """A group, perhaps on a rug, and a few things around it, on the part of the floor that the walls leave free."""
        x, z = rng.uniform(-0.3, 0.3, 2).tolist()
        group = pick(rng, self.middle)(style, rng)
        ground = 0.012 if rng.random() < self.rug else 0.0
        parts = moved(
            [*(_rug(style, rng, group) if ground else []), *group.parts], (x, 0, z), float(rng.uniform(-0.6, 0.6))
        )
        first = float(rng.uniform(0, 2 * math.pi))
        for k in range(int(rng.integers(2, 5))):
            angle = first + k * 1.6 + float(rng.uniform(-0.3, 0.3))
            piece = pick(rng, self.floor)(style, rng)
            radius = group.size[0] / 2 + 0.35 + piece.size[0] / 2
            place = (x + radius * math.cos(angle), 0.0, z + radius * math.sin(angle))
            if abs(place[0]) < half_size[0] - 1.1 and abs(place[2]) < half_size[2] - 1.1:
                parts += moved(piece.parts, place, float(rng.uniform(0, 6.28)))
        return parts


def _rug(style: Style, rng: np.random.Generator, group: Piece) -> list[Part]:
    round_rug = bool(rng.random() < 0.4)
    skin, reach = style.rug(round_rug), group.size[0] / 2 + 0.5
    if round_rug:
        return [cylinder(reach, 0.012, (0, 0, 0), skin)]
    return [box((2 * reach, 0.012, 1.5 * reach), (0, 0, 0), skin)]


def _with_door(style: Style, rng: np.random.Generator, placed: list[tuple[Piece, float]]) -> list[tuple[Piece, float]]:
    """The pieces, with a door in place of the widest."""
    leaf = Piece(tuple(door(style, rng)), (1.0, 2.2, 0.06))
    widest = max(range(len(placed)), key=lambda k: placed[k][0].size[0], default=None)
    return [(leaf, along) if k == widest else (piece, along) for k, (piece, along) in enumerate(placed)]

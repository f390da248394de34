"""Rooms full of composed shapes: standing, stacked, floating, stuck in the walls, in any attitude."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rayzer.data.synthetic.lights import Rig, draw_rig
from rayzer.data.synthetic.parts import Vector, moved
from rayzer.data.synthetic.pieces.abstract import composed, floating
from rayzer.data.synthetic.shells import ceiling_work, room_box
from rayzer.data.synthetic.styles import Style

_ATTEMPTS = 260


@dataclass(frozen=True)
class Walkway:
    """The part of a ring around the middle of the room, at eye level, that is left to the camera.

    Attributes:
        inner_m, outer_m: radii; low_m, high_m: heights above the floor.
        azimuth: radians of its middle, about the vertical from x towards z; half_width: radians to both sides.
    """

    inner_m: float
    outer_m: float
    low_m: float
    high_m: float
    azimuth: float
    half_width: float

    def is_clear_of(self, x: float, height: float, z: float, radius: float) -> bool:
        """Whether a ball keeps out of it."""
        out = math.hypot(x, z)
        if height + radius < self.low_m or height - radius > self.high_m:
            return True
        if out + radius < self.inner_m or out - radius > self.outer_m:
            return True
        aside = abs((math.atan2(z, x) - self.azimuth + math.pi) % (2 * math.pi) - math.pi)
        return out > radius and aside - math.asin(radius / out) > self.half_width


@dataclass(frozen=True)
class _Ball:
    x: float
    height: float
    z: float
    radius: float

    def far_from(self, other: _Ball) -> bool:
        """Whether they overlap so little that the things in them hardly touch."""
        apart = math.dist((self.x, self.height, self.z), (other.x, other.height, other.z))
        return apart > 0.6 * (self.radius + other.radius)


def fill_room(style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
    """A whole room of random shapes with its lights."""
    rig = draw_rig(style, rng, half_size)
    shell = room_box(half_size, _surfaces(style, rng, half_size))
    parts = [shell, *ceiling_work(style, rng, half_size), *rig.parts]
    narrow = min(half_size[0], half_size[2])
    way = Walkway(0.45 * narrow, 0.85 * narrow, 0.75, 2.1, float(rng.uniform(-math.pi, math.pi)), 1.6)
    target, taken = int(rng.integers(85, 175)), []
    floats, scale = float(rng.uniform(0.1, 0.6)), float(rng.uniform(0.8, 1.6))
    for _ in range(_ATTEMPTS):
        if len(parts) >= target:
            break
        spot, made = _candidate(style, rng, half_size, floats, scale)
        if way.is_clear_of(spot.x, spot.height, spot.z, spot.radius) and all(spot.far_from(ball) for ball in taken):
            taken.append(spot)
            parts += made()
    return Rig(parts, rig.lamps, rig.ambient)


def _candidate(style: Style, rng: np.random.Generator, half_size: Vector, floats: float, scale: float):
    """(the ball that a thing fills, a function that makes the thing): on the floor, in the air or in a wall."""
    kind, size = rng.random(), scale * float(rng.uniform(0.25, 0.5)) * (1 + 1.5 * float(rng.random()) ** 2)
    x, z = float(rng.uniform(-1, 1)) * half_size[0], float(rng.uniform(-1, 1)) * half_size[2]
    yaw = float(rng.uniform(0, 2 * math.pi))
    if kind < 0.2:
        spot = _on_wall(rng, half_size, size)
        return spot, lambda: moved(floating(style, rng, size), (spot.x, spot.height, spot.z))
    x, z = _inside(x, half_size[0], 0.55 * size), _inside(z, half_size[2], 0.55 * size)
    if kind < 0.2 + 0.8 * floats:
        spot = _Ball(x, _inside_height(rng, half_size, size), z, 0.5 * size)
        return spot, lambda: moved(floating(style, rng, size), (spot.x, spot.height, spot.z))
    spot = _Ball(x, 0.5 * size, z, 0.62 * size)
    return spot, lambda: moved(composed(style, rng, size), (spot.x, 0.0, spot.z), yaw)


def _on_wall(rng: np.random.Generator, half_size: Vector, size: float) -> _Ball:
    height, share = _inside_height(rng, half_size, size), float(rng.uniform(-0.9, 0.9))
    side = 1.0 if rng.random() < 0.5 else -1.0
    if rng.random() < 0.5:
        return _Ball(side * half_size[0], height, share * half_size[2], 0.5 * size)
    return _Ball(share * half_size[0], height, side * half_size[2], 0.5 * size)


def _inside(value: float, half: float, margin: float) -> float:
    return min(half - margin, max(margin - half, value))


def _inside_height(rng: np.random.Generator, half_size: Vector, size: float) -> float:
    return float(rng.uniform(0.55 * size, 2 * half_size[1] - 0.4 - 0.55 * size))


def _surfaces(style: Style, rng: np.random.Generator, half_size: Vector):
    """Walls, floor and ceiling of different materials."""
    if rng.random() < 0.35:
        walls = [style.wall(feature=True) for _ in range(4)]
    else:
        walls = [style.anything(float(rng.uniform(1.2, 2.2))) for _ in range(4)]
    if style.pictures is not None or rng.random() < 0.25:
        walls[int(rng.integers(4))] = style.picture(2 * half_size[0], 2 * half_size[1])
    floor = style.floor() if rng.random() < 0.5 else style.anything(1.4)
    ceiling = style.ceiling() if rng.random() < 0.5 else style.anything(1.8)
    return (walls[0], walls[1], floor, ceiling, walls[2], walls[3])

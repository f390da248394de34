"""Light: what shines in a room, and how strongly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rayzer.data.synthetic.parts import Part, Vector, ball, box, cone, cylinder, rod
from rayzer.data.synthetic.shading import Lamps
from rayzer.data.synthetic.shells import Wall
from rayzer.data.synthetic.styles import Style, pick
from rayzer.data.synthetic.textures import Color

WARM, NEUTRAL, COLD = (1.0, 0.82, 0.6), (1.0, 0.95, 0.88), (0.86, 0.95, 1.08)


@dataclass(frozen=True)
class Lamp:
    """One lamp, with the fields of `Lamps`."""

    center: Vector
    sides: tuple[Vector, Vector]
    facing: Vector
    color: Vector

    def scaled(self, factor: float) -> Lamp:
        """The lamp, brighter."""
        red, green, blue = self.color
        return Lamp(self.center, self.sides, self.facing, (factor * red, factor * green, factor * blue))


@dataclass(frozen=True)
class Rig:
    """The lights of a room: fittings, lamps, light from all around (linear RGB), and whether a window adds to them."""

    parts: list[Part]
    lamps: list[Lamp]
    ambient: Color
    daylight: bool = False


def draw_rig(style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
    """One of the `RIGS`."""
    return pick(rng, RIGS)(style, rng, half_size)


def _below(center: Vector, half: tuple[float, float], color: Color, strength: float) -> Lamp:
    """A lamp of 2 half_x times 2 half_z that shines down from (x, height above the floor, z)."""
    red, green, blue = (strength * channel for channel in color)
    sides = ((half[0], 0.0, 0.0), (0.0, 0.0, half[1]))
    return Lamp((center[0], -center[1], center[2]), sides, (0.0, 1.0, 0.0), (red, green, blue))


def _round_ceiling(
    style: Style, x: float, z: float, height: float, color: Color, strength: float
) -> tuple[list[Part], Lamp]:
    """A round fitting; its light starts just below its glass."""
    rim, glass = style.metal(), style.glowing(color)
    parts = [cylinder(0.26, 0.07, (x, height - 0.07, z), rim), cylinder(0.235, 0.03, (x, height - 0.09, z), glass)]
    return parts, _below((x, height - 0.12, z), (0.14, 0.14), color, strength)


def _ceiling_and_window(style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
    x, z = rng.uniform(-0.8, 0.8, 2).tolist()
    color = pick(rng, (WARM, NEUTRAL, NEUTRAL))
    parts, lamp = _round_ceiling(style, x, z, 2 * half_size[1], color, float(rng.uniform(5.0, 11.0)))
    return Rig(parts, [lamp], (0.34, 0.35, 0.38), daylight=True)


def _pendant(style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
    """One hanging lamp and much shadow."""
    height, drop = 2 * half_size[1], float(rng.uniform(0.2, 0.35))
    x, z = rng.uniform(-0.4, 0.4, 2).tolist()
    color = pick(rng, (WARM, NEUTRAL, COLD))
    shade = cone(0.24, 0.2, (x, height - drop, z), style.scrap_metal())
    cord = rod(0.01, (x, height - drop + 0.15, z), (x, height, z), style.metal())
    glass = ball(0.06, (x, height - drop - 0.05, z), style.glowing(color))
    lamp = _below((x, height - drop - 0.07, z), (0.08, 0.08), color, 15.0)
    return Rig([shade, cord, glass], [lamp], _tinted(color, 0.24))


def _tubes(style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
    """Two long cold tubes."""
    height, along = 2 * half_size[1], 0.45 * half_size[0]
    parts, lamps, glass = [], [], style.glowing((0.93, 0.98, 1.0))
    for z in (-0.45 * half_size[2], 0.45 * half_size[2]):
        parts += [
            box((2 * along, 0.06, 0.2), (0, height - 0.06, z), style.metal()),
            rod(0.03, (-along, height - 0.09, z), (along, height - 0.09, z), glass),
        ]
        lamps.append(_below((0, height - 0.14, z), (0.8 * along, 0.04), COLD, 7.0))
    return Rig(parts, lamps, (0.33, 0.36, 0.38))


def _skylight(style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
    """A bright opening in the ceiling."""
    height, side = 2 * half_size[1], float(rng.uniform(0.5, 0.9))
    x, z = rng.uniform(-0.5, 0.5, 2).tolist()
    pane = box((2 * side, 0.02, 2 * side), (x, height - 0.02, z), style.sky(2 * side, 2 * side))
    bars = [box((2 * side, 0.05, 0.05), (x, height - 0.05, z + k * side), style.trim()) for k in (-1, 0, 1)]
    bars += [box((0.05, 0.05, 2 * side), (x + k * side, height - 0.05, z), style.trim()) for k in (-1, 1)]
    color = pick(rng, (COLD, NEUTRAL, (1.08, 0.9, 0.7)))
    return Rig(
        [pane, *bars], [_below((x, height - 0.1, z), (0.6 * side, 0.6 * side), color, 15.0)], _tinted(color, 0.33)
    )


def _spots(style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
    """Two or three small lamps of different colours, and little light from elsewhere."""
    height = 2 * half_size[1]
    parts, lamps, first = [], [], float(rng.uniform(0, 6.28))
    colors = pick(rng, ((WARM, COLD, NEUTRAL), (NEUTRAL, WARM, WARM), ((1.1, 0.7, 0.75), (0.7, 0.85, 1.15), NEUTRAL)))
    count = int(rng.integers(2, 4))
    for k, color in enumerate(colors[:count]):
        angle = first + k * 2 * math.pi / count
        x, z = 0.6 * half_size[0] * math.cos(angle), 0.6 * half_size[2] * math.sin(angle)
        parts += [
            cylinder(0.1, 0.14, (x, height - 0.14, z), style.metal()),
            ball(0.05, (x, height - 0.19, z), style.glowing(color)),
        ]
        lamps.append(_below((x, height - 0.22, z), (0.07, 0.07), color, 14.0 / count))
    return Rig(parts, lamps, (0.25, 0.25, 0.26))


def _daylight(style: Style, rng: np.random.Generator, half_size: Vector) -> Rig:
    """Only the window and what the room throws back; without a window, a large soft light."""
    height = 2 * half_size[1]
    panel = box((1.2, 0.03, 1.2), (0, height - 0.03, 0), style.glowing(NEUTRAL))
    return Rig([panel], [_below((0, height - 0.06, 0), (0.5, 0.5), NEUTRAL, 6.0)], (0.36, 0.38, 0.42), daylight=True)


RIGS: tuple[Callable[[Style, np.random.Generator, Vector], Rig], ...] = (
    _ceiling_and_window,
    _ceiling_and_window,
    _daylight,
    _pendant,
    _tubes,
    _skylight,
    _spots,
)
"""(style, rng, half size of the room) -> Rig."""


def window_light(wall: Wall, along_m: float, sill_m: float, size_m: tuple[float, float], color: Color) -> Lamp:
    """Daylight out of a window; its source floats a little before the pane, clear of the frame."""
    width, height = size_m
    spot = wall.point(along_m, sill_m + height / 2, 0.16)
    sine, cosine = math.sin(wall.yaw), math.cos(wall.yaw)
    sides = ((0.25 * width * cosine, 0.0, -0.25 * width * sine), (0.0, 0.25 * height, 0.0))
    red, green, blue = (11.0 * channel for channel in color)
    return Lamp(spot, sides, (sine, 0.0, cosine), (red, green, blue))


def exposed(rig: Rig, style: Style, rng: np.random.Generator, half_size: Vector) -> tuple[Lamps, torch.Tensor]:
    """The lamps and the ambient light [2, 3] (from above, from below), made to suit the room.

    Large rooms need more light, dark walls some more; a little is left to chance, and so is the depth of the shadows.
    """
    walls = [sum(color) / 3 for color in (*style.palette.walls, style.palette.floor)]
    darkness = (0.45 / max(0.05, sum(walls) / 3)) ** 0.7
    factor = min(2.2, max(0.75, darkness)) * float(rng.uniform(0.85, 1.15))
    spread = (1 + half_size[0] * half_size[2] / 7.3 * (half_size[1] / 1.4)) / 2
    softness = float(rng.uniform(0.55, 1.15))
    lamps = [lamp.scaled((1.6 - 0.6 * softness) * factor * spread) for lamp in rig.lamps]
    above = [softness * factor * channel for channel in rig.ambient]
    floor = style.palette.floor
    below = [(0.4 + 0.6 * tint**1.2) * channel for tint, channel in zip(floor, above, strict=True)]
    return _record(lamps), torch.tensor([above, below], dtype=torch.float64)


def _record(lamps: list[Lamp]) -> Lamps:
    def stacked(name: str) -> torch.Tensor:
        return torch.tensor([getattr(lamp, name) for lamp in lamps], dtype=torch.float64)

    return Lamps(stacked("center"), stacked("sides"), stacked("facing"), stacked("color"))


def _tinted(color: Color, strength: float) -> Color:
    """Light from all around, partly of the colour of the lamps."""
    red, green, blue = (strength * (0.5 + 0.5 * channel) for channel in color)
    return red, green, blue

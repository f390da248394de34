"""Composition of a room: a pure function of a seed."""

from __future__ import annotations

import numpy as np

from rayzer.data.synthetic.lights import exposed
from rayzer.data.synthetic.parts import assemble
from rayzer.data.synthetic.room_kinds import ROOM_KINDS
from rayzer.data.synthetic.shading import Room
from rayzer.data.synthetic.styles import Style
from rayzer.data.synthetic.tiles import PictureSet


def compose_room(seed: int, pictures: PictureSet | None = None, kind: str | None = None) -> Room:
    """The room of a seed, on the CPU, in float64: the origin is the middle of the floor, y points down, metres.

    Args:
        seed: decides everything, together with the other arguments; non-negative.
        pictures: hang on walls and cover things, besides those drawn by rule.
        kind: a key of `ROOM_KINDS`; None to draw one.
    """
    rng = np.random.default_rng([seed, 0])
    drawn = _draw_kind(rng)
    chosen = ROOM_KINDS[kind or drawn]
    style = Style(rng, pictures)
    half_size = chosen.half_size(rng)
    filled = chosen.fill(style, rng, half_size)
    lamps, ambient = exposed(filled, style, rng, half_size)
    solids, materials = assemble(filled.parts, pictures)
    return Room(solids, materials, lamps, ambient)


def _draw_kind(rng: np.random.Generator) -> str:
    bounds = np.cumsum([kind.weight for kind in ROOM_KINDS.values()])
    return list(ROOM_KINDS)[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]

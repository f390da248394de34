"""Kitchens: counters, stove, fridge, tall cupboards, a dining table."""

from __future__ import annotations

import math

import numpy as np

from rayzer.data.synthetic.parts import Part, Piece, ball, box, cone, cylinder, moved, ring, rod, tilted
from rayzer.data.synthetic.pieces.decor import arranged
from rayzer.data.synthetic.styles import Style

_COUNTER_M = 0.88
_DEPTH_M = 0.6


def counter(style: Style, rng: np.random.Generator) -> Piece:
    """Cupboards with doors and handles under a worktop with things on it."""
    width = float(rng.uniform(1.2, 1.9))
    parts = _carcass(style, width)
    parts += moved(arranged(style, rng, width - 0.1, 0.5, _COUNTER_M), (0, 0, 0.3))
    return Piece(tuple(parts), (width, _COUNTER_M, _DEPTH_M))


def _carcass(style: Style, width: float) -> list[Part]:
    front, handle = style.painted(), style.metal()
    count = max(2, round(width / 0.5))
    pitch = width / count
    parts = [
        box((width, 0.76, 0.54), (0, 0.08, 0.27), front),
        box((width, 0.08, 0.46), (0, 0, 0.23), style.metal()),
        box((width + 0.02, 0.04, _DEPTH_M), (0, _COUNTER_M - 0.04, 0.3), style.stone()),
    ]
    for k in range(count):
        x = (k + 0.5) * pitch - width / 2
        parts.append(box((pitch - 0.02, 0.68, 0.02), (x, 0.12, 0.55), front))
        parts.append(rod(0.012, (x - 0.1, 0.74, 0.575), (x + 0.1, 0.74, 0.575), handle))
    return parts


def sink(style: Style, rng: np.random.Generator) -> Piece:
    """A counter with a basin, a bent tap and dishes."""
    parts, metal = _carcass(style, 1.2), style.metal()
    parts += [
        box((0.5, 0.012, 0.4), (-0.2, _COUNTER_M, 0.3), metal),
        cylinder(0.018, 0.26, (-0.2, _COUNTER_M, 0.1), metal),
        rod(0.016, (-0.2, _COUNTER_M + 0.25, 0.1), (-0.2, _COUNTER_M + 0.2, 0.28), metal),
    ]
    plates = int(rng.integers(2, 6))
    parts += [cylinder(0.11, 0.014, (0.3, _COUNTER_M + 0.016 * k, 0.3), style.ceramic()) for k in range(plates)]
    return Piece(tuple(parts), (1.2, _COUNTER_M, _DEPTH_M))


def stove(style: Style, rng: np.random.Generator) -> Piece:
    """An oven with knobs and pots on its plates."""
    body, dark, metal = style.scrap_metal(), style.printed(0.5, 0.4, "brushed"), style.metal()
    parts = [
        box((0.6, _COUNTER_M - 0.02, 0.58), (0, 0, 0.29), body),
        box((0.48, 0.4, 0.02), (0, 0.22, 0.58), dark),
        rod(0.014, (-0.22, 0.68, 0.6), (0.22, 0.68, 0.6), metal),
        box((0.6, 0.02, 0.6), (0, _COUNTER_M - 0.02, 0.3), dark),
    ]
    parts += [tilted(cylinder(0.022, 0.03, (x, 0.76, 0.59), metal), math.pi / 2) for x in (-0.21, -0.07, 0.07, 0.21)]
    for x, z in ((-0.15, 0.17), (0.15, 0.42)):
        parts += moved(_pot(style, rng), (x, _COUNTER_M, z), float(rng.uniform(-2.1, -1.1)))
    return Piece(tuple(parts), (0.62, _COUNTER_M, 0.62))


def _pot(style: Style, rng: np.random.Generator) -> list[Part]:
    skin, radius, height = style.scrap_metal(), float(rng.uniform(0.08, 0.13)), float(rng.uniform(0.06, 0.17))
    handle = rod(0.014, (radius - 0.02, height - 0.03, 0), (radius + 0.16, height + 0.02, 0), style.metal())
    lid = [cylinder(radius + 0.006, 0.012, (0, height, 0), skin), ball(0.02, (0, height + 0.005, 0), style.wood())]
    return [cylinder(radius, height, (0, 0, 0), skin), handle, *(lid if height > 0.1 else [])]


def fridge(style: Style, rng: np.random.Generator) -> Piece:
    """Two doors with bars and pictures held by magnets."""
    body, metal = style.scrap_metal(), style.metal()
    height, split = float(rng.uniform(1.5, 1.85)), 0.6
    parts = [
        box((0.62, height, 0.56), (0, 0, 0.28), body),
        box((0.6, split - 0.03, 0.04), (0, 0.02, 0.58), body),
        box((0.6, height - split - 0.03, 0.04), (0, split, 0.58), body),
        *(rod(0.014, (-0.24, low, 0.62), (-0.24, low + 0.3, 0.62), metal) for low in (0.25, split + 0.1)),
    ]
    for x in (-0.1, 0.14):
        size, low = float(rng.uniform(0.12, 0.2)), split + float(rng.uniform(0.25, 0.6))
        note = box((size, size * 1.2, 0.006), (x, low, 0.603), style.picture(size, size * 1.2, mirrored=True))
        parts.append(tilted(note, 0.0, float(rng.uniform(-0.2, 0.2))))
    return Piece(tuple(parts), (0.66, height, 0.64))


def dresser(style: Style, rng: np.random.Generator) -> Piece:
    """A cupboard with plates standing on open boards above it."""
    wood, width = style.wood(), float(rng.uniform(0.9, 1.2))
    parts = [
        box((width, 0.82, 0.42), (0, 0, 0.21), wood),
        box((width, 0.95, 0.03), (0, 0.82, 0.015), wood),
        *(box((width / 2 - 0.04, 0.62, 0.02), (x * width / 4, 0.1, 0.425), style.painted()) for x in (-1, 1)),
        *(box((width, 0.025, 0.2), (0, low, 0.1), wood) for low in (1.12, 1.45, 1.77)),
    ]
    for low in (0.82, 1.145, 1.475):
        for k in range(3):
            x = (k - 1) * width / 3.2
            upright = tilted(cylinder(0.1, 0.014, (x, low + 0.095, 0.09), style.ceramic()), math.pi / 2 - 0.25)
            parts.append(upright)
    return Piece(tuple(parts), (width, 1.8, 0.45))


def dining_table(style: Style, rng: np.random.Generator) -> Piece:
    """A table with plates and cups and chairs around it."""
    wood, upright = style.wood(), style.wood(upright=True)
    width, depth, height = float(rng.uniform(1.1, 1.5)), 0.8, 0.74
    parts = [box((width, 0.04, depth), (0, height - 0.04, 0), wood)]
    parts += [
        box((0.06, height - 0.03, 0.06), (x * (width / 2 - 0.05), 0, z * (depth / 2 - 0.05)), upright)
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    for x in (-width / 4, width / 4):
        parts.append(cylinder(0.13, 0.015, (x, height, 0.2), style.ceramic()))
        parts.append(cylinder(0.04, 0.09, (x + 0.18, height, 0.1), style.ceramic()))
    parts += moved(arranged(style, rng, 0.5, 0.3, height), (0, 0, -0.12))
    for x, z, yaw in ((-width / 4, 0.55, 0.0), (width / 4, -0.55, math.pi)):
        parts += moved(chair(style, rng).parts, (x, 0, z), math.pi + yaw + float(rng.uniform(-0.4, 0.4)))
    return Piece(tuple(parts), (width, height, depth))


def chair(style: Style, rng: np.random.Generator) -> Piece:
    """A chair whose back is at -z."""
    wood, seat = style.wood(upright=True), style.fabric()
    legs = [box((0.04, 0.44, 0.04), (x * 0.18, 0, z * 0.18), wood) for x in (-1, 1) for z in (-1, 1)]
    posts = [rod(0.018, (x * 0.18, 0.44, -0.18), (x * 0.17, 0.88, -0.26), wood) for x in (-1, 1)]
    back = tilted(box((0.36, 0.16, 0.025), (0, 0.68, -0.24), wood), -0.18)
    return Piece((*legs, box((0.42, 0.05, 0.42), (0, 0.43, 0), seat), *posts, back), (0.42, 0.9, 0.5))


def hanging_pots(style: Style, rng: np.random.Generator) -> list[Part]:
    """A rail with pans, ladles and a string of onions, its back at z = 0 and its lower edge at height 0."""
    metal, width = style.metal(), 0.9
    parts = [rod(0.012, (-width / 2, 0.42, 0.06), (width / 2, 0.42, 0.06), metal)]
    parts += [box((0.025, 0.05, 0.06), (x * 0.4, 0.4, 0.03), metal) for x in (-1, 1)]
    for k in range(4):
        x = (k - 1.5) * 0.23
        parts.append(rod(0.01, (x, 0.42, 0.06), (x, 0.2, 0.06), style.wood()))
        pan = cylinder(0.05 + 0.04 * float(rng.random()), 0.03, (x, 0.12, 0.06), style.scrap_metal())
        parts.append(tilted(pan, math.pi / 2))
    if rng.random() < 0.5:
        parts.append(tilted(ring(0.09, 0.02, (0.56, 0.3, 0.04), style.foliage()), math.pi / 2))
    return parts


def fruit_stool(style: Style, rng: np.random.Generator) -> Piece:
    """A stool with a bowl of fruit on it."""
    wood = style.wood(upright=True)
    legs = [rod(0.02, (x * 0.16, 0, z * 0.16), (x * 0.1, 0.45, z * 0.1), wood) for x in (-1, 1) for z in (-1, 1)]
    fruit = [ball(0.06, (0.07 * math.cos(a), 0.54, 0.07 * math.sin(a)), style.toy()) for a in (0.3, 2.4, 4.5)]
    bowl = cone(0.15, 0.14, (0, 0.5, 0), style.ceramic())
    return Piece((*legs, cylinder(0.17, 0.05, (0, 0.45, 0), wood), tilted(bowl, math.pi), *fruit), (0.4, 0.65, 0.4))

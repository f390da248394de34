"""Exhibitions: pedestals with sculptures, showcases, large pictures, benches, easels."""

from __future__ import annotations

import math

import numpy as np

from rayzer.data.synthetic.parts import Part, Piece, ball, box, cone, cylinder, moved, resting, ring, rod, tilted
from rayzer.data.synthetic.pieces.abstract import composed
from rayzer.data.synthetic.pieces.decor import picture
from rayzer.data.synthetic.styles import Style, pick


def pedestal(style: Style, rng: np.random.Generator) -> Piece:
    """A block or column that carries a composition of shapes."""
    width, height = float(rng.uniform(0.34, 0.5)), float(rng.uniform(0.6, 1.0))
    skin = style.trim() if rng.random() < 0.4 else style.stone()
    block = box((width, height, width), (0, 0, 0.35), skin)
    if rng.random() < 0.3:
        block = cylinder(width / 2, height, (0, 0, 0.35), skin)
    art = moved(composed(style, rng, float(rng.uniform(0.3, 0.45))), (0, height, 0.35), float(rng.uniform(0, 6)))
    return Piece((block, *art), (width + 0.2, height + 0.5, 0.75))


def bust(style: Style, rng: np.random.Generator) -> Piece:
    """A head and shoulders of stone on a column."""
    stone, column, height = style.stone(), style.stone(), float(rng.uniform(0.8, 1.05))
    parts = [
        cylinder(0.2, 0.06, (0, 0, 0.3), column),
        cylinder(0.15, height, (0, 0, 0.3), column),
        box((0.36, 0.05, 0.36), (0, height, 0.3), column),
        cone(0.18, 0.34, (0, height + 0.05, 0.3), stone),
        cylinder(0.055, 0.2, (0, height + 0.2, 0.3), stone),
        ball(0.115, (0, height + 0.33, 0.3), stone),
        cone(0.03, 0.08, (0, height + 0.41, 0.41), stone),
    ]
    return Piece(tuple(parts), (0.5, height + 0.6, 0.6))


def showcase(style: Style, rng: np.random.Generator) -> Piece:
    """A low case with a row of finds on its cloth."""
    width, height, depth = float(rng.uniform(1.1, 1.6)), 0.85, 0.5
    wood, cloth = style.wood(), style.fabric()
    parts = [
        box((width, height - 0.1, depth), (0, 0.05, depth / 2), wood),
        box((width + 0.06, 0.06, depth + 0.06), (0, 0, 0.03 + depth / 2), style.trim()),
        box((width - 0.06, 0.04, depth - 0.06), (0, height - 0.06, depth / 2), cloth),
    ]
    rail = style.metal()
    for x in (-1, 1):
        for z in (0.03, depth - 0.03):
            parts.append(box((0.02, 0.32, 0.02), (x * (width / 2 - 0.02), height - 0.04, z), rail))
    parts.append(box((width, 0.02, depth), (0, height + 0.28, depth / 2), rail))
    count = max(2, int(width / 0.42))
    for k in range(count):
        find = composed(style, rng, 0.16)
        parts += moved(find, ((k - (count - 1) / 2) * 0.36, height - 0.02, depth / 2), float(rng.uniform(0, 6)))
    return Piece(tuple(parts), (width + 0.06, height + 0.3, depth + 0.06))


def easel(style: Style, rng: np.random.Generator) -> Piece:
    """A picture on three legs."""
    wood, width, height = style.wood(), float(rng.uniform(0.6, 0.85)), float(rng.uniform(0.6, 0.8))
    canvas = tilted(box((width, height, 0.03), (0, 0, 0), _canvas(style, width, height)), -0.18)
    legs = [rod(0.02, (x * 0.32, 0, 0.72), (x * 0.06, 1.65, 0.4), wood) for x in (-1, 1)]
    legs += [rod(0.02, (0, 0, 0.08), (0, 1.55, 0.4), wood), box((0.7, 0.03, 0.1), (0, 0.62, 0.64), wood)]
    return Piece((*legs, *moved([resting(canvas, 0.0)], (0, 0.65, 0.6))), (0.95, 1.6, 0.8))


def _canvas(style: Style, width: float, height: float):
    edge = style.trim()
    return (edge, edge, edge, edge, edge, style.picture(width, height, mirrored=True))


def museum_bench(style: Style, rng: np.random.Generator) -> Piece:
    """A bench in the middle, with a bag and a book on it."""
    wood, width = style.wood(), float(rng.uniform(1.1, 1.5))
    parts = [box((width, 0.07, 0.42), (0, 0.38, 0), wood)]
    parts += [box((0.07, 0.38, 0.36), (x * (width / 2 - 0.12), 0, 0), style.metal()) for x in (-1, 1)]
    parts += [
        box((0.3, 0.22, 0.14), (-0.3 * width, 0.45, 0), style.fabric(), 0.3),
        box((0.2, 0.03, 0.15), (0.2, 0.45, 0.05), style.picture(0.2, 0.15), 0.5),
    ]
    return Piece(tuple(parts), (width, 0.46, 0.42))


def island(style: Style, rng: np.random.Generator) -> Piece:
    """A low stage in the middle with shapes of different height on it."""
    radius = float(rng.uniform(0.6, 0.8))
    stage = (
        cylinder(radius, 0.12, (0, 0, 0), style.stone())
        if rng.random() < 0.5
        else box((2 * radius, 0.12, 1.6 * radius), (0, 0, 0), style.stone())
    )
    parts = [stage]
    for k, angle in enumerate(float(rng.uniform(0, 6)) + np.arange(3) * 2.09):
        at = (0.55 * radius * math.cos(angle), 0.12, 0.5 * radius * math.sin(angle))
        plinth = 0.1 + 0.16 * k
        parts.append(box((0.3, plinth, 0.3), at, style.trim(), float(angle)))
        parts += moved(composed(style, rng, 0.28), (at[0], 0.12 + plinth, at[2]), float(rng.uniform(0, 6)))
    return Piece(tuple(parts), (2 * radius, 0.9, 1.6 * radius))


def large_picture(style: Style, rng: np.random.Generator) -> list[Part]:
    """A wide framed picture with a label, its back at z = 0, its lower edge at height 0."""
    width, height = float(rng.uniform(0.8, 1.3)), float(rng.uniform(0.75, 1.0))
    label = box((0.14, 0.09, 0.012), (width / 2 + 0.16, 0.1, 0.006), style.printed(0.14, 0.09, "print"))
    return [*picture(style, rng, width, height), label]


def relief(style: Style, rng: np.random.Generator) -> list[Part]:
    """A board with shapes stuck to it, its back at z = 0, its lower edge at height 0."""
    width, height = float(rng.uniform(0.8, 1.1)), float(rng.uniform(0.7, 0.9))
    parts = [box((width, height, 0.04), (0, 0, 0.02), style.painted())]
    for _ in range(5):
        size = float(rng.uniform(0.07, 0.15))
        at = (float(rng.uniform(-0.35, 0.35)) * width, float(rng.uniform(0.15, 0.85)) * height - size, 0.04)
        flat = tilted(cylinder(size, 0.06, (at[0], at[1] + size - 0.03, 0.05), style.toy()), math.pi / 2)
        square = tilted(box((1.6 * size, 1.6 * size, 0.09), at, style.toy()), 0.0, float(rng.uniform(0, 1.5)))
        parts.append(pick(rng, (ball(size, (at[0], at[1], 0.04), style.toy()), flat, square)))
    return parts


def standing_hoop(style: Style, rng: np.random.Generator) -> Piece:
    """A large upright ring on a block with a ball in it."""
    radius, tube = float(rng.uniform(0.3, 0.42)), float(rng.uniform(0.04, 0.07))
    hoop = tilted(ring(radius, tube, (0, 0.24 + radius - tube, 0.35), style.anything(0.5)), math.pi / 2)
    core = ball(0.35 * radius, (0, 0.24 + 2 * tube, 0.35), style.toy())
    return Piece((box((0.5, 0.26, 0.4), (0, 0, 0.35), style.stone()), hoop, core), (0.9, 2 * radius + 0.3, 0.7))

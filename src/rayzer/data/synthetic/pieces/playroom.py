"""Children's rooms: castles, trains, dolls' houses, tents, piles of blocks."""

from __future__ import annotations

import math

import numpy as np

from rayzer.data.synthetic.parts import Part, Piece, ball, box, cone, cylinder, moved, resting, ring, rod, tilted
from rayzer.data.synthetic.styles import Style, pick


def toy_chest(style: Style, rng: np.random.Generator) -> Piece:
    """An open chest with balls, blocks and cones in it; its lid leans on the wall."""
    width, height, depth = float(rng.uniform(0.9, 1.2)), 0.42, 0.45
    skin, wood = style.painted(), style.wood()
    parts = [
        box((width, height, depth), (0, 0, 0.06 + depth / 2), skin),
        box((width, 0.4, 0.03), (0, height, 0.03), wood),
    ]
    parts += [box((width + 0.03, 0.05, depth + 0.03), (0, low, 0.06 + depth / 2), wood) for low in (0.0, height - 0.05)]
    for k in range(5):
        x = (k - 2) * width / 5.5
        size = float(rng.uniform(0.08, 0.13))
        toy = pick(
            rng,
            (
                ball(size, (0, 0, 0), style.toy()),
                box((1.6 * size, 1.6 * size, 1.6 * size), (0, 0, 0), style.toy()),
                cone(size, 2 * size, (0, 0, 0), style.toy()),
            ),
        )
        turned = tilted(toy, float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6)))
        parts.append(
            resting(moved([turned], (x, 0, 0.06 + depth / 2 + float(rng.uniform(-0.1, 0.1))))[0], height - 0.04)
        )
    return Piece(tuple(parts), (width, 0.7, depth + 0.1))


def castle(style: Style, rng: np.random.Generator) -> Piece:
    """Towers with pointed roofs, walls and a gate."""
    size, wall = float(rng.uniform(0.45, 0.6)), style.toy()
    parts = []
    for x in (-1, 1):
        for z in (-1, 1):
            height, roof = float(rng.uniform(0.4, 0.6)), style.toy()
            at = (x * size / 2, 0.0, 0.4 + z * 0.2)
            parts += [cylinder(0.09, height, at, wall), cone(0.12, 0.2, (at[0], height, at[2]), roof)]
    parts += [box((size, 0.26, 0.05), (0, 0, 0.4 + z * 0.2), wall) for z in (-1, 1)]
    parts += [box((0.05, 0.26, 0.4), (x * size / 2, 0, 0.4), wall) for x in (-1, 1)]
    parts += [box((0.2, 0.55, 0.2), (0, 0, 0.4), style.toy(), 0.4), cone(0.17, 0.25, (0, 0.55, 0.4), style.toy())]
    return Piece(tuple(parts), (size + 0.3, 0.8, 0.75))


def dolls_house(style: Style, rng: np.random.Generator) -> Piece:
    """A house with floors full of little things under a steep roof."""
    width, height, depth, wall = 0.8, float(rng.uniform(0.7, 0.85)), 0.35, style.painted()
    parts = [
        box((width, height, 0.02), (0, 0, 0.01), style.wall(True)),
        box((0.02, height, depth), (-width / 2, 0, depth / 2), wall),
    ]
    parts += [
        box((0.02, height, depth), (width / 2, 0, depth / 2), wall),
        box((0.02, height, depth), (0.05, 0, depth / 2), wall),
    ]
    parts += [box((width, 0.02, depth), (0, low, depth / 2), style.wood()) for low in (0.0, height / 2, height)]
    roof = style.toy()
    slope, run = 0.75, width / 2 / math.cos(0.75) + 0.06
    for side in (-1, 1):
        plank = tilted(box((run, 0.03, depth + 0.06), (0, 0, 0), roof), 0.0, side * slope)
        parts += moved([plank], (side * width / 4, height + width / 4 * math.tan(slope) + 0.02, 0.03 + depth / 2))
    for x in (-0.2, 0.24):
        for low in (0.02, height / 2 + 0.02):
            parts.append(
                pick(
                    rng,
                    (
                        box((0.12, 0.1, 0.1), (x, low, 0.15), style.toy()),
                        cylinder(0.05, 0.12, (x, low, 0.15), style.toy()),
                    ),
                )
            )
    return Piece(tuple(parts), (width + 0.1, height + 0.4, depth + 0.05))


def tent(style: Style, rng: np.random.Generator) -> Piece:
    """A pointed tent of cloth with poles out of its top."""
    cloth, wood, height = style.fabric(), style.wood(), float(rng.uniform(1.2, 1.5))
    poles = [
        rod(
            0.015,
            (0.42 * math.cos(a), 0.0, 0.46 + 0.42 * math.sin(a)),
            (-0.1 * math.cos(a), 1.17 * height, 0.46 - 0.1 * math.sin(a)),
            wood,
        )
        for a in (0.3, 2.4, 4.5)
    ]
    flag = cone(0.44, height, (0, 0, 0.46), cloth)
    return Piece((flag, *poles, ball(0.1, (0.45, 0, 0.8), style.toy())), (1.0, height, 0.95))


def train(style: Style, rng: np.random.Generator) -> Piece:
    """An engine with wagons, on the floor."""
    parts, count = [], int(rng.integers(2, 4))
    for k in range(count):
        x, skin = k * 0.34, style.toy()
        parts.append(box((0.3, 0.06, 0.16), (x, 0.06, 0), style.wood()))
        parts += [tilted(cylinder(0.05, 0.2, (x + dx, -0.05, 0), style.metal()), math.pi / 2) for dx in (-0.09, 0.09)]
        if k == 0:
            boiler = tilted(cylinder(0.07, 0.2, (x + 0.03, 0.1, 0), skin), 0.0, math.pi / 2)
            parts += [
                boiler,
                box((0.1, 0.16, 0.14), (x - 0.09, 0.12, 0), skin),
                cone(0.035, 0.1, (x + 0.09, 0.25, 0), skin),
            ]
        else:
            parts.append(pick(rng, (box((0.26, 0.13, 0.14), (x, 0.12, 0), skin), ball(0.08, (x, 0.11, 0), skin))))
    return Piece(tuple(moved(parts, (-0.17 * (count - 1), 0, 0))), (0.34 * count, 0.35, 0.2))


def ring_tower(style: Style, rng: np.random.Generator) -> Piece:
    """Rings of shrinking size on a stick."""
    parts = [cylinder(0.15, 0.025, (0, 0, 0), style.wood())]
    for k in range(2):
        parts.append(ring(0.14 - 0.03 * k, 0.035, (0, 0.025 + 0.07 * k, 0), style.toy()))
    return Piece((*parts, cone(0.07, 0.2, (0, 0.165, 0), style.toy())), (0.3, 0.4, 0.3))


def block_pyramid(style: Style, rng: np.random.Generator) -> Piece:
    """Blocks with letters and pictures, stacked in rows; one has fallen off."""
    size = float(rng.uniform(0.13, 0.19))
    parts = []
    for row, count in enumerate((3, 2, 1)):
        for k in range(count):
            skin = style.picture(size, size) if rng.random() < 0.4 else style.toy()
            parts.append(
                box(
                    (size, size, size),
                    ((k - (count - 1) / 2) * 1.08 * size, row * size, 0),
                    skin,
                    float(rng.uniform(-0.15, 0.15)),
                )
            )
    fallen = tilted(
        box((size, size, size), (2.3 * size, 0, 0.6 * size), style.toy(), float(rng.uniform(0, 3))), math.pi / 4
    )
    return Piece((*parts, resting(fallen, 0.0)), (4 * size, 3 * size, 2 * size))


def play_table(style: Style, rng: np.random.Generator) -> Piece:
    """A low table with toys and little stools around it."""
    parts = [cylinder(0.5, 0.04, (0, 0.4, 0), style.painted()), cylinder(0.06, 0.4, (0, 0, 0), style.wood())]
    parts += moved(ring_tower(style, rng).parts, (0.2, 0.44, 0.1))
    parts += moved(block_pyramid(style, rng).parts[:4], (-0.2, 0.44, -0.1), float(rng.uniform(0, 3)))
    for angle in (0.4, 2.5, 4.6):
        at = (0.72 * math.cos(angle), 0.0, 0.72 * math.sin(angle))
        parts += [cylinder(0.15, 0.26, at, style.toy())]
    return Piece(tuple(parts), (1.0, 0.44, 1.0))


def bear(style: Style, rng: np.random.Generator) -> Piece:
    """A sitting bear of balls."""
    fur, pale = style.fabric(), style.painted()
    parts = [ball(0.17, (0, 0, 0), fur), ball(0.13, (0, 0.28, 0), fur), ball(0.06, (0, 0.33, 0.1), pale)]
    parts += [ball(0.05, (x * 0.1, 0.48, 0), fur) for x in (-1, 1)]
    parts += [rod(0.055, (x * 0.12, 0.25, 0.02), (x * 0.2, 0.1, 0.14), fur) for x in (-1, 1)]
    parts += [tilted(cylinder(0.065, 0.2, (x * 0.1, -0.035, 0.18), fur), math.pi / 2) for x in (-1, 1)]
    return Piece(tuple(parts), (0.5, 0.6, 0.5))


def bunting(style: Style, rng: np.random.Generator) -> list[Part]:
    """Little flags on a string, backs at z = 0, lower edge at height 0."""
    parts = []
    for k in range(6):
        low = 0.16 * ((k - 2.5) / 2.5) ** 2
        flag = tilted(box((0.14, 0.14, 0.006), ((k - 2.5) * 0.21, low, 0.02), style.toy()), 0.0, math.pi / 4)
        parts.append(flag)
    return parts

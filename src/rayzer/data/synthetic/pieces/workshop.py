"""Workshops and storerooms: racks, benches, pipes, barrels, crates, ladders, beams."""

from __future__ import annotations

import math

import numpy as np

from rayzer.data.synthetic.parts import Part, Piece, ball, box, cone, cylinder, moved, ring, rod, tilted
from rayzer.data.synthetic.styles import Style, pick


def rack(style: Style, rng: np.random.Generator) -> Piece:
    """Heavy shelves with boxes, canisters and coils."""
    metal, width, depth = style.scrap_metal(), float(rng.uniform(1.2, 1.6)), 0.5
    levels = int(rng.integers(2, 4))
    pitch = float(rng.uniform(0.55, 0.7))
    height = levels * pitch + 0.1
    parts = [
        box((0.05, height, 0.05), (x * (width / 2 - 0.025), 0, z), metal) for x in (-1, 1) for z in (0.03, depth - 0.03)
    ]
    parts += [box((width, 0.04, depth), (0, 0.1 + k * pitch, depth / 2), style.wood()) for k in range(levels)]
    for level in range(levels):
        parts += moved(_load(style, rng, width - 0.14, pitch - 0.1), (0, 0.14 + level * pitch, depth / 2))
    return Piece(tuple(parts), (width, height, depth))


def _load(style: Style, rng: np.random.Generator, width: float, height: float) -> list[Part]:
    parts, x = [], -width / 2
    while x < width / 2 - 0.3:
        size = float(rng.uniform(0.24, 0.42))
        size = min(size, width / 2 - x)
        parts += moved(
            pick(rng, _LOADS)(style, rng, size, height * float(rng.uniform(0.5, 0.95))), (x + size / 2, 0, 0)
        )
        x += size + float(rng.uniform(0.01, 0.08))
    return parts


def _carton(style: Style, rng: np.random.Generator, size: float, height: float) -> list[Part]:
    skin = style.printed(size, height, pick(rng, ("carton", "carton", "crate", "panel")))
    return [box((0.94 * size, height, 0.38), (0, 0, 0), skin, float(rng.uniform(-0.08, 0.08)))]


def _canister(style: Style, rng: np.random.Generator, size: float, height: float) -> list[Part]:
    skin, radius = style.scrap_metal(), 0.42 * size
    return [
        cylinder(radius, 0.8 * height, (0, 0, 0), skin),
        cylinder(0.3 * radius, 0.1 * height, (0, 0.8 * height, 0), skin),
    ]


def _funnel(style: Style, rng: np.random.Generator, size: float, height: float) -> list[Part]:
    return [cone(0.45 * size, min(height, 1.4 * size), (0, 0, 0), style.scrap_metal())]


def _lying_rolls(style: Style, rng: np.random.Generator, size: float, height: float) -> list[Part]:
    radius = min(0.24 * size, 0.3 * height)
    places = ((-radius, radius), (radius, radius), (0.0, 2.73 * radius))
    return [tilted(cylinder(radius, 0.4, (x, y - 0.2, 0), style.fabric()), math.pi / 2) for x, y in places]


_LOADS = (_carton, _carton, _canister, _funnel, _lying_rolls)
"""(style, rng, width, height) -> parts that stand on the origin."""


def bench(style: Style, rng: np.random.Generator) -> Piece:
    """A workbench with a vice, tools, tins and a machine."""
    width, height, depth = float(rng.uniform(1.4, 1.9)), 0.86, 0.62
    wood, metal = style.wood(), style.scrap_metal()
    parts = [
        box((width, 0.07, depth), (0, height - 0.07, depth / 2), wood),
        *(
            box((0.09, height - 0.06, 0.09), (x * (width / 2 - 0.07), 0, z), wood)
            for x in (-1, 1)
            for z in (0.08, depth - 0.08)
        ),
        box((width - 0.2, 0.04, depth - 0.1), (0, 0.22, depth / 2), wood),
        box((0.16, 0.12, 0.14), (width / 2 - 0.2, height, depth - 0.12), metal),
        rod(
            0.012,
            (width / 2 - 0.3, height + 0.05, depth - 0.045),
            (width / 2 - 0.1, height + 0.05, depth - 0.045),
            style.metal(),
        ),
        box((0.4, 0.3, 0.3), (-0.2 * width, height, 0.22), style.printed(0.4, 0.3, "panel")),
        *moved(_carton(style, rng, 0.4, 0.3), (-0.25 * width, 0.26, depth / 2)),
        *moved(_canister(style, rng, 0.3, 0.4), (0.2 * width, 0.26, depth / 2)),
    ]
    for _ in range(3):
        x, z, angle = float(rng.uniform(0, 0.3)) * width, float(rng.uniform(0.15, 0.4)), float(rng.uniform(0, 3))
        end = (x + 0.12 * math.cos(angle), height + 0.018, z + 0.12 * math.sin(angle))
        parts.append(rod(0.018, (x, height + 0.018, z), end, style.toy()))
    return Piece(tuple(parts), (width, height + 0.02, depth))


def barrels(style: Style, rng: np.random.Generator) -> Piece:
    """Drums with hoops, one of them lying on top or beside."""
    radius, height = float(rng.uniform(0.24, 0.3)), float(rng.uniform(0.7, 0.9))
    parts = []
    for x in (-radius - 0.01, radius + 0.01):
        skin = style.scrap_metal()
        parts += [cylinder(radius, height, (x, 0, 0.32), skin)]
        parts += [cylinder(radius + 0.012, 0.03, (x, height * share, 0.32), style.metal()) for share in (0.3, 0.66)]
    small = 0.18
    parts.append(tilted(cylinder(small, 0.5, (0, height + small - 0.25, 0.32), style.scrap_metal()), math.pi / 2))
    return Piece(tuple(parts), (4 * radius + 0.05, height + 2 * small, 0.66))


def crate_pile(style: Style, rng: np.random.Generator) -> Piece:
    """Wooden crates and cartons on and beside one another, a board leaning on them."""
    size = float(rng.uniform(0.5, 0.65))

    def crate(scale: float, at: tuple[float, float, float]) -> Part:
        side = scale * size
        return box(
            (side, side, side),
            at,
            style.printed(side, side, pick(rng, ("crate", "crate", "carton"))),
            float(rng.uniform(-0.15, 0.15)),
        )

    parts = [
        crate(1.0, (-0.55 * size, 0, 0.42)),
        crate(0.85, (0.5 * size, 0, 0.4)),
        crate(0.7, (-0.35 * size, size, 0.4)),
    ]
    if rng.random() < 0.6:
        parts.append(crate(0.45, (0.5 * size, 0.85 * size, 0.4)))
    reach = 0.5 * size + 0.5
    parts.append(rod(0.03, (size + 0.25, 0.0, reach), (0.75 * size, 1.3, 0.06), style.wood()))
    return Piece(tuple(parts), (2.2 * size + 0.4, 1.75 * size, size + 0.2))


def ladder(style: Style, rng: np.random.Generator) -> Piece:
    """A ladder that leans on the wall, with a bucket beside it."""
    wood, height, foot = style.wood(), float(rng.uniform(1.9, 2.2)), 0.55
    rails = [rod(0.025, (x, 0.0, foot), (x, height, 0.04), wood) for x in (-0.2, 0.2)]
    steps = []
    for k in range(1, 7):
        share = k / 7
        y, z = share * height, foot + share * (0.04 - foot)
        steps.append(rod(0.018, (-0.2, y, z), (0.2, y, z), wood))
    bucket = [
        cylinder(0.15, 0.26, (0.45, 0, 0.3), style.scrap_metal()),
        ring(0.16, 0.012, (0.45, 0.25, 0.3), style.metal()),
    ]
    return Piece((*rails, *steps, *bucket), (1.2, height, foot + 0.05))


def cabinet(style: Style, rng: np.random.Generator) -> Piece:
    """A switch cabinet with instruments, a signal lamp and a pipe to the ceiling."""
    width, height, depth = float(rng.uniform(0.7, 1.0)), float(rng.uniform(1.3, 1.7)), 0.4
    metal = style.scrap_metal()
    front = style.printed(width - 0.1, 0.5, "panel")
    parts = [
        box((width, height, depth), (0, 0, depth / 2), metal),
        box((width - 0.1, 0.5, 0.03), (0, height - 0.6, depth), front),
        *(box((width / 2 - 0.06, height - 0.8, 0.02), (x * width / 4, 0.08, depth), metal) for x in (-1, 1)),
        cylinder(0.05, 0.1, (0, height, depth / 2), style.glowing((1.0, 0.6, 0.3))),
        *(ball(0.025, (x * 0.08, 0.5 * height - 0.1, depth + 0.02), style.metal()) for x in (-1, 1)),
    ]
    return Piece(tuple(parts), (width, height + 0.1, depth + 0.05))


def pipe_wall(style: Style, rng: np.random.Generator) -> list[Part]:
    """Pipes along the wall with a valve and a gauge, backs at z = 0, lower edge at height 0."""
    metal, width = style.scrap_metal(), 1.1
    parts = [rod(0.045, (-width / 2, y, 0.07), (width / 2, y, 0.07), metal) for y in (0.1, 0.26)]
    parts += [cylinder(0.06, 0.3, (x, 0.03, 0.07), style.metal()) for x in (-0.4, 0.35)]
    wheel = ring(0.11, 0.016, (0.0, 0.25, 0.16), style.toy())
    parts += [tilted(wheel, math.pi / 2), rod(0.015, (0, 0.27, 0.05), (0, 0.27, 0.18), metal)]
    gauge = cylinder(0.09, 0.05, (-0.2, 0.4, 0.08), style.printed(0.2, 0.2, "targets"))
    stem = rod(0.02, (-0.2, 0.26, 0.07), (-0.2, 0.42, 0.07), metal)
    return [*parts, stem, tilted(gauge, math.pi / 2)]


def tool_board(style: Style, rng: np.random.Generator) -> list[Part]:
    """A board with tools on hooks, its back at z = 0, its lower edge at height 0."""
    parts = [box((1.2, 0.6, 0.02), (0, 0, 0.01), style.painted())]
    for k in range(5):
        x, length = (k - 2) * 0.22, float(rng.uniform(0.2, 0.36))
        parts.append(rod(0.016, (x, 0.5, 0.04), (x, 0.5 - length, 0.04), style.wood(upright=True)))
        head = box((0.12, 0.06, 0.04), (x, 0.48 - length, 0.04), style.metal())
        parts.append(head if rng.random() < 0.6 else cylinder(0.04, 0.08, (x, 0.46 - length, 0.045), style.toy()))
    return parts


def trestle(style: Style, rng: np.random.Generator) -> Piece:
    """A board on two trestles with a cone, a coil and blocks."""
    wood, height, width = style.wood(), 0.72, float(rng.uniform(1.2, 1.5))
    parts = [box((width, 0.05, 0.62), (0, height - 0.05, 0), wood)]
    for x in (-0.36 * width, 0.36 * width):
        parts += [rod(0.025, (x, 0.0, 0.28 * z), (x, height - 0.05, 0.1 * z), wood) for z in (-1, 1)]
    parts.append(cone(0.1, 0.3, (-0.25 * width, height, 0.05), style.toy()))
    parts.append(ring(0.15, 0.035, (0.05, height, -0.08), style.fabric()))
    parts += moved(_carton(style, rng, 0.3, 0.22), (0.3 * width, height, 0), 0.4)
    parts += moved(_canister(style, rng, 0.2, 0.25), (0.1, height, 0.18))
    return Piece(tuple(parts), (width, height, 0.62))


def tyres(style: Style, rng: np.random.Generator) -> Piece:
    """Two tyres lying on one another."""
    skin, tube = style.fabric(), float(rng.uniform(0.07, 0.1))
    parts = [ring(0.3, tube, (0, 0, 0), skin), ring(0.3, tube, (0.03, 2 * tube, 0.02), skin)]
    return Piece((*parts, ball(0.12, (0, 0, 0), style.toy())), (0.62, 4 * tube, 0.62))


def traffic_cone(style: Style, rng: np.random.Generator) -> Piece:
    """A cone on a square foot."""
    return Piece(
        (box((0.36, 0.03, 0.36), (0, 0, 0), style.metal()), cone(0.14, 0.5, (0, 0.03, 0), style.toy())),
        (0.36, 0.5, 0.36),
    )


def sack(style: Style, rng: np.random.Generator) -> Piece:
    """Sacks: fat balls pressed into the floor, a string around the neck of each."""
    cloth = style.fabric()
    parts = []
    for x, z, radius in ((-0.2, 0.0, 0.24), (0.24, 0.1, 0.2)):
        parts.append(ball(radius, (x, -0.3 * radius, z), cloth))
        parts.append(cone(0.5 * radius, 0.5 * radius, (x, 1.45 * radius, z), cloth))
    return Piece(tuple(parts), (0.9, 0.5, 0.6))

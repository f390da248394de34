"""Small things: what stands on tables and shelves and what hangs on walls."""

from __future__ import annotations

import numpy as np

from rayzer.data.synthetic.parts import Part, ball, box, cone, cylinder, moved, resting, ring, tilted
from rayzer.data.synthetic.styles import Style, pick


def vase(style: Style, rng: np.random.Generator) -> list[Part]:
    """A belly, a neck, and sometimes a bunch of leaves or a blossom on top."""
    clay, radius = style.ceramic(), rng.uniform(0.06, 0.1)
    neck = radius * rng.uniform(0.35, 0.6)
    parts = [ball(radius, (0, 0, 0), clay), cylinder(neck, radius * 0.9, (0, 1.75 * radius, 0), clay)]
    if rng.random() < 0.6:
        leaves = style.foliage() if rng.random() < 0.6 else style.toy()
        parts.append(ball(radius * 0.9, (0, 2.5 * radius, 0), leaves))
    return parts


def jar(style: Style, rng: np.random.Generator) -> list[Part]:
    """A cylinder with a lid and a knob."""
    radius, height = rng.uniform(0.05, 0.09), rng.uniform(0.1, 0.24)
    lid = style.wood()
    return [
        cylinder(radius, height, (0, 0, 0), style.ceramic()),
        cylinder(radius * 1.08, 0.02, (0, height, 0), lid),
        ball(0.018, (0, height + 0.015, 0), lid),
    ]


def orb(style: Style, rng: np.random.Generator) -> list[Part]:
    """A patterned ball on a small foot."""
    radius = rng.uniform(0.07, 0.12)
    foot = cylinder(radius * 0.5, 0.04, (0, 0, 0), style.metal())
    return [foot, ball(radius, (0, 0.03, 0), style.toy())]


def lying_books(style: Style, rng: np.random.Generator) -> list[Part]:
    """A stack of books, each turned a little, sometimes with something on top."""
    parts, top = [], 0.0
    for _ in range(rng.integers(2, 5)):
        thickness = rng.uniform(0.025, 0.05)
        size = (rng.uniform(0.18, 0.24), thickness, rng.uniform(0.13, 0.17))
        parts.append(box(size, (0, top, 0), style.painted(), rng.uniform(-0.35, 0.35)))
        top += thickness
    if rng.random() < 0.5:
        parts.append(ball(rng.uniform(0.04, 0.06), (0, top, 0), style.toy()))
    return parts


def fruit_bowl(style: Style, rng: np.random.Generator) -> list[Part]:
    """A flat bowl with round fruit."""
    bowl = cylinder(0.13, 0.05, (0, 0, 0), style.ceramic())
    angles = rng.uniform(0, 6.28) + np.arange(4) * 2 * np.pi / 4
    fruit = [ball(0.045, (0.07 * np.cos(a), 0.03, 0.07 * np.sin(a)), style.toy()) for a in angles]
    return [bowl, *fruit, ball(0.045, (0, 0.075, 0), style.toy())]


def candles(style: Style, rng: np.random.Generator) -> list[Part]:
    """Three candles of different height on a plate."""
    wax = style.trim()
    places = [(-0.05, 0.0), (0.04, 0.05), (0.03, -0.05)]
    plate = cylinder(0.11, 0.015, (0, 0, 0), style.metal())
    return [plate, *(cylinder(0.025, rng.uniform(0.06, 0.2), (x, 0.01, z), wax) for x, z in places)]


def gift(style: Style, rng: np.random.Generator) -> list[Part]:
    """A box with a smaller one on top."""
    size = rng.uniform(0.14, 0.2)
    small, yaw = size * rng.uniform(0.5, 0.7), rng.uniform(-0.6, 0.6)
    lower = box((size, size * 0.8, size), (0, 0, 0), style.toy(), rng.uniform(-0.5, 0.5))
    return [lower, box((small, small, small), (0, size * 0.8, 0), style.fabric(), yaw)]


def bottle(style: Style, rng: np.random.Generator) -> list[Part]:
    """A bottle with a shoulder and a neck."""
    glass, radius, height = style.ceramic(), rng.uniform(0.035, 0.055), rng.uniform(0.14, 0.22)
    return [
        cylinder(radius, height, (0, 0, 0), glass),
        cone(radius, 2.2 * radius, (0, height, 0), glass),
        cylinder(0.3 * radius, 2.4 * radius, (0, height + 0.6 * radius, 0), glass),
    ]


def table_lamp(style: Style, rng: np.random.Generator) -> list[Part]:
    """A foot with a belly and a pointed shade."""
    shade = style.fabric() if rng.random() < 0.6 else style.glowing()
    return [
        cylinder(0.075, 0.02, (0, 0, 0), style.metal()),
        ball(0.06, (0, 0.02, 0), style.ceramic()),
        cone(0.14, 0.26, (0, 0.13, 0), shade),
    ]


def photograph(style: Style, rng: np.random.Generator) -> list[Part]:
    """A framed photograph that leans back."""
    width, height = rng.uniform(0.14, 0.24), rng.uniform(0.16, 0.26)
    picture_ = style.picture(width, height, mirrored=True)
    wood = style.wood()
    leaning = tilted(box((width, height, 0.02), (0, 0, 0), (wood, wood, wood, wood, wood, picture_)), -0.2)
    return [resting(leaning, 0.0)]


def globe(style: Style, rng: np.random.Generator) -> list[Part]:
    """A globe on a foot, sometimes with a ring around it."""
    radius, foot = rng.uniform(0.08, 0.12), style.metal()
    middle = 0.05 + radius
    parts = [cylinder(radius * 0.6, 0.02, (0, 0, 0), foot), cylinder(0.015, 0.06, (0, 0, 0), foot)]
    parts.append(ball(radius, (0, 0.05, 0), style.printed(6.28 * radius, 3.14 * radius, "map")))
    if rng.random() < 0.4:
        parts.append(tilted(ring(1.16 * radius, 0.008, (0, middle - 0.008, 0), foot), rng.uniform(0.3, 1.2)))
    return parts


def leaning_books(style: Style, rng: np.random.Generator) -> list[Part]:
    """A few upright books, the last of which leans on the others."""
    parts, x = [], -0.1
    for _ in range(rng.integers(1, 4)):
        thickness, height = rng.uniform(0.025, 0.045), rng.uniform(0.17, 0.24)
        parts.append(box((thickness, height, 0.15), (x + thickness / 2, 0, 0), style.painted()))
        x += thickness + 0.002
    leaning = tilted(box((0.03, 0.2, 0.14), (0, 0, 0), style.painted()), 0.0, -0.3)
    return [*parts, resting(moved([leaning], (x + 0.052, 0, 0))[0], 0.0)]


def ornament(style: Style, rng: np.random.Generator) -> list[Part]:
    """A small sculpture: shapes on top of one another."""
    skin, other, size = style.stone(), style.toy(), rng.uniform(0.09, 0.14)
    base = box((size, 0.5 * size, size), (0, 0, 0), skin, rng.uniform(-0.5, 0.5))
    top = pick(
        rng, (cone(0.5 * size, 1.3 * size, (0, 0.5 * size, 0), other), ball(0.5 * size, (0, 0.5 * size, 0), other))
    )
    return [base, top]


SMALL_THINGS = (vase, vase, jar, orb, lying_books, fruit_bowl, candles, gift, bottle, bottle, table_lamp, photograph)
SMALL_THINGS += (photograph, globe, leaning_books, ornament)
"""(style, rng) -> parts around the origin, standing on the floor, within 0.15 m of the vertical axis."""


def arranged(style: Style, rng: np.random.Generator, width_m: float, depth_m: float, height_m: float) -> list[Part]:
    """Small things in a loose row on a surface `height_m` above the floor, centred on the origin."""
    count = max(1, min(4, int(width_m / 0.38)))
    parts = []
    for slot in range(count):
        x = ((slot + 0.5) / count - 0.5) * (width_m - 0.08)
        z = rng.uniform(-0.5, 0.5) * max(0.0, depth_m - 0.34)
        parts += moved(pick(rng, SMALL_THINGS)(style, rng), (x, height_m, z), rng.uniform(-0.5, 0.5))
    return parts


def standing_books(style: Style, rng: np.random.Generator, width_m: float, height_m: float) -> list[Part]:
    """A row of books filling `width_m` along x from its centre, backs of the spines at z = 0, about `height_m` high.

    Most of them are one block with spines on it; a few stand before and beside it.
    """
    single = rng.uniform(0.03, 0.05)
    block, cover = width_m - single - 0.005, style.painted()
    height = height_m * rng.uniform(0.75, 0.95)
    spines = style.printed(max(block, 0.3), 1.05 * height, "books")
    skin = (cover, cover, cover, cover, cover, spines)
    book = (single, height * rng.uniform(0.8, 1.0), rng.uniform(0.17, 0.22))
    return [
        box((block, height, 0.18), (-width_m / 2 + block / 2, 0, 0.09), skin),
        box(book, (width_m / 2 - single / 2, 0, book[2] / 2), style.painted()),
    ]


def picture(style: Style, rng: np.random.Generator, width_m: float, height_m: float) -> list[Part]:
    """A framed picture, its back at z = 0 and its lower edge at height 0."""
    rim = rng.uniform(0.03, 0.06)
    frame = style.wood() if rng.random() < 0.5 else style.metal()
    inner = (width_m - 2 * rim, height_m - 2 * rim, 0.03)
    return [
        box((width_m, height_m, 0.022), (0, 0, 0.011), frame),
        box(inner, (0, rim, 0.015), style.picture(inner[0], inner[1], mirrored=True)),
    ]


def picture_row(style: Style, rng: np.random.Generator) -> list[Part]:
    """One to three framed pictures side by side, backs at z = 0, lower edges near height 0."""
    count = int(rng.integers(1, 4))
    pitch, parts = (1.0, 0.6, 0.46)[count - 1], []
    for k in range(count):
        width = min(pitch - 0.06, rng.uniform(0.4, 0.9))
        height = min(0.8, max(0.35, width * rng.uniform(0.7, 1.4)))
        parts += moved(picture(style, rng, width, height), ((k - (count - 1) / 2) * pitch, rng.uniform(0, 0.08), 0))
    return parts


def window(style: Style, width_m: float, height_m: float) -> list[Part]:
    """A window with a cross of bars and a sill, its back at z = 0 and its lower edge at height 0."""
    trim = style.trim()
    pane = box((width_m, height_m, 0.02), (0, 0, 0.01), style.sky(width_m, height_m))
    sides = [box((0.07, height_m + 0.14, 0.06), (x, -0.07, 0.03), trim) for x in (-width_m / 2, width_m / 2)]
    rails = [box((width_m, 0.07, 0.05), (0, y, 0.025), trim) for y in (-0.07, height_m)]
    bars = [
        box((0.035, height_m, 0.035), (0, 0, 0.0175), trim),
        box((width_m, 0.035, 0.03), (0, height_m / 2, 0.015), trim),
    ]
    sill = box((width_m + 0.2, 0.03, 0.14), (0, -0.1, 0.07), trim)
    return [pane, *sides, *rails, *bars, sill]


def poster(style: Style, rng: np.random.Generator, width_m: float, height_m: float) -> list[Part]:
    """A picture without a frame, its back at z = 0 and its lower edge at height 0."""
    return [box((width_m, height_m, 0.012), (0, 0, 0.006), style.picture(width_m, height_m, mirrored=True))]


def door(style: Style, rng: np.random.Generator) -> list[Part]:
    """A closed door with a frame and a knob, its back at z = 0."""
    trim, leaf = style.trim(), style.painted()
    sides = [box((0.08, 2.1, 0.05), (x, 0, 0.025), trim) for x in (-0.46, 0.46)]
    panels = [box((0.6, height, 0.02), (0, low, 0.035), leaf) for low, height in ((0.15, 0.75), (1.05, 0.85))]
    knob = ball(0.03, (0.36, 1.0, 0.04), style.metal())
    return [
        box((0.86, 2.04, 0.03), (0, 0, 0.015), leaf),
        *sides,
        box((1.0, 0.08, 0.05), (0, 2.06, 0.025), trim),
        *panels,
        knob,
    ]


def wall_clock(style: Style, rng: np.random.Generator) -> list[Part]:
    """A round clock, its back at z = 0 and its lower edge at height 0."""
    radius = rng.uniform(0.14, 0.22)
    rim = tilted(cylinder(radius, 0.03, (0, 0, 0), style.metal()), 1.5708)
    face = tilted(
        cylinder(0.88 * radius, 0.02, (0, 0, 0), style.printed(1.8 * radius, 1.8 * radius, "targets")), 1.5708
    )
    return moved([*moved([rim], (0, -0.015, 0.015)), *moved([face], (0, -0.01, 0.03))], (0, radius, 0))


def wall_shelf(style: Style, rng: np.random.Generator, width_m: float) -> list[Part]:
    """A board with small things, its back at z = 0 and its underside at height 0."""
    board = box((width_m, 0.03, 0.26), (0, 0, 0.13), style.wood())
    return [board, *moved(arranged(style, rng, width_m, 0.26, 0.03), (0, 0, 0.13))]

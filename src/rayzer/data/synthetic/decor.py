"""Small things: what stands on tables and shelves and what hangs on walls."""

from __future__ import annotations

import numpy as np

from rayzer.data.synthetic.parts import Part, ball, box, cylinder, moved
from rayzer.data.synthetic.styles import Style


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


SMALL_THINGS = (vase, jar, orb, lying_books, fruit_bowl, candles, gift)
"""(style, rng) -> parts around the origin, standing on the floor, within 0.15 m of the vertical axis."""


def arranged(style: Style, rng: np.random.Generator, width_m: float, depth_m: float, height_m: float) -> list[Part]:
    """Small things in a loose row on a surface `height_m` above the floor, centred on the origin."""
    count = max(1, int(width_m / 0.36))
    chosen = rng.permutation(len(SMALL_THINGS))[:count]
    parts = []
    for slot, kind in enumerate(chosen):
        x = ((slot + 0.5) / len(chosen) - 0.5) * (width_m - 0.08)
        z = rng.uniform(-0.5, 0.5) * max(0.0, depth_m - 0.34)
        parts += moved(SMALL_THINGS[kind](style, rng), (x, height_m, z), rng.uniform(-0.5, 0.5))
    return parts


def standing_books(style: Style, rng: np.random.Generator, width_m: float, height_m: float) -> list[Part]:
    """A row of books, backs to +z, filling `width_m` along x from its centre; none is higher than `height_m`."""
    parts, x = [], -width_m / 2
    while x < width_m / 2 - 0.06:
        thickness, height = rng.uniform(0.03, 0.06), height_m * rng.uniform(0.65, 0.95)
        depth = rng.uniform(0.17, 0.22)
        parts.append(box((thickness, height, depth), (x + thickness / 2, 0, depth / 2), style.painted()))
        x += thickness + 0.002
    return parts


def picture(style: Style, rng: np.random.Generator, width_m: float, height_m: float) -> list[Part]:
    """A framed picture, its back at z = 0 and its lower edge at height 0."""
    rim = rng.uniform(0.03, 0.06)
    frame = style.wood() if rng.random() < 0.5 else style.metal()
    inner = (width_m - 2 * rim, height_m - 2 * rim, 0.03)
    return [
        box((width_m, height_m, 0.022), (0, 0, 0.011), frame),
        box(inner, (0, rim, 0.015), style.picture(inner[0], inner[1])),
    ]


def window(style: Style, width_m: float, height_m: float) -> list[Part]:
    """A window with a cross of bars and a sill, its back at z = 0 and its lower edge at height 0."""
    trim = style.trim()
    pane = box((width_m, height_m, 0.02), (0, 0, 0.01), style.sky(height_m))
    sides = [box((0.07, height_m + 0.14, 0.06), (x, -0.07, 0.03), trim) for x in (-width_m / 2, width_m / 2)]
    rails = [box((width_m, 0.07, 0.05), (0, y, 0.025), trim) for y in (-0.07, height_m)]
    bars = [
        box((0.035, height_m, 0.035), (0, 0, 0.0175), trim),
        box((width_m, 0.035, 0.03), (0, height_m / 2, 0.015), trim),
    ]
    sill = box((width_m + 0.2, 0.03, 0.14), (0, -0.1, 0.07), trim)
    return [pane, *sides, *rails, *bars, sill]

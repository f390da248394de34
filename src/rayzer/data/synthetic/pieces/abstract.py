"""Compositions of random shapes that mean nothing, in the manner of MegaSynth (arXiv 2412.14166)."""

from __future__ import annotations

import math

import numpy as np

from rayzer.data.synthetic.parts import (
    Part,
    Skin,
    Vector,
    ball,
    box,
    cone,
    cylinder,
    grounded,
    moved,
    resting,
    ring,
    rod,
    tilted,
    tumbled,
)
from rayzer.data.synthetic.styles import Style, pick
from rayzer.data.synthetic.textures import Material


def random_shape(style: Style, rng: np.random.Generator, size_m: float) -> Part:
    """One shape that fits into a ball of diameter `size_m`, centred on the origin, upright, with any skin."""
    across, up = (size_m * float(rng.uniform(0.35, 0.75)) for _ in range(2))
    skin = style.anything(size_m)
    kind = rng.random()
    if kind < 0.38:
        size = (across, up, size_m * float(rng.uniform(0.15, 0.6)))
        return Part("box", (0, 0, 0), (size[0] / 2, size[1] / 2, size[2] / 2), _faces(style, rng, size, skin))
    if kind < 0.58:
        return _globe(across / 2 + 0.1 * size_m, (0, 0, 0), skin)
    if kind < 0.78:
        return Part("cylinder", (0, 0, 0), (across / 2, up / 2, across / 2), skin)
    if kind < 0.95:
        return Part("cone", (0, 0, 0), (across / 2, up / 2, across / 2), skin)
    return Part("torus", (0, 0, 0), (size_m / 2, size_m * float(rng.uniform(0.05, 0.12)), size_m / 2), skin)


def _globe(radius: float, center: Vector, skin: Skin) -> Part:
    return Part("sphere", center, (radius, radius, radius), skin)


def _faces(style: Style, rng: np.random.Generator, size: Vector, skin: Material) -> Skin:
    """One material all around, or sometimes a picture on two opposite faces, or other materials there."""
    kind = rng.random()
    if kind < 0.6:
        return skin
    if kind < 0.8:
        return (skin, skin, skin, skin, style.picture(size[0], size[1]), style.picture(size[0], size[1], mirrored=True))
    other = style.anything(size[0])
    return (skin, skin, other, other, skin, skin)


def composed(style: Style, rng: np.random.Generator, size_m: float) -> list[Part]:
    """A composition about `size_m` large that stands on the origin."""
    return pick(rng, COMPOSITIONS)(style, rng, size_m)


def lone(style: Style, rng: np.random.Generator, size: float) -> list[Part]:
    """One shape in any attitude, resting on its lowest point."""
    return [resting(_turned(rng, random_shape(style, rng, size)), 0.0)]


def tower(style: Style, rng: np.random.Generator, size: float) -> list[Part]:
    """Shapes on top of one another, each smaller than the one below."""
    parts, top, wide = [], 0.0, 0.55 * size
    for _ in range(int(rng.integers(2, 5))):
        height = size * float(rng.uniform(0.12, 0.35))
        skin, yaw = style.anything(size), float(rng.uniform(-0.8, 0.8))
        kind = rng.random()
        if kind < 0.5:
            parts.append(box((wide, height, wide * float(rng.uniform(0.7, 1.0))), (0, top, 0), skin, yaw))
        elif kind < 0.9:
            parts.append(cylinder(wide / 2, height, (0, top, 0), skin))
        else:
            height = 0.2 * wide
            parts.append(ring(wide / 2, height / 2, (0, top, 0), skin))
        top, wide = top + height, wide * float(rng.uniform(0.6, 0.9))
    tip = (
        cone(wide / 2, wide, (0, top, 0), style.anything(size))
        if rng.random() < 0.5
        else ball(wide / 2, (0, top, 0), style.anything(size))
    )
    return [*parts, tip]


def cross(style: Style, rng: np.random.Generator, size: float) -> list[Part]:
    """Three bars through one another, standing on their ends."""
    skin, thin = style.anything(size), size * float(rng.uniform(0.08, 0.16))
    bars = []
    for axis in range(3):
        x, y, z = (0.5 * size if k == axis else 0.5 * thin for k in range(3))
        bars.append(Part("box", (0, 0, 0), (x, y, z), skin))
    bars.append(_globe(1.1 * thin, (0, 0, 0), style.anything(size)))
    return grounded(tumbled(bars, *rng.uniform(-0.6, 0.6, 3).tolist()))


def burst(style: Style, rng: np.random.Generator, size: float) -> list[Part]:
    """Spikes out of a ball."""
    skin = style.anything(size)
    parts = [_globe(0.2 * size, (0, 0, 0), style.anything(size))]
    for k in range(5):
        angle, rise = 1.26 * k + float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.5, 1.0)) * 0.35 * size
        end = (0.42 * size * math.cos(angle), rise, 0.42 * size * math.sin(angle))
        parts.append(rod(0.035 * size, (0, 0, 0), end, skin))
        if rng.random() < 0.6:
            parts.append(_globe(0.07 * size, (end[0], -end[1], end[2]), skin))
    return grounded(parts)


def nested(style: Style, rng: np.random.Generator, size: float) -> list[Part]:
    """A shape in a cage: a plate, four posts, two bars on top."""
    skin, thin, half = style.anything(size), 0.06 * size, 0.33 * size
    parts = [Part("box", (x * half, 0, z * half), (thin / 2, half, thin / 2), skin) for x in (-1, 1) for z in (-1, 1)]
    parts += [Part("box", (0, -half, z * half), (half, thin / 2, thin / 2), skin) for z in (-1, 1)]
    parts.append(Part("box", (0, half, 0), (half, thin / 2, half), style.anything(size)))
    parts.append(resting(_turned(rng, random_shape(style, rng, 0.6 * size)), thin / 2 - half))
    yaw, pitch = rng.uniform(-0.7, 0.7, 2).tolist()
    return grounded(tumbled(parts, yaw, pitch if rng.random() < 0.4 else 0.0, 0.0))


def arch(style: Style, rng: np.random.Generator, size: float) -> list[Part]:
    """Two posts with a beam, something on top and something below."""
    post, high, wide = style.anything(size), 0.7 * size, 0.3 * size
    posts = [box((0.16 * size, high, 0.2 * size), (x * wide, 0, 0), post) for x in (-1, 1)]
    beam = box((0.9 * size, 0.12 * size, 0.24 * size), (0, high, 0), style.anything(size))
    top = resting(_turned(rng, random_shape(style, rng, 0.35 * size)), high + 0.12 * size)
    return [*posts, beam, top, ball(0.13 * size, (0, 0, 0.02), style.anything(size))]


def fan(style: Style, rng: np.random.Generator, size: float) -> list[Part]:
    """Boards that lean on one another like cards, the last on a block."""
    pitch, step, count = float(rng.uniform(0.2, 0.35)), 0.12 * size, int(rng.integers(3, 6))
    board = (0.4 * size, 0.8 * size, 0.05 * size)
    foot = (count - 1) / 2 * step
    block = (0.36 * size, 0.62 * size, 0.16 * size)
    parts = [box(block, (0, 0, foot + 0.26 * size), style.anything(size), float(rng.uniform(-0.1, 0.1)))]
    for k in range(count):
        skin, x = _faces(style, rng, board, style.anything(size)), float(rng.uniform(-0.1, 0.1)) * size
        parts.append(resting(tilted(box(board, (x, 0, k * step - foot), skin), -pitch), 0.0))
    return parts


COMPOSITIONS = (lone, lone, tower, tower, cross, burst, nested, arch, fan)
"""(style, rng, size in metres) -> parts that stand on the origin and reach at most about `size` up and sideways."""


def floating(style: Style, rng: np.random.Generator, size_m: float) -> list[Part]:
    """A shape or a composition in any attitude, centred on the origin."""
    yaw, pitch, roll = rng.uniform(-math.pi, math.pi, 3).tolist()
    if rng.random() < 0.6:
        return tumbled([random_shape(style, rng, size_m)], yaw, pitch, roll)
    parts = composed(style, rng, 0.8 * size_m)
    return tumbled(moved(parts, (0, -0.35 * size_m, 0)), yaw, pitch, roll)


def _turned(rng: np.random.Generator, part: Part) -> Part:
    """The part in any attitude; spheres need none."""
    yaw, pitch, roll = rng.uniform(-math.pi, math.pi, 3).tolist()
    return tumbled([part], yaw, pitch, roll)[0]

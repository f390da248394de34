"""Furniture: pieces that stand at a wall, in the middle of the room, or anywhere on the floor."""

from __future__ import annotations

import numpy as np

from rayzer.data.synthetic.parts import Part, Piece, ball, box, cone, cylinder, moved, ring, rod, tilted
from rayzer.data.synthetic.pieces.decor import arranged, standing_books
from rayzer.data.synthetic.styles import Style, pick


def bookcase(style: Style, rng: np.random.Generator) -> Piece:
    """Shelves with rows of books and small things."""
    wood, width, depth = style.wood(), rng.uniform(0.8, 1.2), 0.32
    levels = int(rng.integers(3, 5))
    pitch, inner = rng.uniform(0.36, 0.42), width - 0.07
    height = levels * pitch + 0.04
    parts = [box((0.035, height, depth), (side * (width / 2 - 0.0175), 0, depth / 2), wood) for side in (-1, 1)]
    parts.append(box((inner, height - 0.02, 0.02), (0, 0.01, 0.015), wood))
    parts += [box((inner, 0.03, depth - 0.03), (0, k * pitch, depth / 2 - 0.005), wood) for k in range(levels + 1)]
    for level in range(levels):
        parts += _shelf_load(style, rng, inner, level * pitch + 0.03, pitch - 0.05)
    return Piece(tuple(parts), (width, height, depth))


def _shelf_load(style: Style, rng: np.random.Generator, width: float, bottom: float, height: float) -> list[Part]:
    share, side = pick(rng, (0.45, 0.6, 0.9)), pick(rng, (-1.0, 1.0))
    row_width = width * share - 0.04
    books = standing_books(style, rng, row_width, min(height, 0.3))
    parts = moved(books, (side * (width - row_width - 0.04) / 2, bottom, 0.05))
    free = width - row_width
    if free > 0.34:
        thing = (
            ball(0.09, (0, 0, 0), style.toy())
            if rng.random() < 0.4
            else cylinder(0.07, 0.2, (0, 0, 0), style.ceramic())
        )
        parts += moved([thing], (-side * (width - free) / 2, bottom, 0.17))
    return parts


def sofa(style: Style, rng: np.random.Generator) -> Piece:
    """A sofa or armchair with cushions."""
    cloth, width, depth = style.fabric(), pick(rng, (0.95, 1.7, 2.0)), 0.85
    seat, inner, legs = 0.42, width - 0.36, style.wood(upright=True)
    parts = [
        box((width - 0.04, 0.22, depth - 0.04), (0, 0.08, depth / 2), cloth),
        box((width - 0.02, 0.78, 0.22), (0, 0.06, 0.13), cloth),
        *(box((0.18, 0.56, depth - 0.02), (x * (width / 2 - 0.09), 0.06, depth / 2), cloth) for x in (-1, 1)),
        *(cylinder(0.03, 0.1, (x * (width / 2 - 0.1), 0, z), legs) for x in (-1, 1) for z in (0.1, depth - 0.1)),
    ]
    count = max(1, round(inner / 0.65))
    pad = inner / count
    for k in range(count):
        x = (k + 0.5) * pad - inner / 2
        parts.append(box((pad - 0.015, 0.14, 0.58), (x, 0.3, 0.54), cloth))
        if rng.random() < 0.75:
            parts.append(box((0.36, 0.34, 0.13), (x, seat + 0.02, 0.33), style.fabric(), rng.uniform(-0.4, 0.4)))
    return Piece(tuple(parts), (width, 0.84, depth))


def sideboard(style: Style, rng: np.random.Generator) -> Piece:
    """A low cupboard with doors, knobs and things on top."""
    width, height, depth = rng.uniform(1.1, 1.7), rng.uniform(0.6, 0.8), 0.42
    body, front, knob = style.wood(), style.painted(), style.metal()
    doors = int(rng.integers(2, 4))
    pitch = (width - 0.06) / doors
    parts = [
        box((width, height - 0.14, depth), (0, 0.12, depth / 2), body),
        box((width + 0.04, 0.03, depth + 0.02), (0, height - 0.03, depth / 2 + 0.01), body),
        *(cylinder(0.025, 0.13, (x * (width / 2 - 0.07), 0, z), body) for x in (-1, 1) for z in (0.06, depth - 0.06)),
    ]
    for k in range(doors):
        x = (k + 0.5) * pitch - (width - 0.06) / 2
        parts.append(box((pitch - 0.02, height - 0.22, 0.02), (x, 0.15, depth + 0.008), front))
        parts.append(ball(0.016, (x + 0.35 * pitch, height * 0.5, depth + 0.03), knob))
    parts += moved(arranged(style, rng, width - 0.1, depth, height), (0, 0, depth / 2))
    return Piece(tuple(parts), (width + 0.04, height, depth + 0.05))


def desk(style: Style, rng: np.random.Generator) -> Piece:
    """A table at the wall with drawers, things on it and a stool before it."""
    width, height, depth = rng.uniform(1.2, 1.5), 0.75, 0.62
    wood, upright, front = style.wood(), style.wood(upright=True), style.painted()
    side = pick(rng, (-1, 1))
    drawers = side * (width / 2 - 0.25)
    parts = [
        box((width, 0.035, depth), (0, height - 0.035, depth / 2), wood),
        box((0.4, height - 0.1, depth - 0.08), (drawers, 0.06, depth / 2), wood),
        *(box((0.36, 0.17, 0.02), (drawers, 0.08 + k * 0.2, depth - 0.035), front) for k in range(3)),
        *(box((0.05, height - 0.03, 0.05), (-side * (width / 2 - 0.06), 0, z), upright) for z in (0.06, depth - 0.06)),
        *moved(arranged(style, rng, width - 0.1, depth, height), (0, 0, depth / 2)),
        *moved(stool(style, rng).parts, (-side * 0.15, 0, depth)),
    ]
    return Piece(tuple(parts), (width, height, depth + 0.35))


def plant(style: Style, rng: np.random.Generator) -> Piece:
    """A pot with a bush, a small fir or a leafless cactus."""
    pot, leaves, kind = style.ceramic(), style.foliage(), rng.integers(3)
    height, radius = rng.uniform(0.55, 0.9), rng.uniform(0.15, 0.2)
    parts = [cylinder(radius, 0.32, (0, 0, 0.3), pot)]
    if kind == 0:
        parts.append(cylinder(0.025, height, (0, 0.2, 0.3), style.wood()))
        for _ in range(6):
            x, z = rng.uniform(-0.14, 0.14, 2)
            parts.append(ball(rng.uniform(0.09, 0.15), (x, height + rng.uniform(-0.22, 0.22), 0.3 + z), leaves))
    elif kind == 1:
        tiers = [(0.26 - 0.05 * k, 0.5 + 0.24 * k * height) for k in range(4)]
        parts += [cylinder(0.03, 0.3, (0, 0.3, 0.3), style.wood())]
        parts += [cone(wide, 0.38 * height, (0, low, 0.3), leaves) for wide, low in tiers]
    else:
        parts.append(cylinder(0.09, height, (0, 0.3, 0.3), leaves))
        parts.append(ball(0.09, (0, 0.21 + height, 0.3), leaves))
        for side, low in ((-1, 0.5), (1, 0.62)):
            parts.append(cylinder(0.05, 0.25, (side * 0.17, low, 0.3), leaves))
            parts.append(rod(0.045, (side * 0.17, low + 0.03, 0.3), (0, low - 0.02, 0.3), leaves))
    return Piece(tuple(parts), (0.6, height + 0.6, 0.6))


def floor_lamp(style: Style, rng: np.random.Generator) -> Piece:
    """A pole with a glowing globe or a shade."""
    metal, height = style.metal(), rng.uniform(1.25, 1.5)
    parts = [cylinder(0.14, 0.03, (0, 0, 0.25), metal), cylinder(0.018, height, (0, 0, 0.25), metal)]
    globe = rng.random() < 0.5
    top = ball(0.14, (0, height - 0.05, 0.25), style.glowing())
    shade = cylinder if rng.random() < 0.5 else cone
    return Piece(
        (*parts, top if globe else shade(0.2, 0.28, (0, height - 0.05, 0.25), style.fabric())),
        (0.45, height + 0.25, 0.45),
    )


def crates(style: Style, rng: np.random.Generator) -> Piece:
    """Boxes stacked a little askew."""
    parts, top, size = [], 0.0, rng.uniform(0.45, 0.6)
    for _ in range(rng.integers(2, 4)):
        height = size * rng.uniform(0.6, 0.9)
        skin = style.printed(size, height, pick(rng, ("crate", "carton"))) if rng.random() < 0.7 else style.toy()
        parts.append(box((size, height, size), (0, top, 0.42), skin, rng.uniform(-0.3, 0.3)))
        top, size = top + height, size * rng.uniform(0.65, 0.85)
    parts.append(ball(size * 0.4, (0, top, 0.42), style.toy()))
    return Piece(tuple(parts), (0.85, top + size, 0.85))


def plinth(style: Style, rng: np.random.Generator) -> Piece:
    """A column with a ball or a vase: a small exhibition."""
    height = rng.uniform(0.7, 1.0)
    skin = style.trim() if rng.random() < 0.3 else style.stone()
    column = cylinder(0.16, height, (0, 0, 0.3), skin)
    if rng.random() < 0.5:
        column = box((0.3, height, 0.3), (0, 0, 0.3), skin, rng.uniform(-0.4, 0.4))
    return Piece((column, ball(rng.uniform(0.13, 0.18), (0, height, 0.3), style.toy())), (0.6, height + 0.35, 0.6))


def stool(style: Style, rng: np.random.Generator) -> Piece:
    """A round seat on legs or a pouf."""
    cloth = style.fabric()
    if rng.random() < 0.4:
        return Piece((cylinder(0.26, 0.38, (0, 0, 0), cloth),), (0.52, 0.38, 0.52))
    wood = style.wood(upright=True)
    legs = [cylinder(0.02, 0.44, (x * 0.11, 0, z * 0.11), wood) for x in (-1, 1) for z in (-1, 1)]
    return Piece((*legs, cylinder(0.18, 0.06, (0, 0.42, 0), cloth)), (0.36, 0.48, 0.36))


def table(style: Style, rng: np.random.Generator) -> Piece:
    """A round or long table, low or high, with things on it."""
    wood, height = style.wood(), pick(rng, (0.42, 0.74))
    if rng.random() < 0.5:
        radius = rng.uniform(0.45, 0.6)
        parts = [
            cylinder(radius, 0.04, (0, height - 0.04, 0), wood),
            cylinder(0.05, height - 0.03, (0, 0, 0), style.metal()),
            cylinder(0.28, 0.03, (0, 0, 0), style.metal()),
        ]
        width, depth = 2 * radius, 2 * radius
    else:
        width, depth = rng.uniform(1.0, 1.4), rng.uniform(0.6, 0.8)
        legs = [(x * (width / 2 - 0.06), 0.0, z * (depth / 2 - 0.06)) for x in (-1, 1) for z in (-1, 1)]
        upright = style.wood(upright=True)
        parts = [box((0.06, height - 0.02, 0.06), leg, upright) for leg in legs]
        parts.append(box((width, 0.04, depth), (0, height - 0.04, 0), wood))
    parts += arranged(style, rng, width * 0.8, depth * 0.7, height)
    return Piece(tuple(parts), (width, height, depth))


def armchair(style: Style, rng: np.random.Generator) -> Piece:
    """A chair with a slanting back, to stand free."""
    cloth, wood = style.fabric(), style.wood(upright=True)
    legs = [rod(0.025, (x * 0.3, 0, z * 0.3), (x * 0.22, 0.3, z * 0.22), wood) for x in (-1, 1) for z in (-1, 1)]
    back = tilted(box((0.6, 0.6, 0.1), (0, 0.36, -0.29), cloth), -0.22)
    arms = [box((0.08, 0.26, 0.56), (x * 0.3, 0.3, 0), cloth) for x in (-1, 1)]
    pad = box((0.3, 0.28, 0.1), (0, 0.43, -0.16), style.fabric(), rng.uniform(-0.3, 0.3))
    return Piece((*legs, box((0.62, 0.14, 0.6), (0, 0.28, 0), cloth), back, *arms, pad), (0.7, 0.95, 0.75))


def bed(style: Style, rng: np.random.Generator) -> Piece:
    """A bed along the wall with a blanket, pillows and a board at its head."""
    wood, sheet, blanket = style.wood(), style.painted(), style.fabric()
    width, depth = 1.95, rng.uniform(0.8, 0.95)
    parts = [
        box((width, 0.3, depth), (0, 0.08, depth / 2), wood),
        box((width - 0.06, 0.16, depth - 0.06), (0, 0.36, depth / 2), sheet),
        box((1.2, 0.05, depth + 0.01), (-0.32, 0.49, depth / 2), blanket),
        box((0.06, 0.95, depth), (width / 2, 0, depth / 2), wood),
        *(ball(0.05, (x * (width / 2 - 0.08), 0, z), wood) for x in (-1, 1) for z in (0.08, depth - 0.08)),
    ]
    for z in (0.26, depth - 0.26):
        pad = tilted(box((0.14, 0.36, 0.36), (0.72, 0.5, z), style.fabric()), 0.0, -0.5)
        parts.append(pad)
    return Piece(tuple(parts), (width + 0.06, 0.9, depth))


def wardrobe(style: Style, rng: np.random.Generator) -> Piece:
    """A tall cupboard with doors; boxes on top."""
    width, height, depth = rng.uniform(0.9, 1.3), rng.uniform(1.6, 1.95), 0.5
    front, knob = style.painted(), style.metal()
    half = width / 2 - 0.03
    parts = [box((width, height, depth), (0, 0, depth / 2), style.wood(upright=True))]
    for side in (-1, 1):
        parts.append(box((half - 0.01, height - 0.16, 0.02), (side * (half / 2 + 0.01), 0.1, depth + 0.008), front))
        parts.append(ball(0.018, (side * 0.07, height * 0.5, depth + 0.03), knob))
    chest = (0.5, 0.22, 0.36)
    parts.append(
        box(
            chest,
            (rng.uniform(-0.15, 0.15), height, depth / 2),
            style.printed(0.5, 0.22, "carton"),
            rng.uniform(-0.2, 0.2),
        )
    )
    return Piece(tuple(parts), (width, height + 0.25, depth + 0.04))


def fireplace(style: Style, rng: np.random.Generator) -> Piece:
    """A hearth of stone with a mantel, logs and things on it."""
    stone, width, height = style.stone(), rng.uniform(1.2, 1.5), rng.uniform(1.0, 1.2)
    parts = [
        *(box((0.26, height, 0.4), (x * (width / 2 - 0.13), 0, 0.2), stone) for x in (-1, 1)),
        box((width - 0.52, 0.3, 0.4), (0, height - 0.3, 0.2), stone),
        box((width - 0.5, height - 0.28, 0.05), (0, 0, 0.025), style.scrap_metal()),
        box((width + 0.16, 0.06, 0.46), (0, height, 0.23), style.wood()),
        *(
            rod(0.05, (-0.2, low, z), (0.2, low + up, z), style.wood())
            for low, z, up in ((0.05, 0.15, 0), (0.05, 0.29, 0.03))
        ),
        rod(0.05, (-0.17, 0.15, 0.25), (0.18, 0.16, 0.18), style.wood()),
        *moved(arranged(style, rng, width, 0.4, height + 0.06), (0, 0, 0.22)),
    ]
    return Piece(tuple(parts), (width + 0.16, height + 0.06, 0.5))


def toy_ball(style: Style, rng: np.random.Generator) -> Piece:
    """A ball on the floor."""
    radius = rng.uniform(0.12, 0.24)
    return Piece((ball(radius, (0, 0, 0), style.toy(), rng.uniform(0, 3)),), (2 * radius, 2 * radius, 2 * radius))


def toy_blocks(style: Style, rng: np.random.Generator) -> Piece:
    """Building blocks: boxes and a cylinder or a roof."""
    size = rng.uniform(0.16, 0.24)
    top = cylinder(0.45 * size, size, (0, size, 0), style.toy())
    if rng.random() < 0.5:
        top = cone(0.6 * size, size, (0, size, 0), style.toy())
    parts = [
        box((size, size, size), (-0.6 * size, 0, 0), style.toy(), rng.uniform(-0.2, 0.2)),
        box((size, size, size), (0.6 * size, 0, 0.1 * size), style.toy(), rng.uniform(-0.2, 0.2)),
        top,
    ]
    return Piece(tuple(parts), (2.5 * size, 2 * size, 1.4 * size))


def basket(style: Style, rng: np.random.Generator) -> Piece:
    """A round basket with a rim, full of balls of wool."""
    radius, height = rng.uniform(0.18, 0.24), rng.uniform(0.2, 0.3)
    parts = [
        cylinder(radius, height, (0, 0, 0), style.fabric()),
        ring(radius + 0.02, 0.025, (0, height - 0.02, 0), style.wood()),
    ]
    angles = rng.uniform(0, 6.28) + np.arange(3) * 2.09
    parts += [ball(0.09, (0.1 * np.cos(a), height - 0.06, 0.1 * np.sin(a)), style.fabric()) for a in angles]
    return Piece(tuple(parts), (2 * radius, height + 0.1, 2 * radius))

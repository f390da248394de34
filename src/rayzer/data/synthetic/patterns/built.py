"""What floors, walls and things are built of: masonry, wood, stone, metal, boxes and boards of instruments."""

from __future__ import annotations

import torch
from torch import Tensor

from rayzer.data.synthetic.patterns.tools import Masks, band, cells, centred, either, noise, soft, stones, tone


def _bricks(u: Tensor, v: Tensor) -> Masks:
    wall = cells(u, v, 4, 10, 0.5)
    joint = soft(0.09 - torch.minimum((0.5 - wall.x.abs()) * 2.5, 0.5 - wall.y.abs()), 0.08)
    return wall.tone(1), 0.6 * soft(wall.tone(2) - 0.7) + 0.3 * noise(u, v, 16, 2), joint


def _planks(u: Tensor, v: Tensor) -> Masks:
    row = (v * 6).floor()
    shift = tone(row, row * 0, 4)
    board = cells((u + shift).remainder(1), v, 2, 6)
    joint = soft(0.03 - torch.minimum((0.5 - board.x.abs()) * 3, 0.5 - board.y.abs()), 0.05)
    grain = noise(v, (u + shift).remainder(1), 32, 3, stretch=16)
    return board.tone(5), 0.55 * grain, 0.85 * joint


def _parquet(u: Tensor, v: Tensor) -> Masks:
    """Squares of four staves each, turned alternately."""
    grid = cells(u, v, 4, 4)
    upright = (grid.i + grid.j).remainder(2) > 0.5
    across = torch.where(upright, grid.x, grid.y) + 0.5
    stave = (4 * across).floor()
    joint = either(band(centred(4 * across), 0.1, 0.06), grid.joint(0.025, 0.03))
    grain = torch.where(upright, noise(u, v, 48, 2, stretch=12), noise(v, u, 48, 2, stretch=12))
    return tone(4 * grid.i + stave, grid.j, 6), 0.5 * grain, 0.7 * joint


def _herringbone(u: Tensor, v: Tensor) -> Masks:
    column = (4 * u).floor()
    slope = torch.where(column.remainder(2) > 0.5, 1.0, -1.0)
    along = 8 * v + slope * (4 * u - column - 0.5)
    number = along.floor().remainder(8)
    joint = either(band(centred(along), 0.1, 0.05), band(centred(4 * u), 0.05, 0.03))
    return tone(number, column, 8), 0.4 * noise(u, v, 20, 2), 0.7 * joint


def _tiles(u: Tensor, v: Tensor) -> Masks:
    grid = cells(u, v, 6, 6)
    return 0.7 * grid.tone(1), 0.35 * noise(u, v, 7), grid.joint(0.045, 0.04)


def _ornament_tiles(u: Tensor, v: Tensor) -> Masks:
    """Encaustic tiles: a star in a ring, quarter discs in the corners."""
    grid = cells(u, v, 4, 4)
    angle, radius = torch.atan2(grid.y, grid.x), grid.radius()
    star = soft(0.2 + 0.09 * torch.cos(8 * angle) - radius, 0.02)
    corner = torch.hypot(0.5 - grid.x.abs(), 0.5 - grid.y.abs())
    return (
        either(star, band(corner - 0.28, 0.07, 0.02)),
        either(band(radius - 0.38, 0.06, 0.02), soft(0.16 - corner, 0.02)),
        grid.joint(0.02, 0.02),
    )


def _mosaic(u: Tensor, v: Tensor) -> Masks:
    grid = cells(u, v, 14, 14)
    pick = 0.7 * grid.tone(2) + 0.3 * noise((grid.i + 0.5) / 14, (grid.j + 0.5) / 14, 3)
    return soft(pick - 0.35, 0.1), soft(pick - 0.55, 0.1), either(soft(pick - 0.75, 0.1), 0.7 * grid.joint(0.07, 0.08))


def _hexagons(u: Tensor, v: Tensor) -> Masks:
    even, odd = cells(u, v, 6, 4), cells(u + 1 / 12, v + 1 / 8, 6, 4)
    scale = 1.5 / 0.866  # a cell is 1/6 wide and 1/4 high; hexagons are measured in widths of theirs
    far = torch.hypot(even.x, even.y * 1.5) > torch.hypot(odd.x, odd.y * 1.5)
    x, y = torch.where(far, odd.x, even.x).abs(), torch.where(far, odd.y, even.y).abs() * scale * 0.866
    border = torch.maximum(x, 0.5 * x + 0.866 * y)
    pick = torch.where(far, odd.tone(3), even.tone(4))
    return soft(pick - 0.4), soft(pick - 0.75), soft(border - 0.455, 0.05)


def _terrazzo(u: Tensor, v: Tensor) -> Masks:
    near, border, pick = stones(u, v, 11)
    chip = soft(border - 0.18, 0.06) * soft(0.45 - near, 0.05)
    return chip * soft(pick - 0.35), chip * soft(pick - 0.6), chip * soft(pick - 0.8)


def _pebbles(u: Tensor, v: Tensor) -> Masks:
    _, border, pick = stones(u, v, 7, 5)
    return pick, 0.35 * noise(u, v, 14, 3), soft(0.1 - border, 0.08)


def _rubble(u: Tensor, v: Tensor) -> Masks:
    """A wall of large irregular stones."""
    _, border, pick = stones(u, v, 4, 9)
    return 0.7 * pick, 0.6 * noise(u, v, 8), soft(0.06 - border, 0.05)


def _cracks(u: Tensor, v: Tensor) -> Masks:
    bend = 0.03 * (noise(u, v, 6, 3) - 0.5)
    _, border, _ = stones((u + bend).remainder(1), (v - bend).remainder(1), 4, 13)
    return 0.6 * noise(u, v, 4), 0.3 * noise(u, v, 24, 2, seed=3), 0.8 * soft(0.025 - border, 0.03)


def _rust(u: Tensor, v: Tensor) -> Masks:
    patches = noise(u, v, 4, 5, seed=4)
    scratches = noise(u, v, 40, 2, seed=5, stretch=20)
    return 0.5 * scratches, soft(patches - 0.52, 0.12), soft(patches - 0.66, 0.1) * noise(u, v, 30, 2)


def _brushed(u: Tensor, v: Tensor) -> Masks:
    return 0.8 * noise(v, u, 48, 3, stretch=24), 0.4 * noise(u, v, 3)


def _corrugated(u: Tensor, v: Tensor) -> Masks:
    ridge = 0.5 - 0.5 * torch.cos(6.283 * 12 * u)
    return ridge, 0.25 * noise(u, v, 5), 0.6 * soft(noise(u, v, 5, 4, seed=6) - 0.7, 0.1)


def _veins(u: Tensor, v: Tensor) -> Masks:
    cloud = 0.5 - 0.5 * torch.cos(6.283 * (u + 0.15 * torch.sin(6.283 * v)))
    thin = either(*(band(centred(u - at), 0.02, 0.03) for at in (0.13, 0.37, 0.46, 0.81)))
    return 0.5 * cloud, 0.4 * noise(u, v, 6), thin * noise(u, v, 5, seed=2)


def _crate(u: Tensor, v: Tensor) -> Masks:
    """One face of a wooden crate: a frame, a brace across, boards behind; it fills a face."""
    frame = soft(torch.maximum((u - 0.5).abs(), (v - 0.5).abs()) - 0.39)
    brace = band(u - v, 0.14)
    front = either(frame, brace)
    board = cells(u, v, 1, 5)
    gaps = either(
        (1 - front) * band(centred(5 * v), 0.05, 0.03),
        band(torch.maximum((u - 0.5).abs(), (v - 0.5).abs()) - 0.39, 0.012),
        (1 - frame) * band((u - v).abs() - 0.07, 0.012),
    )
    return (1 - front) * (0.3 + 0.4 * board.tone(2)), 0.5 * noise(v, u, 40, 3, stretch=10), gaps


def _carton(u: Tensor, v: Tensor) -> Masks:
    """Packing board with tape and a label; it fills a face."""
    tape = band(u - 0.5, 0.13)
    inside = torch.stack([u - 0.62, 0.92 - u, v - 0.6, 0.88 - v]).amin(0)
    label = soft(inside)
    text = label * band(centred(14 * v), 0.4, 0.1) * soft(tone((26 * u).floor(), (14 * v).floor(), 5) - 0.35)
    return either(0.3 * noise(u, v, 6), 0.6 * tape), label, either(text, 0.6 * band(v - 0.03, 0.012))


def _panel(u: Tensor, v: Tensor) -> Masks:
    """Instruments: dials, lights and switches in a frame."""
    grid = cells(u, v, 4, 4)
    kind, radius = grid.tone(21), grid.radius()
    dial = soft(0.36 - radius, 0.02) * soft(kind - 0.5)
    hand = dial * band(grid.x * torch.cos(9 * kind) + grid.y * torch.sin(9 * kind), 0.07, 0.03)
    lights = cells(u, v, 12, 12)
    lamp = soft(0.28 - lights.radius(), 0.06) * soft(0.5 - kind)
    return (
        dial,
        lamp * soft(lights.tone(4) - 0.4),
        either(hand, grid.joint(0.03, 0.02), lamp * soft(0.4 - lights.tone(4))),
    )


def _books(u: Tensor, v: Tensor) -> Masks:
    """A row of spines with titles; upright over the whole tile."""
    edges = 14 * u + 0.4 * torch.sin(6.283 * u) + 0.6 * torch.sin(12.566 * u + 1)
    number = edges.floor().remainder(14)
    x = edges - edges.floor() - 0.5
    pick, top = tone(number, number * 0, 31), 0.3 * tone(number, number * 0 + 1, 31)
    body = soft(v - top) * soft(0.47 - x.abs(), 0.06)
    title = body * either(band(v - 0.55 + 0.3 * pick, 0.16), band(v - 0.9, 0.04)) * soft(0.3 - x.abs(), 0.06)
    return body * soft(pick - 0.2), body * soft(pick - 0.6), either(1 - body, 0.8 * title)


def _print(u: Tensor, v: Tensor) -> Masks:
    """Lines of words in columns, as on newspaper."""
    row = (18 * v).floor()
    word = (16 * u + 4 * tone(row, row * 0, 3)).floor()
    ink = band(centred(18 * v - 0.5), 0.55, 0.15) * soft(tone(word, row, 4) - 0.22)
    margin = band(centred(2 * u), 0.1, 0.02)
    heading = soft(centred(3 * v - 0.5) + 0.5 - 0.85, 0.03)
    return (0.15 * noise(u, v, 6), ink * (1 - margin) * (1 - heading), heading * (1 - margin))


BUILT = {
    "bricks": _bricks,
    "planks": _planks,
    "parquet": _parquet,
    "herringbone": _herringbone,
    "tiles": _tiles,
    "ornament_tiles": _ornament_tiles,
    "mosaic": _mosaic,
    "hexagons": _hexagons,
    "terrazzo": _terrazzo,
    "pebbles": _pebbles,
    "rubble": _rubble,
    "cracks": _cracks,
    "rust": _rust,
    "brushed": _brushed,
    "corrugated": _corrugated,
    "veins": _veins,
    "crate": _crate,
    "carton": _carton,
    "panel": _panel,
    "books": _books,
    "print": _print,
}
"""See `PATTERNS`."""

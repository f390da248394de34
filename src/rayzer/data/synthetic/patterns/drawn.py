"""Pictures drawn by rule: what hangs on walls when the user gives no pictures of his own.

They are patterns (see `baking`) that fill a tile once and need not fit at its edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rayzer.data.synthetic.patterns.tools import Masks, band, cells, disc, either, noise, rectangle, soft, stones, tone


def _hills(u: Tensor, v: Tensor) -> Masks:
    far = soft(v - 0.5 - 0.07 * torch.sin(7 * u) - 0.04 * torch.sin(17 * u + 1))
    near = soft(v - 0.68 - 0.08 * torch.sin(5 * u + 2) - 0.1 * (noise(u, v, 5) - 0.5))
    return either(0.8 * v, disc(u, v, 0.7, 0.25, 0.09)), far * (0.7 + 0.3 * noise(u, v, 9)), near


def _mountains(u: Tensor, v: Tensor) -> Masks:
    ridge = 0.3 + 0.35 * (u - 0.4).abs() + 0.12 * noise(u, u * 0, 6) + 0.1 * (4 * u).remainder(1) * (1 - u)
    snow = soft(v - ridge) * soft(ridge + 0.12 + 0.1 * (noise(u, v, 20, 2) - 0.5) - v)
    lake = soft(v - 0.8) * (0.6 + 0.4 * noise(v, u, 24, 2, stretch=12))
    return (
        either(0.5 * noise(u, v, 3), lake),
        soft(v - ridge) * soft(0.8 - v),
        either(snow, disc(u, v, 0.2, 0.18, 0.07)),
    )


def _seascape(u: Tensor, v: Tensor) -> Masks:
    water = soft(v - 0.55)
    glitter = water * soft(noise(v, u, 36, 3, stretch=9) - 0.5 - 0.4 * (u - 0.5).abs(), 0.1)
    sail = soft(torch.minimum((v - 0.32) - 2.2 * (u - 0.3).abs(), 0.56 - v))
    return (1.6 * (0.55 - v)).clamp(0, 1), water, either(glitter, disc(u, v, 0.62, 0.42, 0.1) * (1 - water), sail)


def _skyline(u: Tensor, v: Tensor) -> Masks:
    def houses(count: int, low: float, seed: int) -> Tensor:
        column = (count * u).floor()
        return soft(v - low + 0.4 * tone(column, column * 0, seed))

    near = houses(9, 0.85, 3)
    windows = cells(u, v, 36, 30)
    lit = near * soft(windows.tone(8) - 0.55) * soft(0.3 - torch.maximum(windows.x.abs(), windows.y.abs()), 0.1)
    return either(0.7 * v, houses(14, 0.65, 2)), near, either(lit, disc(u, v, 0.75, 0.18, 0.08))


def _forest(u: Tensor, v: Tensor) -> Masks:
    def trunks(count: int, width: float, seed: int) -> Tensor:
        grid = cells(u, v, count, 1)
        return band(grid.x - 0.5 * (grid.tone(seed) - 0.5) + 0.05 * torch.sin(9 * v), width, 0.03)

    leaves = soft(noise(u, v, 8, 4) - 0.35 - 0.5 * v, 0.05)
    return 0.8 * noise(u, v, 5), either(trunks(14, 0.2, 1), soft(v - 0.85)), either(trunks(6, 0.25, 2), leaves)


def _sunburst(u: Tensor, v: Tensor) -> Masks:
    angle, radius = torch.atan2(v - 0.75, u - 0.5), torch.hypot(u - 0.5, v - 0.75)
    rays = soft(torch.sin(14 * angle), 0.15)
    return rays, soft(0.22 - radius), either(band(radius - 0.28, 0.03), soft(v - 0.86))


def _mondrian(u: Tensor, v: Tensor) -> Masks:
    lines = [band(u - 0.3, 0.035), band(u - 0.78, 0.035), band(v - 0.22, 0.035), band(v - 0.66, 0.035)]
    lines += [band(v - 0.42, 0.035) * soft(u - 0.78), band(u - 0.55, 0.035) * soft(v - 0.66)]
    first = either(rectangle(u, v, 0.3, 0.22, 0.78, 0.66), rectangle(u, v, -1, 0.66, 0.3, 2))
    return first, either(rectangle(u, v, -1, -1, 0.3, 0.22), rectangle(u, v, 0.55, 0.66, 0.78, 2)), either(*lines)


def _circles(u: Tensor, v: Tensor) -> Masks:
    rng = torch.Generator().manual_seed(5)
    masks = [torch.zeros_like(u) for _ in range(3)]
    for k in range(21):
        x, y, size = torch.rand(3, generator=rng).tolist()
        radius = torch.hypot(u - x, v - y)
        shape = soft(0.04 + 0.12 * size - radius) if k % 2 else band(radius - 0.05 - 0.13 * size, 0.02)
        masks = [either(mask, shape) if number == k % 3 else mask * (1 - shape) for number, mask in enumerate(masks)]
    return tuple(masks)


def _map(u: Tensor, v: Tensor) -> Masks:
    """Land in a sea with a coast, relief, rivers and a net of degrees."""
    height = noise(u, v, 3, 5, seed=11)
    coast = band(height - 0.52, 0.025, 0.01)
    _, border, _ = stones(u, v, 5, 23)
    roads = soft(height - 0.54, 0.02) * soft(0.04 - border, 0.03)
    net = either(band((8 * u).remainder(1) - 0.5, 0.03, 0.02), band((8 * v).remainder(1) - 0.5, 0.03, 0.02))
    return soft(height - 0.52, 0.01), soft(height - 0.68, 0.05), either(coast, roads, 0.4 * net)


def _face(u: Tensor, v: Tensor) -> Masks:
    """A portrait of few shapes."""
    head = soft(1 - torch.hypot((u - 0.5) / 0.23, (v - 0.42) / 0.3), 0.02)
    hair = soft(1 - torch.hypot((u - 0.5) / 0.29, (v - 0.38) / 0.34), 0.02) * soft(0.33 + 0.3 * (u - 0.4).abs() - v)
    body = soft(1 - torch.hypot((u - 0.5) / 0.42, (v - 1.02) / 0.34), 0.02)
    eyes = either(disc(u, v, 0.41, 0.42, 0.025), disc(u, v, 0.59, 0.42, 0.025))
    mouth = rectangle(u, v, 0.43, 0.565, 0.57, 0.59)
    return 0.5 * noise(u, v, 4) * (1 - head), either(head, 0.0 * body), either(hair, eyes, mouth, body)


def _still_life(u: Tensor, v: Tensor) -> Masks:
    table = soft(v - 0.7)
    pot = either(disc(u, v, 0.36, 0.6, 0.16), rectangle(u, v, 0.3, 0.32, 0.42, 0.6))
    fruit = [disc(u, v, x, 0.72, 0.085) for x in (0.58, 0.74, 0.86)] + [disc(u, v, 0.68, 0.6, 0.085)]
    return (
        either(0.5 * noise(u, v, 4), table),
        pot,
        either(*fruit, pot * band(v - 0.56, 0.03), 0.7 * pot * soft(0.3 - u)),
    )


def _spiral(u: Tensor, v: Tensor) -> Masks:
    angle, radius = torch.atan2(v - 0.5, u - 0.5), torch.hypot(u - 0.5, v - 0.5)
    arm = torch.sin(3 * angle + 38 * radius)
    return soft(arm, 0.15), soft(arm - 0.6, 0.15) * soft(0.45 - radius), soft(0.08 - radius)


def _op_art(u: Tensor, v: Tensor) -> Masks:
    """Checks that bulge in the middle."""
    x, y = u - 0.5, v - 0.5
    bulge = 1 - 0.65 * torch.exp(-8 * (x.square() + y.square()))
    a, b = torch.sin(44 * x * bulge), torch.sin(44 * y * bulge)
    return soft(a * b, 0.2), 0.9 * soft(0.2 - torch.hypot(x, y)) * soft(a * b, 0.2)


def _strokes(u: Tensor, v: Tensor) -> Masks:
    """Broad strokes of a brush."""
    rng = torch.Generator().manual_seed(9)
    masks = [torch.zeros_like(u) for _ in range(3)]
    for k in range(15):
        x, y, angle, bend, width = torch.rand(5, generator=rng).tolist()
        cosine, sine = torch.cos(torch.tensor(6.3 * angle)), torch.sin(torch.tensor(6.3 * angle))
        along, across = (u - x) * cosine + (v - y) * sine, (v - y) * cosine - (u - x) * sine
        curve = across + (bend - 0.5) * 2 * along.square() + 0.02 * (noise(u, v, 12, 3) - 0.5)
        shape = band(curve, 0.04 + 0.09 * width) * soft(0.32 - along.abs(), 0.05)
        masks = [either(mask, shape) if number == k % 3 else mask * (1 - shape) for number, mask in enumerate(masks)]
    return tuple(masks)


def _chart(u: Tensor, v: Tensor) -> Masks:
    """A diagram: bars, a curve and a frame."""
    grid = cells(u, v, 9, 1)
    bars = soft(v - 0.35 - 0.4 * grid.tone(4)) * soft(0.32 - grid.x.abs(), 0.04) * soft(0.88 - v)
    curve = band(v - 0.4 + 0.2 * torch.sin(6 * u) + 0.1 * (noise(u, u * 0, 8) - 0.5), 0.025)
    frame = either(band(v - 0.88, 0.015), band(u - 0.05, 0.015), rectangle(u, v, 0.12, 0.06, 0.62, 0.12))
    return bars, curve, frame


def _planets(u: Tensor, v: Tensor) -> Masks:
    radius = torch.hypot(u - 0.15, v - 0.85)
    orbits = either(*(band(radius - r, 0.008) for r in (0.3, 0.48, 0.66, 0.86)))
    balls = [disc(u, v, 0.33, 0.61, 0.045), disc(u, v, 0.25, 0.38, 0.06), disc(u, v, 0.75, 0.58, 0.08)]
    ringed = either(
        disc(u, v, 0.52, 0.09, 0.07), band(torch.hypot(u - 0.52, 3 * (v - 0.09 + 0.3 * (u - 0.52))) - 0.13, 0.02)
    )
    specks = soft(noise(u, v, 64, 1) - 0.93, 0.05)
    return either(orbits, *balls), soft(0.2 - radius), either(ringed, specks, disc(u, v, 0.77, 0.56, 0.03))


DRAWN = {
    "hills": _hills,
    "mountains": _mountains,
    "seascape": _seascape,
    "skyline": _skyline,
    "forest": _forest,
    "sunburst": _sunburst,
    "mondrian": _mondrian,
    "circles": _circles,
    "map": _map,
    "face": _face,
    "still_life": _still_life,
    "spiral": _spiral,
    "op_art": _op_art,
    "strokes": _strokes,
    "chart": _chart,
    "planets": _planets,
}
"""name: (u, v [s, s] in [0, 1)) -> up to three masks; patterns that make pictures."""

"""What papers and cloths are printed or woven with."""

from __future__ import annotations

import torch
from torch import Tensor

from rayzer.data.synthetic.patterns.tools import (
    Masks,
    band,
    cells,
    centred,
    either,
    noise,
    scattered,
    soft,
    stones,
    tone,
)


def _plain(u: Tensor, v: Tensor) -> Masks:
    return 0.5 * noise(u, v, 3, 3), 0.35 * noise(u, v, 24, 2, seed=1)


def _ramp(u: Tensor, v: Tensor) -> Masks:
    """All four colours one after the other along u: bent by noise, clouds and agate."""
    back = (4 - 4 * u).clamp(0, 1)
    return back * (4 * u).clamp(0, 1), back * (4 * u - 1).clamp(0, 1), back * (4 * u - 2).clamp(0, 1)


def _checks(u: Tensor, v: Tensor) -> Masks:
    grid = cells(u, v, 4, 4)
    side = either(band(centred(2 * u), 0.5), band(centred(2 * v), 0.5)) - band(centred(2 * u), 0.5) * band(
        centred(2 * v), 0.5
    )
    return side, 0.25 * grid.tone(3) * side


def _patchwork(u: Tensor, v: Tensor) -> Masks:
    grid = cells(u, v, 5, 5)
    return soft(grid.tone(1) - 0.3), soft(grid.tone(1) - 0.55), either(soft(grid.tone(1) - 0.8), grid.joint(0.04, 0.03))


def _stripes(u: Tensor, v: Tensor) -> Masks:
    wide = band(centred(2 * u), 0.45)
    return wide, band(centred(4 * u - 0.12), 0.12, 0.02), band(centred(2 * u - 0.5), 0.12, 0.01)


def _barcode(u: Tensor, v: Tensor) -> Masks:
    """Stripes of many widths."""
    edges = 16 * u + 0.35 * torch.sin(6.283 * u) + 0.5 * torch.sin(12.566 * u)
    number = edges.floor().remainder(16)
    inside = band(centred(edges - 0.5), 0.96, 0.06)
    pick = tone(number, number * 0, 7)
    return inside * soft(pick - 0.25), inside * soft(pick - 0.5), inside * soft(pick - 0.75)


def _tartan(u: Tensor, v: Tensor) -> Masks:
    def bands(t: Tensor) -> tuple[Tensor, Tensor]:
        return band(centred(2 * t), 0.4), either(band(centred(2 * t - 0.5), 0.06), band(centred(4 * t - 0.12), 0.06))

    (wide, thin), (wide_too, thin_too) = bands(u), bands(v)
    return 0.5 * (wide + wide_too), 0.4 * wide * wide_too, 0.6 * either(thin, thin_too)


def _gingham(u: Tensor, v: Tensor) -> Masks:
    return (0.5 * (band(centred(6 * u), 0.5, 0.04) + band(centred(6 * v), 0.5, 0.04)),)


def _dots(u: Tensor, v: Tensor) -> Masks:
    even, odd = cells(u, v, 4, 4), cells(u + 0.125, v + 0.125, 4, 4)
    return soft(0.24 - even.radius(), 0.02), soft(0.2 - odd.radius(), 0.02)


def _confetti(u: Tensor, v: Tensor) -> Masks:
    def pieces(seed: int) -> Tensor:
        grid = scattered(u, v, 8, seed)
        return torch.minimum(soft(0.26 - grid.x.abs(), 0.05), soft(0.1 - grid.y.abs(), 0.05))

    return pieces(10), pieces(20), pieces(30)


def _rings(u: Tensor, v: Tensor) -> Masks:
    """Rings around the middle: of a target, or of a tree where the pattern runs through the solid."""
    radius = torch.hypot(u - 0.5, v - 0.5)
    return soft(torch.sin(75 * radius), 0.9), 0.5 * soft(torch.sin(31 * radius + 2), 1.5), 0.35 * noise(u, v, 40, 2)


def _targets(u: Tensor, v: Tensor) -> Masks:
    radius = cells(u, v, 3, 3).radius()
    return soft(0.44 - radius, 0.02), soft(0.31 - radius, 0.02), soft(0.17 - radius, 0.02)


def _gradient(u: Tensor, v: Tensor) -> Masks:
    t = 1 - (2 * v - 1).abs()
    return (2 * t).clamp(0, 1), (2 * t - 1).clamp(0, 1), 0.25 * noise(u, v, 8)


def _weave(u: Tensor, v: Tensor) -> Masks:
    """Broad strips over and under one another."""
    grid = cells(u, v, 8, 8)
    over = (grid.i + grid.j).remainder(2) > 0.5
    across = torch.where(over, grid.x, grid.y).abs()
    along = torch.where(over, grid.y, grid.x).abs()
    return over.float(), 0.5 * (2 * along) ** 3, soft(across - 0.42, 0.08)


def _knit(u: Tensor, v: Tensor) -> Masks:
    column = cells(u, v, 10, 14)
    drop = column.y + 0.9 * column.x.abs()
    stitch = band(centred(drop), 0.75, 0.3)
    yarn = soft(noise((column.i + 0.5) / 10, (column.j + 0.5) / 14, 4, 1) - 0.55, 0.1)
    return 0.6 * (1 - stitch), yarn * stitch


def _zigzag(u: Tensor, v: Tensor) -> Masks:
    line = 4 * v + 0.45 * (2 * centred(4 * u).abs() - 0.5)
    return band(centred(line), 0.5, 0.02), band(centred(line - 0.5), 0.14, 0.02)


def _waves(u: Tensor, v: Tensor) -> Masks:
    line = 5 * v + 0.35 * torch.sin(12.566 * u)
    return band(centred(line), 0.42, 0.03), band(centred(2 * v + 0.2 * torch.sin(12.566 * u + 1.5)), 0.12, 0.02)


def _scales(u: Tensor, v: Tensor) -> Masks:
    """Overlapping round scales; the lower ones lie in front."""
    radius = torch.full_like(u, 9.0)
    for step in (-1, 0, 1):
        row = (6 * v).floor() + step
        x = centred(4 * u + 0.5 * row.remainder(2))
        distance = torch.hypot(x, (row - 6 * v) * 0.66)
        radius = torch.where((distance < 0.5) & (radius > 8), distance, radius)
    return band(radius - 0.46, 0.07, 0.02), band(radius - 0.32, 0.07, 0.02), soft(0.2 - radius, 0.02)


def _grid(u: Tensor, v: Tensor) -> Masks:
    fine = either(band(centred(8 * u), 0.12, 0.06), band(centred(8 * v), 0.12, 0.06))
    broad = either(band(centred(2 * u), 0.05, 0.02), band(centred(2 * v), 0.05, 0.02))
    return 0.3 * noise(u, v, 4), 0.7 * fine, broad


def _triangles(u: Tensor, v: Tensor) -> Masks:
    grid = cells(u, v, 5, 6, 0.5)
    up = grid.x.abs() < 0.5 * (grid.y + 0.5)
    pick = torch.where(up, grid.tone(1), tone(grid.i + (grid.x > 0), grid.j, 12))
    return soft(pick - 0.3), soft(pick - 0.55), soft(pick - 0.8)


def _diamonds(u: Tensor, v: Tensor) -> Masks:
    first, second = 3 * u + 2 * v, 3 * u - 2 * v
    a, b = band(centred(first), 0.5, 0.02), band(centred(second), 0.5, 0.02)
    thin = either(band(centred(first - 0.25), 0.05, 0.02), band(centred(second - 0.25), 0.05, 0.02))
    return a * b, (1 - a) * (1 - b), thin


def _arcs(u: Tensor, v: Tensor) -> Masks:
    """Quarter rings that join at random into winding ways."""
    grid = cells(u, v, 7, 7)
    x = torch.where(grid.tone(3) > 0.5, grid.x, -grid.x)
    radius = torch.minimum(torch.hypot(x + 0.5, grid.y + 0.5), torch.hypot(x - 0.5, grid.y - 0.5))
    return band(radius - 0.5, 0.36, 0.04), band(radius - 0.5, 0.14, 0.04)


def _maze(u: Tensor, v: Tensor) -> Masks:
    grid = cells(u, v, 9, 9)
    x = torch.where(grid.tone(5) > 0.5, grid.x, -grid.x)
    return (either(band(centred(x + grid.y), 0.3, 0.06), band(centred(x - grid.y + 1.0), 0.0)),)


def _camouflage(u: Tensor, v: Tensor) -> Masks:
    return tuple(soft(noise(u, v, 3, 3, seed=seed) - 0.56, 0.02) for seed in (1, 2, 3))


def _leaves(u: Tensor, v: Tensor) -> Masks:
    def layer(count: int, seed: int) -> tuple[Tensor, Tensor]:
        leaf = scattered(u, v, count, seed)
        inside = soft(0.3 - leaf.x.abs() - 5 * leaf.y.square(), 0.03)
        return inside, inside * band(leaf.y, 0.04, 0.03)

    (large, rib), (small, _) = layer(4, 40), layer(6, 50)
    return small, large, rib


def _flowers(u: Tensor, v: Tensor) -> Masks:
    def layer(count: int, seed: int) -> tuple[Tensor, Tensor]:
        flower = scattered(u, v, count, seed)
        radius = flower.radius()
        petals = 0.2 + 0.1 * torch.cos(5 * torch.atan2(flower.y, flower.x))
        return soft(petals - radius, 0.03), soft(0.085 - radius, 0.03)

    (petals, heart), (small, small_heart) = layer(4, 60), layer(6, 70)
    return small, petals, either(heart, small_heart)


def _stars(u: Tensor, v: Tensor) -> Masks:
    star = scattered(u, v, 5, 80)
    angle = torch.atan2(star.y, star.x)
    spike = (centred(angle * 5 / 6.283).abs() * 2) ** 1.3
    body = soft(0.12 + 0.2 * spike - star.radius(), 0.03)
    return body, body * soft(star.tone(3) - 0.5)


def _lattice(u: Tensor, v: Tensor) -> Masks:
    """Overlapping circles in the manner of screens."""
    even, odd = cells(u, v, 4, 4), cells(u + 0.125, v + 0.125, 4, 4)
    first, second = band(even.radius() - 0.47, 0.07, 0.03), band(odd.radius() - 0.47, 0.07, 0.03)
    return soft(0.2 - even.radius(), 0.03), either(first, second), soft(0.12 - odd.radius(), 0.03)


def _houndstooth(u: Tensor, v: Tensor) -> Masks:
    grid = cells(u, v, 6, 6)
    warp, weft = band(centred(3 * u), 0.5, 0.02), band(centred(3 * v), 0.5, 0.02)
    twill = band(centred(6 * (u + v)), 0.5, 0.04)
    return (warp * weft + (warp + weft - 2 * warp * weft) * twill, 0.15 * grid.tone(1))


def _zebra(u: Tensor, v: Tensor) -> Masks:
    bend = noise(u, v, 3, 3)
    return soft(torch.sin(6.283 * (5 * v + 2.2 * bend)), 0.25), 0.25 * noise(u, v, 5, seed=2)


def _leopard(u: Tensor, v: Tensor) -> Masks:
    near, _, _ = stones(u, v, 7, 17)
    spot = near + 0.25 * (noise(u, v, 20, 2) - 0.5)
    return 0.5 * noise(u, v, 4), soft(0.34 - spot, 0.06), soft(0.34 - spot, 0.06) * soft(spot - 0.17, 0.06)


PRINTED = {
    "plain": _plain,
    "ramp": _ramp,
    "checks": _checks,
    "patchwork": _patchwork,
    "stripes": _stripes,
    "barcode": _barcode,
    "tartan": _tartan,
    "gingham": _gingham,
    "dots": _dots,
    "confetti": _confetti,
    "rings": _rings,
    "targets": _targets,
    "gradient": _gradient,
    "weave": _weave,
    "knit": _knit,
    "zigzag": _zigzag,
    "waves": _waves,
    "scales": _scales,
    "grid": _grid,
    "triangles": _triangles,
    "diamonds": _diamonds,
    "arcs": _arcs,
    "maze": _maze,
    "camouflage": _camouflage,
    "leaves": _leaves,
    "flowers": _flowers,
    "stars": _stars,
    "lattice": _lattice,
    "houndstooth": _houndstooth,
    "zebra": _zebra,
    "leopard": _leopard,
}
"""See `PATTERNS`."""

"""What patterns are drawn with: cells, soft edges and noise that repeat after one tile.

`u` (to the right) and `v` (down) are coordinates [s, s] in [0, 1); lengths are in tiles unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Masks = tuple[Tensor, ...]
_TABLE = 64
_EDGE = 0.006


@dataclass(frozen=True, eq=False)
class Cells:
    """A grid of cells: integer column `i` and row `j`, position `x`, `y` in the cell from -0.5 to 0.5."""

    i: Tensor
    j: Tensor
    x: Tensor
    y: Tensor

    def tone(self, seed: int = 0) -> Tensor:
        """A random number in [0, 1] per cell."""
        return tone(self.i, self.j, seed)

    def radius(self) -> Tensor:
        """Distance from the middle of the cell, in cells."""
        return torch.hypot(self.x, self.y)

    def joint(self, width: float, edge: float = 0.04) -> Tensor:
        """1 within `width` (in cells) of the border of a square cell."""
        return soft(width - (0.5 - torch.maximum(self.x.abs(), self.y.abs())), edge)


def cells(u: Tensor, v: Tensor, columns: int, rows: int, shift: float = 0.0) -> Cells:
    """`columns` x `rows` cells in a tile; every other row is shifted by `shift` cells."""
    j = (v * rows).floor()
    across = u * columns + shift * j.remainder(2)
    i = across.floor()
    return Cells(i.remainder(columns), j.remainder(rows), across - i - 0.5, v * rows - j - 0.5)


def tone(i: Tensor, j: Tensor, seed: int = 0) -> Tensor:
    """A random number in [0, 1] per integer column and row."""
    table = torch.from_numpy(np.random.default_rng(seed).random((_TABLE, _TABLE), dtype=np.float32))
    return table[j.long() % _TABLE, i.long() % _TABLE]


def soft(value: Tensor, edge: float = _EDGE) -> Tensor:
    """0 below zero, 1 above, with an edge that is `edge` wide: hard edges would alias."""
    return (value / edge + 0.5).clamp(0, 1)


def band(value: Tensor, width: float | Tensor, edge: float = _EDGE) -> Tensor:
    """1 where |value| is less than half of `width`."""
    return soft(width / 2 - value.abs(), edge)


def centred(value: Tensor) -> Tensor:
    """Distance to the nearest integer with its sign, in [-0.5, 0.5]."""
    return value - value.round()


def either(*masks: Tensor) -> Tensor:
    """The union of masks."""
    return torch.stack(masks).amax(0)


def noise(u: Tensor, v: Tensor, size: int, octaves: int = 4, seed: int = 0, stretch: int = 1) -> Tensor:
    """Fractal noise in [0, 1]; the largest features are 1/size of a tile wide, `stretch` times as long along v."""
    rng = np.random.default_rng([seed, size, stretch])
    total = sum(0.5**k * _lattice(u, v, rng, size * 2**k, max(1, size * 2**k // stretch)) for k in range(octaves))
    total = torch.as_tensor(total)
    return (0.5 + (total - total.mean()) / (4.2 * total.std())).clamp(0, 1)


def _lattice(u: Tensor, v: Tensor, rng: np.random.Generator, columns: int, rows: int) -> Tensor:
    values = torch.from_numpy(rng.random((rows, columns), dtype=np.float32))
    x, y = u * columns, v * rows
    i, j = x.long(), y.long()
    x, y = (step * step * (3 - 2 * step) for step in (x - i, y - j))
    upper = torch.lerp(values[j % rows, i % columns], values[j % rows, (i + 1) % columns], x)
    lower = torch.lerp(values[(j + 1) % rows, i % columns], values[(j + 1) % rows, (i + 1) % columns], x)
    return torch.lerp(upper, lower, y)


def stones(u: Tensor, v: Tensor, count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Irregular cells around `count`^2 scattered points.

    Returns:
        Distance to the nearest point, how much farther the second nearest is (both in grid cells; the latter is 0 on
        the borders), and a random number in [0, 1] per point.
    """
    grid = cells(u, v, count, count)
    first = second = torch.full_like(u, 9.0)
    owner = torch.zeros_like(u)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            i, j = (grid.i + di).remainder(count), (grid.j + dj).remainder(count)
            x = di + 0.8 * (tone(i, j, seed) - 0.5) - grid.x
            y = dj + 0.8 * (tone(i, j, seed + 100) - 0.5) - grid.y
            distance = torch.hypot(x, y)
            owner = torch.where(distance < first, tone(i, j, seed + 200), owner)
            second = torch.minimum(second, torch.maximum(first, distance))
            first = torch.minimum(first, distance)
    return first, second - first, owner


def scattered(u: Tensor, v: Tensor, count: int, seed: int = 0) -> Cells:
    """Cells whose middles are shifted and turned at random: for things smaller than a third of a cell."""
    grid = cells(u, v, count, count, 0.5)
    x, y = grid.x - 0.3 * (grid.tone(seed + 1) - 0.5), grid.y - 0.3 * (grid.tone(seed + 2) - 0.5)
    angle = 6.283 * grid.tone(seed + 3)
    return Cells(grid.i, grid.j, x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos())


def disc(u: Tensor, v: Tensor, x: float, y: float, radius: float) -> Tensor:
    """1 within `radius` of a point."""
    return soft(radius - torch.hypot(u - x, v - y))


def rectangle(u: Tensor, v: Tensor, left: float, top: float, right: float, bottom: float) -> Tensor:
    """1 between the given edges."""
    inside = torch.stack([u - left, right - u, v - top, bottom - v]).amin(0)
    return soft(inside)

"""Fractal noise in space: one look-up per point, whatever the number of octaves."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_SIDE = 64  # samples of the noise along each axis of the cube that repeats
_FEATURES = 8  # largest features along each axis of it
_SKEW = 0.37  # the cube stands askew: then no surface along the axes meets the same noise again
_OCTAVES = (4, 2)  # of the two channels: a rough one and a smooth one


def fractal_noise(points: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent noises [...] in [0, 1], rough and smooth, at `points` [3, ...]; largest features of size 1."""
    skewed = points + _SKEW * torch.stack([points[1], points[2], points[0]])
    x, y, z = (skewed * (_SIDE / _FEATURES)).remainder(_SIDE)
    slice_ = z.floor()
    rows = _SIDE * (_SIDE + 1) - 1
    row = (slice_ * (_SIDE + 1)).clamp(max=rows - _SIDE) + y  # rounding can make z the full side
    grid = torch.stack([x * (2 / _SIDE) - 1, row * (2 / rows) - 1], -1)
    field = _slices(points.device)
    found = torch.nn.functional.grid_sample(field, grid.reshape(1, 1, -1, 2), padding_mode="border", align_corners=True)
    rough, smooth, next_rough, next_smooth = found.reshape(4, *z.shape)
    step = z - slice_
    return torch.lerp(rough, next_rough, step), torch.lerp(smooth, next_smooth, step)


@lru_cache(maxsize=8)
def _slices(device: torch.device) -> Tensor:
    """[1, 4, side * (side + 1), side + 1]: slices of the cube below one another, each with the next in two channels.

    Two-dimensional look-ups are vectorised on CPUs, three-dimensional ones are not. Slices repeat their first row and
    column at the end.
    """
    cube = np.stack([_cube(seed, octaves) for seed, octaves in enumerate(_OCTAVES)])
    both = np.concatenate([cube, np.roll(cube, -1, 1)])
    padded = np.pad(both, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="wrap")
    return torch.from_numpy(padded.reshape(1, 4, -1, _SIDE + 1)).to(device)


def _cube(seed: int, octaves: int) -> np.ndarray:
    """Fractal noise [side, side, side] of z, y, x that repeats."""
    rng = np.random.default_rng(seed)
    total = sum(0.5**k * _lattice_noise(rng, _FEATURES * 2**k) for k in range(octaves))
    return np.clip(0.5 + (total - np.mean(total)) / (4.2 * np.std(total)), 0, 1).astype(np.float32)


def _lattice_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Random values on `cells`^3 points, smoothly interpolated."""
    values = rng.random((cells,) * 3)
    position = np.arange(_SIDE) * cells / _SIDE
    low = position.astype(int)
    step = position - low
    step = step * step * (3 - 2 * step)
    for axis in range(3):
        weight = step.reshape([-1 if k == axis else 1 for k in range(3)])
        values = (1 - weight) * values.take(low, axis) + weight * values.take((low + 1) % cells, axis)
    return values

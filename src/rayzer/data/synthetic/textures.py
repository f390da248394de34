"""Solid textures: patterns in the local coordinates of a solid, so that they stick to it.

A pattern maps surface coordinates and noise to a mix in [0, 1], and the mix picks a colour of a ramp of
three. A new pattern is one more entry of `PATTERNS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rayzer.data.synthetic.records import TensorRecord

Color = tuple[float, float, float]
_LATTICE = 32  # noise repeats after this many of its largest features
_EDGE = 0.03  # width of the soft edges in patterns, in repeats: hard edges would alias far away


@dataclass(frozen=True)
class Material:
    """How one surface looks.

    Attributes:
        pattern: a key of `PATTERNS`.
        colors: ramp of three sRGB colours in [0, 1].
        repeat_m: size of one repeat of the pattern along u and v, metres.
        noise_m: size of the largest features of the noise along local x, y, z, metres.
        grain: relative change of brightness by the noise, in [0, 1].
        gloss: strength of the highlight, 0 for matte.
        glow: light that the surface sends out itself, relative to its colour.
        offset: where in the (endless) noise this material is cut from, in features.
    """

    pattern: str
    colors: tuple[Color, Color, Color]
    repeat_m: tuple[float, float] = (1.0, 1.0)
    noise_m: tuple[float, float, float] = (0.5, 0.5, 0.5)
    grain: float = 0.15
    gloss: float = 0.0
    glow: float = 0.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class MaterialTable(TensorRecord):
    """Materials as tensors of [m, ...]: the fields of `Material`, `pattern` as its position in `PATTERNS`."""

    pattern: Tensor
    colors: Tensor
    repeat_m: Tensor
    noise_m: Tensor
    grain: Tensor
    gloss: Tensor
    glow: Tensor
    offset: Tensor

    @staticmethod
    def of(materials: Sequence[Material]) -> MaterialTable:
        """Collect materials; colours become linear light."""
        columns = {field.name: [getattr(item, field.name) for item in materials] for field in fields(Material)}
        names = list(PATTERNS)
        pattern = torch.tensor([names.index(name) for name in columns.pop("pattern")])
        tensors = {name: torch.tensor(column, dtype=torch.float32) for name, column in columns.items()}
        tensors["colors"] = tensors["colors"] ** 2.2
        return MaterialTable(pattern, **tensors)

    def albedo(self, index: Tensor, local: Tensor, uv: Tensor) -> Tensor:
        """Linear RGB [..., r, 3] of materials `index` [..., r] at local points [..., r, 3], uv [..., r, 2]."""
        noise = fractal_noise(local / self.noise_m[index] + self.offset[index])
        scaled = uv / self.repeat_m[index]
        mix = _mix(self.pattern[index], scaled, noise)[..., None]
        low, middle, high = self.colors[index].unbind(-2)
        color = low + (middle - low) * (2 * mix).clamp(max=1) + (high - middle) * (2 * mix - 1).clamp(min=0)
        return color * (1 + self.grain[index] * (2 * noise - 1))[..., None]


def _mix(pattern: Tensor, uv: Tensor, noise: Tensor) -> Tensor:
    """Mix [...] in [0, 1] of the patterns numbered [...] at `uv` [..., 2] in repeats."""
    functions = list(PATTERNS.values())
    mix = torch.zeros_like(noise)
    for number in pattern.unique().tolist():
        mix = torch.where(pattern == number, functions[number](uv, noise), mix)
    return mix


def fractal_noise(points: Tensor, octaves: int = 4) -> Tensor:
    """Smooth noise in [0, 1] with features of size 1, 1/2, 1/4, ... at `points` [..., 3] -> [...]."""
    total = torch.stack([0.5**k * _value_noise(points * 2**k + 7.3 * k) for k in range(octaves)]).sum(0)
    mean, spread = 0.5, 2.0  # averages of random values crowd around 1/2: stretch them again
    return ((total / (2 - 0.5 ** (octaves - 1)) - mean) * spread + mean).clamp(0, 1)


def _value_noise(points: Tensor) -> Tensor:
    """Random values on a lattice, smoothly interpolated; [..., 3] -> [...]."""
    cell = points.floor()
    step = points - cell
    wrapped = cell.remainder(_LATTICE) + step * step * (3 - 2 * step)
    grid = (wrapped * (2 / _LATTICE) - 1).reshape(1, -1, 1, 1, 3)
    lattice = _lattice(points.device)[None, None]
    sampled = torch.nn.functional.grid_sample(lattice, grid, padding_mode="border", align_corners=True)
    return sampled.reshape(points.shape[:-1])


@lru_cache(maxsize=8)
def _lattice(device: torch.device) -> Tensor:
    """The same random values for everybody, [33, 33, 33]: the last repeat the first."""
    values = np.random.default_rng(0).random((_LATTICE,) * 3, dtype=np.float32)
    return torch.from_numpy(np.pad(values, (0, 1), mode="wrap")).to(device)


def _step(value: Tensor, edge: float = _EDGE) -> Tensor:
    """0 below zero, 1 above, with a soft edge."""
    return (value / edge + 0.5).clamp(0, 1)


def _cell_tone(cell: Tensor) -> Tensor:
    """A random number in [0, 1] per integer cell [..., 2] -> [...]."""
    column, row = cell.long().remainder(_LATTICE).unbind(-1)
    return _lattice(cell.device)[3, row, column]


def _courses(uv: Tensor, gap: float) -> tuple[Tensor, Tensor]:
    """Bricks in running bond: (1 in the gaps of relative height `gap`, tone of each brick)."""
    row = uv[..., 1].floor()
    across = torch.stack([uv[..., 0] + _cell_tone(torch.stack([row, row * 0], -1)), uv[..., 1]], -1)
    to_edge = 0.5 - (across - across.floor() - 0.5).abs()
    narrow = to_edge[..., 0] * 3  # bricks and planks are at least three times as long as high
    joint = _step(gap - torch.minimum(narrow, to_edge[..., 1]), 2 * _EDGE)
    return joint, _cell_tone(across.floor())


def _plain(uv: Tensor, noise: Tensor) -> Tensor:
    return 0.3 * noise


def _clouds(uv: Tensor, noise: Tensor) -> Tensor:
    return _step(noise - 0.5, 0.6)


def _veins(uv: Tensor, noise: Tensor) -> Tensor:
    return 1 - ((noise - 0.5).abs() * 9).clamp(0, 1).sqrt()


def _checks(uv: Tensor, noise: Tensor) -> Tensor:
    side = (uv.remainder(1) - 0.5).abs() - 0.25
    u, v = _step(side).unbind(-1)
    return 0.5 * (u + v - 2 * u * v) + 0.1 * noise


def _stripes(uv: Tensor, noise: Tensor) -> Tensor:
    side = 2 * (uv[..., 0].remainder(1) - 0.5).abs()
    return 0.5 * _step(side - 0.45, 2 * _EDGE) + 0.5 * _step(side - 0.85, 2 * _EDGE)


def _bands(uv: Tensor, noise: Tensor) -> Tensor:
    return _stripes(uv.flip(-1), noise)


def _bricks(uv: Tensor, noise: Tensor) -> Tensor:
    joint, tone = _courses(uv, 0.08)
    return torch.lerp(0.35 * tone + 0.15 * noise, torch.ones_like(noise), joint)


def _planks(uv: Tensor, noise: Tensor) -> Tensor:
    joint, tone = _courses(uv, 0.015)
    return torch.lerp(0.3 * tone + 0.25 * noise, torch.ones_like(noise), joint)


def _dots(uv: Tensor, noise: Tensor) -> Tensor:
    middle = uv.remainder(1) - 0.5
    return 0.5 * _step(0.28 - middle.norm(dim=-1)) + 0.1 * noise


def _rings(uv: Tensor, noise: Tensor) -> Tensor:
    radius = uv.norm(dim=-1)
    return _stripes(torch.stack([radius, radius], -1), noise)


def _gradient(uv: Tensor, noise: Tensor) -> Tensor:
    return (uv[..., 1] + 0.5 + 0.25 * (noise - 0.5)).clamp(0, 1)


def _hills(uv: Tensor, noise: Tensor) -> Tensor:
    """A painted landscape: ridges before a sky that changes towards the horizon."""
    u, v = uv.unbind(-1)
    far = _step(v - 0.08 * torch.sin(7 * u) - 0.05 * torch.sin(17 * u + 1))
    near = _step(v - 0.25 - 0.1 * torch.sin(5 * u + 2) - 0.1 * (noise - 0.5))
    return 0.35 * (v + 0.5).clamp(0, 1) * (1 - far) + far * (0.5 + 0.1 * noise) + 0.4 * near


PATTERNS = {
    "plain": _plain,
    "clouds": _clouds,
    "veins": _veins,
    "checks": _checks,
    "stripes": _stripes,
    "bands": _bands,
    "bricks": _bricks,
    "planks": _planks,
    "dots": _dots,
    "rings": _rings,
    "gradient": _gradient,
    "hills": _hills,
}
"""(uv [..., 2] in repeats from the middle of the face, noise [...] in [0, 1]) -> mix [...] in [0, 1]."""

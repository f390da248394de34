"""Patches, position codes and the small networks that make tokens."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.geometry.rays import plucker_map

PositionCode = Literal["row_column", "reference", "none"]


def patchify(maps: Tensor, patch_size: int) -> Tensor:
    """[..., c, h, w] -> [..., n, p p c]: patches row by row, each flattened row, column, channel (fastest)."""
    return rearrange(maps, "... c (i ph) (j pw) -> ... (i j) (ph pw c)", ph=patch_size, pw=patch_size)


def unpatchify(patches: Tensor, height: int, patch_size: int) -> Tensor:
    """[..., n, p p c] -> [..., c, h, w], the inverse of `patchify` for pictures `height` pixels high."""
    rows = height // patch_size
    return rearrange(patches, "... (i j) (ph pw c) -> ... c (i ph) (j pw)", i=rows, ph=patch_size, pw=patch_size)


def position_code(positions: Tensor, width: int) -> Tensor:
    """1D sine-cosine code `[sin(x f_k)..., cos(x f_k)...]`, `f_k = 10000^(-k / (width / 2))`, in float32.

    Args:
        positions: [...] any numbers.
        width: even.

    Returns:
        [..., width] float32.
    """
    phase = positions.float()[..., None] * _frequencies(width, positions.device)
    return torch.cat([phase.sin(), phase.cos()], -1)


@functools.cache  # so that no step copies them to a GPU, which waits for all work before
def _frequencies(width: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        k = torch.arange(width // 2, dtype=torch.float64, device="cpu")
        return (10000.0 ** (-k / (width // 2))).float().to(device)


def token_code(positions: Tensor, rows: int, columns: int, width: int, order: PositionCode) -> Tensor:
    """Code of every token's place in its picture and of its picture's index, before the MLP.

    Args:
        positions: [b, v] index of each view.
        rows, columns: tokens per picture.
        width: d; each of row and column gets d / 4, the index d / 2.
        order: "row_column", or "reference": the reference divides the token's number by the number of *rows*, which
            gives row and column only where pictures are square.

    Returns:
        [b, v, rows * columns, width] float32.
    """
    number = torch.arange(rows * columns, device=positions.device)
    divisor = rows if order == "reference" else columns
    place = torch.cat([position_code(number // divisor, width // 4), position_code(number % divisor, width // 4)], -1)
    index = position_code(positions, width // 2)
    b, v = positions.shape
    return torch.cat([place.expand(b, v, -1, -1), index[:, :, None].expand(-1, -1, rows * columns, -1)], -1)


def mlp(width_in: int, width: int, width_out: int, std: float = 0.02) -> nn.Sequential:
    """Linear - SiLU - Linear; weights N(0, std), biases zero at first."""
    first, second = nn.Linear(width_in, width), nn.Linear(width, width_out)
    for linear in (first, second):
        nn.init.normal_(linear.weight, std=std)
        nn.init.zeros_(linear.bias)
    return nn.Sequential(first, nn.SiLU(), second)


class PatchEmbedding(nn.Linear):
    """A linear map without bias, N(0, 0.02) at first, from the patches of [b, v, c, h, w] maps to tokens."""

    def __init__(self, channels: int, patch_size: int, width: int):
        super().__init__(channels * patch_size**2, width, bias=False)
        nn.init.normal_(self.weight, std=0.02)
        self.patch_size = patch_size

    def forward(self, input: Tensor) -> Tensor:
        """Maps [b, v, c, h, w] -> tokens [b, v, n, d]."""
        return super().forward(patchify(input, self.patch_size).to(self.weight.dtype))


class RayEmbedding(PatchEmbedding):
    """From the rays through the pixels of each patch, in Pluecker coordinates, to tokens."""

    def __init__(self, patch_size: int, width: int):
        super().__init__(6, patch_size, width)

    def forward(self, cameras: Cameras, height: int, width: int) -> Tensor:  # type: ignore[override]
        """Cameras [b, v] of pictures of so many pixels -> tokens [b, v, n, d]."""
        return super().forward(plucker_map(cameras, height, width))

"""Pictures as losses and metrics take them."""

from __future__ import annotations

import torch
from torch import Tensor


def comparable(a: Tensor, b: Tensor, smallest_px: int = 1) -> tuple[Tensor, Tensor]:
    """Two sets of pictures [n, 3, h, w] in float32 or better.

    Raises:
        ValueError: if their shapes differ (they would be broadcast) or a side is shorter than `smallest_px`.
    """
    if a.ndim != 4 or a.shape != b.shape:
        raise ValueError(f"pictures must be [n, 3, h, w] of one shape, got {list(a.shape)} and {list(b.shape)}")
    if min(a.shape[-2:]) < smallest_px:
        raise ValueError(
            f"pictures must have at least {smallest_px}x{smallest_px} pixels (h x w), got {list(a.shape[-2:])}"
        )
    dtype = torch.promote_types(full_precision(a), full_precision(b))
    return a.to(dtype), b.to(dtype)


def full_precision(x: Tensor) -> torch.dtype:
    """The dtype to average in: float32, or float64 where that is what we were given."""
    return torch.promote_types(x.dtype, torch.float32)

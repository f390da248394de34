"""Geometry is computed in full precision, whatever autocast says around it; and what that precision is worth."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def outside_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Run `function` with autocast off: in bfloat16 a ray would be wrong by about half a pixel."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with _off("cpu"), _off("cuda"), _off("mps"):
            return function(*args, **kwargs)

    return wrapper


def rounding(coordinates: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """The distance below which points are one point: about the rounding errors of coordinates as large as these.

    Relative to the coordinates, so that no unit of length is hidden in a threshold.
    """
    return 32 * torch.finfo(coordinates.dtype).eps * coordinates.abs().amax(dim)


def _off(device: str) -> torch.autocast:
    return torch.autocast(device, enabled=False)

"""Geometry is computed in full precision, whatever autocast says around it; and what that precision is worth."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


_under_autocast = False  # see reference_precision


def outside_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Run `function` with autocast off: in bfloat16 a ray would be wrong by about half a pixel."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        if _under_autocast:
            return function(*args, **kwargs)
        with _off("cpu"), _off("cuda"), _off("mps"):
            return function(*args, **kwargs)

    return wrapper


@contextmanager
def reference_precision() -> Iterator[None]:
    """Inside, cameras and rays are computed under autocast, as the reference does: to reproduce its scores only."""
    global _under_autocast
    _under_autocast = True
    try:
        yield
    finally:
        _under_autocast = False


def as_multiplied(x: Tensor) -> Tensor:
    """What goes into or comes out of a product of matrices: inside `reference_precision` rounded to bfloat16."""
    return x.bfloat16().to(x.dtype) if _under_autocast else x


def rounding(coordinates: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """The distance below which points are one point: about the rounding errors of coordinates as large as these.

    Relative to the coordinates, so that no unit of length is hidden in a threshold.
    """
    return 32 * torch.finfo(coordinates.dtype).eps * coordinates.abs().amax(dim)


def _off(device: str) -> torch.autocast:
    return torch.autocast(device, enabled=False)

"""Frozen records of tensors that move between devices as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor


class TensorRecord:
    """Base of frozen dataclasses whose fields are tensors, further records, tuples of records or constants."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same record with `function` applied to every tensor in it."""
        return type(self)(**{name: _map(value, function) for name, value in vars(self).items()})

    def to(self, device: str | torch.device) -> Self:
        """The same record on another device."""
        return self.map(lambda value: value.to(device))


def _map(value, function: Callable[[Tensor], Tensor]):
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, TensorRecord):
        return value.map(function)
    return tuple(_map(item, function) for item in value) if isinstance(value, tuple) else value

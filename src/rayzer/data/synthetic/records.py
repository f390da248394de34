"""Frozen records of tensors that move between devices as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
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

    def single(self) -> Self:
        """The same record in float32: rooms are composed in float64 but cast and shaded in float32."""
        return self.map(lambda value: value.float() if value.is_floating_point() else value)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: values, because between processes every tensor would take a shared file and milliseconds."""
        return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        tensors = {name: torch.from_numpy(value) for name, value in state.items() if isinstance(value, np.ndarray)}
        vars(self).update(state | tensors)


def _map(value, function: Callable[[Tensor], Tensor]):
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, TensorRecord):
        return value.map(function)
    return tuple(_map(item, function) for item in value) if isinstance(value, tuple) else value

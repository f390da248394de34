"""Which views a scene is made from, and which are rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor

from rayzer.geometry.cameras import Cameras

PerView = TypeVar("PerView", Tensor, Cameras)


@dataclass(frozen=True, eq=False)
class ViewSplit:
    """Context and target views of every sample, as indices from 0 among the `v` views of that sample.

    Attributes:
        context: int64 [b, c], the views that the scene is reconstructed from.
        target: int64 [b, t], the views that are rendered.

    Raises:
        ValueError: if a tensor is not int64 of two dimensions, is empty, or the batch sizes differ.
    """

    context: Tensor
    target: Tensor

    def __post_init__(self) -> None:
        for name, indices in (("context", self.context), ("target", self.target)):
            if indices.dtype != torch.int64 or indices.ndim != 2 or indices.numel() == 0:
                raise ValueError(
                    f"ViewSplit.{name} must be int64 [batch, views], got {indices.dtype} {list(indices.shape)}"
                )
        if len(self.context) != len(self.target):
            raise ValueError(f"ViewSplit has {len(self.context)} samples in context and {len(self.target)} in target")

    def context_of(self, views: PerView) -> PerView:
        """The context views of tensors [b, v, ...] or cameras [b, v]: [b, c, ...]."""
        return _take(views, self.context)

    def target_of(self, views: PerView) -> PerView:
        """The target views of tensors [b, v, ...] or cameras [b, v]: [b, t, ...]."""
        return _take(views, self.target)

    def to(self, device: torch.device | str) -> ViewSplit:
        """The same split on another device."""
        return ViewSplit(self.context.to(device), self.target.to(device))


def _take(views: PerView, indices: Tensor) -> PerView:
    if len(views) != len(indices):  # else the first samples would be taken, unnoticed
        raise ValueError(f"ViewSplit is of {len(indices)} samples, the views are of {len(views)}")
    batch = torch.arange(len(indices), device=indices.device)[:, None]
    return cast(PerView, views[batch, indices])

"""Muon for models of many equal matrices."""

# torch's optimisers call these functions of lists, which have no public name:
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate


class BatchedMuon(torch.optim.Muon):
    """`torch.optim.Muon`, whose matrices of one shape are made orthogonal together.

    One by one, the products of some hundred small matrices keep a GPU waiting for their launches: 93 ms a step at 16 M
    parameters, where all else took 105 (docs/log.md). Results differ by the rounding of bfloat16 products. It knows
    Nesterov's momentum and AdamW's update size ("match_rms_adamw") only.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all matrices that have a gradient."""
        for group in self.param_groups:
            for matrices in _by_shape(p for p in group["params"] if p.grad is not None):
                self._update(matrices, group)

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in matrices if p.grad is not None]
        momenta = [self._momentum(p) for p in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])  # type: ignore
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])  # type: ignore
        stacked = torch.stack([_whole(matrix).bfloat16() for matrix in ahead])
        updates = orthogonalized(stacked, group["ns_coefficients"], group["ns_steps"], group["eps"])
        parts = [_like(update, p) for update, p in zip(updates.to(matrices[0].dtype).unbind(), matrices, strict=True)]
        rate = group["lr"] * 0.2 * math.sqrt(max(matrices[0].shape))
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])  # type: ignore
        torch._foreach_add_(matrices, parts, alpha=-rate)  # type: ignore

    def _momentum(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad, memory_format=torch.preserve_format)  # type: ignore[arg-type]
        return state["momentum_buffer"]


def orthogonalized(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Newton-Schulz iteration: matrices [k, m, n] (bfloat16) with all singular values brought near 1."""
    a, b, c = coefficients
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def _by_shape(matrices: Iterable[Tensor]) -> list[list[Tensor]]:
    groups: dict[torch.Size, list[Tensor]] = defaultdict(list)
    for matrix in matrices:
        groups[matrix.shape].append(matrix)
    return list(groups.values())


def _whole(matrix: Tensor) -> Tensor:
    """A matrix of which processes hold parts, gathered."""
    return matrix.full_tensor() if isinstance(matrix, DTensor) else matrix


def _like(update: Tensor, matrix: Tensor) -> Tensor:
    """This process's part of an update that all have whole."""
    if not isinstance(matrix, DTensor):
        return update
    everywhere = [Replicate()] * matrix.device_mesh.ndim
    return DTensor.from_local(update, matrix.device_mesh, everywhere).redistribute(placements=matrix.placements)

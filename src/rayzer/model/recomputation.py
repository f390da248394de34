"""What a block keeps for its backward pass, and what it computes again to save memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

Recomputation = Literal["all", "selective", "none"]

ATTENTION = (
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
)


def recomputed(mode: Recomputation, function: Callable[..., Tensor], *arguments) -> Tensor:
    """Call a function; the mode decides what its backward pass finds in memory. The results are the same.

    Args:
        mode: "all" keeps the arguments alone; "selective" also the results of attention, of the projections to queries,
            keys and values, and of the projection after it, so that only what is cheap or large is computed again;
            "none" keeps whatever the derivatives need.
        function: of tensors; free of random numbers.
    """
    if mode == "none":
        return function(*arguments)
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    if mode == "selective":
        options["context_fn"] = _selective_contexts
    return checkpoint(function, *arguments, **options)  # type: ignore[arg-type]


def _selective_contexts():
    return create_selective_checkpoint_contexts(_policy)


def _policy(context, operator, *arguments, **options) -> CheckpointPolicy:
    is_attention = operator in ATTENTION or operator.name() == "flex_attention"
    if is_attention or (operator is torch.ops.aten.mm.default and _is_narrow(*arguments)):
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


def _is_narrow(tokens: Tensor, weight: Tensor) -> bool:
    """Whether a product is one of the attention layer: those of the MLP widen or narrow its input fourfold."""
    width_in, width_out = weight.shape
    return width_in <= width_out < 4 * width_in

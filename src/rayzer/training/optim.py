"""The optimiser of the reference recipe: parameter groups, schedule, and the rule for skipping steps."""

from __future__ import annotations

import math

import torch
from torch import nn

from rayzer.training.recipe import OptimizerConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW in two groups: tensors with more than one dimension are decayed, the others are not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps)


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate used at `step` (from 0) of `steps`: linear warm-up from 0, then half a cosine."""
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    share = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * share


def is_skipped(step: int, gradient_norm: float, config: OptimizerConfig) -> bool:
    """Whether the update at `step` (from 0) is left out because its gradient is too large or not finite."""
    if not math.isfinite(gradient_norm):
        return True
    return step + 1 > config.skip_after and gradient_norm > config.skip_norm

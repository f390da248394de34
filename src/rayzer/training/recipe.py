"""What fixes a training run, apart from the model (RayZer paper, section 4.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rayzer.data.view_sampling import ViewConfig
from rayzer.errors import InputError


def _require(name: str, value: Any, holds: bool, form: str) -> None:
    if not holds:
        raise InputError(f"training.{name} = {value}: must be {form}")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay, clipped gradients, and skipped steps.

    Attributes:
        learning_rate: the peak.
        final_learning_rate: where the cosine ends: 0 in the released code, 1.5e-4 in the paper.
        warmup_steps: linear from 0.
        betas, eps: of AdamW.
        weight_decay: of tensors with more than one dimension (learned tokens included).
        clip_norm: largest gradient norm of an update.
        skip_norm: a step whose norm before clipping is larger is skipped; the schedule advances all the same.
        skip_after: the first this many steps are never skipped.
    """

    learning_rate: float = 4e-4
    final_learning_rate: float = 0.0
    warmup_steps: int = 3000
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    skip_norm: float = 2.0
    skip_after: int = 100

    def __post_init__(self) -> None:
        for name in ("learning_rate", "final_learning_rate", "weight_decay"):
            value = getattr(self, name)
            _require(f"optimizer.{name}", value, 0 <= value < math.inf, "a finite number of at least 0")
        _require("optimizer.warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "at least 0")
        _require("optimizer.betas", self.betas, all(0 <= beta < 1 for beta in self.betas), "at least 0 and below 1")
        for name in ("eps", "clip_norm", "skip_norm"):
            _require(f"optimizer.{name}", getattr(self, name), getattr(self, name) > 0, "above 0")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of the loss; 0 leaves a term out."""

    mse: float = 1.0
    perceptual: float = 0.2
    lpips: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mse", "perceptual", "lpips"):
            value = getattr(self, name)
            _require(f"loss.{name}", value, 0 <= value < math.inf, "a finite number of at least 0")


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        steps: optimiser steps.
        output_dir: where checkpoints and logs go.
        checkpoint_every: steps between checkpoints.
        bf16: autocast to bfloat16 on a GPU.
    """

    steps: int = 100_000
    output_dir: str = "runs/rayzer"
    checkpoint_every: int = 2000
    bf16: bool = True
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    views: ViewConfig = ViewConfig()

    def __post_init__(self) -> None:
        _require("steps", self.steps, self.steps >= 1, "at least 1")
        _require("checkpoint_every", self.checkpoint_every, self.checkpoint_every >= 1, "at least 1")
        _require("output_dir", self.output_dir, bool(self.output_dir.strip()), "the name of a folder")

"""The optimiser: parameter groups, schedule, clipping, and the rule for skipping steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from rayzer.errors import InputError
from rayzer.model.transformer import Stack
from rayzer.training.muon import BatchedMuon
from rayzer.training.recipe import OptimizerConfig

REMEMBERED = {torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"), BatchedMuon: ("momentum_buffer",)}


class Optimizer:
    """AdamW, alone or beside Muon; its state has names, so that it can be stored and moved between process counts.

    Attributes:
        parts: the optimisers of torch that share the parameters.
        names: of all parameters that are trained.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig):
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        matrices = _matrices(model) if config.kind == "muon" else set()
        rest = [p for p in named.values() if p not in matrices]
        self.names: dict[Tensor, str] = {p: name for name, p in named.items()}
        self.parts: list[torch.optim.Optimizer] = [_adamw(rest, config)] if rest else []
        if matrices:
            self.parts.append(_muon([p for p in named.values() if p in matrices], config))

    has_stepped = False  # in this process

    def step(self, learning_rate: float) -> None:
        """Update all parameters from their gradients."""
        self.has_stepped = True
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self.parts:
            part.zero_grad()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Everything that is remembered between steps, as `<parameter>/<kind>`; empty before the first update."""
        for part in self.parts:
            for parameter, state in part.state.items():
                for kind, value in state.items():
                    yield f"{self.names[parameter]}/{kind}", value

    def restore(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Take over what `tensors` gave, of this or another process.

        Raises:
            InputError: if it was given by another kind of optimiser.
        """
        parameters = {name: p for p, name in self.names.items()}
        owners = {p: part for part in self.parts for group in part.param_groups for p in group["params"]}
        for name, value in tensors:
            parameter_name, _, kind = name.rpartition("/")
            parameter = parameters[parameter_name]
            if kind not in REMEMBERED[type(owners[parameter])]:
                raise InputError(
                    f"{name}: state of another optimiser; give the same training.optimizer.kind, or take the weights "
                    "alone with training.init_from"
                )
            on_host = kind == "step" and not owners[parameter].defaults.get("fused")
            owners[parameter].state[parameter][kind] = value if on_host else value.to(parameter.device)


def _matrices(model: nn.Module) -> set[nn.Parameter]:
    """The matrices of the transformers' blocks: what Muon is for (not embeddings, tokens and heads)."""
    stacks = (module for module in model.modules() if isinstance(module, Stack))
    return {p for stack in stacks for p in stack.parameters() if p.ndim == 2 and p.requires_grad}


def _adamw(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    """Two groups: tensors with more than one dimension are decayed, the others are not."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = parameters[0].is_cuda or None
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, fused=fused)


def _muon(matrices: list[nn.Parameter], config: OptimizerConfig) -> BatchedMuon:
    return BatchedMuon(
        matrices,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        adjust_lr_fn="match_rms_adamw",
    )


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate used at `step` (from 0) of `steps`: linear warm-up from 0, then cosine or stable and decay."""
    if step < config.warmup_steps and config.schedule == "cosine":
        return config.learning_rate * step / config.warmup_steps
    if config.schedule == "cosine":
        done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
        share = (1 + math.cos(math.pi * min(1.0, done))) / 2
    else:
        share = min(1.0, max(0.0, (steps - step) / max(1.0, config.decay_share * steps)))
        if step < config.warmup_steps:
            return min(config.learning_rate * step / config.warmup_steps, config.learning_rate * share)
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * share


def is_skipped(step: int, gradient_norm: float, config: OptimizerConfig) -> bool:
    """Whether the update at `step` (from 0) is left out because its gradient is too large or not finite."""
    if not math.isfinite(gradient_norm):
        return True
    return step + 1 > config.skip_after and gradient_norm > config.skip_norm


def clip_gradients(model: nn.Module, clip_norm: float) -> Tensor:
    """Scale all gradients so that their norm is at most `clip_norm`; the norm before, which is not waited for."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[operator]


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, decay: float, updates: int) -> None:
    """Move an exponential moving average of the weights on by one update.

    It follows fast at first: `min(decay, (1 + updates) / (10 + updates))`, so that the start is soon forgotten.
    """
    decay = min(decay, (1 + updates) / (10 + updates))
    weights = dict(model.named_parameters())
    get_ema_multi_avg_fn(decay)(list(average.values()), [weights[name].detach() for name in average], updates)

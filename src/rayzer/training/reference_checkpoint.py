"""Continuing a training run of the reference implementation, its optimiser included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rayzer.errors import InputError
from rayzer.files import read_tensors
from rayzer.model.reference_names import IGNORED_PREFIX, reference_name_of
from rayzer.training.state import TrainingState

KINDS = ("step", "exp_avg", "exp_avg_sq")


def continue_reference(state: TrainingState, path: Path) -> None:
    """Take over AdamW's state and the step of a training file of the reference, whose weights the model has already.

    Its optimiser knows parameters by number only: those with more than one dimension and the others in two groups,
    each in the order of the model's state dict.

    Raises:
        InputError: if the file has no optimiser, or it does not fit.
    """
    found = read_tensors(path)
    content = found if isinstance(found, Mapping) else {}
    schedule = content.get("lr_scheduler")
    passes = content.get("fwdbwd_pass_step")  # several a step where gradients are accumulated
    steps = schedule.get("last_epoch", passes) if isinstance(schedule, Mapping) else passes
    updates = content.get("param_update_step", steps)
    if not isinstance(content.get("optimizer"), Mapping) or not isinstance(steps, int) or not isinstance(updates, int):
        raise InputError(
            f"{path}: holds no optimiser and step to continue from; take its weights alone with training.init_from"
        )
    if len(state.optimizer.parts) > 1:
        raise InputError(f"{path}: its optimiser is AdamW; continue with training.optimizer.kind=adamw")
    plain = {name.removeprefix("module."): value for name, value in content["model"].items()}
    weights = {name: value for name, value in plain.items() if not name.startswith(IGNORED_PREFIX)}
    state.restore_optimizer(_named(_states(content["optimizer"], weights, path), state))
    state.step = state.validated = steps
    state.updates = updates


def _states(optimizer: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """What AdamW remembers of every parameter, by its reference name."""
    decayed = [name for name, value in weights.items() if value.ndim > 1]
    others = [name for name, value in weights.items() if value.ndim <= 1]
    for names in ([*decayed, *others], [*others, *decayed], list(weights)):
        states = {name: optimizer["state"].get(number, {}) for number, name in enumerate(names)}
        if len(optimizer["state"]) == len(names) and all(_fits(states[name], weights[name]) for name in names):
            return states
    raise InputError(f"{path}: the state of its optimiser does not fit its weights")


def _fits(state: Mapping[str, Tensor], weight: Tensor) -> bool:
    return all(kind in state and state[kind].shape in (weight.shape, ()) for kind in KINDS) and (
        state["exp_avg"].shape == weight.shape
    )


def _named(states: Mapping[str, Mapping[str, Tensor]], state: TrainingState):
    ours = {reference_name_of(name, state.model): name for name in state.model.state_dict()}
    for name, values in states.items():
        for kind in KINDS:
            yield f"{ours[name]}/{kind}", values[kind]

"""From a configuration to everything that a training loop needs, new or where an earlier run stopped."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import rayzer
from rayzer.data.bad_data import BadData
from rayzer.devices import device_name
from rayzer.errors import InputError
from rayzer.model.acceleration import compile_blocks, set_recomputation
from rayzer.model.weights import Model, build_model, initialise
from rayzer.training.checkpoints import Checkpoints, damage, read_state
from rayzer.training.distributed import World, distribute
from rayzer.training.feed import Feed, training_samples
from rayzer.training.log import RunLog, open_log
from rayzer.training.loss import TrainingLoss
from rayzer.training.optim import Optimizer
from rayzer.training.recipe import TrainingConfig
from rayzer.training.reference_checkpoint import continue_reference
from rayzer.training.run_folder import RunConfig
from rayzer.training.state import TrainingState, seed_everything
from rayzer.training.step import Trainer
from rayzer.training.validation import Validation

Report = Callable[..., None]


@dataclass
class Run:
    """A run that is ready for its next step."""

    config: RunConfig
    world: World
    trainer: Trainer
    state: TrainingState
    feed: Feed
    checkpoints: Checkpoints
    validation: Validation | None
    log: RunLog
    environment: dict[str, Any]


@contextmanager
def set_up(
    config: RunConfig, world: World, folder: Path, checkpoints: Checkpoints, newest: Path | None, report: Report
) -> Iterator[Run]:
    """Build everything; what is wrong with the input is found before anything long begins.

    Args:
        folder: of the run.
        newest: the verified checkpoint to resume from, or None to begin.
        report: takes events.

    Raises:
        InputError: if something that the user gave cannot be used.
    """
    recipe = config.training
    first_step = 0 if newest is None else read_state(newest)["step"]
    stream = training_samples(config.model, recipe, range(first_step, recipe.steps))
    validation = Validation(config.model, recipe, world) if recipe.validation.every else None
    loss = TrainingLoss.from_config(recipe.loss).for_speed(world.device, recipe.bf16, recipe.compile)
    state, trainer = build(config, world, loss, newest, checkpoints.before_update)
    feed = Feed(stream, range(state.step, recipe.steps), recipe, world, state.bad_data, report)
    environment = describe(world, loss)
    with open_log(folder, config, world, trainer, state.step, report) as run_log:
        report("start", resumed_from=None if newest is None else newest.name, step=state.step, **environment)
        yield Run(config, world, trainer, state, feed, checkpoints, validation, run_log, environment)


def build(
    config: RunConfig,
    world: World,
    loss: TrainingLoss,
    newest: Path | None = None,
    before_update: Callable[[], None] = lambda: None,
) -> tuple[TrainingState, Trainer]:
    """Model, optimiser and what calls them, with the weights that the configuration or a checkpoint gives.

    Raises:
        InputError: if weights or optimiser state are to come from a file that cannot be used.
    """
    recipe = config.training
    seed_everything(recipe.seed, -1, 0)  # all processes draw the same first weights
    model = build_model(config.model)
    going_on = Path(recipe.continue_from) if recipe.continue_from and newest is None else None
    from_reference = going_on is not None and going_on.suffix == ".pt"
    if newest is None and (recipe.init_from or from_reference):
        initialise(model, recipe.init_from or recipe.continue_from)
    set_recomputation(model, recipe.recompute)
    if recipe.compile and world.device.type == "cuda":
        compile_blocks(model, recipe.tune)
    module = distribute(model.to(world.device), world, recipe.processes)
    state = _state(recipe, model)
    if newest is not None:
        _restore(state, newest)
    elif going_on is not None and from_reference:
        continue_reference(state, going_on)
    elif going_on is not None:
        _continue(state, going_on)
    return state, Trainer(module, loss, recipe, world, before_update)


def _state(recipe: TrainingConfig, model: Model) -> TrainingState:
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    average = {name: value.clone() for name, value in weights.items()} if recipe.ema_decay else None
    return TrainingState(model, Optimizer(model, recipe.optimizer), average, BadData(recipe.data.allowed_bad_share))


def _restore(state: TrainingState, checkpoint: Path) -> None:
    state.restore_tensors(checkpoint)
    state.restore_numbers(read_state(checkpoint))


def _continue(state: TrainingState, checkpoint: Path) -> None:
    """Go on from another run's checkpoint: weights, optimiser and step, but not what that run has counted."""
    problem = damage(checkpoint)
    if problem:
        raise InputError(f"training.continue_from = {checkpoint}: not a whole checkpoint of a run ({problem})")
    state.restore_tensors(checkpoint)
    numbers = read_state(checkpoint)
    state.step, state.updates = numbers["step"], numbers["updates"]


def describe(world: World, loss: TrainingLoss) -> dict[str, Any]:
    """Where and with what a run runs: for `environment.json` and `events.jsonl`."""
    return {
        "rayzer": rayzer.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.node(),
        "device": device_name(world.device),
        "processes": world.size,
        "loss_files": ", ".join(f"{name} sha256:{digest}" for name, digest in loss.sources.items()),
    }

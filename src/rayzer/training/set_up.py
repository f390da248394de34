"""From a configuration to everything that a training loop needs, new or where an earlier run stopped."""

from __future__ import annotations

import dataclasses
import logging
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import rayzer
from rayzer.data.bad_data import BadData
from rayzer.data.view_sampling import ViewConfig
from rayzer.devices import device_name
from rayzer.errors import InputError
from rayzer.model.acceleration import compile_blocks, set_recomputation
from rayzer.model.anyview import AnyViewConfig, AnyViewRayZer
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.rayzer import RayZerConfig
from rayzer.model.weights import Model, build_model, initialise, kind_of
from rayzer.training.checkpoints import Checkpoints, damage, read_environment, read_state
from rayzer.training.distributed import World, distribute
from rayzer.training.feed import Feed, training_samples
from rayzer.training.log import RunLog, open_log
from rayzer.training.loss import TrainingLoss
from rayzer.training.optim import Optimizer
from rayzer.training.recipe import CameraConfig, TrainingConfig
from rayzer.training.records import Report
from rayzer.training.reference_checkpoint import continue_reference
from rayzer.training.run_folder import RunConfig
from rayzer.training.state import TrainingState, seed_everything
from rayzer.training.step import Trainer
from rayzer.training.validation import Validation

SMALLEST = 16  # pixels, of the losses that look at several scales

log = logging.getLogger("rayzer")


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


def check_share(recipe: TrainingConfig, world: World) -> None:
    """Raise InputError unless a batch can be shared out equally to all processes."""
    if recipe.batch_size % world.size:
        raise InputError(
            f"training.batch_size = {recipe.batch_size}: cannot be shared out equally to {world.size} processes; "
            "choose a multiple, or start another number of them"
        )


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
    check_size(config)
    check_camera_training(config)
    if recipe.optimizer.warmup_steps >= recipe.steps and world.is_first:
        log.warning(
            "training.optimizer.warmup_steps = %d: the run of %d steps ends before its rate has warmed up",
            recipe.optimizer.warmup_steps,
            recipe.steps,
        )
    if recipe.cameras.true_until >= recipe.steps and recipe.loss.is_of_pictures and world.is_first:
        log.warning(
            "training.cameras.true_until = %d: no picture of the %d steps is rendered with predicted cameras",
            recipe.cameras.true_until,
            recipe.steps,
        )
    first_step = 0 if newest is None else min(read_state(newest)["step"], recipe.steps - 1)
    stream = training_samples(config.model, recipe, range(first_step, recipe.steps))
    validation = Validation(config.model, recipe, world) if recipe.validation.every else None
    loss = TrainingLoss.from_config(recipe.loss).for_speed(world.device, recipe.bf16, recipe.compile)
    if newest is None and world.is_first and _has_content(folder / "metrics.jsonl"):
        log.warning("%s: has the log of a run but no checkpoint of it; training begins at step 0", folder)
    if newest is not None:
        _refuse_other_networks(loss, newest)
    state, trainer = build(config, world, loss, newest, checkpoints.before_update)
    feed = Feed(stream, range(state.step, recipe.steps), recipe, world, state.bad_data, report)
    environment = describe(world, loss)
    with open_log(folder, config, world, trainer, state.step, report) as run_log:
        report("start", resumed_from=None if newest is None else newest.name, step=state.step, **environment)
        try:
            yield Run(config, world, trainer, state, feed, checkpoints, validation, run_log, environment)
        finally:
            feed.close()


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
    source = recipe.continue_from if newest is None else ""
    going_on = Path(source).expanduser() if source else None
    if going_on is not None and not going_on.exists():
        raise InputError(f"training.continue_from = {going_on}: no such file or folder")
    from_reference = going_on is not None and going_on.suffix == ".pt"
    if newest is None and (recipe.init_from or from_reference):
        initialise(model, Path(recipe.init_from).expanduser() if going_on is None else going_on)
    if not recipe.loss.is_of_pictures:
        _only_cameras(model)
    set_recomputation(model, recipe.recompute)
    if recipe.compile and world.device.type == "cuda":
        compile_blocks(model, any_views=needs_any_views(model, recipe.views))
    module = distribute(model.to(world.device), world, recipe.processes)
    state = _state(recipe, model)
    if newest is not None:
        _restore(state, newest)
    elif going_on is not None and from_reference:
        continue_reference(state, going_on)
    elif going_on is not None:
        _continue(state, going_on)
    if going_on is not None and state.step >= recipe.steps:
        raise InputError(
            f"training.continue_from = {going_on}: has done {state.step} steps already; set training.steps higher"
        )
    return state, Trainer(module, loss, recipe, world, before_update)


def _only_cameras(model: Model) -> None:
    """Leave everything but the camera estimator as it is.

    Raises:
        InputError: if the model has none that could be trained alone.
    """
    if not isinstance(model, AnyViewRayZer):
        raise InputError(
            "training.loss: only the cameras of an AnyViewRayZer can be trained alone; give a term a weight"
        )
    model.requires_grad_(False)
    model.camera_estimator.requires_grad_(True)


def needs_any_views(model: Model, views: ViewConfig) -> bool:
    """Whether steps have different numbers of views, which blocks of this model can take in one graph."""
    if not isinstance(model, AnyViewRayZer):
        return False
    return any(counts is not None and counts[0] < counts[1] for counts in (views.context_views, views.target_views))


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
        raise InputError(
            f"training.continue_from = {checkpoint}: not a whole checkpoint of a run ({problem}); name a step-* folder "
            "in its checkpoints/"
        )
    state.restore_tensors(checkpoint)
    numbers = read_state(checkpoint)
    state.step = state.validated = numbers["step"]
    state.updates = numbers["updates"]


def _has_content(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def check_size(config: RunConfig) -> None:
    """Raise InputError if pictures are too small for the loss."""
    side, loss = min(config.model.image_height, config.model.image_width), config.training.loss
    if side < SMALLEST and (loss.perceptual or loss.lpips or loss.structural):
        raise InputError(
            f"model.image_height, image_width: {side} pixels are too few for the terms of training.loss besides mse; "
            f"they need {SMALLEST}"
        )


def check_camera_training(config: RunConfig) -> None:
    """Raise InputError if `training.cameras` asks for what the model has not got."""
    taken = {RayZerConfig: {"anchor"}, LVSMConfig: set()}.get(type(config.model))
    own, usual = dataclasses.asdict(config.training.cameras), dataclasses.asdict(CameraConfig())
    ignored = [name for name in own if taken is not None and name not in taken and own[name] != usual[name]]
    if ignored:
        name, kind = ignored[0], kind_of(config.model)
        raise InputError(f"training.cameras.{name} = {own[name]}: a model of kind {kind} takes no notice of it")
    points = config.training.cameras.points
    if points and isinstance(config.model, AnyViewConfig) and not config.model.patch_points:
        raise InputError(f"training.cameras.points = {points:g}: the model tells none; set model.patch_points=true")


def _refuse_other_networks(loss: TrainingLoss, newest: Path) -> None:
    """Raise InputError if the frozen networks of the loss are not those that the run began with."""
    before, now = read_environment(newest)["loss_files"], _told(loss.sources)
    if before != now:
        raise InputError(
            f"{newest}: the run began with other weights of its loss ({before or 'none'}; now {now or 'none'}); name "
            "those with training.loss.vgg_file or .lpips_file"
        )


def _told(sources: dict[str, str]) -> str:
    return ", ".join(f"sha256:{digest}" for digest in sources.values())


def describe(world: World, loss: TrainingLoss) -> dict[str, Any]:
    """Where and with what a run runs: for `environment.json` and `events.jsonl`."""
    return {
        "rayzer": rayzer.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.node(),
        "device": device_name(world.device),
        "processes": world.size,
        "loss_files": _told(loss.sources),
    }

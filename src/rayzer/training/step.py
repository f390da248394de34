"""One training step: forward, loss and backward of every micro-batch, one agreement of all processes, one update."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rayzer.data.loader import Batch, to_device
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras
from rayzer.model.anyview import AnyViewRayZer
from rayzer.model.camera_estimator import canonical_index
from rayzer.model.rayzer import Prediction
from rayzer.model.unposed import UnposedModel
from rayzer.model.weights import Model
from rayzer.training.camera_pictures import camera_statistics
from rayzer.training.camera_training import camera_anchor, estimator_arguments, point_anchor
from rayzer.training.distributed import World, gradient_sync, reshard
from rayzer.training.loss import TrainingLoss
from rayzer.training.optim import clip_gradients, is_skipped, learning_rate, update_average
from rayzer.training.recipe import TrainingConfig
from rayzer.training.state import TrainingState


@dataclass(frozen=True, eq=False)
class Trainer:
    """What a step needs and does not change.

    Attributes:
        module: the model to call: itself, or what distributes it.
        loss: what is minimised.
        config: the recipe.
        world: this process among all.
        before_update: called when all gradients are there, before the weights change.
    """

    module: nn.Module
    loss: TrainingLoss
    config: TrainingConfig
    world: World
    before_update: Callable[[], None] = lambda: None

    def autocast(self) -> AbstractContextManager:
        """The precision of forward passes: bfloat16 on a GPU if the recipe says so."""
        if self.config.bf16 and self.world.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()


@dataclass(frozen=True)
class StepResult:
    """What a step came to, the same on all processes.

    Attributes:
        values: means over the batch: loss, its terms, psnr, statistics of the cameras.
        gradient_norm: before clipping.
        learning_rate: of this step.
        skipped: whether the update was left out.
        suspects: ranks with a loss that is not finite; all ranks if only the gradient is not; empty if all is well.
        replaced: samples that stand in for those that could not be made.
        signal: a signal that one of the processes received, or 0.
    """

    values: dict[str, float]
    gradient_norm: float
    learning_rate: float
    skipped: bool
    suspects: tuple[int, ...]
    replaced: int
    signal: int


def train_step(
    trainer: Trainer,
    state: TrainingState,
    batches: Iterable[Batch],
    share: int,
    signalled: Callable[[], int] = lambda: 0,
) -> StepResult:
    """Do step `state.step`: all processes call it together, each with its own part of the batch.

    Args:
        batches: the micro-batches of this process, `share` samples in all.
        signalled: gives the signal that this process received, or 0; all will know of it.

    Raises:
        Interrupted: on all processes, before anything has changed. Only steps of several micro-batches, and the first
            one of a process, which compiles, ask for signals before they are done.
    """
    state.optimizer.zero_grad()
    sums: dict[str, Tensor] = {}
    done = replaced = 0
    takes_long = share > trainer.config.samples_at_once or not state.optimizer.has_stepped
    for batch in batches:
        if takes_long:
            trainer.world.raise_if_any(signalled())
        part, done = len(batch) / share, done + len(batch)
        replaced += batch.replaced
        with gradient_sync(trainer.module, enabled=done == share):
            values = _forward_backward(trainer, batch, part, state.step)
        for name, value in values.items():
            sums[name] = sums.get(name, 0) + part * value
    norm = clip_gradients(state.model, trainer.config.optimizer.clip_norm)
    trainer.before_update()
    result = _agree(trainer, state.step, sums, norm, replaced, signalled())
    if not result.skipped:
        state.optimizer.step(result.learning_rate)
        if state.average is not None:
            update_average(state.average, state.model, trainer.config.ema_decay, state.updates)
        state.updates += 1
    state.not_finite = state.not_finite + 1 if result.suspects else 0
    state.step += 1
    return result


def predict(module: nn.Module, batch: Batch, **more: Any) -> Prediction:
    """Call a model as it is meant to be called: with cameras, if it does not estimate them; with what more it takes.

    Raises:
        InputError: if it needs cameras and the samples have none.
    """
    model = bare(module)
    if isinstance(model, UnposedModel):
        arguments = ()
        positions = model.positions_of(batch.frames)
        more = more if positions is None else {"positions": positions} | more
    elif batch.cameras is not None:
        arguments = (batch.cameras,)
    else:
        raise InputError("this model needs the cameras of its samples, and these have none")
    prediction = module(batch.images, batch.split, *arguments, **more)
    if not torch.is_grad_enabled():
        reshard(module)
    return prediction


@torch.no_grad()
def sample_prediction(trainer: Trainer, batch: Batch, samples: int = 3) -> tuple[Batch, Prediction]:
    """What the model makes of the first samples of a batch, to be looked at; both on the device."""
    few = batch.map(lambda value: value[:samples])
    few = to_device(replace(few, scenes=batch.scenes[:samples]), trainer.world.device)
    with trainer.autocast():
        return few, predict(trainer.module, few)


def bare(module: nn.Module) -> Model:
    """The model that `DistributedDataParallel` wraps, or the module itself."""
    return module.module if isinstance(module, DistributedDataParallel) else module  # type: ignore[return-value]


@torch.no_grad()
def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean PSNR in dB of pictures [b, t, 3, h, w] in [0, 1]."""
    error = (prediction.clamp(0, 1) - target).square().mean((-3, -2, -1))
    return (-10 * error.clamp(min=1e-10).log10()).mean()


def _forward_backward(trainer: Trainer, batch: Batch, part: float, step: int) -> dict[str, Tensor]:
    """Add the gradients of a micro-batch that is this part of its process's share; returns its values, detached."""
    batch = to_device(batch, trainer.world.device)
    loss, values = _losses(trainer, batch, step)
    (part * loss).backward()
    return {"loss": loss.detach(), **values}


def _losses(trainer: Trainer, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a micro-batch, its terms and what else is to be told, detached."""
    model, config = bare(trainer.module), trainer.config
    more: dict[str, Any] = {}
    if isinstance(model, AnyViewRayZer):
        more = estimator_arguments(batch, model.config, config.cameras, step)
    target = batch.split.target_of(batch.images)
    with trainer.autocast():
        if config.loss.is_of_pictures:
            prediction = predict(trainer.module, batch, **more)
        else:
            prediction = trainer.module(batch.images, None, **more)
        loss, values = trainer.loss(prediction.images, target)
    canonical = 0
    if isinstance(model, UnposedModel):
        canonical = more.get("canonical", canonical_index(batch.images.shape[1], model.canonical))
    if config.cameras.anchor and model.estimates_cameras:
        anchor = _anchor(prediction.cameras, batch, canonical)
        loss, values["anchor"] = loss + config.cameras.anchor * anchor, anchor.detach()
    if isinstance(model, AnyViewRayZer) and prediction.points is not None:  # with weight 0, too: all need a gradient
        points = _points(prediction.points, batch, canonical)
        loss = loss + config.cameras.points * points
        values |= {"points": points.detach()} if config.cameras.points else {}
    if config.loss.is_of_pictures:
        values["psnr"] = psnr(prediction.images, target)
    return loss, values | (camera_statistics(prediction.cameras.detach()) if model.estimates_cameras else {})


def _anchor(predicted: Cameras, batch: Batch, canonical: int) -> Tensor:
    """Also where no cameras are known: all processes and steps tell the same values, however sources are dealt out."""
    if batch.cameras is None:
        return 0 * (predicted.world_from_camera.sum() + predicted.intrinsics.sum())
    return camera_anchor(predicted, batch.cameras, canonical)


def _points(predicted: Tensor, batch: Batch, canonical: int) -> Tensor:
    """As `_anchor`."""
    if batch.cameras is None or batch.depth_m is None:
        return 0 * predicted.sum()
    return point_anchor(predicted, batch.cameras, batch.depth_m, canonical)


def _agree(
    trainer: Trainer, step: int, sums: dict[str, Tensor], norm: Tensor, replaced: int, signal: int
) -> StepResult:
    """One exchange of a few numbers (the only time that the device is waited for): all take the same decisions."""
    config, world = trainer.config, trainer.world
    numbers = [value.double() for value in sums.values()]
    own = torch.stack([*numbers, norm.double(), *norm.new_tensor([replaced, signal], dtype=torch.float64)])
    rows = world.gather(own).cpu()
    norms = rows[:, len(sums)]
    bad = (~rows[:, list(sums).index("loss")].isfinite()).nonzero().flatten().tolist()
    finite = bool(norms.isfinite().all())
    gradient_norm = float(norms.max()) if finite else float("nan")
    suspects = tuple(bad) or (() if finite else tuple(range(world.size)))
    return StepResult(
        dict(zip(sums, rows[:, : len(sums)].mean(0).tolist(), strict=True)),
        gradient_norm,
        learning_rate(step, config.steps, config.optimizer),
        bool(suspects) or is_skipped(step, gradient_norm, config.optimizer),
        suspects,
        int(rows[:, -2].sum()),
        int(rows[:, -1].max()),
    )

"""Trying a configuration out: everything is built, two steps are done and the second is timed, nothing is written."""

from __future__ import annotations

import resource
import sys
import time

import torch

from rayzer.model.weights import ModelConfig
from rayzer.progress import progress_bar
from rayzer.training.distributed import World, cpu_threads, joined_world
from rayzer.training.feed import Feed, training_samples
from rayzer.training.loss import TrainingLoss
from rayzer.training.recipe import TrainingConfig
from rayzer.training.run_folder import RunConfig
from rayzer.training.set_up import build, check_camera_training, check_share, check_size
from rayzer.training.state import TrainingState
from rayzer.training.step import StepResult, train_step
from rayzer.training.validation import Validation


def dry_run(model: ModelConfig, recipe: TrainingConfig, device: str = "auto") -> str:
    """What a run would be like, as text; arguments and errors as of `train`."""
    with (
        joined_world(recipe.processes, device) as world,
        cpu_threads(world, recipe.data.workers),
        progress_bar("Trying out") as advance,
    ):
        advance(0, 3)
        check_share(recipe, world)
        check_size(RunConfig(model, recipe))
        check_camera_training(RunConfig(model, recipe))
        steps = range(max(2, recipe.steps))  # the first one compiles, chooses kernels, fills caches
        stream = training_samples(model, recipe, steps)
        if recipe.validation.every:
            Validation(model, recipe, world)
        loss = TrainingLoss.from_config(recipe.loss).for_speed(world.device, recipe.bf16, recipe.compile)
        state, trainer = build(RunConfig(model, recipe), world, loss)
        feed = Feed(stream, steps, recipe, world, state.bad_data, lambda event, **values: None)
        for step in (0, 1):
            advance(1 + step, 3)
            started = time.perf_counter()
            result = train_step(trainer, state, feed.step(step), feed.share)
            seconds = time.perf_counter() - started
        advance(3, 3)
        feed.close()
        return _text(recipe, world, state, feed, result, seconds)


def _text(
    recipe: TrainingConfig, world: World, state: TrainingState, feed: Feed, result: StepResult, seconds: float
) -> str:
    count = sum(parameter.numel() for parameter in state.model.parameters())
    passes = -(-feed.share // feed.at_once)
    rate = f"{recipe.batch_size / seconds:.1f} scenes/s, {feed.waited_s / seconds:.0%} waiting for data"
    return "\n".join(
        (
            f"parameters    {count / 1e6:.2f} M",
            f"batch         {recipe.batch_size} = {world.size} processes x {feed.share}, {feed.at_once} at once "
            f"({passes} forward passes)",
            f"loss          {result.values['loss']:.4f}, gradient norm {result.gradient_norm:.3g}",
            f"memory        {_memory(world)}",
            f"step          {seconds:.2f} s ({rate})",
            f"whole run     {recipe.steps:,} steps, about {_duration(seconds * recipe.steps)}",
        )
    )


def _memory(world: World) -> str:
    if world.device.type == "cuda":
        most, all_bytes = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(world.device).total_memory
        return f"{most / 2**30:.1f} GiB of {all_bytes / 2**30:.0f} GiB on the GPU"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"


def _duration(seconds: float) -> str:
    days, hours = divmod(seconds / 3600, 24)
    if days >= 1:
        return f"{days:.0f} days {hours:.0f} hours"
    return f"{hours:.1f} hours" if hours >= 1 else f"{seconds / 60:.1f} minutes"

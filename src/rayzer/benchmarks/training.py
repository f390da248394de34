"""How fast a model is trained: whole steps of a recipe, from pictures on the device to new weights."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from rayzer.benchmarks.timing import environment, forget_peak_memory, peak_memory_gib, time_calls
from rayzer.configs.presets import Config
from rayzer.data.loader import Batch
from rayzer.devices import device_name
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras
from rayzer.losses import PerceptualLoss, StructuralLoss
from rayzer.model.flops import VGG19_STAGES, peak_flops, training_flops
from rayzer.model.weights import ModelConfig
from rayzer.progress import Advance
from rayzer.training.checkpoints import Checkpoints
from rayzer.training.distributed import World
from rayzer.training.loss import MeanSquaredError, TrainingLoss
from rayzer.training.recipe import LossConfig, TrainingConfig
from rayzer.training.run_folder import RunConfig
from rayzer.training.set_up import build
from rayzer.training.state import TrainingState
from rayzer.training.step import train_step
from rayzer.view_split import ViewSplit

SAVES, STEPS_AFTER_SAVE = 3, 8


def measure_training(
    config: Config, world: World, steps: int, with_plain: bool = True, advance: Advance | None = None
) -> dict[str, Any]:
    """Time steps with the recipe's loss, precision, optimiser and recomputation.

    Every process has `training.samples_at_once` scenes.

    Weights, those of the perceptual loss's VGG-19 too, and pictures are random.

    Args:
        world: the processes that train together; all must call this.
        steps: timed ones; the first, which compile, come before.
        with_plain: time eager blocks that recompute everything beside it, from the same weights.
        advance: told how many of the paths are done.

    Returns:
        What `rayzer bench train` prints. `difference` holds relative differences of loss and gradient norm in the
        first step, fast path to plain path.
    """
    device = world.device
    recipe = replace(config.training, batch_size=config.training.samples_at_once * world.size, ema_decay=0.0)
    recipes = {"fast": recipe}
    if with_plain:
        recipes["plain"] = replace(recipe, compile=False, recompute="all")
    results, first = {}, {}
    for done, (name, of_path) in enumerate(recipes.items()):
        if advance is not None:
            advance(done, len(recipes))
        results[name], first[name] = _measure(config.model, of_path, world, steps)
        gc.collect()  # the next path finds the memory free
    output = {
        **environment(device),
        "processes": world.size,
        "precision": "bfloat16" if recipe.bf16 and device.type == "cuda" else "float32",
        "batch_size": recipe.batch_size,
        "loss": {name: weight for name, weight in asdict(recipe.loss).items() if isinstance(weight, float) and weight},
        "results": results,
    }
    if with_plain:
        output["difference"] = {
            name: abs(first["fast"][name] - value) / abs(value) for name, value in first["plain"].items()
        }
    return output


def _measure(
    model: ModelConfig, recipe: TrainingConfig, world: World, steps: int
) -> tuple[dict[str, Any], dict[str, float]]:
    """One path: its figures, and loss and gradient norm of the first step."""
    device, share, run = world.device, recipe.samples_at_once, RunConfig(model, recipe)
    loss = random_loss(recipe.loss).for_speed(device, recipe.bf16, recipe.compile)
    saver = _Saver(run, world)
    state, trainer = build(run, world, loss, before_update=saver.checkpoints.before_update)
    batch = _random_batch(model, share, device)

    def step():
        return train_step(trainer, state, [batch], share)

    start = step()
    forget_peak_memory(device)
    spread = time_calls(step, device, steps)
    peak_memory, updates = peak_memory_gib(device), state.updates
    saving = saver.measure(state, step, spread.median_ms)
    seconds, peak = spread.median_ms / 1000, peak_flops(device_name(device))
    flops = share * training_flops(model, perceptual=bool(recipe.loss.perceptual))
    figures = {
        "compiled": recipe.compile and device.type == "cuda",
        "recompute": recipe.recompute,
        **asdict(spread),
        "scenes_per_s": recipe.batch_size / seconds,
        "mfu": None if peak is None else flops / seconds / peak,
        "peak_memory_gib": peak_memory,
        "saving": saving,
        "updates": updates,  # as many as steps, unless some were skipped
    }
    return figures, {"loss": start.values["loss"], "gradient_norm": start.gradient_norm}


class _Saver:
    """Measures how long saving holds up training."""

    def __init__(self, run: RunConfig, world: World):
        self.run, self.folder = run, TemporaryDirectory(prefix="rayzer-bench-")
        self.checkpoints = Checkpoints(Path(self.folder.name), world, 2, 0, lambda event, **values: None)

    def measure(self, state: TrainingState, step: Callable[[], Any], step_ms: float) -> dict[str, float]:
        """Medians of a few checkpoints.

        Returns:
            `blocked_ms`: what saving and the next steps took longer than those steps otherwise do; `written_s`: until
            the checkpoint is on the disk; `size_gb`.
        """
        blocked, written = [], []
        self.checkpoints.prepare(state)
        with self.folder as folder:
            for _ in range(SAVES):
                started = time.perf_counter()
                self.checkpoints.save(state, self.run, {})
                for _ in range(STEPS_AFTER_SAVE):
                    step()
                blocked.append(1000 * (time.perf_counter() - started) - STEPS_AFTER_SAVE * step_ms)
                self.checkpoints.wait()
                written.append(time.perf_counter() - started)
            newest = max(Path(folder).glob("step-*"), default=Path(folder))
            size = sum(file.stat().st_size for file in newest.iterdir())
        return {
            "blocked_ms": statistics.median(blocked),
            "written_s": statistics.median(written),
            "size_gb": size / 1e9,
        }


def random_loss(config: LossConfig) -> TrainingLoss:
    """The loss of a recipe with random weights in its VGG-19, which are as much work as trained ones.

    Raises:
        InputError: if it has a term whose network has no random stand-in.
    """
    if config.lpips:
        raise InputError("training.loss.lpips: the benchmark has no weights for this term; set it to 0")
    terms: dict[str, nn.Module] = {"mse": MeanSquaredError()} if config.mse else {}
    if config.perceptual:
        terms["perceptual"] = PerceptualLoss(_random_vgg19())
    if config.structural:
        terms["structural"] = StructuralLoss()
    return TrainingLoss(terms, {name: getattr(config, name) for name in terms})


def _random_vgg19() -> dict[str, Tensor]:
    """Weights of such a size that features neither vanish nor grow from layer to layer."""
    generator, state, index = torch.Generator().manual_seed(0), {}, 0
    for stage in VGG19_STAGES:
        for a, b in itertools.pairwise(stage):
            state[f"features.{index}.weight"] = torch.randn(b, a, 3, 3, generator=generator) * (2 / (9 * a)) ** 0.5
            state[f"features.{index}.bias"] = torch.zeros(b)
            index += 2
        index += 1
    return state


def _random_batch(config: ModelConfig, size: int, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)
    views = config.context_views + config.target_views
    shape = (size, views, 3, config.image_height, config.image_width)
    order = torch.stack([torch.randperm(views, generator=generator) for _ in range(size)])
    context, target = order.split([config.context_views, config.target_views], 1)
    pose = torch.eye(4).repeat(size, views, 1, 1)
    pose[..., 0, 3] = torch.linspace(-0.5, 0.5, views)
    batch = Batch(
        images=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        frames=torch.arange(views).expand(size, views),
        split=ViewSplit(context.sort(-1).values, target.sort(-1).values),
        scenes=tuple(f"random {number}" for number in range(size)),
        cameras=Cameras(pose, torch.tensor([1.25, 1.25, 0.5, 0.5]).expand(size, views, 4)),
    )
    return batch.map(lambda value: value.to(device))

"""Scoring held-out samples in the course of training: the same ones each time, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from rayzer.data.bad_data import check_scenes
from rayzer.data.dataset import Sampled, SampleStream, SceneSamples
from rayzer.data.loader import Batch, collate, to_device
from rayzer.data.room_samples import VALIDATION_SEEDS
from rayzer.data.view_sampling import ViewSampler
from rayzer.errors import InputError
from rayzer.geometry.alignment import relative_pose_errors
from rayzer.model.weights import ModelConfig
from rayzer.training.distributed import World
from rayzer.training.feed import camera_use, room_samples, scene_samples
from rayzer.training.recipe import TrainingConfig
from rayzer.training.state import TrainingState
from rayzer.training.step import Trainer, bare, predict, psnr

SEED = 0  # of every run, so that runs can be compared
GOOD_POSE_DEG = 15.0


class Validation:
    """Held-out samples with the views of the end of the curriculum; decoded once, then kept.

    Raises:
        InputError: if there are no scenes to validate on.
    """

    def __init__(self, model: ModelConfig, config: TrainingConfig, world: World):
        self.world = world
        own_numbers = replace(config.views, context_views=None, target_views=None)
        views = ViewSampler(own_numbers, model.context_views, model.target_views)
        self._step = config.views.curriculum_steps
        source = _source(model, config, views)
        if isinstance(source, SceneSamples):
            check_scenes(source, range(self._step, self._step + 1), config.data.allowed_bad_share)
        self._stream = SampleStream(source, views, SEED, config.validation.samples)
        self._kept: dict[int, Batch] = {}

    @torch.no_grad()
    def score(
        self, trainer: Trainer, state: TrainingState, signalled: Callable[[], int] = lambda: 0
    ) -> dict[str, float]:
        """Means over all samples, the same on all processes: psnr in dB and, where cameras are known, pose figures.

        Where cameras are trained alone there is no psnr.

        Where there is a moving average of the weights, that is scored. All processes must call this together.

        Raises:
            Interrupted: on all processes, if one of them received a signal.
        """
        sums: dict[str, Tensor] = {}
        count = self._stream.batch_size
        with averaged_weights(state):
            for first in range(0, count, self.world.size):
                slot = first + self.world.rank
                self.world.at("validation", state.step)
                self.world.raise_if_any(signalled())
                module = trainer.module if state.is_sharded else bare(trainer.module)
                values = self._values(trainer, module, min(slot, count - 1))
                for name, value in values.items():  # all must call a sharded model, so some repeat the last sample
                    sums[name] = sums.get(name, 0) + value.double() * (slot < count)
        totals = self.world.sum(torch.stack(list(sums.values()))).tolist()
        return {name: total / count for name, total in zip(sums, totals, strict=True)}

    def _values(self, trainer: Trainer, module: nn.Module, slot: int) -> dict[str, Tensor]:
        if slot not in self._kept:
            batch = collate([self._stream[self._step, slot]])
            if isinstance(batch, InputError):
                raise batch
            self._kept[slot] = batch
        batch = to_device(self._kept[slot], self.world.device)
        with trainer.autocast():
            prediction = predict(module, batch)
        values = {}
        if trainer.config.loss.is_of_pictures:  # else the renderer has learned nothing yet
            values["psnr"] = psnr(prediction.images, batch.split.target_of(batch.images))
        if batch.cameras is not None and bare(trainer.module).estimates_cameras:
            turn, shift = relative_pose_errors(prediction.cameras, batch.cameras)
            known = shift.isfinite()  # pairs without translation count for rotation only
            good = (turn < GOOD_POSE_DEG) & ((shift < GOOD_POSE_DEG) | ~known)
            values |= {"rotation_error_deg": turn.median(), "rpa_15": good.float().mean()}
        return values


@contextmanager
def averaged_weights(state: TrainingState) -> Iterator[None]:
    """Inside, the model has the moving average of its weights, if there is one."""
    if state.average is None:
        yield
        return
    weights = {name: parameter.detach() for name, parameter in state.model.named_parameters()}
    kept = {name: weights[name].clone() for name in state.average}
    _copy(state.average, weights)
    try:
        yield
    finally:
        _copy(kept, weights)


def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in source.items():
        target[name].copy_(value)


def _source(model: ModelConfig, config: TrainingConfig, views: ViewSampler) -> Sampled:
    if not config.validation.scenes:
        cameras = "stored" if camera_use(model) == "none" else camera_use(model)
        return room_samples(model, views, cameras, VALIDATION_SEEDS)
    scenes = scene_samples(model, config.data, config.validation.scenes, config.data.format, views, camera_use(model))
    if scenes.cameras == "none" and _has_cameras(scenes):
        scenes = SceneSamples(scenes.scenes, views, scenes.fit, "stored", config.data.allow_outside)
    return scenes


def _has_cameras(scenes: SceneSamples) -> bool:
    """Whether the first scene has cameras; then all are expected to."""
    reader = SceneSamples(scenes.scenes[:1], scenes.views, scenes.fit, "stored", scenes.options.allow_outside)
    frames = reader.read(scenes.scenes[0])[0].frames
    return all(frame.world_from_camera is not None and frame.fxfycxcy_px is not None for frame in frames)

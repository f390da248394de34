"""Everything that is measured on a batch of scenes: a function of the scenes and the model, whoever calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rayzer.data.dataset import Sample
from rayzer.data.loader import Batch, collate, to_device
from rayzer.devices import Runtime
from rayzer.errors import InputError
from rayzer.evaluation import controls, transfer
from rayzer.evaluation.no_leak import between_neighbours, cameras_without_targets
from rayzer.evaluation.poses import PoseScores, mean_pose_scores, pose_scores, straight_line_scores
from rayzer.evaluation.scenes import normalised
from rayzer.evaluation.scoring import Scorer, Scores, mean_scores
from rayzer.evaluation.settings import EvaluationConfig, ProtocolName
from rayzer.geometry.alignment import align_cameras
from rayzer.geometry.cameras import Cameras
from rayzer.geometry.precision import reference_precision
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.unposed import UnposedModel
from rayzer.model.weights import Model


@dataclass(frozen=True, eq=False)
class Rendered:
    """What a model made of a batch.

    Attributes:
        cameras: [b, v] estimated, or given and normalised.
        scene: of the context views.
        pictures: [b, t, 3, h, w] of the targets, float32.
    """

    cameras: Cameras
    scene: SceneTokens
    pictures: Tensor


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on one scene.

    Attributes:
        scores: of each target view.
        pictures: [t, 3, h, w] as rendered, on the CPU.
        cameras: [v] predicted (or given), on the CPU.
        given: whether they were given.
        true_cameras: [v], moved into the predicted world by the best Sim(3); None if unknown.
        poses: "predicted" and the control "straight_line"; empty where true cameras are unknown, or were given.
        parts: scores of controls ("copy_nearest", ...), "no_leak" and "reference", means over the views.
        tokens: [v, d] camera tokens for the probe.
    """

    scores: list[Scores]
    pictures: Tensor
    cameras: Cameras
    given: bool
    true_cameras: Cameras | None
    poses: dict[str, PoseScores]
    parts: dict[str, Scores] = field(default_factory=dict)
    tokens: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Measurer:
    """Measures batches of scenes with one model.

    Attributes:
        model: in eval mode.
        config: what to measure.
        protocol: "reference" adds the scores under the reference's own precision, on a GPU.
        runtime: where, and how precisely.
        scorer: compares pictures.
    """

    model: Model
    config: EvaluationConfig
    protocol: ProtocolName
    runtime: Runtime
    scorer: Scorer

    @torch.no_grad()
    def __call__(self, samples: Sequence[Sample]) -> list[Measured]:
        """Measure scenes of equal numbers of views together.

        Raises:
            InputError: if the model needs cameras and a scene has none, or its results are not finite numbers.
        """
        batch = self._batch(samples)
        given = [sample.cameras for sample in samples]
        found = self.render(batch, given)
        truth = batch.split.target_of(batch.images)
        scores = self._scores(truth, found.pictures)
        parts = self._parts(batch, found, given, truth)
        tokens = self._tokens(batch)
        results = []
        for number, sample in enumerate(samples):
            cameras = found.cameras[number].to("cpu")
            true, poses = self._poses(cameras, sample)
            own = {name: mean_scores(of_part[number]) for name, of_part in parts.items()}
            pictures = found.pictures[number].cpu()
            results.append(
                Measured(
                    scores[number],
                    pictures,
                    cameras,
                    given=not self.model.estimates_cameras,
                    true_cameras=true,
                    poses=poses,
                    parts=own,
                    tokens=None if tokens is None else tokens[number],
                )
            )
        return results

    @torch.no_grad()
    def scores(self, samples: Sequence[Sample]) -> list[Scores]:
        """Only the scores of scenes of equal numbers of views, means over their targets."""
        batch = self._batch(samples)
        found = self.render(batch, [sample.cameras for sample in samples])
        truth = batch.split.target_of(batch.images)
        return [mean_scores(of_scene) for of_scene in self._scores(truth, found.pictures)]

    @torch.no_grad()
    def transferred(self, pair: Sequence[Sample]) -> dict[str, Scores]:
        """Scores of two scenes along one path, each with its "own" cameras and with those of the "other"."""
        assert isinstance(self.model, UnposedModel)
        batch = self._batch(pair)
        with self.runtime.autocast():
            pictures = transfer.exact(self.model, batch.images, batch.frames, batch.split)
        truth = batch.split.target_of(batch.images)
        found = [[mean_scores(of_scene) for of_scene in self._scores(truth, each)] for each in pictures]
        return {name: mean_scores(scores) for name, scores in zip(("own", "other"), found, strict=True)}

    @torch.no_grad()
    def re_estimated(self, pair: Sequence[Sample]) -> PoseScores:
        """Mean figures of `transfer.re_estimated` over two scenes."""
        assert isinstance(self.model, UnposedModel)
        batch = self._batch(pair)
        found = self.render(batch, [None, None])
        with self.runtime.autocast():
            return mean_pose_scores(transfer.re_estimated(self.model, found.scene, found.cameras))

    def render(self, batch: Batch, given: Sequence[Cameras | None]) -> Rendered:
        """Cameras, scenes and target pictures; `given` are the true cameras, which only LVSM may see."""
        with self.runtime.autocast():
            if isinstance(self.model, UnposedModel):
                cameras = self.model.estimate_cameras(batch.images, self.model.positions_of(batch.frames))
            else:
                cameras = normalised(given, batch.scenes).to(self.runtime.device)
            found = self._from_cameras(batch, cameras)
        for name, picture, pose in zip(batch.scenes, found.pictures, found.cameras.world_from_camera, strict=True):
            if not (picture.isfinite().all() and pose.isfinite().all()):
                raise InputError(f"{name}: the model's results are not finite numbers; its weights are damaged")
        return found

    def _batch(self, samples: Sequence[Sample]) -> Batch:
        batch = collate(samples)
        assert isinstance(batch, Batch)  # all samples are there, and fitted to one size
        return to_device(batch, self.runtime.device)

    def _from_cameras(self, batch: Batch, cameras: Cameras, target: Cameras | None = None) -> Rendered:
        """Reconstruct from the context and render the targets, or other cameras [b, t]; called under autocast."""
        split = batch.split
        context = split.context_of(batch.images), split.context_of(cameras)
        scene = self.model.reconstruct(*context, split.context)
        pictures = self.model.render(scene, split.target_of(cameras) if target is None else target)
        return Rendered(cameras, scene, pictures.float())

    def _parts(
        self, batch: Batch, found: Rendered, given: Sequence[Cameras | None], truth: Tensor
    ) -> dict[str, list[list[Scores]]]:
        """Scores [b][t] of controls and of other protocols."""
        pictures: dict[str, Tensor] = {}
        if self.config.controls:
            pictures |= self._controls(batch, found)
        if self.config.no_leak and isinstance(self.model, UnposedModel):
            pictures["no_leak"] = self._no_leak(batch)
        parts = {name: self._scores(truth, picture) for name, picture in pictures.items()}
        if self.protocol == "reference" and self.runtime.device.type == "cuda":
            parts["reference"] = self._scores(truth, self.as_published(batch, given), self.scorer.half_precision())
        return parts

    def as_published(self, batch: Batch, given: Sequence[Cameras | None]) -> Tensor:
        """Target pictures [b, t, 3, h, w] in bfloat16 throughout, cameras and rays too, as for published scores."""
        half = replace(self, runtime=Runtime(self.runtime.device, bfloat16=True))
        with reference_precision():
            return half.render(batch, given).pictures.bfloat16().float()

    def _controls(self, batch: Batch, found: Rendered) -> dict[str, Tensor]:
        images, frames, split = batch.images, batch.frames, batch.split
        pictures = {
            "copy_nearest": controls.copy_nearest(images, frames, split),
            "blend_two": controls.blend_two(images, frames, split),
        }
        with self.runtime.autocast():
            camera = controls.middle_camera(found.cameras, frames, split)
            pictures["constant_camera"] = self.model.render(found.scene, camera).float()
            if isinstance(self.model, UnposedModel):
                views = images.shape[1]
                orders = {"shuffled_order": controls.shuffled(views), "reversed_order": torch.arange(views).flip(0)}
                for name, order in orders.items():
                    changed = controls.reordered(images, split, order.to(images.device))
                    pictures[name] = self.model(*changed).images.float()
        return pictures

    def _no_leak(self, batch: Batch) -> Tensor:
        assert isinstance(self.model, UnposedModel)
        with self.runtime.autocast():
            cameras = cameras_without_targets(self.model, batch.images, batch.frames, batch.split)
            target = between_neighbours(cameras, batch.frames, batch.split)
            return self._from_cameras(batch, cameras, target).pictures

    def _tokens(self, batch: Batch) -> list[Tensor] | None:
        if not (self.config.probe and isinstance(self.model, UnposedModel)):
            return None
        with self.runtime.autocast():
            positions = self.model.positions_of(batch.frames)
            return list(self.model.camera_tokens(batch.images, positions).float().cpu())

    def _poses(self, cameras: Cameras, sample: Sample) -> tuple[Cameras | None, dict[str, PoseScores]]:
        true = sample.cameras
        if true is None:
            return None, {}
        aligned = align_cameras(true, cameras).cameras(true)
        if not self.model.estimates_cameras:
            return aligned, {}
        line = straight_line_scores(sample.frames, true)
        return aligned, {"predicted": pose_scores(cameras, true), "straight_line": line}

    def _scores(self, truth: Tensor, pictures: Tensor, scorer: Scorer | None = None) -> list[list[Scores]]:
        flat = (scorer or self.scorer)(truth.flatten(0, 1), pictures.flatten(0, 1))
        views = truth.shape[1]
        return [flat[first : first + views] for first in range(0, len(flat), views)]

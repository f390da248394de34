"""What an evaluation has to do, cut into units, and the job that does one batch of them.

A unit is a scene; a scene with another number of context views; or a pair of scenes between which cameras are carried
over. Units are batched in one fixed way, whatever was done before and however many processes share the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rayzer.data.dataset import Sample
from rayzer.data.parallel import available_cpus
from rayzer.data.scene_jobs import SceneTask
from rayzer.data.views import to_uint8
from rayzer.errors import InputError
from rayzer.evaluation.measure import Measured, Measurer
from rayzer.evaluation.scenes import EvaluationScene
from rayzer.evaluation.scoring import mean_scores
from rayzer.files import save_tensors
from rayzer.geometry.cameras import Cameras
from rayzer.progress import Advance

Kind = Literal["scene", "count", "re-estimated", "exact"]
SCENES = "scenes"  # folder of the pictures in the output
TOKENS = "tokens.safetensors"
WEBP_QUALITY = 90  # pictures to look at; scores are computed before


@dataclass(frozen=True, eq=False)
class Unit:
    """One piece of work.

    Attributes:
        kind: what to do.
        number: among its kind, from 0.
        scenes: one, or the two of a pair.
    """

    kind: Kind
    number: int
    scenes: tuple[EvaluationScene, ...]

    @property
    def name(self) -> str:
        """Of its folder of results: "0007" for a scene."""
        number = f"{self.number:04d}"
        return number if self.kind == "scene" else f"{self.kind}-{number}"

    @property
    def title(self) -> str:
        """What people know it by: "kitchen", "kitchen (3 context views)", "kitchen and hall (exact)"."""
        names = " and ".join(scene.name for scene in self.scenes)
        context, _ = self.scenes[0].counts
        more = {"scene": "", "count": f" ({context} context views)"}
        return names + more.get(self.kind, f" ({self.kind})")


def in_batches(units: Sequence[Unit], size: int) -> list[list[Unit]]:
    """Consecutive units of one kind and equal numbers of views, at most `size` together; pairs alone."""
    batches: list[list[Unit]] = []
    for unit in units:
        last = batches[-1] if batches else []
        alike = last and last[0].kind == unit.kind and last[0].scenes[0].counts == unit.scenes[0].counts
        if alike and len(last) < size and len(unit.scenes) == 1:
            last.append(unit)
        else:
            batches.append([unit])
    return batches


def decoded(
    batches: Iterable[Sequence[Unit]], load: Callable[[EvaluationScene], Sample]
) -> Iterator[tuple[Sequence[Unit], list[list[Sample] | InputError]]]:
    """Batches with the samples of each unit, or why there are none; the next is decoded while one is measured."""

    def attempt(unit: Unit) -> list[Sample] | InputError:
        try:
            return [load(scene) for scene in unit.scenes]
        except InputError as error:
            return error

    with ThreadPoolExecutor(max(2, available_cpus() // 2)) as threads:
        waiting: list[tuple[Sequence[Unit], list[Future]]] = []
        for batch in batches:
            waiting.append((batch, [threads.submit(attempt, unit) for unit in batch]))
            if len(waiting) > 1:
                units, futures = waiting.pop(0)
                yield units, [future.result() for future in futures]
        for units, futures in waiting:
            yield units, [future.result() for future in futures]


def attempt(
    measurer: Measurer, batch: Sequence[Unit], samples: Sequence[list[Sample] | InputError]
) -> list[Finished | Failed]:
    """Measure what can be; where a batch cannot, each of its units is tried alone."""
    pairs = list(zip(batch, samples, strict=True))
    failed = [Failed(unit, str(loaded)) for unit, loaded in pairs if isinstance(loaded, InputError)]
    good = [(unit, loaded) for unit, loaded in pairs if not isinstance(loaded, InputError)]
    if not good:
        return list(failed)
    try:
        return [*failed, *measure(measurer, [unit for unit, _ in good], [loaded for _, loaded in good])]
    except InputError as error:
        if len(good) == 1:
            return [*failed, Failed(good[0][0], str(error))]
        return [*failed, *(result for unit, loaded in good for result in attempt(measurer, [unit], [loaded]))]


def measure(measurer: Measurer, batch: Sequence[Unit], samples: Sequence[Sequence[Sample]]) -> list[Finished]:
    """Do a batch of units, whose scenes are decoded.

    Raises:
        InputError: naming the scene, if the model cannot be used on it.
    """
    kind = batch[0].kind
    if kind == "exact":
        return [Finished(batch[0], {key: scores.as_json() for key, scores in measurer.transferred(samples[0]).items()})]
    if kind == "re-estimated":
        return [Finished(batch[0], measurer.re_estimated(samples[0]).as_json())]
    flat = [sample for (sample,) in samples]
    if kind == "count":
        return [Finished(unit, scores.as_json()) for unit, scores in zip(batch, measurer.scores(flat), strict=True)]
    return [
        Finished(unit, _entry(unit, measured), sample, measured)
        for unit, sample, measured in zip(batch, flat, measurer(flat), strict=True)
    ]


@dataclass(frozen=True)
class Failed:
    """A unit that cannot be done, and the line that says why. A `SceneJob`."""

    unit: Unit
    error: str

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        """Say why."""
        raise InputError(self.error)


@dataclass(frozen=True, eq=False)
class Finished:
    """A unit that is done: what is to be known of it, and its pictures yet to be written. A `SceneJob`.

    Attributes:
        unit: the piece of work.
        result: as JSON can hold it.
        sample, measured: of a scene.
    """

    unit: Unit
    result: dict[str, Any]
    sample: Sample | None = None
    measured: Measured | None = None

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        """Write the folder of a unit."""
        target.mkdir()
        if self.sample is not None and self.measured is not None:
            self._write_pictures(target, self.sample, self.measured)
            if self.measured.tokens is not None and self.sample.cameras is not None:
                cameras = self.sample.cameras
                tokens = {"tokens": self.measured.tokens, "world_from_camera": cameras.world_from_camera}
                save_tensors({**tokens, "intrinsics": cameras.intrinsics}, target / TOKENS)
        return self.result

    def _write_pictures(self, folder: Path, sample: Sample, measured: Measured) -> None:
        (scene,) = self.unit.scenes
        for position in sample.split.context[0].tolist():
            _save(sample.images[position], folder / f"{scene.numbers[position]:05d}.webp")
        pictures = to_uint8(measured.pictures)
        for position, render in zip(sample.split.target[0].tolist(), pictures, strict=True):
            number = scene.numbers[position]
            _save(sample.images[position], folder / f"{number:05d}-truth.webp")
            _save(render, folder / f"{number:05d}-render.webp")


def _entry(unit: Unit, measured: Measured) -> dict[str, Any]:
    """A scene as `results.json` describes it (docs/formats.md)."""
    (scene,) = unit.scenes
    folder = f"{SCENES}/{unit.name}"
    parts = {name: scores.as_json() for name, scores in measured.parts.items()}
    views = []
    for position, scores in zip(scene.split.target[0].tolist(), measured.scores, strict=True):
        number = scene.numbers[position]
        pictures = {part: f"{folder}/{number:05d}-{part}.webp" for part in ("truth", "render")}
        views.append({"index": number, "name": scene.frames[position].name, **scores.as_json(), **pictures})
    context = [
        {"index": scene.numbers[position], "name": scene.frames[position].name}
        | {"picture": f"{folder}/{scene.numbers[position]:05d}.webp"}
        for position in scene.split.context[0].tolist()
    ]
    height, width = measured.pictures.shape[-2:]
    true = measured.true_cameras
    return {
        "name": scene.name,
        **mean_scores(measured.scores).as_json(),
        "views": views,
        "context": context,
        "size": [width, height],
        "cameras": {
            "frames": list(scene.numbers),
            "predicted": cameras_json(measured.cameras),
            "true": None if true is None else cameras_json(true),
            "given": measured.given,
        },
        "controls": {name: scores for name, scores in parts.items() if name not in ("no_leak", "reference")},
        "no_leak": parts.get("no_leak"),
        "protocol_reference": parts.get("reference"),
        "poses": _poses_json(measured),
    }


def _poses_json(measured: Measured) -> dict[str, Any] | None:
    if not measured.poses:
        return None
    line = measured.poses["straight_line"].as_json()
    return {**measured.poses["predicted"].as_json(), "straight_line": line}


def cameras_json(cameras: Cameras) -> dict[str, Any]:
    """Cameras [v] for `results.json`."""
    return {name: _rounded(getattr(cameras, name)) for name in ("world_from_camera", "intrinsics")}


def _rounded(values: Tensor) -> Any:
    """Nested lists with six digits after the point: for plots; nobody measures with them."""
    return np.round(values.double().numpy(), 6).tolist()


def _save(image: Tensor, path: Path) -> None:
    pixels = np.ascontiguousarray(image.to(torch.uint8).permute(1, 2, 0).numpy())
    Image.fromarray(pixels).save(path, quality=WEBP_QUALITY, method=2)

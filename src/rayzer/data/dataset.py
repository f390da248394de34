"""Training samples as a pure function of seed, step and slot (the place in the global batch).

Nothing is remembered between samples, so the number of workers and processes and the step at which a run resumes
cannot change what is trained on. A sample that cannot be made is replaced by one of the next scene, and says so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rayzer.data.formats import read_scene
from rayzer.data.images import EncodedImage, ImageFit
from rayzer.data.randomness import random_stream
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import ReadOptions, SceneRef, leave_out
from rayzer.data.view_sampling import ViewSampler, in_frame_order
from rayzer.data.views import decode_frames, fitted_cameras
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras, normalize_poses
from rayzer.view_split import ViewSplit

ATTEMPTS = 16  # with one sample in a hundred bad, as many in a row never happen; a list that is all bad ends at once
RECENT_SCENES = 128  # a parsed scene of 300 frames takes about 0.3 MB

CameraUse = Literal["none", "stored", "normalized"]
"""Cameras of a sample: not even read; as stored; or as LVSM wants them (`normalize_poses` over the sample)."""


@dataclass(frozen=True)
class Draw:
    """All that a training sample depends on, apart from the data.

    Attributes:
        seed: of the run.
        step: optimiser step, from 0; it drives the curriculum.
        slot: place in the global batch, from 0.
        number: the running number of the sample, from 0, among all that its source gives.
        counts: numbers of context and target views, equal for all slots of a step.
    """

    seed: int
    step: int
    slot: int
    number: int
    counts: tuple[int, int]


@dataclass(frozen=True)
class Problem:
    """Something about a scene that a user should hear of once: the scene's path, and one line about it."""

    scene: str
    message: str


@dataclass(frozen=True, eq=False)
class Sample:
    """One training sample; its `v` views are sorted by frame.

    Attributes:
        images: uint8 [v, 3, h, w] RGB (channels last in memory, as decoders give them).
        frames: int64 [v] frame numbers in the scene, ascending: for codes of time or order.
        split: context and target as positions among the `v` views, batch size 1.
        scene: the scene's name.
        cameras: float32 [v] of the images, if they were asked for.
        depth_m: float32 [v, rows, columns] along the optical axis, at the centres of equal cells of the images, in the
            unit of the cameras; NaN where unknown. None if it was not asked for, or is unknown.
        problems: what was wrong with this scene, or with those that it replaces.
        replaces: whether it stands in for a sample that could not be made.
    """

    images: Tensor
    frames: Tensor
    split: ViewSplit
    scene: str
    cameras: Cameras | None = None
    depth_m: Tensor | None = None
    problems: tuple[Problem, ...] = ()
    replaces: bool = False


class Sampled(Protocol):
    """Where training samples come from: a list of scenes, procedural rooms, a mixture of others."""

    def sample(self, draw: Draw) -> Sample:
        """The sample of a draw: the same whenever and wherever it is asked for.

        Raises:
            InputError: if there is none, nor one to replace it.
        """
        ...


class SampleStream(Dataset[Sample | InputError]):
    """The training samples of a run, by (step, slot).

    Args:
        source: where they come from.
        views: says how many views the samples of a step have.
        seed: of the run, at least 0.
        batch_size: slots of a step, over all processes.
    """

    def __init__(self, source: Sampled, views: ViewSampler, seed: int, batch_size: int):
        if seed < 0 or batch_size < 1:
            raise InputError(f"seed {seed}, batch size {batch_size}: must be at least 0 and 1")
        self.source, self.views, self.seed, self.batch_size = source, views, seed, batch_size

    def draw(self, step: int, slot: int) -> Draw:
        """What the sample of a step and slot is drawn with."""
        counts = self.views.draw_counts(random_stream(self.seed, "numbers of views", step))
        return Draw(self.seed, step, slot, step * self.batch_size + slot, counts)

    def __getitem__(self, place: tuple[int, int]) -> Sample | InputError:
        """The sample at (step, slot); an error is a value, because worker processes wrap what they raise."""
        try:
            return self.source.sample(self.draw(*place))
        except InputError as error:
            return error


class SceneSamples:
    """Samples of a list of scenes: in each epoch every scene once, in another order.

    Scenes are parsed when they are needed; the last ones are kept.

    Args:
        scenes: at least one.
        views: chooses the frames.
        fit: `(width_px, height_px) -> ImageFit`; all pictures must come out in one size.
        cameras: whether samples have cameras, and which.
        allow_outside: as in `ReadOptions`.
        depth: whether samples have depth, where scenes do; with stored cameras, whose unit it has.
    """

    def __init__(
        self,
        scenes: Sequence[SceneRef],
        views: ViewSampler,
        fit: Callable[[int, int], ImageFit],
        cameras: CameraUse = "none",
        allow_outside: bool = False,
        depth: bool = False,
    ):
        assert cameras == "stored" or not depth
        if not scenes:
            raise InputError("there are no scenes to train on; write one path a line into the scene list")
        self.scenes, self.views, self.fit, self.cameras, self.depth = scenes, views, fit, cameras, depth
        self.options = ReadOptions(allow_outside=allow_outside, cameras=cameras != "none")
        self._recent: OrderedDict[SceneRef, tuple[Scene, tuple[Problem, ...]]] = OrderedDict()

    def sample(self, draw: Draw) -> Sample:
        """See `Sampled`; a scene or picture that cannot be used is replaced by the next scene of the epoch."""
        problems: list[Problem] = []
        for attempt in range(ATTEMPTS):
            ref = self.scenes[scene_at(draw.seed, draw.number, len(self.scenes), attempt)]
            try:
                made = self._attempt(ref, draw, attempt)
            except InputError as error:
                problems.append(Problem(str(ref), str(error)))
            else:
                return replace(made, problems=(*problems, *made.problems), replaces=attempt > 0)
        raise InputError(
            f"step {draw.step}: {ATTEMPTS} attempts in a row made no sample; the last: {problems[-1].message}"
        )

    def read(self, ref: SceneRef) -> tuple[Scene, tuple[Problem, ...]]:
        """Parse a scene, or find it among the recent ones (those that hold pictures in memory are not kept).

        Pictures that are missing are left out and reported.

        Raises:
            InputError: if it cannot be used.
        """
        known = self._recent.pop(ref, None) or self._parse(ref)
        if not any(isinstance(frame.image, np.ndarray | EncodedImage) for frame in known[0].frames):
            self._recent[ref] = known
        if len(self._recent) > RECENT_SCENES:
            self._recent.popitem(last=False)
        return known

    def _parse(self, ref: SceneRef) -> tuple[Scene, tuple[Problem, ...]]:
        missing: list[str] = []
        scene = read_scene(ref, replace(self.options, report=leave_out(missing)))
        missing += [why for _, why in scene.skipped]
        text = f"{len(missing)} of {len(scene)} pictures are left out; the first: {missing[0]}" if missing else ""
        return scene, (Problem(str(ref), text),) if missing else ()

    def _attempt(self, ref: SceneRef, draw: Draw, attempt: int) -> Sample:
        scene, problems = self.read(ref)
        present = torch.tensor(scene.present, dtype=torch.int64)
        rng = random_stream(draw.seed, "views", draw.step, draw.slot, attempt)
        try:
            chosen, split = in_frame_order(self.views.draw_views(len(present), draw.step, draw.counts, rng))
        except InputError as error:
            raise InputError(f"{ref}: {error}") from None
        numbers = present[chosen[0]]
        frames = [scene.frames[number] for number in numbers.tolist()]
        pixels, fits = decode_frames(frames, self.fit)
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        depth_m = _depth(ref, frames) if self.depth else None
        return Sample(images, numbers, split, scene.name, self._cameras(ref, frames, fits), depth_m, problems)

    def _cameras(self, ref: SceneRef, frames: Sequence[Frame], fits: Sequence[ImageFit]) -> Cameras | None:
        if self.cameras == "none":
            return None
        cameras = fitted_cameras(frames, fits)
        if cameras is None:
            raise InputError(
                f"{ref}: has no cameras, which this model needs; estimate them or take the scene off the list"
            )
        if self.cameras == "stored":
            return cameras
        try:
            return Cameras(normalize_poses(cameras.world_from_camera), cameras.intrinsics)
        except ValueError as error:
            raise InputError(f"{ref}: {error}; take the scene off the list") from None


def _depth(ref: SceneRef, frames: Sequence[Frame]) -> Tensor | None:
    """[v, rows, columns], if any frame has it: it belongs to pictures that are packed, which no fit changes."""
    shapes = {frame.depth_m.shape for frame in frames if frame.depth_m is not None}
    if not shapes:
        return None
    if len(shapes) > 1:
        raise InputError(f"{ref}: depth in grids of different sizes; pack the scene again")
    unknown = np.full(shapes.pop(), np.nan)
    known = [unknown if frame.depth_m is None else frame.depth_m for frame in frames]
    return torch.from_numpy(np.stack(known).astype(np.float32))


def scene_at(seed: int, number: int, scenes: int, attempt: int = 0) -> int:
    """Which of `scenes` scenes sample `number` shows: every one once an epoch, in an order of that epoch's own.

    Later attempts take the scenes that follow in the order.
    """
    epoch, place = divmod(number, scenes)
    return int(_order(seed, epoch, scenes)[(place + attempt) % scenes])


@lru_cache(maxsize=2)  # a batch may reach into the next epoch
def _order(seed: int, epoch: int, scenes: int) -> np.ndarray:
    return random_stream(seed, "order of scenes", epoch).permutation(scenes)

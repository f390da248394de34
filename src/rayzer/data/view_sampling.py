"""Which frames of a scene become a training sample, and in which order a model sees them.

Everything here is a pure function: the step drives the curriculum, the random stream is handed in. Frames are
numbered from 0; `ViewSplit`s hold frame numbers until `in_frame_order` turns them into positions in the sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rayzer.errors import InputError
from rayzer.view_split import ViewSplit

Range = tuple[int, int]
"""Smallest and largest whole number, both included."""


@dataclass(frozen=True)
class ViewConfig:
    """How the views of a training sample are drawn from a video.

    Attributes:
        start_distance: smallest and largest number of frames between first and last view at step 0.
        end_distance: the same once the curriculum is over; it grows linearly in between.
        curriculum_steps: length of the curriculum; 0 for none.
        context_views, target_views: smallest and largest number of views of each kind, drawn once per step for
            the whole batch; None for the model's own number.
        target_has_input: targets are drawn from all views of a sample, context views included.
    """

    start_distance: tuple[int, int] = (48, 64)
    end_distance: tuple[int, int] = (64, 96)
    curriculum_steps: int = 30_000
    context_views: tuple[int, int] | None = None
    target_views: tuple[int, int] | None = None
    target_has_input: bool = False

    def __post_init__(self) -> None:
        for name, least in (("start_distance", 1), ("end_distance", 1), ("context_views", 2), ("target_views", 1)):
            value = getattr(self, name)
            if value is not None and not least <= value[0] <= value[1]:
                raise InputError(f"training.views.{name} = {list(value)}: must be [smallest, largest], from {least} on")
        if self.curriculum_steps < 0:
            raise InputError(f"training.views.curriculum_steps = {self.curriculum_steps}: must be at least 0")

    def distance_at(self, step: int) -> Range:
        """Smallest and largest number of frames between first and last view at a step (from 0), rounded down."""
        if step >= self.curriculum_steps:
            return self.end_distance
        (low, high), (low_end, high_end), steps = self.start_distance, self.end_distance, self.curriculum_steps
        return low + (low_end - low) * step // steps, high + (high_end - high) * step // steps


@dataclass(frozen=True)
class ViewSampler:
    """Draws the views of training samples for one model.

    Attributes:
        config: distances and, if they vary, numbers of views.
        context_views, target_views: the model's own numbers, taken where the configuration names none.

    Raises:
        InputError: naming the key, if views could not all be different frames, or a sample would lack the two
            context views at its ends.
    """

    config: ViewConfig
    context_views: int
    target_views: int

    def __post_init__(self) -> None:
        (context, most_context), (_, most_target) = self._ranges
        if context < 2:
            raise InputError(
                f"model.context_views = {context}: training needs at least 2, the first and the last view of a "
                "sample; set training.views.context_views"
            )
        for name in ("start_distance", "end_distance"):
            low, high = getattr(self.config, name)
            if low < most_context + most_target - 1:
                views = f"{most_context} + {most_target} views are that many different frames"
                least = most_context + most_target - 1
                raise InputError(f"training.views.{name} = {[low, high]}: {views}; begin it at {least} or more")

    def draw_counts(self, rng: np.random.Generator) -> tuple[int, int]:
        """Numbers of context and target views, each uniform in its range."""
        context, target = (int(rng.integers(low, high + 1)) for low, high in self._ranges)
        return context, target

    def draw_views(self, frames: int, step: int, counts: tuple[int, int], rng: np.random.Generator) -> ViewSplit:
        """`two_frame_split` at the distance of a step; `counts` are numbers of context and target views.

        Raises:
            InputError: if the scene has too few frames for this step.
        """
        distance = self.config.distance_at(step)
        if frames <= distance[0]:
            needed = f"at step {step} a sample spans {distance[0] + 1} frames or more"
            raise InputError(
                f"has {frames} usable frames, but {needed}; take the scene off the list or lower training.views"
            )
        split = two_frame_split(frames, distance, *counts, rng)
        return _targets_from_all(split, rng) if self.config.target_has_input else split

    def frames_needed(self, steps: range) -> int:
        """How many frames a scene must have to give samples at all of these steps (at least one)."""
        return 1 + max(self.config.distance_at(step)[0] for step in (steps[0], steps[-1]))  # linear, then constant

    @property
    def _ranges(self) -> tuple[Range, Range]:
        context = self.config.context_views or (self.context_views, self.context_views)
        return context, self.config.target_views or (self.target_views, self.target_views)


def two_frame_split(frames: int, distance: Range, context: int, target: int, rng: np.random.Generator) -> ViewSplit:
    """First and last view at a random distance, the others anywhere between (RayZer paper, section 4.1).

    The distance is uniform in `distance` (as far as the scene reaches), then the first frame; the first and last
    view are context, the rest of both is drawn from the frames between and split at random.

    Args:
        frames: how many frames the scene has, more than `distance[0]`.
        distance: smallest and largest difference of the last and the first frame, at least `context + target - 1`.
        context, target: numbers of views, at least 2 and 1.
        rng: where the randomness comes from.

    Returns:
        frame numbers, all different; batch size 1, each part ascending.

    Raises:
        ValueError: if scene or distance are too short.
    """
    low, high = distance
    if frames <= low or low < context + target - 1:
        raise ValueError(f"{context} + {target} views at distances from {low} do not fit into {frames} frames")
    span = int(rng.integers(low, min(high, frames - 1) + 1))
    first = int(rng.integers(frames - span))
    between = first + 1 + rng.choice(span - 1, context + target - 2, replace=False)  # in random order
    return frame_split([first, *between[target:], first + span], between[:target])


def _targets_from_all(split: ViewSplit, rng: np.random.Generator) -> ViewSplit:
    """The same context, and as many targets drawn from all frames."""
    frames = torch.cat([split.context[0], split.target[0]]).tolist()
    return frame_split(split.context[0].tolist(), rng.choice(frames, split.target.shape[1], replace=False))


def frame_split(context: Iterable[int], target: Iterable[int]) -> ViewSplit:
    """A split [1, c], [1, t] of the given frame numbers, each part sorted."""
    return ViewSplit(*(torch.tensor([sorted(map(int, part))], dtype=torch.int64) for part in (context, target)))


def in_frame_order(split: ViewSplit) -> tuple[Tensor, ViewSplit]:
    """How a model sees the views of a split: sorted by frame.

    Where a target view is also a context view (as in official RealEstate10K indices) the frame stands there
    twice, context first.

    Args:
        split: frame numbers [b, c] and [b, t].

    Returns:
        int64 [b, v] ascending frame numbers, and the split as positions among them: entry k of each part is where
        entry k of the given part went.
    """
    frames = torch.cat([split.context, split.target], dim=1)
    order = frames.argsort(dim=1, stable=True)
    context, target = order.argsort(dim=1).tensor_split([split.context.shape[1]], dim=1)
    return frames.gather(1, order), ViewSplit(context, target)

"""Controls: what a score is worth is seen beside those of doing nothing clever, or of spoiled input."""

from __future__ import annotations

import torch
from torch import Tensor

from rayzer.data.randomness import random_stream
from rayzer.geometry.cameras import Cameras
from rayzer.view_split import ViewSplit


def copy_nearest(images: Tensor, frames: Tensor, split: ViewSplit) -> Tensor:
    """For each target the context view nearest by frame number, ties to the earlier.

    Args:
        images: [b, v, 3, h, w].
        frames: [b, v] frame numbers, ascending.
        split: context and target among the views.

    Returns:
        [b, t, 3, h, w].
    """
    return _taken(images, split.context.gather(1, _nearest(frames, split)))


def blend_two(images: Tensor, frames: Tensor, split: ViewSplit) -> Tensor:
    """For each target the mean of the last context view before it and the first after it; shapes as above.

    A target that is a context view is that picture; before the first and after the last there is only one neighbour.
    """
    before, after = neighbours(frames, split)
    return (_taken(images, before) + _taken(images, after)) / 2


def neighbours(frames: Tensor, split: ViewSplit) -> tuple[Tensor, Tensor]:
    """For each target the last context view not after it and the first not before it: two of [b, t] view positions.

    Where there is none on one side, both are the one on the other.
    """
    context, target = _numbers(frames, split)
    far = torch.iinfo(torch.int64).max
    behind, ahead = target[:, :, None] - context[:, None], context[:, None] - target[:, :, None]
    behind_distance, before = behind.masked_fill(behind < 0, far).min(-1)
    ahead_distance, after = ahead.masked_fill(ahead < 0, far).min(-1)
    before = torch.where(behind_distance == far, after, before)
    after = torch.where(ahead_distance == far, before, after)
    return split.context.gather(1, before), split.context.gather(1, after)


def middle_camera(cameras: Cameras, frames: Tensor, split: ViewSplit) -> Cameras:
    """Cameras [b, t] that are all that of the middle context view: what the pictures owe to the camera shows."""
    context, _ = _numbers(frames, split)
    middle = split.context.gather(1, context.argsort(dim=1, stable=True))[:, split.context.shape[1] // 2]
    return ViewSplit(split.context, middle[:, None].expand_as(split.target).contiguous()).target_of(cameras)


def reordered(images: Tensor, split: ViewSplit, order: Tensor) -> tuple[Tensor, ViewSplit]:
    """The same views in another order: place k of the sequence shows what was at `order[k]`.

    Args:
        order: [v] a permutation.

    Returns:
        images [b, v, 3, h, w], and the split that names the same pictures in the same order.
    """
    place = order.argsort()
    return images[:, order], ViewSplit(place[split.context], place[split.target])


def shuffled(views: int) -> Tensor:
    """A permutation of the views that is the same in every evaluation, and never the identity for two or more."""
    rng = random_stream(0, "shuffled order", views)
    order = rng.permutation(views)
    while views > 1 and (order == range(views)).all():
        order = rng.permutation(views)
    return torch.from_numpy(order.copy())


def _nearest(frames: Tensor, split: ViewSplit) -> Tensor:
    """[b, t] places in `split.context`."""
    context, target = _numbers(frames, split)
    distance = (context[:, None] - target[:, :, None]).abs()
    nearest = distance == distance.min(-1, keepdim=True).values
    numbers = context[:, None].expand_as(distance).masked_fill(~nearest, torch.iinfo(torch.int64).max)
    return numbers.argmin(-1)


def _numbers(frames: Tensor, split: ViewSplit) -> tuple[Tensor, Tensor]:
    return frames.gather(1, split.context), frames.gather(1, split.target)


def _taken(images: Tensor, positions: Tensor) -> Tensor:
    return ViewSplit(positions, positions).target_of(images)

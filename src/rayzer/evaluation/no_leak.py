"""Scores that target pictures have no part in.

The usual protocol lets the camera estimator see the targets: each influences its own picture through a handful of
numbers. Here it sees the context alone, and target cameras lie between those of their neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rayzer.evaluation.controls import neighbours
from rayzer.geometry.cameras import Cameras, rigid
from rayzer.geometry.precision import outside_autocast
from rayzer.geometry.rotations import quaternion_from_rotation, rotation_from_quaternion
from rayzer.model.unposed import UnposedModel
from rayzer.view_split import ViewSplit

FILLED = (
    "This model takes a fixed number of views in order, so that its camera estimator saw the previous context view in "
    "the place of each target."
)


ALONE = "This model takes any number of views, so that its camera estimator saw the context views and nothing else."


def cameras_without_targets(model: UnposedModel, images: Tensor, frames: Tensor, split: ViewSplit) -> Cameras:
    """Cameras [b, v] of images [b, v, 3, h, w] that no target has a part in; a target's own is a neighbour's."""
    if not model.takes_any_views:
        return model.estimate_cameras(without_targets(images, frames, split))
    context = split.context_of(images)
    cameras = model.estimate_cameras(context, model.positions_of(frames.gather(1, split.context)))
    place = (stand_ins(frames, split)[:, :, None] == split.context[:, None]).int().argmax(-1)
    return ViewSplit(place, place).target_of(cameras)


def without_targets(images: Tensor, frames: Tensor, split: ViewSplit) -> Tensor:
    """Images [b, v, 3, h, w] in which every target gave its place to the context view that stands in for it."""
    source = stand_ins(frames, split)
    return ViewSplit(source, source).target_of(images)


def stand_ins(frames: Tensor, split: ViewSplit) -> Tensor:
    """[b, v] for every target the context view before it (or else after it), for every context view itself.

    For a target that shows the same frame as a context view it is that one.
    """
    before, _ = neighbours(frames, split)
    return torch.arange(frames.shape[1], device=frames.device).expand(len(frames), -1).scatter(1, split.target, before)


@outside_autocast
def between_neighbours(cameras: Cameras, frames: Tensor, split: ViewSplit) -> Cameras:
    """Cameras [b, t] of the targets, interpolated from their neighbours in the context by frame number.

    Centres and intrinsics linearly, rotations along the great circle (slerp). Before the first context view and after
    the last it is that view's camera.

    Args:
        cameras: [b, v]; those of the context are used.
    """
    before, after = neighbours(frames, split)
    a, b = (ViewSplit(at, at).target_of(cameras) for at in (before, after))
    number, first, last = (frames.gather(1, at).double() for at in (split.target, before, after))
    share = ((number - first) / (last - first).clamp(min=1)).clamp(0, 1).to(cameras.intrinsics.dtype)[..., None]
    rotations = rotation_from_quaternion(
        slerp(quaternion_from_rotation(a.rotations), quaternion_from_rotation(b.rotations), share)
    )
    centers = torch.lerp(a.centers, b.centers, share)
    return Cameras(rigid(rotations, centers), torch.lerp(a.intrinsics, b.intrinsics, share))


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Unit quaternions [..., 4] on the shorter great circle from `start` to `end`, at `share` [..., 1] of the way."""
    dot = (start * end).sum(-1, keepdim=True)
    end, dot = torch.where(dot < 0, -end, end), dot.abs().clamp(max=1)
    angle = torch.atan2((end - dot * start).norm(dim=-1, keepdim=True), dot)
    near = angle < 1e-4  # where both formulas agree to rounding
    sine = torch.where(near, torch.ones_like(angle), angle.sin())
    along = (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / sine
    return normalize(torch.where(near, torch.lerp(start, end, share), along), dim=-1)

"""Comparing camera sets that live in different worlds: Sim(3) alignment and relative pose errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rayzer.geometry.cameras import Cameras, rigid
from rayzer.geometry.precision import outside_autocast, rounding
from rayzer.geometry.rotations import rotation_angle


@dataclass(frozen=True, eq=False)
class Similarity:
    """Sim(3) transforms `x -> scale * rotation @ x + translation` of any leading shape `...`.

    Attributes:
        scale: [...] positive.
        rotation: [..., 3, 3].
        translation: [..., 3].
    """

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    @outside_autocast
    def points(self, points: Tensor) -> Tensor:
        """Transform points [..., n, 3]."""
        rotated = torch.einsum("...ij, ...nj -> ...ni", self.rotation, points)
        return self.scale[..., None, None] * rotated + self.translation[..., None, :]

    @outside_autocast
    def cameras(self, cameras: Cameras) -> Cameras:
        """Transform cameras [..., n]: centres move like points, axes turn, intrinsics stay."""
        rotations = self.rotation[..., None, :, :] @ cameras.rotations
        return Cameras(rigid(rotations, self.points(cameras.centers)), cameras.intrinsics)


@outside_autocast
def align_points(source: Tensor, target: Tensor) -> Similarity:
    """The Sim(3) that carries `source` onto `target` with the least squared error (Umeyama 1991).

    Args:
        source, target: [..., n, 3] corresponding points.

    Returns:
        Similarity of shape [...]. Where all source points coincide the scale is 1; where they lie on a line the
        rotation about that line is arbitrary.
    """
    source_mean, target_mean = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    a, b = source - source_mean, target - target_mean
    u, s, vh = torch.linalg.svd(b.mT @ a)
    sign = torch.det(u @ vh).sign()  # keeps a reflection out of the rotation
    s = torch.cat([s[..., :2], s[..., 2:] * sign[..., None]], -1)
    u = torch.cat([u[..., :2], u[..., 2:] * sign[..., None, None]], -1)
    rotation = u @ vh
    spread = (a * a).sum((-1, -2))
    one_point = a.abs().amax((-1, -2)) <= rounding(source, (-1, -2))
    one = torch.ones_like(spread)
    scale = torch.where(one_point, one, s.sum(-1) / torch.where(one_point, one, spread))
    moved = scale[..., None] * torch.einsum("...ij, ...j -> ...i", rotation, source_mean.squeeze(-2))
    return Similarity(scale, rotation, target_mean.squeeze(-2) - moved)


def align_cameras(source: Cameras, target: Cameras) -> Similarity:
    """The Sim(3) that carries the centres of `source` [..., n] onto those of `target`."""
    return align_points(source.centers, target.centers)


@outside_autocast
def relative_pose_errors(predicted: Cameras, true: Cameras) -> tuple[Tensor, Tensor]:
    """Errors of the relative poses of all pairs i < j of views, as in RRA, RTA and their AUC.

    Args:
        predicted, true: cameras [..., n].

    Returns:
        Rotation errors (geodesic) and translation errors (angle between directions, folded to [0, 90]), both in
        degrees, [..., n (n - 1) / 2]. The translation error is NaN where the true cameras of a pair share one centre
        and 90, the worst, where only the predicted ones do.
    """
    first, second = torch.triu_indices(predicted.shape[-1], predicted.shape[-1], offset=1)
    turn_a, a, no_a = _relative(predicted[..., first], predicted[..., second])
    turn_b, b, no_b = _relative(true[..., first], true[..., second])
    angle = torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1).abs())
    angle = angle.masked_fill(no_a, math.pi / 2).masked_fill(no_b, math.nan)
    return rotation_angle(turn_a @ turn_b.mT).rad2deg(), angle.rad2deg()


def _relative(first: Cameras, second: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation and translation of `w2c_i inv(w2c_j)`, and where there is no translation but rounding errors."""
    first_from_world, apart = first.rotations.mT, second.centers - first.centers
    translation = (first_from_world @ apart[..., None]).squeeze(-1)
    none = apart.norm(dim=-1) <= torch.maximum(rounding(first.centers), rounding(second.centers))
    return first_from_world @ second.rotations, translation, none

"""Comparing camera sets that live in different worlds: Sim(3) alignment and relative pose errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rayzer.geometry.cameras import Cameras, invert_rigid
from rayzer.geometry.precision import outside_autocast
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

    def points(self, points: Tensor) -> Tensor:
        """Transform points [..., n, 3]."""
        rotated = torch.einsum("...ij, ...nj -> ...ni", self.rotation, points)
        return self.scale[..., None, None] * rotated + self.translation[..., None, :]

    def cameras(self, cameras: Cameras) -> Cameras:
        """Transform cameras [..., n]: centres move like points, axes turn, intrinsics stay."""
        pose = cameras.world_from_camera.clone()
        pose[..., :3, :3] = self.rotation[..., None, :, :] @ cameras.rotations
        pose[..., :3, 3] = self.points(cameras.centers)
        return Cameras(pose, cameras.intrinsics)


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
    scale = torch.where(spread > 0, s.sum(-1) / spread.clamp_min(torch.finfo(s.dtype).tiny), torch.ones_like(spread))
    moved = scale[..., None] * torch.einsum("...ij, ...j -> ...i", rotation, source_mean.squeeze(-2))
    return Similarity(scale, rotation, target_mean.squeeze(-2) - moved)


def align_cameras(source: Cameras, target: Cameras) -> Similarity:
    """The Sim(3) that carries the centres of `source` [..., n] onto those of `target`."""
    return align_points(source.centers, target.centers)


@outside_autocast
def relative_pose_errors(predicted: Cameras, true: Cameras) -> tuple[Tensor, Tensor]:
    """Errors of the relative poses of all pairs i < j of views (SPEC section 8, "Poses").

    Args:
        predicted, true: cameras [..., n].

    Returns:
        Rotation errors (geodesic) and translation errors (angle between directions, folded to [0, 90]), both in
        degrees, [..., n (n - 1) / 2]. The translation error is NaN where the true cameras of a pair share one centre.
    """
    first, second = torch.triu_indices(predicted.shape[-1], predicted.shape[-1], offset=1)
    relative = [_relative(cameras.camera_from_world, first, second) for cameras in (predicted, true)]
    turn = relative[0][..., :3, :3] @ relative[1][..., :3, :3].mT
    a, b = relative[0][..., :3, 3], relative[1][..., :3, 3]
    angle = torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1).abs())
    angle = torch.where((b == 0).all(-1), torch.full_like(angle, torch.nan), angle)
    return rotation_angle(turn).rad2deg(), angle.rad2deg()


def _relative(camera_from_world: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """`w2c_i inv(w2c_j)` for the given pairs."""
    return camera_from_world[..., first, :, :] @ invert_rigid(camera_from_world[..., second, :, :])

"""Rotations: 6D vectors, quaternions (w first), rotation vectors and matrices, over any leading shape."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rayzer.geometry.precision import outside_autocast


@outside_autocast
def rotation_from_6d(vector: Tensor) -> Tensor:
    """Gram-Schmidt: 6 numbers `a1, a2` -> rotation with *columns* b1, b2, b3 (Zhou et al. 2019, eq. 15).

    `b1 = unit(a1)`, `b2 = unit(a2 - (b1 . a2) b1)`, `b3 = b1 x b2`.

    Args:
        vector: [..., 6]; `a1` and `a2` must not be parallel.

    Returns:
        [..., 3, 3] rotation matrices.
    """
    a1, a2 = vector[..., :3], vector[..., 3:]
    b1 = normalize(a1, dim=-1)
    b2 = normalize(a2 - (b1 * a2).sum(-1, keepdim=True) * b1, dim=-1)
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2)], -1)


@outside_autocast
def rotation_from_quaternion(wxyz: Tensor) -> Tensor:
    """[..., 4] quaternions (w, x, y, z) of any non-zero length -> [..., 3, 3] rotation matrices."""
    w, x, y, z = normalize(wxyz, dim=-1).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
        torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
        torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


@outside_autocast
def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """[..., 3, 3] rotation matrices -> [..., 4] unit quaternions (w, x, y, z) with w >= 0.

    Of the four products `q q_i` (one per component) the one with the largest `|q_i|` is normalised, so that the
    result and its gradient stay finite at every rotation, half turns included (Shepperd 1978).
    """
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 2, 0] + m[..., 0, 2], m[..., 2, 1] + m[..., 1, 2]
    candidates = torch.stack(  # row i is 4 q_i q
        [
            torch.stack([1 + xx + yy + zz, wx, wy, wz], -1),
            torch.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
            torch.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
            torch.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    quaternion = normalize(candidates.gather(-2, index).squeeze(-2), dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


@outside_autocast
def rotation_from_vector(vector: Tensor) -> Tensor:
    """Rodrigues: [..., 3] axis times angle in radians -> [..., 3, 3]; smooth at zero."""
    squared = (vector * vector).sum(-1)
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)  # keeps the unused branch's gradient finite
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)[..., None, None]
    half = (angle / 2).sin()  # (1 - cos angle) / angle^2, without its cancellation
    versine = torch.where(small, 0.5 - squared / 24, 2 * half * half / safe)[..., None, None]
    cross = cross_matrix(vector)
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + sine * cross + versine * (cross @ cross)


@outside_autocast
def rotation_angle(rotation: Tensor) -> Tensor:
    """[..., 3, 3] -> [...] angle in radians in [0, pi], accurate near 0 and near pi (atan2, not acos)."""
    m = rotation
    axis = torch.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    doubled_cosine = m.diagonal(dim1=-2, dim2=-1).sum(-1) - 1
    squared = (axis * axis).sum(-1)
    doubled_sine = torch.where(squared > 0, squared, torch.ones_like(squared)).sqrt() * (squared > 0)
    return torch.atan2(doubled_sine, doubled_cosine)


def cross_matrix(vector: Tensor) -> Tensor:
    """[..., 3] -> [..., 3, 3] with `cross_matrix(a) @ b == a x b`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.stack(rows, -2)


def look_rotation(forward: Tensor, down: Tensor) -> Tensor:
    """Camera rotation [..., 3, 3] (columns right, down, forward in the world) that looks along `forward`.

    Args:
        forward: [..., 3] viewing direction, not zero.
        down: [..., 3] rough direction of the picture's lower edge, not parallel to `forward`.
    """
    forward, down = torch.broadcast_tensors(normalize(forward, dim=-1), down)
    right = normalize(torch.linalg.cross(down, forward), dim=-1)
    return torch.stack([right, torch.linalg.cross(forward, right), forward], -1)

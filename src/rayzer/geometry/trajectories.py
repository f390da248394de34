"""Camera paths: every function takes known cameras (or a pose to start from) and returns new cameras.

Paths are relative to the world of the cameras they are made from; its scale may be arbitrary, so sizes are
fractions of the scene's own size (see `focus_and_radius`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rayzer.geometry.cameras import Cameras, rigid
from rayzer.geometry.precision import outside_autocast, rounding
from rayzer.geometry.rotations import (
    look_rotation,
    quaternion_from_rotation,
    rotation_angle,
    rotation_from_quaternion,
    rotation_from_vector,
)


@outside_autocast
def interpolate(cameras: Cameras, count: int) -> Cameras:
    """A smooth path through all cameras [n] in their order, n >= 2: `count` cameras, both ends included.

    Centres, intrinsics and (sign-aligned) quaternions follow a Catmull-Rom spline with centripetal knots, so the
    path has a continuous velocity, does not overshoot where cameras stand close together or turn on the spot, and
    moves faster where they stand far apart.
    """
    _check(cameras, count, least=2)
    pose, quaternions = cameras.world_from_camera, align_signs(quaternion_from_rotation(cameras.rotations))
    knots = _knots(cameras)
    times = torch.linspace(0, 1, count, dtype=knots.dtype, device=knots.device) * knots[-1]
    values = torch.cat([pose[:, :3, 3], quaternions, cameras.intrinsics], -1)
    center, quaternion, intrinsics = catmull_rom(knots, values, times).split([3, 4, 4], -1)
    return Cameras(rigid(rotation_from_quaternion(quaternion), center), intrinsics)


@outside_autocast
def orbit(cameras: Cameras, count: int, angle_deg: float = 40.0) -> Cameras:
    """Swing by `angle_deg` in all, sideways about the point that cameras [n] look at: a closed path [count]."""
    start, focus, _ = _start(cameras, count)
    down = start.rotations[:, 1]
    angles = math.radians(angle_deg) / 2 * torch.sin(_phase(count, start))
    return _turned_about(start, focus, down[None] * angles[:, None])


@outside_autocast
def spiral(cameras: Cameras, count: int, size: float = 0.3, turns: int = 2) -> Cameras:
    """Circle `turns` times around the middle view while moving in and out, looking at the focus: a closed path [count].

    `size` is the largest distance from the middle view, as a fraction of its distance to the focus.
    """
    start, focus, radius = _start(cameras, count)
    phase = _phase(count, start)
    grow = (1 - torch.cos(phase)) / 2
    offset = torch.stack([torch.cos(turns * phase) * grow, torch.sin(turns * phase) * grow, 0.5 * torch.sin(phase)], -1)
    return _looking_at(start, focus, start.centers + size * radius * (offset @ start.rotations.mT))


@outside_autocast
def dolly(cameras: Cameras, count: int, size: float = 0.4) -> Cameras:
    """Move from the middle view straight in by `size` of the distance to the focus and back: a closed path [count]."""
    start, _, radius = _start(cameras, count)
    step = (1 - torch.cos(_phase(count, start))) / 2 * size * radius
    centers = start.centers + step[:, None] * start.rotations[:, 2]
    return _cameras(start.rotations.expand(count, 3, 3), centers, start)


@outside_autocast
def wobble(cameras: Cameras, count: int, size: float = 0.12) -> Cameras:
    """A small circle in the image plane of the middle view, looking at the focus: a closed path [count].

    `size` is its radius as a fraction of the distance to the focus. The safest path: little is unseen.
    """
    start, focus, radius = _start(cameras, count)
    phase = _phase(count, start)
    offset = torch.stack([torch.sin(phase), 1 - torch.cos(phase), torch.zeros_like(phase)], -1)
    return _looking_at(start, focus, start.centers + size * radius * (offset @ start.rotations.mT))


PRESETS: dict[str, Callable[[Cameras, int], Cameras]] = {
    "interpolate": interpolate,
    "orbit": orbit,
    "spiral": spiral,
    "dolly": dolly,
    "wobble": wobble,
}


@outside_autocast
def focus_and_radius(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """The point that cameras [n] look at, and its distance from the middle camera.

    The point on the middle camera's axis nearest (in the least-squares sense) to all other optical axes. Where the
    axes are nearly parallel or meet behind the camera, the distance falls back to twice the spread of the centres,
    and to 1 where all cameras stand in one point.

    Returns:
        focus [3] and radius [], both in world units.
    """
    middle = cameras[len(cameras) // 2]
    origin, axis = middle.centers, middle.rotations[:, 2]
    others = cameras.rotations[..., 2]
    across = torch.eye(3, dtype=axis.dtype, device=axis.device) - others[:, :, None] * others[:, None, :]
    slope, offset = across @ axis, (across @ (cameras.centers - origin)[..., None])[..., 0]
    weight = (slope * slope).sum()
    depth = (slope * offset).sum() / weight.clamp_min(1e-12)
    spread = (cameras.centers - cameras.centers.mean(0)).norm(dim=-1).max()
    moved = spread > rounding(cameras.centers, (-1, -2))
    fallback = torch.where(moved, 2 * spread, torch.ones_like(spread))
    good = (weight > 1e-4) & (depth > 0.5 * fallback) & (depth < 20 * fallback)
    radius = torch.where(good, depth, fallback)
    return origin + radius * axis, radius


def catmull_rom(knots: Tensor, values: Tensor, times: Tensor) -> Tensor:
    """Catmull-Rom spline with non-uniform knots: passes through every value, continuous first derivative.

    Args:
        knots: [n] strictly increasing, n >= 2.
        values: [n, d] the value at each knot.
        times: [m] inside `[knots[0], knots[-1]]`.

    Returns:
        [m, d].
    """
    slopes = (values[1:] - values[:-1]) / (knots[1:] - knots[:-1])[:, None]
    width = (knots[1:] - knots[:-1])[:, None]
    inner = (slopes[:-1] * width[1:] + slopes[1:] * width[:-1]) / (width[:-1] + width[1:])
    tangents = torch.cat([slopes[:1], inner, slopes[-1:]])
    index = (torch.searchsorted(knots, times.contiguous(), right=True) - 1).clamp(0, len(knots) - 2)
    h = width[index]
    u = ((times - knots[index]) / h[:, 0])[:, None]
    return (
        (2 * u**3 - 3 * u**2 + 1) * values[index]
        + (u**3 - 2 * u**2 + u) * h * tangents[index]
        + (3 * u**2 - 2 * u**3) * values[index + 1]
        + (u**3 - u**2) * h * tangents[index + 1]
    )


def align_signs(quaternions: Tensor) -> Tensor:
    """Flip signs along [n, 4] so that neighbours lie on the same half sphere (q and -q are one rotation)."""
    dots = (quaternions[1:] * quaternions[:-1]).sum(-1)
    flips = torch.where(dots < 0, -torch.ones_like(dots), torch.ones_like(dots)).cumprod(0)
    return torch.cat([quaternions[:1], quaternions[1:] * flips[:, None]])


def _knots(cameras: Cameras) -> Tensor:
    """Centripetal knots [n]: the square root of the way made, plus a little so that they increase.

    One radian of turning counts as much as the mean distance between neighbours.
    """
    distance = (cameras.centers[1:] - cameras.centers[:-1]).norm(dim=-1)
    turn = rotation_angle(cameras.rotations[1:] @ cameras.rotations[:-1].mT)
    steps = (distance / distance.mean().clamp_min(torch.finfo(distance.dtype).tiny) + turn).sqrt()
    return torch.cat([steps.new_zeros(1), (steps + 0.1).cumsum(0)])


def _phase(count: int, like: Cameras) -> Tensor:
    """[count] angles from 0 up to, not including, 2 pi."""
    return torch.arange(count, dtype=like.intrinsics.dtype, device=like.intrinsics.device) * (2 * math.pi / count)


def _check(cameras: Cameras, count: int, least: int) -> None:
    if len(cameras.shape) != 1 or len(cameras) < least:
        raise ValueError(f"a camera path needs cameras [n] with n >= {least}, got {list(cameras.shape)}")
    if count < 1:
        raise ValueError(f"a camera path needs at least one frame, got {count}")


def _start(cameras: Cameras, count: int) -> tuple[Cameras, Tensor, Tensor]:
    _check(cameras, count, least=1)
    focus, radius = focus_and_radius(cameras)
    return cameras[len(cameras) // 2], focus, radius


def _cameras(rotations: Tensor, centers: Tensor, like: Cameras) -> Cameras:
    return Cameras(rigid(rotations, centers), like.intrinsics.expand(len(centers), 4))


def _turned_about(start: Cameras, point: Tensor, vectors: Tensor) -> Cameras:
    turn = rotation_from_vector(vectors)
    return _cameras(turn @ start.rotations, point + turn @ (start.centers - point), start)


def _looking_at(start: Cameras, focus: Tensor, centers: Tensor) -> Cameras:
    return _cameras(look_rotation(normalize(focus - centers, dim=-1), start.rotations[:, 1]), centers, start)

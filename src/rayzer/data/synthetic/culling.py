"""Which solids a bundle of rays could meet: cheap tests on bounds leave few solids for exact ones.

Everywhere `b` counts rooms, `m` bundles of a room, `n` solids of a room; vectors are component-first, [3, ...].
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_WIDER = 1e-4  # bounds of bundles are this much wider (in slope), so that rounding loses no solid
_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)  # of candidate lists


def bounding_planes(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Planes that hold all rays of a bundle on their inner side.

    Args:
        origins: [3, b, m, s]; directions: [3, b, m, s, r] unit vectors.

    Returns:
        Inward normals [3, b, m, 5] and offsets [b, m, 5]: `normal . point >= offset` inside. Bundles that point all
        ways are not bounded: their normals and offsets are zero.
    """
    axis = _unit(directions.mean((-2, -1)))
    x, y, z = axis
    zero = torch.zeros_like(x)
    steep = y.abs() > 0.9
    across = _unit(torch.where(steep, torch.stack([y, -x, zero]), torch.stack([z, zero, -x])))
    up = torch.linalg.cross(axis, across, dim=0)
    forward = dot(directions, axis[..., None, None])
    normals = [axis]
    for side in (across, up):
        slope = dot(directions, side[..., None, None]) / forward
        normals.append(side - (slope.amin((-2, -1)) - _WIDER) * axis)
        normals.append((slope.amax((-2, -1)) + _WIDER) * axis - side)
    bounded = forward.amin((-2, -1)) > 0.01
    planes = torch.stack(normals, -1).where(bounded[..., None], 0.0)
    return planes, dot(planes[..., None, :], origins[..., None]).amin(-2)


def reached_by_planes(planes: tuple[Tensor, Tensor], boxes: tuple[Tensor, Tensor]) -> Tensor:
    """Bool [b, m, n]: whether a box has a part on the inner side of each plane of a bundle.

    Args:
        planes: as from `bounding_planes`.
        boxes: centres and half extents along the axes of the world, [3, b, n]; those without extent are not reached.
    """
    normals, offsets = planes
    center, extent = (value[:, :, None] for value in boxes)
    inside = [(extent[0] > 0).expand(*offsets.shape[:2], -1)]
    for normal, offset in zip(normals[..., None, :].unbind(-1), offsets[..., None, :].unbind(-1), strict=True):
        inside.append(dot(normal, center) + dot(normal.abs(), extent) >= offset)
    return torch.stack(inside).all(0)


def reached_by_boxes(points: Tensor, margin_m: float, boxes: tuple[Tensor, Tensor]) -> Tensor:
    """Bool [b, m, n]: whether boxes (as above) come within `margin_m` of the box around points [3, b, m, q]."""
    low, high = points.amin(-1), points.amax(-1)
    center, extent = (value[:, :, None] for value in boxes)
    offset = (center - (low + high)[..., None] / 2).abs()
    return (offset <= extent + margin_m + (high - low)[..., None] / 2).all(0)


def candidate_lists(reached: Tensor, rays_per_bundle: int, budget: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The solids that bundles reach, in batches of bundles with about as many of them.

    Args:
        reached: bool [b, m, n]; lists are filled up with the last solid of each room, which must be one never met.
        budget: a batch has at most so many pairs of a ray and a solid (or one bundle).

    Yields:
        bundles [q] (counted through the rooms) and solids [q, k] (likewise).
    """
    rooms, per_room, solids = reached.shape
    bundle, solid = reached.view(-1, solids).nonzero().unbind(1)
    counts = bundle.bincount(minlength=rooms * per_room)
    place = torch.arange(len(bundle), device=bundle.device) - (counts.cumsum(0) - counts)[bundle]
    group = torch.bucketize(counts, torch.tensor((0, *_LENGTHS), device=bundle.device))
    members = group.bincount(minlength=1 + len(_LENGTHS)).tolist()
    longest = max((length for length, count in zip((0, *_LENGTHS), members, strict=True) if count), default=0)
    room = torch.arange(rooms, device=bundle.device).repeat_interleave(per_room)
    lists = (room * solids + solids - 1)[:, None].repeat(1, longest)
    lists[bundle, place] = solid + room[bundle] * solids
    order = group.argsort().split(members)
    for length, some in zip(_LENGTHS, order[1:], strict=True):
        for bundles in some.split(max(1, budget // (length * rays_per_bundle))):
            if len(bundles):
                yield bundles, lists[bundles, :length]


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Scalar products [...] of vectors [3, ...]."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def _unit(vectors: Tensor) -> Tensor:
    return vectors / dot(vectors, vectors).sqrt().clamp(min=1e-20)

"""Solids (placed shapes) and the rays that meet them.

The world has y down, the floor of the room at y = 0 and metres as units. Leading dimensions `...` of solids
and rays broadcast, so that a batch of rooms is cast like one room. `n` counts solids, `r` rays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from rayzer.data.synthetic.records import TensorRecord
from rayzer.data.synthetic.shapes import SHAPES, dominant_axis

_ROUNDING = 1e-4  # bounds of bundles are this much wider (in slope), so that rounding loses no solid


@dataclass(frozen=True, eq=False)
class Rays(TensorRecord):
    """A bundle of rays from one point: `origin` [..., 3], unit `directions` [..., r, 3], world frame."""

    origin: Tensor
    directions: Tensor

    def at(self, distances: Tensor) -> Tensor:
        """Points [..., r, 3] at `distances` [..., r] (metres) along the rays."""
        return self.origin[..., None, :] + distances[..., None] * self.directions

    def bounding_planes(self) -> Tensor:
        """Inward normals [..., 5, 3] of planes through the origin that hold all rays on their inner side.

        They are zero, and so bound nothing, where the rays point all ways.
        """
        axis = torch.nn.functional.normalize(self.directions.mean(-2), dim=-1)
        steep = axis[..., 1:2].abs() > 0.9
        helper = torch.where(steep, axis.new_tensor([0.0, 0.0, 1.0]), axis.new_tensor([0.0, 1.0, 0.0]))
        across = torch.nn.functional.normalize(torch.linalg.cross(helper, axis), dim=-1)
        forward = (self.directions * axis[..., None, :]).sum(-1)
        planes = [axis]
        for side in (across, torch.linalg.cross(axis, across)):
            slope = (self.directions * side[..., None, :]).sum(-1) / forward
            planes.append(side - (slope.amin(-1, keepdim=True) - _ROUNDING) * axis)
            planes.append((slope.amax(-1, keepdim=True) + _ROUNDING) * axis - side)
        bounded = forward.amin(-1) > 0.01
        return torch.stack(planes, -2).where(bounded[..., None, None], torch.zeros_like(axis)[..., None, :])


@dataclass(frozen=True, eq=False)
class Solids(TensorRecord):
    """Placed shapes of one kind.

    Attributes:
        shape: a key of `SHAPES`.
        centers: [..., n, 3] in world coordinates.
        half_sizes: [..., n, 3] half extents along the local axes, metres.
        yaws: [..., n] radians about the vertical: local z points to (sin yaw, 0, cos yaw) in the world.
        skins: int64 [..., n, 6] index of the material on the faces with local normals -x +x -y +y -z +z.
    """

    shape: str
    centers: Tensor
    half_sizes: Tensor
    yaws: Tensor
    skins: Tensor

    def __len__(self) -> int:
        return self.yaws.shape[-1]

    def select(self, mask: Tensor) -> Solids:
        """Only the solids where `mask` [n] is set (in every room of a batch)."""
        chosen = mask.nonzero()[:, 0]  # once, not in every indexing below
        return Solids(
            self.shape,
            self.centers.index_select(-2, chosen),
            self.half_sizes.index_select(-2, chosen),
            self.yaws.index_select(-1, chosen),
            self.skins.index_select(-2, chosen),
        )

    def distances(self, rays: Rays) -> Tensor:
        """Metres along each ray to each solid, [..., n, r]; infinity where it misses."""
        origin = self._into_local(rays.origin[..., None, :] - self.centers)[..., None]
        directions = self._into_local(rays.directions[..., None, :, :], extra_dims=1)
        return SHAPES[self.shape].distance(origin, directions, self._half_sizes(directions.dim()))

    def signed_distances(self, points: Tensor) -> Tensor:
        """Metres from `points` [..., r, 3] to each surface, [..., n, r]; negative inside (outside a room)."""
        local = self._into_local(points[..., None, :, :] - self.centers[..., None, :], extra_dims=1)
        return SHAPES[self.shape].signed_distance(local, self._half_sizes(local.dim()))

    def reaches_into(self, origin: Tensor, planes: Tensor) -> Tensor:
        """Bool [n]: whether the bounding box reaches to the inner side of all planes of some bundle of rays.

        The planes go through `origin` [..., 3] and have inward normals [..., p, 3].
        """
        ahead = ((self.centers - origin[..., None, :])[..., None, :] * planes[..., None, :, :]).sum(-1)
        reach = (
            self._into_local(planes[..., None, :, :], extra_dims=1).abs() * self._half_sizes(planes.dim() + 1)
        ).sum(0)
        return _any_room((ahead + reach >= 0).all(-1))

    def within(self, middle: Tensor, radius: Tensor) -> Tensor:
        """Bool [n]: whether the bounding sphere meets the ball around `middle` [..., 3] of `radius` [...]."""
        offset = (self.centers - middle[..., None, :]).norm(dim=-1)
        return _any_room(offset < radius[..., None] + self.half_sizes.norm(dim=-1))

    def _half_sizes(self, dims: int) -> Tensor:
        """Half sizes [3, ..., n, 1] of `dims` dimensions: component-first, so the others must be filled up."""
        sizes = self.half_sizes.movedim(-1, 0)[..., None]
        return sizes.reshape(3, *(1,) * (dims - sizes.dim()), *sizes.shape[1:])

    def _into_local(self, vectors: Tensor, extra_dims: int = 0) -> Tensor:
        """Turn world vectors [..., n | 1, (r,) 3] into every solid's axes: [3, ..., n, (r)]."""
        yaws = self.yaws.reshape(self.yaws.shape + (1,) * extra_dims)
        return torch.stack(_turned(vectors.unbind(-1), -yaws))


@dataclass(frozen=True, eq=False)
class Hits:
    """Where rays first meet a solid.

    Attributes:
        points: [..., r, 3] in the world; normals: [..., r, 3] unit, world, towards the free side.
        local: [..., r, 3] the points in the frame of their solid; uv: [..., r, 2] on its surface; metres.
        materials: int64 [..., r].
    """

    points: Tensor
    normals: Tensor
    local: Tensor
    uv: Tensor
    materials: Tensor


def in_sight(solids: Sequence[Solids], rays: Rays) -> list[Solids]:
    """Only the solids that some ray could meet (and perhaps a few more); kinds without any are left out."""
    planes = rays.bounding_planes()
    return _nonempty(kind.select(kind.reaches_into(rays.origin, planes)) for kind in solids)


def nearest(solids: Sequence[Solids], rays: Rays) -> tuple[Tensor, Tensor]:
    """First meeting of each ray: metres along it [..., r] and the solid's index [..., r], kinds counted on."""
    found = [kind.distances(rays).min(-2) for kind in solids]
    firsts = accumulate((len(kind) for kind in solids[:-1]), initial=0)
    distance, kind = torch.stack([item.values for item in found]).min(0)
    index = torch.stack([item.indices + first for item, first in zip(found, firsts, strict=True)])
    return distance, index.gather(0, kind[None])[0]


def cast(solids: Sequence[Solids], rays: Rays) -> Hits:
    """First meeting of each ray with what it takes to shade it; every ray must hit (rooms are closed)."""
    seen = in_sight(solids, rays)
    distance, index = nearest(seen, rays)
    points = rays.at(distance)
    placed = torch.cat([torch.cat([s.centers, s.half_sizes, s.yaws[..., None]], -1) for s in seen], -2)
    center, half_size, yaw = _pick(placed, index).split([3, 3, 1], -1)
    local = torch.stack(_turned((points - center).unbind(-1), -yaw[..., 0]))
    normal, uv = _surfaces(seen, index, local, half_size.movedim(-1, 0))
    skins = _pick(torch.cat([kind.skins for kind in seen], -2), index)
    return Hits(
        points,
        torch.stack(_turned(normal.unbind(0), yaw[..., 0]), -1),
        local.movedim(0, -1),
        uv.movedim(0, -1),
        skins.gather(-1, _face(normal)[..., None])[..., 0],
    )


def occluded(solids: Sequence[Solids], rays: Rays, lengths: Tensor) -> Tensor:
    """Bool [..., r]: whether something stands on the first `lengths` [..., r] metres of each ray.

    The room is left out: between two points in a room there is no wall.
    """
    things = in_sight([kind for kind in solids if kind.shape != "room"], rays)
    if not things:
        return torch.zeros_like(lengths, dtype=torch.bool)
    return torch.stack([kind.distances(rays).amin(-2) for kind in things]).amin(0) < lengths


def clearance(solids: Sequence[Solids], points: Tensor, margin_m: float = torch.inf) -> Tensor:
    """Metres from `points` [..., r, 3] to the nearest surface, [..., r], negative inside things.

    Solids further than `margin_m` from all points may be left out: then larger values are only bounds.
    """
    middle = points.mean(-2)
    radius = (points - middle[..., None, :]).norm(dim=-1).amax(-1) + margin_m
    near = _nonempty(kind.select(kind.within(middle, radius)) for kind in solids)
    return torch.cat([kind.signed_distances(points) for kind in near], -2).amin(-2)


def _nonempty(solids: Iterable[Solids]) -> list[Solids]:
    return [kind for kind in solids if len(kind)]


def _surfaces(solids: Sequence[Solids], index: Tensor, local: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    """Local normals [3, ..., r] and uv [2, ..., r] of points on the solids counted by `index` [..., r]."""
    normal, uv = torch.zeros_like(local), torch.zeros_like(local[:2])
    first = 0
    for kind in solids:
        chosen = (index >= first) & (index < first + len(kind))
        kind_normal, kind_uv = SHAPES[kind.shape].surface(local, half_size)
        normal, uv = torch.where(chosen, kind_normal, normal), torch.where(chosen, kind_uv, uv)
        first += len(kind)
    return normal, uv


def _face(normal: Tensor) -> Tensor:
    """Faces 0..5 = -x +x -y +y -z +z [..., r] from local normals [3, ..., r]."""
    axis = dominant_axis(normal.abs())
    return 2 * axis + (normal.gather(0, axis[None])[0] > 0)


def _turned(vectors: Sequence[Tensor], yaws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors, given as their x, y and z, turned by `yaws` about the vertical."""
    x, y, z = vectors
    cosine, sine = yaws.cos(), yaws.sin()
    x, y, z = torch.broadcast_tensors(cosine * x + sine * z, y, cosine * z - sine * x)
    return x, y, z


def _pick(table: Tensor, index: Tensor) -> Tensor:
    """Rows [..., r, k] of `table` [..., n, k] at `index` [..., r]; leading dimensions broadcast."""
    if table.dim() == 2:
        return table[index]
    table = table.expand(*index.shape[:-1], *table.shape[-2:])
    return table.gather(-2, index[..., None].expand(*index.shape, table.shape[-1]))


def _any_room(mask: Tensor) -> Tensor:
    """[n] from [..., n]: a solid counts for the whole batch as soon as one room or bundle needs it."""
    return mask.flatten(0, -2).any(0) if mask.dim() > 1 else mask

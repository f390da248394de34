"""Solids (placed shapes) and the rays that meet them.

The world has y down, the floor of the room at y = 0 and metres as units. Rays come in bundles of one room each, for
which the solids in question are picked first (`culling`). `b` counts rooms, `m` bundles of a room, `s` origins of
a bundle, `r` rays from each origin, `n` solids. Vectors of rays are component-first, [3, ...]: see `shapes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayzer.data.synthetic.culling import bounding_planes, candidate_lists, reached_by_boxes, reached_by_planes
from rayzer.data.synthetic.records import TensorRecord
from rayzer.data.synthetic.shapes import SHAPES, dominant_axis

# Pairs of a ray and a solid that are tried at once: what a CPU keeps in its cache; what fills a GPU.
_PAIRS = {"cpu": 1 << 16, "cuda": 1 << 24}


@dataclass(frozen=True, eq=False)
class Rays(TensorRecord):
    """Rays in bundles: `origins` [3, b, m, s] in the world, unit `directions` [3, b, m, s, r]."""

    origins: Tensor
    directions: Tensor

    def at(self, distances: Tensor) -> Tensor:
        """Points [3, b, m, s, r] at `distances` [b, m, s, r] (metres) along the rays."""
        return self.origins[..., None] + distances * self.directions

    def flattened(self) -> Rays:
        """Bundles counted through the rooms: `origins` [3, b * m, s], `directions` [3, b * m, s, r]."""
        return Rays(self.origins.flatten(1, 2), self.directions.flatten(1, 2))

    def __getitem__(self, bundles: Tensor) -> Rays:
        """Some bundles of flattened rays."""
        return self.map(lambda value: value[:, bundles])


@dataclass(frozen=True, eq=False)
class Solids(TensorRecord):
    """Placed shapes of one kind.

    Attributes:
        shape: a key of `SHAPES`.
        centers: [..., n, 3] in world coordinates.
        half_sizes: [..., n, 3] half extents along the local axes, metres.
        world_from_local: [..., n, 3, 3] rotations; columns are the local axes in the world.
        skins: int64 [..., n, 6] index of the material on the faces with local normals -x +x -y +y -z +z.
    """

    shape: str
    centers: Tensor
    half_sizes: Tensor
    world_from_local: Tensor
    skins: Tensor

    def __len__(self) -> int:
        return self.centers.shape[-2]

    def boxes(self) -> tuple[Tensor, Tensor]:
        """Bounding boxes: centres and half extents along the axes of the world, [3, ..., n]."""
        extents = (self.world_from_local.abs() * self.half_sizes[..., None, :]).sum(-1)
        return self.centers.movedim(-1, 0).contiguous(), extents.movedim(-1, 0).contiguous()

    def columns(self) -> Frames:
        """Where all solids are, counted through the rooms."""
        rotations = self.world_from_local.reshape(-1, 3, 3).movedim(0, -1)
        frames = Frames(self.centers.reshape(-1, 3).T, self.half_sizes.reshape(-1, 3).T, rotations)
        return frames.map(Tensor.contiguous)


@dataclass(frozen=True, eq=False)
class Frames(TensorRecord):
    """Places of solids: `centers` [3, ...], `half_sizes` [3, ...], `rotations` [3, 3, ...], local to world."""

    centers: Tensor
    half_sizes: Tensor
    rotations: Tensor

    def __getitem__(self, chosen: Tensor) -> Frames:
        return self.map(lambda value: value[..., chosen])

    def unsqueezed(self, count: int) -> Frames:
        """With `count` more dimensions at the end."""
        return self.map(lambda value: value[(...,) + (None,) * count])

    def into_local(self, points: Tensor) -> Tensor:
        """World points [3, ...] in the axes of the solids."""
        return turned_back(points - self.centers, self.rotations)


@dataclass(frozen=True, eq=False)
class Hits:
    """Where rays first meet a solid.

    Attributes:
        distances: [b, m, s, r] metres along the rays.
        points: [3, b, m, s, r] in the world; normals: [3, b, m, s, r] unit, world, towards the free side.
        local: [3, b, m, s, r] the points in the frame of their solid; uv: [2, b, m, s, r] on its surface; metres.
        materials: int64 [b, m, s, r].
    """

    distances: Tensor
    points: Tensor
    normals: Tensor
    local: Tensor
    uv: Tensor
    materials: Tensor


def cast(solids: Sequence[Solids], rays: Rays) -> Hits:
    """First meeting of each ray with what it takes to shade it; every ray must hit (rooms are closed)."""
    distances, index = nearest(solids, rays)
    points = rays.at(distances)
    normals, local = torch.empty_like(points).flatten(1), torch.empty_like(points).flatten(1)
    uv, materials = torch.empty_like(local[:2]), torch.empty_like(index).flatten()
    rooms, per_room = index.shape[0], index[0].numel()
    flat_points, flat_index, first = points.flatten(1), index.flatten(), 0
    for kind in solids:
        hit = ((flat_index >= first) & (flat_index < first + len(kind))).nonzero()[:, 0]
        chosen = flat_index[hit] - first + (hit // per_room * len(kind) if rooms > 1 else 0)
        frames = kind.columns()[chosen]
        local[:, hit] = here = frames.into_local(flat_points[:, hit])
        normal, uv[:, hit] = SHAPES[kind.shape].surface(here, frames.half_sizes)
        normals[:, hit] = turned_back(normal, frames.rotations.transpose(0, 1))
        materials[hit] = kind.skins.reshape(-1, 6)[chosen, _face(normal)]
        first += len(kind)
    shape = index.shape
    fields = (normals.unflatten(1, shape), local.unflatten(1, shape), uv.unflatten(1, shape), materials.view(shape))
    return Hits(distances, points, *fields)


def _face(normal: Tensor) -> Tensor:
    """Faces 0..5 = -x +x -y +y -z +z [...] from local normals [3, ...]."""
    axis = dominant_axis(normal.abs())
    return 2 * axis + (normal.gather(0, axis[None])[0] > 0)


def nearest(solids: Sequence[Solids], rays: Rays) -> tuple[Tensor, Tensor]:
    """First meeting of each ray: metres along it and the solid's index in its room, kinds counted on, [b, m, s, r].

    `solids` are [b, n], and the last of each kind is one that is never met (as from `together`).
    """
    planes, flat = bounding_planes(rays.origins, rays.directions), rays.flattened()
    best = torch.full_like(flat.directions[0], torch.inf)
    index = torch.zeros_like(best, dtype=torch.int64)
    first = 0
    for kind in solids:
        frames = kind.columns()
        for bundles, chosen in candidate_lists(reached_by_planes(planes, kind.boxes()), *_batch_size(best)):
            found = _entries(kind.shape, frames[chosen], flat[bundles])
            nearer, before = found.amin(1), best[bundles]
            position = _positions(found, nearer)
            number = first + (chosen % len(kind)).gather(1, position.flatten(1)).view_as(position)
            index[bundles] = torch.where(nearer < before, number, index[bundles])
            best[bundles] = torch.minimum(nearer, before)
        first += len(kind)
    shape = rays.directions.shape[1:]
    return best.view(shape), index.view(shape)


def occluded(solids: Sequence[Solids], rays: Rays, lengths: Tensor, asked: Tensor) -> Tensor:
    """Bool [b, m, s, r]: whether something stands on the first `lengths` [b, m, s, r] metres of each ray.

    The room is left out: between two points in a room there is no wall. Bundles without a ray that is `asked`
    [b, m, s, r] for are left out too, and False.
    """
    planes, flat = bounding_planes(rays.origins, rays.directions), rays.flattened()
    free = torch.full_like(flat.directions[0], torch.inf)
    wanted = asked.flatten(2).any(-1)[..., None]
    for kind in solids:
        if kind.shape == "room":
            continue
        frames = kind.columns()
        for bundles, chosen in candidate_lists(wanted & reached_by_planes(planes, kind.boxes()), *_batch_size(free)):
            found = _entries(kind.shape, frames[chosen], flat[bundles])
            free[bundles] = torch.minimum(free[bundles], found.amin(1))
    return free.view(lengths.shape) < lengths


def clearance_within(solids: Sequence[Solids], points: Tensor, margin_m: float) -> Tensor:
    """Metres from `points` [3, b, m, q] to the nearest surface, at most `margin_m`; negative inside things.

    Returns:
        [b, m, q].
    """
    flat = points.flatten(1, 2)
    best = torch.full_like(flat[0], margin_m)
    for kind in solids:
        frames = kind.columns()
        reached = reached_by_boxes(points, margin_m, kind.boxes())
        for bundles, chosen in candidate_lists(reached, *_batch_size(best)):
            near = frames[chosen].unsqueezed(1)
            found = SHAPES[kind.shape].signed_distance(near.into_local(flat[:, bundles, None]), near.half_sizes)
            best[bundles] = torch.minimum(best[bundles], found.amin(1))
    return best.view(points.shape[1:])


def clearance(solids: Sequence[Solids], points: Tensor) -> Tensor:
    """Metres from `points` [..., 3] in one room to the nearest surface, [...], negative inside things.

    `solids` are [n], and all are tried: for a few points.
    """
    found = []
    for kind in solids:
        frames = kind.columns().unsqueezed(points.dim() - 1)
        local = frames.into_local(points.movedim(-1, 0)[:, None])
        found.append(SHAPES[kind.shape].signed_distance(local, frames.half_sizes).amin(0))
    return torch.stack(found).amin(0)


def _entries(shape: str, frames: Frames, rays: Rays) -> Tensor:
    """Metres along rays [q, s, r] to solids at `frames` [q, k], infinity where they miss: [q, k, s, r]."""
    origin = frames.unsqueezed(1).into_local(rays.origins[:, :, None])[..., None]
    direction = turned_back(rays.directions[:, :, None], frames.unsqueezed(2).rotations)
    return SHAPES[shape].distance(origin, direction, frames.unsqueezed(2).half_sizes)


def _positions(values: Tensor, least: Tensor) -> Tensor:
    """Positions int64 [q, ...] of the smallest of `values` [q, k, ...]; on CPUs ten times as fast as `min(1)`."""
    count = values.shape[1]
    positions = torch.arange(count, device=values.device, dtype=torch.uint8 if count < 256 else torch.int16)
    return ((values == least[:, None]) * positions.view(-1, *(1,) * (values.dim() - 2))).amax(1).long()


def _batch_size(bundles: Tensor) -> tuple[int, int]:
    """Rays per bundle of [b * m, ...], and how many pairs of a ray and a solid to try at once."""
    return bundles[0].numel(), _PAIRS.get(bundles.device.type, _PAIRS["cuda"])


def turned_back(vectors: Tensor, rotations: Tensor) -> Tensor:
    """The transposes of `rotations` [3, 3, ...] times vectors [3, ...]: from the world into local axes.

    No matrix product: on GPUs those may be rounded to ten bits.
    """
    return (rotations * vectors[:, None]).sum(0)

"""Light: soft lamps with cast shadows, light from all around, darker corners, faint highlights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rayzer.data.synthetic.casting import Hits, Rays, Solids, cast, clearance_within, occluded
from rayzer.data.synthetic.culling import dot
from rayzer.data.synthetic.records import TensorRecord
from rayzer.data.synthetic.textures import MaterialTable

_SHADOW_GAP_M = 2e-3  # a surface must not shade itself
_CORNER_M = 0.25  # things closer than this take away some of the light from all around
_EXPOSURE = 1.15  # of linear light, before highlights are rolled off


@dataclass(frozen=True, eq=False)
class Lamps(TensorRecord):
    """Lamps that are parallelograms and shine to one side.

    Attributes:
        centers: [l, 3] world, metres; sides: [l, 2, 3] from the centre to the middle of two edges, metres.
        facing: [l, 3] unit direction that the lamp shines to; colors: [l, 3] linear RGB at one metre.
    """

    centers: Tensor
    sides: Tensor
    facing: Tensor
    colors: Tensor


@dataclass(frozen=True, eq=False)
class Room(TensorRecord):
    """All there is to see: solids by kind (the room itself first), their materials and the light.

    In a batch of rooms (`together`) solids, lamps and ambient light have one more dimension [b] before the others.

    Attributes:
        ambient: [2, 3] linear RGB of the light from above and from below.
    """

    solids: tuple[Solids, ...]
    materials: MaterialTable
    lamps: Lamps
    ambient: Tensor


def radiance(room: Room, rays: Rays, lamp_points: Tensor, spacing: Tensor) -> Tensor:
    """Linear RGB [3, b, m, s, r] seen along the rays.

    Args:
        room: rooms in a batch.
        rays: [b, m] bundles.
        lamp_points: spots [s, 2] in [-1, 1]^2 on the lamps: the rays of one origin see lamps that are points, and
            the mean over origins with other spots has soft shadows.
        spacing: [b] radians between neighbouring rays: finer textures are smoothed.
    """
    hits = cast(room.solids, rays)
    light, shine = _lamp_light(room, hits, rays, lamp_points)
    light = light + _ambient(room, hits)
    albedo = _albedo(room.materials, hits, rays, spacing)
    glow, gloss = room.materials.glow[hits.materials], room.materials.gloss[hits.materials]
    return (light + glow) * albedo + gloss * shine


def tone_mapped(linear: Tensor) -> Tensor:
    """Display values in [0, 1] of linear light: highlights roll off instead of clipping."""
    return (1 - torch.exp(-_EXPOSURE * linear)).clamp(min=0) ** (1 / 2.2)


def _albedo(materials: MaterialTable, hits: Hits, rays: Rays, spacing: Tensor) -> Tensor:
    """Linear RGB [3, b, m, s, r] of the surfaces."""
    facing = dot(hits.normals, rays.directions).abs().clamp(min=0.05)
    footprint_m = hits.distances * spacing[:, None, None, None] / facing.sqrt()  # the mean of its height and width
    local, uv = hits.local.movedim(0, -1), hits.uv.movedim(0, -1)
    return materials.albedo(hits.materials, local, uv, footprint_m).movedim(-1, 0)


def _ambient(room: Room, hits: Hits) -> Tensor:
    above, below = room.ambient.permute(1, 2, 0)[..., None, None, None]
    upright = 0.5 - 0.5 * hits.normals[1]
    probe = hits.points + _CORNER_M * hits.normals
    near = clearance_within(room.solids, probe.flatten(-2), _CORNER_M).view_as(upright)
    return torch.lerp(below, above, upright) * (0.45 + 0.55 * (near / _CORNER_M).clamp(min=0))


def _lamp_light(room: Room, hits: Hits, rays: Rays, lamp_points: Tensor) -> tuple[Tensor, Tensor]:
    """(light on the surface, highlight towards the viewer) [3, b, m, s, r] from spots [s, 2] on all lamps."""
    centers, facing, colors = (
        value.movedim(-1, 0) for value in (room.lamps.centers, room.lamps.facing, room.lamps.colors)
    )
    spots = centers[..., None] + (room.lamps.sides.permute(3, 0, 1, 2)[..., None, :] * lamp_points).sum(
        -1
    )  # [3, b, l, s]
    facing = facing[..., None, None, None]
    offset = hits.points[:, :, None] - spots[:, :, :, None, :, None]
    distance = dot(offset, offset).sqrt()
    direction = offset / distance
    normals = hits.normals[:, :, None]
    sent = dot(direction, facing).clamp(min=0) / (1 + distance.square())
    received = -dot(direction, normals).clamp(max=0)
    asked = (sent > 0) & (received > 0)
    origins = spots[:, :, :, None].expand(-1, -1, -1, hits.points.shape[2], -1)
    beams = Rays(origins.flatten(2, 3), _narrowed(direction, asked, facing).flatten(2, 3))
    shadow = occluded(room.solids, beams, (distance - _SHADOW_GAP_M).flatten(1, 2), asked.flatten(1, 2))
    strength = sent * (asked & ~shadow.view_as(asked)) * colors[..., None, None, None]
    halfway = rays.directions[:, :, None] + direction
    mirrored = (-dot(halfway, normals)).clamp(min=0) / dot(halfway, halfway).sqrt().clamp(min=1e-6)
    return (strength * received).sum(2), (strength * mirrored**60).sum(2)


def _narrowed(directions: Tensor, asked: Tensor, fallback: Tensor) -> Tensor:
    """Directions [3, b, l, m, s, r] with those not `asked` [b, l, m, s, r] for replaced by the mean of the others.

    A lamp's beams to points behind it, or on surfaces turned away, would widen the bundle to the whole room.
    `fallback` [3, b, l, 1, 1, 1] is the direction of a bundle in which none is asked for.
    """
    mean = (directions * asked).mean((-2, -1), keepdim=True) + 1e-4 * fallback
    return torch.where(asked, directions, mean / dot(mean, mean).sqrt())

"""Light: soft lamps with cast shadows, light from all around, darker corners, faint highlights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rayzer.data.synthetic.casting import Hits, Rays, Solids, cast, clearance, occluded
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

    Attributes:
        ambient: [2, 3] linear RGB of the light from above and from below.
    """

    solids: tuple[Solids, ...]
    materials: MaterialTable
    lamps: Lamps
    ambient: Tensor


def radiance(room: Room, rays: Rays, lamp_points: Tensor) -> Tensor:
    """Linear RGB [..., r, 3] seen along the rays; `lamp_points` [..., 2] in [-1, 1]^2 picks spots on the lamps.

    Every bundle of rays sees lamps that are points; the mean over bundles with other spots has soft shadows.
    """
    hits = cast(room.solids, rays)
    light = _ambient(room, hits)
    shine = torch.zeros_like(light)
    for lamp in range(len(room.lamps.centers)):
        spot = room.lamps.centers[lamp] + (lamp_points[..., None] * room.lamps.sides[lamp]).sum(-2)
        incoming, highlight = _lamp_light(room, hits, rays, spot, lamp)
        light, shine = light + incoming, shine + highlight
    materials = room.materials
    albedo = materials.albedo(hits.materials, hits.local, hits.uv)
    return (light + materials.glow[hits.materials][..., None]) * albedo + materials.gloss[hits.materials][
        ..., None
    ] * shine


def tone_mapped(linear: Tensor) -> Tensor:
    """Display values in [0, 1] of linear light: highlights roll off instead of clipping."""
    return (1 - torch.exp(-_EXPOSURE * linear)).clamp(min=0) ** (1 / 2.2)


def _ambient(room: Room, hits: Hits) -> Tensor:
    above, below = room.ambient
    upright = 0.5 - 0.5 * hits.normals[..., 1:2]
    probe = hits.points + _CORNER_M * hits.normals
    openness = (clearance(room.solids, probe, _CORNER_M) / _CORNER_M).clamp(0, 1)
    return torch.lerp(below, above, upright) * (0.45 + 0.55 * openness)[..., None]


def _lamp_light(room: Room, hits: Hits, rays: Rays, spot: Tensor, lamp: int) -> tuple[Tensor, Tensor]:
    """(light on the surface, highlight towards the viewer) [..., r, 3] from the point `spot` [..., 3]."""
    offset = hits.points - spot[..., None, :]
    distance = offset.norm(dim=-1)
    direction = offset / distance[..., None]
    sent = (direction * room.lamps.facing[lamp]).sum(-1).clamp(min=0) / (1 + distance.square())
    received = -(direction * hits.normals).sum(-1).clamp(max=0)
    facing = (sent > 0) & (received > 0)
    if not facing.any():
        return torch.zeros_like(direction), torch.zeros_like(direction)
    beams = Rays(spot, _narrowed(direction, facing, room.lamps.facing[lamp]))
    lit = facing & ~occluded(room.solids, beams, distance - _SHADOW_GAP_M)
    strength = (lit * sent)[..., None] * room.lamps.colors[lamp]
    halfway = -torch.nn.functional.normalize(direction + rays.directions, dim=-1)
    highlight = (halfway * hits.normals).sum(-1).clamp(min=0) ** 60
    return strength * received[..., None], strength * highlight[..., None]


def _narrowed(directions: Tensor, wanted: Tensor, fallback: Tensor) -> Tensor:
    """Directions [..., r, 3] with those not `wanted` [..., r] replaced by the mean of the others.

    A lamp's beams to points behind it, or on surfaces turned away, would widen the bundle to the whole room.
    `fallback` [3] is the direction of a bundle in which none is wanted.
    """
    mean = (directions * wanted[..., None]).mean(-2, keepdim=True) + 1e-4 * fallback
    return torch.where(wanted[..., None], directions, torch.nn.functional.normalize(mean, dim=-1))

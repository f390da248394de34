"""Parts (a shape, where it is, what it is made of) and pieces made of parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from rayzer.data.synthetic.casting import Solids
from rayzer.data.synthetic.shapes import SHAPES
from rayzer.data.synthetic.textures import Material, MaterialTable
from rayzer.data.synthetic.tiles import PictureSet

Vector = tuple[float, float, float]
Rotation = tuple[Vector, Vector, Vector]
Skin = Material | tuple[Material, Material, Material, Material, Material, Material]


@dataclass(frozen=True)
class Part:
    """One solid in the frame of its piece or room: y down, floor at y = 0, metres.

    Attributes:
        skin: one material, or six for the faces with local normals -x +x -y +y -z +z.
        yaw: radians about the vertical: local z points to (sin yaw, 0, cos yaw).
        tilt: radians of pitch about local x, then of roll about local z, both before the yaw. Positive angles
            turn y towards z and x towards y.
    """

    shape: str
    center: Vector
    half_size: Vector
    skin: Skin
    yaw: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)

    def rotation(self) -> Rotation:
        """Rows of the matrix that turns local into outer axes."""
        return turning(self.yaw, *self.tilt)


@dataclass(frozen=True)
class Piece:
    """A piece of furniture in its own frame: z points out of the wall that its back (z = 0) is at, y down.

    So x points to the left of somebody who looks at it.

    `size` holds width, height and depth in metres; x is centred.
    """

    parts: tuple[Part, ...]
    size: Vector


def turning(yaw: float, pitch: float, roll: float) -> Rotation:
    """Rows of the rotation by pitch about x, then roll about z, then yaw about y, radians."""
    sp, cp = math.sin(pitch), math.cos(pitch)
    sr, cr = math.sin(roll), math.cos(roll)
    sy, cy = math.sin(yaw), math.cos(yaw)
    return (
        (cy * cr, sy * sp - cy * sr * cp, sy * cp + cy * sr * sp),
        (sr, cr * cp, -cr * sp),
        (-sy * cr, cy * sp + sy * sr * cp, cy * cp - sy * sr * sp),
    )


def box(size: Vector, at: Vector, skin: Skin, yaw: float = 0.0) -> Part:
    """A box of width, height, depth `size`; `at` is x, height of its underside above the floor, z."""
    width, height, depth = size
    return Part("box", (at[0], -at[1] - height / 2, at[2]), (width / 2, height / 2, depth / 2), skin, yaw)


def cylinder(radius: float, height: float, at: Vector, skin: Skin) -> Part:
    """An upright cylinder; `at` is x, height of its underside above the floor, z."""
    return Part("cylinder", (at[0], -at[1] - height / 2, at[2]), (radius, height / 2, radius), skin)


def ball(radius: float, at: Vector, skin: Skin, yaw: float = 0.0) -> Part:
    """A sphere; `at` is x, height of its lowest point above the floor, z."""
    return Part("sphere", (at[0], -at[1] - radius, at[2]), (radius, radius, radius), skin, yaw)


def cone(radius: float, height: float, at: Vector, skin: Skin) -> Part:
    """A cone with its apex up; `at` is x, height of its base above the floor, z."""
    return Part("cone", (at[0], -at[1] - height / 2, at[2]), (radius, height / 2, radius), skin)


def ring(radius: float, tube: float, at: Vector, skin: Skin) -> Part:
    """A lying torus of outer `radius`; `at` is x, height of its underside above the floor, z."""
    return Part("torus", (at[0], -at[1] - tube, at[2]), (radius, tube, radius), skin)


def rod(radius: float, start: Vector, end: Vector, skin: Skin) -> Part:
    """A cylinder between two points (x, height above the floor, z)."""
    x, y, z = (b - a for a, b in zip(start, end, strict=True))
    length, flat = math.sqrt(x * x + y * y + z * z), math.hypot(x, z)
    center = ((start[0] + end[0]) / 2, -(start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
    # Local y points down; pitching it by a positive angle moves it towards local z.
    return Part("cylinder", center, (radius, length / 2, radius), skin, math.atan2(x, z), (math.atan2(flat, -y), 0.0))


def tilted(part: Part, pitch: float, roll: float = 0.0) -> Part:
    """The part turned about its own middle."""
    return replace(part, tilt=(part.tilt[0] + pitch, part.tilt[1] + roll))


def resting(part: Part, height: float) -> Part:
    """The part moved up or down until its lowest point is `height` above what its frame calls the floor."""
    return replace(part, center=(part.center[0], -height - reach_down(part), part.center[2]))


def grounded(parts: Sequence[Part]) -> list[Part]:
    """The parts moved together so that the lowest point of all is at height 0."""
    lowest = min(-part.center[1] - reach_down(part) for part in parts)
    return moved(parts, (0, -lowest, 0))


def reach_down(part: Part) -> float:
    """How far a part extends below its middle, metres."""
    down = part.rotation()[1]
    wide, high, deep = part.half_size
    aside = math.sqrt(max(0.0, 1 - down[1] ** 2))
    if part.shape == "sphere":
        return wide
    if part.shape == "torus":
        return high + (wide - high) * aside
    if part.shape == "cylinder":
        return wide * aside + high * abs(down[1])
    if part.shape == "cone":
        return max(wide * aside + high * down[1], -high * down[1])
    return abs(down[0]) * wide + abs(down[1]) * high + abs(down[2]) * deep


def moved(parts: Iterable[Part], to: Vector, yaw: float = 0.0) -> list[Part]:
    """Parts turned by `yaw` about the vertical through their origin, then moved by (x, height, z)."""
    return [_moved(part, to, yaw) for part in parts]


def _moved(part: Part, to: Vector, yaw: float) -> Part:
    x, y, z = part.center
    cosine, sine = math.cos(yaw), math.sin(yaw)
    center = (cosine * x + sine * z + to[0], y - to[1], cosine * z - sine * x + to[2])
    return Part(part.shape, center, part.half_size, part.skin, part.yaw + yaw, part.tilt)


def tumbled(parts: Iterable[Part], yaw: float, pitch: float, roll: float) -> list[Part]:
    """Parts turned together about their origin in any way."""
    outer = turning(yaw, pitch, roll)
    return [_tumbled(part, outer) for part in parts]


def _tumbled(part: Part, outer: Rotation) -> Part:
    inner = part.rotation()
    turned = [[sum(outer[i][k] * inner[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
    x, y, z = (sum(row[k] * part.center[k] for k in range(3)) for row in outer)
    roll = math.asin(min(1.0, max(-1.0, turned[1][0])))
    tilt = (math.atan2(-turned[1][2], turned[1][1]), roll)
    return replace(part, center=(x, y, z), yaw=math.atan2(-turned[2][0], turned[0][0]), tilt=tilt)


def at_wall(piece: Piece) -> Piece:
    """A piece that is centred on the origin, moved before the wall."""
    return Piece(tuple(moved(piece.parts, (0, 0, piece.size[2] / 2))), piece.size)


def assemble(parts: Sequence[Part], pictures: PictureSet | None = None) -> tuple[tuple[Solids, ...], MaterialTable]:
    """Parts as tensors: solids (float64) by kind in the order of `SHAPES`, the table that their skins count in."""
    skins = [part.skin if isinstance(part.skin, tuple) else (part.skin,) * 6 for part in parts]
    materials = {id(material): material for skin in skins for material in skin}  # hashing all fields takes too long
    position = {key: index for index, key in enumerate(materials)}
    solids = []
    for shape in SHAPES:
        chosen = [(part, skin) for part, skin in zip(parts, skins, strict=True) if part.shape == shape]
        if chosen:
            solids.append(
                Solids(
                    shape,
                    torch.tensor([part.center for part, _ in chosen], dtype=torch.float64),
                    torch.tensor([part.half_size for part, _ in chosen], dtype=torch.float64),
                    torch.tensor([part.rotation() for part, _ in chosen], dtype=torch.float64),
                    torch.tensor([[position[id(material)] for material in skin] for _, skin in chosen]),
                )
            )
    return tuple(solids), MaterialTable.of(list(materials.values()), pictures)

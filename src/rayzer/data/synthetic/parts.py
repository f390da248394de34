"""Parts (a shape, where it is, what it is made of) and pieces made of parts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from rayzer.data.synthetic.casting import Solids
from rayzer.data.synthetic.shapes import SHAPES
from rayzer.data.synthetic.textures import Material, MaterialTable

Vector = tuple[float, float, float]
Skin = Material | tuple[Material, Material, Material, Material, Material, Material]


@dataclass(frozen=True)
class Part:
    """One solid in the frame of its piece or room: y down, floor at y = 0, metres, yaw as in `Solids`.

    `skin` is one material, or six for the faces with local normals -x +x -y +y -z +z.
    """

    shape: str
    center: Vector
    half_size: Vector
    skin: Skin
    yaw: float = 0.0


@dataclass(frozen=True)
class Piece:
    """A piece of furniture in its own frame: x to the right, z out of the wall that its back (z = 0) is at.

    `size` holds width, height and depth in metres; x is centred.
    """

    parts: tuple[Part, ...]
    size: Vector


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


def moved(parts: Iterable[Part], to: Vector, yaw: float = 0.0) -> list[Part]:
    """Parts turned by `yaw` about the vertical through their origin, then moved by (x, height, z)."""
    return [_moved(part, to, yaw) for part in parts]


def _moved(part: Part, to: Vector, yaw: float) -> Part:
    x, y, z = part.center
    cosine, sine = math.cos(yaw), math.sin(yaw)
    center = (cosine * x + sine * z + to[0], y - to[1], cosine * z - sine * x + to[2])
    return replace(part, center=center, yaw=part.yaw + yaw)


def assemble(parts: list[Part]) -> tuple[tuple[Solids, ...], MaterialTable]:
    """Parts as tensors: solids by kind in the order of `SHAPES`, and the table that their skins count in."""
    skins = [part.skin if isinstance(part.skin, tuple) else (part.skin,) * 6 for part in parts]
    materials = list(dict.fromkeys(material for skin in skins for material in skin))
    position = {material: index for index, material in enumerate(materials)}
    solids = []
    for shape in SHAPES:
        chosen = [(part, skin) for part, skin in zip(parts, skins, strict=True) if part.shape == shape]
        if chosen:
            solids.append(
                Solids(
                    shape,
                    torch.tensor([part.center for part, _ in chosen], dtype=torch.float32),
                    torch.tensor([part.half_size for part, _ in chosen], dtype=torch.float32),
                    torch.tensor([part.yaw for part, _ in chosen], dtype=torch.float32),
                    torch.tensor([[position[material] for material in skin] for _, skin in chosen]),
                )
            )
    return tuple(solids), MaterialTable.of(materials)

"""Materials: how surfaces look, and their colours at points of solids, to which the textures stick.

Every material is cut from a tile: a pattern or a picture of a user (`tiles`). Where in the tile a point lies is a
linear function of its coordinates, bent by noise; the three channels of the tile then mix the material's four colours.
So all materials cost the same, whatever their number and the number of patterns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayzer.data.synthetic.noise import fractal_noise
from rayzer.data.synthetic.records import TensorRecord
from rayzer.data.synthetic.tiles import PictureSet, atlas, look_up, tile_number

Color = tuple[float, float, float]
Colors = tuple[Color, Color, Color, Color]
TRUE_COLORS: Colors = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
FOOTPRINT_M = 0.007  # between neighbouring rays on a surface, where the caller does not know: finer detail is left out

_COLUMNS = {"place": 10, "shift": 2, "warp": 2, "frequency": 3, "offset": 3, "base": 3, "mix": 9, "grain": 1, "fine": 1}
_AXES = {"x": ((0, 0, 0, 1, 0), (0, 0, 0, 0, 1)), "y": ((0, 0, 1, 0, 0), (0, 0, 0, 0, 1))}
_AXES |= {"z": ((0, 0, 1, 0, 0), (0, 0, 0, 1, 0)), "": ((1, 0, 0, 0, 0), (0, 1, 0, 0, 0))}


@dataclass(frozen=True)
class Material:
    """How one surface looks.

    Attributes:
        pattern: a key of `PATTERNS`, or the number of a picture in the room's `PictureSet`.
        colors: four sRGB colours in [0, 1]: of the ground and of the pattern's three masks. `TRUE_COLORS` show a
            picture as it is.
        repeat_m: size of the tile along u and v, metres; a negative width mirrors it.
        turn: radians that the tile is turned by.
        start: the point of the tile (in tiles) in the middle of a face.
        through: "" for a pattern on the surface; "x", "y" or "z" for one that runs through the solid along that axis,
            like the rings of a tree.
        noise_m: size of the largest features of the noise along local x, y, z, metres.
        warp: how far the noise shifts the pattern along u and v, tiles.
        grain: relative change of brightness by the noise, in [0, 1].
        gloss: strength of the highlight, 0 for matte.
        glow: light that the surface sends out itself, relative to its colour.
        offset: where in the (endless) noise this material is cut from, in features.
    """

    pattern: str | int
    colors: Colors
    repeat_m: tuple[float, float] = (1.0, 1.0)
    turn: float = 0.0
    start: tuple[float, float] = (0.5, 0.5)
    through: str = ""
    noise_m: tuple[float, float, float] = (0.5, 0.5, 0.5)
    warp: tuple[float, float] = (0.0, 0.0)
    grain: float = 0.15
    gloss: float = 0.0
    glow: float = 0.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class MaterialTable(TensorRecord):
    """Materials as tensors.

    Attributes:
        pattern: int64 [m] number of the tile in the atlas.
        numbers: [m, c] what maps points to colours: the columns are `_COLUMNS`.
        gloss: [m]; glow: [m].
        pictures: what numbered patterns refer to; the same object in all rooms that are rendered together.
    """

    pattern: Tensor
    numbers: Tensor
    gloss: Tensor
    glow: Tensor
    pictures: PictureSet | None = None

    @staticmethod
    def of(materials: Sequence[Material], pictures: PictureSet | None = None) -> MaterialTable:
        """Collect materials (float64); colours become linear light."""
        return MaterialTable(
            torch.tensor([tile_number(item.pattern) for item in materials]),
            torch.tensor([_numbers(item) for item in materials], dtype=torch.float64),
            torch.tensor([item.gloss for item in materials], dtype=torch.float64),
            torch.tensor([item.glow for item in materials], dtype=torch.float64),
            pictures,
        )

    def albedo(self, index: Tensor, local: Tensor, uv: Tensor, footprint_m: Tensor | float = FOOTPRINT_M) -> Tensor:
        """Linear RGB [..., r, 3] of materials `index` [..., r] at local points [..., r, 3], uv [..., r, 2].

        `footprint_m` [..., r] is the distance of neighbouring rays on the surface: what is finer is smoothed away.
        """
        flat = index.flatten()
        columns = self.numbers.index_select(0, flat).T.contiguous()  # leading axes are several times faster
        part = dict(zip(_COLUMNS, columns.split(list(_COLUMNS.values())), strict=True))
        points = local.reshape(-1, 3).T.contiguous()
        rough, smooth = fractal_noise(points * part["frequency"] + part["offset"])
        place = _placed(part, torch.cat([uv.reshape(-1, 2).T, points]), torch.stack([rough, smooth]))
        footprint = footprint_m.flatten() if isinstance(footprint_m, Tensor) else footprint_m
        texels = atlas(self.pictures, index.device)
        masks = look_up(texels, self.pattern.index_select(0, flat), place, footprint * part["fine"][0])
        color = part["base"] + (part["mix"].view(3, 3, -1) * masks[:, None]).sum(0)
        return (color * (1 + part["grain"] * (2 * rough - 1))).T.reshape(*index.shape, 3)


def _placed(part: dict[str, Tensor], coordinates: Tensor, noise: Tensor) -> Tensor:
    """Place in the tile [2, r] of points with the `coordinates` [u v x y z, r]."""
    linear = (part["place"].view(2, 5, -1) * coordinates).sum(1)
    return linear + part["shift"] + part["warp"] * (noise - 0.5)


def _numbers(material: Material) -> list[float]:
    """The row of a material, in the order of `_COLUMNS`."""
    cosine, sine = math.cos(material.turn), math.sin(material.turn)
    across, down = _AXES[material.through]
    width, height = material.repeat_m
    place = [(cosine * a + sine * b) / width for a, b in zip(across, down, strict=True)]
    place += [(cosine * b - sine * a) / height for a, b in zip(across, down, strict=True)]
    base, *others = ([channel**2.2 for channel in color] for color in material.colors)
    mix = [value - ground for color in others for value, ground in zip(color, base, strict=True)]
    frequency = [1 / size for size in material.noise_m]
    fine = 1 / min(abs(width), height)
    return [*place, *material.start, *material.warp, *frequency, *material.offset, *base, *mix, material.grain, fine]

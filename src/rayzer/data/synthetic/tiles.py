"""Tiles: square pictures that textures are cut from, in several resolutions, packed into one tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rayzer.data.images import open_photo
from rayzer.data.synthetic.patterns.baking import PATTERNS, SIDE_PX, bake
from rayzer.errors import InputError

LEVELS = 6
_SIDES = [SIDE_PX >> level for level in range(LEVELS)]
_STARTS = [sum((side + 1) ** 2 for side in _SIDES[:level]) for level in range(LEVELS + 1)]
_DEPTH = 1023  # values of one channel: ten bits, three of them in an int32


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures of a user that hang on walls and cover things.

    Attributes:
        texels: int32 [k, texels of all levels], packed linear RGB; see `pack`.
        aspects: width over height of each picture before it was squeezed into a square tile.
    """

    texels: Tensor
    aspects: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.aspects)

    @staticmethod
    def from_files(paths: Iterable[Path]) -> PictureSet:
        """Read pictures in the given order.

        Raises:
            InputError: if there is none, or one cannot be read.
        """
        read = [_read(Path(path)) for path in paths]
        if not read:
            raise InputError("no picture to cover the things in rooms with: name at least one file")
        return PictureSet(torch.cat([pack(tile[None], wrap=False) for tile, _ in read]), tuple(a for _, a in read))


def _read(path: Path) -> tuple[Tensor, float]:
    """(linear RGB [3, side, side], width over height)."""
    picture = open_photo(path)
    squeezed = np.asarray(picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS), dtype=np.float32)
    return torch.from_numpy(squeezed / 255).movedim(-1, 0) ** 2.2, picture.width / picture.height


def pack(tiles: Tensor, wrap: bool = True) -> Tensor:
    """Tiles [k, 3, side, side] in [0, 1] as int32 [k, texels]: level after level, each half as large as the one before.

    Every level has one more row and column: the first again, so that a tile repeats, or (without `wrap`) the last.
    """
    levels = []
    for _ in range(LEVELS):
        padded = torch.nn.functional.pad(tiles, (0, 1, 0, 1), mode="circular" if wrap else "replicate")
        red, green, blue = (padded.clamp(0, 1) * _DEPTH).round().int().flatten(2).unbind(1)
        levels.append(red | green << 10 | blue << 20)
        tiles = torch.nn.functional.avg_pool2d(tiles, 2)
    return torch.cat(levels, 1)


def look_up(texels: Tensor, tile: Tensor, place: Tensor, detail: Tensor) -> Tensor:
    """Bilinear samples [3, ...] in [0, 1].

    Args:
        texels: int32 [k * texels], packed tiles one after the other.
        tile: int64 [...] number of the tile.
        place: [2, ...] x and y in tiles, which repeat.
        detail: [...] tiles between neighbouring samples: decides the level.
    """
    level = (detail * SIDE_PX).log2().round().clamp(0, LEVELS - 1).long()
    sides, starts = _layout(texels.device)
    side = sides[level]
    x, y = (place - place.floor()) * side  # the full side, by rounding, is the last column: it exists
    left, top = x.long().clamp(max=side - 1), y.long().clamp(max=side - 1)
    corner = tile * _STARTS[-1] + starts[level] + top * (side + 1) + left
    packed = texels.take(torch.stack([corner, corner + 1, corner + side + 1, corner + side + 2]))
    channels = torch.stack([packed & _DEPTH, packed >> 10 & _DEPTH, packed >> 20]).to(place.dtype)
    across = torch.lerp(channels[:, 0::2], channels[:, 1::2], x - left)
    return torch.lerp(across[:, 0], across[:, 1], y - top) * (1 / _DEPTH)


@lru_cache(maxsize=8)
def _layout(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(_SIDES, device=device), torch.tensor(_STARTS[:-1], device=device)


@lru_cache(maxsize=8)
def atlas(pictures: PictureSet | None, device: torch.device) -> Tensor:
    """Texels of all patterns, in the order of `PATTERNS`, then of the pictures: int32 [k * texels] on `device`."""
    sets = [_patterns()] if pictures is None else [_patterns(), pictures.texels]
    return torch.cat(sets).flatten().to(device)


@lru_cache(maxsize=1)
def _patterns() -> Tensor:
    return torch.cat([pack(bake(pattern)[None]) for pattern in PATTERNS])


def tile_number(pattern: str | int) -> int:
    """The place in the atlas of a pattern (its name) or of a picture (its number)."""
    return len(PATTERNS) + pattern if isinstance(pattern, int) else _NUMBERS[pattern]


_NUMBERS = {name: number for number, name in enumerate(PATTERNS)}

"""Colours that go together: tables of tried ones, and rules that make others of a mood."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rayzer.data.synthetic.textures import Color


@dataclass(frozen=True)
class Palette:
    """sRGB colours: two for walls (the second stronger), floor, ceiling, wood, the lightest, the darkest, accents."""

    walls: tuple[Color, Color]
    floor: Color
    ceiling: Color
    wood: Color
    light: Color
    dark: Color
    accents: tuple[Color, ...]


_TRIED = (
    ("e6ded0", "7f9c95", "b98d5e", "94633a", "f2ead8", "d9793d", "2f5d62", "e3b23c", "a23b3b", "86a873"),
    ("ecd7bf", "b9603f", "9a6b4b", "6e4630", "f6ead9", "2a6f73", "e0a458", "8c3b2a", "5c7457", "d98e73"),
    ("dbe1e6", "35557a", "a98763", "7b5636", "f3f1ea", "e07a5f", "1f3a5f", "f2cc8f", "81b29a", "b5475b"),
    ("e3e5d3", "71845c", "8a6f52", "59412c", "efeada", "bc6c25", "405336", "dda15e", "7d4f50", "a3b18a"),
    ("eadfe4", "6d4c6f", "c09a74", "6b4532", "f7efe8", "e5989b", "3d405b", "f2c14e", "5f8a8b", "a4547a"),
    ("f0e2b6", "d19a3c", "77594a", "503526", "f8f1dd", "2d3047", "c44536", "3f7d7b", "e9b44c", "7a9e7e"),
    ("d5e5dd", "df9a8a", "c4a884", "a3744a", "f6f3ea", "3a7d7c", "f0a6a0", "f3ca62", "5a6b8c", "c8553d"),
    ("cfccc6", "8b867f", "7d756d", "8f6a45", "e9e6df", "d1495b", "00798c", "edae49", "30638e", "6a994e"),
)
"""Two walls, floor, wood, light neutral, five accents."""


def draw_palette(rng: np.random.Generator) -> Palette:
    """A palette of one of the `MOODS`."""
    return MOODS[int(rng.integers(len(MOODS)))](rng)


def _tried(rng: np.random.Generator) -> Palette:
    first, second, floor, wood, light, *accents = (_hex(code) for code in _TRIED[int(rng.integers(len(_TRIED)))])
    return Palette((first, second), floor, _hex("f4f1ea"), wood, light, _hex("26221f"), tuple(accents))


def _hex(code: str) -> Color:
    red, green, blue = (int(code[k : k + 2], 16) / 255 for k in (0, 2, 4))
    return red, green, blue


def _pastel(rng: np.random.Generator) -> Palette:
    hues = _hues(rng, 5)
    walls = (_color(hues[0], 0.86, 0.35), _color(hues[1], 0.74, 0.45))
    accents = tuple(_color(hue, float(rng.uniform(0.6, 0.82)), 0.55) for hue in hues)
    return Palette(walls, _wood(rng, 0.62), _color(hues[2], 0.95, 0.2), _wood(rng, 0.66), *_ends(hues[0]), accents)


def _dark(rng: np.random.Generator) -> Palette:
    """Deep walls, bright things."""
    hues = _hues(rng, 5)
    walls = (_color(hues[0], 0.24, 0.4), _color(hues[1], 0.3, 0.55))
    accents = tuple(_color(hue, float(rng.uniform(0.42, 0.65)), 0.7) for hue in hues)
    return Palette(walls, _wood(rng, 0.3), _color(hues[0], 0.4, 0.2), _wood(rng, 0.36), *_ends(hues[2]), accents)


def _saturated(rng: np.random.Generator) -> Palette:
    hues = _hues(rng, 6)
    walls = (_color(hues[0], 0.6, 0.65), _color(hues[1], 0.48, 0.75))
    accents = tuple(_color(hue, float(rng.uniform(0.38, 0.6)), 0.85) for hue in hues)
    floor = _color(hues[2], 0.5, 0.45) if rng.random() < 0.5 else _wood(rng, 0.45)
    return Palette(walls, floor, _color(hues[3], 0.85, 0.5), _wood(rng, 0.5), *_ends(hues[0]), accents)


def _bright(rng: np.random.Generator) -> Palette:
    """White walls, a few strong colours."""
    hues = _hues(rng, 4)
    walls = (_color(hues[0], 0.92, 0.1), _color(hues[1], 0.6, 0.5))
    accents = (*(_color(hue, 0.5, 0.7) for hue in hues), (0.12, 0.12, 0.13))
    return Palette(walls, _color(hues[2], 0.72, 0.08), (0.96, 0.96, 0.95), _wood(rng, 0.6), *_ends(hues[0]), accents)


def _monochrome(rng: np.random.Generator) -> Palette:
    """One hue from light to dark, and its opposite."""
    hue = float(rng.random())
    strength = float(rng.uniform(0.1, 0.5))
    walls = (_color(hue, 0.75, strength), _color(hue, 0.45, strength))
    accents = (
        *(_color(hue, lightness, strength) for lightness in (0.25, 0.45, 0.65, 0.85)),
        _color(hue + 0.5, 0.5, 0.7),
    )
    floor, ceiling = _color(hue, 0.4, 0.6 * strength), _color(hue, 0.9, strength)
    return Palette(walls, floor, ceiling, _wood(rng, 0.4), *_ends(hue), accents)


def _earthen(rng: np.random.Generator) -> Palette:
    """Concrete, clay, rust and moss."""
    grey = float(rng.uniform(0.45, 0.7))
    walls = (_color(0.1, grey, 0.1), _color(float(rng.uniform(0.02, 0.12)), 0.42, 0.35))
    accents = tuple(_color(hue, float(rng.uniform(0.3, 0.55)), 0.45) for hue in (0.03, 0.08, 0.13, 0.25, 0.55))
    return Palette(walls, _color(0.09, 0.42, 0.12), _color(0.1, 0.7, 0.05), _wood(rng, 0.4), *_ends(0.1), accents)


MOODS: tuple[Callable[[np.random.Generator], Palette], ...] = (
    _tried,
    _tried,
    _pastel,
    _dark,
    _saturated,
    _bright,
    _monochrome,
    _earthen,
)


def _hues(rng: np.random.Generator, count: int) -> list[float]:
    """Hues that are neighbours, opposites, or spread all around."""
    first, spread = float(rng.random()), (0.08, 0.25, 0.382, 0.5)[int(rng.integers(4))]
    return [first + spread * k + 0.04 * float(rng.uniform(-1, 1)) for k in range(count)]


def _color(hue: float, lightness: float, saturation: float) -> Color:
    return colorsys.hls_to_rgb(hue % 1.0, lightness, saturation)


def _wood(rng: np.random.Generator, lightness: float) -> Color:
    return _color(float(rng.uniform(0.055, 0.1)), lightness, float(rng.uniform(0.25, 0.5)))


def _ends(hue: float) -> tuple[Color, Color]:
    """The lightest and the darkest colour."""
    return _color(hue, 0.94, 0.25), _color(hue + 0.5, 0.12, 0.2)


def mix(first: Color, second: Color, share: float) -> Color:
    """`first` with a `share` in [0, 1] of `second`."""
    rest = 1 - share
    return (
        rest * first[0] + share * second[0],
        rest * first[1] + share * second[1],
        rest * first[2] + share * second[2],
    )

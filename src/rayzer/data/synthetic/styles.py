"""Palettes and the materials that a room's things are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rayzer.data.synthetic.textures import Color, Material


@dataclass(frozen=True)
class Palette:
    """Colours that go together, as sRGB hex: two for walls, floor, wood, a light neutral and five accents."""

    walls: tuple[str, str]
    floor: str
    wood: str
    neutral: str
    accents: tuple[str, str, str, str, str]


PALETTES = (
    Palette(("e6ded0", "7f9c95"), "b98d5e", "94633a", "f2ead8", ("d9793d", "2f5d62", "e3b23c", "a23b3b", "86a873")),
    Palette(("ecd7bf", "b9603f"), "9a6b4b", "6e4630", "f6ead9", ("2a6f73", "e0a458", "8c3b2a", "5c7457", "d98e73")),
    Palette(("dbe1e6", "35557a"), "a98763", "7b5636", "f3f1ea", ("e07a5f", "1f3a5f", "f2cc8f", "81b29a", "b5475b")),
    Palette(("e3e5d3", "71845c"), "8a6f52", "59412c", "efeada", ("bc6c25", "405336", "dda15e", "7d4f50", "a3b18a")),
    Palette(("eadfe4", "6d4c6f"), "c09a74", "6b4532", "f7efe8", ("e5989b", "3d405b", "f2c14e", "5f8a8b", "a4547a")),
    Palette(("f0e2b6", "d19a3c"), "77594a", "503526", "f8f1dd", ("2d3047", "c44536", "3f7d7b", "e9b44c", "7a9e7e")),
    Palette(("d5e5dd", "df9a8a"), "c4a884", "a3744a", "f6f3ea", ("3a7d7c", "f0a6a0", "f3ca62", "5a6b8c", "c8553d")),
    Palette(("cfccc6", "8b867f"), "7d756d", "8f6a45", "e9e6df", ("d1495b", "00798c", "edae49", "30638e", "6a994e")),
)


class Style:
    """Draws the materials of one room from its palette; every call makes another piece of the material."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.palette = PALETTES[rng.integers(len(PALETTES))]
        self._tint = rng.uniform(0.94, 1.06, 3)
        self._floor_pattern = rng.choice(["planks", "checks", "planks", "bricks", "veins"])
        self._wood = self.color(self.palette.wood, 0.1)

    def color(self, code: str, jitter: float = 0.05) -> Color:
        """The sRGB colour of a hex code in this room's tint, up to `jitter` lighter or darker."""
        value = np.array([int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)])
        red, green, blue = np.clip(value * self._tint * (1 + self.rng.uniform(-jitter, jitter)), 0.02, 0.98)
        return float(red), float(green), float(blue)

    def accent(self, jitter: float = 0.12) -> Color:
        """One of the accent colours."""
        return self.color(str(self.rng.choice(self.palette.accents)), jitter)

    def neutral(self) -> Color:
        """The light neutral colour."""
        return self.color(self.palette.neutral)

    def wall(self, feature: bool) -> Material:
        """Paint, paper or bricks; a `feature` wall has the stronger colour."""
        base = self.color(self.palette.walls[feature])
        pale = mix(base, self.neutral(), 0.35)
        pattern = str(self.rng.choice(["stripes", "dots", "checks", "bricks", "clouds", "bands", "plain"]))
        repeat = {"bricks": (0.32, 0.11), "dots": (0.26, 0.26), "bands": (0.5, 0.6), "checks": (0.5, 0.5)}
        contrast = 0.75 if feature else 0.45
        second = mix(base, pale, contrast)
        third = mix(pale, (0.35, 0.3, 0.28), 0.25) if pattern == "bricks" else pale
        if pattern == "bricks":
            base, second = mix(base, (0.5, 0.3, 0.22), 0.25), mix(base, (0.3, 0.2, 0.18), 0.3)
        return self._cut(pattern, (base, second, third), repeat.get(pattern, (0.34, 0.34)), (0.9, 0.9, 0.9), 0.14)

    def ceiling(self) -> Material:
        """Nearly white plaster."""
        white = mix(self.neutral(), (0.97, 0.97, 0.96), 0.5)
        return self._cut("clouds", (white, mix(white, (0.7, 0.7, 0.7), 0.25), white), (1, 1), (0.8, 0.8, 0.8), 0.08)

    def floor(self) -> Material:
        """Planks, tiles, bricks or stone, the same for the whole room."""
        base = self.color(self.palette.floor)
        dark, light = mix(base, (0.12, 0.07, 0.04), 0.4), mix(base, self.neutral(), 0.3)
        if self._floor_pattern == "planks":
            return self._cut("planks", (light, dark, mix(dark, (0, 0, 0), 0.6)), (1.3, 0.17), (0.9, 1, 0.05), 0.2, 0.06)
        if self._floor_pattern == "bricks":
            return self._cut("bricks", (light, dark, self.neutral()), (0.7, 0.22), (0.4, 1, 0.4), 0.2, 0.04)
        if self._floor_pattern == "checks":
            return self._cut("checks", (self.neutral(), base, dark), (0.8, 0.8), (0.5, 1, 0.5), 0.15, 0.12)
        return self._cut("veins", (light, mix(light, base, 0.5), dark), (1, 1), (1.4, 1.4, 1.4), 0.2, 0.12)

    def wood(self, upright: bool = False) -> Material:
        """The room's wood, grain along x or upright."""
        light = mix(self._wood, self.neutral(), 0.2)
        colors = (light, self._wood, mix(self._wood, (0.1, 0.05, 0.02), 0.4))
        grain = (0.06, 0.7, 0.06) if upright else (0.7, 0.06, 0.06)
        return self._cut("clouds", colors, (1, 1), grain, 0.2, 0.05)

    def painted(self) -> Material:
        """Painted wood or board in one colour."""
        color = mix(self.accent(), self.neutral(), self.rng.uniform(0, 0.6))
        return self._cut("plain", (color, mix(color, (0, 0, 0), 0.15), color), (1, 1), (0.3, 0.3, 0.3), 0.12, 0.05)

    def fabric(self) -> Material:
        """Woven cloth: plain, checked, striped or dotted."""
        first, second = self.accent(), mix(self.accent(), self.neutral(), 0.5)
        pattern = str(self.rng.choice(["clouds", "checks", "stripes", "dots", "bands"]))
        size = float(self.rng.uniform(0.12, 0.25))
        return self._cut(pattern, (first, second, self.neutral()), (size, size), (0.15, 0.15, 0.15), 0.18)

    def rug(self, round_shape: bool) -> Material:
        """A rug with a large pattern around its middle."""
        patterns = ["rings"] if round_shape else ["checks", "stripes", "dots", "rings", "bands"]
        size = float(self.rng.uniform(0.3, 0.55))
        colors = (self.accent(), mix(self.neutral(), self.accent(), 0.25), self.accent())
        return self._cut(str(self.rng.choice(patterns)), colors, (size, size), (0.08, 0.08, 0.08), 0.2)

    def ceramic(self) -> Material:
        """Glazed clay with bands, veins or a flowing colour."""
        pattern = str(self.rng.choice(["bands", "veins", "gradient", "clouds", "plain"]))
        size = float(self.rng.uniform(0.08, 0.3))
        colors = (self.accent(), mix(self.accent(), self.neutral(), 0.5), self.neutral())
        return self._cut(pattern, colors, (size, size), (0.12, 0.12, 0.12), 0.1, 0.5)

    def toy(self) -> Material:
        """Something bright with a strong pattern."""
        pattern = str(self.rng.choice(["bands", "checks", "dots", "veins", "clouds"]))
        size = float(self.rng.uniform(0.1, 0.25))
        return self._cut(pattern, (self.accent(), self.neutral(), self.accent()), (size, size), (0.2,) * 3, 0.1, 0.3)

    def foliage(self) -> Material:
        """Leaves from afar."""
        green = mix((0.25, 0.42, 0.2), self.accent(), 0.2)
        colors = (mix(green, (0.03, 0.08, 0.03), 0.6), green, mix(green, (0.85, 0.9, 0.5), 0.35))
        return self._cut("clouds", colors, (1, 1), (0.1, 0.1, 0.1), 0.35)

    def metal(self) -> Material:
        """Dark or brass metal."""
        color = [(0.16, 0.16, 0.17), (0.62, 0.5, 0.3)][self.rng.integers(2)]
        return self._cut("plain", (color, color, color), (1, 1), (0.2, 0.2, 0.2), 0.05, 0.5)

    def trim(self) -> Material:
        """Light lacquer of skirting boards and frames."""
        white = self.neutral()
        return self._cut("plain", (white, white, white), (1, 1), (0.5, 0.5, 0.5), 0.05, 0.1)

    def picture(self, width_m: float, height_m: float) -> Material:
        """A painting or print that fills a face of the given size."""
        pattern = str(self.rng.choice(["hills", "hills", "clouds", "rings", "gradient", "veins", "checks", "dots"]))
        scale = {"hills": 1.0, "gradient": 1.0, "clouds": 1.0}.get(pattern, float(self.rng.uniform(0.25, 0.5)))
        repeat = (height_m * scale, height_m * scale)
        noise = float(self.rng.uniform(0.3, 0.8)) * min(width_m, height_m)
        return self._cut(pattern, (self.neutral(), self.accent(), self.accent()), repeat, (noise,) * 3, 0.15)

    def sky(self, height_m: float) -> Material:
        """The glowing view out of a window of the given height."""
        colors = ((0.55, 0.75, 0.95), (0.85, 0.92, 0.97), (0.5, 0.65, 0.4))
        return self._cut("hills", colors, (height_m, height_m), (0.5, 0.5, 0.5), 0.1, glow=1.2)

    def glowing(self) -> Material:
        """Lamp glass."""
        warm = (1.0, 0.93, 0.8)
        return self._cut("plain", (warm, warm, warm), (1, 1), (1, 1, 1), 0, glow=2.5)

    def _cut(
        self,
        pattern: str,
        colors: tuple[Color, Color, Color],
        repeat_m: tuple[float, float],
        noise_m: tuple[float, ...],
        grain: float,
        gloss: float = 0.0,
        glow: float = 0.0,
    ) -> Material:
        across, down, along = noise_m
        x, y, z = (float(value) for value in self.rng.uniform(0, 32, 3))
        return Material(pattern, colors, repeat_m, (across, down, along), grain, gloss, glow, (x, y, z))


def mix(first: Color, second: Color, share: float) -> Color:
    """`first` with a `share` in [0, 1] of `second`."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return red, green, blue

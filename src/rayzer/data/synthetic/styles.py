"""The materials that a room's things are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from rayzer.data.synthetic.palettes import draw_palette, mix
from rayzer.data.synthetic.patterns.drawn import DRAWN
from rayzer.data.synthetic.textures import TRUE_COLORS, Color, Colors, Material
from rayzer.data.synthetic.tiles import PictureSet

Item = TypeVar("Item")

PAPERS = ("stripes", "barcode", "dots", "checks", "zigzag", "waves", "scales", "diamonds", "leaves", "flowers", "stars")
PAPERS += ("lattice", "ornament_tiles", "arcs", "triangles", "gingham", "tartan", "grid", "hexagons", "gradient")
PLASTERS = ("plain", "plain", "ramp", "cracks", "camouflage", "veins", "rust")
MASONRY = ("bricks", "rubble", "pebbles", "tiles", "planks", "mosaic", "corrugated")
FLOORS = ("planks", "planks", "parquet", "herringbone", "tiles", "checks", "hexagons", "terrazzo", "ornament_tiles")
FLOORS += ("bricks", "pebbles", "cracks", "weave", "mosaic", "diamonds", "veins")
CLOTHS = (
    "tartan",
    "gingham",
    "knit",
    "weave",
    "houndstooth",
    "zigzag",
    "flowers",
    "stripes",
    "dots",
    "leopard",
    "waves",
)
CLOTHS += ("plain", "ramp", "leaves", "zebra", "patchwork", "diamonds")
RUGS = ("ornament_tiles", "zigzag", "diamonds", "patchwork", "tartan", "lattice", "triangles", "arcs", "scales", "maze")
BRIGHT = ("checks", "dots", "stripes", "zigzag", "stars", "targets", "patchwork", "triangles", "confetti", "diamonds")
BRIGHT += ("ramp", "arcs", "mosaic", "waves", "barcode", "hexagons", "op_art", "spiral")
GLAZES = ("ramp", "gradient", "terrazzo", "veins", "scales", "stripes", "waves", "dots", "leaves", "cracks", "mosaic")
METALS = ("brushed", "rust", "corrugated", "plain", "brushed")
ANY = tuple(dict.fromkeys(PAPERS + PLASTERS + MASONRY + FLOORS + CLOTHS + RUGS + BRIGHT + GLAZES + METALS))
_ART = tuple(DRAWN)
_DAY = ((0.7, 0.84, 0.97), (0.85, 0.92, 0.97), (0.45, 0.58, 0.42), (0.3, 0.4, 0.3))
_EVENING = ((0.95, 0.72, 0.5), (0.97, 0.85, 0.6), (0.55, 0.42, 0.5), (0.3, 0.25, 0.35))
_BENT = {"ramp": 1.2, "veins": 0.35, "zebra": 0.25, "rings": 0.08, "gradient": 0.3}
"""How far noise bends these patterns, in tiles."""


def pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    """One of the items (`Generator.choice` takes ten times as long)."""
    return items[int(rng.random() * len(items))]


class Style:
    """Draws the materials of one room from its palette; every call makes another piece of the material."""

    def __init__(self, rng: np.random.Generator, pictures: PictureSet | None = None):
        self.rng = rng
        self.palette = draw_palette(rng)
        self.pictures = pictures
        self._wood = self.jittered(self.palette.wood, 0.12)
        self._metal = pick(rng, ((0.2, 0.2, 0.21), (0.62, 0.5, 0.3), (0.6, 0.61, 0.63), (0.45, 0.27, 0.18)))
        self._wall_patterns = pick(rng, (PAPERS, PAPERS, PLASTERS, MASONRY))
        self._floor_pattern = pick(rng, FLOORS)
        self._cloth_patterns = [pick(rng, CLOTHS) for _ in range(4)]

    def jittered(self, color: Color, amount: float = 0.06) -> Color:
        """The colour up to `amount` lighter or darker, and a little tinted."""
        whole, red, green, blue = self.rng.random(4).tolist()
        base = 1 + amount * (2 * whole - 1.5)
        return (
            _clipped(color[0] * (base + 0.5 * amount * red)),
            _clipped(color[1] * (base + 0.5 * amount * green)),
            _clipped(color[2] * (base + 0.5 * amount * blue)),
        )

    def accent(self, jitter: float = 0.12) -> Color:
        """One of the accent colours."""
        return self.jittered(pick(self.rng, self.palette.accents), jitter)

    def wall(self, feature: bool) -> Material:
        """Paper, plaster or masonry; a `feature` wall has the stronger colour."""
        base = self.jittered(self.palette.walls[feature])
        contrast = float(self.rng.uniform(0.45, 0.9)) if feature else float(self.rng.uniform(0.25, 0.55))
        patterns = self._wall_patterns if self.rng.random() < 0.7 else pick(self.rng, (PAPERS, PLASTERS, MASONRY))
        others = [mix(base, color, contrast) for color in (self.palette.light, self.accent(), self.palette.dark)]
        return self._cut(pick(self.rng, patterns), (base, *self._shuffled(others)), self.rng.uniform(1.2, 2.4), 0.16)

    def ceiling(self) -> Material:
        """Plaster or boards."""
        base = self.jittered(self.palette.ceiling, 0.03)
        others = [mix(base, color, 0.3) for color in (self.palette.wood, self.palette.walls[1], self.palette.light)]
        pattern = pick(self.rng, ("plain", "plain", "cracks", "planks", "tiles", "grid", "ramp"))
        return self._cut(pattern, (base, *self._shuffled(others)), self.rng.uniform(1.6, 2.6), 0.1)

    def floor(self) -> Material:
        """Planks, tiles or stone."""
        base = self.jittered(self.palette.floor)
        dark, light = mix(base, self.palette.dark, 0.45), mix(base, self.palette.light, 0.4)
        tinted = mix(base, self.accent(), 0.3)
        turn = pick(self.rng, (0.0, 0.0, 1.5708, 0.7854))
        return self._cut(self._floor_pattern, (light, base, tinted, dark), self.rng.uniform(1.1, 1.9), 0.16, 0.08, turn)

    def wood(self, upright: bool = False) -> Material:
        """The room's wood; its rings run along x or upright."""
        light = mix(self._wood, self.palette.light, 0.18)
        colors = (light, self._wood, mix(self._wood, (0.1, 0.05, 0.02), 0.35), self._wood)
        size, (right, down) = float(self.rng.uniform(0.5, 1.0)), self.rng.random(2).tolist()
        along, noise = ("y", (0.12, 1.0, 0.12)) if upright else ("x", (1.0, 0.12, 0.12))
        return Material(
            "rings", colors, (size, size), 0.0, (right, down), along, noise, (0.1, 0.1), 0.14, 0.05, 0.0, self._spot()
        )

    def painted(self) -> Material:
        """Painted board: plain, or with a faint pattern."""
        color = mix(self.accent(), self.palette.light, float(self.rng.uniform(0, 0.5)))
        others = (mix(color, self.palette.dark, 0.25), mix(color, self.palette.light, 0.3), self.accent())
        pattern = pick(self.rng, ("plain", "plain", "ramp", "brushed", "cracks", "grid"))
        return self._cut(pattern, (color, *others), self.rng.uniform(0.5, 1.0), 0.12, 0.06)

    def fabric(self) -> Material:
        """Woven cloth, of a few patterns per room."""
        return self._cut(pick(self.rng, self._cloth_patterns), self._colors(0.75), self.rng.uniform(0.45, 0.95), 0.16)

    def rug(self, round_shape: bool) -> Material:
        """A rug with a large pattern around its middle."""
        pattern = pick(self.rng, ("rings", "spiral", "sunburst", "targets") if round_shape else RUGS)
        size = 2.2 if pattern in ("rings", "spiral", "sunburst") else float(self.rng.uniform(0.9, 1.5))
        material = self._cut(pattern, self._colors(0.9), size, 0.18)
        return Material(
            pattern, material.colors, (size, size), noise_m=(0.1, 0.1, 0.1), grain=0.2, offset=material.offset
        )

    def ceramic(self) -> Material:
        """Glazed clay."""
        return self._cut(pick(self.rng, GLAZES), self._colors(0.7), self.rng.uniform(0.3, 0.7), 0.1, 0.5)

    def toy(self) -> Material:
        """Something bright with a strong pattern, or a picture."""
        return self._cut(pick(self.rng, BRIGHT), self._colors(1.0), self.rng.uniform(0.35, 0.8), 0.08, 0.3)

    def stone(self) -> Material:
        """Marble, terrazzo or rough stone that runs through the solid."""
        base = mix(self.palette.light, self.accent(), float(self.rng.uniform(0.1, 0.5)))
        colors = (
            base,
            mix(base, self.palette.dark, 0.3),
            mix(base, self.accent(), 0.5),
            mix(base, self.palette.dark, 0.7),
        )
        pattern = pick(self.rng, ("veins", "terrazzo", "ramp", "cracks", "pebbles"))
        return self._cut(pattern, colors, self.rng.uniform(0.5, 1.2), 0.14, 0.25)

    def foliage(self) -> Material:
        """Leaves from afar."""
        green = mix((0.25, 0.42, 0.2), self.accent(), 0.2)
        colors = (
            mix(green, (0.03, 0.08, 0.03), 0.6),
            green,
            mix(green, (0.85, 0.9, 0.5), 0.35),
            mix(green, (0, 0, 0), 0.4),
        )
        return self._cut(pick(self.rng, ("camouflage", "leaves", "leaves")), colors, self.rng.uniform(0.3, 0.6), 0.35)

    def metal(self) -> Material:
        """The room's metal."""
        return self._metallic(self._metal, pick(self.rng, ("brushed", "plain")))

    def scrap_metal(self) -> Material:
        """Painted, corrugated or rusty metal."""
        return self._metallic(self.accent() if self.rng.random() < 0.6 else self._metal, pick(self.rng, METALS))

    def _metallic(self, color: Color, pattern: str) -> Material:
        rust = mix((0.42, 0.2, 0.09), color, float(self.rng.uniform(0, 0.3)))
        colors = (color, mix(color, (0.05, 0.05, 0.05), 0.35), rust, mix(rust, (0.1, 0.05, 0.03), 0.5))
        if pattern != "rust":
            colors = (*colors[:2], mix(color, self.palette.light, 0.4), colors[3])
        return self._cut(pattern, colors, self.rng.uniform(0.5, 1.1), 0.1, 0.5)

    def trim(self) -> Material:
        """Lacquer of skirting boards and frames."""
        color = self.palette.light if self.rng.random() < 0.7 else self._wood
        return self._cut("plain", (color, mix(color, self._wood, 0.15), color, color), 0.8, 0.06, 0.1)

    def anything(self, size_m: float = 0.8) -> Material:
        """Any pattern in any colours, on a thing about `size_m` large, sometimes running through it."""
        rng = self.rng
        tile = size_m * float(rng.uniform(0.5, 1.3)) + 0.25
        turn = float(rng.uniform(0, 6.28)) if rng.random() < 0.5 else 0.0
        pattern = pick(rng, ANY)
        through = pick(rng, ("x", "y", "z")) if pattern in _BENT or rng.random() < 0.15 else ""
        colors = self._colors(1.0) if rng.random() < 0.8 else self._random_colors()
        return self._cut(pattern, colors, tile, 0.14, pick(rng, (0, 0, 0.3, 0.6)), turn, through)

    def picture(self, width_m: float, height_m: float, mirrored: bool = False) -> Material:
        """A picture that fills a face: one of the user's, if there are any, or one drawn by rule.

        Args:
            width_m: width of the face; height_m: its height.
            mirrored: for faces whose u runs to the left of who looks at them (+z and -x of a thing).
        """
        rng = self.rng
        if self.pictures is not None and rng.random() < 0.85:
            number = int(rng.random() * len(self.pictures))
            pattern, colors, aspect = number, TRUE_COLORS, self.pictures.aspects[number]
        else:
            aspect = 1.0 if rng.random() < 0.5 else width_m / height_m
            pattern, colors = pick(rng, _ART), self._colors(1.0)
        width = max(width_m, height_m * aspect)  # the picture covers the face and sticks out along one side
        return Material(pattern, colors, (-width if mirrored else width, width / aspect), grain=0.03, gloss=0.05)

    def printed(self, width_m: float, height_m: float, pattern: str) -> Material:
        """A pattern that fills a face once: a crate's boards, a carton, spines of books, instruments."""
        colors: Colors = self._colors(0.9)
        if pattern == "crate":
            wood = self.jittered(self._wood, 0.15)
            light, dark = mix(wood, self.palette.light, 0.3), mix(wood, (0.08, 0.05, 0.03), 0.75)
            colors = (light, wood, mix(wood, self.accent(), 0.25), dark)
        elif pattern == "carton":
            board = self.jittered((0.68, 0.51, 0.34), 0.12)
            colors = (board, mix(board, self.palette.light, 0.45), (0.92, 0.9, 0.85), (0.13, 0.11, 0.1))
        return Material(pattern, colors, (width_m, height_m), noise_m=(0.4, 0.4, 0.4), grain=0.15, offset=self._spot())

    def sky(self, width_m: float, height_m: float) -> Material:
        """The glowing view out of a window, by day or in the evening."""
        pattern = pick(self.rng, ("hills", "skyline", "forest", "mountains", "seascape"))
        colors = pick(self.rng, (_DAY, _DAY, _EVENING))
        return Material(pattern, colors, (width_m, height_m), grain=0.05, glow=1.1, offset=self._spot())

    def glowing(self, color: Color = (1.0, 0.93, 0.8)) -> Material:
        """Lamp glass."""
        return Material("plain", (color, color, color, color), grain=0.0, glow=2.5)

    def _colors(self, strength: float) -> Colors:
        """Four different colours: three accents and a light or dark one; less `strength` brings them together."""
        rng, palette = self.rng, self.palette
        colors = [palette.accents[k] for k in rng.permutation(len(palette.accents))[:3].tolist()]
        colors.insert(0 if rng.random() < 0.5 else 3, palette.light if rng.random() < 0.65 else palette.dark)
        ground = self.jittered(colors[0], 0.1)
        first, second, third = self._shuffled([mix(ground, self.jittered(c, 0.1), strength) for c in colors[1:]])
        return ground, first, second, third

    def _random_colors(self) -> Colors:
        values = self.rng.random(12).tolist()
        first, second, third, fourth = (_triple(values[k : k + 3]) for k in (0, 3, 6, 9))
        return first, second, third, fourth

    def _shuffled(self, colors: list[Color]) -> tuple[Color, Color, Color]:
        first, second, third = self.rng.permutation(3).tolist()
        return colors[first], colors[second], colors[third]

    def _spot(self) -> tuple[float, float, float]:
        """A place in the noise."""
        return _triple((8 * self.rng.random(3)).tolist())

    def _cut(
        self,
        pattern: str,
        colors: Colors,
        size_m: float,
        grain: float,
        gloss: float = 0.0,
        turn: float = 0.0,
        through: str = "",
    ) -> Material:
        """A piece of a material whose tile is `size_m` large."""
        bend = _BENT.get(pattern, 0.0)
        tile, warp = (size_m, size_m), (bend, bend)
        if pattern == "ramp":  # noise picks the colours, hardly the place
            tile, warp = (9 * size_m, 9 * size_m), (bend, 0.0)
        right, down, share = self.rng.random(3).tolist()
        noise = size_m * (0.3 + 0.4 * share)
        return Material(
            pattern, colors, tile, turn, (right, down), through, (noise,) * 3, warp, grain, gloss, offset=self._spot()
        )


def _triple(values: list[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _clipped(value: float) -> float:
    return 0.98 if value > 0.98 else value if value > 0.015 else 0.015

"""All patterns: the masks of a material's second, third and fourth colour on one tile.

A new pattern is a function and an entry of a table in this folder. It is drawn once per process, so it may be slow.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rayzer.data.synthetic.patterns.built import BUILT
from rayzer.data.synthetic.patterns.drawn import DRAWN
from rayzer.data.synthetic.patterns.printed import PRINTED

SIDE_PX = 256
PATTERNS = PRINTED | BUILT | DRAWN
"""name: (u, v, the coordinates in a tile [s, s]) -> up to three masks [s, s], each painted over those before it."""


def bake(pattern: str) -> Tensor:
    """The tile [3, side, side] of a pattern: shares in [0, 1] of the second to fourth colour; the rest is the first."""
    side = (torch.arange(SIDE_PX) + 0.5) / SIDE_PX
    v, u = torch.meshgrid(side, side, indexing="ij")
    masks = [mask.clamp(0, 1).float() for mask in PATTERNS[pattern](u, v)]
    masks += [torch.zeros_like(u)] * (3 - len(masks))
    second, third, fourth = masks
    shares = torch.stack([second * (1 - third) * (1 - fourth), third * (1 - fourth), fourth])
    return _softened(_softened(shares, 1), 2)


def _softened(shares: Tensor, axis: int) -> Tensor:
    """No edge is sharper than half of its height per texel."""
    return 0.5 * shares + 0.25 * (shares.roll(1, axis) + shares.roll(-1, axis))

"""Where a token is: its place in its picture (2D rotary code) and the camera of its picture (relative-camera code).

Attention weighs tokens by a query and a key; codes turn both so that only *relative* places and cameras matter. Of the
channels of a head, the first half carries groups of four that are multiplied by camera matrices (GTA, arXiv 2310.10375;
PRoPE without intrinsics, arXiv 2507.10496), the rest carries rotary codes (base 100, as in VGGT, arXiv 2503.11651);
where cameras are not known yet, all channels are rotary.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from rayzer.geometry.cameras import Cameras

_BASE = 100.0  # wave lengths from 2 pi patches to 100 times that


class ViewCode(NamedTuple):
    """Codes of the tokens of `v` views that have `n` tokens each.

    Attributes:
        cosine, sine: [n, pairs] of the angles by which pairs of channels are turned.
        camera_from_world, world_from_camera: [b, v, 4, 4], or None where cameras are not known or do not matter.
    """

    cosine: Tensor
    sine: Tensor
    camera_from_world: Tensor | None = None
    world_from_camera: Tensor | None = None

    def of_queries(self, x: Tensor) -> Tensor:
        """Code queries [b, v, n, heads, e]."""
        pose = self.camera_from_world
        return self._coded(x, None if pose is None else pose.mT)

    def of_keys(self, x: Tensor) -> Tensor:
        """Code keys [b, v, n, heads, e]."""
        return self._coded(x, self.world_from_camera)

    def of_values(self, x: Tensor) -> Tensor:
        """Bring values [b, v, n, heads, e] into the world."""
        return x if self.world_from_camera is None else _in_parts(x, self.world_from_camera, None)

    def of_results(self, x: Tensor) -> Tensor:
        """Bring what queries [b, v, n, heads, e] have gathered from the world to their own cameras."""
        return x if self.camera_from_world is None else _in_parts(x, self.camera_from_world, None)

    def _coded(self, x: Tensor, matrices: Tensor | None) -> Tensor:
        return _in_parts(x, matrices, self)


def _in_parts(x: Tensor, matrices: Tensor | None, place: ViewCode | None) -> Tensor:
    """The first half multiplied by matrices [b, v, 4, 4] if there are any, the rest turned by `place`; in float32."""
    y = x.float()
    parts = []
    if matrices is not None:
        posed, y = y.tensor_split([y.shape[-1] // 2], -1)
        # Written as a sum, which is fused with what is around it; a product of so small matrices is slow.
        groups = posed.unflatten(-1, (-1, 4))[..., None, :]
        parts.append((groups * matrices[:, :, None, None, None]).sum(-1).flatten(-2))
    if place is not None:
        a, b = y.chunk(2, -1)
        cosine, sine = place.cosine[:, None], place.sine[:, None]
        y = torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)
    return torch.cat([*parts, y], -1).to(x.dtype)


def place_code(rows: int, columns: int, head_width: int, device: torch.device, extra: int = 0) -> ViewCode:
    """Codes that know only places: patches of pictures of so many rows and columns, after `extra` tokens without one.

    A table for heads whose first half is camera code is that of half the `head_width`.
    """
    return ViewCode(*_table(rows, columns, head_width // 4, device, extra))


def camera_code(rows: int, columns: int, head_width: int, cameras: Cameras) -> ViewCode:
    """Codes that know places and `cameras` [b, v]."""
    place = place_code(rows, columns, head_width // 2, cameras.intrinsics.device)
    return ViewCode(place.cosine, place.sine, cameras.camera_from_world, cameras.world_from_camera)


@functools.cache  # so that no step copies it to a GPU, which waits for all work before
def _table(rows: int, columns: int, waves: int, device: torch.device, extra: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [extra + rows * columns, 2 * waves]: of rows, then of columns."""
    with torch.inference_mode(False):
        frequency = _BASE ** (-torch.arange(waves, dtype=torch.float64) / waves)
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        angle = torch.cat([row.flatten()[:, None] * frequency, column.flatten()[:, None] * frequency], -1)
        angle = torch.cat([angle.new_zeros(extra, 2 * waves), angle])
        return angle.cos().float().to(device), angle.sin().float().to(device)

"""Hand-held camera paths: smooth, clear of everything, looking at what there is to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rayzer.data.synthetic.batching import together
from rayzer.data.synthetic.casting import Rays, clearance, nearest
from rayzer.data.synthetic.records import TensorRecord
from rayzer.data.synthetic.shading import Room
from rayzer.geometry.cameras import Cameras, rigid

FOCALS = (0.6, 1.3)  # range of focal lengths, as fractions of the image size
CLEARANCE_M = 0.25  # how far the camera keeps away from every surface
_CANDIDATES = 32
_ATTEMPTS = 20
_CHECKS = 33  # points of a path that are checked
_LOOKS = 3  # poses of a path that are judged by what they see
_LOOK_PX = 8


class NoClearPath(RuntimeError):
    """No path keeps clear of everything: the rooms are too full, or the span is too long."""


@dataclass(frozen=True, eq=False)
class PathFamily(TensorRecord):
    """`c` candidate paths, each a function of the time in [0, 1]; angles in radians, lengths in metres.

    The camera swings by `sweep` around `pivot` at `radius` (changing by `zoom` on the way) and looks at
    `target`; sums of sine waves, `sway` [c, 3 waves, 5 of x y z pitch yaw, 2 of cosine sine], shake it.
    """

    pivot: Tensor
    target: Tensor
    target_drift: Tensor
    azimuth: Tensor
    sweep: Tensor
    radius: Tensor
    zoom: Tensor
    height: Tensor
    rise: Tensor
    sway: Tensor

    def __getitem__(self, candidates: Tensor) -> PathFamily:
        """Some of the paths, by their numbers."""
        return self.map(lambda value: value[candidates])

    def poses(self, times: Tensor) -> Tensor:
        """`world_from_camera` [c, t, 4, 4] at `times` [t] in [0, 1]."""
        shake, tremble = self._sway(times).split([3, 2], -1)
        centered = times - 0.5
        angle = self.azimuth[:, None] + self.sweep[:, None] * centered
        radius = self.radius[:, None] + self.zoom[:, None] * centered
        height = self.height[:, None] + self.rise[:, None] * centered
        swing = torch.stack([radius * angle.cos(), -height, radius * angle.sin()], -1)
        center = self.pivot[:, None] + swing + shake
        target = self.target[:, None] + centered[:, None] * self.target_drift[:, None]
        return rigid(_looking(target - center, tremble), center)

    def _sway(self, times: Tensor) -> Tensor:
        """[c, t, 5] offsets along x, y, z (metres) and of pitch and yaw (radians)."""
        waves = torch.arange(1, self.sway.shape[1] + 1)[None, :] * times[:, None] * 4.4
        basis = torch.stack([waves.cos(), waves.sin()], -1)
        return (self.sway[:, None] * basis[None, :, :, None, :]).sum((2, 4))


def camera_path(rooms: Sequence[Room], seed: int, views: int, span: float) -> Cameras:
    """`views` cameras [v], float64 on the CPU, along a hand-held path that is clear in all of some rooms.

    Args:
        rooms: what must be kept away from and looked at, float64 on the CPU.
        seed: the path is a function of it, of the rooms and of the span; `views` only samples it.
        views: number of cameras, evenly spaced in time.
        span: how far the path goes: 1 swings by 20 to 33 degrees around the middle of the room, 0.5 by half of that;
            at 0 only the hands shake.

    Raises:
        NoClearPath: if no path keeps clear of everything.
    """
    rng = np.random.default_rng([seed, 1])
    focal = float(rng.uniform(*FOCALS))
    half_size = torch.stack([room.solids[0].half_sizes[0] for room in rooms]).amin(0)
    for _ in range(_ATTEMPTS):
        family = _draw(rng, half_size, span)
        centers = family.poses(_times(_CHECKS))[..., :3, 3]
        clear = torch.stack([clearance(room.solids, centers) for room in rooms]).amin((0, -1)) > CLEARANCE_M
        if clear.any():
            looks = family.poses(_times(_LOOKS))[clear]
            best = torch.stack([_interest(room, looks, focal) for room in rooms]).amin(0).argmax()
            poses = family[clear.nonzero()[best]].poses(_times(views))[0]
            return Cameras(poses, torch.tensor([focal, focal, 0.5, 0.5], dtype=torch.float64).expand(views, 4).clone())
    raise NoClearPath(f"no camera path of span {span} keeps clear of the things in room {seed}")


def _times(count: int) -> Tensor:
    return torch.linspace(0, 1, count, dtype=torch.float64)


def _draw(rng: np.random.Generator, half_size: Tensor, span: float) -> PathFamily:
    count = _CANDIDATES

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.tensor(rng.uniform(low, high, (count, *shape)), dtype=torch.float64)

    def sign() -> Tensor:
        return torch.tensor(rng.choice([-1.0, 1.0], count), dtype=torch.float64)

    zero, azimuth = torch.zeros(count, dtype=torch.float64), uniform(0, 2 * np.pi)
    pivot = torch.stack([uniform(-0.5, 0.5), zero, uniform(-0.5, 0.5)], -1)
    across = torch.stack([-azimuth.cos(), zero, -azimuth.sin()], -1)  # look past the pivot: nothing fills the view
    amplitude = torch.tensor([0.044, 0.031, 0.044, 0.0175, 0.026], dtype=torch.float64)[:, None]
    decay = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)[:, None, None]
    return PathFamily(
        pivot=pivot,
        target=pivot + uniform(0.2, 1.3, 1) * across - torch.stack([zero, uniform(0.55, 1.15), zero], -1),
        target_drift=span * uniform(-0.22, 0.22, 3) * torch.tensor([1.0, 0.3, 1.0], dtype=torch.float64),
        azimuth=azimuth,
        sweep=span * uniform(0.36, 0.58) * sign(),
        radius=uniform(0.5, 0.95) * half_size[[0, 2]].min(),
        zoom=span * uniform(-0.25, 0.25),
        height=uniform(1.1, 1.75),
        rise=span * uniform(-0.18, 0.18),
        sway=uniform(-1, 1, 3, 5, 2) * amplitude * decay,
    )


def _looking(forward: Tensor, tremble: Tensor) -> Tensor:
    """Rotations [..., 3, 3] (columns: right, down, forward) that look along `forward` [..., 3], horizon level.

    `tremble` [..., 2] adds a little pitch and yaw.
    """
    pitch = torch.atan2(forward[..., 1], forward[..., ::2].norm(dim=-1)) + tremble[..., 0]
    yaw = torch.atan2(forward[..., 0], forward[..., 2]) + tremble[..., 1]
    zero = torch.zeros_like(yaw)
    right = torch.stack([yaw.cos(), zero, -yaw.sin()], -1)
    ahead = torch.stack([yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos()], -1)
    return torch.stack([right, torch.linalg.cross(ahead, right), ahead], -1)


def _interest(room: Room, poses: Tensor, focal: float) -> Tensor:
    """How much there is to see along paths [c, t, 4, 4] -> [c]: many things, none of them too close."""
    side = (torch.arange(_LOOK_PX, dtype=torch.float64) + 0.5) / _LOOK_PX - 0.5
    y, x = torch.meshgrid(side / focal, side / focal, indexing="ij")
    rays = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3), dim=-1)
    turned = (poses[..., None, :3, :3] * rays[:, None, :]).sum(-1)  # no matrix product: autocast would bend it
    origins = poses[..., :3, 3].permute(2, 0, 1)
    bundles = Rays(origins.flatten(1)[:, None, :, None], turned.permute(3, 0, 1, 2).flatten(1, 2)[:, None, :, None])
    distance, index = (value.view(turned.shape[:3]) for value in nearest(together([room]).solids, bundles))
    things = index > 1  # what is not the room itself, nor the one that fills its kind up
    changes = (index[..., 1:] != index[..., :-1]).double().mean(-1)
    close = (distance < 0.8).double().mean(-1)
    return (things.double().mean(-1) + changes - 3 * close).amin(-1)

"""Samples mirrored and turned: eight times as many scenes, without a new picture."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rayzer.data.dataset import Draw, Sample, Sampled
from rayzer.data.randomness import random_stream
from rayzer.geometry.cameras import Cameras

_MIRROR = ((-1.0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))  # old coordinates from new ones
_QUARTER = ((0.0, -1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))


class SymmetricSamples:
    """Samples of a source, each mirrored or not, and turned by a random number of quarters: a `Sampled`.

    All views of a sample in the same way, so that it is a sample of a mirrored scene, or of a camera held otherwise.

    Args:
        source: gives the samples.
        halves_only: never by one or three quarters, as pictures that are not square; normalised cameras are not
            normalised any more after those.
    """

    def __init__(self, source: Sampled, halves_only: bool = False):
        self.source, self.halves_only = source, halves_only

    def sample(self, draw: Draw) -> Sample:
        """See `Sampled`."""
        made = self.source.sample(draw)
        height, width = made.images.shape[-2:]
        rng = random_stream(draw.seed, "symmetry", draw.step, draw.slot)
        mirrored, quarters = bool(rng.integers(2)), int(rng.integers(4))
        return moved(made, mirrored, quarters // 2 * 2 if self.halves_only or height != width else quarters)


def moved(sample: Sample, mirrored: bool, quarters: int) -> Sample:
    """A sample mirrored left to right or not, then turned anticlockwise by so many quarters, 0 to 3.

    Odd quarters swap height and width. The world is mirrored along its x axis and turned about its z axis, as if it
    were a camera's frame, so that cameras relative to each other are those of the new pictures.
    """
    images = _moved(sample.images, mirrored, quarters).contiguous(memory_format=torch.channels_last)
    depth_m = None if sample.depth_m is None else _moved(sample.depth_m, mirrored, quarters).contiguous()
    if sample.cameras is None:
        return replace(sample, images=images, depth_m=depth_m)
    cameras = sample.cameras
    if mirrored:
        fx, fy, cx, cy = cameras.intrinsics.unbind(-1)
        cameras = _in_axes(cameras, _MIRROR, (fx, fy, 1 - cx, cy))
    for _ in range(quarters):
        fx, fy, cx, cy = cameras.intrinsics.unbind(-1)
        cameras = _in_axes(cameras, _QUARTER, (fy, fx, cy, 1 - cx))
    return replace(sample, images=images, cameras=cameras, depth_m=depth_m)


def _moved(pictures: Tensor, mirrored: bool, quarters: int) -> Tensor:
    """[..., h, w]."""
    return torch.rot90(pictures.flip(-1) if mirrored else pictures, quarters, (-2, -1))


def _in_axes(cameras: Cameras, old_from_new: tuple[tuple[float, ...], ...], intrinsics: tuple[Tensor, ...]) -> Cameras:
    """Cameras whose own axes and the world's are others; exact, because these are the old ones in another order."""
    axes = cameras.world_from_camera.new_tensor(old_from_new)
    return Cameras(axes.mT @ cameras.world_from_camera @ axes, torch.stack(intrinsics, -1))

"""Image metrics, equal to those of the published evaluations of RayZer and LVSM."""

from __future__ import annotations

from torch import Tensor

from rayzer.losses.pictures import comparable
from rayzer.losses.structural import WINDOW, ssim_map


def psnr(target: Tensor, prediction: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of pictures [n, 3, h, w], both clamped to [0, 1]: [n]; infinite if equal."""
    target, prediction = comparable(target, prediction)
    difference = target.clamp(0, 1) - prediction.clamp(0, 1)
    return -10 * difference.square().flatten(1).mean(1).log10()


def ssim(target: Tensor, prediction: Tensor) -> Tensor:
    """Structural similarity of pictures [n, 3, h, w] with values up to 1 (not clamped): [n].

    Equals scikit-image's `structural_similarity(win_size=11, gaussian_weights=True, channel_axis=0, data_range=1)`:
    the covariances carry its factor 121/120 and a border of 5 pixels is left out. Computed in float64.

    Raises:
        ValueError: if a side is shorter than the window of 11 pixels.
    """
    target, prediction = comparable(target, prediction, smallest_px=WINDOW)
    return ssim_map(target.double(), prediction.double()).flatten(1).mean(1)

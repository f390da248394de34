"""Image metrics, equal to those of the published evaluations of RayZer and LVSM."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5  # of the SSIM's Gaussian
C1, C2 = 0.01**2, 0.03**2


def psnr(target: Tensor, prediction: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of pictures [n, 3, h, w], both clamped to [0, 1]: [n]; infinite if equal."""
    target, prediction = _comparable(target, prediction)
    difference = target.clamp(0, 1) - prediction.clamp(0, 1)
    return -10 * difference.square().flatten(1).mean(1).log10()


def ssim(target: Tensor, prediction: Tensor) -> Tensor:
    """Structural similarity of pictures [n, 3, h, w] with values up to 1 (not clamped): [n].

    Equals scikit-image's `structural_similarity(win_size=11, gaussian_weights=True, channel_axis=0, data_range=1)`:
    the covariances carry its factor 121/120 and a border of 5 pixels is left out. Computed in float64.

    Raises:
        ValueError: if a side is shorter than the window of 11 pixels.
    """
    target, prediction = _comparable(target, prediction)
    if min(target.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {WINDOW}x{WINDOW} pixels, got {list(target.shape[-2:])}")
    x, y = target.double(), prediction.double()
    mean_x, mean_y = _blur(x), _blur(y)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    variance_x = sample * (_blur(x * x) - mean_x * mean_x)
    variance_y = sample * (_blur(y * y) - mean_y * mean_y)
    covariance = sample * (_blur(x * y) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).flatten(1).mean(1)


def _comparable(target: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
    """Both pictures in float32 or better; a ValueError if their shapes differ (they would be broadcast)."""
    if target.ndim != 4 or target.shape != prediction.shape:
        raise ValueError(
            f"pictures must be [n, 3, h, w] of one shape, got {list(target.shape)} and {list(prediction.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(target.dtype, prediction.dtype), torch.float32)
    return target.to(dtype), prediction.to(dtype)


def _blur(x: Tensor) -> Tensor:
    """Gaussian means of the windows that lie inside [n, c, h, w]."""
    offset = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    kernel = torch.exp(-(offset**2) / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, WINDOW)
    rows = F.conv2d(x, kernel, groups=x.shape[1])
    return F.conv2d(rows, kernel.mT, groups=x.shape[1])

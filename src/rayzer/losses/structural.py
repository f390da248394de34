"""Structure of pictures without a network: SSIM (the metric's, too) and steps between neighbours at four scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayzer.losses.pictures import comparable

WINDOW, SIGMA = 11, 1.5  # of the SSIM's Gaussian
C1, C2 = 0.01**2, 0.03**2
OCTAVES = 4
SMALLEST_PX = 16  # 2 at the last octave


class StructuralLoss(nn.Module):
    """What a perceptual loss is for, as far as it goes without pretrained weights.

    `mean over k = 0..3 of (mean |Dx p_k - Dx t_k| + mean |Dy p_k - Dy t_k|) + mean (1 - SSIM(p, t))`, where p_k and t_k
    are prediction and target after k average poolings by 2, Dx and Dy differences between horizontal and vertical
    neighbours (gradient matching: Mathieu et al. 2016; over scales: Li and Snavely 2018), and SSIM that of
    `ssim_map` (Wang et al. 2004). 0 for equal pictures and no others. Computed in float32 whatever autocast says.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of pictures [n, 3, h, w] in [0, 1], h and w at least 16: the mean over the batch."""
        prediction, target = comparable(prediction, target, SMALLEST_PX)
        with torch.autocast(prediction.device.type, enabled=False):
            return gradient_difference(prediction - target) + (1 - ssim_map(prediction, target)).mean()


def gradient_difference(difference: Tensor) -> Tensor:
    """Mean over octaves of the mean absolute steps of [n, c, h, w] to the right and down: a scalar.

    Poolings and steps are linear, so those of the difference are the differences of those.
    """
    total = difference.new_zeros(())
    for octave in range(OCTAVES):
        if octave:
            difference = F.avg_pool2d(difference, 2)
        total = total + difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    return total / OCTAVES


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity [n, c, h - 10, w - 10] around every pixel of [n, c, h, w] whose window lies inside.

    scikit-image's `structural_similarity(win_size=11, gaussian_weights=True, data_range=1)`: the covariances carry its
    factor 121/120. In the dtype of the pictures, which should not be less than float32.
    """
    mean_x, mean_y = _blur(x), _blur(y)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    variance_x = sample * (_blur(x * x) - mean_x * mean_x)
    variance_y = sample * (_blur(y * y) - mean_y * mean_y)
    covariance = sample * (_blur(x * y) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return luminance * structure


def _blur(x: Tensor) -> Tensor:
    """Gaussian means of the windows that lie inside [n, c, h, w]."""
    offset = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    kernel = torch.exp(-(offset**2) / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, WINDOW)
    # contiguous: for channels-last pictures PyTorch asks cuDNN, which may round to TF32; variances would not survive it
    rows = F.conv2d(x.contiguous(), kernel, groups=x.shape[1])
    return F.conv2d(rows, kernel.mT, groups=x.shape[1])

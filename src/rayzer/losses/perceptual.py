"""The perceptual loss of the reference recipe: VGG-19 features, average pooling."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rayzer.losses.pictures import comparable, full_precision
from rayzer.losses.vgg import FrozenVGG, Layout

VGG19 = Layout("VGG-19", ("cc", "pcc", "pcc", "ccpcc", "ccpcc"))  # to relu1_2, relu2_2, ..., relu5_2
DIVISORS = (2.6, 4.8, 3.7, 5.6, 1.5 / 10)
CHANNEL_MEAN = (123_680, 116_779, 103_939)  # thousandths of ImageNet's mean in RGB, on the scale 0..255
SMALLEST_PX = 16


class PerceptualLoss(nn.Module):
    """Mean absolute differences of pixels and VGG-19 features (Chen and Koltun 2017).

    `(pixels + f1 / 2.6 + f2 / 4.8 + f3 / 3.7 + f4 / 5.6 + f5 * 10 / 1.5) / 255` after relu1_2, ..., relu5_2 of a VGG-19
    with average pooling. The weights decide the scale: those of the paper are MatConvNet's, torchvision's give another.

    Pixels and averages are float32 whatever autocast says; the network runs in the dtype and memory format of its
    weights, on GPUs best after `.to(dtype=torch.bfloat16, memory_format=torch.channels_last)`. Not float16: its
    gradients are smaller than that can hold.

    Args:
        vgg19_state_dict: under torchvision's names ("features.0.weight", ...); "classifier.*" is not used.

    Raises:
        ValueError: if a weight is missing or has the wrong shape.
    """

    mean: Tensor

    def __init__(self, vgg19_state_dict: Mapping[str, Tensor]):
        super().__init__()
        self.vgg = FrozenVGG(VGG19, vgg19_state_dict, nn.AvgPool2d)
        # integers, because those stay exact when the module is moved to bfloat16
        self.register_buffer("mean", torch.tensor(CHANNEL_MEAN)[:, None, None], persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of pictures [n, 3, h, w] in [0, 1], h and w at least 16: the mean over the batch.

        Gradients reach the prediction only.
        """
        pictures = comparable(prediction, target.detach(), SMALLEST_PX)
        with torch.autocast(prediction.device.type, enabled=False):
            a, b = (255 * x - self.mean / 1000 for x in pictures)
            loss = _mean_difference(a, b)
            for (x, y), divisor in zip(self.vgg.compare(a, b), DIVISORS, strict=True):
                loss = loss + _mean_difference(x, y) / divisor
            return loss / 255


def _mean_difference(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean(dtype=full_precision(a))

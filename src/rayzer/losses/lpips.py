"""LPIPS (Zhang et al. 2018), version 0.1 with VGG-16, as a metric and as a loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rayzer.losses.pictures import comparable, full_precision
from rayzer.losses.vgg import FrozenVGG, Layout

VGG16 = Layout("VGG-16", ("cc", "pcc", "pccc", "pccc", "pccc"))  # to relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
SHIFT, SCALE = (-30, -88, -188), (458, 448, 450)  # thousandths, of RGB in [-1, 1]
SMALLEST_PX = 16
EPSILON = 1e-10


class LPIPS(nn.Module):
    """Learned perceptual distance, equal to that of the `lpips` package (`net="vgg"`, version 0.1).

    Features of a VGG-16 are made unit vectors at every pixel; their squared differences are weighted per channel,
    summed over channels and stages, and averaged over pixels. Precision is that of `PerceptualLoss`.

    Args:
        vgg16_state_dict: under torchvision's names ("features.0.weight", ...); "classifier.*" is not used.
        linear_state_dict: the channel weights under the names of the package's `weights/v0.1/vgg.pth`
            ("lin0.model.1.weight", ...).

    Raises:
        ValueError: if a weight is missing or has the wrong shape.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, vgg16_state_dict: Mapping[str, Tensor], linear_state_dict: Mapping[str, Tensor]):
        super().__init__()
        self.vgg = FrozenVGG(VGG16, vgg16_state_dict, nn.MaxPool2d)
        weights = [_channel_weights(linear_state_dict, *item) for item in enumerate(self.vgg.channels)]
        self.channel_weights = nn.ParameterList(weights).requires_grad_(False)
        # integers, because those stay exact when the module is moved to bfloat16
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distances [n] of pictures [n, 3, h, w] in [0, 1], h and w at least 16.

        Gradients reach the prediction only.
        """
        pictures = comparable(prediction, target.detach(), SMALLEST_PX)
        with torch.autocast(prediction.device.type, enabled=False):
            a, b = ((2 * x - 1 - self.shift / 1000) / (self.scale / 1000) for x in pictures)
            distances = []
            for (x, y), weights in zip(self.vgg.compare(a, b), self.channel_weights, strict=True):
                squares = (_unit(x) - _unit(y)).square()
                distances.append((weights * squares).sum(1).mean((1, 2)))
            return torch.stack(distances).sum(0)


def _unit(features: Tensor) -> Tensor:
    """Features [n, c, h, w] scaled to length 1 over channels; where all are 0 they stay so."""
    features = features.to(full_precision(features))
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + EPSILON)


def _channel_weights(state: Mapping[str, Tensor], stage: int, channels: int) -> Tensor:
    """[c, 1, 1]."""
    name = f"lin{stage}.model.1.weight"
    if name not in state:
        raise ValueError(f"not the linear weights of LPIPS 0.1 with VGG-16: '{name}' is missing")
    weight = state[name]
    if weight.shape != (1, channels, 1, 1):
        raise ValueError(f"{name} has shape {list(weight.shape)}, expected {[1, channels, 1, 1]}")
    return weight[0].detach().to(torch.float32, copy=True)

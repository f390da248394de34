"""Losses between pictures. They know nothing of models, data or training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VGG19_LAYERS = (2, 2, 4, 4, 4)  # convolutions per stage; a pooling follows each stage
CHANNEL_MEAN = (123.68, 116.779, 103.939)  # of ImageNet in RGB, on the scale 0..255
TAPS = {"relu1_2": 2.6, "relu2_2": 4.8, "relu3_2": 3.7, "relu4_2": 5.6, "relu5_2": 1.5 / 10}  # divisors


class PerceptualLoss(nn.Module):
    """Mean absolute differences of pixels and VGG-19 features (Chen and Koltun 2017).

    `(pixels + f1 / 2.6 + f2 / 4.8 + f3 / 3.7 + f4 / 5.6 + f5 * 10 / 1.5) / 255` after relu1_2, ..., relu5_2 of a VGG-19
    with average pooling. The weights decide the scale: those of the paper are MatConvNet's, torchvision's give another.

    Args:
        vgg19_state_dict: under torchvision's names ("features.0.weight", ...); "classifier.*" is not used.

    Raises:
        ValueError: if a weight is missing or has the wrong shape.
    """

    mean: Tensor

    def __init__(self, vgg19_state_dict: Mapping[str, Tensor]):
        super().__init__()
        self.features = _vgg19_features(vgg19_state_dict)
        self.register_buffer("mean", torch.tensor(CHANNEL_MEAN)[:, None, None], persistent=False)
        self.requires_grad_(False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of pictures [n, 3, h, w] in [0, 1], h and w at least 16: the mean over the batch."""
        a, b = 255 * prediction - self.mean, 255 * target - self.mean
        loss = F.l1_loss(a, b)
        divisors = iter(TAPS.values())
        for stage in self.features.children():
            for name, layer in stage.named_children():
                a, b = layer(a), layer(b)
                if name == "relu_2":
                    loss = loss + F.l1_loss(a, b) / next(divisors)
        return loss / 255


def _vgg19_features(state: Mapping[str, Tensor]) -> nn.Sequential:
    """Stages of named convolutions, up to relu5_2."""
    stages, index, channels = [], 0, 3
    for stage, count in enumerate(VGG19_LAYERS):
        layers: dict[str, nn.Module] = {"pool": nn.AvgPool2d(2)} if stage else {}
        for number in range(1, count + 1):
            if stage < 4 or number <= 2:
                convolution = _convolution(state, f"features.{index}", channels)
                layers |= {f"conv_{number}": convolution, f"relu_{number}": nn.ReLU()}
                channels = convolution.out_channels
            index += 2
        index += 1
        stages.append(_named(layers))
    return nn.Sequential(*stages)


def _named(layers: dict[str, nn.Module]) -> nn.Sequential:
    module = nn.Sequential()
    for name, layer in layers.items():
        module.add_module(name, layer)
    return module


def _convolution(state: Mapping[str, Tensor], name: str, channels: int) -> nn.Conv2d:
    try:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    except KeyError as error:
        raise ValueError(f"not a VGG-19 state dict of torchvision's: {error} is missing") from None
    if weight.ndim != 4 or weight.shape[1:] != (channels, 3, 3) or bias.shape != weight.shape[:1]:
        raise ValueError(f"{name} has shapes {list(weight.shape)}, {list(bias.shape)}: not a VGG-19 state dict")
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)  # type: ignore[union-attr]
    return layer

"""Convolutions of a VGG (Simonyan and Zisserman 2015), frozen, in stages whose outputs losses compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """Which layers of a VGG are run, and where its features are read.

    Attributes:
        name: what messages call it.
        stages: letters in the order of torchvision's `features`: a pooling (p), or a convolution and its ReLU (c).
            Features are read after each stage.
    """

    name: str
    stages: tuple[str, ...]


class FrozenVGG(nn.Module):
    """A VGG whose weights get no gradient. It runs in their dtype and memory format.

    Args:
        layout: which layers.
        state: under torchvision's names ("features.0.weight", ...); copied. Layers may be narrower than the published.
        pooling: `nn.MaxPool2d`, or `nn.AvgPool2d` in its place.

    Raises:
        ValueError: naming the weight that is missing or has the wrong shape.
    """

    def __init__(self, layout: Layout, state: Mapping[str, Tensor], pooling: type[nn.MaxPool2d] | type[nn.AvgPool2d]):
        super().__init__()
        self.stages, self.channels = nn.ModuleList(), []
        index, channels = 0, 3
        for letters in layout.stages:
            stage = nn.Sequential()
            for letter in letters:
                if letter == "p":
                    stage.append(pooling(2))
                    index += 1
                else:
                    convolution = _convolution(state, f"features.{index}", channels, layout.name)
                    stage.extend([convolution, nn.ReLU(inplace=True)])
                    channels = convolution.out_channels
                    index += 2
            self.stages.append(stage)
            self.channels.append(channels)
        self.requires_grad_(False)

    def compare(self, a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Features [n, c, h, w] of both after each stage; those of `b` carry no gradient.

        Not as one batch, because then the features of `b` would be kept for the backward pass and run through it.
        """
        dtype = next(self.parameters()).dtype
        a, b = a.to(dtype), b.to(dtype)
        for stage in self.stages:
            a = stage(a)
            with torch.no_grad():
                b = stage(b)
            yield a, b


def _convolution(state: Mapping[str, Tensor], name: str, channels: int, vgg: str) -> nn.Conv2d:
    try:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    except KeyError as error:
        raise ValueError(f"not a {vgg} state dict of torchvision's: {error} is missing") from None
    if weight.ndim != 4 or weight.shape[1:] != (channels, 3, 3) or bias.shape != weight.shape[:1]:
        raise ValueError(f"{name} has shapes {list(weight.shape)}, {list(bias.shape)}: not a {vgg} state dict")
    layer = nn.Conv2d(channels, weight.shape[0], 3, padding=1, device="meta").to_empty(device="cpu")
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer

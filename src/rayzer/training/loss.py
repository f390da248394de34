"""The loss of a recipe: a weighted sum of terms between rendered and true pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from rayzer.losses import LPIPS, PerceptualLoss, StructuralLoss
from rayzer.losses.pretrained import load_lpips, load_vgg19
from rayzer.training.recipe import LossConfig


class MeanSquaredError(nn.Module):
    """Mean squared difference of pixels."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of pictures [n, 3, h, w]."""
        return (prediction - target).square().mean()


class MeanLPIPS(LPIPS):
    """LPIPS as a loss: its mean over the pictures."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of pictures [n, 3, h, w]."""
        return super().forward(prediction, target).mean()


class TrainingLoss(nn.Module):
    """`sum of weight * term`.

    Args:
        terms: of pictures [n, 3, h, w] in [0, 1], prediction first; each gives a scalar, the mean over the batch.
        weights: of the terms of the same names.
        sources: SHA-256 of the files that frozen networks were read from, by name of the file.
    """

    def __init__(self, terms: dict[str, nn.Module], weights: dict[str, float], sources: dict[str, str] | None = None):
        super().__init__()
        self.terms, self.weights, self.sources = nn.ModuleDict(terms), weights, sources or {}

    @staticmethod
    def from_config(config: LossConfig) -> TrainingLoss:
        """The loss that a configuration names.

        Raises:
            InputError: if the weights of a frozen network are not there or damaged; says how to get them.
        """
        terms: dict[str, nn.Module] = {}
        sources: dict[str, str] = {}
        if config.mse:
            terms["mse"] = MeanSquaredError()
        if config.perceptual:
            vgg = load_vgg19(config.vgg, _path(config.vgg_file))
            terms["perceptual"] = PerceptualLoss(vgg.state)
            sources[vgg.file.name] = vgg.sha256
        if config.lpips:
            trunk, linear = load_lpips(_path(config.lpips_file), _path(config.lpips_linear_file))
            terms["lpips"] = MeanLPIPS(trunk.state, linear.state)
            sources |= {trunk.file.name: trunk.sha256, linear.file.name: linear.sha256}
        if config.structural:
            terms["structural"] = StructuralLoss()
        return TrainingLoss(terms, {name: getattr(config, name) for name in terms}, sources)

    def for_speed(self, device: torch.device, bf16: bool, compile: bool) -> TrainingLoss:
        """The same on a device; on a GPU the large frozen network is laid out as convolutions there like it.

        Compiled, its poolings, biases and differences take a fifth of the time.
        """
        self.to(device)
        if device.type == "cuda" and "perceptual" in self.terms:
            network = self.terms["perceptual"].to(torch.bfloat16 if bf16 else torch.float32)
            network.to(memory_format=torch.channels_last)
            if compile:
                network.compile(dynamic=False)
        return self

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of pictures [b, t, 3, h, w] in [0, 1], and every term before weighting (detached)."""
        if not self.terms:
            return prediction.new_zeros(()), {}
        a, b = prediction.flatten(0, 1), target.flatten(0, 1)
        values = {name: term(a, b) for name, term in self.terms.items()}
        total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}


def _path(name: str) -> Path | None:
    return Path(name).expanduser() if name else None

"""Losses between pictures, and frozen weights for them. They know nothing of models, data or training."""

from rayzer.losses.lpips import LPIPS
from rayzer.losses.perceptual import PerceptualLoss
from rayzer.losses.pretrained import PretrainedWeights, load_lpips, load_vgg19
from rayzer.losses.structural import StructuralLoss

__all__ = ["LPIPS", "PerceptualLoss", "PretrainedWeights", "StructuralLoss", "load_lpips", "load_vgg19"]

"""Checks of what users hand to a model; the messages name the value and the way out."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from rayzer.errors import InputError


def check_images(images: Tensor, patch_size: int) -> None:
    """Raise InputError unless `images` is float [b, v, 3, h, w] with h and w multiples of the patch size."""
    if images.ndim != 5 or images.shape[2] != 3 or not images.is_floating_point():
        raise InputError(
            f"images must be floating point [b, v, 3, h, w] in [0, 1], got {images.dtype} {list(images.shape)}"
        )
    height, width = images.shape[-2:]
    if height % patch_size or width % patch_size:
        raise InputError(
            f"images are {width}x{height} pixels, but the model's patches are {patch_size}x{patch_size}: "
            "crop or resize to a multiple (rayzer.load_images does)"
        )


def check_positive(config) -> None:
    """Raise InputError unless every number of a model's configuration can be built."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise InputError(f"model.{field.name} = {value}: must be at least 1")
    if config.width % config.head_width:
        raise InputError(f"model.width = {config.width} is not a multiple of model.head_width = {config.head_width}")
    if config.width % 8:
        raise InputError(f"model.width = {config.width} is not a multiple of 8, which the position code needs")
    for name in ("image_height", "image_width"):
        if getattr(config, name) % config.patch_size:
            raise InputError(
                f"model.{name} = {getattr(config, name)} is not a multiple of model.patch_size = {config.patch_size}"
            )

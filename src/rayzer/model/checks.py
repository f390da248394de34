"""Checks of what users hand to a model; the messages name the value and the way out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from torch import Tensor

from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras

if TYPE_CHECKING:
    from rayzer.model.anyview import AnyViewConfig
    from rayzer.model.lvsm import LVSMConfig
    from rayzer.model.rayzer import RayZerConfig


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


def check_cameras(cameras: Cameras, images: Tensor) -> None:
    """Raise InputError unless there is one camera for each of the images [b, v, ...]."""
    if cameras.shape != images.shape[:2]:
        raise InputError(f"{list(images.shape[:2])} images need as many cameras, got {list(cameras.shape)}")


def check_latent(of_views: bool) -> None:
    """Raise InputError if a scene is of the tokens of views, where learned latents are rendered."""
    if of_views:
        raise InputError("this scene is of the tokens of views: an AnyViewRayZer made it, and only that renders it")


def check_render_cameras(cameras: Cameras, scene_tokens: Tensor) -> None:
    """Raise InputError unless cameras [b, t] look at scenes [b, s, d]."""
    b = len(scene_tokens)
    if len(cameras.shape) != 2 or cameras.shape[0] != b:
        raise InputError(f"{b} scenes are rendered from cameras [{b}, t], got {list(cameras.shape)}")


def check_positions(positions: Tensor, images: Tensor) -> None:
    """Raise InputError unless positions [b, v] or [v] number the images [b, v, ...]."""
    if positions.shape not in (images.shape[:2], images.shape[1:2]):
        raise InputError(
            f"positions must be one number per image, {list(images.shape[:2])}, got {list(positions.shape)}"
        )


def check_canonical(canonical: int, views: int) -> None:
    """Raise InputError unless `canonical` is one of so many views."""
    if not 0 <= canonical < views:
        raise InputError(f"canonical = {canonical}: must be one of the views, 0 to {views - 1}")


def check_config(config: RayZerConfig | AnyViewConfig | LVSMConfig) -> None:
    """Raise InputError unless a model can be built from the numbers of its configuration."""
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

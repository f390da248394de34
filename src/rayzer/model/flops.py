"""How much arithmetic a model is, by the convention that makes figures comparable.

The full graph is counted, whatever is saved by not computing what nobody reads; one multiplication and addition are two
operations; attention of l queries to m keys is `4 l m d`; the backward pass is twice the forward pass, without what is
recomputed. Norms, activations and rays are left out.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from rayzer.model.anyview import AnyViewConfig
from rayzer.model.camera_estimator import IDENTITY
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.rayzer import RayZerConfig

VGG19_STAGES = ((3, 64, 64), (64, 128, 128), (128, *4 * (256,)), (256, *4 * (512,)), (512, 512, 512))  # to relu5_2

# Dense bfloat16 with float32 sums, in operations a second, SXM modules where nothing else is said; the
# first of these words in a device's name decides.
PEAK_FLOPS = {
    "H200": 989.5e12,
    "GH200": 989.5e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989.5e12,
    "H800": 989.5e12,
    "H20": 148e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A40": 150e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


@dataclass(frozen=True)
class ModelFlops:
    """Operations of the forward pass of one scene.

    Attributes:
        cameras: tokens of all views and their cameras; 0 for models that are given cameras.
        scene: from context views to the latent scene.
        rendering: of all target views.
    """

    cameras: float
    scene: float
    rendering: float

    @property
    def forward(self) -> float:
        """All of it."""
        return self.cameras + self.scene + self.rendering


def model_flops(
    config: RayZerConfig | AnyViewConfig | LVSMConfig, context_views: int | None = None, target_views: int | None = None
) -> ModelFlops:
    """Operations of one scene of pictures of the configured size; numbers of views as configured if not given."""
    c = config.context_views if context_views is None else context_views
    t = config.target_views if target_views is None else target_views
    if isinstance(config, AnyViewConfig):
        return _anyview(config, c, t)
    d, s, n = config.width, config.scene_tokens, _patches(config)
    if isinstance(config, RayZerConfig):
        cameras = _cameras(config, c + t)
        scene = _patch_linear(config, c, 6) + 2 * c * n * (2 * d * d + d * d)
        scene += _transformer(config.scene_layers, s + c * n, d)
    else:
        cameras, scene = 0.0, _patch_linear(config, c, 9)
        if config.encoder:
            scene += _transformer(config.encoder_layers, s + c * n, d)
        else:
            s = c * n
    rendering = _patch_linear(config, t, 6 + 3)
    if isinstance(config, RayZerConfig) and config.renderer == "one_way":
        scene += _memory(config.renderer_layers, s, d) + _transformer(config.renderer_layers - 1, s, d)
        rendering += t * config.renderer_layers * (2 * n * 12 * d * d + 4 * n * (n + s) * d)
    else:
        rendering += t * _transformer(config.renderer_layers, n + s, d)
    return ModelFlops(cameras, scene, rendering)


def _anyview(config: AnyViewConfig, c: int, t: int) -> ModelFlops:
    d, n, v, layers = config.width, _patches(config), c + t, config.renderer_layers
    coded = config.order_code != "none"
    cameras = _patch_linear(config, v, 3) + coded * v * 4 * d * d + _head(config, v)
    cameras += _views(config.camera_layers, v, n + 1, d)
    scene = _patch_linear(config, c, 3 + 6) + _views(config.scene_layers, c, n, d) + _memory(layers, c * n, d)
    rendering = _patch_linear(config, t, 6 + 3)
    rendering += t * layers * (2 * n * 14 * d * d + 4 * n * n * d + 4 * n * c * n * d)  # 4 to itself, 2 to read, 8
    return ModelFlops(cameras, scene, rendering)


def _views(layers: int, views: int, tokens: int, d: int) -> float:
    """Blocks within and across views in turns."""
    across = layers // 2
    return (layers - across) * views * _transformer(1, tokens, d) + across * _transformer(1, views * tokens, d)


def _memory(layers: int, tokens: int, d: int) -> float:
    """Keys and values that others read."""
    return layers * 2 * tokens * 2 * d * d


def training_flops(
    config: RayZerConfig | AnyViewConfig | LVSMConfig,
    context_views: int | None = None,
    target_views: int | None = None,
    perceptual: bool = False,
    pictures: bool = True,
) -> float:
    """Operations of training on one scene: forward, backward, and the VGG-19 of the perceptual loss if it is on.

    The loss sees the rendered and the true picture; its gradient passes through the network to the rendered one alone.
    Without `pictures` cameras are trained alone.
    """
    t = config.target_views if target_views is None else target_views
    loss = 3 * t * vgg19_flops(config.image_height, config.image_width) if perceptual else 0.0
    flops = model_flops(config, context_views, target_views)
    return 3 * (flops.forward if pictures else flops.cameras) + loss


def vgg19_flops(height: int, width: int) -> float:
    """Operations of the convolutions of a VGG-19 up to relu5_2 for one picture."""
    total = 0.0
    for stage, channels in enumerate(VGG19_STAGES):
        pixels = (height >> stage) * (width >> stage)
        total += sum(2 * pixels * 9 * a * b for a, b in itertools.pairwise(channels))
    return total


def peak_flops(device_name: str) -> float | None:
    """What a device can do at best in bfloat16, in operations a second; None if not known."""
    words = f" {device_name.replace('-', ' ')} "
    return next((peak for name, peak in PEAK_FLOPS.items() if f" {name} " in words), None)


def _cameras(config: RayZerConfig, views: int) -> float:
    d, n = config.width, _patches(config)
    tokens = _patch_linear(config, views, 3)
    if config.position_code != "none":
        tokens += 2 * (views * n + views) * 2 * d * d  # of places, and of the views' indices
    return tokens + _transformer(config.camera_layers, views + views * n, d) + _head(config, views)


def _head(config: RayZerConfig | AnyViewConfig, views: int) -> float:
    d = config.width
    return 2 * views * (2 * d * d + d * (len(IDENTITY[config.rotation]) + 3)) + 2 * (d * d + d)


def _transformer(layers: int, tokens: int, d: int) -> float:
    return layers * (2 * tokens * 12 * d * d + 4 * tokens * tokens * d)


def _patch_linear(config: RayZerConfig | AnyViewConfig | LVSMConfig, views: int, channels: int) -> float:
    return 2 * views * _patches(config) * channels * config.patch_size**2 * config.width


def _patches(config: RayZerConfig | AnyViewConfig | LVSMConfig) -> int:
    return (config.image_height // config.patch_size) * (config.image_width // config.patch_size)

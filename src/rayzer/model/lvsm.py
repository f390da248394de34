"""LVSM (arXiv 2410.17242), the baseline whose cameras come from the data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.geometry.rays import plucker_map
from rayzer.model.checks import check_cameras, check_config, check_images
from rayzer.model.rayzer import Prediction
from rayzer.model.renderer import Renderer
from rayzer.model.scene_encoder import SceneEncoder, SceneTokens
from rayzer.model.tokens import PatchEmbedding
from rayzer.model.transformer import BlockInit, Transformer
from rayzer.view_split import ViewSplit


@dataclass(frozen=True)
class LVSMConfig:
    """Everything that fixes an LVSM model; the defaults are the encoder-decoder.

    Attributes:
        image_height, image_width, context_views, target_views, patch_size, width, head_width, qk_norm, block_init: as
            in `RayZerConfig`.
        encoder: True for the encoder-decoder, False for the decoder-only model, whose renderer reads the context
            tokens themselves.
        encoder_layers, scene_tokens: of the encoder; not used by the decoder-only model.
        renderer_layers: blocks of the decoder.
    """

    image_height: int = 256
    image_width: int = 256
    context_views: int = 16
    target_views: int = 8
    patch_size: int = 16
    width: int = 768
    head_width: int = 64
    encoder: bool = True
    encoder_layers: int = 12
    renderer_layers: int = 12
    scene_tokens: int = 3072
    qk_norm: bool = True
    block_init: BlockInit = "depth"

    def __post_init__(self) -> None:
        check_config(self)


class LVSM(nn.Module):
    """Large view synthesis model with given cameras; no order of the context views matters to it."""

    estimates_cameras = False  # they are given
    takes_any_views = False  # it can, but is at its best with the number that it was trained on
    cameras_are_geometric = True

    def __init__(self, config: LVSMConfig):
        super().__init__()
        self.config = config
        d, patch = config.width, config.patch_size

        def transformer(layers: int) -> Transformer:
            return Transformer(layers, d, config.head_width, config.qk_norm, config.block_init)

        self.context_embedding = PatchEmbedding(9, patch, d)
        self.scene_encoder = (
            SceneEncoder(config.scene_tokens, d, transformer(config.encoder_layers)) if config.encoder else None
        )
        self.renderer = Renderer(d, patch, transformer(config.renderer_layers))

    def forward(self, images: Tensor, split: ViewSplit, cameras: Cameras) -> Prediction:
        """Render the target views from the context views.

        Args:
            images: [b, v, 3, h, w] in [0, 1]; h and w are multiples of the patch size.
            split: which of the v views are context and which target.
            cameras: [b, v], normalised as by `rayzer.geometry.normalize_poses`; used as they are.

        Raises:
            InputError: if the images do not have that form or the cameras are not one per view.
        """
        check_images(images, self.config.patch_size)
        check_cameras(cameras, images)
        scene = self.reconstruct(split.context_of(images), split.context_of(cameras))
        return Prediction(self.render(scene, split.target_of(cameras)), cameras)

    def reconstruct(self, images: Tensor, cameras: Cameras, positions: Tensor | None = None) -> SceneTokens:
        """The latent scene of context images [b, c, 3, h, w] in [0, 1] taken by `cameras` [b, c].

        Args:
            positions: as in `RayZer.reconstruct`, so that both models are called alike; order does not matter here.
        """
        check_images(images, self.config.patch_size)
        check_cameras(cameras, images)
        height, width = images.shape[-2:]
        context = self.context_embedding(torch.cat([2 * images - 1, plucker_map(cameras, height, width)], 2))
        if self.scene_encoder is None:
            return SceneTokens(rearrange(context, "b c n d -> b (c n) d"), height, width)
        return SceneTokens(self.scene_encoder(context), height, width)

    def render(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        """Pictures [b, t, 3, h, w] in [0, 1] of scenes [b] seen by `cameras` [b, t]; each view is independent."""
        return self.renderer(scene, cameras)

"""From a latent scene and a camera to a picture (RayZer paper, section 3.4)."""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.model.attention import KeyValue
from rayzer.model.checks import check_latent, check_render_cameras
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.tokens import RayEmbedding, unpatchify
from rayzer.model.transformer import Transformer

RendererKind = Literal["joint", "one_way"]
"""Whether scene tokens look at the rays of the view that is rendered ("joint", as in the reference), or only the rays
at the scene: then what they read is computed once for all views."""


class ToPixels(nn.Sequential):
    """Tokens -> colours in [0, 1], float32."""

    def __init__(self, width: int, patch_size: int):
        to_colours = nn.Linear(width, 3 * patch_size**2, bias=False)
        nn.init.normal_(to_colours.weight, std=0.02)
        super().__init__(nn.LayerNorm(width, eps=1e-5, bias=False), to_colours)
        self.patch_size = patch_size

    def forward(self, tokens: Tensor, height: int) -> Tensor:  # type: ignore[override]
        """Tokens [b, t, n, d] of pictures `height` pixels high -> pictures [b, t, 3, h, w]."""
        return unpatchify(torch.sigmoid(super().forward(tokens).float()), height, self.patch_size)


class Renderer(nn.Module):
    """The rays of each target view, one token per patch, read the scene tokens and become colours.

    Every target view is rendered alone: no view sees another.
    """

    def __init__(self, width: int, patch_size: int, transformer: Transformer, kind: RendererKind = "joint"):
        super().__init__()
        self.kind: RendererKind = kind
        self.ray_embedding = RayEmbedding(patch_size, width)
        self.norm = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.transformer = transformer
        self.to_pixels = ToPixels(width, patch_size)

    def memorize(self, tokens: Tensor) -> tuple[KeyValue, ...]:
        """What the layers read of scene tokens [b, s, d]; nothing beforehand where the scene looks at the rays."""
        if self.kind == "joint":
            return ()
        memory, tokens = [], self.norm(tokens)
        for block in self.transformer.blocks:
            memory.append(block.memorize(tokens))  # type: ignore[operator]
            tokens = tokens if len(memory) == len(self.transformer.blocks) else block(tokens)
        return tuple(memory)

    def forward(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        """Render scenes [b] from cameras [b, t]: pictures [b, t, 3, h, w] in [0, 1], float32.

        Raises:
            InputError: if the cameras are not [b, t], or an AnyViewRayZer made the scenes.
        """
        check_latent(of_views=scene.cameras is not None)
        check_render_cameras(cameras, scene.tokens)
        b, t = cameras.shape
        rays = self.ray_embedding(cameras, scene.height, scene.width)
        tokens = self._read(rearrange(self.norm(rays), "b t n d -> (b t) n d"), scene)
        return self.to_pixels(rearrange(tokens, "(b t) n d -> b t n d", b=b, t=t), scene.height)

    def _read(self, rays: Tensor, scene: SceneTokens) -> Tensor:
        """Ray tokens [b * t, n, d], updated by what they see of scenes [b]."""
        if self.kind == "joint":
            return self.transformer(rays, read=rays.shape[1], shared=self.norm(scene.tokens))
        memory = scene.memory or self.memorize(scene.tokens)
        for block, layer in zip(self.transformer.blocks, memory, strict=True):
            rays = block.reading(rays, layer)  # type: ignore[operator]
        return rays

"""From a latent scene and a camera to a picture (RayZer paper, section 3.4)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.model.checks import check_render_cameras
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.tokens import RayEmbedding, unpatchify
from rayzer.model.transformer import Transformer


class Renderer(nn.Module):
    """The rays of each target view, one token per patch, read the scene tokens and become colours.

    Every target view is rendered alone: no view sees another.
    """

    def __init__(self, width: int, patch_size: int, transformer: Transformer):
        super().__init__()
        self.patch_size = patch_size
        self.ray_embedding = RayEmbedding(patch_size, width)
        self.norm = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.transformer = transformer
        to_colours = nn.Linear(width, 3 * patch_size**2, bias=False)
        nn.init.normal_(to_colours.weight, std=0.02)
        self.to_pixels = nn.Sequential(nn.LayerNorm(width, eps=1e-5, bias=False), to_colours)

    def forward(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        """Render scenes [b] from cameras [b, t]: pictures [b, t, 3, h, w] in [0, 1], float32.

        Raises:
            InputError: if the cameras are not [b, t].
        """
        check_render_cameras(cameras, scene.tokens)
        b, t = cameras.shape
        rays = self.ray_embedding(cameras, scene.height, scene.width)
        rays = rearrange(self.norm(rays), "b t n d -> (b t) n d")
        tokens = self.transformer(rays, read=rays.shape[1], shared=self.norm(scene.tokens))
        pixels = torch.sigmoid(self.to_pixels(tokens).float())
        return unpatchify(rearrange(pixels, "(b t) n c -> b t n c", b=b, t=t), scene.height, self.patch_size)

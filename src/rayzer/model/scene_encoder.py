"""From context tokens to the latent scene (RayZer paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.model.attention import KeyValue
from rayzer.model.transformer import Transformer


@dataclass(frozen=True, eq=False)
class SceneTokens:
    """A latent scene, ready to be rendered.

    Attributes:
        tokens: [b, s, d].
        height, width: size in pixels of the pictures it was made from, and of those rendered from it.
        cameras: [b, c] where the tokens are those of c views one after the other; None for learned latents.
        memory: what every layer of a one-way renderer reads of the scene, computed once; empty where that is left to
            the renderer.
    """

    tokens: Tensor
    height: int
    width: int
    cameras: Cameras | None = None
    memory: tuple[KeyValue, ...] = ()

    def map(self, function: Callable[[Tensor], Tensor]) -> SceneTokens:
        """Apply one function to all tensors (move, cast)."""
        cameras = None if self.cameras is None else self.cameras.map(function)
        memory = tuple(KeyValue(function(layer.key), function(layer.value)) for layer in self.memory)
        return replace(self, tokens=function(self.tokens), cameras=cameras, memory=memory)


class TokenFusion(nn.Sequential):
    """Image token and ray token of one patch -> one context token.

    The Linears keep PyTorch's default initialisation, as in the reference.
    """

    def __init__(self, width: int):
        super().__init__(
            nn.LayerNorm(2 * width, eps=1e-5, bias=False),
            nn.Linear(2 * width, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )

    def forward(self, image_tokens: Tensor, ray_tokens: Tensor) -> Tensor:  # type: ignore[override]
        """Both [..., d] -> [..., d]."""
        return super().forward(torch.cat([image_tokens, ray_tokens], -1))


class SceneEncoder(nn.Module):
    """Learned scene tokens gather what the context tokens of all views show."""

    def __init__(self, scene_tokens: int, width: int, transformer: Transformer):
        super().__init__()
        self.scene_tokens = nn.Parameter(nn.init.trunc_normal_(torch.empty(scene_tokens, width), std=0.02))
        self.transformer = transformer

    def forward(self, context_tokens: Tensor) -> Tensor:
        """Context tokens [b, c, n, d] -> scene tokens [b, s, d]."""
        scene = repeat(self.scene_tokens, "s d -> b s d", b=len(context_tokens))
        tokens = torch.cat([scene, rearrange(context_tokens, "b c n d -> b (c n) d")], 1)
        return self.transformer(tokens, read=scene.shape[1])

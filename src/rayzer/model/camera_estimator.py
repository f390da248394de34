"""From image tokens to cameras: one token per view looks at all views (RayZer paper, section 3.2)."""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras, rigid
from rayzer.geometry.precision import outside_autocast
from rayzer.geometry.rotations import rotation_from_6d, rotation_from_quaternion
from rayzer.model.tokens import mlp, position_code
from rayzer.model.transformer import Transformer

CanonicalView = Literal["middle", "first"]
RotationCode = Literal["6d", "quaternion"]

IDENTITY = {"6d": (1.0, 0, 0, 0, 1, 0), "quaternion": (1.0, 0, 0, 0)}
ROTATION_FROM = {"6d": rotation_from_6d, "quaternion": rotation_from_quaternion}
HEAD_STD = 1e-3  # small, so that training starts with all cameras near the canonical one
MEAN_FOCAL = 1.25  # of the image's width and height; what the focal head predicts is added to it


def canonical_index(views: int, canonical: CanonicalView) -> int:
    """Which of so many views defines the world frame."""
    return views // 2 if canonical == "middle" else 0


@functools.cache  # so that no step copies it to a GPU, which waits for all work before
def _identity(rotation: RotationCode, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(IDENTITY[rotation], device=device)


class CameraHead(nn.Module):
    """Camera tokens -> cameras relative to the canonical view, in float32 outside autocast.

    Args:
        focal_range: what focal lengths are bounded to; None for no bounds.
    """

    def __init__(
        self,
        width: int,
        canonical: CanonicalView,
        rotation: RotationCode,
        focal_range: tuple[float, float] | None = None,
    ):
        super().__init__()
        self.canonical: CanonicalView = canonical
        self.rotation = rotation
        self.focal_range = focal_range
        self.relative_pose = mlp(2 * width, width, len(IDENTITY[rotation]) + 3, HEAD_STD)
        self.focal = mlp(width, width, 1, HEAD_STD)

    @outside_autocast
    def forward(self, tokens: Tensor, canonical: int | None = None) -> Cameras:
        """Camera tokens [b, v, d] -> cameras [b, v]; the canonical view (its own if None) is exactly the identity."""
        tokens = tokens.float()
        v = tokens.shape[1]
        canonical = canonical_index(v, self.canonical) if canonical is None else canonical
        reference = tokens[:, canonical : canonical + 1]
        pose = self.relative_pose(torch.cat([reference.expand_as(tokens), tokens], -1))
        rotation = ROTATION_FROM[self.rotation](pose[..., :-3] + _identity(self.rotation, pose.device))
        world_from_camera = rigid(rotation, pose[..., -3:])
        is_canonical = torch.arange(v, device=pose.device) == canonical
        eye = torch.eye(4, device=pose.device)
        world_from_camera = torch.where(is_canonical[:, None, None], eye, world_from_camera)
        focal = self._bounded(self.focal(reference)).float().expand(-1, v, 2)
        return Cameras(world_from_camera, torch.cat([focal, torch.full_like(focal, 0.5)], -1))

    def _bounded(self, change: Tensor) -> Tensor:
        """Focal lengths; no change gives `MEAN_FOCAL`."""
        if self.focal_range is None:
            return change + MEAN_FOCAL
        low, high = self.focal_range
        share = (MEAN_FOCAL - low) / (high - low)
        return low + (high - low) * torch.sigmoid(change + math.log(share / (1 - share)))


class CameraEstimator(nn.Module):
    """One learned token per view attends to all image tokens; the head reads the cameras from it."""

    def __init__(self, width: int, transformer: Transformer, head: CameraHead, index_mlp: nn.Module):
        super().__init__()
        self.camera_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, width), std=0.02))
        self.index_mlp = index_mlp
        self.transformer = transformer
        self.head = head

    def forward(self, image_tokens: Tensor, positions: Tensor) -> Cameras:
        """Image tokens [b, v, n, d] of all views at `positions` [b or 1, v] -> cameras [b, v]."""
        return self.head(self.tokens(image_tokens, positions))

    def tokens(self, image_tokens: Tensor, positions: Tensor) -> Tensor:
        """Image tokens [b, v, n, d] of all views at `positions` [b or 1, v] -> camera tokens [b, v, d]."""
        b, v, _, width = image_tokens.shape
        camera_tokens = self.camera_token + self.index_mlp(position_code(positions, width))
        tokens = torch.cat([camera_tokens.expand(b, -1, -1), rearrange(image_tokens, "b v n d -> b (v n) d")], 1)
        return self.transformer(tokens, read=v)

"""What models have in common that estimate the cameras of their pictures themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.model.camera_estimator import CanonicalView
from rayzer.model.scene_encoder import SceneTokens


class UnposedModel(nn.Module, ABC):
    """Pictures in; cameras, a scene and new pictures out.

    Attributes:
        config: its own configuration.
        takes_any_views: whether it works for other numbers and orders of views than those it was trained on.
    """

    config: Any
    takes_any_views: bool
    estimates_cameras = True
    cameras_are_geometric = False  # learned cameras serve the renderer; whether they are true ones, evaluation tells

    @property
    def canonical(self) -> CanonicalView:
        """The view that defines the world frame."""
        return self.config.canonical

    def positions_of(self, frames: Tensor) -> Tensor | None:
        """Positions [b, v] that tell this model of views which frames [b, v] of their scenes they are; None for none.

        Most models know places in the order of views, whatever frames these are.
        """
        return None

    @abstractmethod
    def estimate_cameras(self, images: Tensor, positions: Tensor | None = None) -> Cameras:
        """Cameras [b, v] of images [b, v, 3, h, w] in [0, 1], in the frame of the canonical view; scale is arbitrary.

        Args:
            positions: [b, v] index of each view in its sequence.
        """

    @abstractmethod
    def camera_tokens(self, images: Tensor, positions: Tensor | None = None) -> Tensor:
        """Camera tokens [b, v, d] of images [b, v, 3, h, w] in [0, 1]: all that the camera head reads of the pictures.

        Args:
            positions: [b, v] index of each view in its sequence.
        """

    @abstractmethod
    def reconstruct(self, images: Tensor, cameras: Cameras, positions: Tensor | None = None) -> SceneTokens:
        """The scene of context images [b, c, 3, h, w] in [0, 1] taken by `cameras` [b, c].

        Args:
            positions: [b, c] index of each view in its sequence.
        """

    @abstractmethod
    def render(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        """Pictures [b, t, 3, h, w] in [0, 1] of scenes [b] seen by `cameras` [b, t]; each view is independent."""

    @abstractmethod
    def remember(self, scene: SceneTokens) -> SceneTokens:
        """The scene with all that rendering reads of it, which is then computed once for many calls of `render`."""

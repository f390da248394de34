"""Whether cameras mean the same in another scene: cross-scene transfer.

Cameras that only say "between this photo and that one" work in their own scene alone. A camera that is one works in
any scene.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rayzer.errors import InputError
from rayzer.evaluation.poses import PoseScores, pose_scores
from rayzer.geometry.cameras import Cameras
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.unposed import UnposedModel
from rayzer.view_split import ViewSplit


def exact(model: UnposedModel, images: Tensor, frames: Tensor, split: ViewSplit) -> tuple[Tensor, Tensor]:
    """Render each of two scenes, filmed along one path, with its own cameras and with those of the other.

    Scene B with A's cameras: `reconstruct(B's context images, A's context cameras)`, `render(A's target cameras)`.

    Args:
        images: [2, v, 3, h, w].
        frames: [2, v] frame numbers.
        split: of both; equal rows.

    Returns:
        pictures [2, t, 3, h, w] with the scene's own cameras, and with the other's.
    """
    cameras = model.estimate_cameras(images, model.positions_of(frames))
    own, other = (_rendered(model, images, each, split) for each in (cameras, cameras[[1, 0]]))
    return own, other


def re_estimated(model: UnposedModel, scene: SceneTokens, cameras: Cameras) -> list[PoseScores]:
    """Show each scene of a batch from the cameras of the next one, and estimate cameras from those pictures.

    Both sets of cameras come from the model itself: agreement says that they carry over, not that they are right.

    Args:
        scene: of b scenes, b >= 2.
        cameras: [b, v] of all views.

    Returns:
        figures of the re-estimated against the rendered cameras, one for each scene.

    Raises:
        InputError: if re-estimated cameras are not finite numbers.
    """
    asked = cameras.map(lambda value: value.roll(-1, 0))
    found = model.estimate_cameras(model.render(scene, asked).float())
    if not found.world_from_camera.isfinite().all():
        raise InputError("cameras estimated from its own pictures are not finite numbers; the weights are damaged")
    return [pose_scores(a.to("cpu"), b.to("cpu")) for a, b in zip(found, asked, strict=True)]


def same_path(first: Cameras, second: Cameras, tolerance: float = 1e-3) -> bool:
    """Whether two sets of true cameras [v] are one path, to a fraction of its extent."""
    if first.shape != second.shape:
        return False
    extent = (first.centers - first.centers.mean(0)).norm(dim=-1).max().clamp(min=1e-12)
    apart = (first.centers - second.centers).norm(dim=-1).max() / extent
    turned = (first.rotations - second.rotations).abs().max()
    return bool(torch.maximum(apart, turned) < tolerance)


def _rendered(model: UnposedModel, images: Tensor, cameras: Cameras, split: ViewSplit) -> Tensor:
    scene = model.reconstruct(split.context_of(images), split.context_of(cameras), split.context)
    return model.render(scene, split.target_of(cameras)).float()

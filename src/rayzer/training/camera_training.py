"""How an `AnyViewRayZer` learns cameras: what its estimator is shown, and anchors of true cameras and points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rayzer.data.loader import Batch
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras, invert_rigid
from rayzer.geometry.precision import outside_autocast
from rayzer.geometry.rays import unproject
from rayzer.model.anyview import AnyViewConfig
from rayzer.model.camera_estimator import canonical_index
from rayzer.training.recipe import CameraConfig

GREY = 0.5
_BLUR_PX = 3
_LINEAR_FROM = 0.1  # of the mean distance from the canonical view
_ROTATION_WEIGHT, _ROTATION_LINEAR_FROM = 18.0, 0.03


def estimator_arguments(batch: Batch, model: AnyViewConfig, config: CameraConfig, step: int) -> dict[str, Any]:
    """What `AnyViewRayZer.forward` is given besides images and split; random, from the streams of the step."""
    views = batch.images.shape[1]
    arguments: dict[str, Any] = {}
    if config.any_canonical_after is not None and step >= config.any_canonical_after:
        arguments["canonical"] = int(torch.randint(views, ()))
    if model.order_code == "relative":
        is_known = float(torch.rand(())) >= config.drop_order
        arguments["positions"] = batch.frames if is_known else torch.zeros_like(batch.frames)
    if step < config.true_until and batch.cameras is not None:
        canonical = arguments.get("canonical", canonical_index(views, model.canonical))
        arguments["given"] = in_gauge(batch.cameras, canonical)
    if config.colour or config.blurred or config.patch_drop:
        arguments["shown"] = changed_pictures(batch.images, config, model.patch_size)
    return arguments


@torch.no_grad()
def changed_pictures(images: Tensor, config: CameraConfig, patch_size: int) -> Tensor:
    """Images [b, v, 3, h, w] in [0, 1] in other colours, blurred and with grey patches, each view for itself.

    None of it moves anything, so that cameras stay what they are (as in XFactor, arXiv 2510.13063).
    """
    b, v, _, height, width = images.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(b, v, *shape, device=images.device)

    gain = 1 + config.colour * 0.8 * (uniform(3, 1, 1) - 0.5)
    shift = config.colour * 0.3 * (uniform(3, 1, 1) - 0.5)
    blurred = F.avg_pool2d(images.flatten(0, 1), _BLUR_PX, 1, _BLUR_PX // 2, count_include_pad=False).view_as(images)
    changed = torch.where(uniform(1, 1, 1) < config.blurred, blurred, images) * gain + shift
    dropped = uniform(1, height // patch_size, width // patch_size) < config.patch_drop
    dropped = dropped.repeat_interleave(patch_size, -2).repeat_interleave(patch_size, -1)
    return torch.where(dropped, GREY, changed).clamp(0, 1)


@outside_autocast
def camera_anchor(predicted: Cameras, true: Cameras, canonical: int) -> Tensor:
    """How far predicted cameras [b, v] are from true ones: the mean over samples, of which unknown ones count as 0.

    (Not over the known ones alone: then the weight of a sample would depend on how its batch is cut into parts.)

    True cameras are compared in the gauge that predicted ones are to have (`in_gauge`): `18 smooth L1(R, beta 0.03) +
    smooth L1(t, beta 0.1) + MSE(f)`, each a mean over its entries. So a degree costs about as much as a tenth of the
    mean distance; where it costs a hundredth of that, rotations stay worse (docs/log.md).

    Args:
        true: not a number where unknown.
        canonical: the view that the predicted cameras are relative to.

    Returns:
        A scalar; 0 where no cameras are known.
    """
    true = in_gauge(true, canonical)
    known = true.world_from_camera.flatten(1).isfinite().all(1)
    rotations = torch.where(known[:, None, None, None], true.rotations, torch.eye(3, device=known.device))
    centers = torch.where(known[:, None, None], true.centers, 0.0)
    focal = torch.where(known[:, None, None], true.intrinsics[..., :2], 1.0)
    terms = (
        _ROTATION_WEIGHT
        * _mean(F.smooth_l1_loss(predicted.rotations, rotations, beta=_ROTATION_LINEAR_FROM, reduction="none"))
        + _mean(F.smooth_l1_loss(predicted.centers, centers, beta=_LINEAR_FROM, reduction="none"))
        + _mean((predicted.intrinsics[..., :2] - focal).square())
    )
    return torch.where(known, terms, 0.0).mean()


@outside_autocast
def point_anchor(predicted: Tensor, true: Cameras, depth_m: Tensor, canonical: int) -> Tensor:
    """How far predicted points are from true ones: smooth L1 (beta 0.1), a mean as in `camera_anchor`.

    True points are in the frame of the canonical view, scaled so that their mean distance from it is 1: not by the
    cameras, whose distances are small and say little about the room.

    Args:
        predicted: [b, v, rows, columns, 3].
        true: cameras [b, v]; not a number where unknown.
        depth_m: [b, v, rows, columns] along their axes, of the centres of cells; not a number where unknown.
        canonical: the view that the predicted points are relative to.

    Raises:
        InputError: if depth is not of as many cells as there are patches.
    """
    if depth_m.shape != predicted.shape[:-1]:
        have, want = (f"{shape[2]}x{shape[3]}" for shape in (depth_m.shape, predicted.shape))
        raise InputError(
            f"training.cameras.points: depth is known at {have} places of a picture, not at the centres of its {want} "
            "patches; make the rooms again with --depth-cell of the model's patch size"
        )
    canonical_from_world = invert_rigid(true.world_from_camera[:, canonical : canonical + 1])
    points = unproject(true.transformed(canonical_from_world), depth_m)
    known = points.isfinite().all(-1)
    distance = torch.where(known, points.norm(dim=-1), 0.0).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
    points = torch.where(known[..., None], points, 0.0) / torch.where(distance > 0, distance, 1.0).view(-1, 1, 1, 1, 1)
    apart = F.smooth_l1_loss(predicted, points, beta=_LINEAR_FROM, reduction="none")
    return torch.where(known[..., None], apart, 0.0).mean()


@outside_autocast
def in_gauge(cameras: Cameras, canonical: int) -> Cameras:
    """Cameras [b, v] in the frame of the canonical view, scaled so that their mean distance from it is 1.

    Not a number where they are that; where all stand in one place, they stay there.
    """
    pose = invert_rigid(cameras.world_from_camera[:, canonical : canonical + 1]) @ cameras.world_from_camera
    distance = pose[..., :3, 3].norm(dim=-1).sum(1) / max(pose.shape[1] - 1, 1)
    scale = torch.where(distance > 0, distance, torch.ones_like(distance))
    return Cameras(pose, cameras.intrinsics).scaled(1 / scale[:, None])


def _mean(values: Tensor) -> Tensor:
    """[b, ...] -> [b]."""
    return values.flatten(1).mean(1)

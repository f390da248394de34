"""Running a model on one scene, encode once and render many: devices, precision, chunks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rayzer.devices import Runtime
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras, normalize_poses
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.unposed import UnposedModel
from rayzer.model.weights import Model
from rayzer.progress import Advance


@torch.no_grad()
def encode(
    model: Model, images: Tensor, given: Cameras | None, context: list[int], runtime: Runtime
) -> tuple[Cameras, SceneTokens]:
    """Cameras of all views and the latent scene of the context views.

    Args:
        images: [v, 3, h, w] in [0, 1].
        given: [v] known cameras; needed by a model that does not estimate any, else not used.
        context: positions of the context views.

    Returns:
        cameras [v] on the CPU, and the scene (a batch of 1) ready to be rendered on the device.

    Raises:
        InputError: if the model needs cameras and none are given.
    """
    images = images[None].to(runtime.device)
    positions = torch.tensor([context], device=runtime.device)
    with runtime.autocast():
        if isinstance(model, UnposedModel):
            cameras = model.estimate_cameras(images)
        else:
            cameras = _normalised(given).to(runtime.device)[None]
        scene = model.reconstruct(images[:, context], cameras[:, context], positions)
    return cameras[0].to("cpu"), replace(scene, tokens=scene.tokens.float())


@torch.no_grad()
def ready(model: Model, scene: SceneTokens, runtime: Runtime) -> SceneTokens:
    """A scene on the device with all that rendering reads of it, so that this is not computed for each picture."""
    scene = scene.map(lambda value: value.to(runtime.device))
    with runtime.autocast():
        return model.remember(scene) if isinstance(model, UnposedModel) else scene


@torch.no_grad()
def render(
    model: Model, scene: SceneTokens, cameras: Cameras, runtime: Runtime, advance: Advance | None = None
) -> Tensor:
    """Pictures [t, 3, h, w] on the CPU of one scene seen by cameras [t], a few views at a time.

    Args:
        scene: as `encode` or `ready` give it.
    """
    pictures = [torch.empty(0, 3, scene.height, scene.width)]  # there may be no cameras
    for start in range(0, len(cameras), runtime.views_at_once):
        part = cameras[start : start + runtime.views_at_once].to(runtime.device)
        with runtime.autocast():
            pictures.append(model.render(scene, part[None])[0].float().cpu())
        if advance is not None:
            advance(start + len(part), len(cameras))
    return torch.cat(pictures)


def _normalised(given: Cameras | None) -> Cameras:
    """Given cameras as LVSM was trained on them."""
    if given is None:
        raise InputError("this checkpoint needs known cameras: give a scene file with poses and intrinsics")
    try:
        return Cameras(normalize_poses(given.world_from_camera), given.intrinsics)
    except ValueError as error:
        raise InputError(f"this checkpoint cannot use these poses: {error}; give photos of one side") from None

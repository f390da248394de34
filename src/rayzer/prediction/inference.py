"""Running a model on one scene, encode once and render many: devices, precision, chunks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rayzer.devices import choose_device, device_name
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras, normalize_poses
from rayzer.model.rayzer import RayZer
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.weights import Model
from rayzer.progress import Advance

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Runtime:
    """Where and how precisely to compute.

    Attributes:
        device: "cpu", "cuda", "cuda:1" or "mps".
        bfloat16: whether the transformers run in bfloat16; cameras and rays are float32 always.
    """

    device: torch.device
    bfloat16: bool

    @staticmethod
    def choose(device: str = "auto", dtype: Precision = "auto") -> Runtime:
        """The fastest device there is, and bfloat16 where that is a GPU that has it.

        Raises:
            InputError: if the named device is not there.
        """
        chosen = choose_device(device)
        fast = chosen.type == "cuda" and torch.cuda.is_bf16_supported()
        return Runtime(chosen, fast if dtype == "auto" else dtype == "bfloat16")

    def autocast(self) -> AbstractContextManager:
        """The context in which to call a model."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    @property
    def views_at_once(self) -> int:
        """How many views to render together: enough to fill a GPU, few enough to show progress on a CPU."""
        return 8 if self.device.type == "cuda" else 1

    def __str__(self) -> str:
        return f"{device_name(self.device)}, {'bfloat16' if self.bfloat16 else 'float32'}"


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
        cameras [v] and the scene (a batch of 1), both on the CPU.

    Raises:
        InputError: if the model needs cameras and none are given.
    """
    images = images[None].to(runtime.device)
    positions = torch.tensor([context], device=runtime.device)
    with runtime.autocast():
        if isinstance(model, RayZer):
            cameras = model.estimate_cameras(images)
        else:
            cameras = _normalised(given).to(runtime.device)[None]
        scene = model.reconstruct(images[:, context], cameras[:, context], positions)
    return cameras[0].to("cpu"), SceneTokens(scene.tokens.float().cpu(), scene.height, scene.width)


@torch.no_grad()
def render(
    model: Model, scene: SceneTokens, cameras: Cameras, runtime: Runtime, advance: Advance | None = None
) -> Tensor:
    """Pictures [t, 3, h, w] on the CPU of one scene seen by cameras [t], a few views at a time."""
    scene = SceneTokens(scene.tokens.to(runtime.device), scene.height, scene.width)
    pictures = []
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

"""An encoded scene: what a model made of some photos, ready to be rendered now or later."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from rayzer.data.images import ImageFit
from rayzer.errors import InputError
from rayzer.files import save_tensors
from rayzer.geometry.cameras import Cameras
from rayzer.model.scene_encoder import SceneTokens

FORMAT = "rayzer-scene-1"


@dataclass(frozen=True)
class EncodedView:
    """What is known of one view apart from its pixels and cameras.

    Attributes:
        name: what the user knows the photo by.
        is_target: whether it was held out.
        repeated: whether its photo is another view too.
        time_s: time in the video, or None.
        fit: how the photo was resized and cropped.
    """

    name: str
    is_target: bool
    repeated: bool
    time_s: float | None
    fit: ImageFit


@dataclass(frozen=True, eq=False)
class EncodedScene:
    """Views with their cameras and the latent scene of the context views.

    Attributes:
        name: the scene's name.
        fingerprint: SHA-256 of the weights that made it; only they can render it.
        views: v descriptions.
        images: uint8 [v, 3, h, w].
        cameras: [v] predicted (or given) cameras.
        true_cameras: [v] known cameras, moved into the predicted world by the best Sim(3); None if unknown.
        tokens: the latent scene, batch of 1; on the device where it was made.
        notes: plain sentences that a user should read.
    """

    name: str
    fingerprint: str
    views: tuple[EncodedView, ...]
    images: Tensor
    cameras: Cameras
    true_cameras: Cameras | None
    tokens: SceneTokens
    notes: tuple[str, ...]

    @property
    def targets(self) -> list[int]:
        """Positions of the held-out views."""
        return [index for index, view in enumerate(self.views) if view.is_target]

    @property
    def context(self) -> list[int]:
        """Positions of the views that the scene was made from."""
        return [index for index, view in enumerate(self.views) if not view.is_target]


def save_scene(scene: EncodedScene, path: Path) -> None:
    """Write an encoded scene as one safetensors file, without what can be computed from its tokens again."""
    tensors = {
        "tokens": scene.tokens.tokens.cpu(),
        "images": scene.images,
        "world_from_camera": scene.cameras.world_from_camera,
        "intrinsics": scene.cameras.intrinsics,
    }
    if scene.true_cameras is not None:
        tensors["true_world_from_camera"] = scene.true_cameras.world_from_camera
        tensors["true_intrinsics"] = scene.true_cameras.intrinsics
    header = {
        "name": scene.name,
        "fingerprint": scene.fingerprint,
        "notes": scene.notes,
        "tokens_of_views": scene.tokens.cameras is not None,
        "views": [dataclasses.asdict(view) for view in scene.views],
    }
    metadata = {"format": FORMAT, "scene": json.dumps(header)}
    save_tensors(tensors, path, metadata)


def load_scene(path: Path) -> EncodedScene:
    """Read an encoded scene.

    Raises:
        InputError: if the file is damaged or not an encoded scene.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable file ({error}); encode the photos again") from None
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: not an encoded scene of this version; encode the photos again")
    try:
        return _assemble(json.loads(metadata["scene"]), tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not an encoded scene ({error}); encode the photos again") from None


def _assemble(header: dict, tensors: dict[str, Tensor]) -> EncodedScene:
    views = tuple(EncodedView(**{**view, "fit": ImageFit(**view["fit"])}) for view in header["views"])
    true_cameras = None
    if "true_world_from_camera" in tensors:
        true_cameras = Cameras(tensors["true_world_from_camera"], tensors["true_intrinsics"])
    height, width = tensors["images"].shape[-2:]
    latent = SceneTokens(tensors["tokens"].float(), height, width)
    cameras = Cameras(tensors["world_from_camera"], tensors["intrinsics"])
    if header.get("tokens_of_views", False):
        context = [index for index, view in enumerate(views) if not view.is_target]
        latent = dataclasses.replace(latent, cameras=cameras[context].map(lambda value: value[None]))
    return EncodedScene(
        name=header["name"],
        fingerprint=header["fingerprint"],
        views=views,
        images=tensors["images"],
        cameras=cameras,
        true_cameras=true_cameras,
        tokens=latent,
        notes=tuple(header["notes"]),
    )

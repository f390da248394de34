"""`rayzer predict`: from photos or a video to cameras, held-out views, a fly-through, files and a page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rayzer.data.views import to_uint8
from rayzer.devices import Runtime
from rayzer.errors import InputError
from rayzer.evaluation.metrics import psnr
from rayzer.files import output_folder
from rayzer.geometry.alignment import align_cameras
from rayzer.geometry.cameras import Cameras
from rayzer.model.weights import Model, fingerprint
from rayzer.prediction import outputs
from rayzer.prediction.encoded import EncodedScene, EncodedView, save_scene
from rayzer.prediction.inference import encode, ready, render
from rayzer.prediction.page import write_page
from rayzer.prediction.path import PathRequest
from rayzer.prediction.photos import Chosen
from rayzer.progress import progress_bar


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model and what to call it.

    Attributes:
        model: in eval mode.
        name: what the user gave as its source.
        is_random: whether nothing was ever learned; the page then says so.
    """

    model: Model
    name: str
    is_random: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a prediction gave, besides its files.

    Attributes:
        encoded: the views, their cameras and the scene.
        renders: [t, 3, h, w] the held-out views as rendered.
    """

    encoded: EncodedScene
    renders: Tensor

    @property
    def targets(self) -> Tensor:
        """[t, 3, h, w] the held-out views as photographed, in [0, 1]."""
        return self.encoded.images[self.encoded.targets].float() / 255

    @property
    def psnr_db(self) -> Tensor:
        """[t] scores of the held-out views."""
        return psnr(self.targets, self.renders)


def encode_photos(chosen: Chosen, checkpoint: Checkpoint, runtime: Runtime) -> EncodedScene:
    """Estimate the cameras of all views and reconstruct the scene from the context views."""
    views, selection = chosen.views, chosen.selection
    context = list(selection.context)
    cameras, tokens = encode(checkpoint.model, views.images, views.cameras, context, runtime)
    if not (cameras.world_from_camera.isfinite().all() and tokens.tokens.isfinite().all()):
        raise InputError(
            f"{checkpoint.name}: its outputs for these photos are not finite numbers; the weights are damaged, "
            "get them again"
        )
    described = zip(views.names, selection.repeated, views.times_s, views.fits, strict=True)
    return EncodedScene(
        name=chosen.scene.name,
        fingerprint=fingerprint(checkpoint.model),
        views=tuple(
            EncodedView(name, index in selection.targets, repeated, time_s, fit)
            for index, (name, repeated, time_s, fit) in enumerate(described)
        ),
        images=to_uint8(views.images),
        cameras=cameras,
        true_cameras=_aligned(views.cameras, cameras),
        tokens=tokens,
        notes=chosen.notes,
    )


def predict_photos(
    chosen: Chosen, checkpoint: Checkpoint, path: PathRequest, runtime: Runtime, out: Path, overwrite: bool = False
) -> Outcome:
    """The whole job on photos."""
    started = time.perf_counter()
    outputs.check_destination(out, overwrite)
    with output_folder(out, overwrite) as staging:
        with progress_bar("Cameras and scene") as advance:
            encoded = encode_photos(chosen, checkpoint, runtime)
            advance(1, 1)
        note = camera_note(checkpoint)
        outputs.write_originals(encoded, chosen.scene, chosen.selection.indices, note, staging / outputs.ORIGINAL)
        return _finish(encoded, checkpoint, path, runtime, staging, started)


def predict_encoded(
    encoded: EncodedScene, checkpoint: Checkpoint, path: PathRequest, runtime: Runtime, out: Path, overwrite: bool
) -> Outcome:
    """Render an encoded scene again, along another path for instance.

    Raises:
        InputError: if the scene was encoded by other weights.
    """
    if fingerprint(checkpoint.model) != encoded.fingerprint:
        raise InputError(
            f"{checkpoint.name}: the scene {encoded.name!r} was encoded by other weights; "
            "give the checkpoint that made it"
        )
    outputs.check_destination(out, overwrite)
    with output_folder(out, overwrite) as staging:
        return _finish(encoded, checkpoint, path, runtime, staging, time.perf_counter())


def camera_note(checkpoint: Checkpoint) -> str:
    """What every file with cameras says about them."""
    if not checkpoint.model.estimates_cameras:
        return "The cameras were given with the photos, moved and scaled to fit the model; scale is arbitrary."
    return (
        "Cameras as this checkpoint needs them to render: a learned frame that need not be geometric. Do not measure "
        "with them, and expect other programs to reconstruct poorly from them. Scale is arbitrary."
    )


def _aligned(true: Cameras | None, predicted: Cameras) -> Cameras | None:
    """Known cameras, moved into the predicted world."""
    return None if true is None else align_cameras(true, predicted).cameras(true)


def _finish(
    encoded: EncodedScene,
    checkpoint: Checkpoint,
    path: PathRequest,
    runtime: Runtime,
    folder: Path,
    started: float,
) -> Outcome:
    """Render and write everything that an encoded scene gives."""
    height, width = encoded.images.shape[-2:]
    note = camera_note(checkpoint)
    model = checkpoint.model
    scene = ready(model, encoded.tokens, runtime)
    with progress_bar("Held-out views") as advance:
        renders = render(model, scene, encoded.cameras[encoded.targets], runtime, advance)
    way = path.cameras(encoded.cameras, height, width)
    with progress_bar("Fly-through") as advance:
        frames = render(model, scene, way, runtime, advance)
    outcome = Outcome(encoded, renders)
    outputs.write_pictures(encoded, renders, folder)
    outputs.write_fly_through(frames, folder, path.fps, path.goes_back)
    outputs.write_path(way, height, width, path.fps, folder / "camera_path.json")
    described = {"checkpoint": checkpoint.name, "fingerprint": encoded.fingerprint}
    geometric = {"cameras_are_geometric": model.cameras_are_geometric, "scale": "arbitrary"}
    outputs.write_cameras(encoded, {**described, **geometric}, note, folder / "cameras.json")
    outputs.write_exchange(encoded, note, folder)
    save_scene(encoded, folder / outputs.ENCODED)
    write_page(encoded, checkpoint, path, way, outcome.psnr_db, runtime, time.perf_counter() - started, folder)
    return outcome

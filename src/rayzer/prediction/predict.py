"""`rayzer predict`: from photos or a video to cameras, held-out views, a fly-through, files and a page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from rayzer.data.scenes import Scene
from rayzer.data.views import Views, decode_views, read_scene
from rayzer.errors import InputError
from rayzer.evaluation.metrics import psnr
from rayzer.files import output_folder
from rayzer.geometry.alignment import align_cameras
from rayzer.geometry.cameras import Cameras
from rayzer.model.weights import Model, ModelConfig, fingerprint
from rayzer.prediction import outputs
from rayzer.prediction.encoded import EncodedScene, EncodedView, save_scene, to_uint8
from rayzer.prediction.inference import Runtime, encode, render
from rayzer.prediction.page import write_page
from rayzer.prediction.path import PathRequest
from rayzer.prediction.selection import Selection, select_views
from rayzer.progress import Advance, progress_bar


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
class Chosen:
    """Photos that a model will see: decoded, with everything the reader should know about the choice.

    Attributes:
        scene: what was read, without photos that turned out to be unreadable.
        selection: which of its photos are which views.
        views: the decoded views.
        notes: plain sentences: what was left out, repeated, or not used.
    """

    scene: Scene
    selection: Selection
    views: Views
    notes: tuple[str, ...]


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


def choose_photos(
    path: Path, config: ModelConfig, size: int | None = None, strict: bool = False, allow_outside: bool = False
) -> Chosen:
    """Read the input and decode the views that a model with `config` will see.

    Args:
        path: folder of photos, video, or scene file.
        config: says how many views, and which size.
        size: another short side in pixels.
        strict: refuse to leave out unreadable photos.
        allow_outside: follow paths in a scene file that leave its folder.

    Raises:
        InputError: if fewer than two photos can be read, or (`strict`) any cannot.
    """
    total = config.context_views + config.target_views
    with progress_bar("Reading") as advance:
        scene = read_scene(path, total, allow_outside, advance)
        scene, selection, views = _decode_chosen(scene, path, config, picture_size(config, size), strict, advance)
    return Chosen(scene, selection, views, _notes(scene, selection, config, size))


def picture_size(config: ModelConfig, size: int | None) -> tuple[int, int]:
    """Width and height in pixels of the pictures for a model, with its own aspect; `size` is the short side.

    Raises:
        InputError: if `size` does not consist of whole patches.
    """
    width, height, patch = config.image_width, config.image_height, config.patch_size
    if size is None:
        return width, height
    if size < patch or size % patch:
        raise InputError(f"--size {size}: must be a multiple of the checkpoint's patch size, {patch}")
    scale = size / min(width, height)
    return round(width * scale / patch) * patch, round(height * scale / patch) * patch


def encode_photos(chosen: Chosen, checkpoint: Checkpoint, runtime: Runtime) -> EncodedScene:
    """Estimate the cameras of all views and reconstruct the scene from the context views."""
    views, selection = chosen.views, chosen.selection
    context = list(selection.context)
    cameras, tokens = encode(checkpoint.model, views.images, views.cameras, context, runtime)
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


def _decode_chosen(
    scene: Scene, path: Path, config: ModelConfig, size: tuple[int, int], strict: bool, advance: Advance
) -> tuple[Scene, Selection, Views]:
    """Choose and decode, leaving out photos that turn out to be damaged until all chosen ones are sound."""
    while True:
        if strict and scene.skipped:
            raise InputError(scene.skipped[0][1])
        if len(scene) < 2:
            raise InputError(_too_few(scene, path))
        selection = select_views(len(scene), config.context_views, config.target_views)
        needed = list(dict.fromkeys(selection.indices))
        decoded: dict[int, Views] = {}
        broken: dict[int, str] = {}
        for done, index in enumerate(needed, start=1):
            try:
                decoded[index] = decode_views(scene, [index], *size, config.patch_size)
            except InputError as error:
                broken[index] = str(error)
            advance(done, len(needed))
        if not broken:
            return scene, selection, _joined([decoded[index] for index in selection.indices])
        scene = _without(scene, broken)


def _without(scene: Scene, broken: dict[int, str]) -> Scene:
    if any(frame.world_from_camera is not None for frame in scene.frames):
        raise InputError(next(iter(broken.values())))  # a scene file promises its pictures
    frames = tuple(frame for index, frame in enumerate(scene.frames) if index not in broken)
    skipped = tuple((Path(str(scene.frames[index].pixels)), reason) for index, reason in broken.items())
    return replace(scene, frames=frames, skipped=scene.skipped + skipped)


def _too_few(scene: Scene, path: Path) -> str:
    found = {0: "no photo", 1: "only one photo"}[len(scene)]
    unread = f" ({len(scene.skipped)} could not be read: {scene.skipped[0][1]})" if scene.skipped else ""
    return f"{path}: {found} that can be read{unread}; give at least two photos of one scene, or a video"


def _joined(parts: Sequence[Views]) -> Views:
    known = [part.cameras for part in parts if part.cameras is not None]
    return Views(
        images=torch.cat([part.images for part in parts]),
        cameras=Cameras.cat(known) if len(known) == len(parts) else None,
        names=tuple(name for part in parts for name in part.names),
        fits=tuple(fit for part in parts for fit in part.fits),
        times_s=tuple(time_s for part in parts for time_s in part.times_s),
    )


def _notes(scene: Scene, selection: Selection, config: ModelConfig, size: int | None) -> tuple[str, ...]:
    notes = [*scene.notes, *(f"Left out: {reason}" for _, reason in scene.skipped)]
    total, used = len(selection.indices), len(set(selection.indices))
    fixed = f"this checkpoint takes exactly {config.context_views} + {config.target_views} views"
    if used < total:
        notes.append(
            f"{used} photos were repeated to fill {total} views, because {fixed}. A held-out view that is repeated was "
            "also seen, so its comparison flatters."
        )
    elif len(scene) > total:
        notes.append(f"{total} of {len(scene)} photos were used, evenly spaced, because {fixed}.")
    if size is not None and size != min(config.image_width, config.image_height):
        notes.append(f"The checkpoint was trained at {config.image_width}x{config.image_height} pixels, not at {size}.")
    return tuple(notes)


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
    with progress_bar("Held-out views") as advance:
        renders = render(model, encoded.tokens, encoded.cameras[encoded.targets], runtime, advance)
    way = path.cameras(encoded.cameras, height, width)
    with progress_bar("Fly-through") as advance:
        frames = render(model, encoded.tokens, way, runtime, advance)
    outcome = Outcome(encoded, renders)
    outputs.write_pictures(encoded, renders, folder)
    outputs.write_fly_through(frames, folder, path.fps, path.goes_back)
    outputs.write_path(way, height, width, path.fps, folder / "camera_path.json")
    described = {"checkpoint": checkpoint.name, "fingerprint": encoded.fingerprint}
    geometric = {"cameras_are_geometric": model.cameras_are_geometric, "scale": "arbitrary"}
    outputs.write_cameras(encoded, {**described, **geometric}, note, folder / "cameras.json")
    outputs.write_exchange(encoded, note, folder)
    save_scene(encoded, folder / "scene.safetensors")
    write_page(encoded, checkpoint, path, way, outcome.psnr_db, runtime, time.perf_counter() - started, folder)
    return outcome

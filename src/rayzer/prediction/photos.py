"""Which photos a model sees: read, chosen and decoded, with what the reader should know about the choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rayzer.data.formats import read_scene
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import ReadOptions
from rayzer.data.views import Views, decode_views
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras
from rayzer.model.weights import ModelConfig, takes_any_views
from rayzer.prediction.selection import Selection, select_views
from rayzer.progress import Advance, progress_bar


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
        scene = read_scene(path, ReadOptions(allow_outside=allow_outside, video_frames=total, progress=advance))
        scene = replace(scene, frames=tuple(scene.frames[index] for index in scene.present))
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


def _decode_chosen(
    scene: Scene, path: Path, config: ModelConfig, size: tuple[int, int], strict: bool, advance: Advance
) -> tuple[Scene, Selection, Views]:
    """Choose and decode, leaving out photos that turn out to be damaged until all chosen ones are sound."""
    decoded: dict[Frame, Views] = {}
    while True:
        if strict and scene.skipped:
            raise InputError(scene.skipped[0][1])
        if len(scene) < 2:
            raise InputError(_too_few(scene, path))
        selection = select_views(len(scene), config.context_views, config.target_views, takes_any_views(config))
        needed = list(dict.fromkeys(selection.indices))
        broken: dict[int, str] = {}
        for done, index in enumerate(needed, start=1):
            frame = scene.frames[index]
            try:
                decoded[frame] = decoded.get(frame) or decode_views(scene, [index], *size, config.patch_size)
            except InputError as error:
                broken[index] = str(error)
            advance(done, len(needed))
        if not broken:
            return scene, selection, _joined([decoded[scene.frames[index]] for index in selection.indices])
        scene = _without(scene, broken)


def _without(scene: Scene, broken: dict[int, str]) -> Scene:
    if any(frame.world_from_camera is not None for frame in scene.frames):
        raise InputError(next(iter(broken.values())))  # a scene file promises its pictures
    frames = tuple(frame for index, frame in enumerate(scene.frames) if index not in broken)
    skipped = tuple((Path(scene.frames[index].name), reason) for index, reason in broken.items())
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
    notes = [*scene.notes, *(f"Left out: {reason}" for _, reason in scene.skipped), *_choice(scene, selection, config)]
    if size is not None and size != min(config.image_width, config.image_height):
        notes.append(f"The checkpoint was trained at {config.image_width}x{config.image_height} pixels, not at {size}.")
    return tuple(notes)


def _choice(scene: Scene, selection: Selection, config: ModelConfig) -> Iterator[str]:
    """What the reader should know of which photos were used, if anything."""
    total, used = len(selection.indices), len(set(selection.indices))
    any_views = takes_any_views(config)
    trained = f"{config.context_views} + {config.target_views} views"
    if used < total:
        yield (
            f"{used} photos were repeated to fill {total} views, because this checkpoint takes exactly {trained}. A "
            "held-out view that is repeated was also seen, so its comparison flatters."
        )
    elif len(scene) > total:
        why = f"this checkpoint {'is meant for' if any_views else 'takes exactly'} {trained}"
        yield f"{total} of {len(scene)} photos were used, evenly spaced, because {why}."
    elif any_views and total < config.context_views + config.target_views:
        held_out = len(selection.targets) or "none"
        yield f"All {total} photos were used: {len(selection.context)} for the scene, {held_out} held out to check it."

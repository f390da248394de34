"""Procedural rooms as RayZer scenes on disk: a folder each, with pictures and exact cameras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from rayzer.data.exchange import frames_from_cameras
from rayzer.data.images import IMAGE_SUFFIXES
from rayzer.data.parallel import available_cpus
from rayzer.data.scene_jobs import (
    Plan,
    SceneJob,
    SceneOutcome,
    SceneTask,
    Staging,
    nothing_made,
    open_staging,
    run_scenes,
    unwritable,
)
from rayzer.data.scenes import Scene
from rayzer.data.sources.folder import files_in
from rayzer.data.sources.rayzer_json import FILE_NAME, write_rayzer_json
from rayzer.data.sources.source import SceneRef
from rayzer.data.synthetic.rooms import ComposedRoom, Quality, RoomViews, compose, render_rooms
from rayzer.data.synthetic.tiles import PictureSet
from rayzer.data.views import to_uint8
from rayzer.errors import InputError
from rayzer.progress import Advance, progress_bar

LIST, REPORT = "scenes.txt", "rooms.json"
MAX_SEED = 2**40
"""Seeds from here on belong to benchmarks: nothing that is trained on is made of them."""


@dataclass(frozen=True)
class RoomsRequest:
    """Which rooms to make.

    Attributes:
        first_seed: of the first room; the others follow.
        scenes: how many rooms.
        views: pictures of each, evenly spaced along its camera path.
        image_size: height and width in pixels.
        span: how far a camera path goes; 1 is a long walk, 0.5 the middle of rooms-v1.
        quality: as in `render_rooms`.
        pictures: a folder of photos that hang on walls and cover things, besides those drawn by rule.

    Raises:
        InputError: naming the option, if a number is out of range.
    """

    first_seed: int = 0
    scenes: int = 16
    views: int = 24
    image_size: int = 256
    span: float = 0.5
    quality: Quality = "full"
    pictures: Path | None = None

    def __post_init__(self) -> None:
        for name, low, high in (("scenes", 1, 10**7), ("views", 1, 10_000), ("image_size", 8, 4096), ("span", 0, 4)):
            if not low <= getattr(self, name) <= high:
                option = name.replace("_", "-")
                raise InputError(f"--{option} {getattr(self, name):g}: expected {low} to {high}")
        if not 0 <= self.first_seed <= MAX_SEED - self.scenes:
            raise InputError(f"--seed {self.first_seed}: expected 0 to {MAX_SEED:,}; larger ones belong to benchmarks")


@dataclass(frozen=True)
class RoomJob:
    """Making one room of a request: a `SceneJob`; the key of its task is the seed."""

    request: RoomsRequest
    device: str

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        """Write one scene folder."""
        request, pictures = self.request, _pictures(self.request.pictures)
        try:
            room = compose(int(task.ref.key), request.views, request.span, pictures)
        except RuntimeError as error:
            raise InputError(f"room {task.ref.key}: {error}; choose a smaller --span or another --seed") from error
        found = render_rooms([room], request.image_size, request.quality, self.device, pictures, progress)
        write_room(room, found, task.name, target)
        return {"name": task.name, "seed": int(task.ref.key)}


def synthesize(out: Path, request: RoomsRequest, device: str, workers: int | None, overwrite: bool) -> list[str]:
    """Write rooms as `out/room-SEED/`, a list of them, and what they were made with. Unfinished work is continued.

    Args:
        out: output folder; until all is made, everything is in `out/.partial`.
        request: which rooms.
        device: where to cast rays.
        workers: how many processes; None for as many as there are CPU cores (one for a GPU).
        overwrite: replace rooms that were made before.

    Returns:
        a line for each room that could not be made.

    Raises:
        InputError: if `out` cannot be written, or no room can be made.
    """
    seeds = range(request.first_seed, request.first_seed + request.scenes)
    tasks = tuple(SceneTask(number, SceneRef(out, str(seed)), f"room-{seed:06d}") for number, seed in enumerate(seeds))
    _pictures(request.pictures)  # a mistake there is told before any work
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(request).items()}
    staging = open_staging(out, Plan("synthesize", settings, tasks), overwrite)
    outcomes = run_rooms(RoomJob(request, device), staging, tasks, device, workers)
    made = [outcome.task.name for outcome in outcomes if outcome.result is not None]
    if not made:
        staging.discard()
        raise nothing_made([outcome.error for outcome in outcomes])
    if not staging.is_moving:
        try:
            write_list(staging.folder / LIST, made)
            (staging.folder / REPORT).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise unwritable(out, error) from error
    moves = [(staging.results / name, out / name) for name in made]
    staging.finish([*moves, *((staging.folder / name, out / name) for name in (LIST, REPORT))])
    return [outcome.error for outcome in outcomes if outcome.result is None]


def run_rooms(
    job: SceneJob, staging: Staging, tasks: Sequence[SceneTask], device: str, workers: int | None
) -> list[SceneOutcome]:
    """Do a job for all rooms: one process for each CPU core, or a single one that has the GPU."""
    with progress_bar("Rendering rooms") as advance:
        run_scenes(job, staging, tasks, workers or (available_cpus() if device == "cpu" else 1), advance)
    return staging.outcomes(tasks)


def write_room(room: ComposedRoom, found: RoomViews, name: str, folder: Path) -> None:
    """Write `images/000.png`, ... and `opencv_cameras.json` of a room rendered alone."""
    pixels = to_uint8(found.images[0]).permute(0, 2, 3, 1).cpu().numpy()
    paths = [folder / "images" / f"{number:03d}.png" for number in range(len(pixels))]
    (folder / "images").mkdir(parents=True)
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path, compress_level=4)
    height, width = pixels.shape[1:3]
    frames = frames_from_cameras(room.cameras, [path.name for path in paths], paths, width, height)
    write_rayzer_json(Scene(name, frames, folder), folder)


def write_list(path: Path, folders: Sequence[str]) -> None:
    """Write a scene list of folders with a scene file each, relative to the list's own folder."""
    path.write_text("".join(f"{folder}/{FILE_NAME}\n" for folder in folders), encoding="utf-8")


@lru_cache(maxsize=1)
def _pictures(folder: Path | None) -> PictureSet | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of pictures; check the path")
    return PictureSet.from_files(files_in(folder, IMAGE_SUFFIXES))


def with_views(room: ComposedRoom, views: Sequence[int]) -> ComposedRoom:
    """The same room seen by some of its cameras only."""
    chosen = list(views)
    return replace(room, world_from_camera=room.world_from_camera[chosen], intrinsics=room.intrinsics[chosen])

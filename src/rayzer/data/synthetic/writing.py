"""Procedural rooms as RayZer scenes on disk: a folder each, with pictures and exact cameras."""

from __future__ import annotations

import json
import re
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
    check_replaced,
    open_staging,
    run_scenes,
)
from rayzer.data.scenes import Scene
from rayzer.data.sources.folder import files_in
from rayzer.data.sources.rayzer_json import FILE_NAME, write_rayzer_json
from rayzer.data.sources.source import SceneRef
from rayzer.data.strict_json import load_json
from rayzer.data.synthetic.camera_paths import NoClearPath
from rayzer.data.synthetic.rooms import ComposedRoom, Quality, RoomViews, compose, compose_pair, render_rooms
from rayzer.data.synthetic.tiles import PictureSet
from rayzer.data.views import evenly_spaced, to_uint8
from rayzer.errors import InputError
from rayzer.files import exists, remove_entry
from rayzer.progress import Advance, progress_bar

LIST, REPORT = "scenes.txt", "rooms.json"
MAX_PICTURES = 256  # of the user: every process keeps all of them, 0.35 MB each
MAX_SEED = 2**40
"""Seeds from here on belong to benchmarks: nothing that is trained on is made of them."""

_REPORT_FORMAT = "rayzer-rooms"


@dataclass(frozen=True)
class RoomsRequest:
    """Which rooms to make.

    Attributes:
        first_seed: of the first room; the others follow.
        scenes: how many rooms, or pairs of rooms.
        views: pictures of each, evenly spaced along its camera path.
        image_size: height and width in pixels.
        span: how far a camera path goes; 1 is a long walk, 0.5 the middle of rooms-v1.
        quality: as in `render_rooms`.
        pictures: a folder of photos that hang on walls and cover things, besides those drawn by rule; of more than
            `MAX_PICTURES` as many, evenly spaced.
        pairs: make two rooms for every camera path, as `compose_pair` does.

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
    pairs: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (("scenes", 1, 10**7), ("views", 1, 10_000), ("image_size", 8, 4096), ("span", 0, 4)):
            if not low <= getattr(self, name) <= high:
                option = name.replace("_", "-")
                raise InputError(f"--{option} {getattr(self, name):g}: expected {low} to {high}")
        if not 0 <= self.first_seed <= MAX_SEED - self.scenes:
            highest = MAX_SEED - self.scenes
            raise InputError(f"--seed {self.first_seed}: expected 0 to {highest:,}; larger ones belong to benchmarks")

    def keys(self) -> list[tuple[str, str]]:
        """Key and name of every room: ("7", "room-000007"), or of pairs ("7a", "room-000007a"), ("7b", ...)."""
        halves = "ab" if self.pairs else ("",)
        seeds = range(self.first_seed, self.first_seed + self.scenes)
        return [(f"{seed}{half}", f"room-{seed:06d}{half}") for seed in seeds for half in halves]

    def compose(self, key: str) -> ComposedRoom:
        """The room of a key.

        Raises:
            InputError: if there is no clear path through it.
        """
        pictures = _pictures(self.pictures)
        try:
            if self.pairs:
                return compose_pair(int(key[:-1]), self.views, self.span, pictures)["ab".index(key[-1])]
            return compose(int(key), self.views, self.span, pictures)
        except NoClearPath as error:
            raise InputError(f"room {key}: {error}; choose a smaller --span or another --seed") from error


@dataclass(frozen=True)
class RoomJob:
    """Making one room of a request: a `SceneJob`; the key of its task is one of `RoomsRequest.keys`."""

    request: RoomsRequest
    device: str

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        """Write one scene folder."""
        request, room = self.request, self.request.compose(task.ref.key)
        pictures = _pictures(request.pictures)
        found = render_rooms([room], request.image_size, request.quality, self.device, pictures, progress)
        write_room(room, found, task.name, target)
        return {"name": task.name}


def synthesize(out: Path, request: RoomsRequest, device: str, workers: int | None, overwrite: bool) -> list[str]:
    """Write rooms as `out/room-SEED/`, a list of them, and what they were made with. Unfinished work is continued.

    Args:
        out: output folder; until all is made, everything is in `out/.partial`.
        request: which rooms.
        device: where to cast rays.
        workers: how many processes; None for as many as there are CPU cores (one for a GPU).
        overwrite: replace rooms that were made before, and begin anew what was left unfinished without this option.

    Returns:
        a line for each room that could not be made.

    Raises:
        InputError: if `out` cannot be written or holds what is not of an earlier run, or no room can be made.
    """
    tasks = tuple(SceneTask(number, SceneRef(out, key), name) for number, (key, name) in enumerate(request.keys()))
    pictures = _pictures(request.pictures)  # a mistake there is told before any work
    settings = asdict(request)
    if request.pictures is not None and pictures is not None:
        settings["pictures"] = f"{request.pictures.absolute()} ({len(pictures)})"
    earlier = _earlier(out)
    check_replaced(out, (LIST, REPORT, *(task.name for task in tasks)), earlier and (LIST, REPORT, *earlier))
    staging = open_staging(out, Plan("synthesize", settings, tasks), overwrite)
    outcomes = run_rooms(RoomJob(request, device), staging, tasks, device, workers)
    made = [task.name for task, _ in staging.made(tasks)]

    def describe(folder: Path) -> None:
        for name in set(earlier) - set(made):
            remove_entry(out / name)
        write_list(folder / LIST, made)
        report = {"format": _REPORT_FORMAT, "rooms": made, **settings}
        (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")

    moves = [(staging.results / name, out / name) for name in made]
    staging.finish(describe, [*moves, *((staging.folder / name, out / name) for name in (LIST, REPORT))])
    return [outcome.error for outcome in outcomes if outcome.result is None]


def _earlier(out: Path) -> list[str]:
    """The rooms that an earlier run made, from its report."""
    if not exists(out / REPORT):
        return []
    data = load_json(out / REPORT)
    rooms = data.get("rooms") if data.get("format") == _REPORT_FORMAT else None
    return [name for name in rooms if re.fullmatch(r"room-\d+[ab]?", str(name))] if isinstance(rooms, list) else []


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
    files = files_in(folder, IMAGE_SUFFIXES)
    if not files:
        raise InputError(f"{folder}: holds no pictures to cover the things in rooms with; check the path")
    chosen = evenly_spaced(min(len(files), MAX_PICTURES), len(files))
    return PictureSet.from_files([files[number] for number in chosen])


def with_views(room: ComposedRoom, views: Sequence[int]) -> ComposedRoom:
    """The same room seen by some of its cameras only."""
    chosen = list(views)
    return replace(room, world_from_camera=room.world_from_camera[chosen], intrinsics=room.intrinsics[chosen])

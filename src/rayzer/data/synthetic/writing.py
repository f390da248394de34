"""Procedural rooms on disk: RayZer scenes, a folder each with pictures and exact cameras, or a packed set of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from rayzer.data.exchange import frames_from_cameras
from rayzer.data.images import IMAGE_SUFFIXES, Preprocessing
from rayzer.data.packing import LIST, SCENES, WRITES, pack_scene, write_lists
from rayzer.data.scene_jobs import Plan, SceneOutcome, SceneTask, Staging, check_replaced, open_staging
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.folder import files_in
from rayzer.data.sources.packed_file import SUFFIX
from rayzer.data.sources.rayzer_json import FILE_NAME, write_rayzer_json
from rayzer.data.sources.source import SceneRef
from rayzer.data.strict_json import load_json
from rayzer.data.synthetic.camera_paths import NoClearPath
from rayzer.data.synthetic.room_jobs import run_rooms
from rayzer.data.synthetic.rooms import ComposedRoom, Quality, compose, compose_pair, render_depth, render_images
from rayzer.data.synthetic.tiles import PictureSet
from rayzer.data.views import evenly_spaced
from rayzer.errors import InputError, seen_from
from rayzer.files import exists, remove_entry
from rayzer.progress import Advance

REPORT = "rooms.json"
MAX_PICTURES = 256  # of the user: every process keeps all of them, 0.35 MB each
MAX_SEED = 2**40
"""Seeds from here on belong to benchmarks: nothing that is trained on is made of them."""

_REPORT_FORMAT = "rayzer-rooms"
_PATCH_SIZE = 16  # of packed sets, if it divides the size of the pictures: squares are the same with any


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
        packed: make a packed set of them, as `rayzer data pack` makes it of rooms that lie in folders.
        depth_cell: with a packed set, also keep the depth at the centres of cells of so many pixels: the patch size of
            the model that is to learn from it. 0 for no depth.

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
    packed: bool = False
    depth_cell: int = 0

    def __post_init__(self) -> None:
        if self.depth_cell and not self.packed:
            raise InputError("--depth-cell: only packed sets hold depth; add --packed")
        if self.depth_cell < 0 or (self.depth_cell and self.image_size % self.depth_cell):
            raise InputError(
                f"--depth-cell {self.depth_cell}: pictures of {self.image_size} pixels have no whole number of such "
                "cells; choose a divisor, or 0 for no depth"
            )
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
class RequestedRooms:
    """Making the rooms of a request: a `RoomJob`; the keys of its tasks are those of `RoomsRequest.keys`."""

    request: RoomsRequest

    @property
    def pixels_per_room(self) -> int:
        """See `RoomJob`."""
        return self.request.views * self.request.image_size**2

    def compose(self, key: str) -> ComposedRoom:
        """See `RoomsRequest.compose`."""
        return self.request.compose(key)

    def render(self, rooms: Sequence[ComposedRoom], device: str, progress: Advance) -> Tensor:
        """Pictures [b, v, 3, h, w] with the user's pictures in them."""
        request = self.request
        pictures = _pictures(request.pictures)
        return render_images(rooms, request.image_size, request.quality, device, pictures, progress)

    def write(self, task: SceneTask, room: ComposedRoom, pixels: np.ndarray, target: Path) -> dict[str, Any]:
        """Write one scene folder, or one packed scene."""
        if self.request.packed:
            return pack_room(room, pixels, task.name.removesuffix(SUFFIX), target, self._depth(room))
        write_room(room, pixels, task.name, target)
        return {"name": task.name}

    def _depth(self, room: ComposedRoom) -> np.ndarray | None:
        request = self.request
        if not request.depth_cell:
            return None
        cells = request.image_size // request.depth_cell
        return render_depth([room], cells, pictures=_pictures(request.pictures))[0].numpy()


def synthesize(out: Path, request: RoomsRequest, device: str, workers: int | None, overwrite: bool) -> list[str]:
    """Write rooms, a list of them, and what they were made with. Unfinished work is continued.

        OUT/room-SEED/                     pictures and opencv_cameras.json; or, packed,
        OUT/scenes/room-SEED.safetensors   with OUT/index.json and OUT/SHA256SUMS, as `pack` writes them
        OUT/scenes.txt                     scene list
        OUT/rooms.json                     what they were made with

    Args:
        out: output folder; until all is made, everything is in `out/.partial`.
        request: which rooms.
        device: where to cast rays.
        workers: how many processes, as in `run_rooms`.
        overwrite: replace rooms that were made before, and begin anew what was left unfinished without this option.

    Returns:
        a line for each room that could not be made.

    Raises:
        InputError: if `out` cannot be written or holds what is not of an earlier run, or no room can be made.
    """
    suffix = SUFFIX if request.packed else ""
    tasks = tuple(
        SceneTask(number, SceneRef(out, key), f"{name}{suffix}") for number, (key, name) in enumerate(request.keys())
    )
    pictures = _pictures(request.pictures)  # a mistake there is told before any work
    settings = asdict(request)
    if request.pictures is not None and pictures is not None:
        settings["pictures"] = f"{request.pictures.absolute()} ({len(pictures)})"
    earlier = _earlier(out)
    check_replaced(out, _entries(request.packed, [task.name for task in tasks]), earlier)
    staging = open_staging(out, Plan("synthesize", settings, tasks), overwrite)
    outcomes = run_rooms(RequestedRooms(request), staging, tasks, device, workers)
    made = [task.name for task, _ in staging.made(tasks)]

    def describe(folder: Path) -> None:
        staging.tidy(made)
        for name in set(earlier) - set(_entries(request.packed, made)):
            remove_entry(out / name)
        _write_lists(folder, request, outcomes, out)
        report = {"format": _REPORT_FORMAT, "rooms": [name.removesuffix(SUFFIX) for name in made], **settings}
        (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")

    staging.finish(describe, [(_place(staging, name), out / name) for name in _entries(request.packed, made)])
    return [outcome.error for outcome in outcomes if outcome.result is None]


def _entries(packed: bool, rooms: Sequence[str]) -> list[str]:
    """What is written into the output folder, in the order in which it appears there; the report comes last."""
    return [*WRITES, REPORT] if packed else [*rooms, LIST, REPORT]


def _place(staging: Staging, entry: str) -> Path:
    """Where an entry of the output folder lies until all is made."""
    if entry == SCENES:
        return staging.results
    return (staging.folder if entry in (*WRITES, REPORT) else staging.results) / entry


def _write_lists(folder: Path, request: RoomsRequest, outcomes: Sequence[SceneOutcome], out: Path) -> None:
    if request.packed:
        write_lists(folder, _preprocessing(request.image_size), outcomes, partial(seen_from, out.parent))
    else:
        write_list(folder / LIST, [outcome.task.name for outcome in outcomes if outcome.result is not None])


def _earlier(out: Path) -> list[str]:
    """The entries of the output folder that an earlier run made, from its report."""
    if not exists(out / REPORT):
        return []
    data = load_json(out / REPORT)
    rooms = data.get("rooms") if data.get("format") == _REPORT_FORMAT else None
    if not isinstance(rooms, list):
        return []
    return _entries(data.get("packed") is True, [room for room in rooms if re.fullmatch(r"room-\d+[ab]?", str(room))])


def write_room(room: ComposedRoom, pixels: np.ndarray, name: str, folder: Path) -> None:
    """Write `images/000.png`, ... and `opencv_cameras.json` of a room and its pictures, uint8 [v, h, w, 3]."""
    names = _picture_names(pixels)
    paths = [folder / "images" / each for each in names]
    (folder / "images").mkdir(parents=True)
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path, compress_level=4)
    height, width = pixels.shape[1:3]
    write_rayzer_json(Scene(name, frames_from_cameras(room.cameras, names, paths, width, height), folder), folder)


def pack_room(
    room: ComposedRoom, pixels: np.ndarray, name: str, path: Path, depth_m: np.ndarray | None = None
) -> dict[str, Any]:
    """Write the packed scene of a room and its pictures, uint8 [v, size, size, 3]; returns its `PackedFile`.

    Args:
        depth_m: [v, rows, columns], as of `Frame`.
    """
    size = pixels.shape[1]
    frames = frames_from_cameras(room.cameras, _picture_names(pixels), pixels, size, size)
    frames = [replace(frame, world_from_camera=_as_read(frame)) for frame in frames]
    if depth_m is not None:
        frames = [replace(frame, depth_m=its) for frame, its in zip(frames, depth_m, strict=True)]
    scene = Scene(name, tuple(frames), path)
    return asdict(pack_scene(scene, _preprocessing(size), path))


def _as_read(frame: Frame) -> np.ndarray:
    """The pose as it comes out of a scene file, which holds `camera_from_world`: rounded by inverting it twice."""
    assert frame.world_from_camera is not None
    return np.linalg.inv(np.linalg.inv(frame.world_from_camera))


def _picture_names(pixels: np.ndarray) -> list[str]:
    return [f"{number:03d}.png" for number in range(len(pixels))]


def _preprocessing(image_size: int) -> Preprocessing:
    """That of square pictures of the right size, which changes nothing."""
    return Preprocessing(image_size, math.gcd(image_size, _PATCH_SIZE))


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

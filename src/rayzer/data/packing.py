"""Packing scenes for training: every picture is decoded and resized once, into one file a scene.

    OUT/scenes/NAME.safetensors   one packed scene each (`sources/packed_file.py`)
    OUT/scenes.txt                list of them, as `rayzer train` takes it
    OUT/index.json                what is in them, and what was left out and why
    OUT/SHA256SUMS                `sha256sum -c SHA256SUMS` checks everything

A packed scene gives exactly the pixels, cameras and names that the original gives for the same `Preprocessing`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np

from rayzer.data.formats import read_scene, search_scenes
from rayzer.data.images import Preprocessing
from rayzer.data.scene_jobs import (
    Plan,
    SceneOutcome,
    SceneTask,
    Staging,
    check_replaced,
    open_staging,
    run_scenes,
)
from rayzer.data.scene_names import check_apart, scene_names
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.packed import INDEX, SET_FORMAT, SET_VERSION, Packed
from rayzer.data.sources.packed_file import SUFFIX, FrameRecord, PackedImage, PackedScene, write_packed_file
from rayzer.data.sources.source import ReadOptions, leave_out
from rayzer.data.sources.video import refuse_videos
from rayzer.data.views import decode_frames
from rayzer.errors import InputError, seen_from
from rayzer.progress import Advance, progress_bar

SCENES, LIST, CHECKSUMS = "scenes", "scenes.txt", "SHA256SUMS"
WRITES = (SCENES, LIST, INDEX, CHECKSUMS)
"""Entries of the folder of a packed set."""

_MEMORY_BYTES = 256 * 2**20  # of pictures for a worker; more are kept on disk until the scene is complete


@dataclass(frozen=True)
class PackRequest:
    """How to pack.

    Attributes:
        preprocessing: how pictures are resized and cropped.
        cameras: keep poses and intrinsics; without, they are not even looked at.
        allow_outside: follow paths in scene files that leave the scene's folder.
    """

    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    cameras: bool = True
    allow_outside: bool = False

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        """Pack one scene: a `SceneJob`."""
        lost: list[str] = []
        report = leave_out(lost, "; or pack without cameras (--no-poses)")
        scene = read_scene(task.ref, ReadOptions(self.allow_outside, self.cameras, report=report))
        return asdict(pack_scene(scene, self.preprocessing, target, progress, lost))


@dataclass(frozen=True)
class PackedFile:
    """One packed scene: its name, how many of its frames have a picture, and lines on pictures left out."""

    name: str
    frames: int
    images: int
    bytes: int
    sha256: str
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class PackReport:
    """What `pack` did.

    Attributes:
        scenes: how many are packed.
        images, bytes: in all of them.
        unreadable: a line on each picture that is left out.
        left_out: a line on each scene that is left out.
        missing: scenes that other shards have not tried yet; the set is finished if there are none.
    """

    scenes: int
    images: int
    bytes: int
    unreadable: tuple[str, ...]
    left_out: tuple[str, ...]
    missing: int

    @property
    def bad_share(self) -> float:
        """The share of scenes that are left out, or of pictures, whichever is larger."""
        scenes = len(self.left_out) / max(self.scenes + len(self.left_out), 1)
        return max(scenes, len(self.unreadable) / max(self.images + len(self.unreadable), 1))


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count` parts: of the scenes, every `count`-th."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            parts = f"1/{self.count} to {self.count}/{self.count}" if self.count else "a part of at least one, like 2/8"
            raise InputError(f"--shard {self.number}/{self.count}: expected {parts}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "2/8".

        Raises:
            InputError: if it is anything else.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal()):
            raise InputError(f"--shard {text}: expected a part and how many there are, like 2/8")
        return cls(int(number), int(count))

    def of(self, tasks: Sequence[SceneTask]) -> list[SceneTask]:
        """The tasks of this part."""
        return [task for task in tasks if task.number % self.count == self.number - 1]


def pack(
    source: Path,
    out: Path,
    request: PackRequest = PackRequest(),
    format: str = "",
    workers: int = 1,
    shard: Shard | None = None,
    overwrite: bool = False,
) -> PackReport:
    """Pack all scenes of a file, folder or list. What the same call left unfinished is continued.

    Args:
        source: what `find_scenes` takes.
        out: the set's folder; until everything is packed, all is in `out/.partial`.
        request: how to pack.
        format: of `source`; empty to recognise it.
        workers: how many processes.
        shard: pack one part of the scenes only. The call without it packs what is missing, and finishes the set.
        overwrite: replace an earlier set, and begin anew what was left unfinished without this option.

    Raises:
        InputError: if nothing can be packed, `out` holds anything else or cannot be written.
    """
    source = source.absolute()  # messages are kept, and must not depend on where this was called from
    refs = search_scenes(source, format)
    names = [f"{name}{SUFFIX}" for name in scene_names(refs)]
    tasks = tuple(SceneTask(number, *pair) for number, pair in enumerate(zip(refs, names, strict=True)))
    _check(source, out, tasks)
    plan = Plan(
        "pack",
        {**asdict(request.preprocessing), "cameras": request.cameras, "allow_outside": request.allow_outside},
        tasks,
    )
    staging = open_staging(out, plan, overwrite, shared=shard is not None)
    with progress_bar("Packing") as advance:
        run_scenes(request, staging, shard.of(tasks) if shard else tasks, workers, advance)
        outcomes = staging.outcomes(tasks)
        if shard is None:
            _finish(staging, request, outcomes, source)
    return _report(outcomes, len(tasks) - len(outcomes))


def pack_scene(
    scene: Scene,
    preprocessing: Preprocessing,
    path: Path,
    progress: Advance = lambda done, total: None,
    lost: Sequence[str] = (),
) -> PackedFile:
    """Write one packed scene; pictures that cannot be decoded are left out, and their frames keep their numbers.

    Args:
        scene: any scene.
        preprocessing: how its pictures are resized and cropped.
        path: the file to write.
        progress: called after every frame.
        lost: a line on each picture that could not be read with the scene.

    Raises:
        InputError: if no picture can be decoded, or the results differ in size.
    """
    shape = _common_shape(scene, preprocessing)
    rows: list[int] = []
    unreadable = [*lost, *(message for _, message in scene.skipped)]
    count = 0
    with SpooledTemporaryFile(_MEMORY_BYTES, dir=str(path.parent)) as pixels:
        for frame in scene.frames:
            fitted = _fitted(frame, preprocessing, unreadable)
            rows.append(-1 if fitted is None else count)
            if fitted is not None:
                pixels.write(fitted.tobytes())
                count += 1
            progress(len(rows), len(scene))
        if count == 0:
            reason = f" ({unreadable[0]})" if unreadable else ""
            raise InputError(f"{scene.source}: none of its {len(scene)} pictures can be read{reason}; leave it out")
        pixels.seek(0)
        content = _content(scene, preprocessing, np.array(rows))
        sha256 = write_packed_file(path, content, pixels, (count, *shape, 3))
    return PackedFile(scene.name, len(scene), count, path.stat().st_size, sha256, tuple(unreadable))


def _fitted(frame: Frame, preprocessing: Preprocessing, unreadable: list[str]) -> np.ndarray | None:
    if frame.image is None:
        return None
    try:
        return decode_frames([frame], preprocessing.fit)[0]
    except InputError as error:
        unreadable.append(str(error))
        return None


def _common_shape(scene: Scene, preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width of all fitted pictures."""
    fits = {index: preprocessing.fit(*_size(scene.frames[index])) for index in scene.present}
    shapes = {(fit.height_px, fit.width_px): scene.frames[index].name for index, fit in fits.items()}
    if len(shapes) > 1:
        some = ", ".join(f"{width}x{height} ({name})" for (height, width), name in shapes.items())
        raise InputError(f"{scene.source}: pictures of different shapes do not fit into one file: {some}; crop them")
    return next(iter(shapes), (0, 0))


def _size(frame: Frame) -> tuple[int, int]:
    """Of the original picture, also if the frame comes from a packed scene."""
    if isinstance(frame.image, PackedImage):
        return frame.image.fit.source_width_px, frame.image.fit.source_height_px
    return frame.width_px, frame.height_px


def _content(scene: Scene, preprocessing: Preprocessing, rows: np.ndarray) -> PackedScene:
    kept = [frame for frame, row in zip(scene.frames, rows, strict=True) if row >= 0]
    longest = max(len(frame.distortion) for frame in kept)
    cameras = {
        "world_from_camera": _stacked([frame.world_from_camera for frame in kept], (4, 4)),
        "fxfycxcy_px": _stacked([_fitted_intrinsics(frame, preprocessing) for frame in kept], (4,)),
        "distortion": np.array([[*frame.distortion, *[0.0] * longest][:longest] for frame in kept]),
        "depth_m": _depth(scene, kept),
    }
    records = tuple(
        FrameRecord(frame.name, _inner_name(frame, scene), frame.time_s, *_size(frame)) for frame in scene.frames
    )
    known = {name: tensor for name, tensor in cameras.items() if tensor is not None and tensor.size}
    return PackedScene(scene.name, preprocessing, records, rows, known)


def _depth(scene: Scene, frames: Sequence[Frame]) -> np.ndarray | None:
    """Of pictures that are as large as the packed ones, as all are whose depth is known: float [n, rows, columns]."""
    grids = {frame.depth_m.shape for frame in frames if frame.depth_m is not None}
    if len(grids) > 1:
        told = ", ".join("x".join(map(str, grid)) for grid in sorted(grids))
        raise InputError(f"{scene.source}: depth in grids of different sizes, {told}; leave it out")
    return _stacked([frame.depth_m for frame in frames], grids.pop()) if grids else None


def _fitted_intrinsics(frame: Frame, preprocessing: Preprocessing) -> np.ndarray | None:
    if frame.fxfycxcy_px is None:
        return None
    return preprocessing.fit(frame.width_px, frame.height_px).intrinsics_to_fitted(frame.fxfycxcy_px)


def _stacked(values: Sequence[np.ndarray | None], shape: tuple[int, ...]) -> np.ndarray | None:
    """Float64 [n, *shape] with NaN for None; None if all are."""
    if all(value is None for value in values):
        return None
    return np.stack([np.full(shape, np.nan) if value is None else value for value in values]).astype(np.float64)


def _inner_name(frame: Frame, scene: Scene) -> str | None:
    """The picture's file as seen from the scene, which says nothing about the machine."""
    if not isinstance(frame.image, Path):
        return None
    folder = scene.source if scene.source.is_dir() else scene.source.parent
    path = os.path.relpath(frame.image, folder)
    return frame.image.name if path.startswith("..") else Path(path).as_posix()


def _check(source: Path, out: Path, tasks: Sequence[SceneTask]) -> None:
    refuse_videos(task.ref for task in tasks)
    check_apart(out, WRITES, {source, *(task.ref.path for task in tasks)})
    check_replaced(out, WRITES, own=WRITES if Packed().recognises(out) else ())


def _report(outcomes: Sequence[SceneOutcome], missing: int) -> PackReport:
    packed = [outcome.result for outcome in outcomes if outcome.result is not None]
    return PackReport(
        len(packed),
        sum(result["images"] for result in packed),
        sum(result["bytes"] for result in packed),
        tuple(line for result in packed for line in result["unreadable"]),
        tuple(outcome.error for outcome in outcomes if outcome.result is None),
        missing,
    )


def _finish(staging: Staging, request: PackRequest, outcomes: Sequence[SceneOutcome], source: Path) -> None:
    """Write the lists and move everything to its place."""
    made = staging.made([outcome.task for outcome in outcomes])

    def describe(folder: Path) -> None:
        staging.tidy({task.name for task, _ in made})
        write_lists(folder, request.preprocessing, outcomes, _relative_to(source))

    lists = [(staging.folder / name, staging.out / name) for name in (LIST, INDEX, CHECKSUMS)]
    staging.finish(describe, [(staging.results, staging.out / SCENES), *lists])


def write_lists(
    folder: Path, preprocessing: Preprocessing, outcomes: Sequence[SceneOutcome], relative: Callable[[str], str]
) -> None:
    """Write the scene list, index and checksums of a packed set into `folder`.

    Args:
        folder: where to.
        preprocessing: that of all scenes.
        outcomes: of all scenes: of those that are packed, the result is a `PackedFile` as a dictionary.
        relative: takes the place of the set's source on this machine out of a message.
    """
    packed = [(f"{SCENES}/{outcome.task.name}", outcome.result) for outcome in outcomes if outcome.result is not None]
    entries = [
        {"file": file, **result, "unreadable": [*map(relative, result["unreadable"])]} for file, result in packed
    ]
    left_out = [
        {"scene": relative(str(outcome.task.ref)), "reason": relative(outcome.error)}
        for outcome in outcomes
        if outcome.result is None
    ]
    index = {
        "format": SET_FORMAT,
        "version": SET_VERSION,
        "preprocessing": asdict(preprocessing),
        "scenes": entries,
        "left_out": left_out,
    }
    (folder / LIST).write_text("".join(f"{file}\n" for file, _ in packed), encoding="utf-8")
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    sums = [(result["sha256"], file) for file, result in packed]
    sums += [(hashlib.sha256((folder / name).read_bytes()).hexdigest(), name) for name in (LIST, INDEX)]
    (folder / CHECKSUMS).write_text("".join(f"{sum}  {file}\n" for sum, file in sums), encoding="utf-8")


def _relative_to(source: Path) -> Callable[[str], str]:
    """Takes the place of the source on this machine out of a message."""
    return partial(seen_from, source if source.is_dir() else source.parent)

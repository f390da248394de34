"""RayZer scenes: a folder with `opencv_cameras.json`, a list of pictures and their cameras (if known)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rayzer.data.exchange import Intrinsics, usable_intrinsics
from rayzer.data.images import photo_size
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import ProblemKind, ReadOptions, SceneRef, Source, Value
from rayzer.data.strict_json import finite_float, inner_path, load_json, mentions, rigid_matrix, side_px
from rayzer.errors import InputError
from rayzer.files import is_file, is_folder, output_file

FILE_NAME = "opencv_cameras.json"
E_RAYZER_NAME = "scene.json"
FILE_NAMES = (FILE_NAME, E_RAYZER_NAME)

_PICTURE = "file_path"
_INTRINSICS = ("fx", "fy", "cx", "cy")
_POSE = ("w2c",)


class RayZerJson(Source):
    """RayZer's own scenes, `opencv_cameras.json`, and E-RayZer's `scene.json` with the same keys."""

    name = "rayzer"
    description = "RayZer and E-RayZer scene files (opencv_cameras.json, scene.json)"

    def recognises(self, path: Path) -> bool:
        """A folder with such a file in it, or a JSON file of that name or with such frames near its start."""
        if is_folder(path):
            return is_file(path / FILE_NAME) or mentions(path / E_RAYZER_NAME, _PICTURE)
        if path.name in FILE_NAMES:
            return is_file(path)
        is_nerfstudio = path.name.startswith("transforms") or mentions(path, "transform_matrix")
        return path.suffix.lower() == ".json" and mentions(path, _PICTURE) and not is_nerfstudio

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_rayzer_json`."""
        return read_rayzer_json(scene_file(ref.path) if is_folder(ref.path) else ref.path, options)


def scene_file(folder: Path) -> Path:
    """The scene file of a folder, which need not exist."""
    return next((folder / name for name in FILE_NAMES if is_file(folder / name)), folder / FILE_NAME)


@dataclass(frozen=True)
class Dialect:
    """How one program spells `{"scene_name", "frames": [{picture, intrinsics, "w2c", "w", "h"}, ...]}`.

    Attributes:
        picture: the key of the picture's path.
        intrinsics: the keys of the intrinsics.
        default_name: the scene's name where the file gives none, from the path of the file.
        places: `(file, path of the picture, where, options)` -> where that may lie, in the order of preference;
            raises InputError, starting with `where`, if the path cannot be used or leaves its folder.
        advice: what to do about a picture that is in none of the places.
        fxfycxcy_px: `(frame, where)` -> its intrinsics; raises InputError, starting with `where`.
    """

    picture: str
    intrinsics: tuple[str, ...]
    default_name: Callable[[Path], str]
    places: Callable[[Path, object, str, ReadOptions], Sequence[Path]]
    advice: str
    fxfycxcy_px: Callable[[dict[str, Any], str], Intrinsics]


def read_rayzer_json(path: Path | str, options: ReadOptions = ReadOptions()) -> Scene:
    """Read `{"scene_name", "frames": [{"file_path", "fx", "fy", "cx", "cy", "w2c", "w", "h"}, ...]}`.

    `file_path` is relative to the file. Intrinsics are pixels of the stored picture, `w2c` is 4x4
    camera-from-world with OpenCV axes. Each of the two is in all frames or in none. Sizes `w`, `h` are taken
    from the pictures' headers where absent. A frame's number is its position in `frames`, from 0.

    Args:
        path: the JSON file.
        options: how to read; a missing picture, a wrong pose and wrong intrinsics are reported there.

    Raises:
        InputError: naming the file and, where it is about one, the frame and the key.
    """
    return read_frames(Path(path), options, _DIALECT)


def read_frames(path: Path, options: ReadOptions, dialect: Dialect) -> Scene:
    """Read a scene file of that dialect; see `read_rayzer_json`.

    Raises:
        InputError: naming the file and, where it is about one, the frame and the key.
    """
    data = load_json(path, finite=False)  # numbers are checked where the frame can be named
    entries = data.get("frames")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: 'frames' must be a list of at least one object; is this a scene file?")
    name = data.get("scene_name", dialect.default_name(path))
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{path}: 'scene_name' must be a text that is not empty")
    given = {key for entry in entries for key in entry} if options.cameras else set()
    frames = [_frame(path, number, entry, given, options, dialect) for number, entry in enumerate(entries)]
    if len({frame.name for frame in frames}) < len(frames):  # the same file name in several folders
        frames = [replace(frame, name=entry[dialect.picture]) for frame, entry in zip(frames, entries, strict=True)]
    return Scene(name, tuple(frames), path)


def write_rayzer_json(scene: Scene, folder: Path | str) -> Path:
    """Write `folder/opencv_cameras.json` for pictures that already lie in `folder`; returns its path.

    Raises:
        ValueError: if a frame has no picture file in `folder`, or if cameras are known for some frames only.
    """
    folder = Path(folder)
    entries = [_entry(frame, folder) for frame in scene.frames]
    if len({frozenset(entry) for entry in entries}) > 1:
        raise ValueError("intrinsics and poses must each be known for all frames or for none")
    target = folder / FILE_NAME
    content = json.dumps({"scene_name": scene.name, "frames": entries}, allow_nan=False)
    with output_file(target) as partial:
        partial.write_text(content, encoding="utf-8")
    return target


def _frame(
    path: Path, number: int, entry: dict[str, Any], given: set[str], options: ReadOptions, dialect: Dialect
) -> Frame:
    where = f"{path}: frame {number}"
    named = entry.get(dialect.picture)
    places = dialect.places(path, named, f"{where}: {dialect.picture}", options)
    picture = options.attempt(
        "image", lambda: _existing(places, f"{where}: there is no picture {named!r}", dialect.advice)
    )
    size = _stated_size(entry, where)  # saves opening every picture; checked when one is decoded
    if picture and not size:
        size = options.attempt("image", lambda: _stored_size(picture, where))

    def known(kind: ProblemKind, keys: tuple[str, ...], read: Callable[[dict[str, Any], str], Value]) -> Value | None:
        if given.isdisjoint(keys):
            return None
        return options.attempt(kind, lambda: read(_complete(entry, keys, where), where))

    return Frame(
        places[0].name,
        picture if size else None,
        *(size or (0, 0)),
        fxfycxcy_px=known("intrinsics", dialect.intrinsics, dialect.fxfycxcy_px),
        world_from_camera=known("pose", _POSE, _pose),
        as_stored=True,
    )


def _existing(places: Sequence[Path], problem: str, advice: str) -> Path:
    """The first of the places where there is a file."""
    found = next(filter(is_file, places), None)
    if found is None:
        raise InputError(f"{problem} (looked for {', '.join(map(str, places))}); {advice}")
    return found


def _stated_size(entry: dict[str, Any], where: str) -> tuple[int, int] | None:
    if "w" not in entry or "h" not in entry:
        return None
    return side_px(entry["w"], f"{where}: w"), side_px(entry["h"], f"{where}: h")


def _stored_size(picture: Path, where: str) -> tuple[int, int]:
    try:
        return photo_size(picture, upright=False)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _intrinsics(entry: dict[str, Any], where: str) -> Intrinsics:
    fx, fy, cx, cy = (finite_float(entry[key], f"{where}: {key}") for key in _INTRINSICS)
    for key, focal_px in (("fx", fx), ("fy", fy)):
        if focal_px <= 0:
            raise InputError(f"{where}: {key}: a focal length must be positive, got {focal_px:g}")
    return usable_intrinsics((fx, fy, cx, cy), where)


def _pose(entry: dict[str, Any], where: str) -> np.ndarray:
    return np.linalg.inv(rigid_matrix(entry["w2c"], f"{where}: w2c"))


def _complete(entry: dict[str, Any], keys: tuple[str, ...], where: str) -> dict[str, Any]:
    for key in keys:
        if key not in entry:
            raise InputError(f"{where}: has no {key!r}; {'/'.join(keys)} must be in all frames or in none")
    return entry


def _place(path: Path, named: object, where: str, options: ReadOptions) -> Sequence[Path]:
    return (inner_path(path.parent, named, where, allow_outside=options.allow_outside),)


_DIALECT = Dialect(
    picture=_PICTURE,
    intrinsics=_INTRINSICS,
    default_name=lambda path: path.resolve().parent.name,
    places=_place,
    advice="restore it or remove the frame",
    fxfycxcy_px=_intrinsics,
)


def _entry(frame: Frame, folder: Path) -> dict[str, Any]:
    if not isinstance(frame.image, Path):
        raise ValueError(f"frame {frame.name!r} has no picture file; write the picture first")
    picture = frame.image.absolute().relative_to(folder.absolute())
    entry: dict[str, Any] = {"file_path": picture.as_posix(), "w": frame.width_px, "h": frame.height_px}
    if frame.fxfycxcy_px is not None:
        entry |= dict(zip(_INTRINSICS, map(float, frame.fxfycxcy_px), strict=True))
    if frame.world_from_camera is not None:
        entry["w2c"] = np.linalg.inv(frame.world_from_camera).tolist()
    return entry

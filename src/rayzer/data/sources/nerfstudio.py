"""nerfstudio `transforms.json`, which instant-ngp, Blender (NeRF synthetic) and DL3DV-10K write too.

Axes are OpenGL's (x right, y up, z backward) and `transform_matrix` is camera to world. The saved world may
differ from the one the cameras were estimated in: `saved = applied_scale * (applied_transform @ original)`.
We read the original world, and write ours as it is.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rayzer.data.exchange import (
    OPENCV_FROM_OPENGL,
    Intrinsics,
    Lens,
    known_camera,
    opencv_distortion,
    usable_intrinsics,
)
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.real_size import Size, name_key, posed_frame, standing_folder
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.strict_json import (
    checked_rigid,
    finite_float,
    finite_floats,
    inner_path,
    load_json,
    mentions,
    rigid_matrix,
    side_px,
)
from rayzer.errors import InputError
from rayzer.files import is_file, is_folder

FILE_NAME = "transforms.json"
SPLIT_NAMES = ("transforms_train.json", "transforms_val.json", "transforms_test.json")  # NeRF's Blender scenes

_PERSPECTIVE = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
_LENS_KEYS = (
    *("fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "cx", "cy", "w", "h"),
    *("camera_model", "is_fisheye", "k1", "k2", "k3", "k4", "p1", "p2", "distortion_params"),
)
_MISSING_SUFFIXES = (".png", ".jpg", ".jpeg")  # Blender leaves them out
# What nerfstudio applied to COLMAP poses before it wrote `applied_transform` into the file.
_LEGACY_TRANSFORM = [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0]]
_IDENTITY_TRANSFORM = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]


class Nerfstudio(Source):
    """nerfstudio's `transforms.json`."""

    name = "nerfstudio"
    description = "nerfstudio, instant-ngp and Blender scenes (transforms.json)"

    def recognises(self, path: Path) -> bool:
        """A folder with such files, or a JSON file of that name or with such matrices near its start."""
        if is_folder(path):
            return is_file(path / FILE_NAME) or bool(_splits(path))
        return path.suffix.lower() == ".json" and (path.name == FILE_NAME or mentions(path, "transform_matrix"))

    def find(self, path: Path) -> list[SceneRef]:
        """The scene of `transforms.json`; without that file, one for each of the splits of a Blender scene."""
        files = [path] if is_file(path / FILE_NAME) else _splits(path) or [path]
        return [SceneRef(file, format=self.name) for file in files]

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_transforms`."""
        return read_transforms(ref.path / FILE_NAME if is_folder(ref.path) else ref.path, options)


def read_transforms(path: Path, options: ReadOptions = ReadOptions()) -> Scene:
    """Read a scene; frames are in natural order of their file paths (`frame_2` before `frame_10`).

    The list in the file is often in no order at all. nerfstudio sorts it as text, which is the same for the
    zero-padded names that its own tools write; without padding only the natural order is that of capture.

    Where the folder of pictures is absent, the largest of its smaller copies (`images_2`, `images_4`, ...)
    stands in for it.

    Published scenes name pictures that are not there: such frames keep their number, without a picture, and
    are in `Scene.skipped`.

    Args:
        path: the JSON file; picture paths are relative to its folder.
        options: how to read; a wrong pose and wrong intrinsics are reported there.

    Returns:
        a scene with poses (OpenCV axes, the world before `applied_transform`) and intrinsics in pixels of
        the picture that is there, whatever `w` and `h` say (of `w` x `h` for a missing picture). It is named
        after the folder, and a split of a Blender scene after the split, too: `lego_train`.

    Raises:
        InputError: naming file, frame and key, if a key is missing, a number is not finite, a pose not
            rigid, a camera not perspective or a picture not of the shape that `w` and `h` say; or if no picture
            is there at all.
    """
    data = load_json(path, finite=False)  # one pose that is NaN is a matter of that frame
    entries = data.get("frames")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: frames: expected a list of at least one frame; is this a transforms.json?")
    world, notes = _saved_world(data, path) if options.cameras else (None, ())
    common = {key: data[key] for key in _LENS_KEYS if key in data}
    sources = _sources(entries, path, options)
    names = _names([source.relative for source in sources], path)
    frames = tuple(_frame(name, source, common, world, options) for name, source in zip(names, sources, strict=True))
    skipped = tuple(
        (source.picture, f"{source.where}: there is no such picture") for source in sources if not source.found
    )
    return Scene(_scene_name(path), frames, path, notes, skipped)


def write_transforms(path: Path, frames: Sequence[Frame], note: str) -> None:
    """Write a scene so that nerfstudio loads it and recovers exactly our world.

    Args:
        path: the JSON file to write.
        frames: with known cameras; pictures are files, written down relative to the JSON's folder.
        note: what a reader of the file should know; stands under "note", which loaders ignore.

    Raises:
        InputError: naming the frame, if its camera is unknown or its picture is not a file.
    """
    content = {
        "note": note,
        "camera_model": "OPENCV",
        # Without this, nerfstudio assumes its old axis swap as soon as it finds a folder colmap/sparse/0.
        "applied_transform": _IDENTITY_TRANSFORM,
        "frames": [_entry(frame, path.parent) for frame in frames],
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Source:
    """One entry of `frames`.

    Attributes:
        entry: as it stands in the file.
        where: its place, for messages.
        picture: the file, and its path `relative` to the scene's folder.
        found: whether that file exists.
        is_copy: whether it lies in a smaller copy of the folder that the entry names.
    """

    entry: dict[str, Any]
    where: str
    picture: Path
    relative: Path
    found: bool
    is_copy: bool


@dataclass(frozen=True)
class _World:
    """How to get from the saved world to the original one: divide by `scale`, then transform."""

    original_from_saved: np.ndarray
    scale: float


def _saved_world(data: dict[str, Any], path: Path) -> tuple[_World, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    rows = data.get("applied_transform")
    if rows is None and is_folder(path.parent / "colmap/sparse/0"):
        rows = _LEGACY_TRANSFORM
        notes = (f"{path.name} names no applied_transform; nerfstudio's old default was undone.",)
    rows = _IDENTITY_TRANSFORM if rows is None else rows
    where = f"{path}: applied_transform"
    if not isinstance(rows, list) or len(rows) != 3:
        raise InputError(f"{where}: expected 3 lists of 4 numbers; leave it out if the poses were not transformed")
    saved_from_original = rigid_matrix([*rows, [0.0, 0.0, 0.0, 1.0]], where)
    scale = finite_float(data.get("applied_scale", 1.0), f"{path}: applied_scale")
    if not 1e-9 < scale < 1e9:
        raise InputError(f"{path}: applied_scale: {scale:g} is not a scale; expected a positive number")
    return _World(np.linalg.inv(saved_from_original), scale), notes


def _sources(entries: Sequence[object], path: Path, options: ReadOptions) -> list[_Source]:
    """Find the pictures of all entries; sorted."""
    wheres = [f"{path}: frame {index}" for index in range(len(entries))]
    named = [_named(entry, where, path.parent, options) for entry, where in zip(entries, wheres, strict=True)]
    folders = {folder: standing_folder(folder, path.parent) for folder in {picture.parent for _, picture in named}}
    sources = [
        _located(entry, where, picture, folders[picture.parent], path.parent)
        for (entry, picture), where in zip(named, wheres, strict=True)
    ]
    if not any(source.found for source in sources):
        raise InputError(f"{sources[0].where}: {sources[0].picture} does not exist, nor does any other picture")
    return sorted(sources, key=lambda source: name_key(source.relative))


def _named(entry: object, where: str, folder: Path, options: ReadOptions) -> tuple[dict[str, Any], Path]:
    """Check that an entry of `frames` names a picture, and say where that should be."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected an object with file_path and transform_matrix; export it again")
    for key in ("file_path", "transform_matrix") if options.cameras else ("file_path",):
        if key not in entry:
            raise InputError(f"{where}: {key}: missing; add it or leave the frame out")
    return entry, inner_path(folder, entry["file_path"], f"{where}: file_path", allow_outside=options.allow_outside)


def _located(entry: dict[str, Any], where: str, named: Path, folder: Path, base: Path) -> _Source:
    """Find a picture in the folder that stands for the one named; it may lack its suffix or be missing."""
    path = folder / named.name
    candidates = (path, *(path.with_name(path.name + suffix) for suffix in _MISSING_SUFFIXES))
    picture = next((candidate for candidate in candidates if is_file(candidate)), None)
    relative = Path(os.path.relpath(picture or path, base))
    is_copy = folder != named.parent
    return _Source(entry, f"{where} ({entry['file_path']})", picture or path, relative, picture is not None, is_copy)


def _names(paths: list[Path], file: Path) -> list[str]:
    """File names; whole relative paths where the same file name occurs in several folders."""
    twice = next((after for before, after in pairwise(paths) if before == after), None)
    if twice is not None:
        raise InputError(f"{file}: frames: {twice} stands in two frames; remove one of them")
    if len({path.name for path in paths}) == len(paths):
        return [path.name for path in paths]
    return [path.as_posix() for path in paths]


def _splits(folder: Path) -> list[Path]:
    """The files of a Blender scene; nothing if `folder` is no folder with such."""
    return [folder / name for name in SPLIT_NAMES if is_file(folder / name)]


def _scene_name(path: Path) -> str:
    split = path.stem.removeprefix("transforms") if path.name in SPLIT_NAMES else ""
    return path.resolve().parent.name + split


def _frame(name: str, source: _Source, common: dict[str, Any], world: _World | None, options: ReadOptions) -> Frame:
    values = source.entry | common  # nerfstudio's order: what stands at the top level wins
    picture = source.picture if source.found else None
    return posed_frame(
        name,
        picture,
        source.where,
        options,
        lens=lambda size: _lens(values, size, source),
        pose=lambda: world and _pose(source, world),
    )


def _pose(source: _Source, world: _World) -> np.ndarray:
    """`world_from_camera` float64 [4, 4] in the original world, OpenCV axes."""
    where = f"{source.where}: transform_matrix"
    saved = rigid_matrix(source.entry["transform_matrix"], where).copy()
    saved[:3, 3] /= world.scale
    return checked_rigid(world.original_from_saved @ saved @ OPENCV_FROM_OPENGL, where)


def _lens(values: dict[str, Any], real: Size | None, source: _Source) -> Lens | None:
    """The lens in pixels of the declared size, or else of the real one; None if neither is known."""
    size = real
    if "w" in values and "h" in values:
        size = side_px(values["w"], f"{source.where}: w"), side_px(values["h"], f"{source.where}: h")
    elif source.is_copy and "camera_angle_x" not in values:
        raise InputError(f"{source.where}: w, h: missing; add the size of the pictures that fl_x was written for")
    if size is None:
        return None
    return Lens(*size, _intrinsics(values, *size, source.where), _distortion(values, source.where))


def _intrinsics(lens: dict[str, Any], width: int, height: int, where: str) -> Intrinsics:
    """`fx, fy, cx, cy` in pixels; a missing `fl_y` means square pixels, a missing centre the middle."""
    fx = _focal_px(lens, "fl_x", "camera_angle_x", width, where)
    if fx is None:
        raise InputError(f"{where}: fl_x: missing, and no camera_angle_x either; add the focal length in pixels")
    fy = _focal_px(lens, "fl_y", "camera_angle_y", height, where)
    cx = finite_float(lens.get("cx", width / 2), f"{where}: cx")
    cy = finite_float(lens.get("cy", height / 2), f"{where}: cy")
    return usable_intrinsics((fx, fx if fy is None else fy, cx, cy), where)


def _focal_px(lens: dict[str, Any], focal_key: str, angle_key: str, side: int, where: str) -> float | None:
    """Focal length from itself or from the full angle of view in radians."""
    if focal_key in lens:
        return finite_float(lens[focal_key], f"{where}: {focal_key}")
    if angle_key not in lens:
        return None
    angle = finite_float(lens[angle_key], f"{where}: {angle_key}")
    if not 0 < angle < math.pi:
        raise InputError(f"{where}: {angle_key}: {angle:g} is out of range; expected radians, below 3.1416")
    return 0.5 * side / math.tan(0.5 * angle)


def _distortion(lens: dict[str, Any], where: str) -> tuple[float, ...]:
    """OpenCV's `k1, k2, p1, p2[, k3]`, or nothing if all are zero."""
    if lens.get("camera_model", "OPENCV") not in _PERSPECTIVE or lens.get("is_fisheye", False):
        raise InputError(f"{where}: camera_model: only perspective cameras are read; undistort the pictures first")
    if "distortion_params" in lens:
        values = finite_floats(lens["distortion_params"], 6, f"{where}: distortion_params")
    else:
        keys = ("k1", "k2", "k3", "k4", "p1", "p2")
        values = [finite_float(lens.get(key, 0.0), f"{where}: {key}") for key in keys]
    k1, k2, k3, k4, p1, p2 = values
    if k4:
        raise InputError(f"{where}: k4: OpenCV's perspective model has no k4; undistort the pictures first")
    if k3:
        return (k1, k2, p1, p2, k3)
    return (k1, k2, p1, p2) if any(values) else ()


def _entry(frame: Frame, folder: Path) -> dict[str, Any]:
    if not isinstance(frame.image, Path):
        raise InputError(f"{frame.name}: is not a file that transforms.json could name; save the picture first")
    pose, fxfycxcy_px = known_camera(frame)
    return {
        "file_path": Path(os.path.relpath(frame.image, folder)).as_posix(),
        "w": frame.width_px,
        "h": frame.height_px,
        **dict(zip(("fl_x", "fl_y", "cx", "cy"), fxfycxcy_px, strict=True)),
        **dict(zip(("k1", "k2", "p1", "p2"), opencv_distortion(frame), strict=True)),
        "transform_matrix": (pose @ OPENCV_FROM_OPENGL).tolist(),
    }

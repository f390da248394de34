"""DL3DV-10K as released: nerfstudio scenes, one folder per hash, in the layouts of its several archives.

- `<hash>/{transforms.json, images_4 or images_8}` (ALL-960P, ALL-480P),
- `<hash>/nerfstudio/{transforms.json, images_4, ...}` beside `gaussian_splat/` (benchmark),
- `<hash>/colmap/{transforms.json, images_4, ...}` (sample).

`transforms.json` speaks of `images/` at full resolution, which is absent. The index that the archives carry
(`.cache/filelist.bin`) is a pickle and never opened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from rayzer.data.images import IMAGE_SUFFIXES, photo_size
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.folder import files_in
from rayzer.data.sources.nerfstudio import FILE_NAME, read_transforms
from rayzer.data.sources.real_size import standing_folder, visible_entries
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.errors import InputError
from rayzer.files import is_file, is_folder

MAX_DISTANCE = 1e3  # the reconstructions are a few units large; poses beyond are failures of COLMAP

_HASH = re.compile(r"[0-9a-f]{64}")
_NESTED = ("nerfstudio", "colmap")


class Dl3dv(Source):
    """DL3DV-10K, unzipped."""

    name = "dl3dv"
    description = "DL3DV-10K scenes as released (<hash>/ with transforms.json and images_4 or images_8)"

    def recognises(self, path: Path) -> bool:
        """A folder of such a layout, its transforms.json, or a folder of nothing but .zip files."""
        if not is_folder(path):
            return path.name == FILE_NAME and _is_hash(_scene_name(path.parent))
        if _is_hash(_scene_name(path)):
            base = _base(path)
            return is_file(base / FILE_NAME) or (_pictures(base) is not None and not is_folder(base / "sparse"))
        nested = () if is_file(path / FILE_NAME) else (path / name for name in _NESTED)
        return any(is_file(base / FILE_NAME) and _pictures(base) for base in nested) or _only_archives(path)

    def find(self, path: Path) -> list[SceneRef]:
        """The one scene; .zip files must be unpacked first."""
        if _only_archives(path):
            raise InputError(f"{path}: holds only .zip files; unzip them there, then give the folder again")
        return super().find(path)

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_dl3dv`."""
        return read_dl3dv(ref.path if is_folder(ref.path) else ref.path.parent, options)


def read_dl3dv(folder: Path, options: ReadOptions = ReadOptions()) -> Scene:
    """Read a scene; it is named by its hash.

    Frames are those of `transforms.json`, in natural order, whether cameras are read or not: so their numbers are
    always the same. COLMAP found no pose for the other pictures, which a note counts; without poses they can be
    used as well, as a plain folder. Where there is no `transforms.json`, all pictures of the largest copy are frames.

    Args:
        folder: the one named by the hash, or the `nerfstudio/` or `colmap/` in it.
        options: how to read; a damaged picture and a pose that is not finite, not rigid or farther out than
            `MAX_DISTANCE` are reported there.

    Raises:
        InputError: as `read_transforms`; or if there are no pictures.
    """
    base = _base(folder)
    file, pictures = base / FILE_NAME, _pictures(base)
    if pictures is None:
        raise InputError(f"{base}: holds no folder images, images_4 or images_8 with pictures; unzip the scene again")
    if not is_file(file):
        frames = tuple(_plain_frame(picture, options) for picture in files_in(pictures, IMAGE_SUFFIXES))
        notes = (f"There is no {FILE_NAME}: the cameras are not known.",)
        return Scene(_scene_name(folder), frames, folder, notes)
    scene = read_transforms(file, options)
    frames = tuple(_within_reach(frame, file, options) for frame in scene.frames)
    notes = (*scene.notes, *_left_out(pictures, frames))
    return replace(scene, name=_scene_name(folder), source=folder, frames=frames, notes=notes)


def _plain_frame(picture: Path, options: ReadOptions) -> Frame:
    size = options.attempt("image", lambda: photo_size(picture))
    return Frame(picture.name, picture if size else None, *(size or (0, 0)))


def _within_reach(frame: Frame, file: Path, options: ReadOptions) -> Frame:
    """The frame, without its pose if that is too far out."""
    pose = frame.world_from_camera
    if pose is None:
        return frame
    where = f"{file}: {frame.name}: transform_matrix"
    return replace(frame, world_from_camera=options.attempt("pose", lambda: _checked_distance(pose, where)))


def _checked_distance(pose: np.ndarray, where: str) -> np.ndarray:
    distance = float(np.linalg.norm(pose[:3, 3]))
    if distance > MAX_DISTANCE:
        far = f"the camera is {distance:.0f} units away, more than {MAX_DISTANCE:.0f}"
        raise InputError(f"{where}: {far}, so its pose is wrong; leave the frame out")
    return pose


def _left_out(pictures: Path, frames: Sequence[Frame]) -> list[str]:
    """A note that says how many pictures are in no frame, if any are."""
    count = len(
        {picture.name for picture in files_in(pictures, IMAGE_SUFFIXES)} - {Path(frame.name).name for frame in frames}
    )
    way_out = f"to use all pictures without poses, give {pictures.name}/ itself"
    return [f"Left out: pictures without a pose in {FILE_NAME} ({count}); {way_out}."] if count else []


def _scene_name(folder: Path) -> str:
    """The folder's name, or of the folder around it if that is a hash."""
    folder = folder.resolve()
    return folder.parent.name if _is_hash(folder.parent.name) else folder.name


def _is_hash(name: str) -> bool:
    return _HASH.fullmatch(name) is not None


def _base(folder: Path) -> Path:
    """The folder of `transforms.json`, or else of the pictures: the one given, or one in it."""
    places = (folder, *(folder / name for name in _NESTED))
    with_file = (place for place in places if is_file(place / FILE_NAME))
    with_pictures = (place for place in places if _pictures(place))
    return next(chain(with_file, with_pictures), folder)


def _pictures(base: Path) -> Path | None:
    """The folder of the largest pictures."""
    folder = standing_folder(base / "images", base)
    return folder if is_folder(folder) else None


def _only_archives(folder: Path) -> bool:
    entries = visible_entries(folder)
    return bool(entries) and all(entry.suffix.lower() == ".zip" for entry in entries)

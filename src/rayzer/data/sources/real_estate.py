"""RealEstate10K and ACID: one text file of cameras per clip, and the clip's frames as pictures.

The first line of `KEY.txt` is the address of the video. Every further line is a frame, in 19 columns: its time in
microseconds; `fx fy cx cy` as fractions of the picture's width and height (the picture goes from 0 to 1, so the
centre of its first pixel is half a pixel in); two columns without use; and 3x4 camera-from-world row by row, with
OpenCV axes. A data set is a folder of such files.

The videos are not distributed. Frames that somebody took from them are named by their time, `TIME.jpg` or
`TIME.png`. They lie in the first of these folders that holds such pictures, for a file `ABOVE/SPLIT/KEY.txt`:

1. `ABOVE/SPLIT/KEY`
2. `ABOVE/SPLIT/frames/KEY`, and the same with `images` and `videos`
3. `ABOVE/frames/SPLIT/KEY`, ...
4. `ABOVE/frames/KEY`, ...
5. `frames/SPLIT/KEY` beside `ABOVE`, ...
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from rayzer.data.exchange import Intrinsics, inverse_rigid, usable_intrinsics
from rayzer.data.images import IMAGE_SUFFIXES, EncodedImage, photo_size
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.folder import entries_of, files_in, is_file_of
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.strict_json import checked_rigid, start_of, text_lines
from rayzer.errors import InputError
from rayzer.files import is_folder

CAMERA_NUMBERS = 18  # of one frame, without its time

_KIND = "a camera file of RealEstate10K or ACID"
_TEXT = (".txt",)
_PICTURE_FOLDERS = ("frames", "images", "videos")
_ADDRESS = ("http://", "https://")
_START_BYTES = 4096
_ENOUGH = 8  # files of a folder that are looked into to recognise it


class RealEstate(Source):
    """RealEstate10K's and ACID's camera files with pictures: one file, or a folder of them."""

    name = "realestate"
    description = "RealEstate10K and ACID clips (KEY.txt with cameras, pictures in KEY/)"

    def recognises(self, path: Path) -> bool:
        """A text file that starts with the address of a video or with a camera, or a folder with such files."""
        files = (entry for entry in entries_of(path) if is_file_of(entry, _TEXT))
        candidates = islice(files, _ENOUGH) if is_folder(path) else [path]
        return any(is_file_of(file, _TEXT) and _starts_like_cameras(file) for file in candidates)

    def find(self, path: Path) -> list[SceneRef]:
        """The file itself, or all camera files of the folder, in natural order."""
        files = [path]
        if is_folder(path):
            files = [file for file in files_in(path, _TEXT) if _starts_like_cameras(file)]
        if not files:
            raise InputError(f"{path}: holds no camera files (KEY.txt); is it the right folder?")
        return [SceneRef(file, format=self.name) for file in files]

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_real_estate`."""
        return read_real_estate(ref.path, options)


def read_real_estate(path: Path, options: ReadOptions = ReadOptions()) -> Scene:
    """Read one clip; frames are in the order of the file and keep their numbers, whether their picture is there or not.

    Args:
        path: the text file; the scene is called as it.
        options: how to read; broken pictures, wrong poses and wrong intrinsics are reported there.

    Returns:
        a scene with poses (OpenCV axes), intrinsics in pixels of the pictures, and times. Frames whose picture is
        missing have no size, so no intrinsics, and are in `Scene.skipped`.

    Raises:
        InputError: naming file, line and frame, if the file is not such a file; or if no picture is there at all.
    """
    rows = _rows(path, options.cameras)
    pictures = _pictures(path)
    if not any(row.time_us in pictures for row in rows):
        found = f"others are, for instance {next(iter(pictures.values()))}" if pictures else "nor any other"
        first, names = _places(path)[0], f"{rows[0].time_us}.jpg (or .png)"
        raise InputError(f"{path}: there is no picture {names}, {found}; put the frames of the clip into {first}")
    frames = tuple(_frame(row, pictures.get(row.time_us), options) for row in rows)
    missing = [row for row in rows if row.time_us not in pictures]
    folder = next(iter(pictures.values())).parent
    skipped = tuple(
        (folder / str(row.time_us), f"{row.where}: there is no such picture in {folder}") for row in missing
    )
    return Scene(path.stem, frames, path, skipped=skipped)


def _frame(row: _Row, picture: Path | None, options: ReadOptions) -> Frame:
    name = picture.name if picture else str(row.time_us)
    return clip_frame(name, picture, row.camera, row.where, options, row.time_us / 1e6)


def clip_frame(
    name: str,
    picture: Path | EncodedImage | None,
    camera: np.ndarray | None,
    where: str,
    options: ReadOptions,
    time_s: float | None,
) -> Frame:
    """A frame with its camera as RealEstate10K, and the chunks that are made of it, spell cameras.

    Args:
        name: of the frame.
        picture: None if it is missing.
        camera: float64 [18]: `fx fy cx cy` as fractions of the picture's size, two numbers without use, and 3x4
            camera-from-world row by row; None for a frame without camera.
        where: start of messages.
        options: how to read; a broken picture, a wrong pose and wrong intrinsics are reported there.
        time_s: time in the video, if known.
    """
    size = None if picture is None else options.attempt("image", lambda: photo_size(picture, upright=False))
    pose = intrinsics = None
    if camera is not None:
        pose = options.attempt("pose", lambda: _pose(camera, where))
    if camera is not None and size:
        intrinsics = options.attempt("intrinsics", lambda: _intrinsics_px(camera, size, where))
    present = picture if size else None
    return Frame(name, present, *(size or (0, 0)), intrinsics, world_from_camera=pose, time_s=time_s, as_stored=True)


@dataclass(frozen=True, eq=False)
class _Row:
    """One line of a camera file."""

    where: str
    time_us: int
    camera: np.ndarray | None  # float64 [18]


def _rows(path: Path, cameras: bool) -> list[_Row]:
    numbered = enumerate(map(str.split, text_lines(path, _KIND)), start=1)
    lines = [(number, fields) for number, fields in numbered if fields]
    if not lines or _is_number(lines[0][1][0]):
        raise InputError(f"{path}: line 1: expected the address of the video; is this {_KIND}?")
    if len(lines) == 1:
        raise InputError(f"{path}: holds no frames; copy it again or leave the clip out")
    wheres = [f"{path}: frame {index} (line {number})" for index, (number, _) in enumerate(lines[1:])]
    return [_row(where, fields, cameras) for where, (_, fields) in zip(wheres, lines[1:], strict=True)]


def _row(where: str, fields: list[str], cameras: bool) -> _Row:
    if len(fields) != 1 + CAMERA_NUMBERS:
        columns = f"time, fx fy cx cy, 2 unused, 3x4 matrix: {1 + CAMERA_NUMBERS} columns"
        raise InputError(f"{where}: expected {columns}; found {len(fields)}; copy the file again")
    if not _is_time(fields[0]):
        raise InputError(f"{where}: {fields[0][:40]!r} is not a time in whole microseconds; copy the file again")
    if not cameras:
        return _Row(where, int(fields[0]), None)
    wrong = [field for field in fields if not _is_number(field)]
    if wrong:
        raise InputError(f"{where}: {wrong[0][:40]!r} is not a number; copy the file again")
    return _Row(where, int(fields[0]), np.array([float(field) for field in fields[1:]]))


def _pose(camera: np.ndarray, where: str) -> np.ndarray:
    """`world_from_camera` float64 [4, 4]."""
    camera_from_world = np.vstack([camera[6:].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
    return inverse_rigid(checked_rigid(camera_from_world, where))


def _intrinsics_px(camera: np.ndarray, size: tuple[int, int], where: str) -> Intrinsics:
    fx, fy, cx, cy = (camera[:4] * [*size, *size]).tolist()
    return usable_intrinsics((fx, fy, cx, cy), where)


# ---- pictures


def _pictures(path: Path) -> dict[int, Path]:
    """The pictures of a clip by their time in microseconds; empty if there are none."""
    for folder in filter(is_folder, _places(path)):
        pictures: dict[int, Path] = {}
        for picture in files_in(folder, IMAGE_SUFFIXES):
            if _is_time(picture.stem):
                pictures.setdefault(int(picture.stem), picture)
        if pictures:
            return pictures
    return {}


def _places(path: Path) -> list[Path]:
    """The folders where the pictures of a clip may lie, in the order of preference."""
    key = path.stem
    split = path.absolute().parent
    above = split.parent
    return [
        split / key,
        *(split / name / key for name in _PICTURE_FOLDERS),
        *(above / name / split.name / key for name in _PICTURE_FOLDERS),
        *(above / name / key for name in _PICTURE_FOLDERS),
        *(above.parent / name / split.name / key for name in _PICTURE_FOLDERS),
    ]


# ---- text


def _starts_like_cameras(path: Path) -> bool:
    """Whether the first two lines have an address of a video or 19 numbers."""
    lines = start_of(path, _START_BYTES).decode("utf-8-sig", "replace").split("\n")[:2]
    return lines[0].startswith(_ADDRESS) or any(map(_is_camera, lines))


def _is_camera(line: str) -> bool:
    fields = line.split()
    return len(fields) == 1 + CAMERA_NUMBERS and all(map(_is_number, fields))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_time(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19

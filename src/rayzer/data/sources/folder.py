"""A folder of photos: read in natural order, broken files set aside and named."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from rayzer.data.images import IMAGE_SUFFIXES, PhotoHeader, read_header
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.sources.video import SUFFIXES as VIDEO_SUFFIXES
from rayzer.errors import InputError
from rayzer.files import is_file, is_folder


class PhotoFolder(Source):
    """A plain folder of photos of one scene."""

    name = "photos"
    description = "a folder of photos (in images/ or directly in it)"

    def recognises(self, path: Path) -> bool:
        """A folder with a file in it, or in its `images/`, that is named like a photo."""
        return any(
            is_file_of(entry, IMAGE_SUFFIXES) for folder in (path / "images", path) for entry in entries_of(folder)
        )

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_folder`."""
        return read_folder(ref.path)


def read_folder(path: Path | str) -> Scene:
    """Photos of `path`, or of `path/images` where there are some, in natural order (frame2 < frame10).

    Only headers are read: a photo that is damaged further on is found when it is decoded. Hidden files and
    files that are not named like pictures are no part of the scene. Photos whose header cannot be read are
    in `Scene.skipped`. The scene may have any number of frames, even none.

    Raises:
        InputError: if there is no such folder.
    """
    path = Path(path)
    if not is_folder(path):
        raise InputError(f"{path}: there is no such folder; check the path")
    folder, photos = _find_photos(path)
    frames, headers, skipped = [], [], []
    for photo in photos:
        try:
            header = read_header(photo)
        except InputError as error:
            skipped.append((photo, str(error)))
            continue
        frames.append(Frame(photo.name, photo, header.width_px, header.height_px))
        headers.append(header)
    notes = _notes(headers)
    if folder != path and (beside := files_in(path, IMAGE_SUFFIXES)):
        notes += (f"Only the photos in {folder.name}/ are used; {len(beside)} beside that folder are not.",)
    if videos := files_in(folder, VIDEO_SUFFIXES):
        notes += (
            f"Only the photos are used, not the videos beside them ({len(videos)}); give those a folder of their own.",
        )
    name = (folder.resolve().parent if folder.name == "images" else folder.resolve()).name
    return Scene(name, tuple(frames), path, notes, tuple(skipped))


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files directly in `folder` with one of the suffixes (".jpg"), in natural order, without hidden ones.

    Raises:
        InputError: if there is no such folder or it cannot be listed.
    """
    try:
        files = [path for path in folder.iterdir() if is_file_of(path, suffixes)]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    return sorted(files, key=lambda path: natural_key(path.name))


def entries_of(folder: Path) -> list[Path]:
    """What is in a folder, in no order; nothing if it is none or not ours to list, which reading it will say."""
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def folders_in(folder: Path) -> Iterator[Path]:
    """The folders in a folder, in no order, without hidden ones; none if it is none or not ours to list."""
    entries: list[os.DirEntry[str]] = []
    with suppress(OSError), os.scandir(folder) as listing:
        entries.extend(listing)
    for entry in entries:  # which know what they are: asking about every picture would take a network disk minutes
        path = folder / entry.name
        if not entry.name.startswith(".") and (is_folder(path) if entry.is_symlink() else entry.is_dir()):
            yield path


def is_file_of(path: Path, suffixes: Collection[str]) -> bool:
    """Whether this is a file with one of the suffixes (in upper or lower case) that is not hidden."""
    # names with a leading dot are hidden files and the "._" companions that macOS leaves on other disks
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and is_file(path)


def natural_key(name: str) -> tuple:
    """Sort key that orders numbers in names by value and ignores case: frame2 < Frame10 < frame11."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], name


def _find_photos(path: Path) -> tuple[Path, list[Path]]:
    for folder in (path / "images", path):
        if is_folder(folder) and (photos := files_in(folder, IMAGE_SUFFIXES)):
            return folder, photos
    return path, []


def _notes(headers: list[PhotoHeader]) -> tuple[str, ...]:
    notes = []
    times = [header.taken for header in headers if header.taken]
    if len(times) == len(headers) and any(later < earlier for earlier, later in pairwise(times)):
        notes.append(
            "The photos are ordered by file name, which is not the order in which they were taken. "
            "Rename them if the order of exposure is the better one."
        )
    if len({(header.width_px, header.height_px) for header in headers}) > 1:
        notes.append("The photos differ in size; photos taken with one camera and zoom give the best cameras.")
    return tuple(notes)

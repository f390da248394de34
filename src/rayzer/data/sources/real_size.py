"""Pictures as they lie on disk, where they are often smaller copies of those that cameras were estimated for.

Data sets are published with `images_2`, `images_4`, `images_8` in place of `images`, and with sizes that are
not what the number says. So the size always comes from the picture's header, and the intrinsics follow it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rayzer.data.exchange import Lens
from rayzer.data.images import photo_size
from rayzer.data.scenes import Frame
from rayzer.data.sources.folder import entries_of, natural_key
from rayzer.data.sources.source import ReadOptions
from rayzer.errors import InputError

Size = tuple[int, int]
"""Width and height of a picture in pixels."""

_SAME_SHAPE = 0.01  # how far two aspects may differ: sides of smaller copies are rounded


def standing_folder(folder: Path, base: Path) -> Path:
    """A folder of pictures, or its place in the largest smaller copy where it is absent.

    Args:
        folder: as named in a scene, for instance `base/images` or `base/images/left`.
        base: the folder of the scene.

    Returns:
        `folder`, unless `base/images` is absent or empty and there is a `base/images_N`: then the same folder
        in the one of smallest N that is not empty.
    """
    if not folder.is_relative_to(base) or folder == base:
        return folder
    top, *below = folder.relative_to(base).parts
    if visible_entries(base / top):
        return folder
    copies = {int(match[1]): entry for entry in visible_entries(base) if (match := _copy_of(top, entry.name))}
    filled = (copies[number] for number in sorted(copies) if visible_entries(copies[number]))
    return next(filled, base / top).joinpath(*below)


def name_key(path: Path) -> list[tuple]:
    """Sort key of relative paths in natural order, folder by folder (frame_2 < frame_10).

    It is the order in which pictures were taken, which the models depend on. Plain text order, which nerfstudio
    and gsplat use, is the same for names whose numbers have leading zeros.
    """
    return [natural_key(part) for part in path.parts]


def posed_frame(
    name: str,
    picture: Path | None,
    where: str,
    options: ReadOptions,
    lens: Callable[[Size | None], Lens | None],
    pose: Callable[[], np.ndarray | None],
) -> Frame:
    """A frame of the size that its picture really has, with intrinsics in pixels of that size.

    Args:
        name: of the frame.
        picture: None if it is missing; the frame then has the size that its lens was written for.
        where: start of messages.
        options: how to read; wrong pictures, intrinsics and poses are reported there.
        lens: reads the lens, given the size of the picture (None if unknown); None where there is no lens.
        pose: reads `world_from_camera`; None where there is none.
    """
    size = None if picture is None else options.attempt("image", lambda: _size(picture, where, upright=False))
    present = picture if size else None
    if not options.cameras:
        return Frame(name, present, *(size or (0, 0)), as_stored=True)
    found = options.attempt("intrinsics", lambda: _fitted_either_way(lens, present, size, where))
    fitted, as_stored = found or (None, True)
    matrix = options.attempt("pose", pose)
    if fitted is None:
        return Frame(name, present, *(size or (0, 0)), world_from_camera=matrix, as_stored=as_stored)
    return Frame(
        name,
        present,
        fitted.width_px,
        fitted.height_px,
        fitted.fxfycxcy_px,
        fitted.distortion,
        world_from_camera=matrix,
        as_stored=as_stored,
    )


def _fitted_either_way(
    lens: Callable[[Size | None], Lens | None], picture: Path | None, size: Size | None, where: str
) -> tuple[Lens | None, bool]:
    """The lens for the picture as it is stored (True) or, where only that has its shape, as EXIF turns it (False)."""
    try:
        return _fitted(lens(size), size, where), True
    except InputError:
        upright = size if picture is None else _size(picture, where, upright=True)
        if upright == size:
            raise
        return _fitted(lens(upright), upright, where), False


def _fitted(lens: Lens | None, size: Size | None, where: str) -> Lens | None:
    """The lens for the picture that is there, which must have the shape that the lens was written for."""
    if lens is None or size is None:
        return lens
    resized = lens.resized(*size)
    stretch = (size[0] * lens.height_px) / (size[1] * lens.width_px)
    if max(stretch, 1 / stretch) - 1 > max(_SAME_SHAPE, 1 / min(size)):
        sizes = f"the picture has {size[0]}x{size[1]} pixels, its camera {lens.width_px}x{lens.height_px}"
        advice = "use the pictures that the cameras were estimated from"
        raise InputError(f"{where}: {sizes}, which is another shape; {advice}")
    return resized


def _size(picture: Path, where: str, upright: bool) -> Size:
    try:
        return photo_size(picture, upright)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _copy_of(name: str, other: str) -> re.Match[str] | None:
    return re.fullmatch(re.escape(name) + r"_(\d+)", other, re.ASCII)


def visible_entries(folder: Path) -> list[Path]:
    """What is in a folder, hidden files aside; nothing if it is no folder or cannot be listed."""
    return [entry for entry in entries_of(folder) if not entry.name.startswith(".")]

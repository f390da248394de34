"""Pictures of frames as files for other programs: the original bytes where those will do, else PNG."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path, PurePosixPath

from PIL import ExifTags, Image

from rayzer.data.images import IMAGE_SUFFIXES, EncodedImage
from rayzer.data.scene_names import free_name
from rayzer.data.scenes import Frame
from rayzer.data.sources.folder import natural_key
from rayzer.data.views import open_image
from rayzer.errors import InputError

_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",)}
_MAX_BYTES = 200  # leaves room for numbers and suffixes; a name may have 255


def save_picture(frame: Frame, folder: Path, stem: str) -> Path:
    """Put the picture of a frame into a folder; returns its file.

    Its bytes are kept where it is a file that other programs show in the same way: an RGB JPEG or PNG without
    transparency that EXIF does not ask to turn. Anything else becomes PNG.

    Args:
        frame: with a picture.
        folder: an existing folder.
        stem: the file's name without suffix.

    Raises:
        InputError: if the picture cannot be decoded (files that are kept are not decoded), or has not the size that
            its frame says.
        OSError: if it cannot be written.
    """
    suffix = _plain_suffix(frame)
    destination = folder / f"{stem}{suffix or '.png'}"
    if suffix is None:
        _decoded(frame).save(destination, compress_level=4)
    elif isinstance(frame.image, Path):
        shutil.copyfile(frame.image, destination)
    elif isinstance(frame.image, EncodedImage):
        destination.write_bytes(frame.image.open().read())
    return destination


def ordered_stems(names: Sequence[str]) -> list[str]:
    """File names without suffix for pictures of frames: distinct, and sorting them gives the order of the frames.

    Args:
        names: of frames. Where they sort otherwise, or are not distinct, the frame's number goes in front.
    """
    stems = [stem_of(name) for name in names]
    ascending = all(a.casefold() < b.casefold() and natural_key(a) < natural_key(b) for a, b in pairwise(stems))
    if ascending:
        return stems
    digits = max(5, len(str(len(stems))))
    return [f"{number:0{digits}d}_{stem}" for number, stem in enumerate(stems)]


def distinct_stems(names: Sequence[str]) -> list[str]:
    """File names without suffix for pictures of frames, as near to their names as can be."""
    taken: set[str] = set()
    return [free_name(stem_of(name), taken) for name in names]


def stem_of(name: str) -> str:
    """The last part of a frame's name, without the suffix of a picture file and what no file format can hold."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return printable(stem).encode()[:_MAX_BYTES].decode(errors="ignore")


def printable(name: str) -> str:
    """A name without control characters and bytes that are not UTF-8, which exchange formats cannot hold."""
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "_", name).strip() or "_"


def _decoded(frame: Frame) -> Image.Image:
    image = open_image(frame)
    if image.size != (frame.width_px, frame.height_px):
        where = frame.image if isinstance(frame.image, Path | EncodedImage) else frame.name
        sizes = f"has {image.width}x{image.height} pixels, its scene says {frame.width_px}x{frame.height_px}"
        raise InputError(f"{where}: {sizes}; correct its size (and camera) in the scene file")
    return image


def _plain_suffix(frame: Frame) -> str | None:
    """The suffix under which the bytes of the picture can be kept; None if they cannot."""
    if not isinstance(frame.image, Path | EncodedImage):
        return None
    with suppress(Exception), frame.image.open("rb") as file, Image.open(file, formats=("JPEG", "PNG")) as image:
        upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        fits = image.size == (frame.width_px, frame.height_px)
        if fits and upright and image.mode == "RGB" and not image.has_transparency_data:
            usual = _SUFFIXES[image.format or ""]
            own = Path(str(frame.image)).suffix
            return own if own.lower() in usual else usual[0]
    return None

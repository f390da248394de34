"""Photos: reading them safely, and resizing and cropping them exactly as the reference does.

A picture that cannot be used is an `InputError` of one line that names the file and says what to do. The
size of a picture is checked in its header, before anything is decoded: 20 kB can hold 169 megapixels.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike
from PIL import ExifTags, Image, UnidentifiedImageError

from rayzer.errors import InputError

MAX_PIXELS = 120_000_000
MAX_ASPECT = 64
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".gif", ".bmp", ".tif", ".tiff"))

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # not TIFF: its decoder writes on stderr by itself
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING_ON_ITS_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True)
class PhotoHeader:
    """What the header of a photo says.

    Attributes:
        width_px, height_px: size of the picture (after EXIF rotation, if asked for).
        taken: EXIF time of exposure `YYYY:MM:DD HH:MM:SS` (it sorts as text), or None.
    """

    width_px: int
    height_px: int
    taken: str | None


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A picture file that lies inside something else (a chunk, an archive), decoded when it is asked for.

    Attributes:
        data: the bytes of the picture file, as such or as uint8 [n].
        name: what messages call it: the file that it lies in, and which picture it is there.
    """

    data: bytes | np.ndarray
    name: str

    def __str__(self) -> str:
        return self.name

    def open(self, mode: str = "rb") -> BinaryIO:
        """The bytes as a file, as `Path.open("rb")` gives those of a path."""
        assert mode == "rb"
        return io.BufferedReader(_BytesInMemory(self.data))

    def load(self) -> np.ndarray:
        """Decode it to uint8 [h, w, 3] (RGB, upright).

        Raises:
            InputError: as `open_photo`.
        """
        return np.asarray(open_photo(self))


class _BytesInMemory(io.RawIOBase):
    """Bytes as a file. Only what is read is copied: of an array mapped into memory, the rest stays on the disk."""

    def __init__(self, data: bytes | np.ndarray):
        self._bytes = np.frombuffer(data, np.uint8)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part = self._bytes[self._position :][: len(buffer)]
        buffer[: len(part)] = part.tobytes()
        self._position += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._bytes)}[whence]
        self._position = max(0, start + offset)
        return self._position


Photo = Path | str | EncodedImage
"""A picture file: its path, or its bytes with a name."""


def open_photo(photo: Photo, upright: bool = True) -> Image.Image:
    """Decode one photo as an 8-bit RGB picture.

    Transparent parts become white, and grey, palette, CMYK and 16-bit pictures are converted. Animations give their
    first picture.

    Args:
        photo: the picture file.
        upright: apply EXIF orientation.

    Raises:
        InputError: if the file is missing, damaged, too large or in a format that is not read.
    """
    with _opened(photo) as image:
        orientation = _exif(image)[0] if upright else 1
        image.load()
        rgb = _to_rgb(image)
        return rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb


def photo_size(photo: Photo, upright: bool = True) -> tuple[int, int]:
    """Width and height in pixels of the photo as `open_photo` decodes it, from its header only.

    Raises:
        InputError: as `open_photo`, as far as the header tells.
    """
    header = read_header(photo, upright)
    return header.width_px, header.height_px


def read_header(photo: Photo, upright: bool = True) -> PhotoHeader:
    """Size and time of a photo without decoding it.

    Raises:
        InputError: as `open_photo`, as far as the header tells.
    """
    with _opened(photo) as image:
        width, height = image.size
        orientation, taken = _exif(image)
        if upright and orientation in _LYING_ON_ITS_SIDE:
            width, height = height, width
        return PhotoHeader(width, height, taken)


@dataclass(frozen=True)
class ImageFit:
    """How a picture was resized and then cropped. All lengths are whole pixels.

    Attributes:
        source_width_px, source_height_px: the picture as stored (upright).
        resized_width_px, resized_height_px: after resizing, before the crop.
        left_px, top_px: the crop's first column and row in the resized picture.
        width_px, height_px: size of the crop, which is the fitted picture.
    """

    source_width_px: int
    source_height_px: int
    resized_width_px: int
    resized_height_px: int
    left_px: int
    top_px: int
    width_px: int
    height_px: int

    def intrinsics_to_fitted(self, fxfycxcy_px: ArrayLike) -> np.ndarray:
        """Pinhole intrinsics `fx, fy, cx, cy` [..., 4] of the source -> float64 of the fitted picture."""
        return np.asarray(fxfycxcy_px, np.float64) * self._scale - self._offset

    def intrinsics_to_source(self, fxfycxcy_px: ArrayLike) -> np.ndarray:
        """Pinhole intrinsics `fx, fy, cx, cy` [..., 4] of the fitted picture -> float64 of the source."""
        return (np.asarray(fxfycxcy_px, np.float64) + self._offset) / self._scale

    def apply(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """Resize (Lanczos) and crop a picture of the source's size: an RGB image, or uint8 [h, w, 3] pixels.

        Returns:
            uint8 [height_px, width_px, 3]; the given pixels themselves where nothing is to be done.

        Raises:
            ValueError: if the picture does not have the source's size.
        """
        width, height = (image.shape[1], image.shape[0]) if isinstance(image, np.ndarray) else image.size
        if (width, height) != (self.source_width_px, self.source_height_px):
            expected = f"{self.source_width_px}x{self.source_height_px}"
            raise ValueError(f"the picture has {width}x{height} pixels, expected {expected}")
        if self._changes_nothing:
            return np.asarray(image)
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        # resize(box=...) would be cheaper, but rounds otherwise than resizing the whole picture
        resized = picture.resize((self.resized_width_px, self.resized_height_px), Image.Resampling.LANCZOS)
        right, bottom = self.left_px + self.width_px, self.top_px + self.height_px
        return np.asarray(resized.crop((self.left_px, self.top_px, right, bottom)))

    @property
    def _changes_nothing(self) -> bool:
        """Whether pictures, as packed scenes hold them, have their final size already."""
        source, resized = (self.source_width_px, self.source_height_px), (self.resized_width_px, self.resized_height_px)
        return source == resized == (self.width_px, self.height_px)

    @property
    def _scale(self) -> np.ndarray:
        x = self.resized_width_px / self.source_width_px
        y = self.resized_height_px / self.source_height_px
        return np.array([x, y, x, y])

    @property
    def _offset(self) -> np.ndarray:
        return np.array([0.0, 0.0, self.left_px, self.top_px])


@lru_cache(maxsize=256)  # of every frame of every scene, while most have one size
def fit_cover(source_width: int, source_height: int, width: int, height: int, patch_size: int) -> ImageFit:
    """Resize a picture until it covers `width` x `height` pixels, then crop its centre.

    The side that sticks out is rounded to whole patches before the crop, as the reference does it; so fx and
    fy are scaled by slightly different factors.

    Raises:
        ValueError: if a size is not positive or the target is not made of whole patches.
    """
    if min(source_width, source_height, width, height, patch_size) < 1:
        raise ValueError("image and patch sizes must be positive")
    if width % patch_size or height % patch_size:
        raise ValueError(f"an image of {width}x{height} pixels is not made of whole patches of {patch_size}")
    if source_width * height >= width * source_height:
        resized_width = _long_side(height, source_height, source_width, patch_size, at_least=width)
        resized_height = height
    else:
        resized_width = width
        resized_height = _long_side(width, source_width, source_height, patch_size, at_least=height)
    left, top = (resized_width - width) // 2, (resized_height - height) // 2
    return ImageFit(source_width, source_height, resized_width, resized_height, left, top, width, height)


@dataclass(frozen=True)
class Preprocessing:
    """How the pictures of a data set become what a model takes, as the reference's loader does it.

    Attributes:
        image_size: the short side in pixels, a multiple of `patch_size`.
        patch_size: the long side is rounded to whole patches before any crop.
        square_crop: crop the centre of the long side; otherwise the picture keeps its (rounded) aspect.
    """

    image_size: int = 256
    patch_size: int = 16
    square_crop: bool = True

    def __post_init__(self) -> None:
        if self.patch_size < 1 or self.image_size < 1 or self.image_size % self.patch_size:
            size = f"an image size of {self.image_size} pixels"
            raise InputError(f"{size} is not made of whole patches of {self.patch_size}; choose a multiple")

    def fit(self, width_px: int, height_px: int) -> ImageFit:
        """How a picture of this size is resized and cropped."""
        width = height = self.image_size
        if not self.square_crop and width_px > height_px:
            width = _long_side(height, height_px, width_px, self.patch_size, at_least=height)
        elif not self.square_crop:
            height = _long_side(width, width_px, height_px, self.patch_size, at_least=width)
        return fit_cover(width_px, height_px, width, height, self.patch_size)


def _long_side(target: int, source: int, source_long: int, patch_size: int, at_least: int) -> int:
    # The order of the floating-point operations and Python's round (ties to even) are the reference's.
    # With patches of 1 or 2 pixels, int() of a product just below a whole number would be too short to crop.
    return max(round(int(target / source * source_long) / patch_size) * patch_size, at_least)


@contextmanager
def _opened(photo: Photo) -> Iterator[Image.Image]:
    """An opened, not yet decoded picture of acceptable size; whatever goes wrong with it is an InputError."""
    photo = Path(photo) if isinstance(photo, str) else photo
    try:
        with photo.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow only warns of huge pictures (we refuse) and odd EXIF
            with Image.open(file, formats=_formats(file, photo)) as image:
                _check_size(photo, *image.size)
                yield image
    except InputError:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly everything, MemoryError included
        raise InputError(f"{photo}: {_explain(error)}") from error


def _formats(file: BinaryIO, photo: Photo) -> tuple[str, ...]:
    """The formats that may be tried; HEIC is told by its content, because many are named .jpg."""
    start = file.read(12)
    file.seek(0)
    if start[4:8] != b"ftyp" or start[8:12] not in _HEIF_BRANDS:
        return _FORMATS
    try:
        import pillow_heif
    except ImportError:
        message = 'is a HEIC photo; install HEIC support with `pip install "rayzer[heic]"` or save it as JPEG'
        raise InputError(f"{photo}: {message}") from None
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _check_size(photo: Photo, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        limit = f"more than the {MAX_PIXELS // 1_000_000} megapixels that are read"
        raise InputError(f"{photo}: has {width}x{height} pixels, {limit}; save a smaller copy")
    if max(width, height) > MAX_ASPECT * min(width, height):
        limit = f"one side more than {MAX_ASPECT} times the other"
        raise InputError(f"{photo}: has {width}x{height} pixels, {limit}; crop it or leave it out")


def _explain(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file; check the path"
        case IsADirectoryError():
            return "is a folder, not a picture; give a file"
        case PermissionError():
            return "may not be read; check its permissions"
        case UnidentifiedImageError():
            return "is not a picture in a format that is read; save it as JPEG or PNG"
        case Image.DecompressionBombError():
            return f"has more than the {MAX_PIXELS // 1_000_000} megapixels that are read; save a smaller copy"
    detail = " ".join(str(error).split()) or type(error).__name__
    return f"is damaged or cannot be decoded ({detail}); copy it again, or save it as 8-bit JPEG or PNG"


def _exif(image: Image.Image) -> tuple[int, str | None]:
    """EXIF orientation (1 when there is none) and time of exposure, without decoding the picture."""
    with suppress(Exception):  # broken EXIF does not make a broken picture
        exif = Image.Image.getexif(image)  # PngImageFile.getexif would decode the whole picture
        taken = str(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal, ""))
        known = re.fullmatch(r"[12]\d{3}:\d\d:\d\d \d\d:\d\d:\d\d", taken)
        return exif.get(ExifTags.Base.Orientation, 1), taken if known else None
    return 1, None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # convert("RGB") would clip to white instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")

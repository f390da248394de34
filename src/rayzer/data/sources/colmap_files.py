"""The files of COLMAP sparse models, record by record: text, and little-endian binary."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayzer.data.exchange import Lens, usable_intrinsics
from rayzer.data.strict_json import side_px
from rayzer.errors import InputError

# Position is the number in binary files; None: a model that is not a pinhole with OpenCV distortion.
_MODELS: dict[str, tuple[str, ...] | None] = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": None,
    "FULL_OPENCV": None,
    "FOV": None,
    "SIMPLE_RADIAL_FISHEYE": None,
    "RADIAL_FISHEYE": None,
    "THIN_PRISM_FISHEYE": None,
}
_SMALLEST_CAMERA = struct.calcsize("<IiQQ3d")
_SMALLEST_IMAGE = struct.calcsize("<I7dIxQ")
_POINT = struct.calcsize("<2dQ")
_POINT_ID = re.compile(r"-?\d+")


@dataclass(frozen=True)
class ImageRecord:
    """One picture: its name, its camera, and its pose."""

    name: str
    camera_id: int
    wxyz: tuple[float, ...]  # camera from world
    translation: tuple[float, ...]


def _camera(model: str, size: tuple[int, int], params: Sequence[float], where: str) -> Lens:
    names = _MODELS.get(model)
    if names is None:
        known = ", ".join(name for name, names in _MODELS.items() if names)
        raise InputError(f"{where}: camera model {model} is not read (only {known}); undistort the pictures first")
    if len(params) != len(names):
        raise InputError(f"{where}: {model} has {len(names)} parameters, found {len(params)}; export again")
    if not all(map(math.isfinite, params)):
        raise InputError(f"{where}: a parameter is not finite; export the model again")
    value = dict(zip(names, params, strict=True))
    fx, fy = value.get("fx", value.get("f", 0.0)), value.get("fy", value.get("f", 0.0))
    distortion = tuple(value.get(key, 0.0) for key in ("k1", "k2", "p1", "p2"))
    return Lens(
        side_px(size[0], f"{where}: width"),
        side_px(size[1], f"{where}: height"),
        usable_intrinsics((fx, fy, value["cx"], value["cy"]), where),
        distortion if any(distortion) else (),
    )


def _params(camera: Lens) -> tuple[str, tuple[float, ...]]:
    return ("OPENCV" if camera.distortion else "PINHOLE"), camera.fxfycxcy_px + camera.distortion


# ---- binary files


class _Bytes:
    """A binary file read from front to back; whatever does not fit is an InputError that names the file."""

    def __init__(self, path: Path):
        self.path = path
        self.data = _contents(path)
        self.position = 0

    def take(self, layout: str) -> tuple:
        """The next values of a `struct` layout."""
        start = self.position
        self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.data, start)

    def skip(self, size: int) -> None:
        if size > len(self.data) - self.position:
            raise InputError(f"{self.path}: ends too early (damaged or cut off); copy or export it again")
        self.position += size

    def count(self, smallest: int) -> int:
        """A number of items that take at least `smallest` bytes each: more than can follow are refused."""
        (count,) = self.take("<Q")
        if count * smallest > len(self.data) - self.position:
            raise InputError(f"{self.path}: ends too early for {count} entries; copy or export it again")
        return count

    def text(self) -> str:
        """UTF-8 up to the next zero byte."""
        start, end = self.position, self.data.find(b"\0", self.position)
        self.skip((end if end >= 0 else len(self.data)) + 1 - start)
        return _decoded(self.data[start:end], self.path)

    def finish(self) -> None:
        if self.position != len(self.data):
            raise InputError(f"{self.path}: goes on after its last entry (damaged?); copy or export it again")


def _cameras_from_binary(path: Path) -> dict[int, Lens]:
    file = _Bytes(path)
    cameras: dict[int, Lens] = {}
    for _ in range(file.count(_SMALLEST_CAMERA)):
        camera_id, number, width, height = file.take("<IiQQ")
        model = list(_MODELS)[number] if 0 <= number < len(_MODELS) else f"number {number}"
        params = file.take(f"<{len(_MODELS.get(model) or ())}d")
        _add_camera(cameras, camera_id, _camera(model, (width, height), params, f"{path}: camera {camera_id}"), path)
    file.finish()
    return cameras


def _images_from_binary(path: Path) -> list[ImageRecord]:
    file = _Bytes(path)
    images = []
    for _ in range(file.count(_SMALLEST_IMAGE)):
        _, *pose, camera_id = file.take("<I7dI")
        name = file.text()
        file.skip(_POINT * file.count(_POINT))
        images.append(ImageRecord(name, camera_id, tuple(pose[:4]), tuple(pose[4:])))
    file.finish()
    return images


def cameras_binary(camera_ids: dict[Lens, int]) -> bytes:
    """The content of `cameras.bin`."""
    parts = [struct.pack("<Q", len(camera_ids))]
    for camera, camera_id in camera_ids.items():
        model, params = _params(camera)
        number = list(_MODELS).index(model)
        parts.append(struct.pack("<IiQQ", camera_id, number, camera.width_px, camera.height_px))
        parts.append(struct.pack(f"<{len(params)}d", *params))
    return b"".join(parts)


def images_binary(images: Sequence[ImageRecord]) -> bytes:
    """The content of `images.bin`, numbered from 1, without points."""
    parts = [struct.pack("<Q", len(images))]
    for image_id, image in enumerate(images, start=1):
        parts.append(struct.pack("<I7dI", image_id, *image.wxyz, *image.translation, image.camera_id))
        parts.append(image.name.encode() + b"\0" + struct.pack("<Q", 0))
    return b"".join(parts)


# ---- text files


def _cameras_from_text(path: Path) -> dict[int, Lens]:
    cameras: dict[int, Lens] = {}
    for number, line in _lines(path):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        where = f"{path}: line {number}"
        if len(fields) < 4:
            raise InputError(f"{where}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS; export the model again")
        camera_id, width, height = _integers((fields[0], *fields[2:4]), where)
        camera = _camera(fields[1], (width, height), _floats(fields[4:], where), where)
        _add_camera(cameras, camera_id, camera, path)
    return cameras


def _images_from_text(path: Path) -> list[ImageRecord]:
    """Two lines an image: the second holds its points and may be empty."""
    images = []
    lines = _lines(path)
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        fields = line.split(maxsplit=9)
        where = f"{path}: line {number}"
        if len(fields) < 10:
            raise InputError(f"{where}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME; export again")
        pose = _floats(fields[1:8], where)
        _, camera_id = _integers((fields[0], fields[8]), where)
        images.append(ImageRecord(fields[9], camera_id, pose[:4], pose[4:]))
        if not _is_points(next(lines, (0, ""))[1]):  # else every second image would be lost unnoticed
            raise InputError(f"{path}: line {number + 1}: expected the points of the image above, or an empty line")
    return images


def _is_points(line: str) -> bool:
    """Whether a line holds `X Y POINT3D_ID` any number of times; the line of an image does not."""
    fields = line.split()
    return len(fields) % 3 == 0 and all(map(_POINT_ID.fullmatch, fields[2::3]))


def cameras_text(camera_ids: dict[Lens, int]) -> list[str]:
    """The lines of `cameras.txt`."""
    lines = []
    for camera, camera_id in camera_ids.items():
        model, params = _params(camera)
        numbers = " ".join(map(repr, params))
        lines.append(f"{camera_id} {model} {camera.width_px} {camera.height_px} {numbers}")
    return lines


def images_text(images: Sequence[ImageRecord]) -> list[str]:
    """The lines of `images.txt`, two an image, numbered from 1, without points."""
    lines = []
    for image_id, image in enumerate(images, start=1):
        numbers = " ".join(map(repr, image.wxyz + image.translation))
        lines += [f"{image_id} {numbers} {image.camera_id} {image.name}", ""]
    return lines


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines numbered from 1, without the space around them; only line feeds end a line."""
    lines = _decoded(_contents(path), path).split("\n")
    return ((number, line.strip()) for number, line in enumerate(lines, start=1))


def _integers(fields: Sequence[str], where: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, fields))
    except ValueError:
        raise InputError(f"{where}: expected whole numbers, got {' '.join(fields)[:60]!r}; export again") from None


def _floats(fields: Sequence[str], where: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, fields))
    except ValueError:
        raise InputError(f"{where}: expected numbers, got {' '.join(fields)[:60]!r}; export again") from None


# ---- both


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: holds text that is not UTF-8; export the model again") from error


def _add_camera(cameras: dict[int, Lens], camera_id: int, camera: Lens, path: Path) -> None:
    if camera_id in cameras:
        raise InputError(f"{path}: camera {camera_id} is listed twice; export the model again")
    cameras[camera_id] = camera


READERS = {
    ".bin": (_cameras_from_binary, _images_from_binary),
    ".txt": (_cameras_from_text, _images_from_text),
}

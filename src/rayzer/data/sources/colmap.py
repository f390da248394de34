"""COLMAP sparse models, text and binary: cameras and images; 3D points are neither read nor written.

Poses in the files are world to camera (`x_camera = R x_world + t`), axes OpenCV's, quaternions `w x y z`,
intrinsics in pixels with the centre of the first pixel at 0.5. Binary files are little endian.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rayzer.data.exchange import Intrinsics, known_camera, opencv_distortion, usable_intrinsics
from rayzer.data.scenes import Frame, Scene
from rayzer.data.strict_json import checked_rigid, inner_path, side_px
from rayzer.errors import InputError

_PLACES = ("sparse/0", "sparse", "colmap/sparse/0", ".")  # where gsplat and nerfstudio look, in this order
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
_UNWRITABLE = re.compile(r"[\0\r\n\ud800-\udfff]")  # ends a name or a line, or is half of a character
_UNIT_TOLERANCE = 1e-2  # hand-written quaternions have few digits


@dataclass(frozen=True)
class _Camera:
    width_px: int
    height_px: int
    fxfycxcy_px: Intrinsics
    distortion: tuple[float, ...]  # k1, k2, p1, p2, or empty


@dataclass(frozen=True)
class _Image:
    name: str
    camera_id: int
    wxyz: tuple[float, ...]  # camera from world
    translation: tuple[float, ...]


def read_colmap(folder: Path, *, need_images: bool = True, allow_outside: bool = False) -> Scene:
    """Read a scene; frames are sorted by name.

    Args:
        folder: a scene (`sparse/0`, `sparse` or `colmap/sparse/0` inside, pictures in `images/`), or the
            folder that holds the model itself. Binary files are preferred to text.
        need_images: whether a missing picture is an error.
        allow_outside: accept picture names that lead out of `images/`.

    Returns:
        a scene with all poses (OpenCV axes) and intrinsics in pixels of the size that the model states.

    Raises:
        InputError: naming the file, if there is no model, it is damaged, its camera model is not read, or a
            picture is missing.
    """
    model, suffix = _find_model(folder)
    cameras_file, images_file = model / f"cameras{suffix}", model / f"images{suffix}"
    read_cameras, read_images = _READERS[suffix]
    cameras, images = read_cameras(cameras_file), read_images(images_file)
    if not images:
        raise InputError(f"{images_file}: holds no images; reconstruct the scene again")
    _refuse_twins(images, images_file)
    root = _scene_root(folder, model)
    frames = []
    for image in sorted(images, key=lambda image: image.name):
        where = f"{images_file}: image {image.name!r}"
        picture = inner_path(root / "images", image.name, where, allow_outside=allow_outside)
        if need_images and not picture.is_file():
            raise InputError(f"{where}: {picture} does not exist; put the pictures into {root / 'images'}")
        frames.append(_frame(image, cameras, picture, where))
    return Scene(root.resolve().name, tuple(frames), folder)


def write_colmap(folder: Path, frames: Sequence[Frame], note: str) -> None:
    """Write a model as text and as binary, with one camera per distinct lens and no points.

    COLMAP prefers the binary files; from text it would read names up to their first space only.

    Args:
        folder: usually `OUT/sparse/0`, with the pictures in `OUT/images`; made if missing.
        frames: with known cameras and distinct names; PINHOLE, or OPENCV where they have distortion.
        note: what a reader should know; stands in the text files as comments and in `README.txt`.

    Raises:
        InputError: naming the frame, if its camera is unknown or the format cannot hold its name.
    """
    _check_names(frames)
    lenses = [_lens(frame) for frame in frames]
    camera_ids = {lens: number for number, lens in enumerate(dict.fromkeys(lenses), start=1)}
    images = [
        _Image(frame.name, camera_ids[lens], *_camera_from_world(known_camera(frame)[0]))
        for frame, lens in zip(frames, lenses, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.bin").write_bytes(_cameras_binary(camera_ids))
    (folder / "images.bin").write_bytes(_images_binary(images))
    (folder / "points3D.bin").write_bytes(struct.pack("<Q", 0))
    comments = [*note.splitlines(), ""]
    _write_text(
        folder / "cameras.txt",
        [*comments, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"],
        _cameras_text(camera_ids),
    )
    image_help = ["IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", "POINTS2D[] as X Y POINT3D_ID (none here)"]
    _write_text(folder / "images.txt", [*comments, *image_help], _images_text(images))
    _write_text(folder / "points3D.txt", [*comments, "POINT3D_ID X Y Z R G B ERROR TRACK[] (none here)"], [])
    (folder / "README.txt").write_text(note.rstrip("\n") + "\n", encoding="utf-8")


# ---- finding


def _find_model(folder: Path) -> tuple[Path, str]:
    """Folder and suffix of the first complete model."""
    for place in _PLACES:
        for suffix in _READERS:
            if all((folder / place / f"{stem}{suffix}").is_file() for stem in ("cameras", "images")):
                return folder / place, suffix
    raise InputError(
        f"{folder}: no COLMAP model in sparse/0, sparse, colmap/sparse/0 or the folder itself; "
        "a model is a pair of files cameras and images, .bin or .txt"
    )


def _scene_root(folder: Path, model: Path) -> Path:
    """The folder that holds `images/`: the one given, or at most two above the model."""
    above = (Path(os.path.normpath(model / up)) for up in ("..", "../.."))
    return next((place for place in (folder, *above) if (place / "images").is_dir()), folder)


# ---- model to frames


def _camera(model: str, size: tuple[int, int], params: Sequence[float], where: str) -> _Camera:
    names = _MODELS.get(model)
    if names is None:
        known = ", ".join(name for name, names in _MODELS.items() if names)
        raise InputError(
            f"{where}: camera model {model} is not read (only {known}); undistort the pictures first"
        )
    if len(params) != len(names):
        raise InputError(f"{where}: {model} has {len(names)} parameters, found {len(params)}; export again")
    if not all(map(math.isfinite, params)):
        raise InputError(f"{where}: a parameter is not finite; export the model again")
    value = dict(zip(names, params, strict=True))
    fx, fy = value.get("fx", value.get("f", 0.0)), value.get("fy", value.get("f", 0.0))
    distortion = tuple(value.get(key, 0.0) for key in ("k1", "k2", "p1", "p2"))
    return _Camera(
        side_px(size[0], f"{where}: width"),
        side_px(size[1], f"{where}: height"),
        usable_intrinsics((fx, fy, value["cx"], value["cy"]), where),
        distortion if any(distortion) else (),
    )


def _frame(image: _Image, cameras: dict[int, _Camera], picture: Path, where: str) -> Frame:
    camera = cameras.get(image.camera_id)
    if camera is None:
        raise InputError(f"{where}: its camera {image.camera_id} is not in the model; export the model again")
    if not abs(math.hypot(*image.wxyz) - 1) <= _UNIT_TOLERANCE:  # put so that NaN is refused as well
        raise InputError(f"{where}: its quaternion has not length 1; export the model again")
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = _rotation(image.wxyz)
    camera_from_world[:3, 3] = image.translation
    checked_rigid(camera_from_world, where)
    rotation = camera_from_world[:3, :3].T
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ image.translation
    size = camera.width_px, camera.height_px
    return Frame(image.name, picture, *size, camera.fxfycxcy_px, camera.distortion, pose)


def _refuse_twins(images: Sequence[_Image], file: Path) -> None:
    seen: set[str] = set()
    for image in images:
        if image.name in seen:
            raise InputError(f"{file}: image {image.name!r} is listed twice; export the model again")
        seen.add(image.name)


def _rotation(wxyz: Sequence[float]) -> np.ndarray:
    """Rotation matrix [3, 3] of a quaternion of any length but 0."""
    w, x, y, z = np.asarray(wxyz) / math.hypot(*wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """`w x y z` with w >= 0 of the rotation nearest to a matrix [3, 3].

    It is the eigenvector of the largest eigenvalue of a symmetric matrix, which has no special cases
    (Bar-Itzhack 2000, "New method for extracting the quaternion from a rotation matrix").
    """
    (a, b, c), (d, e, f), (g, h, i) = rotation
    symmetric = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ]
    )
    wxyz = np.linalg.eigh(symmetric)[1][:, -1]
    return -wxyz if wxyz[0] < 0 else wxyz


# ---- frames to model


def _check_names(frames: Sequence[Frame]) -> None:
    seen: set[str] = set()
    for name in (frame.name for frame in frames):
        if not name or name != name.strip() or _UNWRITABLE.search(name):
            raise InputError(f"{name!r}: COLMAP files cannot hold this name; rename the picture")
        if name in seen:
            raise InputError(f"{name}: two frames have this name; COLMAP needs distinct names")
        seen.add(name)


def _lens(frame: Frame) -> _Camera:
    distortion = opencv_distortion(frame)
    intrinsics = known_camera(frame)[1]
    return _Camera(frame.width_px, frame.height_px, intrinsics, distortion if any(distortion) else ())


def _camera_from_world(pose: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Quaternion and translation; the centre stays where it is even if the pose is not quite rigid."""
    wxyz = tuple(_quaternion(pose[:3, :3].T).tolist())
    return wxyz, tuple((-_rotation(wxyz) @ pose[:3, 3]).tolist())


def _params(camera: _Camera) -> tuple[str, tuple[float, ...]]:
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


def _cameras_from_binary(path: Path) -> dict[int, _Camera]:
    file = _Bytes(path)
    cameras: dict[int, _Camera] = {}
    for _ in range(file.count(_SMALLEST_CAMERA)):
        camera_id, number, width, height = file.take("<IiQQ")
        model = list(_MODELS)[number] if 0 <= number < len(_MODELS) else f"number {number}"
        params = file.take(f"<{len(_MODELS.get(model) or ())}d")
        _add_camera(
            cameras, camera_id, _camera(model, (width, height), params, f"{path}: camera {camera_id}"), path
        )
    file.finish()
    return cameras


def _images_from_binary(path: Path) -> list[_Image]:
    file = _Bytes(path)
    images = []
    for _ in range(file.count(_SMALLEST_IMAGE)):
        _, *pose, camera_id = file.take("<I7dI")
        name = file.text()
        file.skip(_POINT * file.count(_POINT))
        images.append(_Image(name, camera_id, tuple(pose[:4]), tuple(pose[4:])))
    file.finish()
    return images


def _cameras_binary(camera_ids: dict[_Camera, int]) -> bytes:
    parts = [struct.pack("<Q", len(camera_ids))]
    for camera, camera_id in camera_ids.items():
        model, params = _params(camera)
        number = list(_MODELS).index(model)
        parts.append(struct.pack("<IiQQ", camera_id, number, camera.width_px, camera.height_px))
        parts.append(struct.pack(f"<{len(params)}d", *params))
    return b"".join(parts)


def _images_binary(images: Sequence[_Image]) -> bytes:
    parts = [struct.pack("<Q", len(images))]
    for image_id, image in enumerate(images, start=1):
        parts.append(struct.pack("<I7dI", image_id, *image.wxyz, *image.translation, image.camera_id))
        parts.append(image.name.encode() + b"\0" + struct.pack("<Q", 0))
    return b"".join(parts)


# ---- text files


def _cameras_from_text(path: Path) -> dict[int, _Camera]:
    cameras: dict[int, _Camera] = {}
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


def _images_from_text(path: Path) -> list[_Image]:
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
        images.append(_Image(fields[9], camera_id, pose[:4], pose[4:]))
        if not _is_points(next(lines, (0, ""))[1]):  # else every second image would be lost unnoticed
            raise InputError(
                f"{path}: line {number + 1}: expected the points of the image above, or an empty line"
            )
    return images


def _is_points(line: str) -> bool:
    """Whether a line holds `X Y POINT3D_ID` any number of times; the line of an image does not."""
    fields = line.split()
    return len(fields) % 3 == 0 and all(map(_POINT_ID.fullmatch, fields[2::3]))


def _cameras_text(camera_ids: dict[_Camera, int]) -> list[str]:
    lines = []
    for camera, camera_id in camera_ids.items():
        model, params = _params(camera)
        numbers = " ".join(map(repr, params))
        lines.append(f"{camera_id} {model} {camera.width_px} {camera.height_px} {numbers}")
    return lines


def _images_text(images: Sequence[_Image]) -> list[str]:
    lines = []
    for image_id, image in enumerate(images, start=1):
        numbers = " ".join(map(repr, image.wxyz + image.translation))
        lines += [f"{image_id} {numbers} {image.camera_id} {image.name}", ""]
    return lines


def _write_text(path: Path, comments: Sequence[str], lines: Sequence[str]) -> None:
    commented = [f"# {comment}".rstrip() for comment in comments]
    path.write_text("\n".join([*commented, *lines]) + "\n", encoding="utf-8", newline="\n")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines numbered from 1, without the space around them; only line feeds end a line."""
    lines = _decoded(_contents(path), path).split("\n")
    return ((number, line.strip()) for number, line in enumerate(lines, start=1))


def _integers(fields: Sequence[str], where: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, fields))
    except ValueError:
        raise InputError(
            f"{where}: expected whole numbers, got {' '.join(fields)[:60]!r}; export again"
        ) from None


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
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: holds text that is not UTF-8; export the model again") from error


def _add_camera(cameras: dict[int, _Camera], camera_id: int, camera: _Camera, path: Path) -> None:
    if camera_id in cameras:
        raise InputError(f"{path}: camera {camera_id} is listed twice; export the model again")
    cameras[camera_id] = camera


_READERS = {
    ".bin": (_cameras_from_binary, _images_from_binary),
    ".txt": (_cameras_from_text, _images_from_text),
}

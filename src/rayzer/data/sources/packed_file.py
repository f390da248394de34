"""Packed scenes: all pictures of one scene, fitted once, in one safetensors file that any tool can open.

    images             uint8 [n, h, w, 3]   RGB, resized and cropped
    rows               int64 [frames]       row of each frame in the tensors of n rows; -1: there is no picture
    world_from_camera  float64 [n, 4, 4]    OpenCV axes; NaN where unknown, absent if unknown everywhere
    fxfycxcy_px        float64 [n, 4]       in pixels of the fitted picture; likewise
    distortion         float64 [n, k]       OpenCV coefficients; absent if there is none
    depth_m            float16 [n, r, c]    along the optical axis, at the centres of r x c equal cells of the picture,
                                            in the unit of the poses; likewise

Metadata: `format`, `version`, and `scene`: JSON with the scene's name, the preprocessing, and of every frame its
name, time, source file and original size. `images` come last in the file, so that a scene can be read without them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from rayzer.data.images import ImageFit, Preprocessing
from rayzer.data.scenes import Frame
from rayzer.data.strict_json import MAX_DISTANCE, MAX_SIDE_PX, RIGID_TOLERANCE, start_of
from rayzer.errors import InputError

FORMAT, VERSION = "rayzer-packed-scene", "1"
SUFFIX = ".safetensors"

_START_BYTES = 4096
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_DTYPES = {"F64": np.dtype("<f8"), "F16": np.dtype("<f2"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


@dataclass(frozen=True, eq=False)
class PackedImage:
    """One row of `images`; a `StoredImage`.

    Attributes:
        path, offset: where its bytes lie.
        fit: how it was resized and cropped from the original picture.
    """

    path: Path
    offset: int
    fit: ImageFit

    def load(self) -> np.ndarray:
        """Read it: uint8 [h, w, 3].

        Raises:
            InputError: naming the file, if it cannot be read.
        """
        (pixels,) = load_rows(self.path, [self])
        return pixels

    def check_fit(self, asked: ImageFit) -> None:
        """Raise InputError unless the original picture would be resized and cropped as it was for this pack."""
        if asked != self.fit:
            have, want = _describe(self.fit), _describe(asked)
            raise InputError(f"{self.path}: its pictures are packed as {have}, not {want}; pack the originals that way")


def load_rows(path: Path, images: Iterable[PackedImage]) -> Iterator[np.ndarray]:
    """Pictures of one packed scene one after the other, uint8 [h, w, 3]; its file is opened once.

    Raises:
        InputError: naming the file, if it cannot be read.
    """
    try:  # not mapped into memory: a file that is cut off then would take the process with it
        with path.open("rb") as file:
            for image in images:
                pixels = np.empty((image.fit.height_px, image.fit.width_px, 3), np.uint8)
                file.seek(image.offset)
                if file.readinto(pixels.data) < pixels.nbytes:
                    raise ValueError("it ends too early")
                yield pixels
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error


@dataclass(frozen=True)
class FrameRecord:
    """What a packed scene says of one frame beside its tensors; times in seconds, sizes of the original picture."""

    name: str
    file: str | None
    time_s: float | None
    width_px: int
    height_px: int


@dataclass(frozen=True, eq=False)
class PackedScene:
    """The content of a packed scene apart from the pictures.

    Attributes:
        name: of the scene.
        preprocessing: how its pictures were fitted.
        frames: one record a frame, also of frames without a picture.
        rows: int64 [frames], -1 where a frame has no picture.
        cameras: `world_from_camera`, `fxfycxcy_px`, `distortion` and `depth_m`, as far as they are known; n rows each.
    """

    name: str
    preprocessing: Preprocessing
    frames: tuple[FrameRecord, ...]
    rows: np.ndarray
    cameras: dict[str, np.ndarray]


def looks_packed(path: Path) -> bool:
    """Whether a file is a packed scene, from its name and first bytes; never raises."""
    return path.suffix == SUFFIX and f'"{FORMAT}"'.encode() in start_of(path, _START_BYTES)


def write_packed_file(path: Path, scene: PackedScene, pixels: IO[bytes], shape: tuple[int, int, int, int]) -> str:
    """Write a packed scene and return its SHA-256 in hex.

    Args:
        path: the file; it is on the disk when this returns.
        scene: everything but the pictures.
        pixels: `images`, from the current position on.
        shape: of `images`, [n, h, w, 3].
    """
    tensors = {"rows": scene.rows.astype("<i8")}
    tensors |= {name: a.astype("<f2" if name == "depth_m" else "<f8") for name, a in scene.cameras.items()}
    header: dict[str, Any] = {"__metadata__": _metadata(scene)}
    end = 0
    for name, (dtype, its_shape) in {
        **{name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()},
        "images": (_DTYPES["U8"], shape),
    }.items():
        start, end = end, end + dtype.itemsize * math.prod(its_shape)
        header[name] = {"dtype": _CODES[dtype], "shape": list(its_shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # keeps the tensors aligned
    with path.open("w+b") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())
        shutil.copyfileobj(pixels, file, 2**20)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_packed_file(path: Path, with_cameras: bool = True) -> tuple[PackedScene, tuple[Frame, ...]]:
    """Read a packed scene; its pictures are read later, one by one.

    Args:
        path: the file.
        with_cameras: whether frames get their poses, intrinsics, distortion and depth.

    Returns:
        the content, and the frames: each of the size of its fitted picture.

    Raises:
        InputError: naming the file, if it is damaged, cut off, no packed scene or from a newer version.
    """
    try:
        with path.open("rb") as file:
            header, start = _header(path, file)
            scene, offset, shape = _content(file, header, start)
        return scene, _frames(path, scene, offset, shape, with_cameras)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check path and permissions") from error
    except _AnotherFormat:
        raise
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


class _AnotherFormat(InputError):
    """Not damaged, but no packed scene that this version reads."""


def _metadata(scene: PackedScene) -> dict[str, str]:
    content = {
        "name": scene.name,
        "preprocessing": asdict(scene.preprocessing),
        "frames": [asdict(frame) for frame in scene.frames],
    }
    return {"format": FORMAT, "version": VERSION, "scene": json.dumps(content, separators=(",", ":"), allow_nan=False)}


def _header(path: Path, file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors start."""
    size = int.from_bytes(file.read(8), "little")
    if not 0 < size <= _MAX_HEADER_BYTES:
        raise ValueError("no safetensors header")
    header = json.loads(file.read(size))
    metadata = header["__metadata__"]
    if metadata["format"] != FORMAT:
        raise _AnotherFormat(f"{path}: is no packed scene; give a file that `rayzer data pack` wrote")
    if metadata["version"] != VERSION:
        raise _AnotherFormat(f"{path}: is a packed scene of version {metadata['version']}; update rayzer to read it")
    return header, 8 + size


def _content(file: IO[bytes], header: dict[str, Any], start: int) -> tuple[PackedScene, int, tuple[int, ...]]:
    """Everything but the pictures, and where those start and their shape."""
    metadata = json.loads(header["__metadata__"]["scene"])
    images = header["images"]
    shape = tuple(int(side) for side in images["shape"])
    offset, end = (start + int(bound) for bound in images["data_offsets"])
    if len(shape) != 4 or min(shape) < 1 or shape[3] != 3 or end - offset != math.prod(shape):
        raise ValueError(f"images of shape {shape}")
    if os.fstat(file.fileno()).st_size < end:
        raise ValueError("it ends too early")
    tensors = {name: _tensor(file, header[name], start) for name in header if name not in ("__metadata__", "images")}
    frames = tuple(_record(frame) for frame in metadata["frames"])
    preprocessing = Preprocessing(**metadata["preprocessing"])
    if any(type(side) is not int for side in (preprocessing.image_size, preprocessing.patch_size)):
        raise ValueError(f"{preprocessing}")
    scene = PackedScene(str(metadata["name"]), preprocessing, frames, tensors.pop("rows"), tensors)
    if scene.rows.shape != (len(frames),) or not set(scene.rows.tolist()) <= set(range(-1, shape[0])):
        raise ValueError("rows do not fit the frames")
    if any(len(tensor) != shape[0] for tensor in tensors.values()):
        raise ValueError("cameras or depth do not fit the pictures")
    _check_cameras(**tensors)
    return scene, offset, shape


def _record(values: dict[str, Any]) -> FrameRecord:
    record = FrameRecord(**values)
    if not isinstance(record.name, str) or not isinstance(record.file, str | None):
        raise ValueError(f"frame {record.name!r}")
    if record.time_s is not None and (record.time_s is True or not math.isfinite(record.time_s)):
        raise ValueError(f"time of frame {record.name!r}")
    if any(type(side) is not int or not 0 <= side <= MAX_SIDE_PX for side in (record.width_px, record.height_px)):
        raise ValueError(f"size of frame {record.name!r}")
    return record


def _check_cameras(
    world_from_camera: np.ndarray | None = None,
    fxfycxcy_px: np.ndarray | None = None,
    distortion: np.ndarray | None = None,
    depth_m: np.ndarray | None = None,
) -> None:
    """Raise ValueError unless all known poses are rigid, intrinsics and distortion finite, and depths positive."""
    if world_from_camera is not None:
        poses = _known_rows(world_from_camera, (4, 4))
        if not np.abs(poses).max(initial=0.0) <= MAX_DISTANCE:  # put so that what is not finite fails as well
            raise ValueError("a pose is too far out")
        rotations = poses[:, :3, :3]
        skew = np.abs(rotations.transpose(0, 2, 1) @ rotations - np.eye(3)).max(initial=0.0)
        last_row = np.abs(poses[:, 3] - [0.0, 0.0, 0.0, 1.0]).max(initial=0.0)
        if max(skew, last_row) > 2 * RIGID_TOLERANCE:  # twice what scene files may have: inverting can add to it
            raise ValueError("a pose is not rigid")
        if not (np.linalg.det(rotations) > 0).all():
            raise ValueError("a pose is mirrored")
    if fxfycxcy_px is not None:
        intrinsics = _known_rows(fxfycxcy_px, (4,))
        if not (np.isfinite(intrinsics).all() and (intrinsics[:, :2] > 0).all()):
            raise ValueError("intrinsics are no camera's")
    if distortion is not None and not (distortion.ndim == 2 and np.isfinite(distortion).all()):
        raise ValueError("distortion is not finite")
    if depth_m is not None:
        depths = depth_m[~np.isnan(depth_m)]
        if depth_m.ndim != 3 or not depth_m.size or not ((depths > 0) & np.isfinite(depths)).all():
            raise ValueError("a depth is not in front of its camera")


def _known_rows(tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if tensor.shape[1:] != shape:
        raise ValueError(f"cameras of shape {tensor.shape}")
    return tensor[~_unknown_rows(tensor)]


def _tensor(file: IO[bytes], entry: dict[str, Any], start: int) -> np.ndarray:
    (first, end), dtype = entry["data_offsets"], _DTYPES[entry["dtype"]]
    if not 0 <= first <= end <= os.fstat(file.fileno()).st_size - start:
        raise ValueError("it ends too early")
    if min(entry["shape"]) < 0 or math.prod(entry["shape"]) * dtype.itemsize != end - first:
        raise ValueError(f"a tensor of shape {entry['shape']}")
    file.seek(start + first)
    return np.frombuffer(bytearray(file.read(end - first)), dtype).reshape(entry["shape"])


def _frames(
    path: Path, scene: PackedScene, offset: int, shape: tuple[int, ...], with_cameras: bool
) -> tuple[Frame, ...]:
    _, height, width, _ = shape
    poses, intrinsics, distortion = (
        _known(scene.cameras.get(name) if with_cameras else None, shape[0])
        for name in ("world_from_camera", "fxfycxcy_px", "distortion")
    )
    depth_m = scene.cameras.get("depth_m") if with_cameras else None
    frames = []
    for record, row in zip(scene.frames, scene.rows.tolist(), strict=True):
        if row < 0:
            frames.append(Frame(record.name, None, 0, 0, time_s=record.time_s))
            continue
        fit = scene.preprocessing.fit(record.width_px, record.height_px)
        if (fit.width_px, fit.height_px) != (width, height):
            raise ValueError(f"{record.name} is not {width}x{height}")
        image = PackedImage(path, offset + row * height * width * 3, fit)
        frame = _frame(record, image, intrinsics[row], distortion[row], poses[row])
        if depth_m is not None and not np.isnan(depth_m[row]).all():
            frame = replace(frame, depth_m=depth_m[row])
        frames.append(frame)
    return tuple(frames)


def _frame(
    record: FrameRecord,
    image: PackedImage,
    fxfycxcy_px: np.ndarray | None,
    distortion: np.ndarray | None,
    pose: np.ndarray | None,
) -> Frame:
    intrinsics = None
    if fxfycxcy_px is not None:
        fx, fy, cx, cy = fxfycxcy_px.tolist()
        intrinsics = fx, fy, cx, cy
    coefficients = tuple(distortion.tolist()) if distortion is not None and distortion.any() else ()
    size = image.fit.width_px, image.fit.height_px
    return Frame(record.name, image, *size, intrinsics, coefficients, pose, record.time_s)


def _known(tensor: np.ndarray | None, count: int) -> list[np.ndarray | None]:
    """The rows of a tensor of `count`, None where one is unknown."""
    if tensor is None:
        return [None] * count
    unknown = _unknown_rows(tensor).tolist()
    return [None if without else row for row, without in zip(tensor, unknown, strict=True)]


def _unknown_rows(tensor: np.ndarray) -> np.ndarray:
    """Whether a row is NaN anywhere: bool [n]."""
    return np.asarray(np.isnan(tensor).any(axis=tuple(range(1, tensor.ndim))))


def _describe(fit: ImageFit) -> str:
    return f"{fit.width_px}x{fit.height_px} pixels (cut out of {fit.resized_width_px}x{fit.resized_height_px})"


def _damaged(path: Path, problem: str) -> InputError:
    return InputError(f"{path}: is damaged ({problem}); pack the scene again, or restore the file")

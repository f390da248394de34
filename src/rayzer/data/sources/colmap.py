"""COLMAP sparse models, text and binary: cameras and images; 3D points are neither read nor written.

Poses in the files are world to camera (`x_camera = R x_world + t`), axes OpenCV's, quaternions `w x y z`,
intrinsics in pixels with the centre of the first pixel at 0.5. Binary files are little endian.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rayzer.data.exchange import Lens, inverse_rigid, known_camera, opencv_distortion
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.colmap_files import (
    READERS,
    ImageRecord,
    cameras_binary,
    cameras_text,
    images_binary,
    images_text,
)
from rayzer.data.sources.real_size import name_key, posed_frame, standing_folder
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.strict_json import checked_rigid, inner_path
from rayzer.errors import InputError
from rayzer.files import is_file, is_folder
from rayzer.geometry.rotations import quaternion_from_rotation, rotation_from_quaternion

_PLACES = ("sparse/0", "sparse", "colmap/sparse/0", ".")  # where gsplat and nerfstudio look, in this order
_UNWRITABLE = re.compile(r"[\0\r\n\ud800-\udfff]")  # ends a name or a line, or is half of a character
_UNIT_TOLERANCE = 1e-2  # hand-written quaternions have few digits


class Colmap(Source):
    """A COLMAP sparse model with its pictures."""

    name = "colmap"
    description = "a COLMAP sparse model (sparse/0 with images/; text or binary)"

    def recognises(self, path: Path) -> bool:
        """A folder with a model in one of the usual places."""
        return _model_in(path) is not None

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_colmap`."""
        return read_colmap(ref.path, options)


def read_colmap(folder: Path, options: ReadOptions = ReadOptions()) -> Scene:
    """Read a scene; frames are in natural order of their names (`frame_2` before `frame_10`).

    The model lists them in no order. gsplat and nerfstudio sort them as text, which is the same for zero-padded
    names; without padding only the natural order is that of capture.

    Args:
        folder: a scene (`sparse/0`, `sparse` or `colmap/sparse/0` inside, pictures in `images/`), or the
            folder that holds the model itself. Binary files are preferred to text. Where `images/` is absent,
            the largest of `images_2`, `images_4`, ... stands in for it; its pictures have the same names.
        options: how to read; a missing picture, one of another shape and a wrong pose are reported there.

    Returns:
        a scene with all poses (OpenCV axes) and intrinsics in pixels of the picture that is there, whatever
        size the model states (of that size for a missing picture).

    Raises:
        InputError: naming the file, if there is no model, it is damaged, its camera model is not read, or a
            picture is missing or not of the shape that the model states.
    """
    model, suffix = _find_model(folder)
    cameras_file, images_file = model / f"cameras{suffix}", model / f"images{suffix}"
    read_cameras, read_images = READERS[suffix]
    cameras, images = read_cameras(cameras_file) if options.cameras else {}, read_images(images_file)
    if not images:
        raise InputError(f"{images_file}: holds no images; reconstruct the scene again")
    _refuse_twins(images, images_file)
    root = _scene_root(folder, model)
    pictures = standing_folder(root / "images", root)
    images.sort(key=lambda image: name_key(Path(image.name)))
    frames = tuple(
        _frame(image, cameras, pictures, f"{images_file}: image {image.name!r}", options) for image in images
    )
    return Scene(root.resolve().name, frames, folder)


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
        ImageRecord(frame.name, camera_ids[lens], *_camera_from_world(known_camera(frame)[0]))
        for frame, lens in zip(frames, lenses, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.bin").write_bytes(cameras_binary(camera_ids))
    (folder / "images.bin").write_bytes(images_binary(images))
    (folder / "points3D.bin").write_bytes(struct.pack("<Q", 0))
    comments = [*note.splitlines(), ""]
    _write_text(
        folder / "cameras.txt",
        [*comments, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"],
        cameras_text(camera_ids),
    )
    image_help = ["IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", "POINTS2D[] as X Y POINT3D_ID (none here)"]
    _write_text(folder / "images.txt", [*comments, *image_help], images_text(images))
    _write_text(folder / "points3D.txt", [*comments, "POINT3D_ID X Y Z R G B ERROR TRACK[] (none here)"], [])
    (folder / "README.txt").write_text(note.rstrip("\n") + "\n", encoding="utf-8")


# ---- finding


def _find_model(folder: Path) -> tuple[Path, str]:
    model = _model_in(folder)
    if model is None:
        raise InputError(
            f"{folder}: no COLMAP model in sparse/0, sparse, colmap/sparse/0 or the folder itself; "
            "a model is a pair of files cameras and images, .bin or .txt"
        )
    return model


def _model_in(folder: Path) -> tuple[Path, str] | None:
    """Folder and suffix of the first complete model."""
    for place in _PLACES:
        for suffix in READERS:
            if all(is_file(folder / place / f"{stem}{suffix}") for stem in ("cameras", "images")):
                return folder / place, suffix
    return None


def _present(picture: Path, where: str, folder: Path) -> Path:
    if not is_file(picture):
        raise InputError(f"{where}: {picture} does not exist; put the pictures into {folder}")
    return picture


def _scene_root(folder: Path, model: Path) -> Path:
    """The folder that holds `images/`: the one given, or at most two above the model."""
    above = (Path(os.path.normpath(model / up)) for up in ("..", "../.."))
    places = (folder, *above)
    return next((place for place in places if is_folder(standing_folder(place / "images", place))), folder)


# ---- model to frames


def _frame(image: ImageRecord, cameras: dict[int, Lens], folder: Path, where: str, options: ReadOptions) -> Frame:
    lens = cameras.get(image.camera_id)
    if lens is None and options.cameras:
        raise InputError(f"{where}: its camera {image.camera_id} is not in the model; export the model again")
    path = inner_path(folder, image.name, where, allow_outside=options.allow_outside)
    picture = options.attempt("image", lambda: _present(path, where, folder))
    return posed_frame(image.name, picture, where, options, lens=lambda _: lens, pose=lambda: _pose(image, where))


def _pose(image: ImageRecord, where: str) -> np.ndarray:
    """`world_from_camera` float64 [4, 4]."""
    if not abs(math.hypot(*image.wxyz) - 1) <= _UNIT_TOLERANCE:  # put so that NaN is refused as well
        raise InputError(f"{where}: its quaternion has not length 1; export the model again")
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = _rotation(image.wxyz)
    camera_from_world[:3, 3] = image.translation
    return inverse_rigid(checked_rigid(camera_from_world, where))


def _refuse_twins(images: Sequence[ImageRecord], file: Path) -> None:
    seen: set[str] = set()
    for image in images:
        if image.name in seen:
            raise InputError(f"{file}: image {image.name!r} is listed twice; export the model again")
        seen.add(image.name)


def _rotation(wxyz: Sequence[float]) -> np.ndarray:
    """Rotation matrix float64 [3, 3] of a quaternion of any length but 0."""
    return rotation_from_quaternion(torch.tensor(wxyz, dtype=torch.float64)).numpy()


# ---- frames to model


def _write_text(path: Path, comments: Sequence[str], lines: Sequence[str]) -> None:
    commented = [f"# {comment}".rstrip() for comment in comments]
    path.write_text("\n".join([*commented, *lines]) + "\n", encoding="utf-8", newline="\n")


def _check_names(frames: Sequence[Frame]) -> None:
    seen: set[str] = set()
    for name in (frame.name for frame in frames):
        if not name or name != name.strip() or _UNWRITABLE.search(name):
            raise InputError(f"{name!r}: COLMAP files cannot hold this name; rename the picture")
        if name in seen:
            raise InputError(f"{name}: two frames have this name; COLMAP needs distinct names")
        seen.add(name)


def _lens(frame: Frame) -> Lens:
    distortion = opencv_distortion(frame)
    intrinsics = known_camera(frame)[1]
    return Lens(frame.width_px, frame.height_px, intrinsics, distortion if any(distortion) else ())


def _camera_from_world(pose: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Quaternion and translation; the centre stays where it is even if the pose is not quite rigid."""
    wxyz = tuple(quaternion_from_rotation(torch.from_numpy(pose[:3, :3].T)).tolist())
    return wxyz, tuple((-_rotation(wxyz) @ pose[:3, 3]).tolist())

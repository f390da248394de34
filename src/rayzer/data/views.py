"""From a scene on disk to images and cameras as a model takes them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rayzer.data.images import ImageFit, fit_cover, open_photo
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.folder import read_folder
from rayzer.data.sources.rayzer_json import FILE_NAME, read_rayzer_json
from rayzer.data.sources.video import read_video
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras

VIDEO_FRAMES = 24
VIDEO_SUFFIXES = frozenset(
    (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm")
)


@dataclass(frozen=True, eq=False)
class Views:
    """Pictures of one scene at one size, with their cameras where these are known.

    Attributes:
        images: float32 [v, 3, h, w] in [0, 1], RGB.
        cameras: float32 cameras [v] of the fitted pictures, poses as stored (not re-centred); None if poses
            or intrinsics are not known for every view.
        names: what a user knows each picture by.
        fits: how each picture was resized and cropped.
        times_s: time in the video, or None for a photo.
    """

    images: Tensor
    cameras: Cameras | None
    names: tuple[str, ...]
    fits: tuple[ImageFit, ...]
    times_s: tuple[float | None, ...]

    def __len__(self) -> int:
        return len(self.names)


def load_views(scene_json: Path | str, indices: Iterable[int], image_size: int = 256, patch_size: int = 16) -> Views:
    """Load frames of a RayZer scene file as square views, in the order given (repeats are fine).

    Args:
        scene_json: path of an `opencv_cameras.json`.
        indices: positions in the file's `frames`, from 0.
        image_size: side of the square in pixels, a multiple of `patch_size`.
        patch_size: the model's patch size in pixels; it rounds the size before the crop.

    Raises:
        InputError: if the scene or one of the pictures cannot be used, or there is no frame of an index.
        ValueError: if `image_size` is not a multiple of `patch_size`.
    """
    return decode_views(read_rayzer_json(scene_json), indices, image_size, image_size, patch_size)


def load_images(path: Path | str, count: int | None = None, image_size: int = 256, patch_size: int = 16) -> Views:
    """Load a folder of photos or a video as square views in their order.

    Args:
        path: folder, video or scene.
        count: how many views, evenly spaced (repeated when there are fewer); None for all photos of a folder
            and 24 frames of a video.
        image_size: side of the square in pixels, a multiple of `patch_size`.
        patch_size: the model's patch size in pixels; it rounds the size before the crop.

    Raises:
        InputError: if there is nothing to load or any photo cannot be read.
        ValueError: if `image_size` is not a multiple of `patch_size`, or `count` is less than 1.
    """
    scene = read_scene(path, video_frames=VIDEO_FRAMES if count is None else count)
    for _, message in scene.skipped:
        raise InputError(message)
    if not scene.frames:
        raise InputError(f"{path}: holds no photos; give a folder with photos or a video")
    indices = evenly_spaced(len(scene) if count is None else count, len(scene))
    return decode_views(scene, indices, image_size, image_size, patch_size)


def read_scene(
    path: Path | str,
    video_frames: int = VIDEO_FRAMES,
    allow_outside: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Scene:
    """Read a scene file (or the folder that holds it), a folder of photos or a video, whichever `path` is.

    Args:
        path: what to read.
        video_frames: how many frames of a video to choose.
        allow_outside: follow paths in a scene file that leave its folder.
        progress: called as `progress(done, total)` while a video is decoded.

    Raises:
        InputError: if `path` is none of these or cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        scene_file = path / FILE_NAME
        return read_rayzer_json(scene_file, allow_outside) if scene_file.exists() else read_folder(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder; check the path")
    if path.suffix.lower() == ".json":
        return read_rayzer_json(path, allow_outside)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return read_video(path, video_frames, progress)
    raise InputError(f"{path}: is neither a folder of photos, nor a video, nor a scene file; give one of these")


def decode_views(scene: Scene, indices: Iterable[int], width: int, height: int, patch_size: int) -> Views:
    """Decode frames of a scene, in the order given, resized and cropped to `width` x `height` pixels.

    Raises:
        InputError: if there is no frame of an index (names scene and frame), or one cannot be decoded (names
            its file).
        ValueError: if no index is given or the size is not made of whole patches.
    """
    frames = [_frame(scene, index) for index in indices]
    if not frames:
        raise ValueError("no frames were chosen")
    fits = {f: fit_cover(f.width_px, f.height_px, width, height, patch_size) for f in frames}
    decoded = {frame: _fitted(frame, fit) for frame, fit in fits.items()}  # repeated frames only once
    pixels = np.stack([decoded[frame] for frame in frames])
    return Views(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255,
        cameras=_cameras(frames, fits),
        names=tuple(frame.name for frame in frames),
        fits=tuple(fits[frame] for frame in frames),
        times_s=tuple(frame.time_s for frame in frames),
    )


def evenly_spaced(count: int, available: int) -> list[int]:
    """`count` of the indices 0 .. `available` - 1, ascending, evenly spaced, first and last included.

    With more than there are, every index comes equally often (to within one).

    Raises:
        ValueError: if either number is less than 1.
    """
    if count < 1 or available < 1:
        raise ValueError(f"cannot choose {count} of {available}")
    if count > available:
        return [k * available // count for k in range(count)]
    steps = max(count - 1, 1)
    return [(k * (available - 1) + steps // 2) // steps for k in range(count)]


def _frame(scene: Scene, index: int) -> Frame:
    index = operator.index(index)
    if not 0 <= index < len(scene):
        has = f"scene {scene.name!r} has frames 0 to {len(scene) - 1}" if len(scene) else "the scene is empty"
        raise InputError(f"{scene.source}: there is no frame {index}; {has}")
    return scene.frames[index]


def _fitted(frame: Frame, fit: ImageFit) -> np.ndarray:
    image = open_photo(frame.pixels) if isinstance(frame.pixels, Path) else Image.fromarray(frame.pixels)
    try:
        return fit.apply(image)
    except ValueError as error:
        raise InputError(f"{frame.pixels}: {error}; correct its size in the scene file") from error


def _cameras(frames: Sequence[Frame], fits: Mapping[Frame, ImageFit]) -> Cameras | None:
    poses = [frame.world_from_camera for frame in frames if frame.world_from_camera is not None]
    intrinsics = [_intrinsics(frame.fxfycxcy_px, fits[frame]) for frame in frames if frame.fxfycxcy_px is not None]
    if len(poses) < len(frames) or len(intrinsics) < len(frames):
        return None
    return Cameras(torch.from_numpy(np.stack(poses)).float(), torch.from_numpy(np.stack(intrinsics)).float())


def _intrinsics(fxfycxcy_px: Sequence[float], fit: ImageFit) -> np.ndarray:
    size = [fit.width_px, fit.height_px, fit.width_px, fit.height_px]
    return fit.intrinsics_to_fitted(fxfycxcy_px) / size

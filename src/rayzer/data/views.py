"""From a scene on disk to images and cameras as a model takes them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rayzer.data.formats import read_scene
from rayzer.data.images import EncodedImage, ImageFit, fit_cover, open_photo
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.packed_file import PackedImage, load_rows
from rayzer.data.sources.rayzer_json import read_rayzer_json
from rayzer.data.sources.source import VIDEO_FRAMES, ReadOptions
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras


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
    scene = read_scene(path, ReadOptions(video_frames=VIDEO_FRAMES if count is None else count))
    for _, message in scene.skipped:
        raise InputError(message)
    if not scene.frames:
        raise InputError(f"{path}: holds no photos; give a folder with photos or a video")
    indices = evenly_spaced(len(scene) if count is None else count, len(scene))
    return decode_views(scene, indices, image_size, image_size, patch_size)


def decode_views(scene: Scene, indices: Iterable[int], width: int, height: int, patch_size: int) -> Views:
    """Decode frames of a scene, in the order given, resized and cropped to `width` x `height` pixels.

    Raises:
        InputError: if there is no frame of an index (names scene and frame), or one cannot be decoded (names
            its file).
        ValueError: if no index is given or the size is not made of whole patches.
    """
    frames = [frame_of(scene, index) for index in indices]
    pixels, fits = decode_frames(frames, partial(fit_cover, width=width, height=height, patch_size=patch_size))
    return Views(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255,
        cameras=fitted_cameras(frames, fits),
        names=tuple(frame.name for frame in frames),
        fits=fits,
        times_s=tuple(frame.time_s for frame in frames),
    )


def decode_frames(
    frames: Sequence[Frame], fit: Callable[[int, int], ImageFit]
) -> tuple[np.ndarray, tuple[ImageFit, ...]]:
    """Decode, resize and crop frames; repeated ones only once.

    Args:
        frames: at least one.
        fit: `(width_px, height_px) -> ImageFit` of a picture of that size.

    Returns:
        uint8 [v, h, w, 3] RGB, and the fit of every frame.

    Raises:
        InputError: naming the file, if one cannot be decoded, or was packed with another fit, or the results
            differ in size.
        ValueError: if there are no frames.
    """
    if not frames:
        raise ValueError("no frames were chosen")
    fits = {frame: _fit(frame, fit) for frame in frames}
    sizes = {(fit.width_px, fit.height_px): frame for frame, fit in fits.items()}
    if len(sizes) > 1:
        of_each = ", ".join(f"{width}x{height} ({frame.name})" for (width, height), frame in sizes.items())
        raise InputError(f"pictures of different shapes do not fit into one sample: {of_each}; crop them to squares")
    ((width, height),) = sizes
    pixels = np.empty((len(frames), height, width, 3), np.uint8)
    first: dict[Frame, int] = {}
    pictures = _pictures(fits)
    for index, frame in enumerate(frames):
        known = first.setdefault(frame, index)
        pixels[index] = pixels[known] if known < index else _fitted(frame, next(pictures), fits[frame])
    return pixels, tuple(fits[frame] for frame in frames)


def open_image(frame: Frame) -> Image.Image:
    """Decode the picture of a frame: RGB, upright unless the frame wants it as it is stored.

    Raises:
        InputError: naming the file, if it is missing or cannot be decoded.
    """
    picture = _picture(frame)
    return Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture


def to_uint8(images: Tensor) -> Tensor:
    """[0, 1] floats to 0..255, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


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


def frame_of(scene: Scene, index: int) -> Frame:
    """The frame at a position, which must exist and have a picture.

    Raises:
        InputError: naming scene and frame, if there is no such frame or its picture is missing.
    """
    index = operator.index(index)
    if not 0 <= index < len(scene):
        has = f"scene {scene.name!r} has frames 0 to {len(scene) - 1}" if len(scene) else "the scene is empty"
        raise InputError(f"{scene.source}: there is no frame {index}; {has}")
    if scene.frames[index].image is None:
        what = f"frame {index} ({scene.frames[index].name}) of scene {scene.name!r}"
        raise InputError(f"{scene.source}: the picture of {what} is missing; restore it or choose another frame")
    return scene.frames[index]


def _fit(frame: Frame, fit: Callable[[int, int], ImageFit]) -> ImageFit:
    if isinstance(frame.image, PackedImage):  # fitted again, it would not be the picture that was asked for
        original = frame.image.fit
        frame.image.check_fit(fit(original.source_width_px, original.source_height_px))
    return fit(frame.width_px, frame.height_px)


def _picture(frame: Frame) -> Image.Image | np.ndarray:
    if frame.image is None:
        raise InputError(f"{frame.name}: the picture of this frame is missing; restore it or choose another frame")
    if isinstance(frame.image, Path | EncodedImage):
        return open_photo(frame.image, upright=not frame.as_stored)
    return frame.image if isinstance(frame.image, np.ndarray) else frame.image.load()


def _pictures(frames: Iterable[Frame]) -> Iterator[Image.Image | np.ndarray]:
    """The picture of each frame; for neighbours that lie in one packed scene, its file is opened once."""
    for file, neighbours in groupby(frames, _packed_file):
        if file is None:
            yield from map(_picture, neighbours)
        else:
            yield from load_rows(file, (frame.image for frame in neighbours if isinstance(frame.image, PackedImage)))


def _packed_file(frame: Frame) -> Path | None:
    return frame.image.path if isinstance(frame.image, PackedImage) else None


def _fitted(frame: Frame, image: Image.Image | np.ndarray, fit: ImageFit) -> np.ndarray:
    try:
        return fit.apply(image)
    except ValueError as error:
        where = frame.image if isinstance(frame.image, Path) else frame.name
        raise InputError(f"{where}: {error}; correct its size in the scene file") from error


def fitted_cameras(frames: Sequence[Frame], fits: Sequence[ImageFit]) -> Cameras | None:
    """Float32 cameras [v] of fitted pictures; None if pose or intrinsics of any frame are unknown."""
    poses = [frame.world_from_camera for frame in frames if frame.world_from_camera is not None]
    known = [frame.fxfycxcy_px for frame in frames if frame.fxfycxcy_px is not None]
    if len(poses) < len(frames) or len(known) < len(frames):
        return None
    intrinsics = _intrinsics(np.array(known), fits)
    return Cameras(torch.from_numpy(np.stack(poses)).float(), torch.from_numpy(intrinsics).float())


def _intrinsics(fxfycxcy_px: np.ndarray, fits: Sequence[ImageFit]) -> np.ndarray:
    """Of pictures [v, 4] -> as fractions of the fitted ones [v, 4]."""
    fractions = np.empty(fxfycxcy_px.shape)
    for fit in set(fits):  # most often all are the same
        rows = [row for row, its in enumerate(fits) if its == fit]
        size = [fit.width_px, fit.height_px, fit.width_px, fit.height_px]
        fractions[rows] = fit.intrinsics_to_fitted(fxfycxcy_px[rows]) / size
    return fractions

"""pixelSplat's and DepthSplat's chunks: `.torch` files with many clips each, and `index.json` beside them.

A chunk is a list of clips, `{"url", "timestamps", "cameras", "images", "key"}`: the times of the frames (int64 [n];
microseconds in the video, where there is a video), their cameras (float32 [n, 18]; the columns of RealEstate10K
without the time) and their picture files (a list of n tensors, uint8, one file each). `index.json` says which file
a clip lies in: `{KEY: "000000.torch"}`. Numbers in view indices of such data count frames in the order of the chunk.

Chunks are loaded without running code, and mapped into memory: of unused pictures only the headers are read.
"""

from __future__ import annotations

import os
import pickle
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch

from rayzer.data.images import EncodedImage
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.folder import files_in, is_file_of
from rayzer.data.sources.real_estate import CAMERA_NUMBERS, clip_frame
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.strict_json import load_json, start_of
from rayzer.errors import InputError
from rayzer.files import exists, is_file, is_folder

INDEX = "index.json"

_SUFFIX = ".torch"
_ZIP = b"PK\3\4"
_START_BYTES = 4096
_AGAIN = "make the chunk again"
_TIMES = (torch.int64, torch.int32)
_CAMERAS = (torch.float32, torch.float64)


class Chunks(Source):
    """Chunks of clips: one file, or a folder of them with `index.json`."""

    name = "chunks"
    description = "pixelSplat and DepthSplat chunks (.torch, or a folder of them with index.json)"

    def recognises(self, path: Path) -> bool:
        """A `.torch` file, an `index.json` that names some, or the folder that has it."""
        return is_file_of(path, (_SUFFIX,)) or _is_index(path / INDEX if is_folder(path) else path)

    def find(self, path: Path) -> list[SceneRef]:
        """The clips in the order of `index.json` or, without one, of the chunks."""
        index = path / INDEX if is_folder(path) else path
        if index.suffix == ".json" and is_file(index):
            return [SceneRef(file, key, self.name) for key, file in _index(index)]
        files = files_in(path, (_SUFFIX,)) if is_folder(path) else [path]
        if not files:
            raise InputError(f"{path}: holds neither {INDEX} nor any {_SUFFIX} file; is it the right folder?")
        return [SceneRef(file, key, self.name) for file in files for key in _clips(file)]

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_clip`."""
        return read_clip(ref.path, ref.key, options)


def read_clip(path: Path, key: str, options: ReadOptions = ReadOptions()) -> Scene:
    """Read one clip of a chunk.

    Args:
        path: the chunk, a `.torch` file.
        key: which clip.
        options: how to read; a broken picture, a wrong pose and wrong intrinsics are reported there.

    Returns:
        a scene called `key`, its pictures `EncodedImage`s, poses with OpenCV axes, intrinsics in pixels.

    Raises:
        InputError: naming the file and, where it is about one, the clip and the frame.
    """
    clips = _clips(path)
    if key not in clips:
        raise InputError(f"{path}: holds no clip {key!r}, but {len(clips)} others; correct the key or {INDEX}")
    clip, where = clips[key], f"{path}: clip {key!r}"
    images = clip.get("images")
    if not isinstance(images, list) or not images:
        raise InputError(f"{where}: images: expected a list of at least one picture; {_AGAIN}")
    times = _array(clip, "timestamps", _TIMES, (len(images),), where).tolist()
    cameras = _array(clip, "cameras", _CAMERAS, (len(images), CAMERA_NUMBERS), where) if options.cameras else None
    is_video = str(clip.get("url", "")).startswith("http")
    names = [str(time) for time in times] if len(set(times)) == len(times) else [f"{i:05d}" for i in range(len(times))]

    def frame(index: int) -> Frame:
        here = f"{where}: frame {index}"
        picture = options.attempt("image", lambda: _picture(images[index], here))
        camera = None if cameras is None else cameras[index].astype(np.float64)
        return clip_frame(names[index], picture, camera, here, options, times[index] / 1e6 if is_video else None)

    return Scene(key, tuple(map(frame, range(len(images)))), path)


def _is_index(path: Path) -> bool:
    return path.name == INDEX and is_file(path) and f'{_SUFFIX}"'.encode() in start_of(path, _START_BYTES)


def _index(path: Path) -> list[tuple[str, Path]]:
    """Keys of clips and the chunks that they lie in, which are files beside the index."""
    for key, name in (index := load_json(path)).items():
        if not isinstance(name, str) or not name.endswith(_SUFFIX) or Path(name).name != name:
            raise InputError(f"{path}: clip {key!r}: expected the name of a {_SUFFIX} file beside this one; {_AGAIN}")
    return [(key, path.parent / name) for key, name in index.items()]


def _clips(path: Path) -> dict[str, dict[str, Any]]:
    """The clips of a chunk by their keys."""
    if not exists(path):
        raise InputError(f"{path}: there is no such file; check {INDEX}, or copy the chunk again")
    state = path.stat()
    return _clips_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)  # clips are mostly read one after another, and each would wait for its whole chunk
def _clips_of(path: Path, mtime_ns: int, size: int) -> dict[str, dict[str, Any]]:
    chunk = _loaded(path)
    if not isinstance(chunk, list) or not all(isinstance(clip, dict) for clip in chunk):
        raise InputError(f"{path}: expected a list of clips; is this a chunk of pixelSplat or DepthSplat?")
    clips: dict[str, dict[str, Any]] = {}
    for index, clip in enumerate(chunk):
        key = clip.get("key")
        if not isinstance(key, str) or not key:
            raise InputError(f"{path}: clip {index}: key: expected a text that is not empty; {_AGAIN}")
        if key in clips:
            raise InputError(f"{path}: clip {index}: key: {key!r} stands twice; {_AGAIN}")
        clips[key] = clip
    return clips


def _loaded(path: Path) -> object:
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read; check its permissions")
    if start_of(path, len(_ZIP)) != _ZIP:  # torch would say it in words for programmers
        raise InputError(f"{path}: is no chunk, which torch.save of PyTorch 1.6 or newer writes; {_AGAIN}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd files, which are refused where that matters
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: holds more than lists of tensors, which is not loaded; is this a chunk?") from error
    except Exception as error:  # damaged files make torch raise nearly everything
        detail = str(error).strip().partition("\n")[0][:200]
        raise InputError(f"{path}: is damaged or no chunk ({detail}); copy it again") from error


def _array(
    clip: dict[str, Any], key: str, dtypes: tuple[torch.dtype, ...], shape: tuple[int, ...], where: str
) -> np.ndarray:
    value = clip.get(key)
    if not _is_plain(value) or value.dtype not in dtypes or value.shape != shape:
        expected = f"{str(dtypes[0]).removeprefix('torch.')} {list(shape)}"
        raise InputError(f"{where}: {key}: expected a tensor {expected}, got {_kind(value)}; {_AGAIN}")
    return value.numpy(force=True)  # force: of a tensor with gradient, too


def _picture(image: object, where: str) -> EncodedImage:
    if not _is_plain(image) or image.dtype != torch.uint8 or image.ndim != 1 or not image.is_contiguous():
        raise InputError(f"{where}: expected the bytes of a picture file (uint8 [n]), got {_kind(image)}; {_AGAIN}")
    return EncodedImage(image.numpy(), where)


def _is_plain(value: object) -> TypeGuard[torch.Tensor]:
    """Whether this is a tensor that is an array in memory: not sparse, not quantized, not without data."""
    return type(value) is torch.Tensor and value.layout is torch.strided and value.device.type == "cpu"


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return "nothing" if value is None else type(value).__name__

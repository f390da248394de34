"""All files that a prediction leaves behind."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from torch import Tensor

from rayzer.data.camera_path import CameraPath, write_camera_path
from rayzer.data.exchange import frames_from_cameras
from rayzer.data.images import IMAGE_SUFFIXES, ImageFit
from rayzer.data.pictures import distinct_stems, printable, save_picture
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.colmap import write_colmap
from rayzer.data.sources.nerfstudio import write_transforms
from rayzer.data.views import to_uint8
from rayzer.errors import InputError
from rayzer.files import check_output_folder
from rayzer.geometry.cameras import Cameras
from rayzer.prediction.encoded import EncodedScene, EncodedView
from rayzer.rendering.video import write_mp4

IMAGES, RENDERS, FRAMES, ORIGINAL = "images", "renders", "frames", "original"
CAMERAS_VERSION = 1
ENCODED = "scene.safetensors"  # no other program writes it: a folder that holds it is an earlier prediction
WRITES = (
    *(IMAGES, RENDERS, FRAMES, ORIGINAL, "sparse", ENCODED),
    *("cameras.json", "transforms.json", "camera_path.json", "flythrough.mp4", "index.html", "results.json"),
)


def check_destination(out: Path, overwrite: bool, source: Path | None = None, writes: Sequence[str] = WRITES) -> None:
    """Make sure that a prediction replaces nothing but an earlier prediction, and never its own input.

    Args:
        out: where the prediction will go.
        overwrite: whether `out` may hold something.
        source: the input, a file or a folder.
        writes: names of all entries of `out` that may be replaced.

    Raises:
        InputError: if it would; long work should not start before this.
    """
    check_output_folder(out, overwrite)
    if source is not None:
        inputs = (source.resolve(), *source.resolve().parents)
        if source.resolve() == out.resolve() or any((out / name).resolve() in inputs for name in writes):
            raise InputError(f"{out}: results would replace the input {source}; choose another output folder")
    if not (out / ENCODED).exists():
        for name in writes:
            if (out / name).exists():
                raise InputError(
                    f"{out / name}: would be replaced but is not from an earlier prediction; "
                    "choose another output folder"
                )


def picture_names(scene: EncodedScene) -> list[str]:
    """File names of the views' pictures, in order and distinct: "07_IMG_0041.png"."""
    digits = len(str(len(scene.views) - 1))
    return [f"{index:0{digits}d}_{_stem(view.name)}.png" for index, view in enumerate(scene.views)]


def write_pictures(scene: EncodedScene, renders: Tensor, folder: Path) -> None:
    """The processed photos under `images/` and the renders [t, 3, h, w] of the targets under `renders/`."""
    names = picture_names(scene)
    for name, image in zip(names, scene.images, strict=True):
        _save(image, folder / IMAGES / name)
    for index, image in zip(scene.targets, to_uint8(renders), strict=True):
        _save(image, folder / RENDERS / names[index])


def write_fly_through(frames: Tensor, folder: Path, fps: float, goes_back: bool) -> None:
    """Frames [n, 3, h, w] as `frames/*.png` and `flythrough.mp4`; the latter back to its start if `goes_back`."""
    pictures = to_uint8(frames)
    for index, picture in enumerate(pictures):
        _save(picture, folder / FRAMES / f"{index:05d}.png")
    arrays = [_array(picture) for picture in pictures]
    write_mp4(folder / "flythrough.mp4", there_and_back(arrays) if goes_back else arrays, fps)


def there_and_back(items: list) -> list:
    """0, 1, ..., n - 1, n - 2, ..., 1: a closed loop that shows the ends once."""
    return items + items[-2:0:-1]


def write_cameras(scene: EncodedScene, model: dict, note: str, path: Path) -> None:
    """`cameras.json` (docs/formats.md): every view's camera in our own convention."""
    height, width = scene.images.shape[-2:]
    names = picture_names(scene)
    content = {
        "format": "rayzer-cameras",
        "version": CAMERAS_VERSION,
        "scene": scene.name,
        "note": note,
        "convention": "world_from_camera, OpenCV axes (x right, y down, z forward); intrinsics are fractions of the "
        "picture's width, height, width, height; pixel centres at +0.5",
        "model": model,
        "width_px": width,
        "height_px": height,
        "views": [
            _view_entry(view, f"{IMAGES}/{name}", camera)
            for view, name, camera in zip(scene.views, names, scene.cameras, strict=True)
        ],
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_exchange(scene: EncodedScene, note: str, folder: Path) -> None:
    """nerfstudio `transforms.json` and COLMAP `sparse/0` of the processed photos in `images/`."""
    height, width = scene.images.shape[-2:]
    names = picture_names(scene)
    frames = frames_from_cameras(scene.cameras, names, [folder / IMAGES / name for name in names], width, height)
    write_transforms(folder / "transforms.json", frames, note)
    write_colmap(folder / "sparse" / "0", frames, note)


def write_originals(encoded: EncodedScene, scene: Scene, indices: Sequence[int], note: str, folder: Path) -> None:
    """The original photos with their cameras (crop and resize undone), as a folder for nerfstudio and gsplat.

    Args:
        encoded: the views; a photo that is several views gets the camera of the first.
        scene: where the photos came from.
        indices: for every view, the position of its photo in the scene.
        note: what a reader of the cameras should know.
        folder: made; gets `images/`, `transforms.json` and `sparse/0`.
    """
    (folder / IMAGES).mkdir(parents=True)
    first_views = [view for view, index in enumerate(indices) if index not in indices[:view]]
    sources = [scene.frames[indices[view]] for view in first_views]
    frames = []
    for view, source, stem in zip(
        first_views, sources, distinct_stems([source.name for source in sources]), strict=True
    ):
        picture = save_picture(source, folder / IMAGES, stem)
        frames.append(_original_frame(encoded, view, source, picture))
    write_transforms(folder / "transforms.json", frames, note)
    write_colmap(folder / "sparse" / "0", frames, note)


def write_path(cameras: Cameras, height: int, width: int, fps: float, path: Path) -> None:
    """The fly-through's cameras as nerfstudio `camera_path.json`."""
    write_camera_path(path, CameraPath(cameras, width, height, fps))


def _view_entry(view: EncodedView, picture: str, camera: Cameras) -> dict:
    fit = view.fit
    return {
        "name": view.name,
        "role": "target" if view.is_target else "context",
        "repeated": view.repeated,
        "time_s": view.time_s,
        "image": picture,
        "world_from_camera": camera.world_from_camera.tolist(),
        "intrinsics": dict(zip(("fx", "fy", "cx", "cy"), camera.intrinsics.tolist(), strict=True)),
        "original": {
            "width_px": fit.source_width_px,
            "height_px": fit.source_height_px,
            **dict(zip(("fx_px", "fy_px", "cx_px", "cy_px"), _original_fxfycxcy_px(fit, camera), strict=True)),
        },
    }


def _original_fxfycxcy_px(fit: ImageFit, camera: Cameras) -> list[float]:
    """Intrinsics in pixels of the photo as it was, crop and resize undone."""
    return fit.intrinsics_to_source(camera.intrinsics_px(fit.width_px, fit.height_px).double().numpy()).tolist()


def _original_frame(encoded: EncodedScene, view: int, source: Frame, picture: Path) -> Frame:
    camera = encoded.cameras[view]
    fx, fy, cx, cy = _original_fxfycxcy_px(encoded.views[view].fit, camera)
    return replace(
        source,
        name=picture.name,
        image=picture,
        fxfycxcy_px=(fx, fy, cx, cy),
        distortion=(),
        world_from_camera=camera.world_from_camera.double().numpy(),
    )


def _stem(name: str) -> str:
    """A short file name for a view called `name`, without blanks, which COLMAP's text format cannot hold."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return printable(re.sub(r"\s+", "_", stem))[:80]


def _save(image: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_array(image)).save(path, compress_level=4)


def _array(image: Tensor) -> np.ndarray:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())

"""Frames with `condition.npz` (Pi3's `room`) as a RayZer scene: python examples/real_sets/room.py FOLDER OUT

`poses` [n, 4, 4] are camera to world with OpenCV axes, `intrinsics` [n, 3, 3] pixels with pixel centres at whole
numbers. That is so because `depths` [n, h, w], along the optical axis, carried from one view into another, then agree
with those found there (tests/examples/test_real_sets.py).
"""

import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from rayzer.data.images import photo_size
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.rayzer_json import write_rayzer_json
from rayzer.errors import InputError, one_line
from rayzer.files import output_folder

ARRAYS = {"poses": (4, 4), "intrinsics": (3, 3)}
HALF_PX = 0.5  # ours has pixel centres at +0.5


def read_cameras(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """World from camera [n, 4, 4] and `fx, fy, cx, cy` in pixels [n, 4], in our convention."""
    try:
        with np.load(path) as content:
            poses, matrices = (np.asarray(content[name], dtype=np.float64) for name in ARRAYS)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}); it should hold poses and intrinsics") from None
    if (poses.shape[1:], matrices.shape[1:]) != tuple(ARRAYS.values()) or len(poses) != len(matrices):
        raise InputError(f"{path}: poses {poses.shape}, intrinsics {matrices.shape}: expected [n, 4, 4] and [n, 3, 3]")
    cx, cy = matrices[:, 0, 2] + HALF_PX, matrices[:, 1, 2] + HALF_PX
    return poses, np.stack([matrices[:, 0, 0], matrices[:, 1, 1], cx, cy], axis=1)


def read_scene(folder: Path) -> Scene:
    """The frames `0.png`, `1.png`, ... of a folder with their cameras."""
    poses, lenses = read_cameras(folder / "condition.npz")
    pictures = [folder / f"{number}.png" for number in range(len(poses))]
    frames = [
        Frame(picture.name, picture, *photo_size(picture), fxfycxcy_px=tuple(lens), world_from_camera=pose)
        for picture, lens, pose in zip(pictures, lenses.tolist(), poses, strict=True)
    ]
    return Scene("room", tuple(frames), folder)


def main(folder: Path, out: Path) -> None:
    """Write pictures and `opencv_cameras.json` into `out`."""
    scene = read_scene(folder)
    with output_folder(out) as staging:
        frames = [
            replace(frame, image=Path(shutil.copyfile(folder / frame.name, staging / frame.name)))
            for frame in scene.frames
        ]
        write_rayzer_json(replace(scene, frames=tuple(frames)), staging)
    print(f"Wrote {out}: 1 scene, {len(scene)} pictures")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("give the folder of the frames and a new folder for the scene", file=sys.stderr)
        sys.exit(2)
    try:
        main(*map(Path, sys.argv[1:]))
    except InputError as error:
        print(one_line(str(error)), file=sys.stderr)
        sys.exit(2)

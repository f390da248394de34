"""LVSM's processed scenes, which WildRayZer's D-RE10K has, too: `ROOT/metadata/KEY.json`, `ROOT/images/KEY/00000.png`.

Each file holds `{"scene_name", "frames": [{"image_path", "fxfycxcy", "w2c"}, ...]}`: the picture's path, its
intrinsics in pixels as one list, and 4x4 camera-from-world with OpenCV axes. The scene is called as its file.

LVSM writes `image_path` as it was on the machine that processed the scene, absolute or relative to its working
directory. We take the first of these that exists:

1. `ROOT/image_path`, where `ROOT` is the folder above `metadata` (or the file's own folder, if it has another name);
2. `image_path` from the folder of the file;
3. `image_path` from the working directory;
4. `ROOT/images/KEY/` and the file name of `image_path`, so that a data set may be moved.

An absolute `image_path` is the same in 1 to 3. Places outside `ROOT` count with --allow-outside only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rayzer.data.exchange import Intrinsics, usable_intrinsics
from rayzer.data.scenes import Scene
from rayzer.data.sources.folder import entries_of, files_in, is_file_of
from rayzer.data.sources.rayzer_json import Dialect, read_frames
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.strict_json import finite_floats, inner_path, mentions
from rayzer.errors import InputError
from rayzer.files import is_folder

METADATA = "metadata"

_PICTURE = "image_path"
_JSON = (".json",)
_ENOUGH = 8  # files of a folder that are looked into to recognise it


class LvsmJson(Source):
    """LVSM's processed scenes: one JSON file, or a folder with many in `metadata/`."""

    name = "lvsm"
    description = "LVSM scene files (metadata/KEY.json, images/KEY/; D-RE10K has them, too)"

    def recognises(self, path: Path) -> bool:
        """A JSON file with `image_path` near its start, or a folder with such files in `metadata/`."""
        files = (entry for entry in entries_of(path / METADATA) if is_file_of(entry, _JSON))
        candidates = islice(files, _ENOUGH) if is_folder(path) else [path]
        return any(is_file_of(file, _JSON) and mentions(file, _PICTURE) for file in candidates)

    def find(self, path: Path) -> list[SceneRef]:
        """The file itself, or all those in `metadata/`, in natural order."""
        files = files_in(path / METADATA, _JSON) if is_folder(path) else [path]
        if not files:
            raise InputError(f"{path / METADATA}: holds no scene files; is it the right folder?")
        return [SceneRef(file, format=self.name) for file in files]

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_lvsm_json`."""
        return read_lvsm_json(ref.path, options)


def read_lvsm_json(path: Path, options: ReadOptions = ReadOptions()) -> Scene:
    """Read one scene; see the head of this file.

    Args:
        path: the JSON file.
        options: how to read; a missing picture, a wrong pose and wrong intrinsics are reported there.

    Raises:
        InputError: naming the file and, where it is about one, the frame and the key; where a picture is missing,
            also the places where it was looked for.
    """
    return read_frames(path, options, _DIALECT)


def _places(path: Path, named: object, where: str, options: ReadOptions) -> Sequence[Path]:
    """Where a picture may lie; the last is always inside the data set."""
    picture = inner_path(Path(), named, where, allow_outside=True)
    folder = path.absolute().parent
    root = folder.parent if folder.name == METADATA else folder
    places = [Path(os.path.normpath(base / picture)) for base in (root, folder, Path.cwd())]
    places.append(root / "images" / path.stem / picture.name)
    if not options.allow_outside:
        roots = (root, root.resolve())
        places = [place for place in places if any(map(place.is_relative_to, roots))]
    return list(dict.fromkeys(places))


def _intrinsics(entry: dict[str, Any], where: str) -> Intrinsics:
    fx, fy, cx, cy = finite_floats(entry["fxfycxcy"], 4, f"{where}: fxfycxcy")
    return usable_intrinsics((fx, fy, cx, cy), f"{where}: fxfycxcy")


_DIALECT = Dialect(
    picture=_PICTURE,
    intrinsics=("fxfycxcy",),
    default_name=lambda path: path.stem,
    places=_places,
    advice="put it there, or pass --allow-outside if it lies elsewhere",
    fxfycxcy_px=_intrinsics,
)

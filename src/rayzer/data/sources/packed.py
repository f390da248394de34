"""Packed scenes and sets of them, as `rayzer data pack` writes them."""

from __future__ import annotations

from pathlib import Path

from rayzer.data.scenes import Scene
from rayzer.data.sources.packed_file import looks_packed, read_packed_file
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.strict_json import inner_path, load_json, mentions
from rayzer.errors import InputError
from rayzer.files import is_folder

INDEX = "index.json"
SET_FORMAT, SET_VERSION = "rayzer-packed-set", 1


class Packed(Source):
    """Packed scenes: a file each, or the folder of a whole set."""

    name = "packed"
    description = "packed scenes (a .safetensors file each, or the folder that `rayzer data pack` wrote)"

    def recognises(self, path: Path) -> bool:
        """A file that starts like a packed scene, or the folder or index of a set."""
        index = path / INDEX if is_folder(path) else path
        return mentions(index, SET_FORMAT) if index.name == INDEX else looks_packed(path)

    def find(self, path: Path) -> list[SceneRef]:
        """The file itself, or the scenes of a set in its order."""
        index = path / INDEX if is_folder(path) else path
        if index.name == INDEX:
            return [SceneRef(file, format=self.name) for file in files_of_set(index)]
        return super().find(path)

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """Read one file; its frames have the size of the fitted pictures, and intrinsics in its pixels."""
        packed, frames = read_packed_file(ref.path, options.cameras)
        return Scene(packed.name, frames, ref.path)


def files_of_set(index: Path) -> list[Path]:
    """The scene files that the index of a set names, in order.

    Raises:
        InputError: naming the index, if it is damaged or from a newer version.
    """
    data = load_json(index)
    if data.get("format") != SET_FORMAT or not isinstance(data.get("scenes"), list):
        raise InputError(f"{index}: is not the index of a packed set; pack the scenes again")
    if data.get("version") != SET_VERSION:
        raise InputError(f"{index}: is of version {data.get('version')}; update rayzer to read it")
    entries = [entry.get("file") if isinstance(entry, dict) else entry for entry in data["scenes"]]
    return [inner_path(index.parent, file, f"{index}: scene {number}") for number, file in enumerate(entries)]

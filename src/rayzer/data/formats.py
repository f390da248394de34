"""All formats that scenes are read from, and finding out which one something has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rayzer.data.scenes import Scene
from rayzer.data.sources.chunks import Chunks
from rayzer.data.sources.co3d import Co3d
from rayzer.data.sources.colmap import Colmap
from rayzer.data.sources.dl3dv import Dl3dv
from rayzer.data.sources.folder import PhotoFolder, natural_key
from rayzer.data.sources.lvsm_json import LvsmJson
from rayzer.data.sources.nerfstudio import Nerfstudio
from rayzer.data.sources.packed import Packed
from rayzer.data.sources.rayzer_json import RayZerJson
from rayzer.data.sources.real_estate import RealEstate
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.sources.video import Video
from rayzer.data.strict_json import text_lines
from rayzer.errors import InputError
from rayzer.files import exists, is_file, is_folder
from rayzer.progress import progress_bar

# The first that recognises something reads it, so the more particular ones come first.
FORMATS: dict[str, Source] = {
    source.name: source
    for source in (
        *(Packed(), Chunks(), Co3d(), RayZerJson(), Dl3dv(), Nerfstudio(), LvsmJson()),
        *(RealEstate(), Colmap(), Video(), PhotoFolder()),
    )
}
_SHOWN = 200  # characters of a line in a message
_DEPTH = 4  # how far below a folder scenes are looked for: dataset / split / batch / scene


def recognise(path: Path, format: str = "") -> Source:
    """The format that a file or folder has.

    Args:
        path: an existing file or folder.
        format: a key of `FORMATS`, to be taken at its word.

    Raises:
        InputError: if there is no such path, or it looks like no format.
    """
    source = _recognised(path, format)
    if source is None:
        if is_folder(path):
            raise InputError(
                f"{path}: holds no photos, no video and no scene of a known format; is it the right folder?"
            )
        raise InputError(f"{path}: is neither a folder of photos, nor a video, nor a scene file; give one of these")
    return source


def format_of(path: Path) -> str:
    """The name of the format that an existing file or folder has; empty if it looks like none."""
    return next((name for name, source in FORMATS.items() if source.recognises(path)), "")


def find_scenes(path: Path, format: str = "", found: Callable[[int], object] = lambda count: None) -> list[SceneRef]:
    """All scenes in a file, a folder, a folder of folders, or a scene list, in natural order.

    A *scene list* is a UTF-8 text file with one path a line: relative to the list's folder, or else to the working
    directory, or else to the folder above the list's (E-RayZer keeps its lists in `manifests/`, beside `scenes/`).
    `#KEY` after a path names one of several scenes in it. Blank lines and lines that start with `#` are skipped.
    What the lines name is recognised when it is read.

    Args:
        path: where to look; `PATH#KEY` for one of several scenes.
        format: a key of `FORMATS`, to be taken at its word; of a list, the format of what it names.
        found: called with the number of scenes found so far in a folder of folders.

    Raises:
        InputError: if there is nothing that is recognised.
    """
    if not exists(path) and (named := _named(str(path), [Path()])):
        return [recognise(named.path, format).pick(named.path, named.key)]
    source = _recognised(path, format)
    if source is not None and source.recognises(path):
        return source.find(path)
    if path.suffix.lower() == ".txt" and is_file(path):
        return [_taken_as(ref, format) for ref in _listed(path)]
    refs: list[SceneRef] = []
    for ref in _below(path, format, _DEPTH) if is_folder(path) else ():
        refs.append(ref)
        found(len(refs))
    return refs or recognise(path, format).find(path)


def search_scenes(path: Path, format: str = "") -> list[SceneRef]:
    """`find_scenes` with a bar that counts what is found."""
    with progress_bar("Looking for scenes") as advance:
        return find_scenes(path, format, lambda count: advance(count, None))


def read_scene(scene: SceneRef | Path | str, options: ReadOptions = ReadOptions(), format: str = "") -> Scene:
    """Read one scene, whichever format it has.

    Args:
        scene: a reference, or the path of something that holds exactly one scene.
        options: how to read.
        format: a key of `FORMATS`, to be taken at its word.

    Raises:
        InputError: if it is no scene, several, or one that cannot be used.
    """
    ref = scene if isinstance(scene, SceneRef) else _only(find_scenes(Path(scene), format), Path(scene))
    source = recognise(ref.path, ref.format)
    if not ref.key:  # a line of a list names a path only
        ref = _only(source.find(ref.path), ref.path)
    elif not ref.format:
        ref = source.pick(ref.path, ref.key)
    return source.read(ref, options)


def _recognised(path: Path, format: str) -> Source | None:
    if not exists(path):
        raise InputError(f"{path}: there is no such file or folder; check the path")
    if not format:
        return FORMATS.get(format_of(path))
    if format not in FORMATS:
        raise InputError(f"--format {format}: is not known; choose one of {', '.join(FORMATS)}")
    return FORMATS[format]


def _only(refs: Sequence[SceneRef], path: Path) -> SceneRef:
    if len(refs) != 1:
        some = f", for instance {refs[0]}" if refs else ""
        raise InputError(f"{path}: holds {len(refs)} scenes, expected one; name one of them{some}")
    return refs[0]


def _taken_as(ref: SceneRef, format: str) -> SceneRef:
    """What a line of a list names, of a format that is to be taken at its word, if any."""
    return FORMATS[format].pick(ref.path, ref.key) if format and ref.key else replace(ref, format=format)


def _below(folder: Path, format: str, depth: int) -> Iterator[SceneRef]:
    """Scenes in the entries of a folder, and further down where an entry is none itself."""
    for entry in sorted(_visible(folder), key=lambda entry: natural_key(entry.name)):
        source = next((s for s in FORMATS.values() if format in ("", s.name) and s.recognises(entry)), None)
        if source is not None:
            yield from source.find(entry)
        elif depth > 1 and is_folder(entry):
            yield from _below(entry, format, depth - 1)


def _visible(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error


def _listed(path: Path) -> list[SceneRef]:
    lines = enumerate(text_lines(path, "a list of scenes"), start=1)
    refs = [_entry(path, number, line) for number, line in lines if line and not line.startswith("#")]
    if not refs:
        raise InputError(f"{path}: names no scenes; write one path a line")
    return refs


def _entry(list_file: Path, number: int, line: str) -> SceneRef:
    folders = (list_file.parent, Path(), list_file.absolute().parent.parent)
    ref = _named(line, folders)
    if ref is None:
        shown = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
        places = " nor ".join(dict.fromkeys(str(folder / shown) for folder in folders))
        raise InputError(f"{list_file}: line {number}: there is neither {places}; correct the path")
    return ref


def _named(text: str, folders: Sequence[Path]) -> SceneRef | None:
    """What `PATH` or `PATH#KEY` names, where the path is in one of the folders; None if it is in none."""
    for path, key in _splits(text):
        for folder in folders:
            if exists(folder / path):
                return SceneRef(folder / path, key)
    return None


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """All ways to read a text as path and key, the longest path first: names may have a `#`, too."""
    yield text, ""
    parts = text.split("#")
    for count in range(len(parts) - 1, 0, -1):
        path, key = "#".join(parts[:count]), "#".join(parts[count:])
        if path and key:
            yield path, key

"""Scene lists: look through folders, keep the scenes that can be used, and say what is wrong with the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rayzer.data.formats import format_of, read_scene, search_scenes
from rayzer.data.parallel import as_they_come
from rayzer.data.scene_jobs import nothing_made
from rayzer.data.sources.rayzer_json import RayZerJson, scene_file
from rayzer.data.sources.source import ReadOptions, SceneRef, leave_out
from rayzer.data.sources.video import refuse_videos
from rayzer.errors import InputError
from rayzer.files import check_output_file, is_folder, output_file
from rayzer.progress import progress_bar


@dataclass(frozen=True)
class Wanted:
    """Which scenes are kept.

    Attributes:
        poses: only those with a valid camera for every picture; without, cameras are not even looked at.
        min_frames: only those with so many pictures.
        allow_outside: follow paths in scene files that leave the scene's folder.
    """

    poses: bool = True
    min_frames: int = 1
    allow_outside: bool = False


@dataclass(frozen=True)
class Listed:
    """A scene that was looked at.

    Attributes:
        ref: where it lies.
        pictures, missing: how many there are, and how many more it names.
        kind: what keeps it off the list, in a few words that other scenes share; empty if it is on it.
        reason: the same in one line about this scene.
    """

    ref: SceneRef
    pictures: int
    missing: int = 0
    kind: str = ""
    reason: str = ""


def list_scenes(
    paths: Sequence[Path], output: Path, wanted: Wanted = Wanted(), workers: int = 1, overwrite: bool = False
) -> list[Listed]:
    """Write a list of all usable scenes in some files, folders and lists.

    Args:
        paths: what `find_scenes` takes.
        output: the list; its paths are relative where scenes lie below its folder, else absolute.
        wanted: which scenes are kept.
        workers: how many processes.
        overwrite: replace an earlier list.

    Returns:
        all scenes that were found, each once, in the order of `paths`.

    Raises:
        InputError: if no scene can be used, or the list exists or cannot be written.
    """
    check_output_file(output, overwrite)
    refs: dict[tuple[Path, str], SceneRef] = {}
    for ref in (ref for path in paths for ref in search_scenes(path)):
        refs.setdefault((_file(ref).resolve(), ref.key), ref)
    found: dict[SceneRef, Listed] = {}
    with progress_bar("Reading scenes") as advance:
        for listed in as_they_come(partial(look_at, wanted=wanted), list(refs.values()), workers):
            found[listed.ref] = listed
            advance(len(found), len(refs))
        ordered = [found[ref] for ref in refs.values()]
        kept = [listed.ref for listed in ordered if not listed.kind]
        if not kept:
            raise nothing_made([listed.reason for listed in ordered])
        _write(output, kept)
    return ordered


def look_at(ref: SceneRef, wanted: Wanted) -> Listed:
    """Read a scene and say whether it can be used."""
    try:
        refuse_videos([ref])
    except InputError as error:
        return Listed(ref, 0, 0, "videos", str(error))
    if not _fits_in_a_line(ref):
        return Listed(ref, 0, 0, "names", f"{str(ref)!r}: a list cannot hold this name; rename it")

    try:
        scene = read_scene(ref, ReadOptions(wanted.allow_outside, wanted.poses, report=leave_out([])))
    except InputError as error:
        return Listed(ref, 0, 0, "cannot be read", str(error))
    frames = [scene.frames[index] for index in scene.present]
    missing = len(scene) - len(frames)
    if len(frames) < max(wanted.min_frames, 1):
        reason = f"{ref}: has {len(frames)} readable pictures, fewer than {max(wanted.min_frames, 1)}"
        return Listed(ref, len(frames), missing, "too few pictures", f"{reason}; lower --min-frames or leave it out")
    if wanted.poses and any(frame.world_from_camera is None or frame.fxfycxcy_px is None for frame in frames):
        reason = f"{ref}: has no cameras, or not for all pictures; estimate them, or list it with --no-poses"
        return Listed(ref, len(frames), missing, "no cameras", reason)
    return Listed(ref, len(frames), missing)


def _fits_in_a_line(ref: SceneRef) -> bool:
    text = str(ref)
    return text == text.strip() and len(text.splitlines()) == 1 and text == text.encode(errors="ignore").decode()


def _write(output: Path, refs: Iterable[SceneRef]) -> None:
    folder = output.absolute().parent
    lines = [f"{_line(ref, folder)}\n" for ref in refs]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with output_file(output) as partial_file:
            partial_file.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror}); choose another place") from error


def _file(ref: SceneRef) -> Path:
    """What a list names: the file of a RayZer scene, as lists of RayZer and E-RayZer do, else the path itself."""
    if ref.key or not is_folder(ref.path) or (ref.format or format_of(ref.path)) != RayZerJson.name:
        return ref.path
    return scene_file(ref.path)


def _line(ref: SceneRef, folder: Path) -> str:
    path = _file(ref).absolute()
    path = path.relative_to(folder) if path.is_relative_to(folder) else path
    text = f"{path.as_posix()}#{ref.key}" if ref.key else path.as_posix()
    return f"./{text}" if text.startswith("#") else text

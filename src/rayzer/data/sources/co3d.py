"""CO3Dv2: object videos in categories, with one list of frames and one of sequences a category.

`<root>/<category>/{frame_annotations.jgz, sequence_annotations.jgz, <sequence>/images/}`. Cameras are
PyTorch3D's: row vectors, `x_camera = x_world R + T`, axes x left, y up, z forward, and intrinsics in
normalised coordinates that grow to the left and up from the middle of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rayzer.data.exchange import Lens, inverse_rigid, usable_intrinsics
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.folder import folders_in, natural_key
from rayzer.data.sources.json_list import objects_in
from rayzer.data.sources.real_size import posed_frame, visible_entries
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.data.strict_json import checked_rigid, finite_float, finite_floats, inner_path, side_px
from rayzer.errors import InputError
from rayzer.files import is_file, is_folder

FRAMES = "frame_annotations.jgz"
SEQUENCES = "sequence_annotations.jgz"
GOOD_POSES = 0.5  # viewpoint_quality_score above which CO3D's authors trust the cameras

_OPENCV_FROM_PYTORCH3D = np.diag([-1.0, -1.0, 1.0, 1.0])
_VIEWPOINT = ("R", "T", "focal_length", "principal_point", "intrinsics_format")


class Co3d(Source):
    """CO3Dv2, one category or all of them; a scene is a sequence."""

    name = "co3d"
    description = "CO3Dv2 (a category's folder with frame_annotations.jgz, or the folder of categories)"

    def recognises(self, path: Path) -> bool:
        """A folder with such a file, or one of nothing but such folders (and files)."""
        return is_folder(path) and bool(_categories(path))

    def find(self, path: Path) -> list[SceneRef]:
        """The sequences that are there, `SEQUENCE` in a category's folder, `CATEGORY/SEQUENCE` above."""
        categories = _categories(path)
        if not categories:
            raise InputError(f"{path}: holds no {FRAMES}; give the folder of a category of CO3Dv2 or the one above it")
        keys = [
            sequence if category == path else f"{category.name}/{sequence}"
            for category in categories
            for sequence in _present_sequences(category)
        ]
        if not keys:
            raise InputError(f"{path}: none of the sequences in {SEQUENCES} is here; unzip the pictures, too")
        return [SceneRef(path, key, self.name) for key in keys]

    def pick(self, path: Path, key: str) -> SceneRef:
        """The sequence of that key, which `read` looks for: finding all of them first would take seconds each time."""
        return SceneRef(path, key, self.name)

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_co3d`."""
        category, sequence = ref.path, ref.key
        if not is_file(category / FRAMES):
            name, _, sequence = ref.key.partition("/")
            category = next((folder for folder in _categories(ref.path) if folder.name == name), None)
        if category is None:
            raise InputError(f"{ref}: there is no such category of CO3Dv2; name it as CATEGORY/SEQUENCE")
        return read_co3d(category, sequence, options)


def read_co3d(category: Path, sequence: str, options: ReadOptions = ReadOptions()) -> Scene:
    """Read one sequence; frames are in the order of `frame_number`, which is not the number in their names.

    The list of a category's frames takes seconds to read; the last 8 lists stay in memory (about 2 kB a frame).
    Sequences whose cameras the authors do not trust (`viewpoint_quality_score` up to 0.5) are read all the same,
    with a note: RayZer needs no cameras.

    Args:
        category: the folder of a category; paths in the list are relative to the folder above it.
        sequence: one of its sequences.
        options: how to read; a damaged picture and a wrong pose or intrinsics are reported there.

    Returns:
        a scene named `<category>_<sequence>`. A frame without viewpoint has no camera, one whose picture is
        missing keeps its number.

    Raises:
        InputError: naming file, frame and key, if the list is damaged, has no such sequence or gives a frame
            number twice, or if none of its pictures is there.
    """
    file = category / FRAMES
    records = _sequence_records(file, sequence)
    frames, skipped = [], []
    for record in records:
        where = f"{file}: {sequence} frame {record.number}"
        picture = inner_path(category.parent, record.path, f"{where}: image.path", allow_outside=options.allow_outside)
        found = is_file(picture)
        if not found:
            skipped.append((picture, f"{where}: there is no picture {record.path}"))
        frames.append(_frame(record, picture if found else None, where, options))
    if len(skipped) == len(frames):
        raise InputError(f"{skipped[0][1]}, nor any other of the sequence; unzip the pictures, too")
    notes = _notes(category, sequence, records) if options.cameras else ()
    name = f"{category.resolve().name}_{sequence}"
    return Scene(name, tuple(frames), category, notes, tuple(skipped))


# ---- the lists


class _Record(NamedTuple):
    """What is used of a frame's entry; all but number and the sequence's name are checked when it is read."""

    number: int
    path: Any
    size: Any
    time_s: Any
    viewpoint: tuple[Any, ...] | None  # the values of _VIEWPOINT, None where one is missing


def _categories(path: Path) -> list[Path]:
    """The folder itself or all folders in it, provided that they are categories."""
    if is_file(path / FRAMES):
        return [path]
    folders = []
    for folder in folders_in(path):
        if folder.name.startswith("_"):
            continue
        if not is_file(folder / FRAMES):
            return []  # with other things beside them, categories are found one by one, and the other things as well
        folders.append(folder)
    return sorted(folders, key=lambda folder: natural_key(folder.name))


def _present_sequences(category: Path) -> list[str]:
    names = {_text(entry, "sequence_name", category / SEQUENCES) for entry in objects_in(category / SEQUENCES)}
    folders = {entry.name for entry in visible_entries(category)}
    return sorted(names & folders, key=natural_key)


def _sequence_records(file: Path, sequence: str) -> list[_Record]:
    try:
        state = file.stat()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    records = _records(file, state.st_mtime_ns, state.st_size).get(sequence)
    if records is None:
        raise InputError(f"{file}: has no sequence {sequence!r}; check its name")
    return records


@lru_cache(maxsize=8)
def _records(file: Path, mtime_ns: int, size: int) -> dict[str, list[_Record]]:
    """The frames of every sequence, ordered; time and size tell a file from the one that replaces it."""
    sequences: dict[str, list[_Record]] = {}
    for entry in objects_in(file):
        sequences.setdefault(_text(entry, "sequence_name", file), []).append(_record(entry, file))
    for sequence, records in sequences.items():
        records.sort(key=lambda record: record.number)
        for before, after in pairwise(records):
            if before.number == after.number:
                raise InputError(f"{file}: {sequence}: frame_number {after.number} stands twice; download it again")
    return sequences


def _record(entry: dict[str, Any], file: Path) -> _Record:
    where = f"{file}: {entry['sequence_name']}"
    number, image, viewpoint = entry.get("frame_number"), entry.get("image"), entry.get("viewpoint")
    if isinstance(number, bool) or not isinstance(number, int):
        raise InputError(f"{where}: frame_number: expected a whole number; download the file again")
    if not isinstance(image, dict) or not isinstance(viewpoint, dict | None):
        raise InputError(f"{where} frame {number}: expected an image and a viewpoint; download the file again")
    values = tuple(map(viewpoint.get, _VIEWPOINT)) if viewpoint is not None else None
    return _Record(number, image.get("path"), image.get("size"), entry.get("frame_timestamp"), values)


def _text(entry: dict[str, Any], key: str, file: Path) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{file}: {key}: expected a text in every entry; download the file again")
    return value


def _notes(category: Path, sequence: str, records: Sequence[_Record]) -> tuple[str, ...]:
    """What a user should know of the cameras."""
    notes = []
    unknown = sum(record.viewpoint is None for record in records)
    if unknown:
        notes.append(f"{unknown} of {len(records)} frames have no viewpoint.")
    score = _quality(category / SEQUENCES, sequence)
    if score is not None and score <= GOOD_POSES:
        notes.append(f"Its viewpoint_quality_score is {score:.2f}; the cameras are trustworthy above {GOOD_POSES}.")
    return tuple(notes)


def _quality(file: Path, sequence: str) -> float | None:
    """The authors' score of a sequence's cameras; None where they give none."""
    if not is_file(file):
        return None
    state = file.stat()
    return _scores(file, state.st_mtime_ns, state.st_size).get(sequence)


@lru_cache(maxsize=64)
def _scores(file: Path, mtime_ns: int, size: int) -> dict[str, float | None]:
    """The scores of all sequences; time and size tell a file from the one that replaces it."""
    return {
        str(entry.get("sequence_name")): _number(entry.get("viewpoint_quality_score")) for entry in objects_in(file)
    }


def _number(value: object) -> float | None:
    """A finite number; None for anything else."""
    with suppress(InputError):
        return finite_float(value, "")
    return None


# ---- frames


def _frame(record: _Record, picture: Path | None, where: str, options: ReadOptions) -> Frame:
    name = Path(record.path).name
    viewpoint = record.viewpoint
    frame = posed_frame(
        name,
        picture,
        where,
        options,
        lens=lambda _: None if viewpoint is None else _lens(viewpoint, record.size, where),
        pose=lambda: None if viewpoint is None else _pose(viewpoint, where),
    )
    time_s = _number(record.time_s)
    return frame if time_s is None or time_s < 0 else replace(frame, time_s=time_s)


def _pose(viewpoint: tuple[Any, ...], where: str) -> np.ndarray:
    """`world_from_camera` float64 [4, 4], OpenCV axes."""
    rows, translation = viewpoint[:2]
    if not isinstance(rows, list) or len(rows) != 3:
        raise InputError(f"{where}: viewpoint.R: expected 3 lists of 3 numbers; leave the frame out")
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = np.transpose([finite_floats(row, 3, f"{where}: viewpoint.R") for row in rows])
    camera_from_world[:3, 3] = finite_floats(translation, 3, f"{where}: viewpoint.T")
    return inverse_rigid(checked_rigid(_OPENCV_FROM_PYTORCH3D @ camera_from_world, f"{where}: viewpoint"))


def _lens(viewpoint: tuple[Any, ...], size: object, where: str) -> Lens:
    """The lens in pixels of the size that the list gives for the picture."""
    if not isinstance(size, list) or len(size) != 2:
        raise InputError(f"{where}: image.size: expected [height, width]; leave the frame out")
    height, width = (side_px(side, f"{where}: image.size") for side in size)
    *_, focal, center, form = viewpoint
    focal = finite_floats(focal, 2, f"{where}: viewpoint.focal_length")
    center = finite_floats(center, 2, f"{where}: viewpoint.principal_point")
    scale_x, scale_y = _ndc_scale("ndc_norm_image_bounds" if form is None else form, width, height, where)
    cx, cy = width / 2 - center[0] * scale_x, height / 2 - center[1] * scale_y
    return Lens(width, height, usable_intrinsics((focal[0] * scale_x, focal[1] * scale_y, cx, cy), where))


def _ndc_scale(form: object, width: int, height: int, where: str) -> tuple[float, float]:
    """Pixels per unit of normalised coordinates, across and down."""
    match form:
        case "ndc_isotropic":
            return min(width, height) / 2, min(width, height) / 2
        case "ndc_norm_image_bounds":
            return width / 2, height / 2
    known = "ndc_isotropic or ndc_norm_image_bounds"
    raise InputError(f"{where}: viewpoint.intrinsics_format: expected {known}; leave the frame out")

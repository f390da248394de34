"""What can be wrong with the pictures of a scene and their order; each check is one entry in `checks.CHECKS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rayzer.data.inspection.evidence import Evidence, Problem
from rayzer.data.sources.folder import natural_key
from rayzer.errors import counted
from rayzer.files import exists

BLURRED = 0.25  # of the scene's median sharpness

# Notes of `read_folder` that `mixed_sizes` and `exposures_out_of_order` tell, too, and for every format.
_TOLD_BY_CHECKS = ("The photos differ in size", "The photos are ordered by file name")


def missing_pictures(evidence: Evidence) -> Problem | None:
    """Frames without a picture."""
    missing = [position for position, frame in enumerate(evidence.frames) if frame.image is None]
    if not missing:
        return None
    message = f"no picture for {_share(missing, evidence)}; restore the files, or go without these frames"
    return Problem("warning", message, evidence.names(missing))


def damaged_pictures(evidence: Evidence) -> Problem | None:
    """Pictures that cannot be decoded, and files that a reader set aside as no pictures."""
    aside = {path: message for path, message in evidence.scene.skipped if exists(path)}
    faults = [*aside.values(), *evidence.faults.values()]
    if not faults:
        return None
    names = (*(path.name for path in aside), *evidence.names(evidence.faults))
    return Problem("warning", f"{counted(len(faults), 'picture')} cannot be decoded; the first: {faults[0]}", names)


def wrong_sizes(evidence: Evidence) -> Problem | None:
    """Pictures of another size than the scene file states, which nothing can be made of."""
    if not evidence.wrong_size:
        return None
    first = evidence.wrong_size[0]
    frame, picture = evidence.frames[first], evidence.pictures[first]
    return Problem(
        "warning",
        f"sizes in the scene file are wrong for {counted(len(evidence.wrong_size), 'picture')} ({frame.name} has "
        f"{picture.width_px}x{picture.height_px}, not {frame.width_px}x{frame.height_px} pixels); "
        "correct the sizes, or put pictures of that size there",
        evidence.names(evidence.wrong_size),
    )


def too_few_pictures(evidence: Evidence) -> Problem | None:
    """Too few usable pictures to train on throughout."""
    lack = evidence.recipe.lack(len(evidence.usable), "a usable picture")
    if not lack or evidence.is_selection:
        return None
    enough_if_mended = len(evidence.scene.present) >= evidence.recipe.frames_needed
    way_out = "mend those that are broken" if enough_if_mended else "add pictures"
    way_out += ", or choose another recipe" if evidence.recipe.name else ""
    return Problem("error", f"{lack}; {way_out}", prevents="everything")


def fewer_than_wanted(evidence: Evidence) -> Problem | None:
    """Enough pictures for a recipe, not for its widest samples."""
    usable, recipe = len(evidence.usable), evidence.recipe
    if not recipe.frames_needed <= usable < recipe.frames_wanted or evidence.is_selection:
        return None
    message = f"{usable} frames have a usable picture, the widest samples of {recipe.name} span {recipe.frames_wanted}"
    return Problem("note", f"{message}; longer walks would give them")


def uncounted_frames(evidence: Evidence) -> Problem | None:
    """A video of which too few frames were looked at to tell whether it is long enough."""
    recipe = evidence.recipe
    if not evidence.is_selection or len(evidence.frames) >= recipe.frames_wanted:
        return None
    message = (
        f"only {len(evidence.frames)} frames of the video were looked at; {recipe.name} needs {recipe.frames_needed}"
    )
    return Problem("note", f"{message} ({recipe.frames_wanted} for its widest samples), so take as many out of it")


def repeated_names(evidence: Evidence) -> Problem | None:
    """Several frames of one name."""
    counts = Counter(frame.name for frame in evidence.frames)
    repeated = tuple(name for name, count in counts.items() if count > 1)
    if not repeated:
        return None
    message = f"several frames share {counted(len(repeated), 'name')}; give every frame a name of its own"
    return Problem("warning", message, repeated)


def repeated_pictures(evidence: Evidence) -> Problem | None:
    """Pictures that look the same as the one before."""
    repeats = [
        position
        for position, picture in evidence.pictures.items()
        if (before := evidence.pictures.get(position - 1)) and before.digest == picture.digest
    ]
    if not repeats:
        return None
    message = (
        f"{counted(len(repeats), 'picture')} repeated from the frame before; remove the copies, they teach nothing"
    )
    return Problem("warning", message, evidence.names(repeats))


def mixed_sizes(evidence: Evidence) -> Problem | None:
    """Pictures of several sizes."""
    sizes = picture_sizes(evidence)
    if len(sizes) < 2:
        return None
    some = ", ".join(f"{count} of {width}x{height}" for (width, height), count in sizes.most_common(3))
    message = f"the pictures have {len(sizes)} sizes ({some}); one camera at one zoom gives the best cameras"
    return Problem("note", message)


def mixed_orientations(evidence: Evidence) -> Problem | None:
    """Portrait and landscape pictures in one scene."""
    sizes = picture_sizes(evidence)
    portrait = sum(count for (width, height), count in sizes.items() if height > width)
    landscape = sum(count for (width, height), count in sizes.items() if width > height)
    if not (portrait and landscape):
        return None
    message = f"{portrait} pictures are portrait and {landscape} landscape; turn those that lie on their side"
    return Problem("warning", message)


def names_out_of_order(evidence: Evidence) -> Problem | None:
    """Frames whose order is not that of the numbers in their names."""
    late = _descents([natural_key(frame.name) for frame in evidence.frames])
    if not late:
        return None
    before, first = evidence.names([late[0] - 1, late[0]])
    message = f"the frames are not in the order of their names ({first} comes after {before})"
    return Problem("warning", f"{message}; sort them in the order of the walk", evidence.names(late))


def times_out_of_order(evidence: Evidence) -> Problem | None:
    """Frames whose times in the video do not ascend."""
    times = [frame.time_s for frame in evidence.frames if frame.time_s is not None]
    late = _descents(times) if len(times) == len(evidence.frames) else []
    if not late:
        return None
    message = f"times go backwards at {counted(len(late), 'frame')}; sort the frames by time"
    return Problem("warning", message, evidence.names(late))


def exposures_out_of_order(evidence: Evidence) -> Problem | None:
    """Photos that were taken (EXIF) in another order than they stand in."""
    taken = {position: picture.taken for position, picture in evidence.pictures.items() if picture.taken}
    late = [later for earlier, later in pairwise(taken) if taken[later] < taken[earlier]]
    if not late:
        return None
    message = "the photos do not stand in the order in which they were taken"
    return Problem("warning", f"{message}; rename them if that order is the better one", evidence.names(late))


def blurred_pictures(evidence: Evidence) -> Problem | None:
    """Pictures far less sharp than the others, blurriest first."""
    if len(evidence.pictures) < 3:
        return None
    sharpness = {position: picture.sharpness for position, picture in evidence.pictures.items()}
    limit = BLURRED * float(np.median(list(sharpness.values())))
    blurred = sorted((position for position in sharpness if sharpness[position] < limit), key=sharpness.__getitem__)
    if not blurred:
        return None
    message = (
        f"{counted(len(blurred), 'picture')} far blurrier than the rest, or with little to see; look before you train"
    )
    return Problem("note", message, evidence.names(blurred))


def reader_notes(evidence: Evidence) -> Problem | None:
    """What the reader had to say."""
    notes = [note for note in evidence.scene.notes if not note.startswith(_TOLD_BY_CHECKS)]
    return Problem("note", " ".join(notes).rstrip(".")) if notes else None


def picture_sizes(evidence: Evidence) -> Counter[tuple[int, int]]:
    """How many pictures have which width and height, as far as it is known: decoded, or else stated."""
    sizes = (evidence.size_px(position) for position in evidence.scene.present)
    return Counter(size for size in sizes if min(size) > 0)


def _descents(keys: Sequence[Any]) -> list[int]:
    """Positions whose key is smaller than that of the position before."""
    return [position for position in range(1, len(keys)) if keys[position] < keys[position - 1]]


def _share(positions: Sequence[int], evidence: Evidence) -> str:
    return f"{len(positions)} of {len(evidence.frames)} frames"

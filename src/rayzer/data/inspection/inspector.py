"""Inspecting scenes: read them, decode their pictures, run every check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rayzer.data.formats import FORMATS, read_scene, recognise
from rayzer.data.inspection.camera_checks import fields_of_view_deg
from rayzer.data.inspection.checks import CHECKS
from rayzer.data.inspection.evidence import ANYTHING, Evidence, Picture, Problem, Recipe, look_at
from rayzer.data.inspection.picture_checks import picture_sizes
from rayzer.data.inspection.report import CameraPath, SceneReport
from rayzer.data.parallel import as_they_come, available_cpus
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import ProblemKind, ReadOptions, SceneRef
from rayzer.data.views import evenly_spaced
from rayzer.errors import InputError

MAX_PICTURES = 50_000  # decoded in one run unless all are asked for: minutes, not hours
LEAST_PICTURES = 16  # of each scene, however many there are
SCENES_PER_PROCESS = 8  # with fewer, starting processes costs more than they gain

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class InspectOptions:
    """What to look at.

    Attributes:
        cameras: look at poses and intrinsics; without, they are not even read.
        allow_outside: follow paths in scene files that leave the scene's folder.
        every_picture: decode every picture, however many there are.
        recipe: what the scenes are wanted for.
    """

    cameras: bool = True
    allow_outside: bool = False
    every_picture: bool = False
    recipe: Recipe = ANYTHING


def inspect_scenes(
    refs: Sequence[SceneRef], options: InspectOptions = InspectOptions(), progress: Progress | None = None
) -> tuple[SceneReport, ...]:
    """Inspect scenes in parallel; whatever is wrong with one is in its report and ends nothing.

    Args:
        refs: from `find_scenes`.
        options: what to look at.
        progress: called as `progress(done, total)`: pictures of a single scene, else scenes.

    Returns:
        one report per scene, in the same order.
    """
    processes = max(1, min(available_cpus(), len(refs) // SCENES_PER_PROCESS))
    limit = None if options.every_picture else max(LEAST_PICTURES, MAX_PICTURES // max(len(refs), 1))
    look = _Look(options, limit, available_cpus() // processes, progress if len(refs) == 1 else None)
    reports = {}
    for number, report in as_they_come(look, list(enumerate(refs)), processes):
        reports[number] = report
        if progress and (len(refs) > 1 or not report.decoded):
            progress(len(reports), len(refs))
    return tuple(reports[number] for number in range(len(refs)))


@dataclass(frozen=True)
class _Look:
    """Inspects one scene; goes to worker processes.

    Attributes:
        options: what to look at.
        limit: how many pictures to decode at most, or None.
        threads: how many pictures are decoded at once.
        progress: called with the number of pictures decoded.
    """

    options: InspectOptions
    limit: int | None
    threads: int
    progress: Progress | None

    def __call__(self, numbered: tuple[int, SceneRef]) -> tuple[int, SceneReport]:
        number, ref = numbered
        try:
            return number, _report(ref, self._gather(ref))
        except InputError as error:
            return number, _unreadable(ref, str(error))
        except Exception as error:  # a scene that nobody thought of must not end the inspection of all others
            fault = f"{type(error).__name__}: {error}"
            return number, _unreadable(ref, f"{ref}: cannot be inspected ({fault}); please report this fault")

    def _gather(self, ref: SceneRef) -> Evidence:
        reported: defaultdict[ProblemKind, list[str]] = defaultdict(list)
        options = ReadOptions(
            allow_outside=self.options.allow_outside,
            cameras=self.options.cameras,
            report=lambda kind, error: reported[kind].append(str(error)),
        )
        scene = read_scene(ref, options)
        found = self._decode(scene, _chosen(scene.present, self.limit))
        pictures = {position: picture for position, picture in found.items() if isinstance(picture, Picture)}
        faults = {position: fault for position, fault in found.items() if isinstance(fault, str)}
        return Evidence(scene, ref.format or recognise(ref.path).name, pictures, faults, reported, self.options.recipe)

    def _decode(self, scene: Scene, chosen: Sequence[int]) -> dict[int, Picture | str]:
        """What the chosen frames show, or why they cannot be decoded."""
        found = {}
        pool = ThreadPoolExecutor(self.threads)  # threads suffice: decoders leave the interpreter free
        try:
            for position, picture in zip(chosen, pool.map(_look, map(scene.frames.__getitem__, chosen)), strict=True):
                found[position] = picture
                if self.progress:
                    self.progress(len(found), len(chosen))
        finally:
            pool.shutdown(cancel_futures=True)  # when interrupted, what is queued is not waited for
        return found


def _look(frame: Frame) -> Picture | str:
    try:
        return look_at(frame)
    except InputError as error:
        return str(error)


def _chosen(present: list[int], limit: int | None) -> list[int]:
    """All, or pairs of neighbours spread evenly: only neighbours show that pictures repeat."""
    if limit is None or len(present) <= limit:
        return present
    starts = evenly_spaced(limit // 2, len(present) - 1)
    return sorted({present[start + step] for start in starts for step in (0, 1)})


def _report(ref: SceneRef, evidence: Evidence) -> SceneReport:
    scene = evidence.scene
    found = ((name, check(evidence)) for name, check in CHECKS.items())
    angles, fractions = fields_of_view_deg(evidence), np.array(list(evidence.intrinsics.values()))
    times = [frame.time_s for frame in scene.frames if frame.time_s is not None]
    return SceneReport(
        ref,
        scene.name,
        evidence.format,
        frames=len(scene),
        present=len(scene.present),
        decoded=len(evidence.pictures) + len(evidence.faults),
        usable=len(evidence.usable),
        poses=len(evidence.poses),
        intrinsics=len(evidence.intrinsics),
        sizes=tuple((width, height, count) for (width, height), count in picture_sizes(evidence).most_common()),
        field_of_view_deg=_median_pair(angles),
        focal=_median_pair(fractions),
        path=_camera_path(evidence),
        duration_s=max(times) - min(times) if times else None,
        problems={name: problem.shortened() for name, problem in found if problem is not None},
    )


def _median_pair(values: np.ndarray) -> tuple[float, float] | None:
    """Medians of the first two columns, if there are rows."""
    if not len(values):
        return None
    first, second = np.median(values[:, :2], axis=0).tolist()
    return first, second


def _camera_path(evidence: Evidence) -> CameraPath | None:
    if len(evidence.poses) < 2:
        return None
    moves = np.linalg.norm(np.diff(evidence.centers, axis=0), axis=1)
    steps = evidence.steps(list(evidence.poses))
    return CameraPath(
        float(moves.sum()), float(np.median(steps)), float(steps.max()), float(evidence.from_middle[0].max())
    )


def _unreadable(ref: SceneRef, message: str) -> SceneReport:
    folder = ref.path if ref.path.is_dir() else ref.path.parent
    if ref.format != "photos" and FORMATS["photos"].recognises(folder):
        message += f" (its pictures alone can be read: {folder} with --format photos)"
    name = ref.key or (folder.name if ref.path.suffix == ".json" else ref.path.name)
    return SceneReport(ref, name, ref.format, problems={"unreadable": Problem("error", message, (), "everything")})

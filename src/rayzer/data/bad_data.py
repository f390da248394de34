"""Bad data in long runs: named once, counted, and the end of the run where there is too much of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from rayzer.data.dataset import Problem, SceneSamples
from rayzer.data.sources.source import SceneRef
from rayzer.data.views import evenly_spaced
from rayzer.errors import InputError

ALLOWED_SHARE = 0.01
BAD_AT_LEAST = 10  # so few bad samples never stop a run
LOOKED_AT = 64  # scenes that are parsed before a run starts

log = logging.getLogger("rayzer")


@dataclass
class BadData:
    """Counts samples that had to be replaced, and ends a run that has too many.

    Attributes:
        allowed_share: the largest share of replaced samples, 0.01 for 1 %.
        bad, seen: samples so far, over all processes; part of a run's state.
    """

    allowed_share: float = ALLOWED_SHARE
    bad: int = 0
    seen: int = 0
    _named: set[str] = field(default_factory=set, repr=False)

    def log_problems(self, problems: Iterable[Problem]) -> None:
        """Name every scene that something is wrong with, once."""
        for problem in problems:
            if problem.scene not in self._named:
                self._named.add(problem.scene)
                log.warning("bad data: %s", problem.message)

    def add(self, bad: int, seen: int) -> None:
        """Count the samples of a step: of all processes, so that all of them stop at the same step.

        Raises:
            InputError: if more than `allowed_share` (and more than 10) of all samples were bad.
        """
        self.bad, self.seen = self.bad + bad, self.seen + seen
        if _too_many(self.bad, self.seen, self.allowed_share):
            raise InputError(
                f"{self.bad} of {self.seen} training samples could not be made from their scenes, more than the "
                f"{self.allowed_share:.1%} allowed; mend the scenes that the log names or take them off the list"
            )


def check_scenes(source: SceneSamples, steps: range, allowed_share: float = ALLOWED_SHARE) -> None:
    """Look at some scenes before a run: can they be read, and are they long enough to the end of the curriculum?

    At most 64, evenly spread over the list, are parsed (no picture is decoded), so that a list of any length
    takes a second or two.

    Raises:
        InputError: if none of them can be used at all steps, or clearly too many cannot.
    """
    count = min(LOOKED_AT, len(source.scenes))
    needed = source.views.frames_needed(steps)
    refs = [source.scenes[index] for index in evenly_spaced(count, len(source.scenes))]
    faults = [fault for fault in (_fault(source, ref, needed) for ref in refs) if fault]
    if not faults:
        return
    note = f"{len(faults)} of {count} scenes looked at cannot be used at all steps; the first: {faults[0]}"
    if len(faults) == count or _too_many(len(faults), count, allowed_share):
        raise InputError(note)
    log.warning("bad data: %s", note)


def _too_many(bad: int, seen: int, allowed_share: float) -> bool:
    return bad > max(BAD_AT_LEAST, allowed_share * seen)


def _fault(source: SceneSamples, ref: SceneRef, needed: int) -> str:
    """Why a scene cannot be used at all steps, or an empty text."""
    try:
        scene = source.read(ref)[0]
    except InputError as error:
        return str(error)
    frames = len(scene.present)
    if source.cameras != "none" and any(frame.world_from_camera is None for frame in scene.frames):
        return f"{ref}: has no cameras, which this model needs; estimate them or take the scene off the list"
    if frames >= needed:
        return ""
    wanted = f"a sample spans up to {needed} frames or more in the course of training"
    return f"{ref}: has {frames} usable frames, but {wanted}; take it off the list or lower training.views"

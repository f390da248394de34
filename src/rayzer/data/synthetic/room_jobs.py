"""Making many rooms: each in a process of its own on a CPU, or dozens at once on a GPU.

A GPU is busy with a dozen rooms or more, and must not wait for anything else: worker processes compose the next rooms
and write the last ones, while this process does nothing but render.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from rayzer.data.parallel import available_cpus, in_order, worker_pool
from rayzer.data.scene_jobs import (
    SceneJob,
    SceneOutcome,
    SceneTask,
    Staging,
    pending_tasks,
    run_scenes,
    share_of,
)
from rayzer.data.synthetic.rooms import ComposedRoom
from rayzer.data.views import to_uint8
from rayzer.errors import InputError
from rayzer.progress import Advance, progress_bar

ROOMS_AT_ONCE = 32
"""How many rooms a GPU renders at once; more gain nothing."""

_PIXELS_AT_ONCE = 1 << 26  # of all their pictures: 12 bytes each, and three times as many while they become bytes


class RoomJob(Protocol):
    """What is made of each room, in three steps; plain data, because it goes to worker processes."""

    @property
    def pixels_per_room(self) -> int:
        """Of all pictures of a room."""
        ...

    def compose(self, key: str) -> ComposedRoom:
        """The room that the key of a task names, on the CPU.

        Raises:
            InputError: if there is none; it is left out then.
        """
        ...

    def render(self, rooms: Sequence[ComposedRoom], device: str, progress: Advance) -> Tensor:
        """Pictures [b, v, 3, h, w] in [0, 1] of rooms."""
        ...

    def write(self, task: SceneTask, room: ComposedRoom, pixels: np.ndarray, target: Path) -> dict[str, Any]:
        """Make the file or folder `target` of a room and its pictures, uint8 [v, h, w, 3]; returns as `SceneJob.make`.

        Raises:
            InputError: if these pictures cannot be used; the room is left out then.
        """
        ...


def run_rooms(
    job: RoomJob, staging: Staging, tasks: Sequence[SceneTask], device: str, workers: int | None
) -> list[SceneOutcome]:
    """Do a job for all rooms that are not made yet, and say what came of each.

    Args:
        job: what is made of each room.
        staging: where results go.
        tasks: all rooms; `key` is what the job composes.
        device: where to cast rays.
        workers: processes that do everything on a CPU, and compose and write for a GPU; None for one a CPU core.

    Raises:
        InputError: if results cannot be written. What is finished stays for the next run.
    """
    workers = workers or available_cpus()
    with progress_bar("Rendering rooms") as advance:
        if device == "cpu":
            run_scenes(_Alone(job), staging, tasks, workers, advance)
        else:
            render_together(job, staging, tasks, device, workers, advance)
    return staging.outcomes(tasks)


def render_together(
    job: RoomJob, staging: Staging, tasks: Sequence[SceneTask], device: str, workers: int, advance: Advance
) -> None:
    """`run_rooms` for a GPU; `advance` hears of rooms that are rendered.

    The results are those of one room at a time, to within rounding.
    """
    at_once = max(1, min(ROOMS_AT_ONCE, _PIXELS_AT_ONCE // job.pixels_per_room))
    with pending_tasks(staging, tasks) as pending, worker_pool(min(workers, max(1, len(pending)))) as pool:
        done = len(tasks) - len(pending)
        composed = in_order(pool, partial(_composed, job), pending, ahead=3 * at_once)
        writing: deque[Future[SceneTask]] = deque()
        while batch := list(islice(composed, at_once)):
            advance(done, len(tasks))
            for task, ready in _rendered(job, batch, device, share_of(advance, done, len(tasks), len(batch))):
                writing.append(pool.submit(staging.process, ready, task))
            done += len(batch)
            while len(writing) > at_once:  # the others wait in memory
                writing.popleft().result()
        for written in writing:
            written.result()
        advance(done, len(tasks))


def _composed(job: RoomJob, task: SceneTask) -> tuple[SceneTask, ComposedRoom | InputError]:
    try:
        return task, job.compose(task.ref.key)
    except InputError as error:
        return task, error


def _rendered(
    job: RoomJob, batch: Sequence[tuple[SceneTask, ComposedRoom | InputError]], device: str, progress: Advance
) -> Iterator[tuple[SceneTask, SceneJob]]:
    """What is still to be done for each of these rooms."""
    rooms = [(task, room) for task, room in batch if isinstance(room, ComposedRoom)]
    if rooms:
        pixels = _as_bytes(job.render([room for _, room in rooms], device, progress))
        yield from ((task, _Rendered(job, room, its)) for (task, room), its in zip(rooms, pixels, strict=True))
    yield from ((task, _Refused(error)) for task, error in batch if isinstance(error, InputError))


def _as_bytes(images: Tensor) -> np.ndarray:
    """[b, v, 3, h, w] in [0, 1] as uint8 [b, v, h, w, 3] on the CPU."""
    return to_uint8(images).permute(0, 1, 3, 4, 2).contiguous().cpu().numpy()


@dataclass(frozen=True)
class _Alone:
    """All of a job for one room, on the CPU: a `SceneJob`."""

    job: RoomJob

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        room = self.job.compose(task.ref.key)
        (pixels,) = _as_bytes(self.job.render([room], "cpu", progress))
        return self.job.write(task, room, pixels, target)


@dataclass(frozen=True, eq=False)
class _Rendered:
    """The rest of a job for a room that is rendered: a `SceneJob`."""

    job: RoomJob
    room: ComposedRoom
    pixels: np.ndarray

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        return self.job.write(task, self.room, self.pixels, target)


@dataclass(frozen=True)
class _Refused:
    """A room that there is not: a `SceneJob` that fails, so that the reason is kept."""

    error: InputError

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        raise self.error

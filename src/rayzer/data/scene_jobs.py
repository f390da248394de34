"""One result for each of many scenes: made in parallel, resumable, each there whole or not at all.

Unfinished work lies in `OUT/.partial`: `plan.json` says which command it is of, `results/` holds the finished
files or folders, `records/` one JSON file for each scene that was tried. Everything appears by renaming, so
several machines can work on one plan without locks, and whatever ends them, nothing half-made counts as made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from rayzer.data.parallel import as_they_come
from rayzer.data.sources.source import SceneRef
from rayzer.errors import InputError
from rayzer.files import PARTIAL, check_output_folder, exists, move_entry, remove_entry
from rayzer.progress import Advance


class SceneJob(Protocol):
    """What is made of each scene; plain data, because it goes to worker processes."""

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        """Make the file or folder `target` of a scene; returns what is to be known of it, as JSON can hold it.

        Raises:
            InputError: if the scene cannot be used; it is left out then.
        """
        ...


@dataclass(frozen=True)
class SceneTask:
    """A scene and the name of the file or folder that is made of it; `number` is its position, from 0."""

    number: int
    ref: SceneRef
    name: str


@dataclass(frozen=True)
class SceneOutcome:
    """What came of a scene: the job's result, or else the line that says why it is left out."""

    task: SceneTask
    result: dict[str, Any] | None
    error: str


@dataclass(frozen=True)
class Plan:
    """Which command unfinished work belongs to.

    Attributes:
        command: its name.
        settings: everything that the results depend on, as JSON can hold it.
        tasks: all scenes.
    """

    command: str
    settings: dict[str, Any]
    tasks: tuple[SceneTask, ...]

    def as_json(self) -> dict[str, Any]:
        """For `plan.json`; scenes by absolute path, wherever the command is run from."""
        scenes = [[str(task.ref.path.absolute()), task.ref.key, task.ref.format, task.name] for task in self.tasks]
        return {"command": self.command, "settings": self.settings, "scenes": scenes}


@dataclass(frozen=True)
class Staging:
    """The unfinished work in an output folder."""

    out: Path

    @property
    def folder(self) -> Path:
        """Everything that goes when the work is finished."""
        return self.out / PARTIAL

    @property
    def results(self) -> Path:
        """Finished results, under the names of their tasks."""
        return self.folder / "results"

    @property
    def plan(self) -> Path:
        """The file that says which command the work is of."""
        return self.folder / "plan.json"

    @property
    def is_open(self) -> bool:
        """Whether there is any unfinished work."""
        return exists(self.plan)

    def goes_on_with(self, plan: Plan, overwrite: bool) -> bool:
        """Whether there is unfinished work that a command of this plan would go on with, and not throw away."""
        found = _read(self.plan)
        return found is not None and _is_of(found, plan.as_json()) and (not overwrite or found["overwrite"])

    @property
    def is_moving(self) -> bool:
        """Whether all work was done and only the moving to its final place was cut short."""
        return exists(self._moving)

    def outcome(self, task: SceneTask) -> SceneOutcome | None:
        """What came of a scene, if it was tried and a result is still what it was."""
        record = _read(self._record(task))
        if record is None or (record["error"] == "" and not self.is_moving and self._size(task) != record["size"]):
            return None
        return SceneOutcome(task, record["result"], record["error"])

    def outcomes(self, tasks: Sequence[SceneTask]) -> list[SceneOutcome]:
        """Of those scenes that were tried."""
        return [outcome for task in tasks if (outcome := self.outcome(task)) is not None]

    def process(self, job: SceneJob, task: SceneTask, progress: Advance = lambda done, total: None) -> SceneTask:
        """Do the job for one scene and remember what came of it."""
        temporary = self.results / f".{uuid4().hex}"
        result, error = None, ""
        try:
            result = job.make(task, temporary, progress)
            move_entry(temporary, self.results / task.name)
        except InputError as problem:
            error = str(problem)
        finally:
            with suppress(OSError):  # the file system that caused the trouble
                remove_entry(temporary)
        _write(self._record(task), {"result": result, "error": error, "size": self._size(task)})
        return task

    def made(self, tasks: Sequence[SceneTask]) -> list[tuple[SceneTask, dict[str, Any]]]:
        """The scenes that a result was made of, each with what is to be known of it.

        Raises:
            InputError: if there is none, and the unfinished work is thrown away then; or if another process took it.
        """
        outcomes = self.outcomes(tasks)
        if len(outcomes) < len(tasks):
            raise _taken(self.out)
        made = [(outcome.task, outcome.result) for outcome in outcomes if outcome.result is not None]
        if not made:
            self.discard()
            raise nothing_made([outcome.error for outcome in outcomes])
        return made

    def finish(
        self,
        describe: Callable[[Path], object],
        moves: Sequence[tuple[Path, Path]],
        first: Callable[[], object] = lambda: None,
        last: Callable[[], object] = lambda: None,
    ) -> None:
        """Describe the results and move them to their final places; then there is no unfinished work any more.

        Once the moving has begun, it is ended by the next run of the command.

        Args:
            describe: writes lists and reports into the folder it is given.
            moves: (from, to), in this order.
            first: what makes room for them; called again if the moving was cut short.
            last: what can only be made when all is in its place.

        Raises:
            InputError: if that cannot be written.
        """
        try:
            if not self.is_moving:
                describe(self.folder)
            self._moving.touch()
            first()
            for source, destination in moves:
                if exists(source):
                    move_entry(source, destination)
            last()
            self.plan.unlink()  # from here on, the output is a finished one
            self.sweep()
        except OSError as error:
            raise unwritable(self.out, error) from error

    def sweep(self) -> None:
        """Remove what is left of finished work: the sign that it is that goes last."""
        if self.is_moving and not exists(self.plan):
            for entry in self.folder.iterdir():
                if entry != self._moving:
                    remove_entry(entry)
            remove_entry(self.folder)

    def tidy(self, names: Collection[str]) -> None:
        """Remove from `results` all but these: what killed processes and failed scenes left there."""
        for entry in self.results.iterdir():
            if entry.name not in names:
                remove_entry(entry)

    def discard(self) -> None:
        """Remove all unfinished work, and the output folder if nothing else is in it."""
        remove_entry(self.folder)
        with suppress(OSError):  # it is not empty
            self.out.rmdir()

    @property
    def _moving(self) -> Path:
        return self.folder / "moving"

    def _record(self, task: SceneTask) -> Path:
        return self.folder / "records" / f"{task.number:06d}.json"

    def _size(self, task: SceneTask) -> int | None:
        """Bytes of a result; 0 for a folder, None if it is not there."""
        made = self.results / task.name
        if made.is_dir():
            return 0
        return made.stat().st_size if made.is_file() else None


def check_replaced(out: Path, names: Iterable[str], own: Collection[str]) -> None:
    """Make sure that results replace nothing but those of an earlier run.

    Args:
        out: the output folder.
        names: entries of `out` that will be replaced where they exist.
        own: those that an earlier run is known to have made.

    Raises:
        InputError: naming an entry that somebody else made.
    """
    if Staging(out).is_moving:
        return
    foreign = next((name for name in names if name not in own and exists(out / name)), None)
    if foreign is not None:
        raise InputError(f"{out / foreign}: was not made by an earlier run; choose another output folder")


def open_staging(out: Path, plan: Plan, overwrite: bool, shared: bool = False) -> Staging:
    """Begin work in an output folder, or go on with what the same command left unfinished there.

    Args:
        out: made if missing.
        plan: what is to be done.
        overwrite: `out` may hold other things, and unfinished work is thrown away unless it was begun like this.
        shared: other processes may be at work there: nothing is thrown away.

    Raises:
        InputError: if `out` holds anything else, or cannot be written.
    """
    staging = Staging(out)
    try:
        staging.sweep()
    except OSError as error:
        raise unwritable(out, error) from error
    if not staging.is_moving or not _is_of(_read(staging.plan), plan.as_json()):
        check_output_folder(out, overwrite)
    try:
        _claim(staging, plan.as_json(), overwrite, shared)
        if not staging.is_moving:
            staging.results.mkdir(exist_ok=True)
            (staging.folder / "records").mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    return staging


def run_scenes(job: SceneJob, staging: Staging, tasks: Sequence[SceneTask], workers: int, advance: Advance) -> None:
    """Do the job for all of `tasks` that are not done yet; those that failed before are tried again.

    Raises:
        InputError: as `pending_tasks`.
    """
    with pending_tasks(staging, tasks) as pending:
        done = len(tasks) - len(pending)
        if min(workers, len(pending)) > 1:
            advance(done, len(tasks))
            for count, _ in enumerate(as_they_come(partial(staging.process, job), pending, workers), start=1):
                advance(done + count, len(tasks))
        else:
            for count, task in enumerate(pending, start=done):
                advance(count, len(tasks))
                staging.process(job, task, share_of(advance, count, len(tasks)))
                advance(count + 1, len(tasks))


@contextmanager
def pending_tasks(staging: Staging, tasks: Sequence[SceneTask]) -> Iterator[list[SceneTask]]:
    """Those tasks that are to be done now: the ones that were not tried, or failed. None if only moving is left.

    Raises:
        InputError: if what is done with them cannot be written. What is finished stays for the next run.
    """
    pending = [task for task in tasks if (outcome := staging.outcome(task)) is None or outcome.result is None]
    try:
        yield [] if staging.is_moving else pending
    except OSError as error:
        raise unwritable(staging.out, error) if exists(staging.plan) else _taken(staging.out) from error


def nothing_made(errors: Sequence[str]) -> InputError:
    """The error for work of which nothing came: why not the first scene, and how many more there are."""
    more = f" (none of {len(errors)} scenes can be used; this is the first)" if len(errors) > 1 else ""
    return InputError(errors[0] + more)


def unwritable(out: Path, error: OSError) -> InputError:
    """The error for a disk that is full, or a folder that may not be written."""
    return InputError(
        f"{out}: cannot write there ({error.strerror or error}); mend that and run the same command again: "
        "finished scenes are kept"
    )


def _taken(out: Path) -> InputError:
    return InputError(
        f"{out}: its unfinished work is gone, because another process finished it or threw it away; look at what is "
        "there, and run the command again if that is not it"
    )


def share_of(advance: Advance, before: int, scenes: int, count: int = 1) -> Advance:
    """The progress of `count` scenes that come after `before` others, on its own scale if there is only one at all."""
    if scenes == 1:
        return advance
    return lambda done, total: advance(before + count * done / max(total or 1, 1), scenes)


def _claim(staging: Staging, plan: dict[str, Any], overwrite: bool, shared: bool) -> None:
    """Make sure that the unfinished work is of this plan.

    Work that was begun without `overwrite` is thrown away with it, work that was begun with it goes on: a command
    that was interrupted can be repeated word for word, and `overwrite` never goes on with what is out of date.
    """
    found = _read(staging.plan)
    if found is None and _leftovers(staging.folder):
        found = _read(staging.plan)  # which another process wrote meanwhile, if it is at the same work
    if not _is_of(found, plan) and (found is not None or _leftovers(staging.folder)):
        if shared or not overwrite:
            way_out = "throw it away with --overwrite" + (" and without --shard" if shared else "")
            difference = _difference(found, plan)
            raise InputError(
                f"{staging.out}: holds the unfinished work of another command{difference}; repeat that one, choose "
                f"another output folder, or {way_out}"
            )
        remove_entry(staging.folder)
    elif found is not None and overwrite and not (found.get("overwrite") or shared or staging.is_moving):
        remove_entry(staging.folder)
    overwrites = overwrite or (found is not None and found.get("overwrite", False))
    staging.folder.mkdir(parents=True, exist_ok=True)
    _write(staging.plan, {**plan, "overwrite": overwrites})


def _is_of(found: dict[str, Any] | None, plan: dict[str, Any]) -> bool:
    """Whether unfinished work is of this plan."""
    return found is not None and {key: found.get(key) for key in plan} == plan


def _leftovers(folder: Path) -> bool:
    return folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir())


def _difference(found: dict[str, Any] | None, plan: dict[str, Any]) -> str:
    if found is None or not found.keys() >= plan.keys() or found["command"] != plan["command"]:
        return ""
    old, new = found["settings"], plan["settings"]
    differing = [f"{key} {old.get(key)}, now {value}" for key, value in new.items() if old.get(key) != value]
    if not differing:
        differing = [f"{len(found['scenes'])} scenes, now {len(plan['scenes'])} or others, or another --format"]
    return f" ({'; '.join(differing)})"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")  # two machines may write the same at once
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)

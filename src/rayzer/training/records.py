"""What a run writes about itself, always: `metrics.jsonl`, `timing.jsonl` and `events.jsonl` in its folder.

One JSON object a line. A crash, a power loss or a full disk costs lines at most; it never ends a run, and what is left
can be read. Rules for runs that are resumed are those of `StepRecords`.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from rayzer.errors import InputError, counted
from rayzer.files import output_file

Value = float | int | str | bool | None

Report = Callable[..., None]
"""Called as `report(event, **values)`, from any thread, with `Value`s: `Events.write`, or what does nothing."""

MOST_WAITING = 100_000
"""Lines that are kept in memory while the disk takes none; the oldest go first."""

AT_ONCE = 1000  # lines per attempt: a disk that stays full is not offered everything at every step

log = logging.getLogger("rayzer")


class StepRecords:
    """One line per step, ascending, each step once; may be called from several threads.

    On opening, whole and valid lines of steps below `first_step` are kept and everything else goes: lines that a crash
    cut, zeros that a power loss left, steps that are going to be done again. Keys are sorted and numbers are written
    so that they read back exactly: where values are a function of configuration and data, an interrupted and resumed
    run writes the same bytes as one that was not.

    Args:
        path: the file, made if missing.
        first_step: the step (from 0) that is done next.

    Attributes:
        lost: how many steps between the first line and `first_step` have none, e.g. after a power loss.

    Raises:
        InputError: if the file cannot be read and written.
    """

    def __init__(self, path: str | Path, first_step: int):
        self._lines = _Lines(Path(path))
        try:
            kept = _lines_before(first_step, self._lines.path)
        except OSError as error:
            raise _unusable(self._lines.path, error) from None
        self.lost = first_step - min(kept, default=first_step) - len(kept)

    def write(self, step: int, values: Mapping[str, Value]) -> None:
        """Add the line of a step; numbers that are not finite become null, because JSON has no others."""
        self._lines.write({**values, "step": step}, sort_keys=True)

    def close(self) -> None:
        """Try once more to write what the disk did not take; a warning says how much is lost if it fails."""
        self._lines.close()


class Events:
    """One line per thing that happened, appended; may be called from several threads.

    Args:
        path: the file, made if missing. A last line that a crash cut stays as it is.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(self, path: str | Path):
        self._lines = _Lines(Path(path))

    def write(self, event: str, **values: Value) -> None:
        """Add `{"event": ..., <values>, "time": <now, ISO 8601, UTC>}`."""
        self._lines.write({"event": event, **values, "time": datetime.now(UTC).isoformat(timespec="milliseconds")})

    def close(self) -> None:
        """Try once more to write what the disk did not take; a warning says how much is lost if it fails."""
        self._lines.close()


class _Lines:
    """A file that lines are added to; those that it does not take wait in memory for the next attempt."""

    def __init__(self, path: Path):
        self.path = path
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._failing = False
        self._lock = threading.Lock()
        try:
            _append(path, b"")
        except OSError as error:
            raise _unusable(path, error) from None

    def write(self, values: Mapping[str, Value], sort_keys: bool = False) -> None:
        line = json.dumps({key: _finite(value) for key, value in values.items()}, sort_keys=sort_keys, allow_nan=False)
        with self._lock:
            self._waiting.append(line.encode() + b"\n")
            self._write_waiting()

    def close(self) -> None:
        with self._lock:
            self._write_waiting()
            if self._waiting:
                lost = counted(len(self._waiting), "line")
                log.warning("%s: could not be written to the end; %s lost", self.path, lost)

    def _write_waiting(self) -> None:
        try:
            while some := list(islice(self._waiting, AT_ONCE)):
                _append(self.path, b"".join(some))
                for _ in some:
                    self._waiting.popleft()
        except OSError as error:
            if not self._failing:
                log.warning("%s: cannot be written now (%s); training goes on", self.path, error.strerror or error)
            self._failing = True
        else:
            if self._failing:
                log.info("%s: can be written again", self.path)
            self._failing = False


def _append(path: Path, data: bytes) -> None:
    """Add all of the data to a file, or nothing; a last line without an end gets one first.

    The file is opened anew every time: on network file systems, handles do not outlive an outage.
    """
    with path.open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if not data:
            return
        if end:
            file.seek(end - 1)
            data = data if file.read(1) == b"\n" else b"\n" + data
        written = 0
        try:
            written = file.write(data)
        finally:
            if written < len(data):
                file.truncate(end)
    if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lines_before(first_step: int, path: Path) -> dict[int, bytes]:
    """Leave only whole lines of steps below `first_step` in the file, one each (the last that was written)."""
    content = path.read_bytes()
    kept: dict[int, bytes] = {}
    for line in content.splitlines(keepends=True):
        step = _step_of(line)
        if step is not None and 0 <= step < first_step:
            kept[step] = line
    wanted = b"".join(kept[step] for step in sorted(kept))
    if wanted != content:
        with output_file(path) as partial, partial.open("wb") as file:
            file.write(wanted)
            file.flush()
            os.fsync(file.fileno())
    return kept


def _step_of(line: bytes) -> int | None:
    """The step of a whole and valid line."""
    try:
        values = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    step = values.get("step") if isinstance(values, dict) else None
    return step if type(step) is int else None


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _unusable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or str(error)
    return InputError(f"{path}: cannot be written ({reason}); free the disk or choose another training.output_dir")

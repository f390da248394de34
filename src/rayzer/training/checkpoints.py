"""Checkpoints that appear whole or not at all, are verified before they are used, and are written in the background.

    <output_dir>/checkpoints/step-00000004/
        config.json            the model's configuration       } with these, the folder is what `load_model` takes
        model.safetensors      weights                         }
        ema.safetensors        their moving average, if any    }
        optimizer-00000-of-00001.safetensors                   a file per process where weights are sharded
        training.json          the whole configuration
        state.json             step, position in the data, counters
        environment.json       versions, machine, time
        manifest.json          SHA-256 of all others; written last

A folder is written as `step-00000004.tmp` and renamed. What is damaged is set aside, never deleted.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from rayzer.errors import InputError, RunError
from rayzer.files import file_sha256, move_entry, remove_entry, write_tensors
from rayzer.model.manifest import ABSENT, MANIFEST, manifest_text, read_manifest
from rayzer.model.weights import CONFIG, config_text
from rayzer.training.distributed import SAVING, World
from rayzer.training.records import Report
from rayzer.training.run_folder import RunConfig
from rayzer.training.state import TrainingState

TRAINING, STATE, ENVIRONMENT = "training.json", "state.json", "environment.json"
TEMPORARY = ".tmp"
DAMAGED = "damaged-"


log = logging.getLogger("rayzer")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `<output_dir>/checkpoints`.
        world: this process among all.
        keep_last: how many of the newest are kept.
        keep_every: those at multiples of this step are kept as well; 0 for none.
        report: told of what happens.
    """

    def __init__(self, folder: Path, world: World, keep_last: int, keep_every: int, report: Report):
        self.folder, self.world, self.report = folder, world, report
        self.keep_last, self.keep_every = keep_last, keep_every
        self._host = HostCopies()
        self._writer = ThreadPoolExecutor(1, "checkpoint writer")
        self._writing: Future[None] | None = None
        self._saved, self._prepared = -1, False
        self._best: int | None = None  # of those on the disk
        self._group: dist.ProcessGroup | None = None

    def check_writable(self) -> None:
        """Raise InputError if no checkpoint could be written; better before training than after.

        Also removes what a process that was killed while it saved has left.
        """
        if not self.world.is_first:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for partial in self.folder.glob(f"step-*{TEMPORARY}"):
                remove_entry(partial)
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise InputError(f"{self.folder}: cannot write there ({error.strerror}); mend that first") from None

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole, the same for all processes; those that are damaged are set aside.

        Raises:
            InputError: if there are checkpoints and all are damaged: starting over must be the user's decision.
        """
        step = -1
        if self.world.is_first:
            try:
                step = self._newest_step()
            except Exception:
                self.world.from_first(-2)  # the others must not wait
                raise
        step = self.world.from_first(step)
        if step == -2:
            raise InputError(f"{self.folder}: no checkpoint can be used; the first process says why")
        self._saved = step
        return None if step < 0 else self.folder / name_of(step)

    def _newest_step(self) -> int:
        found = sorted(steps_in(self.folder), reverse=True)
        for step in found:
            problem = damage(self.folder / name_of(step)) or _misnamed(self.folder / name_of(step))
            if not problem:
                return step
            aside = _set_aside(self.folder / name_of(step))
            log.warning("damaged checkpoint: %s; kept as %s, the one before is used", problem, aside.name)
            self.report("damaged checkpoint", checkpoint=name_of(step), problem=problem, kept_as=aside.name)
        if found or any(self.folder.glob(f"{DAMAGED}step-*")):
            raise InputError(
                f"{self.folder}: all checkpoints are damaged; restore one, or choose another training.output_dir to "
                "start from the beginning"
            )
        return -1

    def save(self, state: TrainingState, config: RunConfig, environment: dict[str, Any]) -> None:
        """Copy the state and write it in the background; waits for the checkpoint before, if that is not done.

        Once a step. A checkpoint that cannot be written (full disk) is reported and training goes on: the ones before
        stay.
        """
        if self._saved == state.step:
            return
        self._saved = state.step
        self.wait()
        rank, size = self.world.rank, self.world.size
        files = self._host.copy(state.tensors(rank, size))
        texts = {
            CONFIG: config_text(state.model.config),
            TRAINING: _json(config.values()),
            STATE: _json(state.numbers()),
            ENVIRONMENT: _json({**environment, "time": datetime.now(UTC).isoformat(timespec="seconds")}),
        }
        if state.is_sharded and self._group is None:
            # The writers' own: training uses the other meanwhile.
            self._group = cast(dist.ProcessGroup, dist.new_group(backend="gloo"))
        best = None if state.best is None else state.best.step
        if self.world.is_first or state.is_sharded:
            self._writing = self._writer.submit(self._write, state.step, files, texts, best)

    def prepare(self, state: TrainingState) -> None:
        """Take the memory that copies of a GPU's tensors need, once: the system needs seconds to give so much."""
        if not self._prepared and self.world.device.type == "cuda":
            self._host.copy(state.tensors(self.world.rank, self.world.size))
        self._prepared = True

    def before_update(self) -> None:
        """Make the device wait, not this process, until the weights about to be changed have been copied."""
        self._host.before_update()

    def wait(self) -> None:
        """Wait until the last checkpoint is written."""
        while self._writing is not None:
            self.world.at(SAVING, self._saved)  # alive, however slow the disk is
            done, _ = wait([self._writing], timeout=1)
            if done:
                self._writing.result()
                self._writing = None

    def finish(self, step: int) -> None:
        """Wait for the last checkpoint.

        Raises:
            RunError: if the one of this step could not be written.
        """
        self.wait()
        if self.world.is_first and not (self.folder / name_of(step)).is_dir():
            raise RunError(f"{self.folder / name_of(step)}: could not be written; make room and run again to resume")

    def _write(self, step: int, files: dict[str, dict[str, Tensor]], texts: dict[str, str], best: int | None) -> None:
        self._host.wait()
        final = self.folder / name_of(step)
        partial = final.with_name(final.name + TEMPORARY)
        stages = (
            lambda: self._begin(partial),
            lambda: self._write_files(partial, files, texts),
            lambda: self._commit(partial, final, best),
        )
        for stage in stages:
            problem = _problem_of(stage)
            if self._any_failed(bool(problem)):
                self._failed(partial, final, problem or "another process failed")
                return

    def _any_failed(self, own: bool) -> bool:
        """Whether one of the processes that write together failed; all wait for one another here."""
        if self._group is None:
            return own
        failed = torch.tensor([own], dtype=torch.int32)
        dist.all_reduce(failed, group=self._group)
        return bool(failed)

    def _failed(self, partial: Path, final: Path, problem: str) -> None:
        log.error("%s: could not be written (%s); the checkpoints before stay", final, problem)
        if self.world.is_first:
            shutil.rmtree(partial, ignore_errors=True)
            self.report("checkpoint failed", checkpoint=final.name, problem=problem)

    def _begin(self, partial: Path) -> None:
        if self.world.is_first:
            remove_entry(partial)
            partial.mkdir(parents=True)

    def _write_files(self, partial: Path, files: dict[str, dict[str, Tensor]], texts: dict[str, str]) -> None:
        for name, tensors in files.items():
            write_tensors(tensors, partial / name)
            _to_disk(partial / name)
        if self.world.is_first:
            for name, text in texts.items():
                _write_text(partial / name, text)

    def _commit(self, partial: Path, final: Path, best: int | None) -> None:
        if not self.world.is_first:
            return
        names = sorted(entry.name for entry in partial.iterdir())
        _write_text(partial / MANIFEST, manifest_text({name: file_sha256(partial / name) for name in names}))
        _to_disk(partial)
        move_entry(partial, final)
        _to_disk(self.folder)
        self.report("checkpoint", checkpoint=final.name)
        try:
            self._prune(best)
        except OSError as error:
            log.warning("%s: old checkpoints could not be removed (%s)", self.folder, error.strerror)

    def _prune(self, best: int | None) -> None:
        """Remove what is neither among the newest, nor kept for good, nor the best that there is."""
        steps = sorted(steps_in(self.folder))
        self._best = best if best in steps else self._best
        kept = {*steps[-self.keep_last :], self._best}
        for step in steps:
            if step not in kept and not (self.keep_every and step % self.keep_every == 0):
                remove_entry(self.folder / name_of(step))


class HostCopies:
    """Copies of tensors in memory that a GPU copies to while it computes; the memory is used again each time."""

    def __init__(self) -> None:
        self._pinned: dict[tuple[str, str], Tensor] = {}
        self._stream: torch.cuda.Stream | None = None
        self._done: torch.Event | None = None

    def copy(self, tensors: Iterable[tuple[str, str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Begin to copy (file, name, tensor); `wait` before the copies, by file and name, are read."""
        files: dict[str, dict[str, Tensor]] = {}
        for file, name, value in tensors:
            into = files.setdefault(file, {})
            into[name] = self._to_pinned(file, name, value) if value.is_cuda else value.detach().clone()
        if self._stream is not None:
            self._done = self._stream.record_event()
        return files

    def wait(self) -> None:
        """Wait until all is copied."""
        if self._done is not None:
            self._done.synchronize()

    def before_update(self) -> None:
        """Let the device's work that follows wait until all is copied."""
        if self._done is not None:
            torch.cuda.current_stream().wait_event(self._done)

    def _to_pinned(self, file: str, name: str, value: Tensor) -> Tensor:
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        self._stream.wait_stream(torch.cuda.current_stream())
        pinned = self._pinned.get((file, name))
        if pinned is None or pinned.shape != value.shape:
            pinned = self._pinned[file, name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        with torch.cuda.stream(self._stream):
            pinned.copy_(value, non_blocking=True)
        value.record_stream(self._stream)
        return pinned


def _problem_of(stage: Callable[[], None]) -> str:
    """Why a stage of writing failed, or an empty text; others must hear of whatever it is."""
    try:
        stage()
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def name_of(step: int) -> str:
    """The folder of a step's checkpoint."""
    return f"step-{step:08}"


def steps_in(folder: Path) -> list[int]:
    """Steps of all checkpoints in a folder, whole or not; not those that were being written or were set aside."""
    if not folder.is_dir():
        return []
    try:
        found = [re.fullmatch(r"step-(\d{8,})", entry.name) for entry in folder.iterdir()]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); mend that and start again") from None
    return [int(match[1]) for match in found if match and match[0] == name_of(int(match[1]))]


def damage(checkpoint: Path) -> str:
    """What is wrong with a checkpoint, or an empty text.

    Raises:
        InputError: if it cannot be read, which need not be its fault.
    """
    try:
        known = read_manifest(checkpoint)
        for name, digest in known.items():
            if file_sha256(checkpoint / name) != digest:
                return f"{checkpoint / name} does not match its checksum"
    except ABSENT as error:
        return f"{error.filename} is missing"
    except InputError as error:
        return str(error).partition(";")[0]
    except OSError as error:
        raise InputError(f"{checkpoint}: cannot be read ({error.strerror}); mend that and start again") from None
    return ""


def _misnamed(checkpoint: Path) -> str:
    step = read_state(checkpoint)["step"]
    return "" if name_of(step) == checkpoint.name else f"{checkpoint} was renamed: it holds step {step}"


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The numbers of a verified checkpoint's state."""
    return json.loads((checkpoint / STATE).read_text(encoding="utf-8"))


def read_environment(checkpoint: Path) -> dict[str, Any]:
    """Where and with what a verified checkpoint was made."""
    return json.loads((checkpoint / ENVIRONMENT).read_text(encoding="utf-8"))


def read_training(checkpoint: Path) -> dict[str, Any]:
    """The configuration that a verified checkpoint was trained with, as plain values."""
    return json.loads((checkpoint / TRAINING).read_text(encoding="utf-8"))


def _set_aside(checkpoint: Path) -> Path:
    aside, number = checkpoint.with_name(DAMAGED + checkpoint.name), 1
    while aside.exists():
        number += 1
        aside = checkpoint.with_name(f"{DAMAGED}{checkpoint.name}-{number}")
    try:
        checkpoint.rename(aside)
    except OSError as error:
        raise InputError(f"{checkpoint}: is damaged and cannot be set aside ({error.strerror})") from None
    return aside


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _to_disk(path)


def _to_disk(path: Path) -> None:
    """Return only when a file or folder is on the disk, so that not even a power failure undoes it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

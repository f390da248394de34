"""The folder of a run: one process at a time writes there, and a run is only resumed by the same configuration."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rayzer.errors import InputError
from rayzer.files import exclusive
from rayzer.model.weights import ModelConfig, kind_of
from rayzer.training.distributed import World
from rayzer.training.recipe import OPERATIONAL, TrainingConfig

LOCK = ".lock"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """All that a run is given: a model and a recipe."""

    model: ModelConfig
    training: TrainingConfig

    def values(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        plain = {"kind": kind_of(self.model), **dataclasses.asdict(self)}
        return {key: _plain(value) for key, value in plain.items()}


@contextmanager
def run_folder(config: TrainingConfig, world: World) -> Iterator[Path]:
    """The folder, made if missing and locked against a second run.

    Raises:
        InputError: if it cannot be written, or another run is at work there.
    """
    folder = Path(config.output_dir).expanduser()
    if not world.is_first:
        yield folder
        return
    existed = folder.exists()
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(folder / LOCK))
        except BlockingIOError:
            raise InputError(f"training.output_dir = {folder}: another run is at work there; choose another") from None
        except OSError as error:
            raise InputError(f"training.output_dir = {folder}: cannot write there ({error.strerror})") from None
        try:
            yield folder
        except InputError:  # what is refused at once leaves nothing behind
            if not existed and not _has_begun(folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _has_begun(folder: Path) -> bool:
    """Whether a step was done or a checkpoint written."""
    metrics = folder / "metrics.jsonl"
    return any(folder.glob("checkpoints/*")) or (metrics.is_file() and metrics.stat().st_size > 0)


def refuse_other_configuration(stored: Mapping[str, Any], now: RunConfig, folder: Path) -> None:
    """Raise InputError if a run was begun with a configuration that would have learned something else."""
    before, after = dict(_leaves(stored)), dict(_leaves(now.values()))
    known = before.keys() & after.keys()  # a newer version may have more keys, whose defaults change nothing
    keys = sorted(key for key in known if before[key] != after[key] and not _is_operational(key))
    if keys:
        told = ", ".join(f"{key} (was {before[key]!r}, now {after[key]!r})" for key in keys)
        raise InputError(
            f"{folder}: holds a run with another configuration: {told}; give the same to resume it, or choose another "
            "training.output_dir (with training.continue_from to go on from its weights)"
        )


def _is_operational(key: str) -> bool:
    name = key.removeprefix("training.")
    return name != key and (name in OPERATIONAL or name.partition(".")[0] in OPERATIONAL)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON reads them back."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value

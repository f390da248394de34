"""Everything that changes while a model is trained, as tensors and numbers that can be stored and taken up again.

The schedule, the order of the data and all random numbers are functions of the configuration and the step (of the
rank too, for random numbers inside a model): they need no state of their own. That is why a resumed run equals one
that was never interrupted, and why it may resume with another number of processes.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.tensor import DTensor

from rayzer.data.bad_data import BadData
from rayzer.errors import InputError
from rayzer.model.weights import AVERAGE, WEIGHTS, Model
from rayzer.training.optim import Optimizer
from rayzer.training.recipe import TrainingConfig

OPTIMIZER = "optimizer-{rank:05}-of-{size:05}.safetensors"


@dataclass
class Best:
    """The best validation so far."""

    step: int
    psnr_db: float


@dataclass
class TrainingState:
    """What a run has come to.

    Attributes:
        model: its weights; the module itself, not what wraps it.
        optimizer: and what it remembers.
        average: moving average of the weights by name, or None.
        bad_data: samples that had to be replaced so far.
        step: how many steps are done: the number of the next one.
        updates: how many of them changed the weights.
        not_finite: how many of the last steps in a row had a loss or gradient that was not finite.
        validated: the step of the last validation.
        best: of the validations.
    """

    model: Model
    optimizer: Optimizer
    average: dict[str, Tensor] | None
    bad_data: BadData
    step: int = 0
    updates: int = 0
    not_finite: int = 0
    validated: int = 0
    best: Best | None = None

    def numbers(self) -> dict[str, Any]:
        """All of it that is no tensor, as JSON values."""
        best = None if self.best is None else {"step": self.best.step, "psnr_db": self.best.psnr_db}
        return {
            "step": self.step,
            "updates": self.updates,
            "not_finite": self.not_finite,
            "validated": self.validated,
            "bad_data": {"bad": self.bad_data.bad, "seen": self.bad_data.seen},
            "best": best,
        }

    def restore_numbers(self, numbers: Mapping[str, Any]) -> None:
        """Take over what `numbers` gave."""
        self.step, self.updates = numbers["step"], numbers["updates"]
        self.not_finite, self.validated = numbers["not_finite"], numbers["validated"]
        self.bad_data.bad, self.bad_data.seen = numbers["bad_data"]["bad"], numbers["bad_data"]["seen"]
        self.best = None if numbers["best"] is None else Best(**numbers["best"])

    def tensors(self, rank: int, size: int) -> Iterator[tuple[str, str, Tensor]]:
        """(file, name, tensor) of what this process writes; all processes must ask for all of it together.

        Weights and their average are whole, and the first process writes them. Where they are sharded, every
        process writes its own part of the optimiser's state.
        """
        for name, value in self.model.state_dict().items():
            yield from _from_first(WEIGHTS, name, value, rank)
        for name, value in (self.average or {}).items():
            yield from _from_first(AVERAGE, name, value, rank)
        shards = size if self.is_sharded else 1
        if rank < shards:
            for name, value in self.optimizer.tensors():
                yield OPTIMIZER.format(rank=rank, size=shards), name, _local(value)

    @property
    def is_sharded(self) -> bool:
        """Whether every process holds a part of each weight (FSDP2)."""
        return any(isinstance(p, DTensor) for p in self.model.parameters())

    def restore_tensors(self, folder: Path) -> None:
        """Take over the tensors of a checkpoint, whatever number of processes wrote it.

        Raises:
            InputError: if they do not fit this model and optimiser.
        """
        with torch.no_grad():
            _fill(dict(self.model.state_dict()), folder / WEIGHTS)
            if self.average is not None:
                source = AVERAGE if (folder / AVERAGE).is_file() else WEIGHTS
                _fill(self.average, folder / source)
        parameters = dict(self.model.named_parameters())
        self.restore_optimizer(_joined(sorted(folder.glob("optimizer-*.safetensors")), parameters))

    def restore_optimizer(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Take over what the optimiser remembers, given as whole tensors by name."""
        parameters = dict(self.model.named_parameters())
        self.optimizer.restore(
            (name, _placed(value, parameters[name.rpartition("/")[0]]) if value.ndim else value)
            for name, value in tensors
        )


def is_validation_due(numbers: Mapping[str, Any], recipe: TrainingConfig) -> bool:
    """Whether a state, as `TrainingState.numbers`, is to be validated before the next step."""
    step, every = numbers["step"], recipe.validation.every
    return bool(every) and numbers["validated"] != step > 0 and (step % every == 0 or step >= recipe.steps)


def is_finished(numbers: Mapping[str, Any], recipe: TrainingConfig) -> bool:
    """Whether nothing is left to do in a run of this state, as `TrainingState.numbers`."""
    return numbers["step"] >= recipe.steps and not is_validation_due(numbers, recipe)


def _from_first(file: str, name: str, value: Tensor, rank: int) -> Iterator[tuple[str, str, Tensor]]:
    whole = value.full_tensor() if isinstance(value, DTensor) else value
    if rank == 0:
        yield file, name, whole.detach()


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _fill(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy a file's tensors into those of the same names."""
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        if names != set(tensors):
            odd = sorted(names ^ set(tensors))
            raise InputError(f"{path}: does not fit this model, {len(odd)} names differ; the first: {odd[0]}")
        for name, value in tensors.items():
            stored = file.get_tensor(name)
            if stored.shape != value.shape:
                raise InputError(f"{path}: {name} is {list(stored.shape)} but should be {list(value.shape)}")
            if isinstance(value, DTensor):
                value.copy_(_placed(stored, value))
            else:
                value.copy_(stored)


def _placed(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor that every process has, as it is distributed in `like`."""
    if not isinstance(like, DTensor):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _joined(files: list[Path], parameters: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of all shards, put together along their first dimension (that is how FSDP2 cuts them)."""
    shards = [safe_open(file, "pt") for file in files]
    names = sorted({name for shard in shards for name in shard.keys()})  # noqa: SIM118 (it is no dict)
    unknown = [name for name in names if name.rpartition("/")[0] not in parameters]
    if unknown:
        raise InputError(f"{files[0]}: state of the optimiser for {unknown[0]}, which this model does not train")
    for name in names:
        parts = [shard.get_tensor(name) for shard in shards if name in shard.keys()]  # noqa: SIM118
        shape = parameters[name.rpartition("/")[0]].shape
        value = torch.cat(parts) if parts[0].ndim else parts[0]
        if value.ndim and value.shape != shape:
            raise InputError(f"{files[0]}: {name} is {list(value.shape)} but should be {list(shape)}")
        yield name, value


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Inside, if wanted, only algorithms whose results repeat bit for bit are used; some GPU work is slower then."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def seed_everything(seed: int, step: int, rank: int) -> None:
    """Set all global random generators to a state that depends on seed, step and rank only."""
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    torch.manual_seed(number)  # of all devices
    np.random.seed(number % 2**32)  # for code that uses it; ours does not
    random.seed(number)

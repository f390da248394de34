"""Several processes that share an evaluation: who does what, and telling each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

from rayzer.errors import InputError, RunError

TO_MEET = timedelta(minutes=10)
LONGEST = timedelta(days=7)  # shares differ; a dead process is noticed by its closed connection

Value = TypeVar("Value")


@dataclass(frozen=True)
class Share:
    """This process among those that torchrun started.

    Attributes:
        rank, size: from 0; how many.
        local_rank: on this machine, which is the number of its GPU.
        group: what they talk through; None for a process alone.
    """

    rank: int
    size: int
    local_rank: int
    group: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process puts the results together."""
        return self.rank == 0

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, by rank; all must call this together.

        Raises:
            RunError: if one of them is gone.
        """
        if self.size == 1:
            return [value]
        values: list[Value] = [value] * self.size
        try:
            dist.all_gather_object(values, value, group=self.group)
        except RuntimeError as error:
            raise RunError(
                f"rank {self.rank}: another process is gone; run the same command again: finished scenes are kept"
            ) from error
        return values

    @contextmanager
    def together(self) -> Iterator[None]:
        """Inside, a mistake that one process finds ends all, and is told once; all must enter and leave together.

        Raises:
            InputError: in the first process that found one.
            SystemExit: in the others, with the exit code of such mistakes.
        """
        found: InputError | None = None
        try:
            yield
        except InputError as error:
            found = error
        ranks = [rank for rank, text in enumerate(self.gather(found and str(found))) if text is not None]
        if ranks and found is not None and self.rank == ranks[0]:
            raise found
        if ranks:
            raise SystemExit(2)


@contextmanager
def own_share() -> Iterator[Share]:
    """This process alone, or as one of those that torchrun started.

    Raises:
        InputError: if the processes do not find each other.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if size == 1:
        yield Share(rank, size, local_rank)
        return
    try:
        dist.init_process_group("gloo", rank=rank, world_size=size, timeout=TO_MEET)
        group = dist.new_group(backend="gloo", timeout=LONGEST)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"process {rank} of {size} did not find the others ({reason}); start all with torchrun"
        ) from None
    assert isinstance(group, dist.ProcessGroup)  # this process is in it, as all are
    try:
        yield Share(rank, size, local_rank, group)
    finally:
        dist.destroy_process_group()

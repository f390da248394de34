"""Several processes that share an evaluation: who does what, and waiting for each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from rayzer.errors import InputError, RunError

LONGEST = timedelta(days=7)  # the first process waits for all; a dead one is noticed by its closed connection


@dataclass(frozen=True)
class Share:
    """This process among those that torchrun started.

    Attributes:
        rank, size: from 0; how many.
        local_rank: on this machine, which is the number of its GPU.
    """

    rank: int
    size: int
    local_rank: int

    @property
    def is_first(self) -> bool:
        """Whether this process puts the results together."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes have come here.

        Raises:
            RunError: if one of them is gone.
        """
        if self.size > 1:
            try:
                dist.barrier()
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0].partition(". This is")[0]
                raise RunError(
                    f"rank {self.rank}: another process is gone ({reason}); run the same command again: "
                    "finished scenes are kept"
                ) from error


@contextmanager
def own_share() -> Iterator[Share]:
    """This process alone, or as one of those that torchrun started.

    Raises:
        InputError: if the processes do not find each other.
    """
    share = Share(*(int(os.environ.get(*pair)) for pair in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))))
    if share.size == 1:
        yield share
        return
    try:
        dist.init_process_group("gloo", rank=share.rank, world_size=share.size, timeout=LONGEST)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"process {share.rank} of {share.size} did not find the others ({reason}); start all with torchrun"
        ) from None
    try:
        yield share
    finally:
        dist.destroy_process_group()

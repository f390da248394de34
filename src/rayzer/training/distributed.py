"""Processes that train together: how they start, what they agree on, and how one that is lost is noticed."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.distributed.distributed_c10d import Store
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from rayzer.data.parallel import available_cpus
from rayzer.devices import choose_device
from rayzer.errors import InputError, RunError
from rayzer.model.transformer import Stack
from rayzer.training.interruption import Interrupted
from rayzer.training.recipe import ProcessConfig

START_S = 600.0  # compiling, reading checkpoints, the first batch: a silent process is waited for this long
SAVING = "saving"  # a living process that does this is waited for just as long: disks are slow
STORE_S = 10.0  # a store that does not answer for so long is gone
LOST = 75  # exit code (EX_TEMPFAIL) of a process that gives up on others; starting again may help


@dataclass(frozen=True)
class World:
    """This process among those that train together.

    Attributes:
        rank, size: from 0; how many.
        device: where this one computes.
        watchdog: notices lost processes; None for a process alone.
    """

    rank: int
    size: int
    device: torch.device
    watchdog: Watchdog | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes what all have in common."""
        return self.rank == 0

    def gather(self, values: Tensor) -> Tensor:
        """The [n] of every process as [size, n]: the same on all of them."""
        if self.size == 1:
            return values[None]
        rows = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(rows, values)
        return torch.stack(rows)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of [n] over all processes."""
        return self.gather(values).sum(0)

    def from_first(self, value: int) -> int:
        """A whole number that the first process knows."""
        return int(self.gather(torch.tensor([value], device=self.device))[0])

    def texts(self, text: str) -> list[str]:
        """A text of every process, on all of them; for rare events."""
        data = torch.tensor(list(text.encode()), dtype=torch.uint8, device=self.device)
        longest = int(self.gather(torch.tensor([len(data)], device=self.device)).max())
        padded = torch.nn.functional.pad(data, (0, longest - len(data)))
        return [bytes(row.tolist()).rstrip(b"\0").decode() for row in self.gather(padded)]

    def raise_if_any(self, signal: int) -> None:
        """Raise Interrupted on all processes if one of them received a signal; all must call this together."""
        received = int(self.gather(torch.tensor([signal], device=self.device)).max())
        if received:
            raise Interrupted(received)

    def at(self, place: str, step: int = -1) -> None:
        """Tell the watchdog where this process is."""
        if self.watchdog is not None:
            self.watchdog.at(place, step)


@contextmanager
def joined_world(config: ProcessConfig, device: str = "auto") -> Iterator[World]:
    """This process alone, or as one of those that torchrun started (it sets RANK, WORLD_SIZE, LOCAL_RANK).

    Raises:
        InputError: if the device is not there, or the processes do not find each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, choose_device(device, ("cuda", "cpu")))
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = choose_device(device, ("cuda", "cpu"))
    if chosen.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise InputError(f"process {local_rank} of this machine has no GPU of its own; start as many as there are")
        chosen = torch.device("cuda", local_rank)
        torch.cuda.set_device(chosen)
    _join(rank, size, chosen, config)
    watchdog = Watchdog(rank, size, _own_connection(), config.timeout_s)
    watchdog.start()
    try:
        yield World(rank, size, chosen, watchdog)
    finally:
        watchdog.stop()
        if sys.exc_info()[0] is None:
            dist.destroy_process_group()


def _join(rank: int, size: int, device: torch.device, config: ProcessConfig) -> None:
    """NCCL for GPUs, gloo for CPUs. Their own timeout is longer than the watchdog's, which can name the lost rank."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(
            backend,
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=START_S + 2 * config.timeout_s),
            device_id=device if device.type == "cuda" else None,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"process {rank} of {size} did not find the others ({str(error).splitlines()[0]}); start all with torchrun"
        ) from None


def _own_connection() -> Store:
    """To the store that the processes met at; a call on another connection may wait there for long."""
    store = distributed_c10d._get_default_store().clone()
    store.set_timeout(timedelta(seconds=STORE_S))
    return store


@contextmanager
def lost_processes_named(world: World) -> Iterator[None]:
    """Inside, an error because another process is gone says which one.

    Raises:
        RunError: instead of the error, which is of the network's.
    """
    try:
        yield
    except RunError:
        raise
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{reason}; lower training.samples_at_once, or set training.recompute=all") from error
    except RuntimeError as error:
        lost = world.watchdog.lost() if world.watchdog is not None else ""
        if not lost:
            raise
        reason = str(error).strip().splitlines()[0]
        raise RunError(f"rank {world.rank}: {lost} ({reason}); start again to resume") from error


@contextmanager
def cpu_threads(world: World, workers: int) -> Iterator[None]:
    """Inside, a process that computes on the CPU leaves its share of the cores to its data workers."""
    before = torch.get_num_threads()
    if world.device.type == "cpu":
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, min(before, available_cpus() // here - workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def distribute(model: nn.Module, world: World, config: ProcessConfig) -> nn.Module:
    """The module to call for training: the model itself, wrapped (DDP), or sharded in place (FSDP2)."""
    if world.size == 1 and config.sharding == "ddp":
        return model
    if config.sharding == "ddp":
        ids = [world.device.index] if world.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)
    if world.size == 1:
        raise InputError("training.processes.sharding = fsdp needs several processes; start them with torchrun")
    for stack in [module for module in model.modules() if isinstance(module, Stack)]:
        for block in stack.blocks:
            fully_shard(block)
            for method in getattr(block, "also_called", ()):
                register_fsdp_forward_method(block, method)
    fully_shard(model)
    return model


@contextmanager
def gradient_sync(module: nn.Module, enabled: bool) -> Iterator[None]:
    """Around forward *and* backward of a micro-batch: whether its gradients are averaged over all processes."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(enabled)
    silent = isinstance(module, DistributedDataParallel) and not enabled
    with module.no_sync() if silent else nullcontext():  # type: ignore[union-attr]
        yield


def reshard(module: nn.Module) -> None:
    """Let a sharded model forget the whole weights that a pass without gradients leaves behind.

    Else the next pass would use them, though the shards have changed.
    """
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


@dataclass
class Watchdog:
    """A thread that ends this process when the work does not go on because another process is lost.

    Every process tells where it is, and a thread of its own passes that on to a store that all can read. A process
    whose own work has not moved for `timeout_s` looks there: those that no longer tell anything are dead or stopped;
    else the one that is furthest behind is waited for. It says so and exits, because a process that waits inside a
    collective operation can neither be interrupted nor continue.
    """

    rank: int
    size: int
    store: Store
    timeout_s: float
    _place: tuple[int, str] = (-1, "start")
    _known: set[str] = field(default_factory=set)
    _since: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to watch."""
        self.thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self.thread.join()

    def at(self, place: str, step: int) -> None:
        """Note progress; called often, by the thread that works."""
        if place != self._place[1]:
            self._known.add(self._place[1])
        self._place, self._since = (step, place), time.monotonic()

    @property
    def patience_s(self) -> float:
        """How long the work may stand still: long at the start and the first time at a place, where models compile."""
        return self.timeout_s if self._place[1] in self._known else max(self.timeout_s, START_S)

    @property
    def _every_s(self) -> float:
        return min(5.0, self.timeout_s / 10)

    def _run(self) -> None:
        beat = 0
        while not self._stop.wait(self._every_s):
            beat += 1
            stands_still = time.monotonic() - self._since > self.patience_s
            try:
                self.store.set(self._key(self.rank), json.dumps([beat, *self._place]))
                if stands_still and (reason := self._reason_to_end()):
                    self._give_up(reason)
            except RuntimeError as error:  # it may be busy; or it went with the process or launcher that held it
                if stands_still and not self._stop.is_set():
                    self._give_up(f"the process that others meet at does not answer ({str(error).splitlines()[0]})")

    def lost(self) -> str:
        """Which processes give no sign of life; takes a few seconds. Empty if all do."""
        before = self._beats()
        time.sleep(2.5 * self._every_s)
        after = self._beats()
        silent = [rank for rank in range(self.size) if before[rank] == after[rank] and rank != self.rank]
        named = ", ".join(f"rank {rank} ({_told(after[rank])})" for rank in silent)
        return f"no sign of life from {named}: dead, stopped, or its machine is gone" if silent else ""

    def _reason_to_end(self) -> str:
        """Who is lost; or who is waited for, unless it does what may take long (writing to a slow disk)."""
        lost, beats = self.lost(), self._beats()
        last = min(range(self.size), key=lambda rank: beats[rank][1])
        busy = beats[last][2] == SAVING and time.monotonic() - self._since < START_S
        return lost or ("" if busy else f"all wait for rank {last} ({_told(beats[last])})")

    def _beats(self) -> list[list]:
        keys = [self._key(rank) for rank in range(self.size)]
        return [json.loads(self.store.get(key)) if self.store.check([key]) else [0, -1, "start"] for key in keys]

    def _key(self, rank: int) -> str:
        return f"rayzer/place/{rank}"

    def _give_up(self, reason: str) -> None:
        print(
            f"rayzer: rank {self.rank}: no progress for {self.patience_s:.0f} s; {reason}", file=sys.stderr, flush=True
        )
        os._exit(LOST)


def _told(beat: list) -> str:
    _, step, place = beat
    return f"last seen at {place}" + (f", step {step}" if step >= 0 else "")

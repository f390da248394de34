"""Batches of training samples: worker processes, this process's share of every step, and the way to the GPU."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, default_collate

from rayzer.data.dataset import Problem, Sample, SampleStream
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras
from rayzer.view_split import ViewSplit

LOOK_AFTER_S = 2.0  # without a batch, whether all workers are alive


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of one step; the views of each are sorted by frame.

    Attributes:
        images: uint8 [b, v, 3, h, w] from the loader, float32 in [0, 1] after `to_device`.
        frames: int64 [b, v] frame numbers in the scenes.
        split: context and target as positions among the `v` views.
        scenes: b names.
        cameras: float32 [b, v], if any of the samples has them; not a number for samples that have none.
        depth_m: float32 [b, v, rows, columns], likewise; see `Sample`.
        problems: what was wrong with the data of these samples.
        replaced: how many of them stand in for samples that could not be made.
    """

    images: Tensor
    frames: Tensor
    split: ViewSplit
    scenes: tuple[str, ...]
    cameras: Cameras | None = None
    depth_m: Tensor | None = None
    problems: tuple[Problem, ...] = ()
    replaced: int = 0

    def __len__(self) -> int:
        return len(self.scenes)

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU copies from directly; the loader calls this."""
        return self.map(Tensor.pin_memory)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Apply one function to all tensors (pin, move)."""
        split = ViewSplit(function(self.split.context), function(self.split.target))
        cameras = None if self.cameras is None else self.cameras.map(function)
        depth_m = None if self.depth_m is None else function(self.depth_m)
        images, frames = function(self.images), function(self.frames)
        return replace(self, images=images, frames=frames, split=split, cameras=cameras, depth_m=depth_m)


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """Copy a batch to a device, without waiting where it is pinned, and make its images float32 in [0, 1]."""
    moved = batch.map(lambda value: value.to(device, non_blocking=True))
    # On a GPU, division by a Python number multiplies by its reciprocal, which differs for 126 of the 256 bytes.
    white = torch.full((), 255.0, device=device)
    return replace(moved, images=moved.images.to(torch.float32, memory_format=torch.contiguous_format) / white)


def collate(samples: Sequence[Sample | InputError]) -> Batch | InputError:
    """Samples of one step as a batch; the first error if there is one."""
    made: list[Sample] = []
    for sample in samples:
        if isinstance(sample, InputError):
            return sample
        made.append(sample)
    shapes = {tuple(sample.images.shape[-2:]): sample.scene for sample in made}
    if len(shapes) > 1:
        of_each = ", ".join(f"{height}x{width} ({scene})" for (height, width), scene in shapes.items())
        return InputError(f"pictures of different shapes do not fit into one batch: {of_each}; crop them to squares")
    grids = {tuple(sample.depth_m.shape[-2:]): sample.scene for sample in made if sample.depth_m is not None}
    if len(grids) > 1:
        of_each = ", ".join(f"{rows}x{columns} ({scene})" for (rows, columns), scene in grids.items())
        return InputError(
            f"depth at different numbers of cells does not fit into one batch: {of_each}; make all rooms with one "
            "--depth-cell"
        )
    return Batch(
        _stacked([sample.images for sample in made]),
        torch.stack([sample.frames for sample in made]),
        ViewSplit(*(torch.cat([getattr(s.split, part) for s in made]) for part in ("context", "target"))),
        tuple(sample.scene for sample in made),
        _cameras(made),
        _depth(made),
        tuple(problem for sample in made for problem in sample.problems),
        sum(sample.replaces for sample in made),
    )


def _cameras(samples: Sequence[Sample]) -> Cameras | None:
    """[b, v], if there are any."""
    known = next((sample.cameras for sample in samples if sample.cameras is not None), None)
    if known is None:
        return None
    none = known.map(lambda value: torch.full_like(value, torch.nan))
    parts = [none if sample.cameras is None else sample.cameras for sample in samples]
    return Cameras.cat([part.map(lambda value: value[None]) for part in parts])


def _depth(samples: Sequence[Sample]) -> Tensor | None:
    """[b, v, rows, columns], if there is any."""
    known = next((sample.depth_m for sample in samples if sample.depth_m is not None), None)
    if known is None:
        return None
    none = torch.full_like(known, torch.nan)
    return torch.stack([none if sample.depth_m is None else sample.depth_m for sample in samples])


def _stacked(images: Sequence[Tensor]) -> Tensor:
    """[b, v, 3, h, w], channels last in memory; in a worker, `default_collate` writes straight to shared memory."""
    return default_collate([image.permute(0, 2, 3, 1) for image in images]).permute(0, 1, 4, 2, 3)


class StepSampler(Sampler[list[tuple[int, int]]]):
    """The (step, slot) pairs of one process: a list for every micro-batch, slots in order, step after step.

    Args:
        steps: from the step at which the run starts or resumes.
        slots: this process's part of the global batch, at least one.
        samples_at_once: most samples of a micro-batch, at least 1 (a step's last may be smaller); None for all slots.
    """

    def __init__(self, steps: range, slots: range, samples_at_once: int | None = None):
        at_once = len(slots) if samples_at_once is None else samples_at_once
        self.steps = steps
        self.parts = [slots[first : first + at_once] for first in range(0, len(slots), at_once)]

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(step, slot) for slot in part] for step in self.steps for part in self.parts)


def training_batches(
    stream: SampleStream,
    steps: range,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    start_method: str | None = None,
    samples_at_once: int | None = None,
    timeout_s: float = 0,
) -> Iterator[Batch]:
    """The batches of one process, one or several for every step; the same whatever the number of workers.

    Workers stay for the whole run; torch gives each one thread. Batches are pinned where there is a GPU.

    Args:
        stream: all samples of the run.
        steps: from the step at which the run starts or resumes.
        workers: processes that decode; 0 to decode in this one.
        rank, world_size: which of how many processes this is; each takes an equal part of every global batch.
        start_method: "fork", "spawn" or "forkserver"; None for Python's default.
        samples_at_once: most samples of a batch: a process's part of a step comes in as many consecutive ones as it
            takes, of which the last may be smaller; None for the whole part in one.
        timeout_s: how long to wait for a batch of the workers before giving them up for hung; 0 for ever.

    Raises:
        ValueError: if there is no such rank, or `samples_at_once` is less than 1.
        InputError: if the batch cannot be shared out equally (at once), or no sample can be made (by the iterator).
        RuntimeError: if a worker died, or none answered in time (by the iterator).
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size} processes")
    if samples_at_once is not None and samples_at_once < 1:
        raise ValueError(f"batches of {samples_at_once} samples")
    if stream.batch_size % world_size:
        raise InputError(
            f"a batch of {stream.batch_size} cannot be shared out equally to {world_size} processes; change either"
        )
    share = stream.batch_size // world_size
    loader = DataLoader(
        stream,
        batch_sampler=StepSampler(steps, range(rank * share, (rank + 1) * share), samples_at_once),
        num_workers=workers,
        timeout=min(LOOK_AFTER_S, timeout_s or LOOK_AFTER_S) if workers else 0,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=start_method if workers else None,
        worker_init_fn=_signals_of_a_worker,
        generator=torch.Generator(),  # else the loader would draw its (unused) seed from the global one
    )
    return _unwrapped(loader, timeout_s)


def _signals_of_a_worker(_: int) -> None:
    """Ctrl-C is for the training process alone; a worker that it ends must end, whatever handler it was forked with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _unwrapped(loader: DataLoader, timeout_s: float) -> Iterator[Batch]:
    batches = iter(loader)
    while (batch := _patiently(batches, timeout_s)) is not None:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _patiently(batches: Iterator[Batch | InputError], timeout_s: float) -> Batch | InputError | None:
    """The next batch, or None after the last; a dead worker is noticed soon, a silent one after `timeout_s`."""
    started = time.monotonic()
    while True:
        try:
            return next(batches, None)
        except (EOFError, ConnectionError, FileNotFoundError) as error:
            raise RuntimeError(f"a worker died while it handed over a batch ({error!r})") from error
        except RuntimeError as error:  # of the loader, which looks for dead workers when its own, short time is over
            if "timed out" not in str(error):
                raise
            if timeout_s and time.monotonic() - started > timeout_s:
                raise RuntimeError(f"timed out: no batch of the workers in {timeout_s:g} s") from None

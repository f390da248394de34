"""How fast procedural rooms are made, composing included: 24 views of 128x128 pixels of every room."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from typing import get_args

import torch

from rayzer.data.synthetic.rooms import ComposedRoom, Quality, compose, render_rooms

VIEWS, IMAGE_SIZE = 24, 128
ROUNDS = 5
QUALITIES: tuple[Quality, ...] = get_args(Quality)

_ROOMS_AT_ONCE = 32  # on a GPU
_CALLS_PER_ROUND = 4


@dataclass(frozen=True)
class RoomRate:
    """The median of five rounds: on a CPU all workers render, on a GPU they compose and one process renders."""

    quality: Quality
    workers: int
    images_per_s: float


def measure_on_cpu(quality: Quality, workers: int) -> RoomRate:
    """Rooms rendered side by side, one a worker in every round."""
    with _workers(workers) as pool:
        seeds = count()

        def one_round() -> int:
            return sum(pool.map(_rendered, [next(seeds) for _ in range(workers)], [quality] * workers))

        return RoomRate(quality, workers, _median_rate(one_round))


def measure_on_gpu(quality: Quality, device: str, workers: int) -> RoomRate:
    """Batches of rooms rendered on a GPU while worker processes compose the next ones."""
    with _workers(workers) as pool:
        rooms = _composed(pool)

        def one_round() -> int:
            for _ in range(_CALLS_PER_ROUND):
                render_rooms([next(rooms) for _ in range(_ROOMS_AT_ONCE)], IMAGE_SIZE, quality, device)
            torch.cuda.synchronize()
            return _CALLS_PER_ROUND * _ROOMS_AT_ONCE * VIEWS

        return RoomRate(quality, workers, _median_rate(one_round))


def _median_rate(one_round: Callable[[], int]) -> float:
    """Median images a second of a function that makes some and returns how many, after one round to warm up."""
    rates = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        rates.append(one_round() / (time.perf_counter() - start))
    return statistics.median(rates[1:])


@contextmanager
def _workers(number: int) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(number, get_context("spawn")) as pool:
        yield pool
        pool.shutdown(cancel_futures=True)


def _rendered(seed: int, quality: Quality) -> int:
    render_rooms([compose(seed, VIEWS)], IMAGE_SIZE, quality)
    return VIEWS


def _composed(pool: ProcessPoolExecutor) -> Iterator[ComposedRoom]:
    """Rooms of one seed after the other, composed ahead."""
    ahead: deque[Future[ComposedRoom]] = deque()
    for seed in count():
        ahead.append(pool.submit(compose, seed, VIEWS))
        if len(ahead) > 4 * _ROOMS_AT_ONCE:
            yield ahead.popleft().result()

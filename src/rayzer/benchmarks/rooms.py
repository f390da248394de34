"""How fast procedural rooms are made, composing included: 24 views of 128x128 pixels of every room."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import get_args

import torch

from rayzer.data.parallel import in_order, worker_pool
from rayzer.data.synthetic.room_jobs import ROOMS_AT_ONCE
from rayzer.data.synthetic.rooms import Quality, compose, render_rooms

VIEWS, IMAGE_SIZE = 24, 128
ROUNDS = 5
QUALITIES: tuple[Quality, ...] = get_args(Quality)

_CALLS_PER_ROUND = 4


@dataclass(frozen=True)
class RoomRate:
    """The median of five rounds: on a CPU all workers render, on a GPU they compose and one process renders."""

    quality: Quality
    workers: int
    images_per_s: float


def measure_on_cpu(quality: Quality, workers: int) -> RoomRate:
    """Rooms rendered side by side, one a worker in every round."""
    with worker_pool(workers) as pool:
        seeds = count()

        def one_round() -> int:
            return sum(pool.map(_rendered, [next(seeds) for _ in range(workers)], [quality] * workers))

        return RoomRate(quality, workers, _median_rate(one_round))


def measure_on_gpu(quality: Quality, device: str, workers: int) -> RoomRate:
    """Batches of rooms rendered on a GPU while worker processes compose the next ones."""
    with worker_pool(workers) as pool:
        rooms = in_order(pool, partial(compose, views=VIEWS), count(), ahead=4 * ROOMS_AT_ONCE)

        def one_round() -> int:
            for _ in range(_CALLS_PER_ROUND):
                render_rooms([next(rooms) for _ in range(ROOMS_AT_ONCE)], IMAGE_SIZE, quality, device)
            torch.cuda.synchronize()
            return _CALLS_PER_ROUND * ROOMS_AT_ONCE * VIEWS

        return RoomRate(quality, workers, _median_rate(one_round))


def _median_rate(one_round: Callable[[], int]) -> float:
    """Median images a second of a function that makes some and returns how many, after one round to warm up."""
    rates = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        rates.append(one_round() / (time.perf_counter() - start))
    return statistics.median(rates[1:])


def _rendered(seed: int, quality: Quality) -> int:
    render_rooms([compose(seed, VIEWS)], IMAGE_SIZE, quality)
    return VIEWS

"""Work in several processes that end with this one, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import TypeVar

from rayzer.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cpus() -> int:
    """How many CPU cores this process may use (a cluster may grant fewer than the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_they_come(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results of `function` for all items, in the order in which they are ready.

    Args:
        function: a function of a module (or a `partial` of one); with one worker it runs in this process.
        items: what it is called with.
        workers: how many processes.

    Raises:
        InputError: if a process is killed from outside.
        Exception: what `function` raises; work in progress is ended at once then, or when the caller stops asking.
    """
    if min(workers, len(items)) <= 1:
        yield from map(function, items)
        return
    with worker_pool(min(workers, len(items))) as pool:
        for future in as_completed([pool.submit(function, item) for item in items]):
            yield future.result()


def in_order(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Results of `function` for all items, in their order; up to `ahead` are in work before they are asked for.

    Raises:
        Exception: what `function` raises.
    """
    begun: deque[Future[Result]] = deque()
    for item in items:
        begun.append(pool.submit(function, item))
        if len(begun) > ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes for as long as the block lasts; what they are doing when it ends with an error is ended at once.

    Raises:
        InputError: if a process is killed from outside.
    """
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _end_with, (ours,))
    try:
        yield pool
        pool.shutdown(cancel_futures=True)
    except BrokenProcessPool:
        problem = "a worker process was killed, perhaps for want of memory"
        raise InputError(f"{problem}; run the same command again when more is free, or on another machine") from None
    finally:
        theirs.close()
        pool.shutdown(cancel_futures=True)


def _context() -> BaseContext:
    """Workers are forked from a server without threads (forking a process that has some can hang), which has imported
    everything and shares that memory with them; on Windows each of them starts from scratch."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rayzer.data.forkserver"])
    return context


def _end_with(connection: Connection) -> None:
    """Set up a worker: it ends as soon as the other end of `connection` closes, and leaves Ctrl-C to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        connection.poll(None)  # nothing is ever sent
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

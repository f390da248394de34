"""Progress bars on stderr for everything that may take over two seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Tell a progress bar how much is done."""

    def __call__(self, done: float, total: float | None) -> None:
        """`done` of `total` steps are done; None where nobody knows how many there will be."""


@contextmanager
def progress_bar(description: str) -> Iterator[Advance]:
    """A bar with the remaining time; the yielded function is called as `advance(done, total)`.

    In a log file or a pipe there is none: what stands on stderr there is for the reader to act on. Of several processes
    that torchrun started the first has one.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = console.is_terminal and os.environ.get("RANK", "0") == "0"
    with Progress(*columns, console=console, disable=not shown) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)

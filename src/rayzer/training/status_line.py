"""How a run is doing, on stderr: a live line in a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import io
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

WINDOW = 50
"""Rates are means over this many recent steps."""

REFRESH_S = 0.2  # in a terminal

FORMATS: dict[str, Callable[[float], str]] = {
    "loss": lambda value: f"loss {_digits(value)}",
    "psnr": lambda value: f"PSNR {value:.2f}",
    "lr": lambda value: f"lr {value:.2e}",
    "grad_norm": lambda value: f"grad {_digits(value)}",
    "scenes": lambda value: f"{_digits(value, 3)} scenes/s",
    "mfu": lambda value: f"MFU {value:.0%}",
    "data_wait_share": lambda value: f"data wait {value:.0%}",
    "memory_gib": lambda value: f"{value:.1f} GiB",
}
"""How the values of `StatusLine.update` are shown, in this order."""

RATES = ("scenes", "mfu", "data_wait_share")  # as means over the window; of the others, the newest is shown


class StatusLine:
    """Shows step, loss, rates and the remaining time of a run.

    In a terminal it stays at the bottom, below what the loggers write. Elsewhere (Slurm's log, a pipe) it is one plain
    line at the first step, about every `every_s` seconds, and at the last step. To be closed before the program ends.

    Args:
        steps: of the whole run.
        first_step: the step (from 0) that is done next; a terminal shows it at once.
        every_s: seconds between plain lines.
    """

    def __init__(self, steps: int, first_step: int, every_s: float = 10.0):
        self._steps = steps
        self._recent = _Recent()
        self._terminal = _Terminal.open()
        self._every_s = every_s if self._terminal is None else REFRESH_S
        self._shown_s = -math.inf
        if self._terminal is not None:
            self._terminal.show(first_step, steps, "", "?")

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """A step is done.

        Args:
            step: from 0.
            values: those that are known of `loss`; `psnr` in dB; `lr`; `grad_norm`; `scenes`, how many were trained on
                in this step (by all processes); `mfu` and `data_wait_share`, shares of 1; `memory_gib`. Others are
                not shown.
        """
        now_s = time.monotonic()
        self._recent.add(step, now_s, values)
        if now_s - self._shown_s >= self._every_s or step + 1 >= self._steps:
            self._shown_s = now_s
            self._show(step + 1, self._recent.shown(values), self._recent.step_s * (self._steps - step - 1))

    def close(self) -> None:
        """Leave the terminal as it was; may be called twice."""
        if self._terminal is not None:
            self._terminal.close()

    def _show(self, done: int, values: Mapping[str, float], remaining_s: float) -> None:
        text = "  ".join(form(values[key]) for key, form in FORMATS.items() if key in values)
        if self._terminal is not None:
            self._terminal.show(done, self._steps, text, duration(remaining_s))
            return
        share = f"{done / self._steps:.1%}"
        print(
            f"step {done:,}/{self._steps:,} ({share})  {text}  ETA {duration(remaining_s)}", file=sys.stderr, flush=True
        )


def duration(seconds: float) -> str:
    """A time in its two largest units: "3d 4h", "4h 12m", "12m 5s", "45s"; "?" if it is not known."""
    if not math.isfinite(seconds):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days:,}d {hour}h"
    if hours:
        return f"{hour}h {minute}m"
    return f"{minute}m {second}s" if minutes else f"{second}s"


def _digits(value: float, count: int = 4) -> str:
    """A number with so many digits that count; as 1.23e-05 where it is very small or large."""
    if not math.isfinite(value):
        return f"{value}"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{count - 1}e}"
    before_point = len(f"{abs(value):.0f}") if abs(value) >= 1 else math.floor(math.log10(abs(value) or 1)) + 1
    return f"{value:,.{max(0, count - before_point)}f}"


class _Recent:
    """When recent steps ended and what was rated then.

    The first step is left out as soon as there is another: it compiles, and says nothing about the rest.
    """

    def __init__(self) -> None:
        self._ends: deque[tuple[int, float]] = deque(maxlen=WINDOW + 1)
        self._rated: deque[Mapping[str, float]] = deque(maxlen=WINDOW)

    def add(self, step: int, now_s: float, values: Mapping[str, float]) -> None:
        if len(self._ends) == 1:
            self._rated.clear()
        self._ends.append((step, now_s))
        self._rated.append({key: values[key] for key in RATES if key in values})

    @property
    def step_s(self) -> float:
        """Seconds per step; NaN after one."""
        (first, start_s), (last, end_s) = self._ends[0], self._ends[-1]
        return (end_s - start_s) / (last - first) if last > first else math.nan

    def shown(self, values: Mapping[str, float]) -> dict[str, float]:
        """The newest values, with means of those that are rates; `scenes` becomes scenes per second."""
        shown = dict(values)
        for key in shown.keys() & set(RATES):
            known = [rated[key] for rated in self._rated if key in rated]
            shown[key] = sum(known) / len(known)
        if "scenes" in shown:
            shown["scenes"] = shown["scenes"] / self.step_s if self.step_s > 0 else math.nan
        return {key: value for key, value in shown.items() if key != "scenes" or math.isfinite(value)}


class _Terminal:
    """The live line, and log messages above it."""

    def __init__(self, console: Console):
        from rich.live import Live

        self._live: Live = Live(console=console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())
        self._handlers = _handlers_of(sys.stderr)
        self._stream = sys.stderr
        self._live.start()
        for handler in self._handlers:
            handler.setStream(_Above(console))

    @staticmethod
    def open() -> _Terminal | None:
        """The live line if stderr is a terminal that can show one."""
        from rich.console import Console

        console = Console(stderr=True)
        able = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
        return _Terminal(console) if able else None

    def show(self, done: int, steps: int, text: str, remaining: str) -> None:
        self._live.update(_lines(done, steps, text, remaining), refresh=True)

    def close(self) -> None:
        self._live.stop()
        for handler in self._handlers:
            handler.setStream(self._stream)


def _lines(done: int, steps: int, text: str, remaining: str) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 1))
    head.add_row(ProgressBar(steps, done, width=30), f"{done:,}/{steps:,} steps", f"ETA {remaining}")
    return Group(head, Text(text))


class _Above(io.TextIOBase):
    """A stream for log handlers that writes above the live line; lines are not broken to the terminal's width."""

    def __init__(self, console: Console):
        self._console = console

    def write(self, text: str) -> int:
        self._console.print(text, end="", markup=False, highlight=False, emoji=False, soft_wrap=True)
        return len(text)


def _handlers_of(stream: object) -> list[logging.StreamHandler]:
    """The handlers of the root and of rayzer's logger that write to a stream."""
    handlers = [*logging.getLogger().handlers, *logging.getLogger("rayzer").handlers]
    return [one for one in handlers if isinstance(one, logging.StreamHandler) and one.stream is stream]

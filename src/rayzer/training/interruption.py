"""SIGTERM and SIGINT end a run after the step that is under way, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Interruption:
    """Inside, the two signals are noted instead of obeyed; a second Ctrl-C ends the process at once.

    Attributes:
        signal: the one that came, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0

    def __enter__(self) -> Interruption:
        on_main_thread = threading.current_thread() is threading.main_thread()  # others get no signals
        numbers = EXIT_CODES if on_main_thread else {}
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == number:
            raise KeyboardInterrupt
        self.signal = self.signal or number


class Interrupted(Exception):
    """A process was asked to end; all of them leave what they were doing, at a place where nothing is half done.

    Args:
        signal: what it was asked with.
    """

    def __init__(self, signal: int):
        super().__init__(signal)
        self.signal = signal

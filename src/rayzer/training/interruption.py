"""SIGTERM and SIGINT end a run after the step that is under way, with a checkpoint."""

from __future__ import annotations

import signal
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
        self._before = {number: signal.signal(number, self._note) for number in EXIT_CODES}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == number:
            raise KeyboardInterrupt
        self.signal = self.signal or number

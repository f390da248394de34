"""What the server imports first that worker processes are forked from (see `parallel`).

A worker whose parent ends while it starts finds nothing to do. That is no fault, so it ends in silence: else its
traceback would follow the one line that the parent prints, or the shell's prompt.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us while we import, too; our parent answers it

import sys  # noqa: E402
from types import TracebackType  # noqa: E402

import rayzer.data.formats  # noqa: E402, F401 (all workers share its memory)

_PARENT_IS_GONE = (FileNotFoundError, EOFError, ConnectionError)


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what kept a worker from starting, unless its parent is gone."""
    if not issubclass(kind, _PARENT_IS_GONE):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report

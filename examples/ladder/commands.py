"""Commands of rayzer in processes of their own."""

import signal
import subprocess
import sys


def rayzer(*words: object) -> None:
    """Run a command of rayzer; when this script is stopped, the command may save what it has.

    Raises:
        SystemExit: with its exit code, unless that is 0.
    """
    with subprocess.Popen([sys.executable, "-m", "rayzer", *map(str, words)]) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while (code := waited(process)) is None:
            pass
    if code:
        raise SystemExit(code)


def waited(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code; None if Ctrl-C was pressed, of which the process knows, too."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        return None

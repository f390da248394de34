"""The one error type for mistakes that a user can mend, and how such messages are printed."""

import re


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and says what to do.

    The command line prints the message as one plain line and exits with code 2.
    """


class RunError(RuntimeError):
    """A long run had to end, though nothing that the user gave was wrong; the message says why and how to go on.

    The command line prints the message as one plain line and exits with code 1.
    """


def seen_from(folder: object, message: str) -> str:
    """The message with paths below `folder` as they are seen from there."""
    return re.sub(rf"(?<![^\s'\"(]){re.escape(str(folder))}[/\\]", "", message)


def one_line(message: str) -> str:
    """The message as one plain line: names of files may hold line ends, and codes that a terminal would obey."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", " ".join(message.split()))


def counted(count: int, noun: str) -> str:
    """A number of things: "1 frame", "1,200 frames"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

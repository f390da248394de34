"""Gzipped JSON lists of any length, read object by object: as a whole they would take gigabytes of memory."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rayzer.errors import InputError

MAX_CHARACTERS = 4 * 2**30

_CHUNK = 2**20
_LARGEST_OBJECT = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def objects_in(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a gzipped JSON file that holds one list of objects.

    Numbers that are not finite (`NaN`, `1e999`) are read; whoever uses a number checks it.

    Raises:
        InputError: naming the file, while iterating, if it is missing, damaged, no such list, or unpacks to
            more than 4 GB of text (which a few megabytes can).
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from _Reader(file, path).objects()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: holds text that is not UTF-8; copy it again") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be unpacked ({reason}); copy it again") from error


class _Reader:
    """A window on the text that moves from object to object."""

    def __init__(self, file: TextIO, path: Path):
        self.file = file
        self.path = path
        self.text = ""
        self.position = 0
        self.characters = 0

    def objects(self) -> Iterator[dict[str, Any]]:
        """The objects of the list, which must be all that is in the file."""
        self._take("[")
        if self._symbol() == "]":
            self._take("]")
        else:
            yield self._object()
            while self._take(",]") == ",":
                yield self._object()
        if self._symbol():
            self._refuse()

    def _object(self) -> dict[str, Any]:
        if self._symbol() != "{":
            self._refuse()
        while True:
            try:
                value, self.position = _DECODER.raw_decode(self.text, self.position)
            except (ValueError, RecursionError):  # perhaps only because it goes on in the next chunk
                if len(self.text) - self.position > _LARGEST_OBJECT or not self._read_on():
                    self._refuse()
            else:
                return value

    def _take(self, expected: str) -> str:
        symbol = self._symbol()
        if not symbol or symbol not in expected:
            self._refuse()
        self.position += 1
        return symbol

    def _symbol(self) -> str:
        """The next character that is no space; it stays. Nothing at the end."""
        while True:
            space = _SPACE.match(self.text, self.position)
            self.position = space.end() if space else self.position
            if self.position < len(self.text) or not self._read_on():
                return self.text[self.position : self.position + 1]

    def _read_on(self) -> bool:
        chunk = self.file.read(_CHUNK)
        self.characters += len(chunk)
        if self.characters > MAX_CHARACTERS:
            raise InputError(f"{self.path}: unpacks to more than {MAX_CHARACTERS >> 30} GB; is this the right file?")
        self.text, self.position = self.text[self.position :] + chunk, 0
        return bool(chunk)

    def _refuse(self) -> NoReturn:
        place = self.characters - len(self.text) + self.position
        raise InputError(f"{self.path}: is not a JSON list of objects (at character {place}); copy it again")

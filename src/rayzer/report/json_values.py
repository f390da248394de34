"""Strict reading of JSON values that remember where they stand, so that a wrong one can be named."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rayzer.errors import InputError

MAX_BYTES = 512 * 2**20


@dataclass(frozen=True)
class JsonValue:
    """One value of a JSON file; `where` names it, as "run/results.json: scenes[3].psnr"."""

    value: object
    where: str

    def __getitem__(self, key: str) -> JsonValue:
        """The value of a key that must be there (it may be null)."""
        if key not in self._object():
            raise InputError(f"{self._inner(key)}: missing; write the results again with rayzer evaluate")
        return JsonValue(self._object()[key], self._inner(key))

    def get(self, key: str) -> JsonValue | None:
        """The value of a key, None where it is absent or null."""
        found = self._object().get(key)
        return None if found is None else JsonValue(found, self._inner(key))

    def entries(self) -> dict[str, JsonValue]:
        """The values of an object that are not null, by key."""
        return {key: JsonValue(value, self._inner(key)) for key, value in self._object().items() if value is not None}

    def items(self, count: int | None = None) -> list[JsonValue]:
        """The values of a list, of `count` of them where that is given."""
        if not isinstance(self.value, list):
            self._refuse("a list")
        if count is not None and len(self.value) != count:
            self._refuse(f"a list of {count}")
        return [JsonValue(value, f"{self.where}[{index}]") for index, value in enumerate(self.value)]

    def number(self) -> float:
        """A finite number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self._refuse("a number")
        try:
            number = float(self.value)
        except OverflowError:  # an integer of hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            self._refuse("a finite number")
        return number

    def count(self) -> int:
        """A whole number, 0 or more."""
        number = self.number()
        if number < 0 or not number.is_integer():
            self._refuse("a whole number, 0 or more")
        return int(number)

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self._refuse("true or false")
        return self.value

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            self._refuse("a string")
        return self.value

    def path(self) -> str:
        """A path that stays in the file's folder."""
        text = self.text()
        parts = text.split("/")
        if not text or "\0" in text or "\\" in text or ".." in parts or parts[0] == "" or ":" in parts[0]:
            self._refuse("a path inside the folder of the file, with / between folders")
        return text

    def _object(self) -> dict:
        if not isinstance(self.value, dict):
            self._refuse("an object {...}")
        return self.value

    def _inner(self, key: str) -> str:
        return f"{self.where}.{key}" if not self.where.endswith(": ") else f"{self.where}{key}"

    def _refuse(self, expected: str) -> NoReturn:
        shown = json.dumps(self.value)
        raise InputError(
            f"{self.where.removesuffix(': ')}: expected {expected}, got {shown[:60]}{'...' * (len(shown) > 60)}; "
            "write the results again with rayzer evaluate"
        )


def read_json(path: Path) -> JsonValue:
    """Read a file that holds one JSON object.

    Raises:
        InputError: naming the file, if it is missing, unreadable, too large or not JSON as the standard has it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MB; is this the right file?")
        value = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run rayzer evaluate first") from None
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{path}: JSON nested too deeply; is this the right file?") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); write it again with rayzer evaluate") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object; is this the right file?")
    return JsonValue(value, f"{path}: ")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")

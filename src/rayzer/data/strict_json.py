"""Strict JSON: what a scene file may hold, and one plain sentence where it holds anything else.

`load_json` reads a file; the validators check one value each. Their `where` says which value it is, as
"FILE: frame 3 (images/0003.png): w2c", and every message starts with it.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rayzer.errors import InputError

MAX_BYTES = 256 * 2**20
_START_BYTES = 64 * 2**10
_MAX_DIGITS = 4000
MAX_SIDE_PX = 1_000_000
RIGID_TOLERANCE = 1e-3  # files hold poses with as few as four digits
MAX_DISTANCE = 1e12  # beyond, products of poses lose the cameras to rounding or overflow


def load_json(path: Path, finite: bool = True) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Args:
        path: a UTF-8 file (a byte order mark is allowed) of at most 256 MB.
        finite: refuse the file for any number that is not finite (`NaN`, `1e999`). Without, such numbers are
            read, for a reader that checks every number it uses and can then name the frame.

    Returns:
        the object; no object in it has a key twice.

    Raises:
        InputError: naming the file, if it is missing, too large, not UTF-8 or not such JSON.
    """
    text = read_text(path)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant if finite else float,
            parse_float=_finite_float if finite else float,
            parse_int=_whole_number,
        )
    except json.JSONDecodeError as error:
        problem = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: not valid JSON ({problem}); mend the file or export it again") from error
    except RecursionError as error:
        raise InputError(f"{path}: JSON nested too deeply; is this the right file?") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}; mend the file or export it again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds a {_kind(value)}, expected an object {{...}}; is this the right file?")
    return value


def mentions(path: Path, key: str) -> bool:
    """Whether a JSON file has a key of this name in its first 64 kB: enough to tell formats apart, cheaply."""
    return f'"{key}"'.encode() in start_of(path, _START_BYTES)


def start_of(path: Path, size: int) -> bytes:
    """The first `size` bytes of a file, fewer where it is shorter, none where it is no file or cannot be read."""
    try:
        if not path.is_file():  # reading a pipe would wait for somebody to write
            return b""
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def finite_floats(value: object, count: int, where: str) -> tuple[float, ...]:
    """Check a list of `count` finite numbers.

    Raises:
        InputError: starting with `where`, if `value` is anything else.
    """
    if not isinstance(value, list) or len(value) != count:
        raise InputError(f"{where}: expected a list of {count} numbers, got {_describe(value)}")
    return tuple(finite_float(item, where) for item in value)


def finite_float(value: object, where: str) -> float:
    """Check one finite number.

    Raises:
        InputError: starting with `where`, if `value` is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: expected a number, got {_describe(value)}")
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{where}: the number is not finite; mend the file or leave this out")
    return number


def side_px(value: object, where: str) -> int:
    """Check a width or height in pixels: a whole number (1080.0 counts) from 1 to 1,000,000.

    Raises:
        InputError: starting with `where`, if `value` is anything else.
    """
    number = finite_float(value, where)
    if not number.is_integer() or not 1 <= number <= MAX_SIDE_PX:
        raise InputError(
            f"{where}: {number:g} is not a size in pixels; expected a whole number from 1 to {MAX_SIDE_PX:,}"
        )
    return int(number)


def rigid_matrix(value: object, where: str) -> np.ndarray:
    """Check a 4x4 list of lists that holds a rotation and a translation.

    Returns:
        float64 [4, 4], as in the file (the rotation is orthonormal to 1e-3, not made exactly so).

    Raises:
        InputError: starting with `where`, if the shape is wrong, a number is not finite or absurdly large,
            the 3x3 part is not a rotation (scaled, sheared, mirrored) or the last row is not 0 0 0 1.
    """
    if not isinstance(value, list) or len(value) != 4:
        raise InputError(f"{where}: expected a 4x4 matrix (4 lists of 4 numbers), got {_describe(value)}")
    matrix = np.array([finite_floats(row, 4, where) for row in value], dtype=np.float64)
    return checked_rigid(matrix, where)


def checked_rigid(matrix: np.ndarray, where: str) -> np.ndarray:
    """Check a float64 [4, 4] array: rotation and translation, last row 0 0 0 1; returned as it is.

    Raises:
        InputError: starting with `where`, if it is not finite, not rigid to 1e-3 or farther out than 1e12.
    """
    if not np.abs(matrix).max() <= MAX_DISTANCE:  # put so that NaN is refused as well
        raise InputError(f"{where}: the pose is not finite or above {MAX_DISTANCE:g}; export the poses again")
    rotation = matrix[:3, :3]
    if np.abs(matrix[3] - [0.0, 0.0, 0.0, 1.0]).max() > RIGID_TOLERANCE:
        raise InputError(f"{where}: the last row of a pose must be 0 0 0 1, got {_numbers(matrix[3])}")
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > RIGID_TOLERANCE:
        raise InputError(f"{where}: the 3x3 part of the pose is not a rotation; export the poses again")
    if np.linalg.det(rotation) < 0:
        raise InputError(f"{where}: the pose is mirrored (determinant -1); export the poses again")
    return matrix


def inner_path(folder: Path, value: object, where: str, *, allow_outside: bool = False) -> Path:
    """Join a path found in a file to the folder that it must not leave.

    Only the path's own text is judged: links inside the folder are followed.

    Args:
        folder: what `value` is relative to.
        value: the path as found in the file.
        where: start of the message.
        allow_outside: accept absolute paths and paths that climb out with "..".

    Returns:
        `folder / value` without "." parts; the file need not exist.

    Raises:
        InputError: if `value` is not a usable path or leaves `folder`.
    """
    if not isinstance(value, str) or not _is_file_name(value):
        raise InputError(f"{where}: expected the path of a picture, got {_describe(value)}")
    path = Path(os.path.normpath(value))
    if not path.name:
        raise InputError(f"{where}: expected the path of a picture, got {value!r}, a folder")
    if not allow_outside and (path.is_absolute() or path.parts[:1] == ("..",)):
        raise InputError(
            f"{where}: {value!r} leaves the scene's folder; move the pictures inside or pass --allow-outside"
        )
    return folder / path


def _is_file_name(text: str) -> bool:
    """Whether a file system could hold a file of this name (asking it raises for some texts)."""
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    parts = data.split(b"/")
    return bool(data.strip()) and b"\0" not in data and len(data) < 4096 and max(map(len, parts)) < 256


def read_text(path: Path, kind: str = "a JSON file") -> str:
    """The text of a UTF-8 file (a byte order mark is allowed) of at most 256 MB.

    Args:
        path: the file.
        kind: what messages ask for where `path` is none.

    Raises:
        InputError: naming the file, if it is missing, too large or not UTF-8.
    """
    try:
        if not path.is_file():  # also keeps us from waiting for a pipe
            raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; give {kind}")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES // 2**20} MB; is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def text_lines(path: Path, kind: str) -> list[str]:
    """The lines of such a file, whatever ends them (LF, CRLF, CR), without blanks and tabs around them.

    Raises:
        InputError: as `read_text`.
    """
    return [line.strip(" \t") for line in re.split(r"\r\n|\r|\n", read_text(path, kind))]


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} stands twice in one object")
        result[key] = value
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON allows")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _whole_number(text: str) -> int:
    if len(text) > _MAX_DIGITS:  # Python refuses in words for programmers
        raise ValueError(f"the number {text[:20]}... has {len(text)} digits")
    return int(text)


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:g}" for value in values)


def _describe(value: object) -> str:
    if isinstance(value, list | dict):
        return f"{_kind(value)} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _kind(value: object) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "true/false value", type(None): "null"}
    return names.get(type(value), "number")

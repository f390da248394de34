import json
from pathlib import Path

import numpy as np
import pytest

from rayzer.data.strict_json import (
    checked_rigid,
    finite_float,
    finite_floats,
    inner_path,
    load_json,
    rigid_matrix,
    side_px,
)
from rayzer.errors import InputError

IDENTITY = np.eye(4).tolist()


def _file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "scene.json"
    path.write_bytes(data)
    return path


def test_reads_what_json_allows(tmp_path):
    assert load_json(_file(tmp_path, '{"a": [1, 2.5, null, true], "ü": {"a": "b"}}'.encode())) == {
        "a": [1, 2.5, None, True],
        "ü": {"a": "b"},
    }
    assert load_json(_file(tmp_path, b'\xef\xbb\xbf{"a": 1}')) == {"a": 1}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' stands twice"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b"[1, 2]", "holds a list"),
        (b"null", "holds a null"),
        (b"3", "holds a number"),
    ],
)
def test_refuses_in_one_line_that_names_the_file(tmp_path, data, says):
    path = _file(tmp_path, data)
    with pytest.raises(InputError) as caught:
        load_json(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message


def test_refuses_missing_files_folders_and_giants(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        load_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="is a folder"):
        load_json(tmp_path)
    monkeypatch.setattr("rayzer.data.strict_json.MAX_BYTES", 4)
    with pytest.raises(InputError, match="larger than"):
        load_json(_file(tmp_path, b'{"a": 1}'))


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400, [1]])
def test_only_finite_numbers_are_numbers(value):
    with pytest.raises(InputError, match=r"^FILE: frame 3: fx: "):
        finite_float(value, "FILE: frame 3: fx")


def test_lists_of_numbers():
    assert finite_floats([1, 2.5], 2, "x") == (1.0, 2.5)
    for wrong in ([1], [1, 2, 3], "12", None, {"a": 1, "b": 2}, [1, None]):
        with pytest.raises(InputError, match=r"^x: "):
            finite_floats(wrong, 2, "x")


def test_sizes():
    assert side_px(1080.0, "w") == 1080
    for wrong in (0, -4, 1.5, 1e18, "7", None):
        with pytest.raises(InputError, match=r"^w: "):
            side_px(wrong, "w")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.__setitem__((0, 0), 1.01), "not a rotation"),
        (lambda m: m.__setitem__((2, 2), -1.0), "mirrored"),
        (lambda m: m.__setitem__((3, 3), 2.0), "last row"),
        (lambda m: m.__setitem__((0, 3), 1e300), "above"),
        (lambda m: m.__setitem__((0, 3), np.nan), "not finite"),
    ],
)
def test_what_is_not_rigid(change, says):
    matrix = np.eye(4)
    change(matrix)
    with pytest.raises(InputError, match=f"^pose: .*{says}"):
        checked_rigid(matrix, "pose")


def test_rigid_matrices_keep_their_numbers():
    assert rigid_matrix(IDENTITY, "x").tolist() == IDENTITY
    for wrong in (IDENTITY[:3], [row[:3] for row in IDENTITY], np.eye(4).flatten().tolist(), None, "eye"):
        with pytest.raises(InputError, match=r"^x: "):
            rigid_matrix(wrong, "x")


def test_paths_stay_inside(tmp_path):
    assert inner_path(tmp_path, "./images/a b.png", "x") == tmp_path / "images/a b.png"
    assert inner_path(tmp_path, "images/../b.png", "x") == tmp_path / "b.png"
    for a_folder in (".", "./", "a/.."):
        with pytest.raises(InputError, match=r"^x: expected the path"):
            inner_path(tmp_path, a_folder, "x")
    for outside in ("../a.png", "images/../../a.png", "/etc/a.png"):
        with pytest.raises(InputError, match=r"^x: .*allow-outside"):
            inner_path(tmp_path, outside, "x")
    assert inner_path(tmp_path, "/etc/a.png", "x", allow_outside=True) == Path("/etc/a.png")


@pytest.mark.parametrize("value", [None, 3, "", "  ", "a\0b", json.loads('"\\ud800.png"'), "a" * 300, "a/" * 5000])
def test_texts_that_no_file_can_be_named(tmp_path, value):
    with pytest.raises(InputError, match=r"^x: expected the path") as caught:
        inner_path(tmp_path, value, "x")
    str(caught.value).encode()

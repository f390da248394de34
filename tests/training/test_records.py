"""Records of a run survive crashes, power losses and full disks, and a resumed run writes the same bytes."""

import errno
import json
import logging
import math
import os
import random
import signal
import threading

import pytest

from rayzer.errors import InputError
from rayzer.training import records
from rayzer.training.records import Events, StepRecords


def values_of(step):
    noise = random.Random(step)
    return {"psnr": noise.uniform(5, 40), "loss": noise.random() / 3, "lr": 4e-4 * noise.random(), "skipped": False}


def train(path, first_step, end):
    steps = StepRecords(path, first_step)
    for step in range(first_step, end):
        steps.write(step, values_of(step))
    return steps


@pytest.fixture
def whole(tmp_path):
    """The bytes of a run of 12 steps that nothing interrupted."""
    train(tmp_path / "whole.jsonl", 0, 12)
    return (tmp_path / "whole.jsonl").read_bytes()


def test_lines_read_back_exactly(whole):
    lines = [json.loads(line) for line in whole.decode().splitlines()]
    assert lines == [{"step": step, **values_of(step)} for step in range(12)]
    assert all(list(line) == sorted(line) for line in lines)


def test_every_line_is_on_disk_at_once(tmp_path):
    steps = StepRecords(tmp_path / "metrics.jsonl", 0)
    for step in range(3):
        steps.write(step, {})
        assert (tmp_path / "metrics.jsonl").read_text().count("\n") == step + 1


def test_numbers_that_json_has_not_become_null(tmp_path):
    StepRecords(tmp_path / "m", 0).write(0, {"a": math.nan, "b": -math.inf, "c": 1e-320, "d": 0.1})
    assert (tmp_path / "m").read_text() == '{"a": null, "b": null, "c": 1e-320, "d": 0.1, "step": 0}\n'


WRECKS = {
    "nothing": lambda lines: b"".join(lines),
    "cut line": lambda lines: b"".join(lines)[:-7],
    "no line end": lambda lines: b"".join(lines)[:-1],
    "zeros at the end": lambda lines: b"".join(lines) + bytes(4096),
    "duplicate steps": lambda lines: b"".join([*lines[:7], *lines[5:]]),
    "garbage": lambda lines: b"".join([*lines[:8], b"\xff\xfe\x00\r{}\x85[]\n", *lines[8:]]),
    "other JSON": lambda lines: b"".join([b'[]\n7\nnull\n{"step": true}\n{"step": 1.0}\n{"step": -1}\n', *lines]),
    "deep JSON": lambda lines: b"".join([*lines, b"[" * 100_000 + b"\n"]),
    "wrong order": lambda lines: b"".join(reversed(lines)),
}


@pytest.mark.parametrize("wreck", WRECKS.values(), ids=WRECKS)
def test_a_resumed_run_writes_the_same_bytes(tmp_path, whole, wreck):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(wreck(whole.splitlines(keepends=True)[:10]))
    steps = train(path, 8, 12)
    assert path.read_bytes() == whole
    assert steps.lost == 0
    assert {entry.name for entry in tmp_path.iterdir()} == {"metrics.jsonl", "whole.jsonl"}


def test_cut_anywhere(tmp_path, whole):
    path = tmp_path / "metrics.jsonl"
    for cut in range(len(b"".join(whole.splitlines(keepends=True)[:8])), len(whole), 5):
        path.write_bytes(whole[:cut])
        train(path, 8, 12)
        assert path.read_bytes() == whole, cut


def test_lost_lines_are_counted(tmp_path, whole):
    lines = whole.splitlines(keepends=True)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join([*lines[:3], b"\x00" * 50 + b"\n", *lines[4:6]]))
    steps = train(path, 8, 12)
    assert steps.lost == 3  # 3, 6 and 7
    assert path.read_bytes() == b"".join([*lines[:3], *lines[4:6], *lines[8:]])


def test_a_new_run_starts_anew(tmp_path, whole):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(whole)
    assert train(path, 0, 12).lost == 0
    assert path.read_bytes() == whole


def test_a_whole_file_is_not_written_again(tmp_path, whole):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(whole)
    before = path.stat()
    StepRecords(path, 12)
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("make", [lambda path: StepRecords(path, 0), Events])
def test_what_cannot_be_opened_is_named(tmp_path, make):
    for path in (tmp_path, tmp_path / "absent" / "metrics.jsonl"):
        with pytest.raises(InputError, match=rf"^{path}: cannot be written \(.*\); free the disk or choose another"):
            make(path)


def failing(monkeypatch, error):
    def append(path, data):
        raise error

    monkeypatch.setattr(records, "_append", append)


def test_an_outage_of_the_disk_loses_nothing(tmp_path, whole, monkeypatch, caplog):
    path = tmp_path / "metrics.jsonl"
    steps = train(path, 0, 4)
    caplog.set_level(logging.INFO, "rayzer")
    with monkeypatch.context() as outage:
        failing(outage, OSError(errno.EROFS, os.strerror(errno.EROFS)))
        for step in range(4, 8):
            steps.write(step, values_of(step))
    assert caplog.messages == [f"{path}: cannot be written now (Read-only file system); training goes on"]
    for step in range(8, 12):
        steps.write(step, values_of(step))
    steps.close()
    assert path.read_bytes() == whole
    assert caplog.messages[1:] == [f"{path}: can be written again"]


def test_lines_that_stay_unwritten_are_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(records, "MOST_WAITING", 3)
    steps = train(tmp_path / "metrics.jsonl", 0, 1)
    failing(monkeypatch, OSError(errno.EIO, "broken"))
    for step in range(1, 6):
        steps.write(step, {})
    steps.close()
    assert [message.partition("metrics.jsonl")[2] for message in caplog.messages] == [
        ": cannot be written now (broken); training goes on",
        ": could not be written to the end; 3 lines lost",
    ]


def test_a_disk_that_takes_half_a_line(tmp_path, whole, caplog):
    """A limit on the size of files is a full disk that a test can make: writes are cut short, then refused."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "metrics.jsonl"
    lines = whole.splitlines(keepends=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    answer = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(b"".join(lines[:5])) + 20, hard))
        steps = train(path, 0, 9)
        assert path.read_bytes() == b"".join(lines[:5])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, answer)
    assert len(caplog.messages) == 1
    for step in range(9, 12):
        steps.write(step, values_of(step))
    assert path.read_bytes() == whole


def test_a_folder_that_goes_and_comes_back(tmp_path, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    steps = train(folder / "metrics.jsonl", 0, 2)
    folder.rename(tmp_path / "elsewhere")
    steps.write(2, {})
    (tmp_path / "elsewhere").rename(folder)
    steps.write(3, {})
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()] == [0, 1, 2, 3]


def test_events(tmp_path):
    path = tmp_path / "events.jsonl"
    Events(path).write("start", resumed_from=None, world_size=8)
    path.write_bytes(path.read_bytes() + b'{"event": "sta')  # a crash
    Events(path).write("start", resumed_from="step-00000004")
    first, cut, second = path.read_text().splitlines()
    assert json.loads(first) | {"time": ""} == {"event": "start", "resumed_from": None, "world_size": 8, "time": ""}
    assert json.loads(first)["time"].endswith("+00:00")
    assert cut == '{"event": "sta'
    assert json.loads(second)["resumed_from"] == "step-00000004"


def test_events_of_several_threads(tmp_path):
    events = Events(tmp_path / "events.jsonl")
    threads = [threading.Thread(target=lambda: [events.write("a", i=i) for i in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in (tmp_path / "events.jsonl").open()]) == 200

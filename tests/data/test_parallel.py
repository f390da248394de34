"""Workers give what they are asked for, and end with whoever asks."""

import importlib
import os
import signal
import sys
import time
from functools import partial

import pytest

from rayzer.data.parallel import as_they_come, available_cpus, in_order, worker_pool
from rayzer.errors import InputError


@pytest.mark.parametrize("workers", [1, 2])
def test_all_results_come(workers):
    assert sorted(as_they_come(abs, range(-20, 0), workers)) == list(range(1, 21))
    assert list(as_they_come(abs, [], workers)) == []


def test_results_in_order_and_no_more_ahead_than_asked_for():
    begun = []
    with worker_pool(2) as pool:
        results = in_order(pool, abs, (begun.append(item) or item for item in range(-20, 0)), ahead=3)
        assert next(results) == 20
        assert begun == [-20, -19, -18, -17]
        assert list(results) == list(range(19, 0, -1))


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_raised_and_end_the_work(workers):
    start = time.monotonic()
    with pytest.raises(TypeError):
        list(as_they_come(time.sleep, ["text", 30, 30], workers))
    assert time.monotonic() - start < 20


def test_whoever_stops_asking_does_not_wait():
    start = time.monotonic()
    for _ in as_they_come(time.sleep, [0.1, 30, 30], 2):
        break
    assert time.monotonic() - start < 20


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_worker_that_is_killed():
    with pytest.raises(InputError, match="was killed"):
        list(as_they_come(partial(signal.raise_signal), [signal.SIGKILL] * 2, 2))


def test_workers_whose_parent_is_gone_end_in_silence(capsys, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the module replaces it, and how Ctrl-C is answered
    answer = signal.getsignal(signal.SIGINT)
    report = importlib.reload(importlib.import_module("rayzer.data.forkserver"))._report
    assert signal.signal(signal.SIGINT, answer) is signal.SIG_IGN
    report(FileNotFoundError, FileNotFoundError("a semaphore"), None)
    report(EOFError, EOFError(), None)
    assert capsys.readouterr().err == ""
    report(ImportError, ImportError("what else goes wrong"), None)
    assert "what else goes wrong" in capsys.readouterr().err


def test_cpus():
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)

"""What the watchdog says and does, seen from one process: the others are entries of the store."""

import json
import threading
import time

import pytest
import torch.distributed as dist

from rayzer.training import distributed
from rayzer.training.distributed import Watchdog


class Other(threading.Thread):
    """A process that tells where it is, until it is stopped."""

    def __init__(self, store, rank, step, place):
        super().__init__(daemon=True)
        self.store, self.rank, self.step, self.place, self.going = store, rank, step, place, True
        self.start()

    def run(self):
        beat = 0
        while self.going:
            beat += 1
            self.store.set(f"rayzer/place/{self.rank}", json.dumps([beat, self.step, self.place]))
            time.sleep(0.02)


@pytest.fixture
def watched(monkeypatch):
    """A watchdog of rank 0 of 3 that notes why it gives up instead of ending the process."""
    store = dist.HashStore()
    dog = Watchdog(0, 3, store, timeout_s=1.0)
    reasons = []
    monkeypatch.setattr(dog, "_give_up", reasons.append)
    yield dog, store, reasons
    dog.stop()


def wait_for(reasons):
    """Until the watchdog gives up, however busy the machine is."""
    deadline = time.monotonic() + 30
    while not reasons and time.monotonic() < deadline:
        time.sleep(0.05)
    return reasons


def settled(dog, place, step):
    """Beyond its first time at a place, where models are compiled."""
    for name in (place, "waiting for data", place):
        dog.at(name, step)


def test_a_silent_process_is_named(watched):
    dog, store, reasons = watched
    Other(store, 1, 8, "training")
    Other(store, 2, 7, "waiting for data").going = False
    settled(dog, "training", 8)
    dog.start()
    assert wait_for(reasons)[0].startswith("no sign of life from rank 2 (last seen at waiting for data, step 7)")


def test_the_one_that_is_behind_is_named(watched):
    dog, store, reasons = watched
    Other(store, 1, 7, "waiting for data")
    Other(store, 2, 8, "training")
    settled(dog, "training", 8)
    dog.start()
    assert wait_for(reasons)[0] == "all wait for rank 1 (last seen at waiting for data, step 7)"


def test_a_living_process_may_save_for_long(watched, monkeypatch):
    dog, store, reasons = watched
    Other(store, 1, 7, "saving")
    Other(store, 2, 8, "training")
    settled(dog, "training", 8)
    dog.start()
    time.sleep(2.5)
    assert not reasons
    monkeypatch.setattr(distributed, "START_S", 0.1)
    assert wait_for(reasons)


def test_progress_and_the_start_are_waited_for(watched):
    dog, _, reasons = watched
    dog.start()
    time.sleep(1.5)  # nothing is done yet: models are compiled
    for step in range(20):
        dog.at("training", step)
        time.sleep(0.1)
    assert not reasons


def test_a_store_that_is_gone(watched, monkeypatch):
    dog, _, reasons = watched

    def gone(*_):
        raise RuntimeError("connection reset")

    monkeypatch.setattr(dog, "store", type("Gone", (), {"set": gone})())
    settled(dog, "training", 8)
    dog.start()
    time.sleep(0.5)
    assert not reasons  # it may be busy
    assert wait_for(reasons)[0] == "the process that others meet at does not answer (connection reset)"

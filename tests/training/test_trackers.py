"""Trackers get everything while they work; while they hang, raise or crawl, the run does not notice."""

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import rayzer
from rayzer.errors import InputError
from rayzer.training import trackers
from rayzer.training.trackers import (
    InBackground,
    Trackers,
    WandbTracker,
    read_key,
    require_package,
    start_tensorboard,
    start_wandb,
)

PICTURE = np.zeros((4, 6, 3), np.uint8)
PICTURE[1, 2] = 10, 20, 30


class Remembering:
    """A tracker that notes its calls, each of which waits for `gate`."""

    def __init__(self, gate=None):
        self.calls, self.gate = [], gate

    def scalars(self, step, values):
        self._note("scalars", step, values)

    def picture(self, step, name, picture):
        self._note("picture", step, name)

    def close(self):
        self._note("close")

    def _note(self, *call):
        self.calls.append(call)
        if self.gate is not None:
            self.gate.wait(20)


class Raising(Remembering):
    def __init__(self, where, error):
        super().__init__()
        self.where, self.error = where, error

    def _note(self, *call):
        super()._note(*call)
        if call[0] == self.where:
            raise self.error


@pytest.fixture
def gate():
    """Opened at the end of the test, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def reports():
    return []


@pytest.fixture
def report(reports):
    return lambda event, **values: reports.append((event, values))


def seconds(work):
    start = time.monotonic()
    work()
    return time.monotonic() - start


def test_everything_arrives_in_order(reports, report):
    tracker = Remembering()
    background = InBackground("test", lambda: tracker, report)
    values = {"loss": 1.0}
    background.scalars(0, values)
    values["loss"] = 2.0  # the caller's own
    background.picture(1, "sheet", PICTURE)
    background.scalars(1, values)
    assert background.close() is True
    assert tracker.calls == [
        ("scalars", 0, {"loss": 1.0}),
        ("picture", 1, "sheet"),
        ("scalars", 1, {"loss": 2.0}),
        ("close",),
    ]
    assert reports == []


def test_a_tracker_works_in_a_thread_that_does_not_hold_up_the_end():
    threads = []
    background = InBackground("test", lambda: threads.append(threading.current_thread()) or Remembering())
    background.close()
    assert threads[0] is not threading.main_thread()
    assert threads[0].daemon


def test_a_start_that_hangs(gate, reports, report, caplog):
    background = InBackground("test", lambda: gate.wait(20), report)
    assert seconds(lambda: [background.scalars(step, {"loss": 0.0}) for step in range(1000)]) < 0.5
    assert 0.1 < seconds(lambda: reports.append(background.close(0.2))) < 0.6
    reason = "does not answer at the end of the run"
    assert reports == [("tracker stopped", {"tracker": "test", "reason": reason}), False]
    assert caplog.messages == [f"test: stopped ({reason}); the run is not affected, metrics.jsonl has its numbers"]
    gate.set()  # and fails afterwards: no second report
    background._thread.join(5)
    assert len(caplog.messages) == 1


def test_several_that_hang_share_the_time(gate):
    together = Trackers([InBackground(name, lambda: Remembering(gate)) for name in "abc"])
    together.scalars(0, {})
    assert 0.2 < seconds(lambda: together.close(0.3)) < 0.7


@pytest.mark.parametrize("where", ["make", "scalars", "picture", "close"])
@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), SystemExit("no route\nto host")])
def test_errors_end_the_tracker_alone(where, error, reports, report, caplog):
    tracker = Raising(where, error)

    def make():
        tracker._note("make")
        return tracker

    background = InBackground("test", make, report)
    for step in range(3):
        background.scalars(step, {})
        background.picture(step, "sheet", PICTURE)
    assert background.close() is True
    assert tracker.calls[-1][0] == where
    reason = f"{type(error).__name__}: no route to host"
    assert reports == [("tracker stopped", {"tracker": "test", "reason": reason})]
    assert caplog.messages == [f"test: stopped ({reason}); the run is not affected, metrics.jsonl has its numbers"]


def test_one_tracker_fails_and_the_other_goes_on():
    good = Remembering()
    together = Trackers([InBackground("bad", lambda: 1 / 0), InBackground("good", lambda: good)])
    for step in range(100):
        together.scalars(step, {})
    together.picture(100, "sheet", PICTURE)
    assert together.close() is True
    assert len(good.calls) == 102


def test_the_oldest_calls_go_when_a_tracker_is_too_slow(gate, monkeypatch, caplog):
    monkeypatch.setattr(trackers, "MOST_WAITING", 5)
    tracker = Remembering(gate)
    background = InBackground("slow", lambda: tracker)
    background.scalars(0, {})
    while not tracker.calls:  # the thread has taken it and waits
        time.sleep(0.001)
    for step in range(1, 12):
        background.scalars(step, {})
    assert background.dropped == 6
    gate.set()
    background.close()
    assert [call[1] for call in tracker.calls[:-1]] == [0, 7, 8, 9, 10, 11]
    assert caplog.messages == ["slow: too slow for this run; 6 updates not shown"]


def test_few_pictures_wait(gate, monkeypatch):
    monkeypatch.setattr(trackers, "MOST_PICTURES", 2)
    tracker = Remembering(gate)
    background = InBackground("slow", lambda: tracker)
    background.scalars(0, {})
    while not tracker.calls:
        time.sleep(0.001)
    for step in range(1, 6):
        background.scalars(step, {})
        background.picture(step, "sheet", PICTURE)
    gate.set()
    background.close()
    assert [call[1] for call in tracker.calls if call[0] == "picture"] == [4, 5]
    assert [call[1] for call in tracker.calls if call[0] == "scalars"] == [0, 1, 2, 3, 4, 5]


def test_no_trackers():
    nothing = Trackers()
    nothing.scalars(0, {"loss": 1.0})
    nothing.picture(0, "sheet", PICTURE)
    assert nothing.close() is True


def test_missing_packages(tmp_path, monkeypatch):
    (tmp_path / "no_such_package").mkdir()  # as wandb makes one where it runs
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("no_such_package", "none_such"):
        with pytest.raises(InputError, match=r'^n.* is not installed; .*pip install "rayzer\[log\]"'):
            require_package(name)
    monkeypatch.setattr(trackers, "InBackground", None)  # before any thread starts
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="tensorboard is not installed"):
        start_tensorboard(tmp_path, 0, print)
    with pytest.raises(InputError, match="wandb is not installed"):
        start_wandb("p", "n", tmp_path, "offline", {}, None, print)


def test_key_file(tmp_path):
    path = tmp_path / "api_keys.yaml"
    with pytest.raises(InputError, match=rf"^{path}: cannot be read \(No such file"):
        read_key(path)
    path.write_text("# keys\nwandb: abc \nother: def\n")
    assert read_key(path) == "abc"
    for text in ("", "other: abc", "wandb:", "wandb: 12", "- wandb", "wandb: [", "abc"):
        path.write_text(text)
        with pytest.raises(InputError, match=rf"^{path}: wandb: no key there"):
            read_key(path)


def test_tensorboard(tmp_path, reports, report):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for first_step in (0, 4):  # the second start does steps 4 and 5 again
        background = start_tensorboard(tmp_path / "tb", first_step, report)
        for step in range(first_step, first_step + 6):
            background.scalars(step, {"loss": step + first_step / 100})
        background.picture(first_step, "sheet", PICTURE)
        assert background.close(60) is True
    events = loading.EventAccumulator(str(tmp_path / "tb")).Reload()
    points = [(event.step, event.value) for event in events.Scalars("loss")]
    assert points == [(step, pytest.approx(step + 0.04 * (step >= 4))) for step in range(10)]
    picture = events.Images("sheet")[-1]
    assert (picture.step, picture.height, picture.width) == (4, 4, 6)
    assert reports == []


class FakeSettings:
    model_fields = ("console", "silent", "api_key", "init_timeout")  # an older one, without finish_timeout

    def __init__(self, **values):
        assert set(values) <= set(self.model_fields)
        self.values = values


@pytest.fixture
def fake_wandb(monkeypatch):
    """What wandb is told, as a list."""
    told = []

    def init(**arguments):
        told.append(arguments)
        return SimpleNamespace(url="https://example.org/r", log=lambda *a, **k: told.append((a, k)), finish=told.clear)

    module = SimpleNamespace(Settings=FakeSettings, setup=lambda settings: None, init=init, Image=lambda array: array)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return told


def test_wandb_is_told(tmp_path, fake_wandb, caplog):
    caplog.set_level(logging.INFO, "rayzer")
    tracker = WandbTracker("project", "name", tmp_path, config={"a": {"b": 1}}, key="k" * 40)
    tracker.scalars(7, {"loss": 1.0})
    tracker.picture(7, "sheet", PICTURE)
    arguments, scalars, picture = fake_wandb
    settings = arguments.pop("settings").values
    assert settings == {"console": "off", "silent": True, "api_key": "k" * 40, "init_timeout": trackers.WANDB_START_S}
    assert len(arguments.pop("id")) == 16
    assert arguments == {
        **{"project": "project", "name": "name", "dir": str(tmp_path), "mode": "online"},
        **{"config": {"a": {"b": 1}}, "resume": "allow"},
    }
    assert scalars == (({"loss": 1.0},), {"step": 7})
    assert picture[0][0]["sheet"] is PICTURE
    assert caplog.messages == ["wandb: this run is shown at https://example.org/r"]
    tracker.close()
    assert fake_wandb == []


def test_a_resumed_run_is_the_same_run_of_wandb(tmp_path, fake_wandb):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    for folder in (folders[0], folders[0], folders[1]):
        WandbTracker("project", "name", folder)
    first, again, other = (arguments["id"] for arguments in fake_wandb)
    assert first == again != other
    assert "api_key" not in fake_wandb[0]["settings"].values


FAKE = """
import time
class Settings:
    def __init__(self, **values): pass
Image = setup = print
def init(**arguments):
    time.sleep({init_s})
    return Run()
class Run:
    url = "https://example.org"
    def log(self, values, step): pass
    def finish(self): time.sleep(60)
"""

SCRIPT = """
import sys, time
from pathlib import Path
from rayzer.training.trackers import Trackers, start_wandb
trackers = Trackers([start_wandb("p", "n", Path(sys.argv[1]), "online", {}, None, lambda event, **values: None)])
for step in range(100):
    trackers.scalars(step, {"loss": 0.0})
print(trackers.close(0.5))
sys.exit(3)
"""


@pytest.mark.parametrize("init_s", [0, 60])
def test_a_process_ends_though_wandb_hangs(tmp_path, init_s):
    (tmp_path / "wandb.py").write_text(FAKE.format(init_s=init_s))
    path = f"{tmp_path}:{Path(rayzer.__file__).parents[1]}"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    start = time.monotonic()
    run = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=30)
    assert time.monotonic() - start < 10
    assert run.returncode == 3
    assert run.stdout.splitlines()[-1] == "False"
    assert "wandb: stopped (does not answer at the end of the run)" in run.stderr


@pytest.mark.slow
def test_wandb_itself_offline(tmp_path, report, reports):
    pytest.importorskip("wandb")
    for first_step in (0, 3):
        background = start_wandb("project", "name", tmp_path, "offline", {"a": 1}, None, report)
        for step in range(first_step, first_step + 3):
            background.scalars(step, {"loss": float(step)})
        background.picture(first_step, "sheet", PICTURE)
        assert background.close(60) is True
        time.sleep(1.1)  # wandb names folders by the second
    assert reports == []
    run_id = (tmp_path / "wandb-run-id").read_text().strip()
    assert len(list((tmp_path / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))) == 2
    assert len(list((tmp_path / "wandb").glob("offline-run-*/files/media/images/sheet_*.png"))) == 2

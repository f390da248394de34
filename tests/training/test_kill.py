"""Kill -9 at random moments, from outside; resumed, a run ends as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rayzer.training.checkpoints import name_of

from .conftest import TINY

STEPS = 24


class Runs:
    """Runs of the smoke preset in folders of their own."""

    def __init__(self, tmp_path, *overrides):
        self.tmp_path, self.overrides = tmp_path, overrides

    def folder(self, name):
        return self.tmp_path / name

    def start(self, name):
        words = ["train", "--config", "smoke", "--device", "cpu", *self.overrides]
        return subprocess.Popen(
            [sys.executable, "-m", "rayzer", *words, f"training.output_dir={self.folder(name)}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def finish(self, name):
        process = self.start(name)
        output = process.communicate(timeout=600)[0].decode()
        assert process.returncode == 0, output

    def result(self, name):
        """What must be the same, byte for byte."""
        last = self.folder(name) / "checkpoints" / name_of(STEPS)
        files = (last / "model.safetensors", last / "ema.safetensors", self.folder(name) / "metrics.jsonl")
        return [file.read_bytes() for file in files]

    def unfinished(self, name):
        """The checkpoint that is being written."""
        return sorted(self.folder(name).glob("checkpoints/*.tmp"))


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def kill_at(runs, name, seconds):
    """Kill a run after so long; which checkpoint was being written then."""
    process = runs.start(name)
    time.sleep(seconds)
    kill(process)
    return runs.unfinished(name)


def kill_in_a_save(runs, name, which, rng):
    """Kill a run while its checkpoint number `which` is being written."""
    process = runs.start(name)
    deadline = time.monotonic() + 300
    target = runs.folder(name) / "checkpoints" / f"{name_of(4 * which)}.tmp"
    while not target.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.0002)
    time.sleep(rng.uniform(0, 0.01))
    kill(process)
    return runs.unfinished(name)


def check(runs, kills, in_saves, log):
    rng = random.Random(0)
    started = time.monotonic()
    runs.finish("whole")
    duration = time.monotonic() - started
    expected = runs.result("whole")
    same = in_a_save = 0
    for number in range(kills):
        name = f"run{number}"
        if number < kills - in_saves:
            how = rng.uniform(0, duration)
            unfinished = kill_at(runs, name, how)
        else:
            how = f"save {1 + number % 6}"
            unfinished = kill_in_a_save(runs, name, 1 + number % 6, rng)
        runs.finish(name)
        equal = runs.result(name) == expected
        same, in_a_save = same + equal, in_a_save + bool(unfinished)
        starts = [json.loads(line) for line in (runs.folder(name) / "events.jsonl").read_text().splitlines()]
        resumed = [line["resumed_from"] for line in starts if line["event"] == "start"]
        told = how if isinstance(how, str) else f"{how:.2f} s"
        log(f"{number:3} killed at {told:>8}, writing {[p.name for p in unfinished]}, starts {resumed}, equal {equal}")
    log(f"{same} of {kills} equal; {in_a_save} killed inside a save; an uninterrupted run takes {duration:.1f} s")
    assert same == kills
    return in_a_save


def test_killed_runs_resume_exactly(tmp_path):
    small = [*TINY, f"training.steps={STEPS}", "training.checkpoint_every=4", "training.data.workers=1"]
    check(Runs(tmp_path, *small), 2, 1, print)


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    path = Path(os.environ.get("RAYZER_KILL_LOG", tmp_path / "kills.log"))
    runs = Runs(tmp_path, "training.steps=24", "training.checkpoint_every=4")
    with path.open("w", buffering=1) as log:
        in_a_save = check(runs, 50, 14, lambda text: print(text, file=log))
    assert in_a_save >= 10

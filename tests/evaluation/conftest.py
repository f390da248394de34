"""The recorded dataset and model, a command line that runs here, and results to look into."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rayzer.data.scene_jobs import Staging

RECORDINGS = Path(__file__).parents[1] / "recordings"
DATA = RECORDINGS / "dataset"


@pytest.fixture(scope="session")
def words():
    """The command that evaluates a recorded model on the recorded dataset, but for its output folder."""

    def make(kind="rayzer", scenes=DATA / "scenes.txt", index=DATA / "view_index.json", fly_throughs=0):
        model = {"rayzer": "rayzer_tiny", "lvsm": "lvsm_encdec_tiny"}[kind]
        checkpoint = ["--checkpoint", str(RECORDINGS / f"{model}.pt"), "--config", str(RECORDINGS / f"{model}.yaml")]
        data = ["--scenes", str(scenes), "--view-index", str(index), "--device", "cpu"]
        return ["evaluate", *checkpoint, *data, f"evaluation.fly_throughs={fly_throughs}"]

    return make


@pytest.fixture
def run(capsys):
    """Run the command line here: (exit code, stdout, stderr)."""
    from rayzer import cli

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return end.value.code, output.out, output.err

    return call


@pytest.fixture
def results():
    """The content of `results.json` in a folder."""

    def read(folder):
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))

    return read


@pytest.fixture
def split():
    """A ViewSplit of lists."""
    import torch

    from rayzer import ViewSplit

    def make(context, target):
        return ViewSplit(torch.tensor(context), torch.tensor(target))

    return make


def close(a, b):
    """Whether two results are equal up to rounding."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == pytest.approx(b, rel=1e-4, abs=1e-4) if isinstance(a, float) else a == b


def interrupted(monkeypatch, after):
    """Stop like a kill after so many units, whose records stay."""
    original, done = Staging.process, []

    def process(self, *arguments):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(Staging, "process", process)


def environment(rank, size, port):
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}


def start(arguments, size):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "rayzer", *map(str, arguments)],
            env=environment(rank, size, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]


def finish(processes):
    try:
        outputs = [process.communicate(timeout=100)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs

"""Several processes (gloo, CPU) that train together: equal to one, and what happens when one of them fails."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from rayzer.training.checkpoints import name_of

from .conftest import TINY

WORKER = Path(__file__).with_name("worker.py")
LOST = 75


def start(folder, size, *overrides, fault="none"):
    """Processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--config", "smoke", "--device", "cpu", *TINY, f"training.output_dir={folder}", *overrides]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(WORKER), fault, *words],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]


def finish(processes, timeout_s=120):
    """Exit codes and outputs."""
    try:
        outputs = [process.communicate(timeout=timeout_s)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def run(folder, size, *overrides, fault="none"):
    return finish(start(folder, size, *overrides, fault=fault))


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tensors(folder, step, name="model.safetensors"):
    return load_file(folder / "checkpoints" / name_of(step) / name)


def test_a_bad_loss_on_one_rank_is_skipped_on_all(tmp_path):
    codes, outputs = run(tmp_path, 2, "training.checkpoint_every=1", "training.keep_every=1", fault="nan")
    assert codes == [0, 0], outputs
    assert [line["skipped"] for line in metrics(tmp_path)] == [False, False, False, True, False, False]
    before, after, last = (tensors(tmp_path, step) for step in (3, 4, 6))
    assert all(before[name].equal(after[name]) for name in before)
    assert any(not after[name].equal(last[name]) for name in after)
    assert all(value.isfinite().all() for value in last.values())
    (event,) = [line for line in events(tmp_path) if line["event"] == "not finite"]
    assert (event["step"], event["ranks"]) == (3, "1")
    assert "rank 1: room" in event["scenes"]


def test_an_infinite_loss_on_one_rank_is_skipped_on_all(tmp_path):
    codes, outputs = run(tmp_path, 2, fault="inf")
    assert codes == [0, 0], outputs
    assert [line["skipped"] for line in metrics(tmp_path)] == [False, False, False, True, False, False]


def test_validation_changes_nothing_where_weights_are_sharded(tmp_path):
    options = ["training.processes.sharding=fsdp", "training.ema_decay=0.999", "training.validation.samples=1"]
    losses = []
    for every in (0, 1):
        folder = tmp_path / str(every)
        codes, outputs = run(folder, 2, *options, f"training.validation.every={every}", "training.log.pictures_every=2")
        assert codes == [0, 0], outputs
        losses.append([line["loss"] for line in metrics(folder)])
    assert losses[0] == losses[1]


def test_sigterm_to_one_rank_saves_and_ends_all(tmp_path):
    codes, outputs = run(tmp_path, 2, fault="sigterm")
    assert codes == [143, 143], outputs
    assert (tmp_path / "checkpoints" / name_of(4)).is_dir()
    codes, outputs = run(tmp_path, 2)
    assert codes == [0, 0], outputs
    assert [line["step"] for line in metrics(tmp_path)] == list(range(6))


def test_a_dead_rank_ends_the_others_and_is_named(tmp_path):
    codes, outputs = run(tmp_path, 2, "training.processes.timeout_s=5", fault="die")
    assert codes[1] == -9
    assert codes[0] in (1, LOST)
    assert "rank 1" in outputs[0]
    assert "no sign of life" in outputs[0]


def test_a_stopped_rank_ends_the_others_and_is_named(tmp_path):
    processes = start(tmp_path, 2, "training.processes.timeout_s=5", fault="hang")
    started = time.monotonic()
    output = processes[0].communicate(timeout=120)[0]
    processes[1].kill()
    assert time.monotonic() - started < 60
    assert processes[0].returncode == LOST, output
    assert "no sign of life from rank 1" in output


def events(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("kind", "then"), [("adamw", "ddp"), ("muon", "fsdp")])
def test_sharded_checkpoints_are_resumed_by_any_number_of_processes(tmp_path, kind, then):
    options = [f"training.optimizer.kind={kind}", "training.batch_size=4"]
    stop, sharded = "training.checkpoint_every=3", "training.processes.sharding=fsdp"
    whole = tmp_path / "whole"
    assert run(whole, 2, *options)[0] == [0, 0]
    cut = tmp_path / "cut"
    codes, outputs = run(cut, 2, *options, stop, sharded, fault="sigterm")
    assert codes == [143, 143], outputs
    assert len(list((cut / "checkpoints" / name_of(3)).glob("optimizer-*.safetensors"))) == 2
    codes, outputs = run(cut, 2, *options) if then == "ddp" else run(cut, 4, *options, sharded)
    assert set(codes) == {0}, outputs
    expected, found = ([line["loss"] for line in metrics(folder)] for folder in (whole, cut))
    assert found == pytest.approx(expected, rel=1e-5)
    assert tensors(whole, 6).keys() == tensors(cut, 6).keys()


@pytest.mark.slow
def test_losses_do_not_depend_on_the_number_of_processes(tmp_path):
    options = ["training.batch_size=8", "training.steps=20", "training.optimizer.kind=adamw"]
    losses = {}
    for size in (1, 2, 4):
        assert set(run(tmp_path / str(size), size, *options)[0]) == {0}
        losses[size] = [line["loss"] for line in metrics(tmp_path / str(size))]
    assert len(losses[1]) == 20
    for size in (2, 4):
        assert losses[size] == pytest.approx(losses[1], rel=1e-5)

"""Rooms that are made many at once, as for a GPU, are those that are made one at a time; here both on the CPU."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rayzer.data.formats import find_scenes, read_scene
from rayzer.data.synthetic import room_jobs, writing
from rayzer.data.synthetic.camera_paths import NoClearPath
from rayzer.data.synthetic.rooms import compose, render_images
from rayzer.data.synthetic.writing import RoomsRequest, synthesize, write_list
from rayzer.errors import InputError

REQUEST = RoomsRequest(0, 5, 3, 16, quality="fast")
LONG = RoomsRequest(0, 12, 3, 16, quality="fast", packed=True)


def together(job, staging, tasks, device, workers):
    """What `run_rooms` does on a GPU."""
    room_jobs.render_together(job, staging, tasks, device, workers or 2, lambda done, total: None)
    return staging.outcomes(tasks)


@pytest.fixture
def like_a_gpu(monkeypatch):
    """Numbers of rooms that were rendered at once, two at most."""
    at_once = []

    def render(rooms, *rest):
        at_once.append(len(rooms))
        return render_images(rooms, *rest)

    monkeypatch.setattr(writing, "run_rooms", together)
    monkeypatch.setattr(writing, "render_images", render)
    monkeypatch.setattr(room_jobs, "ROOMS_AT_ONCE", 2)
    return at_once


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_files_as_one_at_a_time(packed, tmp_path, request):
    wanted = RoomsRequest(3, 5, 3, 24, packed=packed)
    synthesize(tmp_path / "alone", wanted, "cpu", 1, False)
    at_once = request.getfixturevalue("like_a_gpu")
    synthesize(tmp_path / "together", wanted, "cpu", 2, False)
    assert at_once == [2, 2, 1]
    assert content(tmp_path / "together") == content(tmp_path / "alone")


@pytest.mark.gpu
def test_a_gpu_makes_the_same(tmp_path):
    pixels = []
    for device in ("cpu", "cuda"):
        synthesize(tmp_path / device, RoomsRequest(3, 40, 3, 64, packed=True), device, None, False)
        scenes = map(read_scene, find_scenes(tmp_path / device))
        pixels.append(np.stack([frame.image.load() for scene in scenes for frame in scene.frames]).astype(int))
    assert (np.abs(pixels[0] - pixels[1]) <= 1).mean() > 0.999


def test_no_more_at_once_than_memory_holds(tmp_path, like_a_gpu, monkeypatch):
    monkeypatch.setattr(room_jobs, "_PIXELS_AT_ONCE", 1)
    synthesize(tmp_path / "rooms", REQUEST, "cpu", 2, False)
    assert like_a_gpu == [1] * 5


@pytest.fixture
def crowded(monkeypatch):
    """No way leads through the rooms 1 to 3; threads compose, because processes would not know."""

    def composed(seed, *rest):
        if seed in (1, 2, 3):
            raise NoClearPath("there is no way through")
        return compose(seed, *rest)

    monkeypatch.setattr(writing, "compose", composed)
    monkeypatch.setattr(room_jobs, "worker_pool", ThreadPoolExecutor)


def test_rooms_without_a_clear_path_are_told_and_tried_again(tmp_path, like_a_gpu, crowded, monkeypatch):
    synthesize_some = partial(synthesize, tmp_path / "rooms", REQUEST, "cpu", 2)
    told = [f"room {k}: there is no way through; choose a smaller --span or another --seed" for k in (1, 2, 3)]
    monkeypatch.setattr(writing, "write_list", full_disk)
    with pytest.raises(InputError, match="No space left"):
        synthesize_some(False)
    assert like_a_gpu == [1, 1]  # of two, of none of two, of one
    like_a_gpu.clear()
    monkeypatch.setattr(writing, "write_list", write_list)
    assert synthesize_some(False) == told
    assert like_a_gpu == []
    assert len(find_scenes(tmp_path / "rooms" / "scenes.txt")) == 2


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_nothing_can_be_made(tmp_path, like_a_gpu, crowded):
    with pytest.raises(InputError, match=r"room 1: there is no way through.* \(none of 3 scenes"):
        synthesize(tmp_path / "rooms", replace(REQUEST, first_seed=1, scenes=3), "cpu", 2, False)
    assert not (tmp_path / "rooms").exists()


def test_the_bar_counts_rooms(tmp_path, like_a_gpu, monkeypatch):
    steps = []

    def counted(job, staging, tasks, device, workers):
        room_jobs.render_together(job, staging, tasks, device, workers, lambda *step: steps.append(step))
        return staging.outcomes(tasks)

    monkeypatch.setattr(writing, "run_rooms", counted)
    synthesize(tmp_path / "rooms", REQUEST, "cpu", 2, False)
    assert steps == sorted(steps)
    assert steps[0] == (0, 5)
    assert steps[-1] == (5, 5)
    steps.clear()
    synthesize(tmp_path / "one", RoomsRequest(0, 1, 3, 16), "cpu", 1, False)
    assert (3, 3) in steps  # the pictures of a single room
    assert steps[-1] == (1, 1)


def test_a_disk_that_cannot_be_written(tmp_path, like_a_gpu, monkeypatch):
    def full(job, staging, *rest):
        (staging.folder / "records").rmdir()
        (staging.folder / "records").touch()
        return together(job, staging, *rest)

    monkeypatch.setattr(writing, "run_rooms", full)
    with pytest.raises(InputError, match=r"rooms: cannot write there \(Not a directory\)"):
        synthesize(tmp_path / "rooms", REQUEST, "cpu", 2, False)


# ---- interruptions


def test_interrupted_rooms_are_continued(tmp_path, like_a_gpu, monkeypatch):
    def interrupted(rooms, *rest):
        if len(like_a_gpu) == 2:
            raise KeyboardInterrupt
        like_a_gpu.append(len(rooms))
        return render_images(rooms, *rest)

    synthesize(tmp_path / "whole", REQUEST, "cpu", 2, False)
    like_a_gpu.clear()
    monkeypatch.setattr(writing, "render_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "rooms", REQUEST, "cpu", 2, False)
    assert [entry.name for entry in (tmp_path / "rooms").iterdir()] == [".partial"]
    made = len(list((tmp_path / "rooms/.partial/records").iterdir()))
    like_a_gpu.clear()
    synthesize(tmp_path / "rooms", REQUEST, "cpu", 2, False)
    assert sum(like_a_gpu) == 5 - made
    assert content(tmp_path / "rooms") == content(tmp_path / "whole")


SCRIPT = """
import sys
from pathlib import Path
from rayzer.data.synthetic import room_jobs, writing
def together(job, staging, tasks, device, workers):
    room_jobs.render_together(job, staging, tasks, device, workers, lambda done, total: None)
    return staging.outcomes(tasks)
if __name__ == "__main__":
    writing.run_rooms, room_jobs.ROOMS_AT_ONCE = together, 2
    request = writing.RoomsRequest(0, 12, 3, 16, quality="fast", packed=True)
    writing.synthesize(Path(sys.argv[1]), request, "cpu", 2, False)
"""


def is_running(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def descendants(pid):
    own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*own, *(further for child in own for further in descendants(child))]


def wait_for(condition):
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_in_the_middle(tmp_path, like_a_gpu):
    out, script = tmp_path / "rooms", tmp_path / "make.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(writing.__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, script, out], env=environment)
    results = out / ".partial/results"
    wait_for(lambda: results.exists() and any(results.glob("*.safetensors")))
    running = descendants(process.pid)
    assert len(running) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(map(is_running, running)))
    assert [entry.name for entry in out.iterdir()] == [".partial"]
    recorded = len(list((out / ".partial/records").glob("[0-9]*.json")))
    synthesize(out, LONG, "cpu", 2, False)
    assert sum(like_a_gpu) == 12 - recorded
    like_a_gpu.clear()
    synthesize(tmp_path / "whole", LONG, "cpu", 2, False)
    assert content(out) == content(tmp_path / "whole")

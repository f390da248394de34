"""The ladder, tiny: rungs train, are scored, skipped when finished, and turned into a table and curves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayzer.configs import load_config
from rayzer.data.synthetic.writing import RoomsRequest, synthesize
from rayzer.evaluation.presets import BENCHMARKS

LADDER = Path(__file__).parents[2] / "examples/ladder"
TINY = [
    *("model.image_height=16", "model.image_width=16", "model.width=32", "model.head_width=16"),
    *("model.renderer_layers=1", "training.batch_size=2", "training.samples_at_once=2", "training.data.workers=0"),
]


@pytest.fixture
def rungs(monkeypatch):
    """The module of that name, and `run`."""
    monkeypatch.syspath_prepend(str(LADDER))
    import run
    import rungs

    yield rungs, run
    for name in ("run", "rungs", "commands"):
        sys.modules.pop(name, None)


@pytest.fixture
def benchmark_folder(tmp_path):
    """Two rooms along one path in the place of rooms-v1."""
    folder = tmp_path / "benchmark"
    synthesize(folder / "rooms", RoomsRequest(0, 1, 24, 16, 0.5, "fast", pairs=True), "cpu", 1, False)
    names = ["room-000000a", "room-000000b"]
    entry = {"context": [0, 2, 6, 10, 13, 17, 21, 23], "target": [4, 8, 15, 19]}
    known = BENCHMARKS["rooms_v1"]
    for name in (known.scenes, known.pairs):
        (folder / name).write_text("".join(f"rooms/{each}/opencv_cameras.json\n" for each in names))
    for name in (known.view_index, *known.counts):
        (folder / name).write_text(json.dumps(dict.fromkeys(names, entry)))
    return folder


def start(script, *words):
    """Exit code, what was printed and what was complained of."""
    words = [sys.executable, str(LADDER / script), *map(str, words)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return done.returncode, done.stdout, done.stderr


def test_every_rung_is_a_configuration(rungs, tmp_path):
    """Each adds what it says; all are alike in what should not differ."""
    rungs, run = rungs
    assert {file.stem for file in LADDER.glob("*.yaml")} == set(rungs.RUNGS)
    ladder = run.Ladder(Path("rooms"), Path(), tmp_path, 1, 1, "cpu", {})
    configs = {}
    for name in rungs.RUNGS:
        values = rungs.read_rung(name)
        run.begin(ladder, values, tmp_path / name)
        configs[name] = load_config(str(tmp_path / name / "config.yaml"), rungs.of_length(600, values["shares"]))
    for name, config in configs.items():
        training, model = config.training, config.model
        sizes = (model.image_height, model.patch_size, model.width, model.context_views, model.target_views)
        assert sizes == (128, 8, 256, 8, 4), name
        assert (training.batch_size, training.loss.mse, training.loss.structural) == (64, 1, 0.05), name
        assert (training.optimizer.warmup_steps, training.views.curriculum_steps) == (100, 240), name
        assert (training.cameras.anchor > 0) == bool(training.data.mix), name
    assert configs["reference"].training.optimizer.kind == "adamw"
    assert configs["one_way"].model.renderer == "one_way"
    assert not configs["views"].model.relative_cameras
    assert configs["gta"].model.relative_cameras
    assert [configs[name].model.order_code for name in ("changed_pictures", "no_order", "relative_order")] == [
        "index",
        "none",
        "relative",
    ]
    assert configs["counts"].training.views.context_views == (2, 16)
    assert rungs.read_rung("points")["timed_as"] == "gta"
    assert [name for name in rungs.RUNGS if configs[name].training.cameras.points] == ["points", "counts"]
    assert "timed_as" not in rungs.read_rung("counts")
    assert configs["lvsm"].training.optimizer == configs["muon"].training.optimizer


def test_steps_that_compile_count_as_others(rungs):
    assert rungs[0].without_compiling([60, 1, 2, 3, 2]) == [2, 1, 2, 3, 2]


def test_a_rung_that_breaks_down_stops_no_other(rungs, tmp_path, monkeypatch):
    """But Ctrl-C does, and the lines of finished rungs are there."""
    _, run = rungs
    codes, ladder = {"muon": 1, "views": 130}, run.Ladder(Path(), Path(), tmp_path, 1, 1, "cpu", {})

    def run_rung(_, name, time_only):
        assert not time_only
        if name in codes:
            raise SystemExit(codes[name])
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(f"{name}\n")

    monkeypatch.setattr(run, "run_rung", run_rung)
    assert run.main(ladder, ["one_way", "muon", "reference"]) == 1
    assert (tmp_path / "results.jsonl").read_text() == "reference\none_way\n"
    with pytest.raises(SystemExit, match="130"):
        run.main(ladder, ["gta", "views"])
    assert not (tmp_path / "gta").exists()


@pytest.mark.slow
def test_runs_and_reports(tmp_path, benchmark_folder):
    """Two rungs from nothing to a plot; again, nothing is done again; what is wrong is one line."""
    rooms, out = tmp_path / "rooms", tmp_path / "out"
    synthesize(rooms, RoomsRequest(5, 3, 48, 16, 1.0, "fast", packed=True), "cpu", 1, False)
    given = ["--rooms", rooms, "--benchmark", benchmark_folder, "-o", out, "--device", "cpu", "--timed-steps", 3]
    words = [*given, "--minutes", 0.01, "--set", *TINY, "--only"]
    assert start("run.py", *words, "lvsm", "--time-only")[0] == 0
    timed = (out / "lvsm/plan.json").read_text()
    assert (out / "results.jsonl").read_text() == ""
    assert start("run.py", *words, "lvsm")[0] == 0
    assert (out / "lvsm/plan.json").read_text() == timed
    first = (out / "results.jsonl").read_text()
    assert start("run.py", *words, "anchor", "--time-only")[0] == 0
    plans = [(out / name / "plan.json").read_text() for name in ("gta", "anchor")]
    assert plans[0] == plans[1]
    code, _, err = start("run.py", *words, "anchor", "lvsm")
    assert code == 0, err
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [result["rung"] for result in results] == ["anchor", "lvsm"]
    assert json.loads(first) == results[1]
    assert results[0]["transfer_psnr"] > 0
    assert results[0]["steps"] == int(0.6 / results[0]["step_s"]) or results[0]["steps"] == 1
    assert results[1]["rpa_15"] is None
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.parent != out and file.is_file()}
    assert start("run.py", *words, "anchor", "lvsm")[0] == 0
    kept = {file: file.stat().st_mtime_ns for file in before if file.name != "config.yaml"}
    assert all(before[file] == time for file, time in kept.items())

    assert start("report.py", out)[0] == 0
    assert "| lvsm | yardstick" in (out / "ladder.md").read_text()
    assert (out / "ladder.svg").read_text().count("<polyline") == 2

    code, _, err = start("run.py", *given, "--minutes", 1, "--only", "lvsm")
    assert (code, err.count("\n")) == (2, 1)
    assert "begun with other minutes" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--only", "gat"], "--only gat: is no rung"), (["--minutes", "0"], "above 0"), ([], "rayzer data synthesize")],
)
def test_mistakes_are_one_line(tmp_path, words, said):
    code, _, err = start("run.py", "--rooms", tmp_path, "--benchmark", tmp_path, "-o", tmp_path / "out", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


def test_report_without_results(tmp_path):
    code, _, err = start("report.py", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "no rung is finished" in err

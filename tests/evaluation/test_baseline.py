"""`rayzer evaluate --baseline`: two checkpoints on the same views in one command, whatever interrupts it."""

import json
import shutil
import time

import pytest
import torch

from rayzer.data.scene_jobs import Staging
from rayzer.evaluation import baseline as module
from rayzer.model.weights import build_model, save_model

from .conftest import DATA, RECORDINGS, close, finish, interrupted, start

LVSM = RECORDINGS / "lvsm_encdec_tiny.pt"
UNITS = 4, 3  # of the recorded data: scenes and a pair; scenes alone, because LVSM's cameras are given


@pytest.fixture
def both(words):
    """The command for RayZer and LVSM, but for its output folder."""

    def make(checkpoint=LVSM, config=RECORDINGS / "lvsm_encdec_tiny.yaml", **changes):
        options = ["--baseline", checkpoint, *(["--baseline-config", config] if config else [])]
        return [*words(**changes), *options]

    return make


@pytest.fixture
def done(monkeypatch):
    """Collects the output folder of every unit that is measured."""
    found, original = [], Staging.process

    def process(self, job, task):
        found.append(self.out.name)
        return original(self, job, task)

    monkeypatch.setattr(Staging, "process", process)
    return found


@pytest.fixture(scope="session")
def whole(tmp_path_factory, words):
    """What an evaluation of each model alone writes."""
    from rayzer import cli

    folder = tmp_path_factory.mktemp("whole")
    for kind in ("rayzer", "lvsm"):
        with pytest.raises(SystemExit) as end:
            cli.main([*words(kind), "-o", str(folder / kind)])
        assert end.value.code == 0
    return folder


def check(out, whole):
    """Both results are the ones of each model alone, to the last bit, and nothing is left over."""
    own = {"index.html", "results.json", "scenes"}
    assert {entry.name for entry in out.iterdir()} == {*own, "baseline", "comparison.html"}
    assert {entry.name for entry in (out / "baseline").iterdir()} == own
    assert (out / "results.json").read_bytes() == (whole / "rayzer/results.json").read_bytes()
    assert (out / "baseline/results.json").read_bytes() == (whole / "lvsm/results.json").read_bytes()


def test_both_are_what_each_is_alone_and_stand_in_one_table(tmp_path, run, both, whole, results):
    out = tmp_path / "out"
    code, told, err = run(*both(), "-o", out)
    assert (code, err) == (0, "")
    check(out, whole)
    main, base = results(out), results(out / "baseline")
    scores = {scene["name"]: scene["psnr"] for scene in base["scenes"]}
    gaps = [scene["psnr"] - scores[scene["name"]] for scene in main["scenes"]]
    table = [" ".join(line.split()) for line in told.splitlines()]
    psnr, base_psnr = (f"{found['summary']['psnr']:.2f}" for found in (main, base))
    assert any(line.startswith(f"lvsm_encdec_tiny.pt on dataset {base_psnr} ") for line in table)
    assert any(line.startswith(f"rayzer_tiny.pt on dataset {psnr} ") for line in table)
    difference = f"{sum(gaps) / 3:+.2f} dB".replace("-", "−")
    assert any(line.startswith(f"difference, scene by scene {difference} ") for line in table)
    assert any(line.startswith(f"better in {sum(gap > 0 for gap in gaps)} of 3 ") for line in table)
    assert f"Open {out / 'comparison.html'} in a browser." in told
    page = (out / "comparison.html").read_text()
    assert "Against <bdi>lvsm_encdec_tiny.pt on dataset</bdi>" in page
    assert 'href="./index.html"' in page
    assert 'href="baseline/index.html"' in page
    assert '"baseline/scenes/0000/' in page


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("after", [0, 2, 4, 6])
def test_the_same_command_goes_on(tmp_path, run, both, whole, done, monkeypatch, after, overwrite):
    """Stopped inside the first evaluation, between both, or inside the second: no unit is measured twice."""
    out = tmp_path / "out"
    command = [*both(), "-o", out, *(["--overwrite"] if overwrite else [])]
    if overwrite:
        assert run(*command)[0] == 0
    done.clear()
    with monkeypatch.context() as patch:
        interrupted(patch, after)
        assert run(*command)[0] == 130
    assert len(done) == after
    assert run(*command)[0] == 0
    assert (done.count("out"), done.count("baseline")) == UNITS
    check(out, whole)


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize(
    ("owner", "step", "when"),
    [
        (module.WithBaseline, "_hand_over", "before"),
        (module.WithBaseline, "_hand_over", "after"),
        (module.Evaluation, "run", "before"),  # the first results count as finished, the baseline has not begun
        (module.WithBaseline, "_compare", "before"),
        (module.WithBaseline, "_compare", "after"),
    ],
)
def test_stopped_between_the_steps(tmp_path, run, both, whole, done, monkeypatch, owner, step, when, overwrite):
    out = tmp_path / "out"
    command = [*both(), "-o", out, *(["--overwrite"] if overwrite else [])]
    if overwrite:
        assert run(*command)[0] == 0
    done.clear()
    original = getattr(owner, step)

    def killed(self, **last):
        if when == "after":
            original(self, **last)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, killed)
        assert run(*command)[0] == 130
    assert run(*command)[0] == 0
    assert (done.count("out"), done.count("baseline")) == UNITS
    check(out, whole)


def test_a_baseline_is_added_to_finished_results(tmp_path, run, words, both, whole, done):
    out = tmp_path / "out"
    assert run(*words(), "-o", out)[0] == 0
    before = (out / "results.json").stat()
    done.clear()
    assert run(*both(), "-o", out)[0] == 0
    assert done == ["baseline"] * UNITS[1]
    assert (out / "results.json").stat().st_mtime_ns == before.st_mtime_ns
    check(out, whole)


def test_overwriting_measures_finished_results_again(tmp_path, run, words, both, whole, done):
    """Also where only the baseline is lacking: that is what was asked for."""
    out = tmp_path / "out"
    assert run(*words(), "-o", out)[0] == 0
    done.clear()
    assert run(*both(), "-o", out, "--overwrite")[0] == 0
    assert (done.count("out"), done.count("baseline")) == UNITS
    check(out, whole)


def test_work_begun_without_overwrite_is_thrown_away_with_it(tmp_path, run, both, whole, done, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupted(patch, 6)
        assert run(*both(), "-o", out)[0] == 130
    done.clear()
    assert run(*both(), "-o", out, "--overwrite")[0] == 0
    assert (done.count("out"), done.count("baseline")) == UNITS
    check(out, whole)


def test_finished_results_of_both_stay(tmp_path, run, both, whole, done):
    out = tmp_path / "out"
    assert run(*both(), "-o", out)[0] == 0
    done.clear()
    files = [out / name for name in ("results.json", "baseline/results.json", "comparison.html")]
    before = [file.stat().st_mtime_ns for file in files]
    code, _, err = run(*both(), "-o", out)
    assert code == 2
    assert err == f"rayzer: {out}: exists and is not empty; choose another output folder or add --overwrite\n"
    assert [file.stat().st_mtime_ns for file in files] == before
    assert done == []
    assert run(*both(), "-o", out, "--overwrite")[0] == 0
    assert all(file.stat().st_mtime_ns != time for file, time in zip(files, before, strict=True))
    check(out, whole)


def test_finished_results_of_something_else_are_not_gone_on_with(tmp_path, run, words, both, done):
    out = tmp_path / "out"
    assert run(*words(), "evaluation.controls=false", "-o", out)[0] == 0
    done.clear()
    code, _, err = run(*both(), "-o", out)
    assert code == 2
    assert f"{out / 'results.json'}: is of other scenes, weights, settings or versions" in err
    assert "--overwrite" in err
    assert done == []
    assert not (out / "baseline").exists()


def test_an_unfinished_baseline_is_not_gone_on_with_by_another(tmp_path, run, both, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupted(patch, 5)
        assert run(*both(), "-o", out)[0] == 130
    code, _, err = run(*both(RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml"), "-o", out)
    assert code == 2
    assert f"{out / 'baseline'}: holds the unfinished work of another command" in err


def test_a_comparison_goes_with_the_results_that_it_shows(tmp_path, run, words, both):
    out = tmp_path / "out"
    assert run(*both(), "-o", out)[0] == 0
    assert run(*words(), "evaluation.controls=false", "-o", out, "--overwrite")[0] == 0
    assert not (out / "comparison.html").exists()
    assert (out / "baseline/results.json").exists()


@pytest.mark.parametrize(
    ("baseline", "config", "message"),
    [
        ("no.pt", "lvsm_encdec_tiny.yaml", "no.pt: no such file or folder"),
        ("lvsm_encdec_tiny.pt", None, "give its YAML file or a preset's name"),
        ("lvsm_encdec_tiny.pt", "no.yaml", "no.yaml"),
        ("lvsm_encdec_tiny.pt", "rayzer_tiny.yaml", "lvsm_encdec_tiny.pt: does not fit the configuration"),
        (None, "lvsm_encdec_tiny.yaml", "is for --baseline; name that, too"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(tmp_path, run, words, done, baseline, config, message):
    options = ["--baseline", RECORDINGS / baseline] if baseline else []
    options += ["--baseline-config", RECORDINGS / config] if config else []
    code, _, err = run(*words(), *options, "-o", tmp_path / "out")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert done == []
    assert not (tmp_path / "out").exists()


@pytest.fixture
def without_cameras(tmp_path):
    """A copy of the dataset whose first scene has no cameras."""
    data = shutil.copytree(DATA, tmp_path / "data")
    file = data / "scenes/scene_a/opencv_cameras.json"
    content = json.loads(file.read_text())
    content["frames"] = [{"file_path": frame["file_path"]} for frame in content["frames"]]
    file.write_text(json.dumps(content))
    return data / "scenes.txt"


def test_a_baseline_that_needs_cameras_is_named(tmp_path, run, both, without_cameras, done):
    code, _, err = run(*both(scenes=without_cameras), "-o", tmp_path / "out")
    assert code == 2
    assert err.startswith(f"rayzer: --baseline {LVSM}: {without_cameras.parent / 'scenes/scene_a'}")
    assert "needs known cameras" in err
    assert err.count("\n") == 1
    assert done == []
    assert not (tmp_path / "out").exists()


def test_what_the_baseline_leaves_out_is_told(tmp_path, run, both, without_cameras, results):
    out = tmp_path / "out"
    code, told, err = run(*both(scenes=without_cameras), "--keep-going", "-o", out)
    assert code == 1
    assert "left out" in err
    assert "scene_a" in err
    assert (results(out)["summary"]["scenes"], results(out / "baseline")["summary"]["scenes"]) == (3, 2)
    assert "Other scenes than lvsm_encdec_tiny.pt" in told


def test_pictures_of_two_sizes_are_told(tmp_path, run, words):
    from rayzer import RayZerConfig

    config = RayZerConfig(64, 64, 5, 2, width=64, camera_layers=1, scene_layers=1, renderer_layers=1, scene_tokens=16)
    torch.manual_seed(0)
    save_model(build_model(config), tmp_path / "large")
    code, told, err = run(*words("lvsm"), "--baseline", tmp_path / "large", "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "Pictures of another size than large on dataset (64 × 64 pixels): lvsm_encdec_tiny.pt on dataset (32" in told


@pytest.mark.parametrize("place", ["scenes", "baseline/scenes"])
def test_no_checkpoint_is_replaced(tmp_path, run, words, both, place):
    """Neither checkpoint by the results of either."""
    out = tmp_path / "out"
    assert run(*both(), "-o", out)[0] == 0
    for name, command in (("baseline", both(out / place / "model.pt")), ("checkpoint", both())):
        shutil.copy(LVSM if name == "baseline" else RECORDINGS / "rayzer_tiny.pt", out / place / "model.pt")
        command[command.index(f"--{name}") + 1] = out / place / "model.pt"
        code, _, err = run(*command, "-o", out, "--overwrite")
        assert code == 2
        assert "would replace the input" in err
        assert (out / place / "model.pt").exists()


def test_foreign_files_stay(tmp_path, run, both):
    mine = tmp_path / "out/baseline/scenes"
    mine.mkdir(parents=True)
    for more in ([], ["--overwrite"]):
        assert run(*both(), "-o", tmp_path / "out", *more)[0] == 2
        assert mine.exists()
        assert not (tmp_path / "out/results.json").exists()


def test_the_folder_is_taken_while_the_baseline_is_measured(tmp_path, run, both, monkeypatch):
    from rayzer.files import exclusive

    original, held = Staging.process, []

    def process(self, job, task):
        with pytest.raises(BlockingIOError), exclusive(tmp_path / "out"):
            pass
        held.append(self.out.name)
        return original(self, job, task)

    monkeypatch.setattr(Staging, "process", process)
    assert run(*both(), "-o", tmp_path / "out")[0] == 0
    assert "baseline" in held


def test_two_processes_share_both(tmp_path, both, whole, results):
    """They agree on what is finished, too: first only the baseline is lacking, then all is to be made."""
    out = tmp_path / "out"
    shutil.copytree(whole / "rayzer", out)
    before = (out / "results.json").stat().st_mtime_ns
    for more in ([], ["--overwrite"]):
        codes, outputs = finish(start([*both(), "-o", out, *more], 2))
        assert codes == [0, 0], outputs
        assert outputs[0].count("Open") == 1
        assert ((out / "results.json").stat().st_mtime_ns == before) == (more == [])
        assert close(results(out), results(whole / "rayzer"))
        assert close(results(out / "baseline"), results(whole / "lvsm"))


@pytest.mark.slow
def test_killed_processes_lose_nothing(tmp_path, both, whole):
    """Two processes killed with -9 again and again; each start goes on, and one ends."""
    out = tmp_path / "out"
    for wait_s in (3, 3.5, 4, 4.5, 5, 5.5, 6):
        processes = start([*both(), "-o", out], 2)
        time.sleep(wait_s)
        for process in processes:
            process.kill()
        finish(processes)
        if (out / "comparison.html").exists():
            break
    if (out / "baseline/.partial").exists() or not (out / "comparison.html").exists():
        codes, outputs = finish(start([*both(), "-o", out], 1))
        assert codes == [0], outputs
    check(out, whole)

"""`rayzer evaluate` on the recorded dataset: numbers against an independent computation, resuming, refusals."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import rayzer
from rayzer.data.scene_jobs import Staging

from .conftest import DATA, RECORDINGS, close, finish, interrupted, start

skimage = pytest.importorskip("skimage.metrics")

NAMES = ["scene_a", "scene_e", "scene_f"]
INDEX = json.loads((DATA / "view_index.json").read_text())


@pytest.fixture(scope="module")
def truth():
    """What the reference loader gives, and what the model renders from it, in numpy: {scene: (truth, render)}."""
    recorded = load_file(DATA / "expected.safetensors")
    model = rayzer.load_model(RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml")
    found = {}
    for name in NAMES:
        images = recorded[f"{name}.image"][None]
        split = rayzer.ViewSplit(*(recorded[f"{name}.{part}_indices"][None] for part in ("context", "target")))
        with torch.no_grad():
            render = model(images, split).images[0]
        found[name] = split.target_of(images)[0].double().numpy(), render.double().numpy()
    return found


def psnr(a, b):
    return -10 * np.log10(np.mean((a.clip(0, 1) - b.clip(0, 1)) ** 2))


def ssim(a, b):
    options = {"win_size": 11, "gaussian_weights": True, "channel_axis": 0, "data_range": 1.0}
    return skimage.structural_similarity(a, b, **options)


def test_scores_equal_an_independent_computation(tmp_path, run, words, results, truth):
    code, out, err = run(*words(), "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    found = results(tmp_path / "out")
    assert [scene["name"] for scene in found["scenes"]] == NAMES
    means = []
    for scene in found["scenes"]:
        expected = [(psnr(a, b), ssim(a, b)) for a, b in zip(*truth[scene["name"]], strict=True)]
        assert [view["index"] for view in scene["views"]] == INDEX[scene["name"]]["target"]
        for view, (decibels, similarity) in zip(scene["views"], expected, strict=True):
            assert view["psnr"] == pytest.approx(decibels, abs=1e-4)
            assert view["ssim"] == pytest.approx(similarity, abs=1e-5)
            assert view["lpips"] is None
        means.append(np.mean(expected, 0))
        assert [scene["psnr"], scene["ssim"]] == pytest.approx(means[-1], abs=1e-4)
    summary = found["summary"]
    assert [summary["psnr"], summary["ssim"]] == pytest.approx(np.mean(means, 0), abs=1e-4)
    assert (summary["lpips"], summary["scenes"], summary["views"]) == (None, 3, 6)
    assert "vgg16" in found["not_computed"]["lpips"]
    assert f"PSNR {summary['psnr']:.2f} dB" in out
    assert "LPIPS not computed" in out


def test_copying_equals_an_independent_computation(tmp_path, run, words, results):
    run(*words(), "-o", tmp_path / "out")
    recorded = load_file(DATA / "expected.safetensors")
    for scene in results(tmp_path / "out")["scenes"]:
        entry = INDEX[scene["name"]]
        frames = sorted(entry["context"] + entry["target"])
        images = dict(zip(frames, recorded[f"{scene['name']}.image"].double().numpy(), strict=True))
        copies = [min(entry["context"], key=lambda frame: (abs(frame - target), frame)) for target in entry["target"]]
        expected = [psnr(images[copy], images[target]) for copy, target in zip(copies, entry["target"], strict=True)]
        assert scene["controls"]["copy_nearest"]["psnr"] == pytest.approx(np.mean(expected), abs=1e-4)


def test_pictures_lie_beside_the_page_and_show_what_was_scored(tmp_path, run, words, results, truth):
    out = tmp_path / "out"
    run(*words(fly_throughs=1), "-o", out)
    found = results(out)
    for scene in found["scenes"]:
        assert all((out / view["picture"]).is_file() for view in scene["context"])
        for view, expected in zip(scene["views"], truth[scene["name"]][1], strict=True):
            assert (out / view["truth"]).is_file()
            picture = np.asarray(Image.open(out / view["render"]), float) / 255
            assert np.abs(picture - expected.transpose(1, 2, 0)).mean() < 0.1  # WebP
    films = [scene["fly_through"] for scene in found["scenes"] if scene["fly_through"]]
    assert len(films) == 1
    assert (out / films[0]["video"]).stat().st_size > 1000
    assert (out / "index.html").is_file()
    assert not (out / ".partial").exists()
    assert not list(out.rglob("tokens.safetensors"))


@pytest.mark.parametrize("size", [2, 3])
def test_the_batch_size_changes_nothing(tmp_path, run, words, results, size):
    for name, batch in (("one", 1), ("more", size)):
        assert run(*words(), f"evaluation.batch_size={batch}", "-o", tmp_path / name)[0] == 0
    one, more = results(tmp_path / "one"), results(tmp_path / "more")
    assert one.pop("inputs_sha256") != more.pop("inputs_sha256"), "another setting, equal up to rounding only"
    assert close(one, more)


def test_given_cameras(tmp_path, run, words, results):
    code, _, err = run(*words("lvsm"), "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    found = results(tmp_path / "out")
    assert (found["poses"], found["no_leak"], found["transfer"]) == (None, None, None)
    assert set(found["controls"]) == {"copy_nearest", "blend_two", "constant_camera"}
    assert "given" in found["not_computed"]["poses"]
    recorded = load_file(DATA / "expected.safetensors")  # normalised as the loader of the reference does
    for scene in found["scenes"]:
        poses = torch.tensor(scene["cameras"]["predicted"]["world_from_camera"])
        assert (poses - recorded[f"{scene['name']}.c2w"]).abs().max() < 1e-4


def files_in(folder):
    return {file.relative_to(folder) for file in folder.rglob("*")}


@pytest.mark.parametrize("after", range(4))
def test_resuming_gives_the_same_file(tmp_path, run, words, monkeypatch, after):
    run(*words(), "-o", tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupted(patch, after)
        assert run(*words(), "-o", tmp_path / "parts")[0] == 130
    assert [entry.name for entry in (tmp_path / "parts").iterdir()] == [".partial"]
    assert run(*words(), "-o", tmp_path / "parts")[0] == 0
    assert files_in(tmp_path / "whole") == files_in(tmp_path / "parts")
    assert (tmp_path / "whole/results.json").read_bytes() == (tmp_path / "parts/results.json").read_bytes()


def test_what_was_done_is_not_done_again(tmp_path, run, words, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        run(*words(), "-o", tmp_path / "out")
    done = []
    original = Staging.process
    monkeypatch.setattr(Staging, "process", lambda self, job, task: done.append(task.name) or original(self, job, task))
    run(*words(), "-o", tmp_path / "out")
    assert done == ["0002", "re-estimated-0000"]


def test_an_interrupted_move_is_ended(tmp_path, run, words, monkeypatch):
    from rayzer.evaluation import evaluate as module

    run(*words(), "-o", tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_evaluation_page", lambda out: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*words(), "-o", tmp_path / "parts")[0] == 130
    assert run(*words(), "-o", tmp_path / "parts")[0] == 0
    assert (tmp_path / "parts/index.html").is_file()
    assert (tmp_path / "whole/results.json").read_bytes() == (tmp_path / "parts/results.json").read_bytes()


def test_another_command_does_not_go_on_with_it(tmp_path, run, words, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted(patch, 1)
        run(*words(), "-o", tmp_path / "out")
    code, _, err = run(*words(), "evaluation.controls=false", "-o", tmp_path / "out")
    assert code == 2
    assert "unfinished work of another command" in err


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_the_scenes(tmp_path, run, words, results, size):
    """Of three scenes nothing is lost or doubled."""
    run(*words(), "-o", tmp_path / "one")
    codes, outputs = finish(start([*words(), "-o", tmp_path / "more"], size))
    assert codes == [0] * size, outputs
    one, more = results(tmp_path / "one"), results(tmp_path / "more")
    assert [scene["name"] for scene in more["scenes"]] == NAMES
    assert close(one, more)
    assert "Open" in outputs[0]
    said = [line for output in outputs[1:] for line in output.splitlines()]
    assert all(line.startswith("[Gloo]") for line in said), said  # what torch 2.10's network library prints


@pytest.mark.slow
def test_killed_processes_lose_nothing(tmp_path, words):
    """Two processes killed with -9 at some time; then one goes on."""
    arguments = [*words(), "-o", tmp_path / "out"]
    whole = [*words(), "-o", tmp_path / "whole"]
    assert finish(start(whole, 1))[0] == [0]
    for wait_s in (2.5, 3.5, 4.5, 5.5):
        processes = start(arguments, 2)
        time.sleep(wait_s)
        for process in processes:
            process.kill()
        finish(processes)
    if not (tmp_path / "out/results.json").exists():
        codes, outputs = finish(start(arguments, 1))
        assert codes == [0], outputs
    assert (tmp_path / "whole/results.json").read_bytes() == (tmp_path / "out/results.json").read_bytes()


@pytest.fixture
def copied(tmp_path):
    """A copy of the dataset that may be spoiled."""
    return shutil.copytree(DATA, tmp_path / "data")


def break_picture(data, scene="scene_e"):
    file = data / "scenes" / scene / "images" / f"frame_{INDEX[scene]['context'][1]:05d}.png"
    file.write_bytes(file.read_bytes()[:200])
    return file


def test_a_broken_picture_is_named_before_the_checkpoint(tmp_path, run, words, copied):
    file = break_picture(copied)
    arguments = words(scenes=copied / "scenes.txt")
    arguments[arguments.index("--checkpoint") + 1] = str(tmp_path / "no.pt")
    code, _, err = run(*arguments, "-o", tmp_path / "out")
    assert code == 2
    assert str(file) in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_keep_going_lists_what_is_broken(tmp_path, run, words, results, copied):
    file = break_picture(copied)
    code, _, err = run(*words(scenes=copied / "scenes.txt"), "--keep-going", "-o", tmp_path / "out")
    assert code == 1
    assert str(file) in err
    found = results(tmp_path / "out")
    assert [scene["name"] for scene in found["scenes"]] == ["scene_a", "scene_f"]
    assert found["summary"]["scenes"] == 2
    assert [failure["name"] for failure in found["failed"]] == ["scene_e"]


def test_an_unused_picture_may_be_missing(tmp_path, run, words, copied):
    used = {frame for part in INDEX["scene_a"].values() for frame in part}
    unused = next(frame for frame in range(10) if frame not in used)
    (copied / "scenes/scene_a/images" / f"frame_{unused:05d}.png").unlink()
    assert run(*words(scenes=copied / "scenes.txt"), "-o", tmp_path / "out")[0] == 0


def test_scenes_without_views_are_counted(tmp_path, run, words, results, copied):
    index = {**INDEX, "scene_a": None}
    del index["scene_f"]
    (copied / "index.json").write_text(json.dumps(index))
    code, out, _ = run(*words(index=copied / "index.json"), "-o", tmp_path / "out")
    assert code == 0
    found = results(tmp_path / "out")
    assert found["left_out"] == {"null": ["scene_a"], "absent": ["scene_f"]}
    assert found["summary"]["scenes"] == 1
    assert found["summary"]["confidence"]["psnr"] is None
    assert "2 scenes of the list without views" in out


def test_scenes_without_cameras(tmp_path, run, words, results, copied):
    file = copied / "scenes/scene_a/opencv_cameras.json"
    content = json.loads(file.read_text())
    content["frames"] = [{"file_path": frame["file_path"]} for frame in content["frames"]]
    file.write_text(json.dumps(content))
    arguments = words(scenes=copied / "scenes.txt")
    assert run(*arguments, "-o", tmp_path / "out")[0] == 0
    found = results(tmp_path / "out")
    assert found["poses"]["scenes"] == 2
    assert (found["scenes"][0]["poses"], found["scenes"][0]["cameras"]["true"]) == (None, None)
    code, _, err = run(*words("lvsm", scenes=copied / "scenes.txt"), "-o", tmp_path / "lvsm")
    assert code == 2
    assert str(copied / "scenes/scene_a") in err
    assert "this checkpoint needs known cameras" in err
    assert not (tmp_path / "lvsm").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["evaluation.prob=true"], "did you mean"),
        (["evaluation.batch_size=-1"], "evaluation.batch_size = -1"),
        (["evalution.probe=true"], 'did you mean "evaluation"'),
        (["--benchmark", "rooms_v1"], "give its folder with --data"),
        (["--pairs", "no.txt"], "no.txt"),
        (["--sweep", "no.json"], "no.json"),
        (["evaluation.lpips_file=no.pth"], "no.pth: not found"),
    ],
)
def test_mistakes(tmp_path, run, words, change, message):
    code, _, err = run(*words(), *change, "-o", tmp_path / "out")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out/results.json").exists()


def test_finished_results_stay(tmp_path, run, words):
    arguments = [*words(), "-o", tmp_path / "out"]
    run(*arguments)
    before = (tmp_path / "out/results.json").stat().st_mtime_ns
    code, _, err = run(*arguments)
    assert code == 2
    assert "--overwrite" in err
    assert (tmp_path / "out/results.json").stat().st_mtime_ns == before
    assert run(*arguments, "--overwrite")[0] == 0
    assert (tmp_path / "out/results.json").stat().st_mtime_ns != before


def test_foreign_files_stay_even_when_overwriting(tmp_path, run, words):
    (tmp_path / "out/scenes").mkdir(parents=True)
    code, _, err = run(*words(), "-o", tmp_path / "out", "--overwrite")
    assert code == 2
    assert "was not made by an earlier run" in err


def test_a_benchmark_that_is_not_there_says_how_to_get_it(tmp_path, run, words):
    arguments = words()
    del arguments[5:9]  # --scenes and --view-index
    code, _, err = run(*arguments, "--benchmark", "rooms_v1", "--data", tmp_path, "-o", tmp_path / "out")
    assert code == 2
    assert "rayzer data synthesize FOLDER --benchmark rooms-v1" in err


def test_another_process_at_work_is_noticed(tmp_path, run, words):
    from rayzer.files import exclusive

    (tmp_path / "out").mkdir()
    with exclusive(tmp_path / "out"):
        code, _, err = run(*words(), "-o", tmp_path / "out")
    assert code == 2
    assert "another process is at work there" in err
    assert run(*words(), "-o", tmp_path / "out")[0] == 0


@pytest.mark.parametrize("change", ["picture", "camera", "sweep"])
def test_nothing_that_changed_is_gone_on_with(tmp_path, run, words, copied, monkeypatch, change):
    sweep = copied / "sweep.json"
    fewer = {name: {**entry, "context": entry["context"][::3]} for name, entry in INDEX.items() if entry}
    sweep.write_text(json.dumps(fewer))
    arguments = [*words(scenes=copied / "scenes.txt"), "--sweep", sweep, "-o", tmp_path / "out"]
    with monkeypatch.context() as patch:
        interrupted(patch, 4)
        assert run(*arguments)[0] == 130
    if change == "picture":
        picture = copied / "scenes/scene_a/images" / f"frame_{INDEX['scene_a']['target'][0]:05d}.png"
        Image.new("RGB", Image.open(picture).size).save(picture)
    elif change == "camera":
        file = copied / "scenes/scene_a/opencv_cameras.json"
        file.write_text(file.read_text().replace('"fx": ', '"fx": 1'))
    else:
        fewer = {name: {**entry, "context": entry["context"][:1]} for name, entry in INDEX.items() if entry}
        sweep.write_text(json.dumps(fewer))
    code, _, err = run(*arguments)
    assert code == 2
    assert "unfinished work of another command" in err
    assert "scenes_sha256" in err


def test_a_wrong_size_is_found_before_the_checkpoint(tmp_path, run, words, copied):
    file = copied / "scenes/scene_f/opencv_cameras.json"
    content = json.loads(file.read_text())
    for frame in content["frames"]:
        frame |= {"w": 7, "h": 9}
    file.write_text(json.dumps(content))
    arguments = words(scenes=copied / "scenes.txt")
    arguments[arguments.index("--checkpoint") + 1] = str(tmp_path / "no.pt")
    code, _, err = run(*arguments, "-o", tmp_path / "out")
    assert code == 2
    assert "correct its size in the scene file" in err


@pytest.mark.parametrize("inside", ["scenes", "."])
def test_results_never_replace_their_input(tmp_path, run, words, copied, inside):
    run(*words(), "-o", tmp_path / "other")
    shutil.copy(tmp_path / "other/results.json", copied)
    before = files_in(copied)
    out = copied if inside == "scenes" else copied / "scenes" / ".."
    code, _, err = run(*words(scenes=copied / "scenes.txt"), "-o", out, "--overwrite")
    assert code == 2
    assert "would replace the input" in err
    assert files_in(copied) == before


def test_old_results_go_before_their_pictures(tmp_path, run, words, monkeypatch):
    """Killed while new results take the place of old ones, the folder holds no results with other pictures."""
    from rayzer.data import scene_jobs

    run(*words(), "-o", tmp_path / "out")
    original = scene_jobs.move_entry

    def killed(source, destination):
        if destination == tmp_path / "out/scenes":
            raise KeyboardInterrupt
        original(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(scene_jobs, "move_entry", killed)
        assert run(*words(), "-o", tmp_path / "out", "--overwrite")[0] == 130
    assert not (tmp_path / "out/results.json").exists()
    assert not (tmp_path / "out/index.html").exists()
    assert run(*words(), "-o", tmp_path / "out", "--overwrite")[0] == 0
    assert (tmp_path / "out/index.html").exists()


def test_a_mistake_is_told_once(tmp_path, words, copied):
    file = break_picture(copied)
    codes, outputs = finish(start([*words(scenes=copied / "scenes.txt"), "-o", tmp_path / "out"], 2))
    assert codes == [2, 2]
    assert sum(output.count(str(file)) for output in outputs) == 1
    assert not (tmp_path / "out").exists()


def test_negative_focal_lengths_of_a_bad_checkpoint(tmp_path, run, words, results):
    state = torch.load(RECORDINGS / "rayzer_tiny.pt", weights_only=True)
    state["model"]["pose_predictor.canonical_k_head.2.bias"] -= 3
    torch.save(state, tmp_path / "negative.pt")
    arguments = words()
    arguments[arguments.index("--checkpoint") + 1] = str(tmp_path / "negative.pt")
    code, _, err = run(*arguments, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert results(tmp_path / "out")["transfer"]["re_estimated"]["focal_error"] is None


def test_an_index_of_other_data(tmp_path, run, words, copied):
    (copied / "index.json").write_text(json.dumps({"elsewhere": INDEX["scene_a"], "scene_a": None}))
    code, _, err = run(*words(index=copied / "index.json"), "-o", tmp_path / "out")
    assert code == 2
    assert f"{copied / 'index.json'}: has views for none of 3 scenes; is it the index of other data?" in err


def test_the_command_line_knows_all_benchmarks():
    from rayzer.cli.evaluate import BENCHMARKS as named
    from rayzer.evaluation.presets import BENCHMARKS

    assert tuple(BENCHMARKS) == named


@pytest.mark.parametrize(
    ("checkpoint", "scenes", "title"),
    [
        ("weights/rayzer.pt", "rooms-v1/span-0.50.txt", "rayzer.pt on span-0.50"),
        ("runs/smoke/checkpoints/step-00000024", "data/kitchens/scenes.txt", "smoke, step-00000024 on kitchens"),
        ("hwjiang/RayZer", "scenes", "RayZer on here"),
    ],
)
def test_titles(tmp_path, monkeypatch, checkpoint, scenes, title):
    from rayzer.evaluation import evaluate

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert f"{evaluate._model_title(checkpoint)} on {evaluate._data_title(Path(scenes))}" == title

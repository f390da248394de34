"""`rayzer data inspect`: scenes on disk, the report, its text and its JSON."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from rich.console import Console

from rayzer.data.formats import find_scenes
from rayzer.data.inspection import inspector
from rayzer.data.inspection.evidence import Problem, Recipe
from rayzer.data.inspection.inspector import InspectOptions, inspect_scenes
from rayzer.data.inspection.report import Inspection, SceneReport, as_json
from rayzer.data.inspection.text import MAX_SCENES, render
from rayzer.data.sources.source import SceneRef

WIDTH, HEIGHT = 48, 32


def write_scene(folder, count=6, poses=True, edit=lambda frames: None):
    """A scene of pictures of noise, its camera moving to the right."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    frames = []
    for number in range(count):
        pixels = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number:03d}.png")
        camera_from_world = np.eye(4)
        camera_from_world[0, 3] = -0.1 * number
        entry = {"file_path": f"images/{number:03d}.png"}
        if poses:
            entry |= {"fx": 40, "fy": 40, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w2c": camera_from_world.tolist()}
        frames.append(entry)
    edit(frames)
    (folder / "opencv_cameras.json").write_text(json.dumps({"scene_name": folder.name, "frames": frames}))
    return folder


def inspected(path, **options):
    return inspect_scenes(find_scenes(path), InspectOptions(**options))


def text_of(inspection, width=80):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render(inspection))
    return console.export_text()


@pytest.fixture
def data_set(tmp_path):
    """Scenes that are sound, without poses, with a wrong pose, with damaged pictures, and no scene at all."""

    def spoil(frames):
        frames[2]["w2c"][0][0] = 2.0

    write_scene(tmp_path / "set/sound")
    write_scene(tmp_path / "set/unposed", poses=False)
    write_scene(tmp_path / "set/wrong_pose", edit=spoil)
    damaged = write_scene(tmp_path / "set/damaged") / "images"
    (damaged / "001.png").write_bytes((damaged / "001.png").read_bytes()[:900])
    (damaged / "004.png").unlink()
    broken = write_scene(tmp_path / "set/unreadable") / "opencv_cameras.json"
    broken.write_text("{")
    return tmp_path / "set"


def test_a_sound_scene(tmp_path):
    (report,) = inspected(write_scene(tmp_path / "sound"))
    assert (report.name, report.format, report.problems) == ("sound", "rayzer", {})
    assert (report.frames, report.present, report.decoded, report.usable) == (6, 6, 6, 6)
    assert (report.poses, report.intrinsics, report.sizes) == (6, 6, ((WIDTH, HEIGHT, 6),))
    assert report.focal == (40 / WIDTH, 40 / HEIGHT)
    assert report.field_of_view_deg == pytest.approx((61.93, 43.60), abs=0.01)
    assert report.path.length == pytest.approx(0.5)
    assert report.usable_with_poses
    assert report.usable_without_poses


def test_broken_scenes_end_nothing_and_nothing_is_written(data_set):
    before = sorted(data_set.rglob("*"))
    reports = {report.name: report for report in inspected(data_set)}
    usable = {name: (report.usable_with_poses, report.usable_without_poses) for name, report in reports.items()}
    assert usable == {
        "damaged": (True, True),
        "sound": (True, True),
        "unposed": (False, True),
        "unreadable": (False, False),
        "wrong_pose": (False, True),
    }
    assert reports["damaged"].problems.keys() == {"damaged_pictures", "missing_pictures"}
    assert reports["damaged"].problems["damaged_pictures"].frames == ("001.png",)
    assert reports["wrong_pose"].problems["missing_poses"].frames == ("002.png",)
    assert "--format photos" in reports["unreadable"].problems["unreadable"].message
    assert sorted(data_set.rglob("*")) == before


def test_without_poses_none_is_read(data_set):
    (report,) = inspected(data_set / "wrong_pose", cameras=False)
    assert (report.poses, report.problems) == (0, {})


def test_a_fault_of_ours_is_one_report(data_set, monkeypatch):
    def fail(ref, options):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(inspector, "read_scene", fail)
    reports = inspected(data_set)
    assert len(reports) == 5
    assert "ZeroDivisionError: oh" in reports[0].problems["unreadable"].message


def test_few_names_are_kept_of_many():
    problem = Problem("note", "look", tuple(f"{number}.png" for number in range(300)))
    short = problem.shortened()
    assert (short.frame_count, short.frames[:2], len(short.frames)) == (300, ("0.png", "1.png"), 20)
    assert short.shortened() == short
    assert Problem("note", "look").shortened() == Problem("note", "look")


def test_a_recipe_asks_for_its_frames(data_set):
    (report,) = inspected(data_set / "sound", recipe=Recipe("large", 7, 9))
    assert not report.usable_without_poses
    assert "only 6 frames have a usable picture, large needs 7" in report.problems["too_few_pictures"].message


def test_large_sets_are_sampled_in_pairs_of_neighbours(tmp_path, monkeypatch):
    scene = write_scene(tmp_path / "long", count=12)
    shutil.copy(scene / "images/000.png", scene / "images/001.png")
    monkeypatch.setattr(inspector, "MAX_PICTURES", 6)
    monkeypatch.setattr(inspector, "LEAST_PICTURES", 1)
    (some,) = inspected(scene)
    assert (some.decoded, some.present) == (6, 12)
    assert some.problems["repeated_pictures"].frames == ("001.png",)
    assert inspected(scene, every_picture=True)[0].decoded == 12


def test_blurred_pictures_come_blurriest_first(tmp_path):
    images = write_scene(tmp_path / "scene") / "images"
    for name, radius in (("001.png", 2), ("004.png", 4)):
        Image.open(images / name).filter(ImageFilter.GaussianBlur(radius)).save(images / name)
    (report,) = inspected(tmp_path / "scene")
    assert report.problems["blurred_pictures"].frames == ("004.png", "001.png")


def test_photos_taken_in_another_order_are_told_once(tmp_path):
    for name, second, size in (("a.jpg", 2, (40, 30)), ("b.jpg", 1, (40, 30)), ("c.jpg", 3, (80, 60))):
        exif = Image.Exif()
        exif[0x8769] = {0x9003: f"2024:05:06 07:08:0{second}"}
        Image.effect_noise(size, 50).convert("RGB").save(tmp_path / name, exif=exif)
    (report,) = inspected(tmp_path)
    assert report.problems.keys() == {"exposures_out_of_order", "mixed_sizes"}


def test_progress_counts_pictures_of_one_scene_and_scenes_of_many(data_set):
    for path, last in ((data_set / "sound", (6, 6)), (data_set, (5, 5))):
        calls = []
        inspect_scenes(find_scenes(path), progress=lambda *call, calls=calls: calls.append(call))
        assert len(calls) == last[0]
        assert calls[-1] == last


def test_what_goes_to_worker_processes_and_back(data_set):
    look = inspector._Look(InspectOptions(), 16, 2, None)
    number, report = pickle.loads(pickle.dumps(look))((3, find_scenes(data_set)[0]))  # noqa: S301
    assert number == 3
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301


# ---- text


def test_a_card(data_set):
    path = data_set / "damaged"
    text = text_of(Inspection(path, True, Recipe(), inspected(path)))
    assert "6, 1 without a picture" in text
    assert "all 5 decoded" in text
    assert "field of view 62° x 44°" in text
    assert "1 picture cannot be decoded; the first: images/001.png: is damaged" in " ".join(text.split())
    assert text.rstrip().splitlines()[-2].strip() == "Usable with poses and without."


def test_a_summary(data_set):
    text = text_of(Inspection(data_set, True, Recipe(), inspected(data_set)))
    assert "5 scenes, 24 frames" in " ".join(text.split())  # a long path wraps the line
    assert "✗ missing poses  1 scene: wrong_pose" in text
    assert "Usable: 2 of 5 scenes with poses, 4 of 5 without." in text
    assert text.index("unreadable ") < text.index("sound ")


def test_scenes_that_have_no_poses_are_no_failure(tmp_path):
    for name in "ab":
        write_scene(tmp_path / "set" / name, poses=False)
    text = text_of(Inspection(tmp_path / "set", True, Recipe(), inspected(tmp_path / "set")))
    assert "Usable without poses: 2 of 2 scenes." in text


def test_labels_tell_scenes_of_one_folder_apart():
    paths = ["a/opencv_cameras.json", "b/metadata/1.json", "b/metadata/2.json", "c.torch"]
    scenes = tuple(SceneReport(SceneRef(Path("/data") / path, "k" * path.endswith("h")), "name") for path in paths)
    inspection = Inspection(Path("/data"), True, Recipe(), scenes)
    assert [inspection.label(scene) for scene in scenes] == ["a", "b/metadata/1.json", "b/metadata/2.json", "c.torch#k"]


def test_of_videos_it_is_said_how_many_frames_count():
    videos = tuple(SceneReport(SceneRef(Path(f"/data/{n}.mp4")), n, "video", 24, 24, 24, 24) for n in "ab")
    text = text_of(Inspection(Path("/data"), True, Recipe(), videos))
    assert "Of a video, 24 frames were looked at, spread evenly." in text


def report(number, **values):
    return SceneReport(SceneRef(Path(f"/data/1K/{number:064x}")), f"{number:064x}", "dl3dv", **values)


@pytest.mark.parametrize("width", [80, 100])
def test_long_names_and_large_numbers_fit(width):
    problem = Problem("warning", "a sentence " * 20, ("a_frame_with_a_long_name.png",) * 400)
    values = {"frames": 123456, "present": 123456, "poses": 123456, "sizes": ((1920, 1080, 123456),)}
    scenes = tuple(report(number, problems={"jumps": problem}, **values) for number in range(40))
    text = text_of(Inspection(Path("/data"), True, Recipe(), scenes), width)
    assert max(map(len, text.splitlines())) <= width
    assert f"worst {MAX_SCENES} of 40" in text
    assert text.count("1920x1080") == MAX_SCENES


def test_what_was_not_looked_at_is_said():
    scenes = (report(0, frames=90, present=90, decoded=16), report(1, frames=90, present=90, decoded=16))
    text = text_of(Inspection(Path("/data"), False, Recipe("some"), scenes))
    assert "Decoded 32 of 180 pictures, spread evenly; --all decodes every one." in text
    assert "Poses and intrinsics were not looked at." in text
    assert "--recipe" not in text


# ---- JSON


def test_json(data_set):
    result = as_json(Inspection(data_set, True, Recipe("some", 2, 3), inspected(data_set)))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result) == ["format", "version", "path", "cameras_inspected", "recipe", "summary", "scenes"]
    assert (result["format"], result["version"]) == ("rayzer-inspection", 1)
    assert result["recipe"] == {"name": "some", "frames_needed": 2, "frames_wanted": 3}
    assert result["summary"] | {"problems": []} == {
        "scenes": 5,
        "usable_with_poses": 2,
        "usable_without_poses": 4,
        "frames": 24,
        "pictures": 23,
        "pictures_decoded": 23,
        "problems": [],
    }
    assert {"check": "missing_poses", "severity": "error", "scenes": 1} in result["summary"]["problems"]


def test_json_of_a_scene(data_set):
    path = data_set / "wrong_pose"
    (scene,) = as_json(Inspection(path, True, Recipe(), inspected(path)))["scenes"]
    (problem,) = scene.pop("problems")
    assert problem.pop("message").startswith("no usable pose for 1 frame")
    assert problem == {
        "check": "missing_poses",
        "severity": "error",
        "prevents": "poses",
        "frames": 1,
        "frame_names": ["002.png"],
    }
    assert scene.pop("camera_path").keys() == {"length", "median_step", "largest_step", "extent"}
    assert scene.pop("field_of_view_deg").keys() == {"across", "down"}
    assert scene == {
        "path": str(path),
        "key": "",
        "name": "wrong_pose",
        "format": "rayzer",
        "frames": 6,
        "present": 6,
        "decoded": 6,
        "usable": 6,
        "poses": 5,
        "intrinsics": 6,
        "duration_s": None,
        "usable_with_poses": False,
        "usable_without_poses": True,
        "sizes": [{"width_px": WIDTH, "height_px": HEIGHT, "pictures": 6}],
        "focal": {"fx": 40 / WIDTH, "fy": 40 / HEIGHT},
    }


def test_the_json_is_documented():
    manual = (Path(__file__).parents[3] / "docs/formats.md").read_text()
    result = as_json(Inspection(Path("/data"), True, Recipe(), (report(0),)))
    for key in [*result, *result["summary"], *result["scenes"][0], "check", "severity", "prevents", "frame_names"]:
        assert f"`{key}`" in manual or f'"{key}"' in manual, key


# ---- the command


def test_command(run, data_set):
    code, out, _ = run("data", "inspect", data_set)
    assert code == 0
    assert "2 of 5 scenes with poses" in out


def test_command_prints_nothing_but_json(run, data_set):
    code, out, _ = run("data", "inspect", data_set, "--json", "--no-poses")
    assert code == 0
    assert json.loads(out)["summary"]["usable_without_poses"] == 4


@pytest.mark.parametrize("words", [["unreadable"], ["unreadable", "--json"], ["sound", "--recipe", "rayzer_dl3dv"]])
def test_nothing_usable_is_exit_code_2(run, data_set, words):
    code, out, err = run("data", "inspect", data_set / words[0], *words[1:])
    assert code == 2
    assert out
    assert err.count("\n") == 1
    assert "nothing here can be used as a scene" in err


@pytest.mark.parametrize(
    "words", [["nothing"], ["sound", "--recipe", "rayser"], ["sound", "--format", "tape"], ["empty"]]
)
def test_mistakes_are_one_line(run, data_set, words):
    (data_set / "empty").mkdir()
    code, out, err = run("data", "inspect", data_set / words[0], *words[1:])
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1


def test_a_scene_list(run, data_set):
    (data_set / "list.txt").write_text("sound\nunposed\n")
    code, out, _ = run("data", "inspect", data_set / "list.txt")
    assert code == 0
    assert "1 of 2 scenes with poses, 2 of 2 without" in out


# ---- real scenes


def test_fox_lacks_17_pictures(real_scene):
    (fox,) = inspected(real_scene("fox"))
    assert (fox.frames, fox.present, fox.usable_with_poses) == (67, 50, True)
    assert len(fox.problems["missing_pictures"].frames) == 17
    assert all(problem.severity != "error" for problem in fox.problems.values())


@pytest.mark.parametrize("name", ["room", "skating.mp4", "vrnerf_apartment.mp4", "example_0_dl3dv_000053"])
def test_real_pictures_without_poses_are_usable(real_scene, name):
    (scene,) = inspected(real_scene(name))
    assert (scene.usable_with_poses, scene.usable_without_poses) == (False, True)
    assert all(problem.severity == "note" for problem in scene.problems.values())

import json

import pytest

from rayzer.errors import InputError
from rayzer.report.read_results import load_results

SMALL = {
    "summary": {"psnr": 20.0, "ssim": 0.5, "lpips": None, "scenes": 1},
    "scenes": [{"name": "a", "psnr": 20.0, "ssim": 0.5, "lpips": None, "views": [{"index": 2, "psnr": 20.0}]}],
}


def written(folder, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "results.json").write_text(text, encoding="utf-8")
    return folder


def test_everything_is_read(tmp_path, make_evaluation):
    content = make_evaluation(tmp_path, names=["a", 'b <"ü">'])
    results = load_results(tmp_path)
    assert results.title == "tiny on balls"
    assert results.summary.scores.psnr == content["summary"]["psnr"]
    assert results.summary.confidence["psnr"] == (24.1, 26.3)
    scene = results.scenes[1]
    assert (scene.name, scene.size_px, len(scene.views), len(scene.context)) == ('b <"ü">', (48, 48), 4, 8)
    assert scene.views[0].picture == "scenes/0001/002.webp"
    assert scene.cameras.frames == list(range(12))
    assert len(scene.fly_through.path) == 20
    assert results.poses.rra == {"5": 0.41, "15": 0.78, "30": 0.93}
    assert results.probe.test_scenes == 32
    assert results.transfer.own.psnr == 25.0
    assert results.verdict.cameras == "are not"
    assert results.facts["config"] == {"width": "768", "camera.layers": "8"}


def test_a_small_file_is_enough(tmp_path):
    results = load_results(written(tmp_path, SMALL))
    assert results.title == tmp_path.name
    assert results.scenes[0].views[0].name == "frame 2"
    assert results.poses is None
    assert results.controls == {}


def test_every_other_key_may_be_absent(tmp_path, make_evaluation):
    content = make_evaluation(tmp_path)
    for key in content.keys() - {"summary", "scenes"}:
        load_results(written(tmp_path, {name: value for name, value in content.items() if name != key}))
        load_results(written(tmp_path, content | {key: None}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "no JSON object"),
        ('{"summary": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
        ({"cameras": []}, "not a file of rayzer evaluate"),
        (SMALL | {"format": "other"}, "not a file of rayzer evaluate"),
        (SMALL | {"format": "rayzer-results-2"}, "newer"),
        (SMALL | {"format": 3}, "format: expected a string, got 3"),
        (SMALL | {"scenes": [{"psnr": 1}]}, r"scenes\[0\].name: missing"),
        (SMALL | {"scenes": {}}, "scenes: expected a list"),
        (SMALL | {"summary": {"psnr": "20", "scenes": 1}}, "summary.psnr: expected a number"),
        (SMALL | {"summary": {"psnr": True, "scenes": 1}}, "summary.psnr: expected a number"),
        (SMALL | {"summary": {"scenes": -1}}, "summary.scenes: expected a whole number"),
        (SMALL | {"summary": {"scenes": 1, "psnr": 10**400}}, "summary.psnr: expected a finite number"),
        (SMALL | {"summary": {"scenes": 1, "confidence": {"psnr": [1]}}}, "confidence.psnr: expected a list of 2"),
        (SMALL | {"verdict": {"cameras": "perhaps", "text": ""}}, "verdict.cameras: expected one of"),
        (SMALL | {"failed": [{"name": "a"}]}, r"failed\[0\].error: missing"),
    ],
)
def test_wrong_files_are_named(tmp_path, content, said):
    with pytest.raises(InputError, match=said) as caught:
        load_results(written(tmp_path, content))
    assert str(caught.value).startswith(str(tmp_path / "results.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["/etc/a.png", "../a.png", "a/../../b", "C:/a.png", "a\\b", "", "javascript:alert(1)", 3]
)
def test_paths_stay_in_the_folder(tmp_path, path):
    view = {"index": 0, "truth": path}
    content = SMALL | {"scenes": [SMALL["scenes"][0] | {"views": [view]}]}
    with pytest.raises(InputError, match=r"scenes\[0\].views\[0\].truth: expected"):
        load_results(written(tmp_path, content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": [0, 1]}, "expected a list of 2"),
        ({"predicted": {"world_from_camera": [[[1, 0, 0, 0]] * 3], "intrinsics": [[1, 1, 0, 0]]}}, "a list of 4"),
        ({"predicted": {"world_from_camera": [[[1, 0, 0, 0]] * 4], "intrinsics": [[0, 1, 0, 0]]}}, "focal"),
        ({"given": 1}, "given: expected true or false"),
    ],
)
def test_wrong_cameras_are_named(tmp_path, change, said):
    good = {"world_from_camera": [[[1, 0, 0, 0]] * 4], "intrinsics": [[1, 1, 0.5, 0.5]]}
    cameras = {"frames": [0], "predicted": good} | change
    content = SMALL | {"scenes": [SMALL["scenes"][0] | {"cameras": cameras}]}
    with pytest.raises(InputError, match=said) as caught:
        load_results(written(tmp_path, content))
    assert "scenes[0].cameras" in str(caught.value)


def test_missing_folders_and_files(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        load_results(tmp_path / "absent")
    with pytest.raises(InputError, match="json: missing"):
        load_results(tmp_path)

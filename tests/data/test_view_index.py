import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rayzer.data.scenes import Frame, Scene
from rayzer.data.view_index import (
    IndexRequest,
    even_target_slots,
    make_index,
    parse_distance,
    read_view_index,
    write_view_index,
)
from rayzer.data.view_sampling import in_frame_order
from rayzer.errors import InputError

RECORDINGS = Path(__file__).parents[1] / "recordings" / "dataset"
OFFICIAL_SLOTS = [2, 5, 8, 11, 14, 17, 20, 22]
PIXELS = np.zeros((2, 2, 3), np.uint8)


def scene(name, count=120, missing=()):
    frames = [Frame(f"{k}.png", None if k in missing else PIXELS, 2, 2) for k in range(count)]
    return Scene(name, tuple(frames), Path(f"{name}.json"))


@pytest.fixture
def index(tmp_path):
    def write(content):
        path = tmp_path / "index.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_official_structure():
    index = read_view_index(RECORDINGS / "view_index.json")
    split = index.split_of(scene("scene_a", 10))
    assert (split.context.tolist(), split.target.tolist()) == ([[0, 4, 7, 8]], [[1, 2]])
    assert index.split_of(scene("other", 10)) is None


def test_null_and_absent_scenes_have_no_views(index):
    entries = {"a": {"context": [0, 5], "target": [5]}, "b": None, "elsewhere": {"context": [900], "target": [1]}}
    found = [read_view_index(index(entries)).split_of(scene(name)) for name in "abc"]
    assert found[1:] == [None, None]
    frames, positions = in_frame_order(found[0])
    assert (frames.tolist(), positions.target.tolist()) == ([[0, 5, 5]], [[2]])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"a": {"context": [0, 120], "target": [1]}}, r"index\.json: a\.json: there is no frame 120; scene 'a' has"),
        ({"a": {"context": [0, 7], "target": [1]}}, r"frame 7 \(7\.png\) of scene 'a' is missing"),
        ({"a": {"context": [0, -1], "target": [1]}}, "a: context: must be a list"),
        ({"a": {"context": [0, 1.0], "target": [1]}}, "a: context"),
        ({"a": {"context": [0, True], "target": [1]}}, "a: context"),
        ({"a": {"context": [0, 10**30], "target": [1]}}, "a: context"),
        ({"a": {"context": [0, 1], "target": []}}, "a: target"),
        ({"a": {"context": [0, 1]}}, "a: target"),
        ({"a": [0, 1]}, "a: must be null or an object"),
        ('{"a": null, "a": null}', "stands twice"),
        ('{"a": NaN}', "NaN"),
        ("[1]", "expected an object"),
    ],
)
def test_indices_that_cannot_be_used(index, content, named):
    with pytest.raises(InputError, match=named):
        read_view_index(index(content)).split_of(scene("a", missing={7}))


def test_scenes_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"two\.json: has the name 'a' of a\.json"):
        make_index([scene("a"), Scene("a", scene("a").frames, Path("two.json"))], IndexRequest("even", 3, 2, None, 0))


def slots(split):
    frames, positions = in_frame_order(split)
    return frames[0].tolist(), positions.target[0].tolist()


def test_even_views_are_those_of_the_official_files():
    index = make_index([scene(str(k), 300) for k in range(20)], IndexRequest("even", 16, 8, (64, 96), 0))
    spans = []
    for split in index.values():
        frames, targets = slots(split)
        assert targets == OFFICIAL_SLOTS
        assert len(set(frames)) == 24
        assert np.ptp(np.diff(frames)) <= 1
        spans.append(frames[-1] - frames[0])
    assert min(spans) >= 64
    assert max(spans) <= 96
    assert len(set(spans)) > 5


def test_random_views_differ_from_scene_to_scene():
    index = make_index([scene(str(k), 300) for k in range(20)], IndexRequest("random", 16, 8, (64, 96), 0))
    found = [slots(split) for split in index.values()]
    assert len({tuple(targets) for _, targets in found}) == 20
    for frames, targets in found:
        assert 64 <= frames[-1] - frames[0] <= 96
        assert {0, 23}.isdisjoint(targets)


@pytest.mark.parametrize("kind", ["even", "random"])
def test_views_of_a_scene_do_not_depend_on_the_others(kind):
    def lists(names, seed=0):
        index = make_index([scene(name) for name in names], IndexRequest(kind, 5, 3, (20, 60), seed))
        return {name: (split.context.tolist(), split.target.tolist()) for name, split in index.items()}

    alone = lists("b")
    assert lists("dcba")["b"] == alone["b"]
    assert lists("ab") == {**lists("a"), **alone}
    assert lists("b", seed=1) != alone


def test_the_whole_scene_and_missing_pictures():
    index = make_index([scene("a", 30, missing={0, 3, 29})], IndexRequest("even", 4, 2, None, 0))
    frames, targets = slots(index["a"])
    assert (frames[0], frames[-1]) == (1, 28)
    assert 3 not in frames
    assert targets == [2, 4]


def test_scenes_that_are_too_short_are_null(tmp_path):
    index = make_index(
        [scene("long", 70), scene("short", 64), scene("tiny", 3)], IndexRequest("even", 16, 8, (64, 96), 0)
    )
    assert index["long"] is not None
    assert (index["short"], index["tiny"]) == (None, None)
    with pytest.raises(
        InputError, match=r"none of 1 scenes has the 24 frames with a picture that views need \(the longest has 23\)"
    ):
        make_index([scene("tiny", 23)], IndexRequest("even", 16, 8, None, 0))
    assert make_index([scene("tiny", 24)], IndexRequest("even", 16, 8, None, 0))["tiny"] is not None
    write_view_index(index, tmp_path / "index.json")
    again = read_view_index(tmp_path / "index.json")
    assert again.splits["short"] is None
    assert slots(again.splits["long"]) == slots(index["long"])
    assert len((tmp_path / "index.json").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("views", "distance", "named"),
    [
        ((1, 2), None, r"1 \+ 2 views"),
        ((2, 0), None, r"2 \+ 0"),
        ((3, 3), (4, 9), "from 5 on"),
        ((2, 1), (9, 5), "9-5"),
    ],
)
def test_impossible_requests(views, distance, named):
    with pytest.raises(InputError, match=named):
        IndexRequest("even", *views, distance)


@given(st.integers(3, 60), st.data())
def test_even_targets_are_inner_and_different(views, data):
    target = data.draw(st.integers(1, views - 2))
    found = even_target_slots(views, target)
    assert len(set(found)) == target
    assert found == sorted(found)
    assert found[0] >= 1
    assert found[-1] <= views - 2


def test_even_targets_of_the_recipes():
    assert even_target_slots(24, 8) == OFFICIAL_SLOTS
    assert even_target_slots(10, 5) == [1, 3, 5, 7, 8]
    with pytest.raises(ValueError, match="4 of 5"):
        even_target_slots(5, 4)


def test_distances_as_words():
    assert parse_distance("64-96") == (64, 96)
    assert parse_distance("all") is None
    for text in ("64", "64-", "-5-9", "a-b", "none"):
        with pytest.raises(InputError, match="--distance"):
            parse_distance(text)


def photo_folders(folder, counts):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8)).save(folder / name / f"{number}.png")
    return folder


def test_make_index_on_the_command_line(tmp_path, run):
    scenes, out = photo_folders(tmp_path / "scenes", {"a": 9, "b": 3}), tmp_path / "index.json"
    words = ["data", "make-index", scenes, "-o", out, "--context", 3, "--target", 2, "--distance", "6-8"]
    code, printed, _ = run(*words)
    assert code == 0
    assert "1 of 2 scenes" in printed
    assert "1 too short" in printed
    index = read_view_index(out)
    assert index.splits["b"] is None
    assert index.splits["a"].context.shape == (1, 3)
    first = out.read_bytes()
    assert run(*words)[0] == 2
    assert run(*words, "--overwrite")[0] == 0
    assert out.read_bytes() == first


def test_frames_whose_picture_is_missing_are_not_chosen(tmp_path, run):
    scenes, out = photo_folders(tmp_path / "scenes", {"a": 5}), tmp_path / "index.json"
    frames = [{"file_path": f"{number}.png"} for number in range(6)]
    (scenes / "a/opencv_cameras.json").write_text(json.dumps({"scene_name": "a", "frames": frames}))
    (scenes / "a/2.png").unlink()
    words = ["data", "make-index", scenes, "-o", out, "--context", 3, "--target", 1, "--distance", "all"]
    code, _, notes = run(*words)
    assert code == 0
    assert "note: " in notes
    assert "2 pictures missing; these frames are not chosen" in notes
    split = read_view_index(out).splits["a"]
    assert sorted([*split.context[0].tolist(), *split.target[0].tolist()]) == [0, 1, 3, 4]


def test_videos_have_no_numbers_yet(tmp_path, run):
    (tmp_path / "clip.mp4").write_bytes(b"any")
    code, _, complaint = run("data", "make-index", tmp_path / "clip.mp4", "-o", tmp_path / "index.json")
    assert code == 2
    assert "is a video; take pictures from it first" in complaint


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "none of 1 scenes has the 65 frames"),
        (["--distance", "x"], "--distance x"),
        (["--distance", "all", "--context", 1], "at least 2 context views"),
        (["--distance", "all", "--context", 2, "--target", 1, "--seed", -1], "--seed"),
        (["--distance", "all", "--context", 2, "--target", 1, "-o", "/dev/null/index.json"], "cannot be written"),
        (["--distance", "all", "--context", 2, "--target", 1, "-o", ".", "--overwrite"], ".: is a folder"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path, run, words, named):
    scenes = photo_folders(tmp_path / "scenes", {"a": 9})
    code, _, complaint = run("data", "make-index", scenes, "-o", tmp_path / "index.json", *words)
    assert code == 2
    assert named in complaint
    assert complaint.splitlines()[-1].startswith("rayzer: ")
    assert not (tmp_path / "index.json").exists()

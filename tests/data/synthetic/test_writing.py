import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from rayzer.data.dataset import Draw, SceneSamples
from rayzer.data.formats import find_scenes, read_scene
from rayzer.data.images import Preprocessing
from rayzer.data.sources.packed_file import read_packed_file
from rayzer.data.synthetic import writing
from rayzer.data.synthetic.camera_paths import NoClearPath
from rayzer.data.synthetic.rooms import compose, compose_pair, render_depth, render_room, render_rooms
from rayzer.data.synthetic.tiles import PictureSet
from rayzer.data.synthetic.writing import MAX_SEED, RoomsRequest, synthesize
from rayzer.data.view_sampling import ViewConfig, ViewSampler
from rayzer.data.views import load_views, to_uint8
from rayzer.errors import InputError

SMALL = ("--views", 3, "--image-size", 16, "--device", "cpu", "--workers", 1)
LISTS = ("scenes.txt", "rooms.json")
CROP = Preprocessing(16, 8).fit


def test_rooms_are_scenes(tmp_path, run):
    code, out, err = run("data", "synthesize", tmp_path / "rooms", "--scenes", 2, "--seed", 7, *SMALL)
    assert code == 0, err
    assert "2 rooms of 3 pictures" in out
    refs = find_scenes(tmp_path / "rooms" / "scenes.txt")
    assert [read_scene(ref).name for ref in refs] == ["room-000007", "room-000008"]
    assert len(find_scenes(tmp_path / "rooms")) == 2
    views = load_views(refs[0].path, range(3), image_size=16, patch_size=8)
    truth = render_room(7, 3, 16)
    np.testing.assert_array_equal(to_uint8(views.images), to_uint8(truth.images))
    poses = [frame.world_from_camera for frame in read_scene(refs[0]).frames]
    np.testing.assert_allclose(np.stack(poses), compose(7, 3).world_from_camera.numpy(), atol=1e-12)
    np.testing.assert_allclose(views.cameras.intrinsics, truth.cameras.intrinsics, atol=1e-6)


def same_scenes(one, other):
    """Whether two packed sets give the same, scene by scene, bit for bit."""
    files = [sorted((folder / "scenes").iterdir()) for folder in (one, other)]
    assert [file.name for file in files[0]] == [file.name for file in files[1]]
    for pair in zip(*files, strict=True):
        contents = [load_file(file) for file in pair]
        assert contents[0].keys() == contents[1].keys() == {"images", "rows", "world_from_camera", "fxfycxcy_px"}
        assert all(np.array_equal(contents[0][name], contents[1][name]) for name in contents[0])
        ours, theirs = (read_packed_file(file)[0] for file in pair)
        assert (ours.name, ours.preprocessing) == (theirs.name, theirs.preprocessing)
        assert [replace(frame, file=None) for frame in theirs.frames] == list(ours.frames)


@pytest.mark.parametrize(
    ("more", "patch_size"), [((), 16), (("--pairs", "--span", 0.3), 16), (("--image-size", 24), 8)]
)
def test_packed_rooms_are_those_that_pack_makes(tmp_path, run, more, patch_size):
    options = ("--scenes", 2, "--seed", 7, *SMALL, *more)
    code, out, err = run("data", "synthesize", tmp_path / "packed", *options, "--packed")
    assert code == 0, err
    assert f"{4 if '--pairs' in more else 2} rooms of 3 pictures" in out
    assert run("data", "synthesize", tmp_path / "rooms", *options)[0] == 0
    size = ("--image-size", *((24, "--patch-size", 8) if 24 in more else (16,)), "--workers", 1)
    assert run("data", "pack", tmp_path / "rooms", tmp_path / "later", *size)[0] == 0
    same_scenes(tmp_path / "packed", tmp_path / "later")
    names = {path.name for path in (tmp_path / "packed").iterdir()}
    assert names == {*(path.name for path in (tmp_path / "later").iterdir()), "rooms.json"}
    assert (tmp_path / "packed/scenes.txt").read_bytes() == (tmp_path / "later/scenes.txt").read_bytes()
    ours, theirs = (json.loads((tmp_path / folder / "index.json").read_text()) for folder in ("packed", "later"))
    for entry in (*ours["scenes"], *theirs["scenes"]):
        del entry["bytes"], entry["sha256"]  # of files that name the pictures they were made of, or do not
    assert ours == theirs
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "packed", check=True, capture_output=True)


def test_packed_rooms_are_trained_on(tmp_path, run):
    assert run("data", "synthesize", tmp_path / "rooms", "--scenes", 2, *SMALL, "--packed")[0] == 0
    for path in (tmp_path / "rooms", tmp_path / "rooms/scenes.txt"):
        source = SceneSamples(find_scenes(path), ViewSampler(ViewConfig((2, 2), (2, 2), 0), 2, 1), CROP, "stored")
        samples = [source.sample(Draw(0, 0, number, number, (2, 1))) for number in range(2)]
        for sample in samples:
            truth = render_room(int(sample.scene[-1]), 3, 16)
            assert torch.equal(sample.images, to_uint8(truth.images))
            torch.testing.assert_close(sample.cameras.world_from_camera, truth.cameras.world_from_camera)
            torch.testing.assert_close(sample.cameras.intrinsics, truth.cameras.intrinsics)


def test_packed_rooms_keep_depth_that_samples_show(tmp_path, run):
    with_depth = ("--packed", "--depth-cell", 2)
    assert run("data", "synthesize", tmp_path / "rooms", "--scenes", 2, *SMALL, *with_depth)[0] == 0
    views = ViewSampler(ViewConfig((2, 2), (2, 2), 0), 2, 1)
    for depth in (True, False):
        source = SceneSamples(find_scenes(tmp_path / "rooms"), views, CROP, "stored", depth=depth)
        for number in range(2):
            sample = source.sample(Draw(0, 0, number, number, (2, 1)))
            if not depth:
                assert sample.depth_m is None
                continue
            truth = render_depth([compose(int(sample.scene[-1]), 3)], 8)[0]
            assert sample.depth_m.dtype == torch.float32
            assert torch.equal(sample.depth_m, truth.half().float())


def test_depth_of_rooms_with_a_users_pictures(tmp_path, run):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "pictures/red.png")
    words = ("--scenes", 2, *SMALL, "--pictures", tmp_path / "pictures", "--packed")
    for folder, more in (("without", ()), ("with", ("--depth-cell", 4))):
        code, _, err = run("data", "synthesize", tmp_path / folder, *words, *more)
        assert code == 0, err
    for path in (tmp_path / "with/scenes").iterdir():
        tensors, others = load_file(path), load_file(tmp_path / "without/scenes" / path.name)
        assert tensors.pop("depth_m").shape == (3, 4, 4)
        assert tensors.keys() == others.keys()
        assert all(np.array_equal(tensors[name], others[name]) for name in others)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--depth-cell", 4), "--depth-cell: only packed sets hold depth; add --packed"),
        (("--packed", "--depth-cell", 5), "--depth-cell 5: pictures of 16 pixels have no whole number of such cells"),
        (("--packed", "--depth-cell", -4), "--depth-cell -4: pictures of 16 pixels"),
        (("--benchmark", "rooms-v1", "--depth-cell", 4), "--depth-cell: rooms-v1 is what it is"),
    ],
)
def test_depth_that_cannot_be_kept(tmp_path, run, words, said):
    size = () if "--benchmark" in words else SMALL
    code, _, err = run("data", "synthesize", tmp_path / "rooms", *size, *words)
    assert code == 2
    assert said in err


def test_rooms_and_packed_rooms_replace_each_other(tmp_path, run):
    options = ("--scenes", 2, *SMALL, "--overwrite")
    kinds = {(): {"room-000000", "room-000001", *LISTS}, ("--packed",): {"scenes", "index.json", "SHA256SUMS", *LISTS}}
    for more in ((), ("--packed",), ("--packed",), ()):
        assert run("data", "synthesize", tmp_path / "rooms", *options, *more)[0] == 0
        assert {path.name for path in (tmp_path / "rooms").iterdir()} == kinds[more]


def test_a_packed_set_of_others_is_not_replaced(tmp_path, run):
    assert run("data", "synthesize", tmp_path / "rooms", "--scenes", 1, *SMALL)[0] == 0
    assert run("data", "pack", tmp_path / "rooms", tmp_path / "mine", "--image-size", 16, "--workers", 1)[0] == 0
    code, _, err = run("data", "synthesize", tmp_path / "mine", "--scenes", 1, *SMALL, "--packed", "--overwrite")
    assert code == 2
    assert f"{tmp_path / 'mine/scenes'}: was not made by an earlier run" in err


def test_a_room_that_is_left_out_of_a_packed_set_is_listed(tmp_path, monkeypatch):
    def crowded(seed, *rest):
        if seed == 1:
            raise NoClearPath("there is no way through")
        return compose(seed, *rest)

    monkeypatch.setattr("rayzer.data.synthetic.writing.compose", crowded)
    told = synthesize(tmp_path / "rooms", RoomsRequest(0, 3, 2, 16, packed=True), "cpu", 1, False)
    assert told == ["room 1: there is no way through; choose a smaller --span or another --seed"]
    index = json.loads((tmp_path / "rooms/index.json").read_text())
    assert index["left_out"] == [{"scene": "rooms#1", "reason": told[0]}]
    assert [path.stem for path in find_paths(tmp_path / "rooms")] == ["room-000000", "room-000002"]


def find_paths(folder):
    return [ref.path for ref in find_scenes(folder)]


def test_the_request_is_written_down(tmp_path):
    synthesize(tmp_path / "rooms", RoomsRequest(3, 1, 2, 16, 0.25, "fast"), "cpu", 1, False)
    report = json.loads((tmp_path / "rooms" / "rooms.json").read_text())
    assert (report["first_seed"], report["span"], report["quality"]) == (3, 0.25, "fast")


def test_finished_rooms_are_not_replaced_unasked(tmp_path, run):
    assert run("data", "synthesize", tmp_path / "rooms", "--scenes", 1, *SMALL)[0] == 0
    assert run("data", "synthesize", tmp_path / "rooms", "--scenes", 1, *SMALL)[0] == 2
    assert run("data", "synthesize", tmp_path / "rooms", "--scenes", 1, *SMALL, "--overwrite")[0] == 0


def test_pairs_share_their_cameras(tmp_path, run):
    code, out, err = run("data", "synthesize", tmp_path / "rooms", "--scenes", 2, "--seed", 5, "--pairs", *SMALL)
    assert code == 0, err
    assert "4 rooms of 3 pictures" in out
    refs = find_scenes(tmp_path / "rooms" / "scenes.txt")
    assert [read_scene(ref).name for ref in refs] == [f"room-00000{seed}{half}" for seed in (5, 6) for half in "ab"]
    one, other, third, _ = (load_views(ref.path, range(3), image_size=16, patch_size=8) for ref in refs)
    assert one.cameras.world_from_camera.equal(other.cameras.world_from_camera)
    assert not one.cameras.world_from_camera.equal(third.cameras.world_from_camera)
    assert (one.images - other.images).abs().mean() > 0.02
    first, second = (render_rooms([room], 16).images[0] for room in compose_pair(5, 3))
    np.testing.assert_array_equal(to_uint8(one.images), to_uint8(first))
    np.testing.assert_array_equal(to_uint8(other.images), to_uint8(second))


@pytest.mark.parametrize("mine", ["scenes.txt", "rooms.json", "room-000000/thesis.txt"])
def test_only_rooms_are_replaced(tmp_path, run, mine):
    file = tmp_path / "rooms" / mine
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    code, _, err = run("data", "synthesize", tmp_path / "rooms", "--scenes", 1, *SMALL, "--overwrite")
    assert code == 2
    assert "was not made by an earlier run" in err
    assert [path for path in (tmp_path / "rooms").rglob("*") if path.is_file()] == [file]


def test_rooms_of_an_earlier_run_go(tmp_path, run):
    (tmp_path / "rooms/mine").mkdir(parents=True)
    for seed, scenes in ((0, 3), (2, 2)):
        words = ("--scenes", scenes, "--seed", seed, *SMALL, "--overwrite")
        assert run("data", "synthesize", tmp_path / "rooms", *words)[0] == 0
    rooms = ["room-000002", "room-000003"]
    assert json.loads((tmp_path / "rooms/rooms.json").read_text())["rooms"] == rooms
    assert sorted(path.name for path in (tmp_path / "rooms").iterdir() if path.is_dir()) == ["mine", *rooms]


def test_at_most_so_many_pictures_of_the_user(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(PictureSet, "from_files", lambda files: read.extend(file.name for file in files))
    monkeypatch.setattr(writing, "MAX_PICTURES", 3)
    for number in range(7):
        (tmp_path / f"{number}.png").touch()
    writing._pictures.__wrapped__(tmp_path)
    assert read == ["0.png", "3.png", "6.png"]


def test_unfinished_rooms_are_continued(tmp_path, monkeypatch):
    request = RoomsRequest(0, 3, 2, 16)
    made = []

    def interrupted(seed, *rest):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(seed)
        return compose(seed, *rest)

    monkeypatch.setattr("rayzer.data.synthetic.writing.compose", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "rooms", request, "cpu", 1, False)
    assert not (tmp_path / "rooms" / "scenes.txt").exists()
    made.clear()
    assert synthesize(tmp_path / "rooms", request, "cpu", 1, False) == []
    assert made == [2]
    assert len(find_scenes(tmp_path / "rooms" / "scenes.txt")) == 3


def test_pictures_of_the_user(tmp_path, run):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "photos" / "a.png")
    options = ("--scenes", 1, *SMALL, "--pictures")
    assert run("data", "synthesize", tmp_path / "rooms", *options, tmp_path / "photos")[0] == 0
    code, _, err = run("data", "synthesize", tmp_path / "other", *options, tmp_path / "none")
    assert code == 2
    assert "no such folder of pictures" in err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--scenes", 0), ("--views", 0), ("--image-size", 4), ("--span", -1), ("--span", 9), ("--seed", -1)),
        *(("--seed", MAX_SEED), ("--device", "cuda:99"), ("--device", "tpu")),
    ],
)
def test_mistakes(option, value, tmp_path, run):
    code, _, err = run("data", "synthesize", tmp_path / "rooms", option, value)
    assert code == 2
    assert option in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "rooms").exists()


def test_a_nan_span():
    with pytest.raises(InputError, match="--span nan"):
        RoomsRequest(span=float("nan"))


def test_a_benchmark_is_what_it_is(tmp_path, run):
    code, _, err = run("data", "synthesize", tmp_path / "rooms", "--benchmark", "rooms-v1", "--views", 3)
    assert code == 2
    assert "--views: rooms-v1 is what it is" in err
    code, _, err = run("data", "synthesize", tmp_path / "rooms", "--benchmark", "rooms-v1", "--packed")
    assert code == 2
    assert "--packed: rooms-v1 is what it is" in err


def test_a_full_disk_at_the_end(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rayzer.data.synthetic.writing.write_list", full)
    with pytest.raises(InputError, match="No space left on device"):
        synthesize(tmp_path / "rooms", RoomsRequest(0, 1, 1, 16), "cpu", 1, False)

"""Packed scenes equal the originals bit for bit; packing is atomic, resumable, and says what is missing."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open

from rayzer.data import packing, scene_jobs
from rayzer.data.formats import find_scenes, read_scene, recognise
from rayzer.data.images import Preprocessing
from rayzer.data.packing import PackRequest, Shard, pack, pack_scene
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.packed_file import PackedImage
from rayzer.data.sources.rayzer_json import write_rayzer_json
from rayzer.data.sources.source import ReadOptions
from rayzer.data.views import decode_frames, decode_views, fitted_cameras
from rayzer.errors import InputError

SMALL = Preprocessing(32, 8)
REQUEST = PackRequest(SMALL)


def picture(seed, size=(48, 36), mode="RGB"):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(size)
    if mode in ("RGBA", "LA"):
        small.putalpha(Image.fromarray(rng.integers(0, 256, (size[1], size[0]), np.uint8)))
    return small.convert(mode)


def pose(seed):
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    matrix[:3, :3] *= np.linalg.det(matrix[:3, :3])
    matrix[:3, 3] = seed, 0.1, -seed
    return matrix


def make_scene(folder, count=4, size=(48, 36), cameras=True, name=None):
    """A RayZer scene folder with `count` pictures."""
    (folder / "images").mkdir(parents=True)
    frames = []
    for number in range(count):
        path = folder / "images" / f"{number}.png"
        picture(number, size).save(path)
        camera = {"fxfycxcy_px": (50.1, 51.7, 24.3, 17.9), "world_from_camera": pose(number)} if cameras else {}
        frames.append(Frame(path.name, path, *size, **camera))
    write_rayzer_json(Scene(name or folder.name, tuple(frames), folder), folder)
    return folder


@pytest.fixture
def source(tmp_path):
    """Three scenes in a folder."""
    for name in ("a", "b 2", "ü"):
        make_scene(tmp_path / "scenes" / name)
    return tmp_path / "scenes"


def touched(folder):
    return {str(path): path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def entries(folder):
    return [entry.name for entry in folder.iterdir()]


def refused(*words, call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


# ---- equality with the originals


def assert_equal(original: Scene, packed: Scene, preprocessing):
    assert packed.name == original.name
    assert [frame.name for frame in packed.frames] == [frame.name for frame in original.frames]
    assert [frame.time_s for frame in packed.frames] == [frame.time_s for frame in original.frames]
    assert packed.present == original.present
    theirs, ours = ([scene.frames[i] for i in scene.present] for scene in (original, packed))
    (their_pixels, their_fits), (our_pixels, our_fits) = (decode_frames(f, preprocessing.fit) for f in (theirs, ours))
    np.testing.assert_array_equal(their_pixels, our_pixels)
    their_cameras, our_cameras = fitted_cameras(theirs, their_fits), fitted_cameras(ours, our_fits)
    assert (their_cameras is None) == (our_cameras is None)
    if their_cameras is not None and our_cameras is not None:
        assert torch.equal(their_cameras.world_from_camera, our_cameras.world_from_camera)
        assert torch.equal(their_cameras.intrinsics, our_cameras.intrinsics)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=3),
    kind=st.sampled_from([("RGB", "png"), ("RGB", "jpg"), ("RGBA", "png"), ("LA", "png"), ("P", "png"), ("L", "jpg")]),
    orientation=st.integers(1, 8),
    patches=st.tuples(st.integers(1, 5), st.sampled_from([1, 2, 4, 8])),
    square_crop=st.booleans(),
    known=st.tuples(st.booleans(), st.booleans()),
)
def test_bit_equal(tmp_path_factory, sizes, kind, orientation, patches, square_crop, known):
    folder = tmp_path_factory.mktemp("scene")
    sizes = [(w, h) if max(w, h) <= 60 * min(w, h) else (w, w) for w, h in sizes]
    sizes = sizes if square_crop else sizes[:1] * 3
    frames = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.{kind[1]}"
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture(number, size, kind[0]).save(path, exif=exif)
        upright = size[::-1] if orientation >= 5 else size
        intrinsics = (33.3 + number, 44.4, upright[0] / 3, upright[1] / 1.9) if known[0] else None
        frames.append(Frame(f"name {number}", path, *upright, intrinsics, (), pose(number) if known[1] else None, 1.5))
    scene = Scene("the scene", tuple(frames), folder)
    preprocessing = Preprocessing(patches[0] * patches[1], patches[1], square_crop)
    pack_scene(scene, preprocessing, folder / "s.safetensors")
    assert_equal(scene, read_scene(folder / "s.safetensors"), preprocessing)


def test_views_are_equal_too(source, tmp_path):
    pack(source / "a", tmp_path / "out", REQUEST)
    original = decode_views(read_scene(source / "a"), [2, 0, 2], 32, 32, 8)
    packed = decode_views(read_scene(tmp_path / "out/scenes/a.safetensors"), [2, 0, 2], 32, 32, 8)
    assert torch.equal(original.images, packed.images)
    assert torch.equal(original.cameras.intrinsics, packed.cameras.intrinsics)
    assert original.names == packed.names


def test_distortion_and_partly_known_cameras_are_kept(tmp_path):
    pixels = np.zeros((36, 48, 3), np.uint8)
    one = Frame("0", pixels, 48, 36, (50, 50, 24, 18), (0.1, 0.2, 0.3, 0.4, 0.5), pose(1))
    two = replace(one, name="1", distortion=(), world_from_camera=None)
    pack_scene(Scene("s", (one, two), tmp_path), SMALL, tmp_path / "s.safetensors")
    first, second = read_scene(tmp_path / "s.safetensors").frames
    assert first.distortion == one.distortion
    assert second.distortion == ()
    assert second.world_from_camera is None
    np.testing.assert_array_equal(first.world_from_camera, pose(1))


def with_depth(tmp_path, *depths):
    """A packed scene of frames with these depths."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    frames = [
        Frame(str(number), pixels, 32, 32, (50, 50, 16, 16), (), pose(number), depth_m=depth)
        for number, depth in enumerate(depths)
    ]
    pack_scene(Scene("s", tuple(frames), tmp_path), SMALL, tmp_path / "s.safetensors")
    return tmp_path / "s.safetensors"


def test_depth_is_kept_also_when_packed_again(tmp_path):
    depth = np.array([[1.5, 2.0, np.nan], [0.25, 60.0, 7.0]])
    file = with_depth(tmp_path, depth, None)
    pack(file, tmp_path / "again", REQUEST)
    for path in (file, tmp_path / "again/scenes/s.safetensors"):
        known, unknown = read_scene(path).frames
        assert known.depth_m.dtype == np.float16
        np.testing.assert_array_equal(known.depth_m, depth)
        assert unknown.depth_m is None
        assert [frame.depth_m for frame in read_scene(path, ReadOptions(cameras=False)).frames] == [None, None]
    assert all(frame.depth_m is None for frame in read_scene(with_depth(tmp_path, None)).frames)


def test_depth_in_grids_of_different_sizes(tmp_path):
    refused("different sizes", "leave it out", call=lambda: with_depth(tmp_path, np.ones((2, 2)), np.ones((2, 3))))


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf])
def test_damaged_depth(tmp_path, value):
    file = with_depth(tmp_path, np.array([[1.0, value]]))
    refused(str(file), "damaged", "depth", call=lambda: read_scene(file))


def test_packing_again_changes_nothing(source, tmp_path):
    pack(source, tmp_path / "once", REQUEST)
    pack(tmp_path / "once", tmp_path / "twice", REQUEST)
    names = [path.name for path in (tmp_path / "once/scenes").iterdir()]
    for name in names:
        (first, frames), (second, again) = (
            packing_file(tmp_path / folder / "scenes" / name) for folder in ("once", "twice")
        )
        np.testing.assert_array_equal(first.rows, second.rows)
        assert [(f.name, f.width_px) for f in first.frames] == [(f.name, f.width_px) for f in second.frames]
        np.testing.assert_array_equal(
            decode_frames(frames, SMALL.fit)[0],
            decode_frames(again, SMALL.fit)[0],
        )


def packing_file(path):
    from rayzer.data.sources.packed_file import read_packed_file

    return read_packed_file(path)


# ---- the file


def test_any_tool_can_open_it(source, tmp_path):
    pack(source, tmp_path / "out", REQUEST)
    with safe_open(tmp_path / "out/scenes/a.safetensors", "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        metadata = file.metadata()
    assert {name: (t.dtype.name, t.shape) for name, t in tensors.items()} == {
        "images": ("uint8", (4, 32, 32, 3)),
        "rows": ("int64", (4,)),
        "world_from_camera": ("float64", (4, 4, 4)),
        "fxfycxcy_px": ("float64", (4, 4)),
    }
    assert (metadata["format"], metadata["version"]) == ("rayzer-packed-scene", "1")
    scene = json.loads(metadata["scene"])
    assert scene["name"] == "a"
    assert scene["preprocessing"] == {"image_size": 32, "patch_size": 8, "square_crop": True}
    assert scene["frames"][1] == {
        "name": "1.png",
        "file": "images/1.png",
        "time_s": None,
        "width_px": 48,
        "height_px": 36,
    }
    assert str(tmp_path) not in "".join(metadata.values())


def test_without_cameras(source, tmp_path):
    pack(source, tmp_path / "out", replace(REQUEST, cameras=False))
    frame = read_scene(tmp_path / "out/scenes/a.safetensors").frames[0]
    assert frame.world_from_camera is None
    assert frame.fxfycxcy_px is None
    pack(source, tmp_path / "with", REQUEST)
    scene = read_scene(tmp_path / "with/scenes/a.safetensors", ReadOptions(cameras=False))
    assert scene.frames[0].world_from_camera is None


@pytest.mark.parametrize("other", [Preprocessing(64, 8), Preprocessing(32, 16), Preprocessing(32, 8, False)])
def test_another_preprocessing_is_an_error(tmp_path, other):
    make_scene(tmp_path / "a", size=(44, 36))
    pack(tmp_path / "a", tmp_path / "out", REQUEST)
    frames = read_scene(tmp_path / "out/scenes/a.safetensors").frames
    refused("a.safetensors", "32x32", "packed", call=lambda: decode_frames(frames, other.fit))
    refused("a.safetensors", call=lambda: pack_scene(Scene("s", frames, tmp_path), other, tmp_path / "x.safetensors"))


DAMAGES = {
    "cut": lambda data: data[:-100],
    "cut in the header": lambda data: data[:100],
    "empty": lambda data: b"",
    "garbage": lambda data: data[:8] + b"\xff" * 50 + data[58:],
    "huge header": lambda data: b"\xff" * 8 + data[8:],
    "rows": lambda data: data.replace(b'"rows"', b'"sowr"'),
    "shape": lambda data: data.replace(b"[4,32,32,3]", b"[4,32,31,3]"),
    "dtype": lambda data: data.replace(b"I64", b"F32"),
    "metadata": lambda data: data.replace(b"preprocessing", b"preprozessing"),
    "names": lambda data: data.replace(b"width_px", b"width_pq"),
    "other version": lambda data: data.replace(b'"version":"1"', b'"version":"9"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(source, tmp_path, damage):
    pack(source / "a", tmp_path / "out", REQUEST)
    file = tmp_path / "out/scenes/a.safetensors"
    data = DAMAGES[damage](file.read_bytes())
    assert data != file.read_bytes()
    file.write_bytes(data)
    refused(str(file), "; " if "version" not in damage else "version 9", call=lambda: read_scene(file, format="packed"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("world_from_camera", np.inf), ("world_from_camera", 2.0), ("fxfycxcy_px", -1.0), ("fxfycxcy_px", np.inf)],
)
def test_damaged_cameras(source, tmp_path, name, value):
    pack(source / "a", tmp_path / "out", REQUEST)
    file = tmp_path / "out/scenes/a.safetensors"
    with safe_open(file, "np") as tensors:
        whole = tensors.get_tensor(name)
    data = file.read_bytes()
    damaged = whole.copy()
    damaged[1].flat[0] = value
    assert data.count(whole.tobytes()) == 1
    file.write_bytes(data.replace(whole.tobytes(), damaged.tobytes()))
    refused(str(file), "damaged", call=lambda: read_scene(file))


def test_a_file_cut_off_after_it_was_read(source, tmp_path):
    pack(source / "a", tmp_path / "out", REQUEST)
    file = tmp_path / "out/scenes/a.safetensors"
    frames = read_scene(file).frames
    os.truncate(file, 2000)
    refused(str(file), "damaged", call=lambda: decode_frames(frames, SMALL.fit))
    file.unlink()
    refused(str(file), call=lambda: decode_frames(frames, SMALL.fit))


# ---- the set


def test_the_set(source, tmp_path, run):
    out = tmp_path / "out"
    code, text, _ = run("data", "pack", source, out, "--image-size", 32, "--patch-size", 8, "--workers", 1)
    assert code == 0
    assert "3 scenes, 12 pictures" in text
    assert set(entries(out)) == {"scenes", "scenes.txt", "index.json", "SHA256SUMS"}
    lines = ["scenes/a.safetensors", "scenes/b 2.safetensors", "scenes/ü.safetensors"]
    assert (out / "scenes.txt").read_text().splitlines() == lines
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ", 1)
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    index = json.loads((out / "index.json").read_text())
    assert [scene["file"] for scene in index["scenes"]] == lines
    assert [ref.path for ref in find_scenes(out)] == [out / line for line in lines]
    assert [ref.path for ref in find_scenes(out / "scenes.txt")] == [out / line for line in lines]
    assert find_scenes(out / "index.json") == find_scenes(out)
    assert recognise(out).name == "packed"
    assert [read_scene(ref).name for ref in find_scenes(out)] == ["a", "b 2", "ü"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_checksums_are_those_of_sha256sum(source, tmp_path):
    pack(source, tmp_path / "out", REQUEST)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "out", check=True)


def test_processes_and_shards_make_the_same(source, tmp_path):
    pack(source, tmp_path / "one", REQUEST)
    pack(source, tmp_path / "two", REQUEST, workers=2)
    shares = [pack(source, tmp_path / "parts", REQUEST, shard=Shard(number, 2)) for number in (2, 1)]
    assert [(share.scenes, share.missing) for share in shares] == [(1, 2), (3, 0)]
    assert entries(tmp_path / "parts") == [".partial"]
    before = content(tmp_path / "parts/.partial/results")
    pack(source, tmp_path / "parts", REQUEST)
    whole = content(tmp_path / "one")
    assert content(tmp_path / "two") == whole
    assert content(tmp_path / "parts") == whole
    assert {f"scenes/{name}": data for name, data in before.items()}.items() <= whole.items()


def test_shards_on_the_command_line(source, tmp_path, run):
    words = ["data", "pack", source, tmp_path / "out", "--image-size", 32, "--workers", 1]
    code, out, _ = run(*words, "--shard", "1/2")
    assert code == 0
    assert "2 scenes, 8 pictures" in out
    assert "1 scene to go" in out
    code, out, _ = run(*words, "--shard", "2/2")
    assert "all scenes are tried" in out
    assert "without --shard" in out
    assert run(*words)[0] == 0
    assert len(find_scenes(tmp_path / "out")) == 3
    code, _, err = run(*words, "--shard", "2/2")
    assert code == 2
    assert "not empty" in err


def test_shards_are_disjoint_and_complete():
    tasks = [scene_jobs.SceneTask(number, None, str(number)) for number in range(11)]
    parts = [task for number in (1, 2, 3) for task in Shard(number, 3).of(tasks)]
    assert sorted(task.number for task in parts) == list(range(11))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""])
def test_shards_that_are_none(text):
    refused("--shard", call=lambda: Shard.parse(text))


def test_same_names_in_several_folders(tmp_path):
    for batch in ("1K", "2K"):
        make_scene(tmp_path / "data" / batch / "garden")
    pack(tmp_path / "data", tmp_path / "out", REQUEST)
    assert (tmp_path / "out/scenes.txt").read_text() == ("scenes/1K_garden.safetensors\nscenes/2K_garden.safetensors\n")


# ---- bad input


def test_unreadable_pictures_are_left_out_and_named(source, tmp_path, run):
    (source / "a/images/1.png").write_bytes((source / "a/images/1.png").read_bytes()[:-400])
    (source / "b 2/images/2.png").unlink()
    out = tmp_path / "out"
    code, text, err = run("data", "pack", source, out, "--image-size", 32, "--patch-size", 8, "--workers", 1)
    assert code == 0
    assert "3 scenes, 10 pictures" in text
    assert "images/1.png" in err
    assert "images/2.png" in err
    assert "warning: 16.7%" in err
    scene = read_scene(out / "scenes/a.safetensors")
    assert scene.present == [0, 2, 3]
    assert [frame.name for frame in scene.frames] == ["0.png", "1.png", "2.png", "3.png"]
    original = read_scene(source / "a")
    np.testing.assert_array_equal(
        decode_frames([scene.frames[3]], SMALL.fit)[0], decode_frames([original.frames[3]], SMALL.fit)[0]
    )
    index = json.loads((out / "index.json").read_text())
    assert [len(entry["unreadable"]) for entry in index["scenes"]] == [1, 1, 0]
    assert str(tmp_path) not in json.dumps(index)


def test_scenes_that_cannot_be_read_are_listed(source, tmp_path, run):
    (source / "a/opencv_cameras.json").write_text("{")
    code, text, err = run("data", "pack", source, tmp_path / "out", "--workers", 1)
    assert code == 0
    assert "left out: " in err
    assert "a/opencv_cameras.json" in err
    assert "2 scenes, 8 pictures" in text
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert index["left_out"][0]["scene"] == "a"
    assert index["left_out"][0]["reason"].startswith("a/opencv_cameras.json: ")


def test_wrong_poses_name_the_way_out(source, tmp_path, run):
    file = source / "a/opencv_cameras.json"
    data = json.loads(file.read_text())
    data["frames"][2]["w2c"][0][0] = 7.0
    file.write_text(json.dumps(data))
    code, _, err = run("data", "pack", source / "a", tmp_path / "out", "--workers", 1)
    assert code == 2
    assert "--no-poses" in err
    assert run("data", "pack", source / "a", tmp_path / "out", "--workers", 1, "--no-poses")[0] == 0


def test_nothing_can_be_packed(source, tmp_path, run):
    for file in source.glob("*/opencv_cameras.json"):
        file.write_text("{")
    code, text, err = run("data", "pack", source, tmp_path / "out", "--workers", 1)
    assert (code, text) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"rayzer: {source}/a/opencv_cameras.json: ")
    assert not (tmp_path / "out").exists()


def test_a_scene_without_readable_pictures(tmp_path):
    folder = make_scene(tmp_path / "a", 2)
    for file in folder.glob("images/*"):
        file.write_bytes(file.read_bytes()[:100])
    refused("none of its 2 pictures", call=lambda: pack(folder, tmp_path / "out", REQUEST))


def test_pictures_that_no_header_can_be_read_of(tmp_path):
    folder = make_scene(tmp_path / "a", 2)
    frames = json.loads((folder / "opencv_cameras.json").read_text())["frames"]
    text = json.dumps({"frames": [{"file_path": frame["file_path"]} for frame in frames]})  # without w and h
    (folder / "opencv_cameras.json").write_text(text)
    for file in folder.glob("images/*"):
        file.write_bytes(b"")
    refused("none of its 2 pictures", "images/0.png", call=lambda: pack(folder, tmp_path / "out", REQUEST))


def test_an_output_name_that_is_too_long(source, tmp_path):
    refused("o" * 300, "too long", call=lambda: pack(source, tmp_path / ("o" * 300), REQUEST))


def test_shapes_that_differ(tmp_path):
    folder = make_scene(tmp_path / "a", 2)
    picture(0, (36, 48)).save(folder / "images/1.png")
    (folder / "opencv_cameras.json").unlink()
    keep = PackRequest(Preprocessing(32, 8, square_crop=False))
    refused("different shapes", "0.png", call=lambda: pack(folder, tmp_path / "out", keep))
    assert pack(folder, tmp_path / "out", REQUEST).images == 2


def test_videos_are_converted_first(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"any")
    refused("clip.mp4", "rayzer data convert", call=lambda: pack(tmp_path / "clip.mp4", tmp_path / "out", REQUEST))


# ---- where it writes


def test_what_is_there_is_kept(source, tmp_path, run):
    out = tmp_path / "out"
    words = ["data", "pack", source, out, "--image-size", 32, "--patch-size", 8, "--workers", 1]
    assert run(*words)[0] == 0
    before = content(out)
    code, _, err = run(*words)
    assert code == 2
    assert "--overwrite" in err
    assert content(out) == before
    shutil.rmtree(source / "ü")
    assert run(*words, "--overwrite")[0] == 0
    assert set(content(out)) == set(before) - {"scenes/ü.safetensors"}


def test_foreign_files_are_never_replaced(source, tmp_path, run):
    (tmp_path / "out/scenes").mkdir(parents=True)
    (tmp_path / "out/scenes/mine.txt").write_text("mine")
    code, _, err = run("data", "pack", source, tmp_path / "out", "--overwrite", "--workers", 1)
    assert code == 2
    assert "was not made by an earlier run" in err
    assert content(tmp_path / "out") == {"scenes/mine.txt": b"mine"}


@pytest.mark.parametrize("out", ["scenes", "scenes/a", "scenes/a/packed", "scenes/packed", "link/packed", "."])
def test_never_into_the_source(source, tmp_path, run, out):
    (tmp_path / "link").symlink_to(source)
    before = content(tmp_path)
    code, _, err = run("data", "pack", source, tmp_path / out, "--overwrite", "--workers", 1)
    assert code == 2
    assert "choose" in err
    assert content(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_read_only_sources_stay_readable(source, tmp_path):
    for folder in (*source.glob("*/images"), *source.iterdir(), source):
        folder.chmod(0o555)
    pack(source, tmp_path / "out", REQUEST)


def test_the_source_is_not_touched(source, tmp_path):
    before = content(source), touched(source)
    pack(source, tmp_path / "out", REQUEST)
    assert (content(source), touched(source)) == before
    (tmp_path / "linked").symlink_to(source)
    pack(tmp_path / "linked", tmp_path / "again", REQUEST)
    assert content(tmp_path / "again") == content(tmp_path / "out")


# ---- interruptions


def test_a_full_disk_leaves_what_can_be_resumed(source, tmp_path, monkeypatch):
    write = packing.write_packed_file

    def full(path, scene, *rest):
        if scene.name == "b 2":
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, scene, *rest)

    monkeypatch.setattr(packing, "write_packed_file", full)
    out = tmp_path / "out"
    refused("No space left", "finished scenes are kept", str(out), call=lambda: pack(source, out, REQUEST))
    assert entries(out) == [".partial"]
    assert entries(out / ".partial/results") == ["a.safetensors"]
    monkeypatch.undo()
    inode = (out / ".partial/results/a.safetensors").stat().st_ino
    pack(source, out, REQUEST)
    assert (out / "scenes/a.safetensors").stat().st_ino == inode
    pack(source, tmp_path / "whole", REQUEST)
    assert content(out) == content(tmp_path / "whole")


def start(*words):
    environment = {**os.environ, "PYTHONPATH": str(Path(packing.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rayzer", *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def descendants(pid):
    own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*own, *(further for child in own for further in descendants(child))]


def is_running(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_killed_in_the_middle(tmp_path, sent):
    source, out = tmp_path / "scenes", tmp_path / "out"
    for name in "abcdefghij":
        make_scene(source / name, 10, (320, 240))
    words = ["data", "pack", source, out, "--image-size", 32, "--patch-size", 8, "--workers", 2]
    process = start(*words)
    results = out / ".partial/results"
    wait_for(lambda: results.exists() and any(results.glob("*.safetensors")))
    running = descendants(process.pid)
    assert len(running) >= 2
    process.send_signal(sent)
    process.communicate()
    assert process.returncode == (143 if sent == signal.SIGTERM else -signal.SIGKILL)
    wait_for(lambda: not any(map(is_running, running)))
    assert entries(out) == [".partial"]
    kept = {path.name: path.stat().st_ino for path in results.glob("*.safetensors")}
    assert kept
    pack(source, out, REQUEST)
    recorded = {path.name: path.stat().st_ino for path in (out / "scenes").iterdir()}
    assert len(kept.items() - recorded.items()) <= 2  # one per worker was there but not yet remembered
    assert set(entries(out)) == {"scenes", "scenes.txt", "index.json", "SHA256SUMS"}
    pack(source, tmp_path / "whole", REQUEST)
    assert content(out) == content(tmp_path / "whole")


def test_a_result_that_was_damaged_meanwhile_is_made_again(source, tmp_path):
    pack(source, tmp_path / "out", REQUEST, shard=Shard(1, 2))
    file = tmp_path / "out/.partial/results/a.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    pack(source, tmp_path / "out", REQUEST)
    pack(source, tmp_path / "whole", REQUEST)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_scenes_that_failed_are_tried_again(source, tmp_path):
    file = source / "a/opencv_cameras.json"
    text = file.read_text()
    file.write_text("{")
    report = pack(source, tmp_path / "out", REQUEST, shard=Shard(1, 1))
    assert (report.scenes, len(report.left_out), report.missing) == (2, 1, 0)
    file.write_text(text)
    assert pack(source, tmp_path / "out", REQUEST).left_out == ()


def test_unfinished_work_of_another_command(source, tmp_path, run):
    out = tmp_path / "out"
    pack(source, out, REQUEST, shard=Shard(1, 2))
    other = replace(REQUEST, preprocessing=Preprocessing(32, 16))
    refused("patch_size 8, now 16", "--overwrite", call=lambda: pack(source, out, other))
    refused("another command", call=lambda: pack(source, out, other, shard=Shard(1, 2), overwrite=True))
    refused("1 or others", call=lambda: pack(source / "a", out, REQUEST))
    assert pack(source, out, other, overwrite=True).scenes == 3


def test_another_format_is_another_plan(tmp_path):
    scene = make_scene(tmp_path / "scenes/a")
    make_scene(tmp_path / "scenes/b")
    pack(scene.parent, tmp_path / "out", REQUEST, shard=Shard(1, 2))
    refused("another --format", call=lambda: pack(scene.parent, tmp_path / "out", REQUEST, format="photos"))


def test_shards_throw_nothing_away(source, tmp_path):
    """Others may be at work there, whatever the options say."""
    pack(source, tmp_path / "out", REQUEST, shard=Shard(1, 2))
    before = content(tmp_path / "out/.partial/results")
    picture(77).save(source / "a/images/0.png")
    for _ in range(2):
        pack(source, tmp_path / "out", REQUEST, shard=Shard(1, 2), overwrite=True)
        assert content(tmp_path / "out/.partial/results") == before


def test_overwriting_begins_anew_once(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    pack(source, out, REQUEST, shard=Shard(1, 2))
    packed = out / ".partial/results/a.safetensors"
    before = packed.read_bytes()
    changed = source / "a/images/0.png"
    with Image.open(changed) as image:
        size = image.size
    picture(77, size).save(changed)
    monkeypatch.setattr(packing, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(source, out, REQUEST)  # goes on with what is out of date
    assert packed.read_bytes() == before
    with pytest.raises(KeyboardInterrupt):
        pack(source, out, REQUEST, overwrite=True)
    anew = packed.read_bytes()
    assert anew != before
    monkeypatch.undo()
    os.utime(packed, (1, 1))
    pack(source, out, REQUEST, overwrite=True)  # the same command, repeated, goes on with what it had made
    assert (out / "scenes/a.safetensors").read_bytes() == anew
    assert (out / "scenes/a.safetensors").stat().st_mtime == 1


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("moved", [0, 1, 2, 3, 4])
def test_interrupted_while_moving(source, tmp_path, monkeypatch, moved):
    out, calls = tmp_path / "out", []
    move = scene_jobs.move_entry

    def interrupted(source, destination):
        if destination.parent == out:
            calls.append(destination)
            if len(calls) > moved:
                raise KeyboardInterrupt
        move(source, destination)

    monkeypatch.setattr(scene_jobs, "move_entry", interrupted)
    if moved < 4:
        with pytest.raises(KeyboardInterrupt):
            pack(source, out, REQUEST)
    else:
        pack(source, out, REQUEST)
    monkeypatch.undo()
    if moved < 4:
        assert pack(source, out, REQUEST).scenes == 3
    pack(source, tmp_path / "whole", REQUEST)
    assert content(out) == content(tmp_path / "whole")


# ---- speed


def test_a_row_is_read_alone(source, tmp_path):
    pack(source, tmp_path / "out", REQUEST)
    image = read_scene(tmp_path / "out/scenes/a.safetensors").frames[2].image
    assert isinstance(image, PackedImage)
    assert image.load().shape == (32, 32, 3)
    np.testing.assert_array_equal(image.load(), SMALL.fit(48, 36).apply(Image.open(source / "a/images/2.png")))


def test_a_file_is_opened_once_for_all_its_pictures(source, tmp_path, monkeypatch):
    """Pictures of several packed scenes and loose ones, some twice, are what each of them is alone."""
    pack(source, tmp_path / "out", REQUEST)
    one, other = (read_scene(tmp_path / "out/scenes" / f"{name}.safetensors").frames for name in ("a", "b 2"))
    loose = [Frame(f"loose {k}", np.asarray(picture(k, (32, 32))), 32, 32) for k in range(2)]
    frames = [one[3], one[0], one[3], *other, loose[0], loose[1], one[1]]
    alone = [frame.image if isinstance(frame.image, np.ndarray) else frame.image.load() for frame in frames]
    opened, usual = [], Path.open
    monkeypatch.setattr(Path, "open", lambda path, *mode: opened.append(path.stem) or usual(path, *mode))
    pixels, _ = decode_frames(frames, SMALL.fit)
    np.testing.assert_array_equal(pixels, np.stack(alone))
    assert opened == ["a", "b 2", "a"]


def test_interrupted_while_cleaning_up(source, tmp_path, monkeypatch):
    def interrupted(path):
        if path.name == "records":
            raise KeyboardInterrupt
        remove(path)

    out, remove = tmp_path / "out", scene_jobs.remove_entry
    monkeypatch.setattr(scene_jobs, "remove_entry", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(source, out, REQUEST)
    monkeypatch.undo()
    assert ".partial" in entries(out)
    refused("not empty", call=lambda: pack(source, out, REQUEST))  # it is finished
    assert set(entries(out)) == {"scenes", "scenes.txt", "index.json", "SHA256SUMS"}


def test_another_option_is_another_plan(source, tmp_path):
    pack(source, tmp_path / "out", REQUEST, shard=Shard(1, 2))
    with pytest.raises(InputError, match="allow_outside False, now True"):
        pack(source, tmp_path / "out", replace(REQUEST, allow_outside=True))


def test_only_whole_paths_are_shortened(tmp_path, monkeypatch):
    make_scene(tmp_path / "s")
    (tmp_path / "s/images/3.png").write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    pack(Path("s"), Path("out"), REQUEST)
    (entry,) = json.loads(Path("out/index.json").read_text())["scenes"]
    assert entry["unreadable"][0].startswith("images/3.png: ")


def edited(file, edit):
    """The packed file with another header."""
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    scene = json.loads(header["__metadata__"]["scene"])
    edit(header, scene)
    header["__metadata__"]["scene"] = json.dumps(scene)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


ODD = [None, "64", [], {}, True, -1, 0, 1.5, 10**30, 1e308]


@pytest.mark.parametrize("value", ODD, ids=str)
@pytest.mark.parametrize(
    "place",
    [
        *(("frames", 0, key) for key in ("name", "file", "time_s", "width_px", "height_px")),
        *(("preprocessing", key) for key in ("image_size", "patch_size")),
        *(("rows", key) for key in ("shape", "data_offsets")),
        *(("images", key) for key in ("shape", "data_offsets")),
    ],
    ids=str,
)
def test_odd_values_are_damage_never_a_crash(source, tmp_path, place, value):
    pack(source / "a", tmp_path / "out", REQUEST)
    file = tmp_path / "out/scenes/a.safetensors"

    def edit(header, scene):
        *way, last = place
        target = scene if place[0] in scene else header
        for step in way:
            target = target[step]
        target[last] = [value, *target[last][1:]] if isinstance(target[last], list) else value

    file.write_bytes(edited(file, edit))
    fine = {"file": [None, "64"], "name": ["64"], "time_s": [None, -1, 0, 1.5, 10**30, 1e308]}
    if (place[-1] in fine and value in fine[place[-1]]) or (place[0], place[-1], value) == ("rows", "data_offsets", 0):
        assert read_scene(file, format="packed").frames
        return
    refused(f"{file}: is damaged (", call=lambda: read_scene(file, format="packed"))


def test_where_the_source_lay_is_nobodys_business(source, tmp_path, monkeypatch):
    """Also if the parts were packed from elsewhere, which spells paths in another way."""
    (source / "a/images/1.png").write_bytes(b"broken")
    pack(source, tmp_path / "one", REQUEST)
    pack(source, tmp_path / "two", REQUEST, shard=Shard(1, 2))
    monkeypatch.chdir(source.parent)
    pack(Path(source.name), Path("two"), REQUEST)
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert str(tmp_path) not in (tmp_path / "one/index.json").read_text()


def test_another_process_finished_the_work(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    process = scene_jobs.Staging.process

    def overtaken(*arguments):
        monkeypatch.undo()
        pack(source, out, REQUEST)
        return process(*arguments)

    monkeypatch.setattr(scene_jobs.Staging, "process", overtaken)
    refused(str(out), "another process", call=lambda: pack(source, out, REQUEST))
    assert (out / "index.json").is_file()


@pytest.mark.parametrize("plan", ["[1]", '{"command": "pack"}', '{"command": "pack", "overwrite": true}', "{}", "x"])
def test_a_plan_that_is_none(source, tmp_path, plan):
    (tmp_path / "out/.partial").mkdir(parents=True)
    (tmp_path / "out/.partial/plan.json").write_text(plan)
    refused("unfinished work of another command", call=lambda: pack(source, tmp_path / "out", REQUEST))
    pack(source, tmp_path / "out", REQUEST, overwrite=True)


def test_an_empty_shard_is_a_mistake(source, tmp_path, run):
    code, _, err = run("data", "pack", source, tmp_path / "out", "--shard", "")
    assert code == 2
    assert "--shard" in err

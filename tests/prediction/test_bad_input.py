"""Everything that users get wrong: exit code 2, one line that names it, nothing left behind."""

import json
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rayzer.errors import InputError
from rayzer.prediction.path import PathRequest


@pytest.fixture
def refused(run, tmp_path, checkpoint):
    """Predict and expect to be refused: returns the one line on stderr."""

    def call(path, *words, out=None):
        out = out or tmp_path / "out"
        existed = out.exists()
        code, printed, err = run("predict", path, "-o", out, "--checkpoint", checkpoint, *words)
        lines = [line for line in err.splitlines() if line.startswith("rayzer: ")]
        assert code == 2, err
        assert len(lines) == 1, err
        assert "Traceback" not in err
        assert printed == ""
        assert out.exists() == existed
        return lines[0]

    return call


def test_empty_folder(refused, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "empty" in (line := refused(folder))
    assert "no photo" in line


def test_missing_folder(refused, tmp_path):
    assert "nowhere" in refused(tmp_path / "nowhere")


def test_one_photo(refused, make_photos):
    line = refused(make_photos(1))
    assert "only one photo" in line
    assert "photos" in line


@pytest.fixture
def with_broken(make_photos):
    """Nine photos, of which one has lost its second half and one is text."""
    folder = make_photos(9)
    photo = folder / "photo4.jpg"
    photo.write_bytes(photo.read_bytes()[:-60])  # its header is sound
    (folder / "photo6.jpg").write_text("not a photo")
    return folder


def test_broken_photos_are_left_out_and_named(run, with_broken, checkpoint, tmp_path):
    out = tmp_path / "out"
    code, _, err = run("predict", with_broken, "-o", out, "--checkpoint", checkpoint, "--frames", 2)
    assert code == 0, err
    page = (out / "index.html").read_text()
    names = [view["name"] for view in json.loads((out / "cameras.json").read_text())["views"]]
    for name in ("photo4.jpg", "photo6.jpg"):
        assert sum(name in line for line in err.splitlines()) == 1
        assert name in page
        assert name not in names


def test_strict_stops_at_a_broken_photo(refused, with_broken):
    assert "photo6.jpg" in refused(with_broken, "--strict")


def test_all_but_one_broken(refused, make_photos):
    folder = make_photos(3)
    for name in ("photo0.jpg", "photo2.jpg"):
        (folder / name).write_text("not a photo")
    line = refused(folder)
    assert "only one photo" in line
    assert "photo0.jpg" in line


def test_text_file_renamed_to_video(refused, tmp_path):
    video = tmp_path / "notes.mp4"
    video.write_text("this is not a video\n" * 100)
    assert "notes.mp4" in refused(video)


def test_truncated_video(refused, video):
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert "walk.mp4" in refused(video)


def test_unknown_kind_of_file(refused, tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("1,2,3\n")
    assert "table.csv" in refused(file)


def test_two_thousand_photos(run, make_photos, checkpoint, tmp_path):
    folder = make_photos(1)
    for number in range(1, 2000):
        os.link(folder / "photo0.jpg", folder / f"photo{number}.jpg")
    out = tmp_path / "out"
    code, _, err = run("predict", folder, "-o", out, "--checkpoint", checkpoint, "--frames", 2)
    assert code == 0, err
    views = json.loads((out / "cameras.json").read_text())["views"]
    assert [view["name"] for view in views][:: len(views) - 1] == ["photo0.jpg", "photo1999.jpg"]
    assert "8 of 2000 photos were used" in (out / "index.html").read_text()


def test_picture_bomb(refused, make_photos):
    folder = make_photos(1)
    bomb = folder / "bomb.png"
    bomb.write_bytes(png_of_zeros(13_000, 13_000))
    assert bomb.stat().st_size < 25_000
    line = refused(folder, "--strict")
    assert "bomb.png" in line
    assert "13000x13000" in line


def test_names_with_blanks_and_unicode(run, make_photos, checkpoint, tmp_path):
    names = [f"Été à la mer {n} #100% “ü” 写真.png" for n in range(8)]
    out = tmp_path / "results of today ü"
    folder = make_photos(names, folder="photos of my cat 猫")
    code, _, err = run("predict", folder, "-o", out, "--checkpoint", checkpoint, "--frames", 2)
    assert code == 0, err
    assert sorted(path.name for path in (out / "original/images").iterdir()) == sorted(names)
    assert len(list((out / "images").iterdir())) == 8


def test_output_that_cannot_be_written(refused, make_photos, tmp_path, monkeypatch):
    from pathlib import Path

    parent = tmp_path / "readonly"
    parent.mkdir()
    mkdir = Path.mkdir

    def no_mkdir(self, *args, **kwargs):  # root may write anywhere, so permissions alone would not do
        if parent in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", no_mkdir)
    line = refused(make_photos(8), out=parent / "out")
    assert "readonly" in line
    assert "Permission denied" in line


def test_output_on_a_file(refused, make_photos, tmp_path):
    (tmp_path / "taken").write_text("mine")
    assert "taken" in refused(make_photos(8), out=tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_output_that_exists(refused, run, make_photos, checkpoint, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert "--overwrite" in refused(make_photos(8))
    assert [entry.name for entry in out.iterdir()] == ["thesis.txt"]
    words = ["--checkpoint", checkpoint, "--frames", 2, "--overwrite"]
    code, _, err = run("predict", tmp_path / "photos", "-o", out, *words)
    assert code == 0, err
    assert (out / "thesis.txt").read_text() == "mine"
    assert (out / "index.html").is_file()


def test_fewer_photos_than_views(run, make_photos, checkpoint, tmp_path):
    out = tmp_path / "out"
    code, _, err = run("predict", make_photos(3), "-o", out, "--checkpoint", checkpoint, "--frames", 2)
    assert code == 0, err
    assert "3 photos were repeated to fill 8 views" in (out / "index.html").read_text()
    assert len(list((out / "original/images").iterdir())) == 3
    assert all(view["repeated"] for view in json.loads((out / "cameras.json").read_text())["views"])


def test_mixed_sizes_and_transparency(run, make_photos, checkpoint, tmp_path):
    folder = make_photos(6)
    Image.new("RGBA", (30, 90), (255, 0, 0, 0)).save(folder / "photo6.png")
    Image.new("CMYK", (90, 30)).save(folder / "photo7.jpg")
    out = tmp_path / "out"
    code, _, err = run("predict", folder, "-o", out, "--checkpoint", checkpoint, "--frames", 2)
    assert code == 0, err
    assert (np.asarray(Image.open(out / "images/6_photo6.png")) == 255).all()


def test_exif_orientation(run, make_photos, checkpoint, tmp_path):
    folder = make_photos(8)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(folder / "photo3.jpg") as photo:
        photo.save(folder / "photo3.jpg", exif=exif)
    out = tmp_path / "out"
    code, _, err = run("predict", folder, "-o", out, "--checkpoint", checkpoint, "--frames", 2)
    assert code == 0, err
    view = json.loads((out / "cameras.json").read_text())["views"][3]
    assert (view["original"]["width_px"], view["original"]["height_px"]) == (36, 48)
    assert Image.open(out / "original/images/photo3.png").size == (36, 48)


def test_scene_file_is_checked_before_the_checkpoint(run, tmp_path):
    scene = tmp_path / "opencv_cameras.json"
    scene.write_text('{"scene_name": "x", "frames": [{"file_path": "../../etc/passwd"}]}')
    code, _, err = run("predict", scene, "-o", tmp_path / "out", "--checkpoint", tmp_path / "missing")
    assert code == 2
    assert "opencv_cameras.json" in err
    assert "missing" not in err.replace("is missing", "")


def test_missing_checkpoint(run, make_photos, tmp_path):
    code, _, err = run("predict", make_photos(3), "-o", tmp_path / "out", "--checkpoint", tmp_path / "weights")
    assert code == 2
    assert "weights" in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_numbers(refused, make_photos, checkpoint, tmp_path):
    import torch

    from rayzer.model.weights import load_model, save_model

    model = load_model(checkpoint)
    with torch.no_grad():
        model.image_embedding.weight[0, 0] = torch.nan
    save_model(model, tmp_path / "nan")
    assert "not finite" in refused(make_photos(8), "--checkpoint", tmp_path / "nan")


def test_no_checkpoint(run, make_photos, tmp_path, embed):
    embed(None)
    code, _, err = run("predict", make_photos(3), "-o", tmp_path / "out")
    assert code == 2
    assert "--checkpoint" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--path", "orbti"], 'did you mean "orbit"'),
        (["--frames", "1"], "--frames 1"),
        (["--fps", "0"], "--fps 0"),
        (["--size", "33"], "--size 33"),
        (["--device", "cuda:77"], "--device cuda:77"),
        (["--frames", "many"], "many"),
        (["--wrong"], "--wrong"),
    ],
)
def test_wrong_options(refused, make_photos, words, named):
    assert named in refused(make_photos(8), *words)


def test_camera_path_fixes_the_frames(tmp_path):
    (tmp_path / "path.json").write_text("{}")
    with pytest.raises(InputError, match="leave --frames out"):
        PathRequest.parse(str(tmp_path / "path.json"), frames=3)


def test_broken_camera_path(refused, make_photos, tmp_path):
    (tmp_path / "path.json").write_text('{"camera_path": []}')
    assert "path.json" in refused(make_photos(8), "--path", tmp_path / "path.json")


def test_an_interrupted_run_leaves_nothing(run, make_photos, checkpoint, tmp_path, monkeypatch):
    from rayzer.prediction import predict

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "write_page", interrupt)
    code, _, _ = run("predict", make_photos(8), "-o", tmp_path / "out", "--checkpoint", checkpoint, "--frames", 2)
    assert code == 130
    assert not (tmp_path / "out").exists()


def png_of_zeros(width, height):
    """A valid 1-bit PNG whose pixels are all zero: a few kilobytes for any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    compress = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(compress.compress(row) for _ in range(height)) + compress.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("given", "out"), [("own/images", "own"), ("own/images", "own/images"), ("other", "own")])
def test_overwrite_never_touches_photos(refused, make_photos, tmp_path, given, out):
    """Neither the input, nor pictures that lie where results would go."""
    (tmp_path / "own").mkdir()
    make_photos(9, "own/images")
    make_photos(9, "other")
    before = contents(tmp_path / "own")
    assert "choose another output folder" in refused(tmp_path / given, "--overwrite", out=tmp_path / out)
    assert contents(tmp_path / "own") == before


def test_overwrite_never_touches_a_scene(refused, recordings, tmp_path):
    import shutil

    scene = tmp_path / "scene"
    shutil.copytree(recordings / "dataset/scenes/scene_a", scene)
    before = contents(scene)
    refused(scene / "opencv_cameras.json", "--overwrite", out=scene)
    assert contents(scene) == before


def test_a_prediction_is_not_the_input_of_the_next(run, refused, make_photos, checkpoint, tmp_path):
    out = tmp_path / "out"
    words = ["--checkpoint", checkpoint, "--frames", 2]
    assert run("predict", make_photos(8), "-o", out, *words)[0] == 0
    assert run("predict", tmp_path / "photos", "-o", out, *words, "--overwrite")[0] == 0
    assert "replace the input" in refused(out / "images", "--overwrite", out=out)
    assert run("predict", out / "scene.safetensors", "-o", out, *words, "--overwrite")[0] == 0


@pytest.mark.parametrize("name", ["a\nb.png", b"\xff.png".decode(errors="surrogateescape"), " blank.png"])
def test_names_that_exchange_formats_cannot_hold(run, make_photos, checkpoint, tmp_path, name):
    out = tmp_path / "out"
    folder = make_photos([*(f"{n}.png" for n in range(7)), name])
    code, _, err = run("predict", folder, "-o", out, "--checkpoint", checkpoint, "--frames", 2)
    assert code == 0, err
    assert len(list((out / "original/images").iterdir())) == 8


def test_photos_beside_a_folder_of_photos_are_mentioned(run, make_photos, checkpoint, tmp_path):
    folder = make_photos(3, "mixed")
    make_photos(8, "mixed/images")
    words = ["--checkpoint", checkpoint, "--frames", 2]
    code, _, err = run("predict", folder, "-o", tmp_path / "out", *words)
    assert code == 0
    assert "3 beside that folder are not" in err


def test_full_disk(refused, make_photos, monkeypatch):
    import errno

    from rayzer.prediction import predict

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(predict, "save_scene", full)
    assert "No space left on device" in refused(make_photos(8))


def test_a_mistyped_checkpoint_does_not_ask_the_hub(run, make_photos, tmp_path, monkeypatch):
    import huggingface_hub

    def asked(*_, **__):
        raise AssertionError("asked the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    code, _, err = run("predict", make_photos(8), "-o", tmp_path / "out", "--checkpoint", "nock")
    assert code == 2
    assert err.splitlines()[-1].startswith("rayzer: nock: no such file or folder")


def test_absurd_number_of_frames(refused, make_photos):
    assert "10000" in refused(make_photos(8), "--frames", "1000000000")


def test_terminated_run_leaves_nothing(make_photos, checkpoint, tmp_path):
    """SIGTERM in the middle of a long fly-through: exit code 143 and no output folder."""
    import signal
    import subprocess
    import sys
    import time

    out = tmp_path / "out"
    words = ["predict", make_photos(8), "-o", out, "--checkpoint", checkpoint, "--frames", "9999"]
    child = subprocess.Popen([sys.executable, "-m", "rayzer", *map(str, words)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / ".partial/original/sparse").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 143
    assert not out.exists()

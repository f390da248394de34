import time

import numpy as np
import pytest
from PIL import Image

from rayzer.data.sources.folder import natural_key, read_folder
from rayzer.errors import InputError


def photo(path, size=(16, 12), taken=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if taken:
        exif[0x8769] = {0x9003: taken}
    Image.new("RGB", size).save(path, exif=exif)


def names(scene):
    return [frame.name for frame in scene.frames]


def test_natural_order(tmp_path):
    wanted = ["frame1.png", "Frame2.png", "frame10.png", "frame010b.png", "frame11.png", "z.png"]
    for name in wanted[::-1]:
        photo(tmp_path / "my scene" / name)
    scene = read_folder(tmp_path / "my scene")
    assert names(scene) == wanted
    assert scene.name == "my scene"
    assert scene.frames[0].image == tmp_path / "my scene" / "frame1.png"
    assert scene.notes == scene.skipped == ()


def test_natural_key_is_a_total_order():
    assert natural_key("a1") != natural_key("a01")
    assert sorted(["b", "1", "a10", "a9", "10"], key=natural_key) == ["1", "10", "a9", "a10", "b"]


def test_images_folder_and_the_scene_above_it(tmp_path):
    photo(tmp_path / "kitchen" / "images" / "1.jpg")
    photo(tmp_path / "kitchen" / "preview.jpg")
    for path in (tmp_path / "kitchen", tmp_path / "kitchen" / "images"):
        scene = read_folder(path)
        assert names(scene) == ["1.jpg"]
        assert scene.name == "kitchen"


def test_an_images_folder_without_photos_is_no_reason_to_miss_those_beside_it(tmp_path):
    (tmp_path / "images").mkdir()
    photo(tmp_path / "1.jpg")
    assert names(read_folder(tmp_path)) == ["1.jpg"]


def test_what_is_not_a_photo_is_left_out(tmp_path):
    photo(tmp_path / "a.JPG")
    for name in ("._a.JPG", ".hidden.png", "Thumbs.db", "notes.txt", "mask.npy", "clip.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    scene = read_folder(tmp_path)
    assert names(scene) == ["a.JPG"]
    assert scene.skipped == ()


def test_videos_beside_photos_are_noted(tmp_path):
    photo(tmp_path / "1.jpg")
    (tmp_path / "walk.MP4").touch()
    assert "not the videos beside them (1)" in read_folder(tmp_path).notes[0]
    photo(tmp_path / "images" / "1.jpg")  # the pictures of that video, most likely
    assert not any("video" in note for note in read_folder(tmp_path).notes)


def test_unicode_spaces_and_links(tmp_path):
    wanted = ["Küche 1.png", "Küche 2.png", "写真 3.png"]
    for name in wanted[:2]:
        photo(tmp_path / "räume" / name)
    photo(tmp_path / "elsewhere.png")
    (tmp_path / "räume" / wanted[2]).symlink_to(tmp_path / "elsewhere.png")
    assert names(read_folder(tmp_path / "räume")) == wanted


def test_unreadable_photos_are_set_aside_and_named(tmp_path):
    photo(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"not a picture")
    photo(tmp_path / "3.png")
    scene = read_folder(tmp_path)
    assert names(scene) == ["1.png", "3.png"]
    ((path, reason),) = scene.skipped
    assert path == tmp_path / "2.png"
    assert reason.startswith(f"{path}: is not a picture")


def test_decoding_is_lazy(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "1.png")
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[:100])  # the header is there, the pixels are not
    frame = read_folder(tmp_path).frames[0]
    assert (frame.width_px, frame.height_px) == (64, 64)


@pytest.mark.parametrize("count", [0, 1])
def test_few_photos_are_what_they_are(tmp_path, count):
    for number in range(count):
        photo(tmp_path / f"{number}.png")
    assert len(read_folder(tmp_path)) == count


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        read_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("times", "noted"),
    [
        (["2024:01:01 10:00:00", "2024:01:01 10:00:00", "2024:01:02 09:00:00"], False),
        (["2024:01:01 10:00:00", "2024:01:03 10:00:00", "2024:01:02 09:00:00"], True),
        (["2024:01:03 10:00:00", None, "2024:01:02 09:00:00"], False),
    ],
)
def test_times_that_contradict_the_names_are_noted(tmp_path, times, noted):
    for number, taken in enumerate(times):
        photo(tmp_path / f"{number}.jpg", taken=taken)
    scene = read_folder(tmp_path)
    assert names(scene) == ["0.jpg", "1.jpg", "2.jpg"]
    assert any("file name" in note for note in scene.notes) == noted


def test_mixed_sizes_are_noted(tmp_path):
    photo(tmp_path / "1.jpg", (16, 12))
    photo(tmp_path / "2.jpg", (12, 16))
    assert "differ in size" in read_folder(tmp_path).notes[0]


def test_two_thousand_photos_take_seconds(tmp_path):
    photo(tmp_path / "1.jpg", (640, 480))
    content = (tmp_path / "1.jpg").read_bytes()
    for number in range(2, 2001):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    start = time.perf_counter()
    assert len(read_folder(tmp_path)) == 2000
    assert time.perf_counter() - start < 10

"""Conversion keeps pictures, order, names and rays; it replaces nothing but its own results."""

import json
import os
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from rayzer.data import convert as convert_module
from rayzer.data import scene_jobs
from rayzer.data.convert import WRITERS, ConvertRequest, convert
from rayzer.data.exchange import cameras_from_frames
from rayzer.data.formats import FORMATS, find_scenes, read_scene, recognise
from rayzer.data.images import Preprocessing
from rayzer.data.packing import PackRequest, pack
from rayzer.data.pictures import ordered_stems
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.colmap import write_colmap
from rayzer.data.sources.nerfstudio import write_transforms
from rayzer.data.sources.rayzer_json import write_rayzer_json
from rayzer.data.sources.source import ReadOptions
from rayzer.data.views import open_image
from rayzer.errors import InputError
from rayzer.geometry.rays import pixel_rays

SIZE = 48, 36
FXFYCXCY = (50.5, 51.5, 24.25, 17.75)


def picture(number, size=SIZE, mode="RGB"):
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(size).convert(mode)


def pose(number):
    rotation, _ = np.linalg.qr(np.random.default_rng(number).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.linalg.det(rotation)
    matrix[:3, 3] = 0.3 * number, 0.1, -number
    return matrix


def frames_in(folder, count=4, distortion=()):
    (folder / "images").mkdir(parents=True)
    frames = []
    for number in range(count):
        path = folder / "images" / f"photo{number}.jpg"
        picture(number).save(path, quality=90)
        frames.append(Frame(path.name, path, *SIZE, FXFYCXCY, distortion, pose(number)))
    return tuple(frames)


def rayzer_scene(folder, count=4):
    write_rayzer_json(Scene(folder.name, frames_in(folder, count), folder), folder)


def nerfstudio_scene(folder, distortion=()):
    write_transforms(folder / "transforms.json", frames_in(folder, distortion=distortion), "a note")


def colmap_scene(folder, distortion=()):
    write_colmap(folder / "sparse/0", frames_in(folder, distortion=distortion), "a note")


def photo_folder(folder):
    frames_in(folder)


def video(path, seconds=2, fps=10, size=(64, 48)):
    path = path if path.suffix else path.with_suffix(".mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(round(seconds * fps)):
            grey = np.full((size[1], size[0], 3), 10 * number % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return path


def packed_set(folder):
    rayzer_scene(folder.parent / "originals" / folder.name)
    pack(folder.parent / "originals", folder, PackRequest(Preprocessing(32, 8)))


def lvsm_scene(folder):
    frames = frames_in(folder)
    entries = [
        {
            "image_path": str(frame.image),
            "fxfycxcy": list(FXFYCXCY),
            "w2c": np.linalg.inv(frame.world_from_camera).tolist(),
        }
        for frame in frames
    ]
    (folder / "metadata").mkdir()
    content = {"scene_name": folder.name, "frames": entries}
    (folder / "metadata" / f"{folder.name}.json").write_text(json.dumps(content))


def columns(frame):
    fx, fy, cx, cy = FXFYCXCY
    camera = [fx / SIZE[0], fy / SIZE[1], cx / SIZE[0], cy / SIZE[1], 0, 0]
    return [*camera, *np.linalg.inv(frame.world_from_camera)[:3].ravel().tolist()]


def real_estate_clip(folder):
    frames = frames_in(folder)
    (folder / "clip").mkdir()
    lines = ["https://www.youtube.com/watch?v=x"]
    for number, frame in enumerate(frames):
        shutil.copy(frame.image, folder / "clip" / f"{number * 1000}.jpg")
        lines.append(" ".join(map(str, [number * 1000, *columns(frame)])))
    shutil.rmtree(folder / "images")
    (folder / "clip.txt").write_text("\n".join(lines))


def chunk(folder):
    frames = frames_in(folder)
    images = [torch.from_numpy(np.frombuffer(frame.image.read_bytes(), np.uint8).copy()) for frame in frames]
    clip = {
        "url": "",
        "timestamps": torch.arange(4) * 1000,
        "cameras": torch.tensor([columns(frame) for frame in frames], dtype=torch.float32),
        "images": images,
        "key": "clip",
    }
    torch.save([clip], folder / "000000.torch")
    (folder / "index.json").write_text(json.dumps({"clip": "000000.torch"}))
    shutil.rmtree(folder / "images")


SOURCES = {
    "rayzer": rayzer_scene,
    "nerfstudio": nerfstudio_scene,
    "colmap": colmap_scene,
    "photos": photo_folder,
    "video": video,
    "packed": packed_set,
    "lvsm": lvsm_scene,
    "realestate": real_estate_clip,
    "chunks": chunk,
}
WITHOUT_CAMERAS = ("photos", "video")


def touched(folder):
    return {str(path): path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(*words, call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def only_scene(path):
    (ref,) = find_scenes(path)
    return read_scene(ref)


def assert_same_rays(one: Scene, two: Scene):
    cameras, others = (cameras_from_frames(scene.frames) for scene in (one, two))
    for theirs, ours in zip(pixel_rays(cameras, 36, 48), pixel_rays(others, 36, 48), strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


def assert_same_pictures(one: Scene, two: Scene):
    for a, b in zip(one.frames, two.frames, strict=True):
        np.testing.assert_array_equal(np.asarray(open_image(a)), np.asarray(open_image(b)))


# ---- formats


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_to_every_format(tmp_path, source, to):
    SOURCES[source](tmp_path / "src/room")
    path = next(path for path in (tmp_path / "src").iterdir() if path.stem == "room")
    path = path / "metadata" if source == "lvsm" else path
    before = touched(tmp_path / "src")

    def call():
        return convert(path, tmp_path / "out", ConvertRequest(to, allow_outside=source == "lvsm"))

    if source in WITHOUT_CAMERAS and to != "rayzer":
        refused("room", "has no cameras", "--to rayzer", call=call)
        assert not (tmp_path / "out").exists()
        return
    report = call()
    assert touched(tmp_path / "src") == before
    converted = only_scene(tmp_path / "out")
    assert recognise(converted.source.parent if converted.source.is_file() else converted.source).name == to
    assert len(converted) == report.scenes[0].pictures
    if source == "video":
        assert len(converted) == 10
        return
    (ref,) = find_scenes(path)
    original = read_scene(ref, ReadOptions(allow_outside=True))
    assert_same_pictures(original, converted)
    if source not in WITHOUT_CAMERAS:
        assert_same_rays(original, converted)


def test_every_format_is_tried():
    assert FORMATS.keys() - SOURCES.keys() <= {"co3d", "dl3dv", "lvsm"}


@pytest.mark.parametrize("to", ["nerfstudio", "colmap"])
def test_round_trips_keep_distortion(tmp_path, to):
    SOURCES["colmap"](tmp_path / "a", (0.1, -0.02, 0.003, 0.001))
    convert(tmp_path / "a", tmp_path / "b", ConvertRequest(to))
    first, second = read_scene(tmp_path / "a"), read_scene(tmp_path / "b")
    assert [frame.distortion for frame in first.frames] == [frame.distortion for frame in second.frames]
    assert_same_rays(first, second)


def test_distortion_and_rayzer_scenes(tmp_path, run):
    SOURCES["colmap"](tmp_path / "a", (0.1, -0.02, 0.003, 0.001))
    code, _, err = run("data", "convert", tmp_path / "a", tmp_path / "b")
    assert code == 0
    assert "--undistort" in err
    assert_same_rays(read_scene(tmp_path / "a"), read_scene(tmp_path / "b"))
    pytest.importorskip("cv2")
    code, _, err = run("data", "convert", tmp_path / "a", tmp_path / "c", "--undistort")
    assert (code, "--undistort" in err) == (0, False)
    frame = read_scene(tmp_path / "c").frames[0]
    assert frame.fxfycxcy_px != FXFYCXCY
    assert frame.image.suffix == ".png"


@pytest.mark.parametrize("to", ["nerfstudio", "colmap"])
def test_distortion_that_cannot_be_written(tmp_path, to):
    frame = replace(frames_in(tmp_path / "a")[0], distortion=(0.1, 0, 0, 0, 0.2))
    scene = Scene("a", (frame,), tmp_path / "a")
    refused("distortion", call=lambda: convert_module._check_cameras(scene, scene.frames, ConvertRequest(to)))
    convert_module._check_cameras(scene, scene.frames, ConvertRequest(to, undistort=True))


def test_wrong_poses_and_the_way_around_them(tmp_path, run):
    rayzer_scene(tmp_path / "a")
    file = tmp_path / "a/opencv_cameras.json"
    data = json.loads(file.read_text())
    data["frames"][1]["w2c"][0][0] = 5.0
    file.write_text(json.dumps(data))
    code, _, err = run("data", "convert", tmp_path / "a", tmp_path / "b")
    assert code == 2
    assert "--no-poses" in err
    assert run("data", "convert", tmp_path / "a", tmp_path / "b", "--no-poses")[0] == 0
    assert read_scene(tmp_path / "b").frames[0].world_from_camera is None


@pytest.mark.parametrize(
    "words", [["--to", "colmap", "--no-poses"], ["--undistort", "--no-poses"], ["--fps", 0], ["--to", "x"]]
)
def test_options_that_contradict(tmp_path, run, words):
    photo_folder(tmp_path / "a")
    code, _, err = run("data", "convert", tmp_path / "a", tmp_path / "b", *words)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "b").exists()


# ---- pictures


def test_plain_pictures_keep_their_bytes(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    picture(0).save(folder / "0.jpg", quality=70)
    picture(1).save(folder / "1.PNG")
    picture(2, mode="L").save(folder / "2.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(3).save(folder / "3.jpg", exif=exif)
    picture(4).save(folder / "4.webp", lossless=True)
    rgba = picture(5)
    rgba.putalpha(100)
    rgba.save(folder / "5.png")
    picture(6).save(folder / "6.png", transparency=(0, 0, 0))
    convert(folder, tmp_path / "b")
    names = [path.name for path in sorted((tmp_path / "b/images").iterdir())]
    assert names == ["0.jpg", "1.PNG", "2.png", "3.png", "4.png", "5.png", "6.png"]
    for name in names[:2]:
        assert (tmp_path / "b/images" / name).read_bytes() == (folder / name).read_bytes()
    assert_same_pictures(read_scene(folder), read_scene(tmp_path / "b"))


def test_pictures_in_chunks_keep_their_bytes(tmp_path):
    chunk(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b")
    picture(0).save(tmp_path / "0.jpg", quality=90)
    assert next(iter(content(tmp_path / "b/clip/images").values())) == (tmp_path / "0.jpg").read_bytes()


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.jpg", "b.png"], ["a", "b"]),
        (["b.jpg", "a.png"], ["00000_b", "00001_a"]),
        (["a.jpg", "a.png"], ["00000_a", "00001_a"]),
        (["A.jpg", "a.jpg"], ["00000_A", "00001_a"]),
        (["p9.jpg", "p10.jpg"], ["00000_p9", "00001_p10"]),
        (["x/1.jpg", "y/1.jpg"], ["00000_1", "00001_1"]),
        (["0.500s", "1.500s"], ["0.500s", "1.500s"]),
        (["a\nb.jpg"], ["a_b"]),
        (["ü 1.jpg", "ü 2.jpg"], ["ü 1", "ü 2"]),
    ],
)
def test_names_keep_the_order(names, stems):
    assert ordered_stems(names) == stems


@pytest.mark.parametrize("to", WRITERS)
def test_order_survives_formats_that_sort(tmp_path, to):
    frames = frames_in(tmp_path / "a")
    shuffled = tuple(frames[number] for number in (2, 0, 3, 1))
    write_rayzer_json(Scene("a", shuffled, tmp_path / "a"), tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b", ConvertRequest(to))
    assert_same_rays(read_scene(tmp_path / "a"), read_scene(tmp_path / "b"))


def test_missing_pictures_are_counted(tmp_path, run):
    rayzer_scene(tmp_path / "a")
    (tmp_path / "a/images/photo1.jpg").unlink()
    (tmp_path / "a/images/photo2.jpg").write_bytes(b"text")
    code, out, err = run("data", "convert", tmp_path / "a", tmp_path / "b")
    assert code == 0
    assert "2 of 4 frames" in err
    assert "numbers of later frames shift" in err
    assert "photo1.jpg" in err
    assert "2 pictures" in out
    assert [frame.name for frame in read_scene(tmp_path / "b").frames] == ["photo0.jpg", "photo3.jpg"]


def test_files_that_are_no_pictures_are_counted(tmp_path, run):
    rayzer_scene(tmp_path / "a")
    (tmp_path / "a/images/scan.tif").write_bytes(b"II*\0")
    code, out, err = run("data", "convert", tmp_path / "a/images", tmp_path / "b")
    assert code == 0
    assert "files that cannot be read are left out (1)" in err
    assert "scan.tif" in err
    assert "4 pictures" in out


def test_pictures_outside(tmp_path, run):
    rayzer_scene(tmp_path / "a")
    shutil.move(tmp_path / "a/images/photo0.jpg", tmp_path / "photo0.jpg")
    file = tmp_path / "a/opencv_cameras.json"
    file.write_text(file.read_text().replace("images/photo0.jpg", "../photo0.jpg"))
    code, _, err = run("data", "convert", tmp_path / "a", tmp_path / "b")
    assert code == 2
    assert "--allow-outside" in err
    assert run("data", "convert", tmp_path / "a", tmp_path / "b", "--allow-outside")[0] == 0
    assert [frame.name for frame in read_scene(tmp_path / "b").frames] == [f"photo{number}.jpg" for number in range(4)]


# ---- many scenes


def test_many_scenes(tmp_path, run):
    for name in ("1K/garden", "2K/garden", "2K/haus ü"):
        rayzer_scene(tmp_path / "data" / name)
    photo_folder(tmp_path / "data/photos only")
    (tmp_path / "data/3K/broken").mkdir(parents=True)
    (tmp_path / "data/3K/broken/opencv_cameras.json").write_text("{")
    code, out, err = run("data", "convert", tmp_path / "data", tmp_path / "out")
    assert code == 0
    assert "4 scenes, 16 pictures" in out
    assert "left out: " in err
    assert "broken" in err
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders == ["1K_garden", "2K_garden", "convert.json", "haus ü", "photos only"]
    names = [read_scene(ref).name for ref in find_scenes(tmp_path / "out")]
    assert names == ["1K_garden", "2K_garden", "haus ü", "photos only"]  # the names are keys of view indices


def test_a_list_of_scenes(tmp_path):
    for name in ("x", "y"):
        rayzer_scene(tmp_path / "data" / name)
    (tmp_path / "list.txt").write_text("data/y/opencv_cameras.json\ndata/x\n")
    convert(tmp_path / "list.txt", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"x", "y", "convert.json"}


def test_nothing_can_be_converted(tmp_path, run):
    for name in ("x", "y"):
        photo_folder(tmp_path / "data" / name)
    code, out, err = run("data", "convert", tmp_path / "data", tmp_path / "out", "--to", "colmap")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "none of 2 scenes" in line
    assert not (tmp_path / "out").exists()


def test_an_output_name_that_is_too_long(tmp_path):
    photo_folder(tmp_path / "data" / "x")
    with pytest.raises(InputError, match="too long"):
        convert(tmp_path / "data", tmp_path / ("o" * 300))


@pytest.mark.parametrize("to", WRITERS)
def test_pictures_of_another_size_than_the_scene_says(tmp_path, to):
    """Their cameras are for other pixels; one such picture is left out, many are no scene."""
    rayzer_scene(tmp_path / "a")
    picture(9, (SIZE[0] + 1, SIZE[1])).save(tmp_path / "a/images/photo2.jpg")
    (converted,) = convert(tmp_path / "a", tmp_path / "out", ConvertRequest(to)).scenes
    assert converted.pictures == 3
    assert "photo2.jpg: has 49x36 pixels, its scene says 48x36; correct its size" in converted.notes[0]
    for number in range(4):
        picture(number, (24, 18)).save(tmp_path / f"a/images/photo{number}.jpg")
    with pytest.raises(InputError, match=r"none of its pictures can be read .*24x18 pixels"):
        convert(tmp_path / "a", tmp_path / "none", ConvertRequest(to))


@pytest.mark.parametrize("to", ["nerfstudio", "colmap"])
def test_missing_pictures_are_not_called_missing_cameras(tmp_path, to):
    rayzer_scene(tmp_path / "a")
    shutil.rmtree(tmp_path / "a/images")
    with pytest.raises(InputError, match="none of its pictures can be read"):
        convert(tmp_path / "a", tmp_path / "out", ConvertRequest(to))


def test_scenes_keep_names_of_their_own(tmp_path):
    """View indices go by them; only names that come from equal folders must differ."""
    for batch in ("1K", "2K"):
        rayzer_scene(tmp_path / f"data/{batch}/room")
        rayzer_scene(tmp_path / f"data/{batch}/hall")
        file = tmp_path / f"data/{batch}/room/opencv_cameras.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "scene_name": f"my {batch} room"}))
    report = convert(tmp_path / "data", tmp_path / "out")
    names = {scene.folder: scene.name for scene in report.scenes}
    rooms = {"1K_room": "my 1K room", "2K_room": "my 2K room"}
    assert names == {"1K_hall": "1K_hall", "2K_hall": "2K_hall", **rooms}
    assert {read_scene(tmp_path / "out" / folder).name for folder in rooms} == set(rooms.values())


@pytest.mark.parametrize("scenes", ["null", '"x"', "[1]", "[{}]"])
def test_a_report_that_is_none(tmp_path, scenes):
    rayzer_scene(tmp_path / "a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/convert.json").write_text(f'{{"format": "rayzer-converted", "scenes": {scenes}}}')
    with pytest.raises(InputError, match=r"convert\.json: is not from an earlier run"):
        convert(tmp_path / "a", tmp_path / "out", overwrite=True)


# ---- videos


def test_videos_become_scenes(tmp_path, run):
    video(tmp_path / "videos/one.mp4", seconds=3)
    video(tmp_path / "videos/two.mkv", seconds=1)
    code, out, _ = run("data", "convert", tmp_path / "videos", tmp_path / "scenes")
    assert code == 0
    assert "2 scenes, 20 pictures" in out
    scene = read_scene(tmp_path / "scenes/one")
    assert [frame.name for frame in scene.frames] == [f"{number:05d}.jpg" for number in range(15)]
    levels = [np.asarray(open_image(frame)).mean() for frame in scene.frames]
    np.testing.assert_allclose(levels, [20 * number % 250 for number in range(15)], atol=3)
    with Image.open(scene.frames[0].image) as image:
        assert image.info.get("subsampling", 0) == 0
        assert image.layer[1][1:3] == (1, 1)  # colour in full resolution
        assert min(image.quantization[0]) <= 2  # quality 95
    code, out, _ = run("data", "inspect", tmp_path / "scenes")
    assert code == 0
    assert "Usable without poses: 2 of 2 scenes." in out
    code, out, _ = run("data", "pack", tmp_path / "scenes", tmp_path / "packed", "--workers", 1)
    assert code == 0
    assert "2 scenes, 20 pictures" in out


def test_pictures_of_a_video_by_the_second(tmp_path, run):
    path = video(tmp_path / "clip.mp4", seconds=2, fps=10)
    for fps, count in ((1, 2), (2.5, 5), (10, 20)):
        convert(path, tmp_path / str(fps), ConvertRequest(fps=fps))
        assert len(read_scene(tmp_path / str(fps))) == count
    code, _, err = run("data", "convert", path, tmp_path / "more", "--fps", 30)
    assert code == 0
    assert "10.0 frames a second" in err
    assert len(read_scene(tmp_path / "more")) == 20


def test_damaged_videos(tmp_path, run):
    video(tmp_path / "videos/good.mp4")
    (tmp_path / "videos/bad.mp4").write_bytes(b"text" * 100)
    code, _, err = run("data", "convert", tmp_path / "videos", tmp_path / "scenes")
    assert code == 0
    assert "left out: " in err
    assert "bad.mp4" in err
    assert {path.name for path in (tmp_path / "scenes").iterdir()} == {"good", "convert.json"}


# ---- where it writes


def test_what_is_there_is_kept(tmp_path, run):
    rayzer_scene(tmp_path / "a")
    assert run("data", "convert", tmp_path / "a", tmp_path / "b")[0] == 0
    before = content(tmp_path / "b")
    code, _, err = run("data", "convert", tmp_path / "a", tmp_path / "b")
    assert code == 2
    assert "--overwrite" in err
    assert content(tmp_path / "b") == before
    assert run("data", "convert", tmp_path / "a", tmp_path / "b", "--overwrite")[0] == 0
    assert content(tmp_path / "b") == before


def test_overwriting_replaces_only_what_was_converted_before(tmp_path, run):
    for name in ("x", "y"):
        rayzer_scene(tmp_path / "data" / name)
    convert(tmp_path / "data", tmp_path / "out")
    (tmp_path / "out/notes.txt").write_text("mine")
    shutil.rmtree(tmp_path / "data/y")
    (tmp_path / "data/x/images/photo3.jpg").unlink()
    assert run("data", "convert", tmp_path / "data", tmp_path / "out", "--overwrite")[0] == 0
    assert (tmp_path / "out/notes.txt").exists()
    assert [len(read_scene(tmp_path / "out" / name)) for name in ("x", "y")] == [3, 4]
    rayzer_scene(tmp_path / "more/z")
    rayzer_scene(tmp_path / "out/z")  # this one is not ours
    before = content(tmp_path / "out")
    code, _, err = run("data", "convert", tmp_path / "more", tmp_path / "out", "--overwrite")
    assert code == 2
    assert "was not made by an earlier run" in err
    assert content(tmp_path / "out") == before
    code, _, err = run("data", "convert", tmp_path / "more/z", tmp_path / "data/x", "--overwrite")
    assert code == 2


@pytest.mark.parametrize("out", ["data", "data/x", "data/x/images", "data/new", "link"])
@pytest.mark.parametrize("source", ["data", "data/x", "data/x/opencv_cameras.json", "list.txt"])
def test_never_into_the_source(tmp_path, run, source, out):
    rayzer_scene(tmp_path / "data/x")
    (tmp_path / "link").symlink_to(tmp_path / "data/x")
    (tmp_path / "list.txt").write_text("data/x\n")
    before = content(tmp_path)
    code, _, _ = run("data", "convert", tmp_path / source, tmp_path / out, "--overwrite")
    beside = {"data/new": source != "data", "data": source.startswith("data/x")}  # touches nothing of the scene
    assert code == (0 if beside.get(out) else 2)
    assert before.items() <= content(tmp_path).items()


def test_pictures_that_lie_in_the_output(tmp_path, run):
    rayzer_scene(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").mkdir()
    shutil.copy(tmp_path / "a/opencv_cameras.json", tmp_path / "c")
    (tmp_path / "c/images").symlink_to(tmp_path / "b/images")
    before = content(tmp_path)
    code, _, err = run("data", "convert", tmp_path / "c", tmp_path / "b", "--overwrite")
    assert code == 2
    assert "would replace these pictures" in err
    assert before.items() <= content(tmp_path).items()


def test_interrupted_conversions_go_on(tmp_path, monkeypatch):
    for name in ("x", "y", "z"):
        rayzer_scene(tmp_path / "data" / name)
    write = WRITERS["rayzer"][0]

    def interrupted(scene, folder):
        if scene.name == "y":
            raise KeyboardInterrupt
        write(scene, folder)

    monkeypatch.setattr(convert_module, "available_cpus", lambda: 1)
    monkeypatch.setitem(WRITERS, "rayzer", (interrupted, WRITERS["rayzer"][1]))
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "data", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".partial"]
    results = tmp_path / "out/.partial/results"
    assert [path.name for path in results.iterdir()] == ["x"]
    inode = (results / "x/images").stat().st_ino
    monkeypatch.setitem(WRITERS, "rayzer", (write, WRITERS["rayzer"][1]))
    assert len(convert(tmp_path / "data", tmp_path / "out").scenes) == 3
    assert (tmp_path / "out/x/images").stat().st_ino == inode
    convert(tmp_path / "data", tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("moved", range(3))
def test_interrupted_while_moving(tmp_path, monkeypatch, moved):
    rayzer_scene(tmp_path / "a")
    out, move, calls = tmp_path / "out", scene_jobs.move_entry, []

    def interrupted(source, destination):
        if destination.parent == out:
            calls.append(destination)
            if len(calls) > moved:
                raise KeyboardInterrupt
        move(source, destination)

    monkeypatch.setattr(scene_jobs, "move_entry", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "a", out)
    monkeypatch.undo()
    convert(tmp_path / "a", out)
    convert(tmp_path / "a", tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def test_a_full_disk(tmp_path, monkeypatch, run):
    rayzer_scene(tmp_path / "a")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    code, _, err = run("data", "convert", tmp_path / "a", tmp_path / "b")
    assert code == 2
    assert "No space left" in err.splitlines()[-1]
    assert str(tmp_path / "b") in err


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_read_only_sources(tmp_path):
    rayzer_scene(tmp_path / "a")
    for folder in (tmp_path / "a/images", tmp_path / "a"):
        folder.chmod(0o555)
    convert(tmp_path / "a", tmp_path / "b")

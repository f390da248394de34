"""The whole program on photos, video and scene files, and what it leaves behind."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from rayzer import InputError
from rayzer.data.camera_path import read_camera_path
from rayzer.data.exchange import cameras_from_frames
from rayzer.data.sources.colmap import read_colmap
from rayzer.data.sources.folder import natural_key
from rayzer.data.sources.nerfstudio import read_transforms
from rayzer.files import save_tensors
from rayzer.geometry import Cameras, pixel_rays
from rayzer.prediction.encoded import FORMAT, load_scene
from rayzer.prediction.outputs import there_and_back

FILES = {
    "cameras.json",
    "transforms.json",
    "sparse",
    "frames",
    "flythrough.mp4",
    "index.html",
    "images",
    "renders",
    "original",
    "scene.safetensors",
    "camera_path.json",
}


@pytest.fixture
def predicted(run, make_photos, checkpoint, tmp_path):
    """The output folder of a prediction from 11 photos (8 are used)."""
    out = tmp_path / "out"
    code, _, err = run("predict", make_photos(11), "-o", out, "--checkpoint", checkpoint, "--frames", 6)
    assert code == 0, err
    return out


def rays_of(cameras: Cameras):
    """Origins and directions through a few pixels, up to nothing: all in one world."""
    return torch.cat(pixel_rays(cameras, 3, 4), -1)


def processed_cameras(out):
    views = json.loads((out / "cameras.json").read_text())["views"]
    intrinsics = [[view["intrinsics"][key] for key in ("fx", "fy", "cx", "cy")] for view in views]
    poses = torch.tensor([view["world_from_camera"] for view in views], dtype=torch.float64)
    return Cameras(poses, torch.tensor(intrinsics, dtype=torch.float64)), views


def test_everything_is_there(predicted):
    assert {entry.name for entry in predicted.iterdir()} == FILES
    assert len(list((predicted / "images").iterdir())) == 8
    assert len(list((predicted / "renders").iterdir())) == 3
    assert len(list((predicted / "frames").iterdir())) == 6
    cameras, views = processed_cameras(predicted)
    assert [view["role"] for view in views].count("target") == 3
    assert cameras.rotations.det().allclose(torch.ones(8, dtype=torch.float64), atol=1e-5)


def test_every_file_with_cameras_says_what_they_are(predicted):
    for name in ("cameras.json", "transforms.json", "original/transforms.json"):
        assert "need not be geometric" in json.loads((predicted / name).read_text())["note"]
    for name in ("sparse/0/images.txt", "sparse/0/README.txt", "original/sparse/0/cameras.txt"):
        text = (predicted / name).read_text()
        assert "need not be geometric" in text
        assert "Scale is arbitrary" in text
    assert "need not be geometric" in (predicted / "index.html").read_text()


@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_processed_colmap_gives_the_same_rays(predicted, suffix):
    keep_only(predicted / "sparse/0", suffix)
    scene = read_colmap(predicted)
    assert all(Image.open(frame.image).size == (frame.width_px, frame.height_px) for frame in scene.frames)
    expected, _ = processed_cameras(predicted)
    torch.testing.assert_close(rays_of(cameras_from_frames(scene.frames)), rays_of(expected), atol=1e-4, rtol=0)


def test_processed_transforms_give_the_same_rays(predicted):
    scene = read_transforms(predicted / "transforms.json")
    expected, _ = processed_cameras(predicted)
    torch.testing.assert_close(rays_of(cameras_from_frames(scene.frames)), rays_of(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize("source", ["colmap", "nerfstudio"])
def test_original_photos_lie_on_the_same_rays(predicted, source):
    folder = predicted / "original"
    scene = read_colmap(folder) if source == "colmap" else read_transforms(folder / "transforms.json")
    names = [frame.name for frame in scene.frames]
    assert names == sorted(names, key=natural_key)
    assert all(Image.open(frame.image).size == (frame.width_px, frame.height_px) for frame in scene.frames)
    cameras = cameras_from_frames(scene.frames)
    expected, views = processed_cameras(predicted)
    order = [next(i for i, view in enumerate(views) if view["name"] == frame.name) for frame in scene.frames]
    # 48x36 photos were resized to 40x32 and cropped by 4 columns on each side to 32x32: that window of the original
    window = cameras.cropped(4 / 40, 0, 32 / 40, 1)
    torch.testing.assert_close(rays_of(window), rays_of(expected[order]), atol=1e-4, rtol=0)


def test_pycolmap_reads_both_models(predicted):
    pycolmap = pytest.importorskip("pycolmap")
    for folder in (predicted, predicted / "original"):
        model = pycolmap.Reconstruction(folder / "sparse/0")
        assert len(model.images) == 8
        assert {image.name for image in model.images.values()} == {p.name for p in (folder / "images").iterdir()}


def test_photos_are_copied_untouched(predicted, tmp_path):
    for copy in (predicted / "original/images").iterdir():
        assert copy.read_bytes() == (tmp_path / "photos" / copy.name).read_bytes()


def test_video_plays_there_and_back(predicted):
    import av

    with av.open(str(predicted / "flythrough.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) == 10
    assert there_and_back([0, 1, 2, 3]) == [0, 1, 2, 3, 2, 1]


def test_encoded_scene_renders_again_to_the_same_pictures(predicted, run, checkpoint, tmp_path):
    again = tmp_path / "again"
    scene = predicted / "scene.safetensors"
    code, _, err = run("predict", scene, "-o", again, "--checkpoint", checkpoint, "--frames", 6)
    assert code == 0, err
    assert {entry.name for entry in again.iterdir()} == FILES - {"original"}
    for folder in ("renders", "frames", "images"):
        for picture in (predicted / folder).iterdir():
            assert picture.read_bytes() == (again / folder / picture.name).read_bytes()


def test_encoded_scene_needs_the_weights_that_made_it(predicted, run, tmp_path):
    from rayzer.configs import load_config
    from rayzer.model.weights import build_model, save_model

    save_model(build_model(load_config("smoke").model), tmp_path / "other")
    code, _, err = run(
        "predict", predicted / "scene.safetensors", "-o", tmp_path / "x", "--checkpoint", tmp_path / "other"
    )
    assert code == 2
    assert "other weights" in err
    assert not (tmp_path / "x").exists()


def test_damaged_encoded_scene(predicted, run, checkpoint, tmp_path):
    file = tmp_path / "cut.safetensors"
    file.write_bytes((predicted / "scene.safetensors").read_bytes()[:-100])
    code, _, err = run("predict", file, "-o", tmp_path / "x", "--checkpoint", checkpoint)
    assert code == 2
    assert_one_line(err, "cut.safetensors")


@pytest.mark.parametrize("scene", ["{", "[]", '{"name": "x"}'])
def test_encoded_scene_with_a_wrong_header(scene, tmp_path):
    file = tmp_path / "odd.safetensors"
    save_tensors({"tokens": torch.zeros(1)}, file, {"format": FORMAT, "scene": scene})
    with pytest.raises(InputError, match=r"odd.safetensors: not an encoded scene \("):
        load_scene(file)


def test_encoded_scene_round_trip(predicted):
    scene = load_scene(predicted / "scene.safetensors")
    expected, views = processed_cameras(predicted)
    assert [view.name for view in scene.views] == [view["name"] for view in views]
    torch.testing.assert_close(scene.cameras.world_from_camera.double(), expected.world_from_camera)
    assert scene.tokens.tokens.shape == (1, 32, 64)


@pytest.mark.parametrize("preset", ["interpolate", "orbit", "spiral", "dolly", "wobble"])
def test_paths(run, make_photos, checkpoint, tmp_path, preset):
    out = tmp_path / "out"
    words = ["--path", preset, "--frames", 5, "--fps", 10]
    code, _, err = run("predict", make_photos(8), "-o", out, "--checkpoint", checkpoint, *words)
    assert code == 0, err
    path = read_camera_path(out / "camera_path.json")
    assert len(path.cameras) == 5
    assert path.fps == 10


def test_camera_path_file(predicted, run, checkpoint, make_photos, tmp_path):
    out = tmp_path / "along"
    words = ["--path", predicted / "camera_path.json"]
    code, _, err = run("predict", tmp_path / "photos", "-o", out, "--checkpoint", checkpoint, *words)
    assert code == 0, err
    a, b = (read_camera_path(folder / "camera_path.json").cameras for folder in (predicted, out))
    torch.testing.assert_close(rays_of(a), rays_of(b), atol=1e-5, rtol=0)
    for picture in (predicted / "frames").iterdir():
        difference = np.asarray(Image.open(picture)).astype(int) - np.asarray(Image.open(out / "frames" / picture.name))
        assert abs(difference).max() <= 1


def test_video(run, video, checkpoint, tmp_path):
    out = tmp_path / "out"
    code, _, err = run("predict", video, "-o", out, "--checkpoint", checkpoint, "--frames", 3)
    assert code == 0, err
    _, views = processed_cameras(out)
    times = [view["time_s"] for view in views]
    assert times == sorted(times)
    assert times[0] == 0
    assert times[-1] == pytest.approx(47 / 24)


def test_scene_file_with_true_cameras_shows_them_aligned(run, checkpoint, tmp_path, recorded_scene):
    out = tmp_path / "out"
    code, _, err = run("predict", recorded_scene, "-o", out, "--checkpoint", checkpoint, "--frames", 3)
    assert code == 0, err
    scene = load_scene(out / "scene.safetensors")
    assert scene.true_cameras is not None
    # The best Sim(3) leaves both sets with one mean centre.
    means = [cameras.centers.mean(0) for cameras in (scene.true_cameras, scene.cameras)]
    torch.testing.assert_close(means[0], means[1], atol=1e-4, rtol=1e-3)


def test_lvsm_takes_the_cameras_of_a_scene_file(run, tmp_path, recorded_scene, recordings):
    out = tmp_path / "out"
    pt, yaml = recordings / "lvsm_encdec_tiny.pt", recordings / "lvsm_encdec_tiny.yaml"
    words = ["--checkpoint", pt, "--config", yaml, "--frames", 3]
    code, _, err = run("predict", recorded_scene, "-o", out, *words)
    assert code == 0, err
    assert "given with the photos" in json.loads((out / "cameras.json").read_text())["note"]
    centers = load_scene(out / "scene.safetensors").cameras.centers
    assert centers.abs().max() == pytest.approx(1 / 1.35, abs=1e-5)


def test_lvsm_without_cameras_is_told_so(run, make_photos, tmp_path, recordings):
    pt, yaml = recordings / "lvsm_encdec_tiny.pt", recordings / "lvsm_encdec_tiny.yaml"
    code, _, err = run("predict", make_photos(6), "-o", tmp_path / "out", "--checkpoint", pt, "--config", yaml)
    assert code == 2
    assert_one_line(err, "known cameras")
    assert not (tmp_path / "out").exists()


def test_reference_checkpoint_of_another_aspect(run, make_photos, tmp_path, recordings):
    out = tmp_path / "out"
    pt, yaml = recordings / "rayzer_options.pt", recordings / "rayzer_options.yaml"
    code, _, err = run("predict", make_photos(9), "-o", out, "--checkpoint", pt, "--config", yaml, "--frames", 3)
    assert code == 0, err
    assert all(Image.open(picture).size == (40, 24) for picture in (out / "images").iterdir())


def test_size(run, make_photos, checkpoint, tmp_path):
    out = tmp_path / "out"
    code, _, err = run("predict", make_photos(8), "-o", out, "--checkpoint", checkpoint, "--size", 48, "--frames", 2)
    assert code == 0, err
    assert Image.open(out / "frames/00000.png").size == (48, 48)
    assert "trained at 32x32" in (out / "index.html").read_text()
    code, _, err = run("predict", tmp_path / "photos", "-o", tmp_path / "x", "--checkpoint", checkpoint, "--size", 50)
    assert code == 2
    assert_one_line(err, "--size 50")


def test_bfloat16_on_a_cpu(run, make_photos, checkpoint, tmp_path):
    out = tmp_path / "out"
    words = ["--dtype", "bfloat16", "--device", "cpu", "--frames", 2]
    code, _, err = run("predict", make_photos(8), "-o", out, "--checkpoint", checkpoint, *words)
    assert code == 0, err
    assert "bfloat16" in (out / "index.html").read_text()


def assert_one_line(err, *named):
    lines = [line for line in err.splitlines() if line.startswith("rayzer: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for word in named:
        assert word in lines[0]


def keep_only(folder, suffix):
    for file in folder.iterdir():
        if file.suffix in (".bin", ".txt") and file.suffix != suffix and file.name != "README.txt":
            file.unlink()

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from rayzer.data.formats import read_scene
from rayzer.data.images import fit_cover
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import ReadOptions
from rayzer.data.views import decode_views, evenly_spaced, fitted_cameras, load_images, load_views
from rayzer.errors import InputError
from rayzer.geometry.cameras import normalize_poses

RECORDINGS = Path(__file__).parents[1] / "recordings" / "dataset"
SIZE, PATCH = 32, 8


def scene_file(name):
    return RECORDINGS / "scenes" / name / "opencv_cameras.json"


def photos(folder, count, size=(40, 30)):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        Image.new("RGB", size, (10 * number, 0, 0)).save(folder / f"{number}.png")
    return folder


def scene_of(pixels, **camera):
    frame = Frame("a", pixels, pixels.shape[1], pixels.shape[0], **camera)
    return Scene("one", (frame,), Path("here"))


def reds(views):
    """What `photos` painted: the number of each picture."""
    return (views.images[:, 0].mean((-1, -2)) * 25.5).round().int().tolist()


@pytest.mark.parametrize("name", ["scene_a", "scene_e", "scene_f"])
def test_equal_to_the_recorded_loader(name):
    recorded = load_file(RECORDINGS / "expected.safetensors")
    views = load_views(scene_file(name), recorded[f"{name}.index"][:, 0].tolist(), SIZE, PATCH)
    assert torch.equal(views.images, recorded[f"{name}.image"])
    assert views.cameras is not None
    torch.testing.assert_close(views.cameras.intrinsics_px(SIZE, SIZE), recorded[f"{name}.fxfycxcy"], rtol=0, atol=1e-5)
    poses = normalize_poses(views.cameras.world_from_camera, 1.35)
    torch.testing.assert_close(poses, recorded[f"{name}.c2w"], rtol=0, atol=2e-6)


def test_order_repeats_and_kinds_of_indices():
    views = load_views(scene_file("scene_a"), torch.tensor([7, 0, 7]), SIZE, PATCH)
    assert views.names == ("frame_00007.png", "frame_00000.png", "frame_00007.png")
    alone = load_views(scene_file("scene_a"), np.array([0]), SIZE, PATCH)
    assert torch.equal(views.images[1], alone.images[0])
    assert torch.equal(views.images[0], views.images[2])
    assert not torch.equal(views.images[0], views.images[1])
    assert len(views) == 3
    assert views.times_s == (None, None, None)
    assert views.fits[0] == fit_cover(128, 72, SIZE, SIZE, PATCH)


def test_poses_are_as_stored():
    stored = json.loads(scene_file("scene_a").read_text())["frames"]
    views = load_views(scene_file("scene_a"), [3, 8], SIZE, PATCH)
    assert views.cameras is not None
    w2c = torch.tensor([stored[3]["w2c"], stored[8]["w2c"]])
    torch.testing.assert_close(views.cameras.camera_from_world, w2c, rtol=0, atol=1e-6)
    assert views.cameras.world_from_camera.dtype == views.images.dtype == torch.float32


@pytest.mark.parametrize("index", [-1, 10, 10**9])
def test_index_out_of_range_names_scene_and_frame(index):
    with pytest.raises(InputError) as caught:
        load_views(scene_file("scene_a"), [0, index], SIZE, PATCH)
    assert str(caught.value).startswith(f"{scene_file('scene_a')}: there is no frame {index};")
    assert "scene_a" in str(caught.value)


def test_no_index_and_no_whole_patches():
    with pytest.raises(ValueError):
        load_views(scene_file("scene_a"), [], SIZE, PATCH)
    with pytest.raises(ValueError):
        load_views(scene_file("scene_a"), [0], 30, 8)


def test_every_byte_is_divided_exactly():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    images = decode_views(scene_of(pixels), [0], 16, 16, 8).images
    expected = (pixels.astype(np.float64) / 255).astype(np.float32).transpose(2, 0, 1)
    np.testing.assert_array_equal(images[0].numpy(), expected)
    assert images.is_contiguous()


def test_targets_that_are_not_square():
    pixels = np.zeros((720, 1280, 3), np.uint8)
    camera = {"fxfycxcy_px": (1000.0, 1000.0, 640.0, 360.0), "world_from_camera": np.eye(4)}
    views = decode_views(scene_of(pixels, **camera), [0], 64, 32, 16)
    assert views.images.shape == (1, 3, 32, 64)
    assert views.cameras is not None
    # the height 36 is rounded to 32 whole pixels, so nothing is cropped and y is squeezed
    torch.testing.assert_close(views.cameras.intrinsics[0], torch.tensor([1000 / 1280, 1000 / 720, 0.5, 0.5]))


@pytest.mark.parametrize("known", [{"fxfycxcy_px": (9.0, 9.0, 8.0, 8.0)}, {"world_from_camera": np.eye(4)}, {}])
def test_half_known_cameras_are_not_known(known):
    assert decode_views(scene_of(np.zeros((16, 16, 3), np.uint8), **known), [0], 16, 16, 8).cameras is None


def test_wrong_size_in_the_scene_file_names_the_picture(tmp_path):
    photos(tmp_path, 2)
    frames = [{"file_path": "0.png", "w": 40, "h": 30}, {"file_path": "1.png", "w": 30, "h": 40}]
    path = tmp_path / "opencv_cameras.json"
    path.write_text(json.dumps({"frames": frames}))
    assert load_views(path, [0], SIZE, PATCH).cameras is None
    with pytest.raises(InputError, match=r"1\.png: the picture has 40x30 pixels, expected 30x40"):
        load_views(path, [1], SIZE, PATCH)


@pytest.mark.parametrize(
    ("count", "expected"), [(None, [0, 1, 2, 3, 4]), (3, [0, 2, 4]), (1, [0]), (7, [0, 0, 1, 2, 2, 3, 4])]
)
def test_load_images_of_a_folder(tmp_path, count, expected):
    views = load_images(photos(tmp_path / "photos", 5), count, SIZE, PATCH)
    assert reds(views) == expected
    assert views.cameras is None


def test_load_images_of_a_video(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(30):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert load_images(path, image_size=SIZE, patch_size=PATCH).images.shape == (24, 3, SIZE, SIZE)
    views = load_images(path, 3, SIZE, PATCH)
    assert views.times_s == pytest.approx((0.0, 1.4, 2.9), abs=1e-3)
    assert views.names == ("0.000s", "1.400s", "2.900s")


def test_load_images_of_one_photo_repeats_it(tmp_path):
    assert reds(load_images(photos(tmp_path / "photos", 1), 4, SIZE, PATCH)) == [0, 0, 0, 0]


def test_load_images_refuses_broken_photos_and_empty_folders(tmp_path):
    photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "9.jpg").write_bytes(b"text")
    with pytest.raises(InputError, match=r"9\.jpg: is not a picture"):
        load_images(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no photos"):
        load_images(tmp_path / "empty")


def test_a_photo_that_breaks_while_decoding_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = photos(tmp_path / "photos", 1) / "9.png"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"9\.png: is damaged"):
        load_images(tmp_path / "photos", None, SIZE, PATCH)


def test_read_scene_tells_what_it_is_given(tmp_path):
    assert read_scene(scene_file("scene_a")).name == "scene_a"
    assert len(read_scene(scene_file("scene_a").parent)) == 10
    assert read_scene(photos(tmp_path / "photos", 3)).name == "photos"
    (tmp_path / "notes.dat").write_text("x")
    with pytest.raises(InputError, match="neither a folder"):
        read_scene(tmp_path / "notes.dat")
    with pytest.raises(InputError, match="no such file or folder"):
        read_scene(tmp_path / "none")


def test_read_scene_passes_on_what_is_allowed(tmp_path):
    photos(tmp_path, 1)
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "opencv_cameras.json").write_text('{"frames": [{"file_path": "../0.png"}]}')
    with pytest.raises(InputError, match="--allow-outside"):
        read_scene(tmp_path / "scene")
    assert len(read_scene(tmp_path / "scene", ReadOptions(allow_outside=True))) == 1


@settings(deadline=None)
@given(st.integers(2, 300), st.integers(2, 300))
def test_evenly_spaced(count, available):
    indices = evenly_spaced(count, available)
    assert len(indices) == count
    assert indices == sorted(indices)
    assert (indices[0], indices[-1]) == (0, available - 1)
    if count <= available:
        steps = np.diff(indices)
        assert steps.min() >= 1
        assert steps.max() - steps.min() <= 1
    else:
        times = np.bincount(indices, minlength=available)
        assert times.max() - times.min() <= 1


def test_evenly_spaced_at_the_edges():
    assert evenly_spaced(1, 9) == [0]
    assert evenly_spaced(3, 1) == [0, 0, 0]
    for count, available in [(0, 5), (5, 0), (-1, 5)]:
        with pytest.raises(ValueError):
            evenly_spaced(count, available)


def test_cameras_of_pictures_of_several_sizes():
    """Bit for bit what each picture gives alone."""
    sizes = [(48, 36), (36, 48), (48, 36), (51, 33), (36, 48)]
    lenses = [(50.1 + k, 51.7, 24.3, 17.9 - k) for k in range(5)]
    frames = [Frame("", None, *size, lens, (), np.eye(4)) for size, lens in zip(sizes, lenses, strict=True)]
    fits = [fit_cover(*size, 32, 32, 8) for size in sizes]
    cameras = fitted_cameras(frames, fits)
    assert cameras is not None
    alone = [fit.intrinsics_to_fitted(lens) / 32 for fit, lens in zip(fits, lenses, strict=True)]
    assert torch.equal(cameras.intrinsics, torch.from_numpy(np.stack(alone)).float())
    frames[2] = Frame("", None, 48, 36, None, (), np.eye(4))
    assert fitted_cameras(frames, fits) is None

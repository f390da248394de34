"""Real photos and videos through the whole path: found, read, inspected, converted, packed, sampled."""

import numpy as np
import pytest
import torch

from rayzer.data.convert import WRITERS, ConvertRequest, convert
from rayzer.data.exchange import cameras_from_frames
from rayzer.data.formats import find_scenes, read_scene, recognise
from rayzer.data.images import Preprocessing
from rayzer.data.packing import PackRequest, pack
from rayzer.data.views import decode_frames
from rayzer.geometry.rays import pixel_rays

FORMATS = {
    "fox": "nerfstudio",
    "room": "photos",
    "example_0_dl3dv_000053": "photos",
    "vrnerf_apartment.mp4": "video",
    "skating.mp4": "video",
}


@pytest.mark.parametrize("name", FORMATS)
def test_from_what_a_user_has_to_a_packed_set(real_scene, tmp_path, name):
    source = real_scene(name)
    assert recognise(source).name == FORMATS[name]
    (converted,) = convert(source, tmp_path / "scene").scenes
    loose = read_scene(tmp_path / "scene")
    assert len(loose) == len(loose.present) == converted.pictures >= 5
    assert pack(tmp_path / "scene", tmp_path / "packed", PackRequest(Preprocessing(64, 16))).unreadable == ()
    (ref,) = find_scenes(tmp_path / "packed")
    packed = read_scene(ref)
    assert [frame.name for frame in packed.frames] == [frame.name for frame in loose.frames]
    some = slice(0, None, 7)
    ours, theirs = (decode_frames(scene.frames[some], Preprocessing(64, 16).fit)[0] for scene in (packed, loose))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("to", WRITERS)
def test_converting_the_fox_keeps_its_rays(real_scene, tmp_path, to):
    source = read_scene(real_scene("fox"))
    convert(real_scene("fox"), tmp_path / "out", ConvertRequest(to))
    again = read_scene(tmp_path / "out")
    before = [source.frames[index] for index in source.present]
    assert [frame.name for frame in again.frames] == [frame.name for frame in before]
    ours, theirs = (pixel_rays(cameras_from_frames(frames), 16, 9) for frames in (again.frames, before))
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine - expected).abs().max() < 1e-4
    assert torch.isfinite(ours[0]).all()

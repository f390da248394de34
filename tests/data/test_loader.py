"""Batches of samples that have cameras and of those that have none."""

import pytest
import torch

from rayzer.data.dataset import Sample
from rayzer.data.loader import collate, to_device
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras
from rayzer.view_split import ViewSplit


def sample_of(name, cameras=None, depth_m=None, views=3):
    split = ViewSplit(torch.tensor([[0, 2]]), torch.tensor([[1]]))
    images = torch.zeros(views, 3, 4, 4, dtype=torch.uint8)
    return Sample(images, torch.arange(views), split, name, cameras, depth_m)


def cameras_of(number, views=3):
    return Cameras(number * torch.eye(4).repeat(views, 1, 1), torch.full((views, 4), float(number)))


def test_without_cameras_there_are_none():
    assert collate([sample_of("a"), sample_of("b")]).cameras is None


def test_cameras_of_all_samples():
    cameras = collate([sample_of("a", cameras_of(1)), sample_of("b", cameras_of(2))]).cameras
    assert cameras.shape == (2, 3)
    for i in range(2):
        assert torch.equal(cameras.world_from_camera[i], cameras_of(i + 1).world_from_camera)
        assert torch.equal(cameras.intrinsics[i], cameras_of(i + 1).intrinsics)


@pytest.mark.parametrize("known", [(0,), (1,), (2,), (0, 2)], ids=str)
def test_cameras_that_are_not_known_are_not_numbers(known):
    samples = [sample_of(str(i), cameras_of(i + 1) if i in known else None) for i in range(3)]
    cameras = to_device(collate(samples), "cpu").cameras
    assert cameras.world_from_camera.shape == (3, 3, 4, 4)
    for i in range(3):
        if i in known:
            assert torch.equal(cameras.world_from_camera[i], cameras_of(i + 1).world_from_camera)
            assert torch.equal(cameras.intrinsics[i], cameras_of(i + 1).intrinsics)
        else:
            assert cameras.world_from_camera[i].isnan().all()
            assert cameras.intrinsics[i].isnan().all()


def test_depth_of_those_that_have_it():
    known = torch.rand(3, 2, 5)
    batch = to_device(collate([sample_of("a"), sample_of("b", cameras_of(1), known)]), "cpu")
    assert torch.equal(batch.depth_m[1], known)
    assert batch.depth_m[0].shape == known.shape
    assert batch.depth_m[0].isnan().all()
    assert collate([sample_of("a")]).depth_m is None
    assert torch.equal(batch.map(lambda value: value[1:]).depth_m, batch.depth_m[1:])


def test_depth_in_grids_of_different_sizes():
    error = collate([sample_of("a", depth_m=torch.ones(3, 2, 5)), sample_of("b", depth_m=torch.ones(3, 2, 4))])
    assert isinstance(error, InputError)
    assert "2x5 (a), 2x4 (b)" in str(error)

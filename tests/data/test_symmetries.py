"""Mirrored and turned samples: the pictures of mirrored and turned cameras."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from rayzer.data.dataset import Draw, Sample
from rayzer.data.symmetries import SymmetricSamples, moved
from rayzer.geometry.cameras import Cameras, normalize_poses, rigid
from rayzer.geometry.rays import project, unproject
from rayzer.geometry.rotations import rotation_from_6d
from rayzer.view_split import ViewSplit

ALL = [(mirrored, quarters) for mirrored in (False, True) for quarters in range(4)]


def random_sample(height=6, width=6, views=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    near_eye = torch.eye(3).reshape(9)[:6] + 0.2 * torch.randn(views, 6, generator=generator)
    pose = rigid(rotation_from_6d(near_eye), 0.3 * torch.randn(views, 3, generator=generator))
    intrinsics = torch.tensor([1.1, 1.3, 0.45, 0.6]).expand(views, 4)
    images = torch.randint(256, (views, 3, height, width), dtype=torch.uint8, generator=generator)
    split = ViewSplit(torch.tensor([[0, 2]]), torch.tensor([[1]]))
    return Sample(images, torch.arange(views), split, "a", Cameras(pose.to(dtype), intrinsics.to(dtype)))


def painted(cameras, points, size=64):
    """Pictures [v, 3, size, size] in which each point colours the pixel in which it is seen."""
    images = torch.zeros(len(cameras), 3, size, size, dtype=torch.uint8)
    for view, camera in enumerate(cameras):
        x, y, _ = project(camera, points).unbind(-1)
        for number, (column, row) in enumerate(zip((x * size).long(), (y * size).long(), strict=True)):
            images[view, :, row, column] = number + 1
    return images


@pytest.mark.parametrize(("mirrored", "quarters"), ALL)
def test_the_moved_cameras_see_the_moved_world_as_the_moved_pictures_show_it(mirrored, quarters):
    sample = random_sample()
    points = torch.rand(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    points[:, 2] += 5
    before = Sample(painted(sample.cameras, points), sample.frames, sample.split, "a", sample.cameras)
    after = moved(before, mirrored, quarters)
    if mirrored:
        points = points * torch.tensor([-1, 1, 1])
    for _ in range(quarters):
        x, y, z = points.unbind(-1)
        points = torch.stack([y, -x, z], -1)
    assert torch.equal(after.images, painted(after.cameras, points))


@pytest.mark.parametrize(("mirrored", "quarters"), ALL)
def test_depth_moves_with_the_pictures(mirrored, quarters):
    """What it shows is where the moved world has it."""
    sample = random_sample()
    depth_m = 1 + torch.rand(3, 4, 4, dtype=torch.float64)
    after = moved(replace(sample, depth_m=depth_m), mirrored, quarters)
    points = unproject(sample.cameras, depth_m)
    if mirrored:
        points = points.flip(2) * torch.tensor([-1, 1, 1])
    for _ in range(quarters):
        x, y, z = torch.rot90(points, 1, (1, 2)).unbind(-1)
        points = torch.stack([y, -x, z], -1)
    assert_close(unproject(after.cameras, after.depth_m), points)


def test_eight_different_pictures_and_the_first_is_the_sample_itself():
    sample = random_sample()
    all_of_them = [moved(sample, *symmetry) for symmetry in ALL]
    assert torch.equal(all_of_them[0].images, sample.images)
    assert torch.equal(all_of_them[0].cameras.world_from_camera, sample.cameras.world_from_camera)
    assert len({each.images.contiguous().numpy().tobytes() for each in all_of_them}) == 8


@pytest.mark.parametrize(("mirrored", "quarters"), ALL)
def test_poses_stay_rigid_and_normalised_ones_normalised(mirrored, quarters):
    sample = random_sample()
    normalised = Cameras(normalize_poses(sample.cameras.world_from_camera), sample.cameras.intrinsics)
    found = moved(Sample(sample.images, sample.frames, sample.split, "a", normalised), mirrored, quarters).cameras
    assert_close(torch.linalg.det(found.rotations), torch.ones(3, dtype=torch.float64))
    if quarters % 2 == 0:
        assert_close(normalize_poses(found.world_from_camera), found.world_from_camera)


class Same:
    """The same sample for every draw."""

    def __init__(self, sample):
        self.made = sample

    def sample(self, draw):
        return self.made


def drawn(source, count):
    return [source.sample(Draw(0, number // 8, number % 8, number, (2, 1))) for number in range(count)]


def test_all_symmetries_are_drawn_equally_often_and_repeat():
    source = SymmetricSamples(Same(random_sample()))
    found = [each.images.contiguous().numpy().tobytes() for each in drawn(source, 800)]
    counts = [found.count(kind) for kind in set(found)]
    assert len(counts) == 8
    assert min(counts) > 60
    assert found == [each.images.contiguous().numpy().tobytes() for each in drawn(source, 800)]


def test_other_pictures_keep_their_shape_and_no_cameras_are_needed():
    sample = random_sample(4, 6)
    sample = Sample(sample.images, sample.frames, sample.split, "a")
    found = drawn(SymmetricSamples(Same(sample)), 100)
    square = drawn(SymmetricSamples(Same(random_sample()), halves_only=True), 100)
    assert len({each.images.contiguous().numpy().tobytes() for each in square}) == 4
    assert {each.images.shape[-2:] for each in found} == {(4, 6)}
    assert len({each.images.contiguous().numpy().tobytes() for each in found}) == 4
    assert all(each.cameras is None for each in found)
    assert all(each.images.is_contiguous(memory_format=torch.channels_last) for each in found)

"""Controls on sequences small enough to see the answer."""

import pytest
import torch
from torch.testing import assert_close

from rayzer.evaluation import controls
from rayzer.evaluation.no_leak import between_neighbours, slerp, without_targets
from rayzer.geometry.cameras import Cameras, rigid
from rayzer.geometry.rotations import quaternion_from_rotation, rotation_angle, rotation_from_vector

FRAMES = torch.tensor([[0, 3, 4, 10, 11]])


@pytest.fixture
def images():
    """Pictures [1, 5, 3, 2, 2] whose every pixel is the number of the view."""
    return torch.arange(5.0)[None, :, None, None, None].expand(1, 5, 3, 2, 2)


def numbers(pictures):
    return pictures[..., 0, 0, 0].tolist()


def test_copy_nearest_counts_frames_not_places(images, split):
    assert numbers(controls.copy_nearest(images, FRAMES, split([[0, 1, 3]], [[2, 4]]))) == [[1, 3]]


@pytest.mark.parametrize("context", [[[0, 2]], [[2, 0]]])
def test_ties_go_to_the_earlier(images, split, context):
    assert numbers(controls.copy_nearest(images, torch.arange(5)[None], split(context, [[1]]))) == [[0]]


def test_blend_is_the_mean_of_both_neighbours_and_one_at_the_ends(images, split):
    found = controls.blend_two(images, FRAMES, split([[3, 1]], [[0, 2, 4]]))  # any order of the context
    assert numbers(found) == [[1, 2, 3]]


def test_a_target_that_is_context_is_that_picture(images, split):
    frames = torch.tensor([[0, 4, 4, 8, 9]])
    both = split([[0, 1, 3]], [[2]])
    assert numbers(controls.blend_two(images, frames, both)) == [[1]]
    assert numbers(controls.copy_nearest(images, frames, both)) == [[1]]


def test_each_sample_has_its_own_split(images, split):
    two = images.expand(2, -1, -1, -1, -1)
    found = controls.copy_nearest(two, FRAMES.expand(2, -1), split([[0, 1], [3, 4]], [[2], [2]]))
    assert numbers(found) == [[1], [3]]


def test_reordered_names_the_same_pictures(images, split):
    order = torch.tensor([4, 2, 0, 1, 3])
    changed, places = controls.reordered(images, split([[0, 4]], [[2, 1]]), order)
    assert numbers(changed) == [[4, 2, 0, 1, 3]]
    assert numbers(places.context_of(changed)) == [[0, 4]]
    assert numbers(places.target_of(changed)) == [[2, 1]]


@pytest.mark.parametrize("views", [2, 3, 12, 24])
def test_shuffled_is_a_permutation_and_always_the_same(views):
    order = controls.shuffled(views)
    assert sorted(order.tolist()) == list(range(views)) != order.tolist()
    assert order.equal(controls.shuffled(views))


def cameras_at(*places):
    """[1, n] cameras on the x axis that turn by as many radians about y as they are far."""
    x = torch.tensor(places)
    zero = torch.zeros_like(x)
    rotations = rotation_from_vector(torch.stack([zero, x, zero], -1))
    focal = torch.stack([1 + x, 1 + x, zero + 0.5, zero + 0.5], -1)
    return Cameras(rigid(rotations, torch.stack([x, zero, zero], -1)), focal).map(lambda value: value[None])


def test_middle_camera_is_one_camera_of_the_context(split):
    found = controls.middle_camera(cameras_at(0.0, 0.1, 0.2, 0.3, 0.4), FRAMES, split([[4, 0, 1]], [[2, 3]]))
    assert_close(found.centers[0, :, 0], torch.tensor([0.1, 0.1]))


def test_targets_are_replaced_by_the_context_view_before_them(images, split):
    assert numbers(without_targets(images, FRAMES, split([[1, 3]], [[0, 2, 4]]))) == [[1, 1, 1, 3, 3]]


def test_no_pixel_of_a_target_is_left(images, split):
    spoiled = images.clone()
    spoiled[:, [2, 4]] = float("nan")
    assert without_targets(spoiled, FRAMES, split([[0, 1, 3]], [[2, 4]])).isfinite().all()


def test_cameras_between_neighbours_follow_frame_numbers(split):
    cameras = cameras_at(0.0, 0.3, 99.0, 1.0, 99.0)  # frames 0, 3, 4, 10, 11; targets must not count
    found = between_neighbours(cameras, FRAMES, split([[0, 1, 3]], [[2, 4]]))
    assert_close(found.centers[0, :, 0], torch.tensor([0.4, 1.0]))
    assert_close(found.intrinsics[0, :, 0], torch.tensor([1.4, 2.0]))
    expected = cameras_at(0.4, 1.0)
    assert rotation_angle(found.rotations @ expected.rotations.mT).max() < 1e-5


def test_slerp_takes_the_short_way_at_constant_speed():
    turns = torch.tensor([[0.0, 0, 0], [0, 2.5, 0]])
    start, end = quaternion_from_rotation(rotation_from_vector(turns))
    share = torch.linspace(0, 1, 6)[:, None]
    for sign in (1, -1):
        found = slerp(start.expand(6, 4), sign * end.expand(6, 4), share)
        assert_close(found.norm(dim=-1), torch.ones(6))
        assert_close(2 * torch.acos((found * start).sum(-1).abs().clamp(max=1)), 2.5 * share[:, 0], atol=2e-3, rtol=0)


def test_slerp_of_equal_rotations():
    one = torch.tensor([1.0, 0, 0, 0])
    assert_close(slerp(one, one, torch.tensor([0.3])), one)
    assert_close(slerp(one, -one, torch.tensor([0.3])).abs(), one)

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rayzer.geometry import Cameras, Similarity, align_cameras, align_points, relative_pose_errors, rigid

fast = settings(max_examples=12, deadline=None, derandomize=True)
batch = pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
seeds = st.integers(0, 2**31)
scales = st.floats(1e-3, 1e3)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


FLATTEN = {"in space": (1.0, 1.0, 1.0), "in a plane": (1.0, 1.0, 0.0), "nearly in a plane": (1.0, 1.0, 1e-9)}


def random_points(*shape, seed=0):
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def random_similarity(random_rotations):
    def make(*shape, seed=0, scale=2.0):
        factors = scale * (1 + torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
        return Similarity(factors, random_rotations(*shape, seed=seed), random_points(*shape, seed=seed + 1))

    return make


def assert_same(found, true, tolerance=1e-9):
    assert_close(found.scale, true.scale)
    assert_close(found.rotation, true.rotation, atol=tolerance, rtol=0)
    assert_close(found.translation, true.translation)


# Similarity


def test_a_similarity_scales_then_turns_then_moves():
    quarter_about_z = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    similarity = Similarity(torch.tensor(2.0), quarter_about_z, torch.tensor([0.0, 0, 5]))
    assert similarity.points(torch.tensor([[1.0, 0, 0]])).tolist() == [[0, 2, 5]]


@batch
def test_cameras_move_like_points_and_their_axes_turn(random_similarity, random_cameras, shape):
    similarity, cameras = random_similarity(*shape), random_cameras(*shape, 4)
    moved = similarity.cameras(cameras)
    ahead = cameras.centers + cameras.rotations[..., 2]
    expected = torch.nn.functional.normalize(similarity.points(ahead) - similarity.points(cameras.centers), dim=-1)
    assert_close(moved.centers, similarity.points(cameras.centers))
    assert_close(moved.rotations[..., 2], expected)
    assert_close(moved.rotations.mT @ moved.rotations, torch.eye(3).double().expand(*shape, 4, 3, 3))
    assert torch.equal(moved.intrinsics, cameras.intrinsics)


def test_cameras_are_not_changed_in_place(random_similarity, random_cameras):
    cameras = random_cameras(4)
    before = cameras.world_from_camera.clone()
    random_similarity().cameras(cameras)
    assert torch.equal(cameras.world_from_camera, before)


# align_points


@batch
@pytest.mark.parametrize("kind", FLATTEN)
def test_alignment_recovers_the_transform(random_similarity, shape, kind):
    true, source = random_similarity(*shape), random_points(*shape, 7) * torch.tensor(FLATTEN[kind])
    found = align_points(source, true.points(source))
    assert found.scale.shape == shape
    assert_same(found, true)


@given(seed=seeds, scale=scales, kind=st.sampled_from(sorted(FLATTEN)))
@fast
def test_alignment_recovers_any_transform(random_similarity, seed, scale, kind):
    true, source = random_similarity(seed=seed, scale=scale), random_points(5, seed=seed + 2)
    source = source * torch.tensor(FLATTEN[kind])
    assert_same(align_points(source, true.points(source)), true)


@given(seed=seeds)
@fast
def test_points_on_a_line_are_carried_onto_each_other_by_a_rotation(random_similarity, seed):
    true, steps = random_similarity(seed=seed), random_points(6, seed=seed)[:, :1]
    source = random_points(seed=seed + 3) + steps * random_points(seed=seed + 4)
    found = align_points(source, true.points(source))
    assert_close(found.points(source), true.points(source))
    assert_close(found.scale, true.scale)
    assert_close(torch.linalg.det(found.rotation), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("kind", FLATTEN)
@dtypes
def test_equal_points_give_the_identity(kind, dtype):
    points = (random_points(6) * torch.tensor(FLATTEN[kind])).to(dtype)
    found = align_points(points, points)
    identity = Similarity(torch.ones((), dtype=dtype), torch.eye(3, dtype=dtype), torch.zeros(3, dtype=dtype))
    tiny = 1e-6 if dtype == torch.float32 else 1e-12
    for name in ("scale", "rotation", "translation"):
        assert_close(getattr(found, name), getattr(identity, name), atol=tiny, rtol=0)


@given(seed=seeds)
@fast
def test_a_mirrored_set_is_never_matched_by_a_reflection(random_rotations, seed):
    source = random_points(8, seed=seed)
    mirror = random_rotations(seed=seed) @ torch.diag(double([1.0, 1.0, -1.0]))
    found = align_points(source, source @ mirror.T)
    assert_close(torch.linalg.det(found.rotation), torch.ones((), dtype=torch.float64))
    assert_close(found.rotation @ found.rotation.T, torch.eye(3, dtype=torch.float64))
    assert found.scale > 0


@given(seed=seeds)
@fast
def test_nothing_near_the_alignment_is_better(random_rotations, seed):
    source, target = random_points(2, 6, seed=seed)  # unrelated points: a mirror image would often fit better
    best = align_points(source, target)

    def error(similarity):
        return (similarity.points(source) - target).square().sum()

    for trial in range(6):
        nudge = 1e-3 * random_points(3, seed=seed + trial)
        turn = torch.matrix_exp(nudge - nudge.T)
        shift = 1e-3 * random_points(seed=seed - trial - 1 & 0xFFFF)
        near = Similarity(best.scale * (1 + nudge[0, 0]), turn @ best.rotation, best.translation + shift)
        assert error(best) < error(near)
    for trial in range(6):
        far = random_rotations(seed=trial)
        centred = [points - points.mean(0) for points in (source, target)]
        assert (centred[1] * (centred[0] @ best.rotation.T)).sum() >= (centred[1] * (centred[0] @ far.T)).sum()


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.0), (0.1, 0.7, -0.3), (100.1, -33.3, 7.7)])
@dtypes
def test_coinciding_source_points_keep_the_scale_at_one(place, dtype):
    source = torch.tensor(place, dtype=dtype).expand(7, 3)
    target = random_points(7).to(dtype)
    found = align_points(source, target)
    assert found.scale == 1
    assert_close(found.points(source), target.mean(0).expand(7, 3), atol=1e-4, rtol=0)


def test_a_very_small_source_is_not_taken_for_a_point(random_similarity):
    true, source = random_similarity(), 1e-9 * random_points(5)
    assert_close(align_points(source, true.points(source)).scale, true.scale, rtol=1e-4, atol=0)


def test_align_cameras_uses_the_centres(random_similarity, random_cameras):
    true, cameras = random_similarity(2), random_cameras(2, 6)
    assert_same(align_cameras(cameras, true.cameras(cameras)), true)


# relative_pose_errors


def slow_errors(predicted, true):
    """The definition, pair by pair."""
    rotation_errors, translation_errors = [], []
    for i in range(len(true)):
        for j in range(i + 1, len(true)):
            a, b = (
                torch.linalg.inv(cameras.world_from_camera[i]) @ cameras.world_from_camera[j]
                for cameras in (predicted, true)
            )
            cosine = ((a[:3, :3] @ b[:3, :3].T).trace() - 1) / 2
            rotation_errors.append(math.degrees(math.acos(cosine.clamp(-1, 1))))
            cosine = (a[:3, 3] @ b[:3, 3]).abs() / (a[:3, 3].norm() * b[:3, 3].norm())
            translation_errors.append(math.degrees(math.acos(cosine.clamp(-1, 1))))
    return torch.tensor([rotation_errors, translation_errors], dtype=torch.float64)


@given(seed=seeds)
@fast
def test_errors_are_the_slow_twin(random_cameras, seed):
    predicted, true = random_cameras(4, seed=seed), random_cameras(4, seed=seed + 9)
    errors = torch.stack(relative_pose_errors(predicted, true))
    assert_close(errors, slow_errors(predicted, true), atol=1e-5, rtol=0)


def test_errors_by_hand():
    """Camera 0 at the origin, 1 a step to the right, 2 a step ahead; camera 1 is predicted 30 degrees off both ways."""
    true = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    true[1, :3, 3], true[2, :3, 3] = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, 1])
    predicted = true.clone()
    sine, cosine = 0.5, math.sqrt(0.75)
    predicted[1, :3, :3] = double([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    predicted[1, :3, 3] = double([cosine, sine, 0])
    intrinsics = torch.ones(3, 4, dtype=torch.float64)
    rotation, translation = relative_pose_errors(Cameras(predicted, intrinsics), Cameras(true, intrinsics))
    assert_close(rotation, double([30.0, 0, 30.0]))  # pairs 01, 02, 12
    # Pair 12: camera 2 from camera 1 is (-1, 0, 1) and, predicted and turned back by 30 degrees, the same.
    assert_close(translation, double([30.0, 0, 0]), atol=1e-9, rtol=0)


def test_opposite_directions_count_as_equal():
    true = torch.eye(4).repeat(2, 1, 1)
    true[1, :3, 3] = torch.tensor([1.0, 2, 3])
    predicted = true.clone()
    predicted[1, :3, 3] *= -5
    assert relative_pose_errors(Cameras(predicted, torch.ones(2, 4)), Cameras(true, torch.ones(2, 4)))[1] == 0


@given(seed=seeds)
@fast
def test_errors_stay_in_their_range(random_cameras, seed):
    rotation, translation = relative_pose_errors(random_cameras(6, seed=seed), random_cameras(6, seed=seed + 9))
    assert rotation.min() >= 0
    assert rotation.max() <= 180
    assert translation.min() >= 0
    assert translation.max() <= 90


@batch
@dtypes
def test_equal_cameras_have_no_error(random_cameras, shape, dtype):
    cameras = random_cameras(*shape, 5, dtype=dtype)
    for errors in relative_pose_errors(cameras, cameras):
        assert errors.shape == (*shape, 10)
        assert_close(errors, torch.zeros_like(errors), atol=1e-4 if dtype == torch.float32 else 1e-12, rtol=0)


@given(seed=seeds, scale=scales)
@fast
def test_errors_do_not_see_a_similarity_of_the_predicted_cameras(random_cameras, random_similarity, seed, scale):
    predicted, true = random_cameras(5, seed=seed), random_cameras(5, seed=seed + 9)
    moved = random_similarity(seed=seed, scale=scale).cameras(predicted)
    for found, expected in zip(relative_pose_errors(moved, true), relative_pose_errors(predicted, true), strict=True):
        assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_rotation_error_near_180_degrees_is_seen(random_cameras):
    true = random_cameras(2)
    flip = torch.diag(double([-1.0, -1.0, 1.0, 1.0]))
    predicted = Cameras(torch.stack([true.world_from_camera[0], true.world_from_camera[1] @ flip]), true.intrinsics)
    rotation, translation = relative_pose_errors(predicted, true)
    assert_close(rotation, double([180.0]))
    assert_close(translation, torch.zeros(1).double(), atol=1e-9, rtol=0)


@dtypes
def test_a_true_pair_in_one_point_has_no_translation_error(random_cameras, random_rotations, dtype):
    true = random_cameras(4, seed=3)
    centers = true.centers.clone()
    centers[2] = centers[0]
    true = Cameras(rigid(true.rotations, centers), true.intrinsics).to(dtype)
    rotation, translation = relative_pose_errors(random_cameras(4, dtype=dtype), true)
    shared = torch.tensor([False, True, False, False, False, False])  # pairs 01 02 03 12 13 23
    assert torch.equal(translation.isnan(), shared)
    assert rotation.isfinite().all()


@dtypes
def test_true_pairs_in_one_point_are_found_when_the_data_stores_extrinsics(random_rotations, dtype):
    """Centres that come out of `inv(w2c)` are equal up to rounding only."""
    rotations, center = random_rotations(6, seed=4, dtype=dtype), torch.tensor([3.1, -2.3, 0.7], dtype=dtype)
    w2c = rigid(rotations, -(rotations @ center))
    true = Cameras(torch.linalg.inv(w2c), torch.ones(6, 4, dtype=dtype))
    predicted = Cameras(rigid(rotations, random_points(6).to(dtype)), true.intrinsics)
    assert relative_pose_errors(predicted, true)[1].isnan().all()


def test_a_prediction_that_puts_all_cameras_in_one_point_has_the_largest_error(random_cameras):
    true = random_cameras(4)
    for center in (torch.zeros(3), torch.tensor([0.1, 0.7, -0.3])):
        collapsed = Cameras(rigid(true.rotations, center.double().expand(4, 3)), true.intrinsics)
        assert_close(relative_pose_errors(collapsed, true)[1], torch.full((6,), 90.0).double())


def test_one_camera_has_no_pairs(random_cameras):
    rotation, translation = relative_pose_errors(random_cameras(2, 1), random_cameras(2, 1))
    assert rotation.shape == translation.shape == (2, 0)

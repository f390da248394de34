import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rayzer.geometry import Cameras, invert_rigid, normalize_poses, rigid

fast = settings(max_examples=12, deadline=None, derandomize=True)
batch = pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
seeds = st.integers(0, 2**31)


def numbered(*shape):
    """Cameras whose tensors hold every number once: any slip of indices shows."""
    count = int(torch.Size(shape).numel())
    return Cameras(torch.arange(16.0 * count).view(*shape, 4, 4), torch.arange(4.0 * count).view(*shape, 4))


# Construction


@batch
def test_shape_is_the_leading_shape(random_cameras, shape):
    cameras = random_cameras(*shape)
    assert cameras.shape == shape
    assert cameras.rotations.shape == (*shape, 3, 3)
    assert cameras.centers.shape == (*shape, 3)
    assert cameras.camera_from_world.shape == (*shape, 4, 4)


@pytest.mark.parametrize(
    ("pose", "intrinsics"), [((3, 4), (4,)), ((4, 4), (3,)), ((2, 4, 4), (3, 4)), ((2, 4, 4), (4,))]
)
def test_shapes_that_do_not_agree_are_refused_and_named(pose, intrinsics):
    with pytest.raises(ValueError, match="one batch shape") as error:
        Cameras(torch.zeros(pose), torch.zeros(intrinsics))
    assert str(list(pose)) in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_half_precision_and_integers_are_refused(dtype):
    with pytest.raises(ValueError, match="world_from_camera"):
        Cameras(torch.eye(4, dtype=dtype), torch.ones(4))
    with pytest.raises(ValueError, match="intrinsics"):
        Cameras(torch.eye(4), torch.ones(4, dtype=dtype))
    with pytest.raises(ValueError, match="half precision"):
        Cameras(torch.eye(4), torch.ones(4)).to(torch.bfloat16)


def test_len_is_the_first_leading_size():
    assert len(numbered(3, 2)) == 3


def test_cameras_can_be_iterated_over():
    assert [camera.shape for camera in numbered(3, 2)] == [(2,)] * 3


# Indexing


@pytest.mark.parametrize("size", [2, 4, 5])  # 4 views: a slip into the 4 x 4 of the pose would go unnoticed
@pytest.mark.parametrize(
    "index",
    [
        0,
        (1, 1),
        slice(0, 1),
        (slice(None), 1),
        (slice(None), slice(0, 2)),
        (..., 1),
        ...,
        (..., slice(1, None)),
        (0, ...),
        (slice(None), None),
        (..., None),
        torch.tensor([1, 0, 1]),
        [1, 0],
        (slice(None), torch.tensor([1, 0])),
        (torch.tensor([[0], [1]]), torch.tensor([[1, 0]])),
        torch.tensor([True, False]),
    ],
)
def test_an_index_selects_cameras_like_elements_of_a_tensor(size, index):
    cameras = numbered(2, size)
    element = torch.arange(2 * size).view(2, size)[index]
    picked = cameras[index]
    assert picked.shape == element.shape
    assert torch.equal(picked.intrinsics, numbered(2 * size).intrinsics[element])
    assert torch.equal(picked.world_from_camera, numbered(2 * size).world_from_camera[element])


@pytest.mark.parametrize("index", [(0, 0, 0), (slice(None), slice(None), 0), (..., 0, 0, 0), 2])
def test_an_index_that_does_not_fit_is_refused(index):
    with pytest.raises(IndexError):
        numbered(2, 4)[index]


def test_cat_joins_along_any_leading_dimension():
    cameras = numbered(2, 3)
    assert torch.equal(Cameras.cat([cameras[:1], cameras[1:]]).world_from_camera, cameras.world_from_camera)
    joined = Cameras.cat([cameras[:, :1], cameras[:, 1:]], dim=1)
    assert torch.equal(joined.world_from_camera, cameras.world_from_camera)
    assert torch.equal(joined.intrinsics, cameras.intrinsics)


def test_to_and_detach_treat_both_tensors():
    cameras = Cameras(torch.eye(4).requires_grad_(), torch.ones(4).requires_grad_())
    assert not cameras.detach().world_from_camera.requires_grad
    assert not cameras.detach().intrinsics.requires_grad
    doubled = cameras.to(torch.float64)
    assert doubled.world_from_camera.dtype == doubled.intrinsics.dtype == torch.float64


# Intrinsics


def test_intrinsics_are_fractions_of_width_and_height():
    cameras = Cameras.from_pixels(torch.eye(4), torch.tensor([320.0, 480.0, 300.0, 250.0]), width_px=640, height_px=480)
    assert_close(cameras.intrinsics, torch.tensor([0.5, 1.0, 300 / 640, 250 / 480]))
    assert_close(cameras.intrinsics_px(128, 96), torch.tensor([64.0, 96.0, 60.0, 50.0]))


@given(seeds, st.integers(1, 4000), st.integers(1, 4000))
@fast
def test_pixels_round_trip(random_cameras, seed, width, height):
    cameras = random_cameras(2, 3, seed=seed)
    back = Cameras.from_pixels(cameras.world_from_camera, cameras.intrinsics_px(width, height), width, height)
    assert_close(back.intrinsics, cameras.intrinsics)


def test_crop_by_hand():
    cameras = Cameras(torch.eye(4), torch.tensor([1.0, 2.0, 0.5, 0.5]))
    assert_close(cameras.cropped(0.25, 0.0, 0.5, 0.8).intrinsics, torch.tensor([2.0, 2.5, 0.5, 0.625]))


# Poses


@batch
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rigid_inverse_is_the_matrix_inverse(random_poses, shape, dtype):
    pose = random_poses(*shape, dtype=dtype)
    tiny = 1e-5 if dtype == torch.float32 else 1e-12
    assert_close(invert_rigid(pose), torch.linalg.inv(pose), atol=tiny, rtol=0)
    assert_close(invert_rigid(invert_rigid(pose)), pose, atol=tiny, rtol=0)
    assert_close(invert_rigid(pose) @ pose, torch.eye(4, dtype=dtype).expand_as(pose), atol=tiny, rtol=0)


@batch
def test_rigid_puts_rotation_and_translation_in_place(random_poses, shape):
    pose = random_poses(*shape)
    assert torch.equal(rigid(pose[..., :3, :3], pose[..., :3, 3]), pose)


def test_extrinsics_map_the_centre_to_zero_and_the_view_axis_to_z(random_cameras):
    cameras = random_cameras(5)
    ahead = cameras.centers + 2 * cameras.rotations[..., 2]
    local = [
        (cameras.camera_from_world @ rigid(torch.eye(3).double().expand(5, 3, 3), p))[..., :3, 3]
        for p in (cameras.centers, ahead)
    ]
    assert_close(local[0], torch.zeros(5, 3, dtype=torch.float64), atol=1e-12, rtol=0)
    assert_close(local[1], torch.tensor([0.0, 0.0, 2.0]).double().expand(5, 3))


@given(seeds)
@fast
def test_transforms_compose_and_undo(random_cameras, random_poses, seed):
    cameras, a, b = random_cameras(2, 3, seed=seed), random_poses(seed=seed + 1), random_poses(seed=seed + 2)
    assert_close(cameras.transformed(a).transformed(b).world_from_camera, cameras.transformed(b @ a).world_from_camera)
    assert_close(cameras.transformed(a).transformed(invert_rigid(a)).world_from_camera, cameras.world_from_camera)


def test_a_transform_for_every_camera(random_cameras, random_poses):
    cameras = random_cameras(2, 3)
    to_own_frame = cameras.transformed(cameras.camera_from_world).world_from_camera
    assert_close(to_own_frame, torch.eye(4).double().expand(2, 3, 4, 4))
    assert cameras.transformed(random_poses(2, 1)).shape == (2, 3)


def test_scaled_moves_centres_only_and_changes_nothing_in_place(random_cameras):
    cameras = random_cameras(2, 3)
    before = cameras.centers.clone()
    larger = cameras.scaled(2.5)
    assert_close(larger.centers, 2.5 * before)
    assert torch.equal(cameras.centers, before)
    assert torch.equal(larger.rotations, cameras.rotations)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_scaled_by_one_factor_per_camera(random_cameras, shape):  # 3 cameras: not a factor per axis
    cameras, factors = random_cameras(2, 3), torch.arange(1.0, 7.0, dtype=torch.float64)[: torch.Size(shape).numel()]
    larger = cameras.scaled(factors.view(shape))
    assert_close(larger.centers, cameras.centers * factors.view(shape)[..., None])


# normalize_poses


def mean_camera(poses):
    """The slow twin of the mean camera: its definition, word by word, in plain numbers."""

    def cross(a, b):
        return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]

    def unit(a):
        length = sum(value * value for value in a) ** 0.5
        return [value / length for value in a]

    mean = [[sum(pose[i][j] for pose in poses) / len(poses) for i in range(3)] for j in range(4)]  # columns
    z = unit(mean[2])
    x = unit(cross(mean[1], z))
    y = unit(cross(z, x))
    return torch.tensor([[x[i], y[i], z[i], mean[3][i]] for i in range(3)] + [[0, 0, 0, 1]], dtype=torch.float64)


def scattered(random_poses, *shape, seed=0):
    """Poses that look roughly one way, as those of a sample do."""
    poses = random_poses(*shape, seed=seed)
    small = 0.2 * poses[..., :3, :3] + torch.eye(3, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(small)
    return rigid(u @ vh, poses[..., :3, 3])


def test_normalise_by_hand():
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[:, :3, 3] = torch.tensor([[1.0, 10, 0], [3, 10, 0], [2, 10, 0.5]])  # mean (2, 10, 1/6), extent 1
    expected = torch.tensor([[-1.0, 0, -1 / 6], [1, 0, -1 / 6], [0, 0, 1 / 3]]) / 1.35
    assert_close(normalize_poses(poses)[:, :3, 3], expected)
    assert_close(normalize_poses(poses)[:, :3, :3], poses[:, :3, :3])
    assert_close(normalize_poses(poses, scale=2.0)[:, :3, 3], expected * 1.35 / 2)


def test_normalise_two_cameras_turned_towards_each_other():
    half = 0.5**0.5
    left = [[half, 0, half, -1], [0, 1, 0, 0], [-half, 0, half, 5], [0, 0, 0, 1]]  # looks right by 45 degrees
    right = [[half, 0, -half, 1], [0, 1, 0, 0], [half, 0, half, 5], [0, 0, 0, 1]]
    result = normalize_poses(torch.tensor([left, right]))
    assert_close(result[:, :3, 3], torch.tensor([[-1.0, 0, 0], [1, 0, 0]]) / 1.35)
    assert_close(result[:, :3, :3], torch.tensor([left, right])[:, :3, :3])


@given(seeds)
@fast
def test_the_mean_camera_becomes_the_identity_and_the_extent_is_fixed(random_poses, seed):
    result = normalize_poses(scattered(random_poses, 6, seed=seed))
    assert_close(mean_camera(result.tolist()), torch.eye(4, dtype=torch.float64), atol=1e-12, rtol=0)
    assert_close(result[:, :3, 3].abs().max().item(), 1 / 1.35)
    assert_close(normalize_poses(result), result, atol=1e-12, rtol=0)


@given(seeds)
@fast
def test_normalise_is_the_slow_twin(random_poses, seed):
    poses = scattered(random_poses, 5, seed=seed)
    slow = torch.linalg.inv(mean_camera(poses.tolist())) @ poses
    slow[:, :3, 3] /= 1.35 * slow[:, :3, 3].abs().max()
    assert_close(normalize_poses(poses), slow)


@given(seeds, st.floats(1e-3, 1e3))
@fast
def test_normalise_forgets_the_world_frame_and_its_scale(random_poses, seed, factor):
    poses, motion = scattered(random_poses, 2, 5, seed=seed), random_poses(seed=seed + 7)
    moved = motion @ poses
    moved[..., :3, 3] *= factor
    assert_close(normalize_poses(moved), normalize_poses(poses), atol=1e-10, rtol=0)


def test_normalise_treats_each_sample_alone(random_poses):
    poses = scattered(random_poses, 2, 3, 4)
    result = normalize_poses(poses)
    for i in range(2):
        for j in range(3):
            assert_close(result[i, j], normalize_poses(poses[i, j]))


def test_normalise_leaves_its_argument_alone(random_poses):
    poses = scattered(random_poses, 4)
    before = poses.clone()
    normalize_poses(poses)
    assert torch.equal(poses, before)


@pytest.mark.parametrize("center", [(0.0, 0.0, 0.0), (0.1, 0.7, -0.3), (100.1, -33.3, 7.7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_cameras_in_one_point_all_come_to_lie_in_the_origin(random_poses, center, dtype, count):
    poses = scattered(random_poses, count).to(dtype)
    poses[:, :3, 3] = torch.tensor(center)
    result = normalize_poses(poses)
    assert result.isfinite().all()
    assert result[:, :3, 3].abs().max() < 1e-4  # rounding errors are not blown up to a path
    relative = poses[:1, :3, :3].mT @ poses[:, :3, :3]
    assert_close(result[:1, :3, :3].mT @ result[:, :3, :3], relative)


def ring(count, dtype):
    """Cameras all around a point, looking outwards: their forward axes cancel."""
    angle = torch.arange(count, dtype=torch.float64) * (2 * torch.pi / count)
    turns = torch.zeros(count, 3, 3, dtype=torch.float64)
    turns[:, 0, 0], turns[:, 0, 2] = angle.cos(), angle.sin()
    turns[:, 2, 0], turns[:, 2, 2] = -angle.sin(), angle.cos()
    turns[:, 1, 1] = 1
    return rigid(turns, turns[..., 2]).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [2, 3, 7, 16])
def test_cameras_without_a_mean_direction_are_refused(dtype, count):
    with pytest.raises(ValueError, match="opposite directions"):
        normalize_poses(ring(count, dtype))


def test_cameras_whose_mean_down_is_along_their_mean_forward_are_refused():
    a = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # down -z, forward y
    b = torch.tensor([[-1.0, 0, 0], [0, 1, 0], [0, 0, -1]])  # down y, forward -z
    with pytest.raises(ValueError, match="mean camera"):
        normalize_poses(rigid(torch.stack([a, b]), torch.zeros(2, 3)))


def test_gradients_pass_through_normalisation(random_poses):
    poses = scattered(random_poses, 3).requires_grad_()
    assert torch.autograd.gradcheck(normalize_poses, poses)

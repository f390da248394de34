import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rayzer.geometry import Cameras, pixel_rays, plucker_map, project, unproject
from rayzer.geometry.rays import pixel_centers

fast = settings(max_examples=12, deadline=None, derandomize=True)
batch = pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
seeds = st.integers(0, 2**31)
sizes = st.tuples(st.integers(1, 5), st.integers(1, 5))

identity = Cameras(torch.eye(4), torch.tensor([0.5, 0.5, 0.5, 0.5]))  # 90 degrees wide and high


# Documentation by example


def test_pixel_centers_lie_at_half():
    assert pixel_centers(1, 2, torch.zeros(())).tolist() == [[[0.25, 0.5], [0.75, 0.5]]]


def test_rays_of_a_2x2_picture_by_hand():
    origins, directions = pixel_rays(identity, 2, 2)
    half = torch.tensor(  # the left upper pixel centre is at (0.25, 0.25): slope (0.25 - 0.5) / 0.5 = -0.5
        [[[-0.5, -0.5, 1], [0.5, -0.5, 1]], [[-0.5, 0.5, 1], [0.5, 0.5, 1]]]
    )
    assert_close(directions, half / math.sqrt(1.5))
    assert torch.equal(origins, torch.zeros(2, 2, 3))


def test_the_middle_pixel_of_an_odd_picture_looks_along_z():
    assert pixel_rays(identity, 3, 5)[1][1, 2].tolist() == [0, 0, 1]


def test_a_camera_turned_a_quarter_to_the_right_looks_along_x():
    pose = torch.tensor([[0.0, 0, 1, 5], [0, 1, 0, 6], [-1, 0, 0, 7], [0, 0, 0, 1]])
    origins, directions = pixel_rays(Cameras(pose, identity.intrinsics), 1, 1)
    assert directions.tolist() == [[[1, 0, 0]]]
    assert origins.tolist() == [[[5, 6, 7]]]


def test_plucker_map_by_hand():
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([2.0, 3.0, 4.0])  # (2, 3, 4) x (0, 0, 1) = (3, -2, 0)
    assert plucker_map(Cameras(pose, identity.intrinsics), 1, 1).flatten().tolist() == [3, -2, 0, 0, 0, 1]


def test_project_by_hand():
    points = torch.tensor([[0.0, 0, 1], [1, 0, 1], [0, -1, 2], [0, 0, -3]])
    x_y_depth = project(identity, points)
    assert x_y_depth[:3].tolist() == [[0.5, 0.5, 1], [1, 0.5, 1], [0.5, 0.25, 2]]
    assert x_y_depth[3, 2] == -3  # behind the camera


# The slow twin


def slow_ray(pose, intrinsics, row, column, height, width):
    fx, fy, cx, cy = (value * size for value, size in zip(intrinsics, (width, height, width, height), strict=True))
    local = [(column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy, 1.0]
    world = [sum(pose[i][j] * local[j] for j in range(3)) for i in range(3)]
    length = math.sqrt(sum(value * value for value in world))
    dx, dy, dz = (value / length for value in world)
    ox, oy, oz = (pose[i][3] for i in range(3))
    return [oy * dz - oz * dy, oz * dx - ox * dz, ox * dy - oy * dx, dx, dy, dz]


@given(seeds, sizes)
@fast
def test_plucker_map_is_the_loop_over_pixels(random_cameras, seed, size):
    height, width = size
    cameras = random_cameras(2, seed=seed)
    fast_map = plucker_map(cameras, height, width)
    for view in range(2):
        pose, intrinsics = cameras.world_from_camera[view].tolist(), cameras.intrinsics[view].tolist()
        for row in range(height):
            for column in range(width):
                slow = torch.tensor(slow_ray(pose, intrinsics, row, column, height, width), dtype=torch.float64)
                assert_close(fast_map[view, :, row, column], slow)


# Axioms


@batch
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(random_cameras, shape, dtype):
    cameras = random_cameras(*shape, dtype=dtype)
    origins, directions = pixel_rays(cameras, 2, 4)
    projected = project(cameras, torch.ones(*shape, 7, 3, dtype=dtype))
    assert origins.shape == directions.shape == (*shape, 2, 4, 3)
    assert plucker_map(cameras, 2, 4).shape == (*shape, 6, 2, 4)
    assert projected.shape == (*shape, 7, 3)
    assert origins.dtype == directions.dtype == projected.dtype == dtype


@batch
def test_points_on_a_pixels_ray_project_to_its_centre(random_cameras, shape):
    cameras = random_cameras(*shape)
    origins, directions = pixel_rays(cameras, 3, 4)
    for distance in (0.1, 1.0, 50.0):
        points = (origins + distance * directions).flatten(-3, -2)
        x_y_depth = project(cameras, points)
        centers = pixel_centers(3, 4, points).flatten(0, 1)
        assert_close(x_y_depth[..., :2], centers.expand_as(x_y_depth[..., :2]))
        assert (x_y_depth[..., 2] > 0).all()


@batch
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_project_back_to_where_they_were_seen(random_cameras, shape, dtype):
    cameras, depth = random_cameras(*shape, dtype=dtype), 0.1 + 50 * torch.rand(*shape, 3, 4, dtype=dtype)
    points = unproject(cameras, depth)
    assert points.shape == (*shape, 3, 4, 3)
    assert points.dtype == dtype
    x_y_depth = project(cameras, points.flatten(-3, -2)).unflatten(-2, (3, 4))
    centers = pixel_centers(3, 4, points).expand(*shape, 3, 4, 2)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    assert_close(x_y_depth, torch.cat([centers, depth[..., None]], -1), atol=tolerance, rtol=tolerance)


def test_unproject_by_hand():
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([2.0, 3.0, 4.0])
    points = unproject(Cameras(pose, identity.intrinsics), torch.tensor([[1.0, 2.0]]))  # slopes -0.5 and 0.5
    assert points.tolist() == [[[1.5, 3, 5], [3, 3, 6]]]


@given(seeds, sizes)
@fast
def test_the_ray_of_a_pixel_passes_through_the_point_seen_there(random_cameras, seed, size):
    camera = random_cameras(seed=seed)
    random = torch.rand(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    local = torch.cat([random[:2] - 0.5, random[2:] + 0.5])
    point = camera.rotations @ local + camera.centers
    x, y, depth = project(camera, point[None])[0]
    assert_close(depth, local[2])
    window = camera.cropped(x.item() - 0.05, y.item() - 0.05, 0.1, 0.1)  # its middle pixel looks at the point
    origins, directions = pixel_rays(window, 3, 3)
    offset = torch.linalg.cross(point - origins[1, 1], directions[1, 1])
    assert offset.norm() < 1e-12


@batch
def test_directions_are_unit_and_moments_orthogonal_to_them(random_cameras, shape):
    moment, direction = plucker_map(random_cameras(*shape), 4, 3).split(3, dim=-3)
    ones = torch.ones_like(direction[..., 0, :, :])
    assert_close(direction.norm(dim=-3), ones)
    assert_close((moment * direction).sum(-3), 0 * ones, atol=1e-14, rtol=0)


@given(seeds, st.floats(-10, 10))
@fast
def test_the_moment_does_not_depend_on_the_point_of_the_ray(random_cameras, seed, distance):
    camera = random_cameras(seed=seed)
    origins, directions = pixel_rays(camera, 2, 3)
    moment = plucker_map(camera, 2, 3)[:3]
    other = torch.linalg.cross(origins + distance * directions, directions)
    assert_close(moment, other.permute(2, 0, 1), atol=1e-12, rtol=0)


def test_a_camera_that_slides_along_its_axis_keeps_the_middle_ray(random_cameras):
    pose, intrinsics = random_cameras().world_from_camera, torch.tensor([1.0, 1.0, 0.5, 0.5], dtype=torch.float64)
    slid = pose.clone()
    slid[:3, 3] += 3 * pose[:3, 2]
    before, after = (plucker_map(Cameras(matrix, intrinsics), 3, 3) for matrix in (pose, slid))
    assert_close(before[:, 1, 1], after[:, 1, 1])
    assert (before - after)[:3, 0, 0].abs().max() > 0.1


@batch
@given(seed=seeds)
@fast
def test_a_rigid_motion_of_the_cameras_moves_the_rays_with_it(random_cameras, random_poses, shape, seed):
    cameras, motion = random_cameras(*shape, seed=seed), random_poses(seed=seed + 9)
    origins, directions = pixel_rays(cameras, 2, 3)
    moved_origins, moved_directions = pixel_rays(cameras.transformed(motion), 2, 3)
    assert_close(moved_origins, origins @ motion[:3, :3].T + motion[:3, 3])
    assert_close(moved_directions, directions @ motion[:3, :3].T)


def test_a_rigid_motion_of_world_and_cameras_keeps_the_picture(random_cameras, random_poses):
    cameras, motion = random_cameras(3), random_poses(seed=5)
    points = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = points @ motion[:3, :3].T + motion[:3, 3]
    assert_close(project(cameras.transformed(motion), moved), project(cameras, points))


def test_a_larger_world_keeps_directions_and_scales_moments_and_depths(random_cameras):
    cameras = random_cameras(3)
    small, large = plucker_map(cameras, 2, 2), plucker_map(cameras.scaled(3.0), 2, 2)
    assert_close(large[:, :3], 3 * small[:, :3])
    assert torch.equal(large[:, 3:], small[:, 3:])


# Crops and sizes


@given(seeds)
@fast
def test_crop_keeps_pixels_on_their_rays(random_cameras, seed):
    cameras = random_cameras(2, seed=seed)
    whole = plucker_map(cameras, 6, 8)
    window = cameras.cropped(left=2 / 8, top=1 / 6, width=5 / 8, height=3 / 6)
    assert_close(plucker_map(window, 3, 5), whole[..., 1:4, 2:7])


def test_a_crop_of_a_crop_is_a_crop(random_cameras):
    cameras = random_cameras()
    twice = cameras.cropped(0.5, 0.25, 0.5, 0.5).cropped(0.5, 0.5, 0.5, 0.25)
    assert_close(twice.intrinsics, cameras.cropped(0.75, 0.5, 0.25, 0.125).intrinsics)


def test_resizing_a_picture_changes_no_intrinsics(random_cameras):
    cameras = random_cameras(2)
    small, large = plucker_map(cameras, 2, 3), plucker_map(cameras, 6, 9)
    assert_close(large[..., 1::3, 1::3], small)  # the middle of three fine pixels is the coarse pixel's centre


def test_gradients_reach_pose_and_intrinsics(random_cameras):
    cameras = random_cameras(2)

    def rays(pose, intrinsics):
        return plucker_map(Cameras(pose, intrinsics), 2, 2)

    inputs = (cameras.world_from_camera.requires_grad_(), cameras.intrinsics.requires_grad_())
    assert torch.autograd.gradcheck(rays, inputs)


def test_float32_rays_are_right_to_a_thousandth_of_a_pixel(random_cameras):
    cameras = random_cameras(4)
    exact, rounded = plucker_map(cameras, 64, 64), plucker_map(cameras.to(torch.float32), 64, 64)
    assert (exact - rounded).abs().max() < 1e-3 / 64 / 4

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rayzer.geometry import Cameras, project, rigid
from rayzer.geometry.rotations import quaternion_from_rotation, rotation_angle
from rayzer.geometry.trajectories import (
    PRESETS,
    align_signs,
    catmull_rom,
    dolly,
    focus_and_radius,
    interpolate,
    orbit,
    spiral,
    wobble,
)

fast = settings(max_examples=8, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


CLOSED = {"orbit": orbit, "spiral": spiral, "dolly": dolly, "wobble": wobble}
presets = pytest.mark.parametrize("name", PRESETS)
closed = pytest.mark.parametrize("name", CLOSED)


def assert_valid(cameras):
    assert cameras.world_from_camera.isfinite().all()
    assert cameras.intrinsics.isfinite().all()
    rotations = cameras.rotations
    eye = torch.eye(3, dtype=rotations.dtype).expand_as(rotations)
    assert_close(rotations @ rotations.mT, eye, atol=1e-5, rtol=0)
    assert (torch.linalg.det(rotations) > 0).all()
    assert torch.equal(cameras.world_from_camera[:, 3], eye.new_tensor([0, 0, 0, 1]).expand(len(cameras), 4))


def assert_same(found, expected, tolerance=1e-9):
    assert_close(found.world_from_camera, expected.world_from_camera, atol=tolerance, rtol=0)
    assert_close(found.intrinsics, expected.intrinsics, atol=tolerance, rtol=0)


def standing(*positions, dtype=torch.float64):
    """Cameras that look along z from the given places."""
    centers = torch.tensor(positions, dtype=dtype)
    return Cameras(
        rigid(torch.eye(3, dtype=dtype).expand(len(centers), 3, 3), centers),
        torch.tensor([1.0, 1.0, 0.5, 0.5], dtype=dtype).expand(len(centers), 4),
    )


def turn_about_y(degrees):
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    zero = torch.zeros_like(angle)
    rows = [(angle.cos(), zero, angle.sin()), (zero, zero + 1, zero), (-angle.sin(), zero, angle.cos())]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


# Documentation by example


def test_interpolate_two_cameras_is_a_straight_line():
    path = interpolate(standing((0, 0, 0), (4, 0, 8)), 5)
    assert_close(path.centers, double([[0.0, 0, 0], [1, 0, 2], [2, 0, 4], [3, 0, 6], [4, 0, 8]]))


def test_interpolate_turns_evenly_between_two_cameras_that_turn_on_the_spot():
    cameras = Cameras(rigid(turn_about_y([0.0, 20.0]), torch.zeros(2, 3).double()), torch.ones(2, 4).double())
    assert_close(interpolate(cameras, 3).rotations, turn_about_y([0.0, 10.0, 20.0]))


def test_dolly_moves_in_and_back_out(arc_cameras):
    path = dolly(arc_cameras(5, radius=2.0), 4, size=0.5)  # in by half of the distance 2 to the origin
    assert_close(path.centers[:, 2], double([-2.0, -1.5, -1.0, -1.5]))
    assert_close(path.rotations, torch.eye(3).double().expand(4, 3, 3))


def test_dolly_of_two_frames_is_out_and_in(arc_cameras):
    assert_close(dolly(arc_cameras(), 2, size=0.5).centers[:, 2], double([-2.0, -1.0]))


def test_orbit_swings_by_half_its_angle_to_either_side(arc_cameras):
    path = orbit(arc_cameras(5, radius=2.0), 4, angle_deg=60.0)
    half = 3**0.5 / 2
    places = double([[0.0, 0, -2], [-1, 0, -2 * half], [0, 0, -2], [1, 0, -2 * half]])
    assert_close(path.centers, places, atol=1e-12, rtol=0)


def test_wobble_circles_in_the_picture_plane(arc_cameras):
    centers = wobble(arc_cameras(5, radius=2.0), 4, size=0.1).centers
    assert_close(centers[:, :2], double([[0.0, 0], [0.2, 0.2], [0, 0.4], [-0.2, 0.2]]))
    assert_close(centers[:, 2], torch.full((4,), -2.0).double())


def test_the_focus_is_where_the_axes_meet(arc_cameras):
    focus, radius = focus_and_radius(arc_cameras(7, radius=3.0))
    assert_close(focus, torch.zeros(3).double(), atol=1e-12, rtol=0)
    assert_close(radius, double(3.0))


# interpolate


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
def test_ends_and_count_are_exact(random_cameras, dtype, count):
    cameras = random_cameras(4, dtype=dtype)
    path = interpolate(cameras, count)
    assert path.shape == (count,)
    assert path.world_from_camera.dtype == path.intrinsics.dtype == dtype
    assert torch.equal(path.centers[0], cameras.centers[0])
    assert_same(path[0], cameras[0], 1e-6)
    if count > 1:
        assert torch.equal(path.centers[-1], cameras.centers[-1])
        assert_same(path[-1], cameras[-1], 1e-6)


@given(seed=seeds, views=st.integers(2, 6))
@fast
def test_interpolate_passes_through_every_camera(random_cameras, seed, views):
    cameras = random_cameras(views, seed=seed)
    path = interpolate(cameras, 2001)
    assert_valid(path)
    apart = (path.centers[None] - cameras.centers[:, None]).norm(dim=-1)
    nearest = apart.argmin(1)
    step = (path.centers[1:] - path.centers[:-1]).norm(dim=-1).max()
    assert apart.amin(1).max() <= step
    assert (nearest[1:] > nearest[:-1]).all()  # in their order
    assert rotation_angle(path[nearest].rotations @ cameras.rotations.mT).max() < 0.02
    assert_close(path[nearest].intrinsics, cameras.intrinsics, atol=0.02, rtol=0)


def test_evenly_spaced_cameras_are_hit_exactly(arc_cameras):
    cameras = arc_cameras(5)
    assert_same(interpolate(cameras, 5), cameras)
    assert_same(interpolate(cameras, 17)[::4], cameras)


@pytest.mark.parametrize("views", [2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_path_through_one_camera_again_and_again_stays_there(random_cameras, views, dtype):
    cameras = Cameras.cat([random_cameras(1, dtype=dtype)] * views)
    path = interpolate(cameras, 9)
    assert_same(path, Cameras.cat([cameras[:1]] * 9), 1e-6)


def test_a_camera_given_twice_is_no_trouble(random_cameras):
    cameras = random_cameras(4)
    path = interpolate(cameras[[0, 1, 1, 2, 3, 3]], 50)
    assert_valid(path)
    assert_same(path[-1], cameras[3], 1e-12)


@given(seed=seeds)
@fast
def test_the_sign_of_a_quaternion_does_not_matter(random_rotations, seed):
    quaternions = quaternion_from_rotation(random_rotations(8, seed=seed))
    signs = torch.randint(0, 2, (8, 1), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    signs[0] = 1
    aligned = align_signs(quaternions * signs)
    assert_close(aligned, align_signs(quaternions))
    assert ((aligned[1:] * aligned[:-1]).sum(-1) >= 0).all()
    assert torch.equal(aligned.abs(), quaternions.abs())


def test_a_full_turn_takes_the_short_way_at_every_step():
    degrees = [30.0 * view for view in range(13)]  # w of the quaternion changes sign on the way
    cameras = Cameras(rigid(turn_about_y(degrees), torch.zeros(13, 3).double()), torch.ones(13, 4).double())
    path = interpolate(cameras, 121)
    expected = turn_about_y([3.0 * frame for frame in range(121)])
    assert rotation_angle(path.rotations @ expected.mT).max().rad2deg() < 0.5


@given(seed=seeds)
@fast
def test_velocity_is_continuous(random_cameras, seed):
    path = interpolate(random_cameras(5, seed=seed), 8001)
    for values in (path.centers, path.rotations.flatten(1), path.intrinsics):
        velocity = values[1:] - values[:-1]
        jump = (velocity[1:] - velocity[:-1]).norm(dim=-1).max()
        assert jump < 0.05 * velocity.norm(dim=-1).max()  # a kink would be a jump of the velocity's own size


def test_a_stop_does_not_make_the_path_swing_back():
    x = interpolate(standing((0, 0, 0), (1, 0, 0), (1.001, 0, 0), (2, 0, 0)), 200).centers[:, 0]
    assert (x[1:] - x[:-1]).min() > -1e-3
    assert x.max() <= 2


def test_a_turn_on_the_spot_does_not_overshoot():
    """A camera that pans by 60 degrees and then walks away must not turn much further than asked on the way."""
    centers = double([[0.0, 0, 0], [0, 0, 0], [0, 0, 5], [0, 0, 10]])
    cameras = Cameras(rigid(turn_about_y([0.0, 60.0, 60.0, 60.0]), centers), torch.ones(4, 4).double())
    forward = interpolate(cameras, 200).rotations[..., 2]
    heading = torch.atan2(forward[:, 0], forward[:, 2]).rad2deg()
    assert heading.max() < 70
    assert heading.min() > -1e-6


@pytest.mark.parametrize("views", [0, 1])
def test_interpolate_needs_two_cameras(random_cameras, views):
    with pytest.raises(ValueError, match=rf"n >= 2.*\[{views}\]"):
        interpolate(random_cameras(views), 5)


def test_interpolate_needs_a_list_of_cameras(random_cameras):
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        interpolate(random_cameras(2, 3), 5)


# catmull_rom


def test_spline_hits_its_values_and_stays_straight_on_straight_data():
    knots = double([0.0, 1, 3, 3.5, 7])
    values = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(catmull_rom(knots, values, knots), values)
    times = torch.linspace(0, 7, 29, dtype=torch.float64)
    line = torch.stack([3 * knots - 1, -knots], -1)
    assert_close(catmull_rom(knots, line, times), torch.stack([3 * times - 1, -times], -1))


def test_spline_reproduces_a_parabola_inside():
    knots = double([0.0, 1, 3, 3.5, 7])
    times = torch.linspace(1, 3.5, 11, dtype=torch.float64)
    assert_close(catmull_rom(knots, knots[:, None] ** 2, times), times[:, None] ** 2)


# The closed paths


@presets
@pytest.mark.parametrize("count", [1, 2, 3, 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_preset_gives_as_many_valid_cameras_as_asked_for(random_cameras, name, count, dtype):
    path = PRESETS[name](random_cameras(5, dtype=dtype), count)
    assert path.shape == (count,)
    assert path.world_from_camera.dtype == dtype
    assert_valid(path)


@presets
@pytest.mark.parametrize("count", [0, -1])
def test_a_path_without_frames_is_refused(arc_cameras, name, count):
    with pytest.raises(ValueError, match="at least one frame"):
        PRESETS[name](arc_cameras(), count)


@closed
def test_a_closed_path_starts_at_the_middle_camera(arc_cameras, name):
    cameras = arc_cameras(5)
    assert_same(CLOSED[name](cameras, 12)[0], cameras[2])


@closed
def test_a_closed_path_runs_smoothly_over_its_seam(arc_cameras, name):
    path = CLOSED[name](arc_cameras(5), 240)
    for values in (path.centers, path.rotations.flatten(1)):
        velocity = values.roll(-1, 0) - values  # the last entry leads from the last frame to the first
        change = (velocity.roll(-1, 0) - velocity).norm(dim=-1)
        seam = change[[-2, -1, 0]].max()
        assert seam <= 1.05 * change[3:-4].max()  # no more of a bend than elsewhere on the path


@presets
@given(seed=seeds, factor=st.sampled_from([1e-3, 0.5, 1.0, 200.0]))
@fast
def test_paths_move_and_scale_with_the_cameras(random_cameras, random_poses, name, seed, factor):
    cameras, motion = random_cameras(5, seed=seed), random_poses(seed=seed + 11)
    path = PRESETS[name](cameras, 7).scaled(factor).transformed(motion)
    moved = PRESETS[name](cameras.scaled(factor).transformed(motion), 7)
    assert_close(moved.centers, path.centers, atol=1e-6 * factor, rtol=0)
    assert_close(moved.rotations, path.rotations, atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
@presets
def test_paths_of_tiny_and_huge_worlds_are_scaled_paths(arc_cameras, name, factor):
    path, scaled = (PRESETS[name](cameras, 8) for cameras in (arc_cameras(), arc_cameras().scaled(factor)))
    assert_close(scaled.centers / factor, path.centers, atol=1e-9, rtol=0)
    assert_close(scaled.rotations, path.rotations, atol=1e-9, rtol=0)


@presets
def test_the_focus_stays_in_view_and_in_front(arc_cameras, name):
    cameras = arc_cameras(5)
    focus, _ = focus_and_radius(cameras)
    x, y, depth = project(PRESETS[name](cameras, 50), focus.expand(50, 1, 3)).unbind(-1)
    assert depth.min() > 0
    assert (x - 0.5).abs().max() < 0.05
    assert (y - 0.5).abs().max() < 0.05


@closed
def test_closed_paths_keep_the_starting_views_intrinsics(random_cameras, name):
    cameras = random_cameras(4)
    assert torch.equal(CLOSED[name](cameras, 3).intrinsics, cameras.intrinsics[2].expand(3, 4))


@pytest.mark.parametrize("name", ["spiral", "wobble"])
def test_spiral_and_wobble_go_as_far_as_their_size_says(arc_cameras, name):
    cameras = arc_cameras(5, radius=2.0)
    near, far = (CLOSED[name](cameras, 100, size=size).centers - cameras.centers[2] for size in (0.1, 0.2))
    assert_close(far, 2 * near)
    assert 0.099 < near[:, :2].norm(dim=-1).max() / 2 < 0.201


def test_orbit_keeps_its_distance_to_the_focus(random_cameras):
    cameras = random_cameras(6)
    focus, radius = focus_and_radius(cameras)
    apart = (orbit(cameras, 30).centers - focus).norm(dim=-1)
    assert_close(apart, radius.expand(30))


# Degenerate input


DEGENERATE = {
    "parallel axes": standing((0, 0, 0), (1, 0, 0), (2, 0, 0)),
    "one behind the other": standing((0, 0, 0), (0, 0, 1), (0, 0, 2)),
    "one camera": standing((0.3, 0.2, 0.1)),
    "all in one point": standing(*[(0.1, 0.7, -0.3)] * 5),
    "all in one distant point": standing(*[(1000.1, 333.3, -777.7)] * 5, dtype=torch.float32),
    "turning on the spot": Cameras(
        rigid(turn_about_y([-40.0, 0.0, 40.0]), torch.full((3, 3), 0.1).double()), torch.ones(3, 4).double()
    ),
    "looking outwards": Cameras(
        rigid(turn_about_y([-40.0, 0.0, 40.0]), 3 * turn_about_y([-40.0, 0.0, 40.0])[..., 2]), torch.ones(3, 4).double()
    ),
    "looking opposite ways": Cameras(
        rigid(turn_about_y([0.0, 180.0]), torch.zeros(2, 3).double()), torch.ones(2, 4).double()
    ),
}


@presets
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_cameras_still_give_a_path(name, case):
    if (name, case) != ("interpolate", "one camera"):  # refused, see above
        assert_valid(PRESETS[name](DEGENERATE[case], 12))


@pytest.mark.parametrize("case", DEGENERATE)
def test_the_focus_always_lies_ahead(case):
    cameras = DEGENERATE[case]
    middle = cameras[len(cameras) // 2]
    focus, radius = focus_and_radius(cameras)
    assert radius > 0
    assert_close(focus, middle.centers + radius * middle.rotations[:, 2])


@pytest.mark.parametrize("case", ["one camera", "all in one point", "all in one distant point", "turning on the spot"])
def test_cameras_without_a_size_get_a_path_of_size_one(case):
    assert focus_and_radius(DEGENERATE[case])[1] == 1


@closed
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_closed_paths_need_a_list_of_cameras(random_cameras, name, shape):
    with pytest.raises(ValueError, match="needs cameras"):
        CLOSED[name](random_cameras(*shape), 5)

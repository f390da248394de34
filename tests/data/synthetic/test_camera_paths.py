import pytest
import torch

from rayzer.data.synthetic.camera_paths import CLEARANCE_M, FOCALS, camera_path
from rayzer.data.synthetic.casting import clearance
from rayzer.data.synthetic.composition import compose_room


@pytest.mark.parametrize("span", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("seed", [0, 3, 11])
def test_cameras_keep_clear_of_everything_and_stay_level(seed, span):
    room = compose_room(seed)
    cameras = camera_path([room], seed, 200, span)
    assert clearance(room.solids, cameras.centers).min() > 0.9 * CLEARANCE_M
    identity = torch.eye(3, dtype=torch.float64).expand(200, 3, 3)
    torch.testing.assert_close(cameras.rotations.mT @ cameras.rotations, identity, rtol=0, atol=1e-12)
    assert (torch.linalg.det(cameras.rotations) > 0).all()
    assert cameras.rotations[:, 1, 0].abs().max() < 1e-12  # the camera's x axis is horizontal
    assert (cameras.rotations[:, 1, 1] > 0.5).all()  # and its y axis points down


@pytest.mark.parametrize("seed", range(6))
def test_hands_move_smoothly(seed):
    """Over a path of one unit of time: speeds and accelerations are bounded, of the centre and of the view."""
    count = 400
    cameras = camera_path([compose_room(seed)], seed, count, 1.0)
    velocity = cameras.centers.diff(dim=0) * count
    assert 0.5 < velocity.norm(dim=-1).mean() < 6
    assert velocity.norm(dim=-1).max() < 4 * velocity.norm(dim=-1).mean()
    assert (velocity.diff(dim=0) * count).norm(dim=-1).max() < 40
    turning = cameras.rotations.diff(dim=0).norm(dim=(-2, -1)) * count
    assert turning.max() < 8
    assert (cameras.rotations.diff(dim=0).diff(dim=0) * count**2).norm(dim=(-2, -1)).max() < 80
    straight = torch.lerp(cameras.centers[0], cameras.centers[-1], torch.linspace(0, 1, count).double()[:, None])
    assert (cameras.centers - straight).norm(dim=-1).max() > 0.02  # but not like a machine


def test_without_a_span_only_the_hands_shake():
    cameras = camera_path([compose_room(1)], 1, 50, 0.0)
    assert 0.01 < (cameras.centers - cameras.centers.mean(0)).norm(dim=-1).max() < 0.15


def test_the_number_of_views_only_samples_the_path():
    room = compose_room(4)
    few, many = (camera_path([room], 4, views, 0.5) for views in (3, 9))
    torch.testing.assert_close(few.world_from_camera, many[::4].world_from_camera, rtol=0, atol=1e-12)


def test_one_path_is_clear_in_several_rooms():
    rooms = [compose_room(1), compose_room(2)]
    cameras = camera_path(rooms, 7, 100, 0.5)
    for room in rooms:
        assert clearance(room.solids, cameras.centers).min() > 0.9 * CLEARANCE_M


def test_fields_of_view_vary_from_room_to_room_only():
    room = compose_room(0)
    focals = [camera_path([room], seed, 2, 0.1).intrinsics for seed in range(30)]
    assert all(torch.equal(each[0], each[1]) for each in focals)
    values = torch.stack([each[0, 0] for each in focals])
    assert FOCALS[0] <= values.min() < 0.75
    assert 1.1 < values.max() <= FOCALS[1]
    assert all(torch.equal(each[0, :2], each[0, :1].expand(2)) for each in focals)


def test_a_room_without_free_space_has_no_path():
    room = compose_room(0)
    shell = room.solids[0]
    small = shell.map(lambda value: value if value.shape != shell.half_sizes.shape else value * 0.1)
    full = type(room)((small, *room.solids[1:]), room.materials, room.lamps, room.ambient)
    with pytest.raises(RuntimeError, match="no camera path"):
        camera_path([full], 0, 2, 1.0)

import math

import pytest
import torch
from torch import Tensor

from rayzer.data.synthetic.camera_paths import CLEARANCE_M, camera_path
from rayzer.data.synthetic.casting import Solids, clearance
from rayzer.data.synthetic.composition import compose_room
from rayzer.data.synthetic.rooms import _TILE_PX, RoomViews, render_room

SIZE = 96


@pytest.fixture(scope="module")
def views() -> RoomViews:
    return render_room(5, 3, SIZE, span=0.3, supersampling=1)


def test_views_have_the_promised_form(views):
    assert views.images.shape == (3, 3, SIZE, SIZE)
    assert views.depth.shape == (3, SIZE, SIZE)
    assert views.cameras.shape == (3,)
    assert {views.images.dtype, views.depth.dtype, views.cameras.intrinsics.dtype} == {torch.float32}
    assert views.images.isfinite().all()
    assert 0 <= views.images.min() <= views.images.max() <= 1
    assert 0.2 < views.images.mean() < 0.8
    assert (views.images.std((2, 3)) > 0.08).all()
    assert (views.depth > 0).all()
    assert (views.depth < 10).all()


def test_a_seed_decides_everything(views):
    again, other = render_room(5, 3, SIZE, 0.3, 1), render_room(6, 3, SIZE, 0.3, 1)
    assert torch.equal(again.images, views.images)
    assert torch.equal(again.depth, views.depth)
    assert torch.equal(again.cameras.world_from_camera, views.cameras.world_from_camera)
    assert (other.images - views.images).abs().mean() > 0.05


def test_the_callers_threads_and_gradients_are_left_alone():
    before = torch.get_num_threads(), torch.is_grad_enabled()
    with pytest.raises(ValueError):
        render_room(-1, 1, 8)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == before


def test_the_tiling_does_not_show(views, monkeypatch):
    monkeypatch.setitem(_TILE_PX, "cpu", 24)
    tiled = render_room(5, 3, SIZE, 0.3, 1)
    assert (tiled.depth - views.depth).abs().max() < 1e-4
    assert (tiled.images - views.images).abs().quantile(0.999) < 1e-3


def test_depth_agrees_with_a_slow_twin_through_pixel_centres(views):
    room = compose_room(5)
    pixels = [(row, column) for row in range(4, SIZE, 13) for column in range(2, SIZE, 11)]
    ours = torch.tensor([views.depth[1, row, column] for row, column in pixels], dtype=torch.float64)

    def twin(offset: float) -> Tensor:
        return torch.tensor([slow_depth(room.solids, views, 1, r + offset, c + offset) for r, c in pixels])

    assert (twin(0.5) - ours).abs().max() < 1e-3
    assert (twin(0.0) - ours).abs().median() > 5e-3
    assert (twin(1.0) - ours).abs().median() > 5e-3


def slow_depth(solids: tuple[Solids, ...], views: RoomViews, view: int, row: float, column: float) -> float:
    """Depth of one ray by testing every surface of every solid in plain Python; `row`, `column` in pixels."""
    fx, fy, cx, cy = views.cameras.intrinsics[view].tolist()
    ray = [(column / SIZE - cx) / fx, (row / SIZE - cy) / fy, 1.0]
    rotation = views.cameras.rotations[view].tolist()
    direction = [sum(rotation[i][k] * ray[k] for k in range(3)) for i in range(3)]
    origin = views.cameras.centers[view].tolist()
    found = []
    for kind in solids:
        rows = zip(kind.centers.tolist(), kind.half_sizes.tolist(), kind.yaws.tolist(), strict=True)
        for center, half_size, yaw in rows:
            local = [a - b for a, b in zip(origin, center, strict=True)]
            found += slow_hits(kind.shape, slow_turn(local, yaw), slow_turn(direction, yaw), half_size)
    return min(t for t in found if t > 1e-3)  # the third component of `ray` is 1: t is the depth


def slow_turn(vector: list[float], yaw: float) -> list[float]:
    x, y, z = vector
    return [math.cos(yaw) * x - math.sin(yaw) * z, y, math.sin(yaw) * x + math.cos(yaw) * z]


def slow_hits(shape: str, o: list[float], d: list[float], half: list[float]) -> list[float]:
    if shape in ("box", "room"):
        return [t for axis in range(3) for side in (-1, 1) for t in slow_face(o, d, half, axis, side)]
    if shape == "sphere":
        return slow_roots(o, d, half[0])
    mantle = slow_roots([o[0], o[2]], [d[0], d[2]], half[0])
    mantle = [t for t in mantle if abs(o[1] + t * d[1]) <= half[1]]
    caps = [(side * half[1] - o[1]) / d[1] for side in (-1, 1)]
    return mantle + [t for t in caps if math.hypot(o[0] + t * d[0], o[2] + t * d[2]) <= half[0]]


def slow_face(o: list[float], d: list[float], half: list[float], axis: int, side: int) -> list[float]:
    t = (side * half[axis] - o[axis]) / d[axis]
    inside = all(abs(o[k] + t * d[k]) <= half[k] for k in range(3) if k != axis)
    return [t] if inside else []


def slow_roots(o: list[float], d: list[float], radius: float) -> list[float]:
    a, b = sum(k * k for k in d), sum(p * q for p, q in zip(o, d, strict=True))
    discriminant = b * b - a * (sum(k * k for k in o) - radius * radius)
    return [(-b + sign * math.sqrt(discriminant)) / a for sign in (-1, 1)] if discriminant > 0 else []


def reprojected_error(views: RoomViews, first: int, second: int, pixel_centre: float) -> float:
    """Median colour difference between points of one view and where depth says they are in another."""
    side = (torch.arange(SIZE) + pixel_centre) / SIZE
    y, x = torch.meshgrid(side, side, indexing="ij")
    fx, fy, cx, cy = views.cameras.intrinsics[first]
    rays = torch.stack([(x - cx) / fx, (y - cy) / fy, torch.ones_like(x)], -1).reshape(-1, 3)
    points = rays * views.depth[first].reshape(-1, 1)
    between = views.cameras.camera_from_world[second] @ views.cameras.world_from_camera[first]
    x, y, depth = (points @ between[:3, :3].T + between[:3, 3]).unbind(-1)
    grid = 2 * torch.stack([fx * x / depth + cx, fy * y / depth + cy], -1) - 1 - 2 * (pixel_centre - 0.5) / SIZE
    layers = torch.cat([views.images[second], views.depth[second][None]])
    sampled = torch.nn.functional.grid_sample(layers[None], grid[None, None], align_corners=False)[0, :, 0]
    visible = (sampled[3] - depth).abs() < 0.01 * depth
    assert visible.float().mean() > 0.3
    return (sampled[:3] - views.images[first].flatten(1))[:, visible].abs().mean(0).median().item()


def test_points_keep_their_colour_from_view_to_view(views):
    assert reprojected_error(views, 0, 1, 0.5) < 0.008
    assert reprojected_error(views, 2, 1, 0.5) < 0.008


def test_supersampling_averages_around_the_same_pixel_centres():
    fine = render_room(5, 1, 2 * SIZE, supersampling=1).images
    coarse = render_room(5, 1, SIZE, supersampling=2).images

    def difference(shift: int) -> float:
        moved = fine.roll((shift, shift), (2, 3))
        pooled = torch.nn.functional.avg_pool2d(moved, 2)
        return (pooled - coarse)[..., 2:-2, 2:-2].abs().median().item()

    assert difference(0) < 0.002
    assert min(difference(1), difference(-1)) > 3 * difference(0) + 0.002


@pytest.mark.parametrize("span", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("seed", [0, 3, 11])
def test_cameras_keep_clear_of_everything_and_stay_level(seed, span):
    room = compose_room(seed)
    cameras = camera_path(room.solids, room.solids[0].half_sizes[0], seed, 40, span)
    assert clearance(room.solids, cameras.centers).min() > 0.9 * CLEARANCE_M
    torch.testing.assert_close(
        cameras.rotations.mT @ cameras.rotations, torch.eye(3).expand(40, 3, 3), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(torch.linalg.det(cameras.rotations), torch.ones(40))
    assert cameras.rotations[:, 1, 0].abs().max() < 1e-6  # the camera's x axis is horizontal
    assert (cameras.rotations[:, 1, 1] > 0.5).all()  # and its y axis points down
    steps = cameras.centers.diff(dim=0).norm(dim=-1)
    assert steps.sum() == 0 if span == 0 else 0.1 < steps.sum() < 6
    assert steps.max() <= 4 * steps.mean()


def test_the_number_of_views_only_samples_the_path():
    room = compose_room(4)
    half_size = room.solids[0].half_sizes[0]
    few, many = (camera_path(room.solids, half_size, 4, views, 0.5) for views in (3, 9))
    torch.testing.assert_close(few.world_from_camera, many[::4].world_from_camera, rtol=0, atol=1e-6)


def test_rooms_are_furnished_and_their_records_agree():
    for seed in range(8):
        room = compose_room(seed)
        assert sum(map(len, room.solids)) > 60
        assert room.solids[0].shape == "room"
        largest = max(int(kind.skins.max()) for kind in room.solids)
        assert largest == len(room.materials.pattern) - 1
        lit = clearance(room.solids, room.lamps.centers)
        assert (lit > 0.005).all()

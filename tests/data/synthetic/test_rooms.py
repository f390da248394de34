import pickle
from typing import get_args

import pytest
import torch
from torch import Tensor

from rayzer.data.synthetic import casting, rooms
from rayzer.data.synthetic.casting import Solids, clearance
from rayzer.data.synthetic.composition import compose_room
from rayzer.data.synthetic.rooms import (
    ComposedRoom,
    Quality,
    RoomViews,
    compose,
    compose_pair,
    render_depth,
    render_room,
    render_rooms,
)
from rayzer.data.synthetic.tiles import SIDE_PX, PictureSet, pack, tile_number

SIZE = 96


@pytest.fixture(scope="module")
def views() -> RoomViews:
    return render_room(5, 3, SIZE, span=0.3)


def psnr(images: Tensor, others: Tensor) -> Tensor:
    return -10 * (images - others).square().mean((-3, -2, -1)).log10()


def test_views_have_the_promised_form(views):
    assert views.images.shape == (3, 3, SIZE, SIZE)
    assert views.depth.shape == (3, SIZE, SIZE)
    assert views.cameras.shape == (3,)
    assert {views.images.dtype, views.depth.dtype, views.cameras.intrinsics.dtype} == {torch.float32}
    assert views.images.isfinite().all()
    assert 0 <= views.images.min() <= views.images.max() <= 1
    assert 0.15 < views.images.mean() < 0.85
    assert (views.images.std((2, 3)) > 0.05).all()
    assert (views.depth > 0).all()
    assert (views.depth < 15).all()


def test_a_seed_decides_everything(views):
    again, other = render_room(5, 3, SIZE, 0.3), render_room(6, 3, SIZE, 0.3)
    assert torch.equal(again.images, views.images)
    assert torch.equal(again.depth, views.depth)
    assert torch.equal(again.cameras.world_from_camera, views.cameras.world_from_camera)
    assert (other.images - views.images).abs().mean() > 0.05


def test_rooms_are_composed_in_double_precision_and_survive_pickling():
    composed = compose(5, 2)
    assert composed.cameras.world_from_camera.dtype == composed.room.solids[0].centers.dtype == torch.float64
    copy = pickle.loads(pickle.dumps(composed))  # noqa: S301
    assert torch.equal(render_rooms([copy], 24).images, render_rooms([composed], 24).images)


def test_pictures_are_handed_over_for_rendering_and_not_carried_along():
    """A room with a picture in it looks different with another picture in its place."""
    red, blue = (
        PictureSet(pack(torch.tensor(color)[:, None, None].expand(1, 3, SIDE_PX, SIDE_PX), wrap=False), (1.0,))
        for color in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    )
    composed = next(room for room in (compose(seed, 2, pictures=red) for seed in range(20)) if shows_pictures(room))
    assert composed.room.materials.pictures is None
    with pytest.raises(ValueError, match="pictures"):
        render_rooms([composed], 8)
    with_red, with_blue = (render_rooms([composed], 48, pictures=each) for each in (red, blue))
    assert torch.equal(with_red.depth, with_blue.depth)
    assert ((with_red.images - with_blue.images).abs().amax(2) > 0.2).any()


def shows_pictures(composed: ComposedRoom) -> bool:
    return bool((composed.room.materials.pattern >= tile_number(0)).any())


def test_the_callers_threads_and_gradients_are_left_alone():
    before = torch.get_num_threads(), torch.is_grad_enabled()
    with pytest.raises(ValueError):
        render_room(-1, 1, 8)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == before


def test_autocast_changes_nothing(views):
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(render_room(5, 3, SIZE, 0.3).images, views.images)


def agree(some: RoomViews, others: RoomViews) -> None:
    """Equal but for rounding, which may decide what a ray along an edge meets."""
    assert (some.images - others.images).abs().quantile(0.999) < 1e-4
    assert ((some.depth - others.depth).abs() < 1e-4).float().mean() > 0.999


@pytest.mark.parametrize("rays", [1, 20_000, 1 << 24])
def test_rooms_are_rendered_together_like_one_at_a_time(rays, monkeypatch):
    composed = [compose(seed, 3) for seed in (1, 2, 3)]
    alone = [render_rooms([room], 40) for room in composed]
    monkeypatch.setitem(rooms._RAYS_AT_ONCE, "cpu", rays)
    done = []
    both = render_rooms(composed, 40, progress=lambda *step: done.append(step))
    for k in range(3):
        agree(RoomViews(both.images[k], both.cameras[k], both.depth[k]), render_room((1, 2, 3)[k], 3, 40))
        assert torch.equal(both.cameras[k].world_from_camera, alone[k].cameras[0].world_from_camera)
    assert done[-1] == (9, 9)
    assert done == sorted(set(done))


def test_neither_bundles_nor_batches_show(views, monkeypatch):
    monkeypatch.setattr(rooms, "_BUNDLE_PX", 20)  # no divisor of the size
    monkeypatch.setitem(casting._PAIRS, "cpu", 1000)
    agree(render_room(5, 3, SIZE, 0.3), views)


@pytest.mark.gpu
def test_a_gpu_renders_the_same():
    composed = [compose(seed, 3) for seed in (1, 2)]
    for quality in get_args(Quality):
        cpu, gpu = (render_rooms(composed, 64, quality, device) for device in ("cpu", "cuda"))
        agree(RoomViews(gpu.images.cpu(), cpu.cameras, gpu.depth.cpu()), cpu)


def test_the_fast_quality_is_close_to_the_full_one():
    composed = [compose(seed, 2) for seed in range(6)]
    full, fast = (render_rooms(composed, 64, quality) for quality in get_args(Quality))
    quality = psnr(full.images, fast.images)
    assert quality.min() > 23
    assert quality.mean() > 28
    assert torch.equal(full.depth, fast.depth)


def test_pairs_share_their_cameras_and_nothing_else():
    first, second = compose_pair(3, 3)
    assert torch.equal(first.world_from_camera, second.world_from_camera)
    assert torch.equal(first.intrinsics, second.intrinsics)
    both = render_rooms([first, second], 48)
    assert psnr(both.images[0], both.images[1]).max() < 16


def test_depth_agrees_with_a_slow_twin_through_pixel_centres(views):
    room = compose_room(5)
    rows, columns = torch.meshgrid(torch.arange(4, SIZE, 13), torch.arange(2, SIZE, 11), indexing="ij")
    ours = views.depth[1, rows, columns].double()

    def error(offset_px: float) -> Tensor:
        return (slow_depth(room.solids, views, 1, rows + offset_px, columns + offset_px) - ours).abs()

    assert error(0.5).median() < 1e-5
    assert (error(0.5) < 2e-3).double().mean() > 0.97
    assert error(0.0).median() > 3e-3
    assert error(1.0).median() > 3e-3


def slow_depth(solids: tuple[Solids, ...], views: RoomViews, view: int, y_px: Tensor, x_px: Tensor) -> Tensor:
    """Depth [...] at places of a picture: walk along each ray, never further than the nearest surface is."""
    fx, fy, cx, cy = views.cameras.intrinsics[view].double()
    rays = torch.stack([(x_px / SIZE - cx) / fx, (y_px / SIZE - cy) / fy, torch.ones_like(y_px).double()], -1)
    directions = rays @ views.cameras.rotations[view].double().T
    depth = torch.zeros_like(directions[..., 0])
    for _ in range(200):
        points = views.cameras.centers[view].double() + depth[..., None] * directions
        depth = depth + clearance(solids, points) / directions.norm(dim=-1)
    return depth


def reprojected_error(views: RoomViews, first: int, second: int, shift_px: float = 0.0) -> float:
    """Mean colour difference between points of one view and where they are in another, by their depth."""
    side = (torch.arange(SIZE) + 0.5) / SIZE
    y, x = torch.meshgrid(side, side, indexing="ij")
    fx, fy, cx, cy = views.cameras.intrinsics[first]
    rays = torch.stack([(x - cx) / fx, (y - cy) / fy, torch.ones_like(x)], -1).reshape(-1, 3)
    points = rays * views.depth[first].reshape(-1, 1)
    between = views.cameras.camera_from_world[second] @ views.cameras.world_from_camera[first]
    x, y, depth = (points @ between[:3, :3].T + between[:3, 3]).unbind(-1)
    grid = 2 * torch.stack([fx * x / depth + cx, fy * y / depth + cy], -1) - 1
    layers = torch.cat([views.images[second], views.depth[second][None]])
    sampled, shifted = (
        torch.nn.functional.grid_sample(layers[None], place[None, None], align_corners=False)[0, :, 0]
        for place in (grid, grid + 2 * shift_px / SIZE)
    )
    visible = (sampled[3] - depth).abs() < 0.01 * depth
    assert visible.float().mean() > 0.3
    return (shifted[:3] - views.images[first].flatten(1))[:, visible].abs().mean().item()


def test_points_keep_their_colour_from_view_to_view(views):
    for first in (0, 2):
        error = reprojected_error(views, first, 1)
        assert error < 0.03
        assert min(reprojected_error(views, first, 1, shift) for shift in (-1.0, 1.0)) > 2 * error
        assert min(reprojected_error(views, first, 1, shift) for shift in (-0.5, 0.5)) > 1.5 * error


@pytest.fixture
def untextured(monkeypatch):
    """Every material in one grey of its own: textures are smoothed to a pixel's size, whatever that is."""

    def albedo(materials, hits, rays, spacing):
        return ((hits.materials % 7 + 1) / 8).expand_as(hits.points)

    monkeypatch.setattr("rayzer.data.synthetic.shading._albedo", albedo)


def test_pixels_are_means_around_the_same_centres(untextured):
    fine, coarse = render_room(5, 1, 2 * SIZE).images, render_room(5, 1, SIZE).images

    def difference(shift: int) -> float:
        moved = fine.roll((shift, shift), (2, 3))
        pooled = torch.nn.functional.avg_pool2d(moved, 2)
        return (pooled - coarse)[..., 2:-2, 2:-2].abs().mean().item()

    assert difference(0) < 0.02
    assert min(difference(1), difference(-1)) > 1.3 * difference(0)


def test_edges_are_smooth(untextured):
    """With one ray per pixel many neighbours across an edge differ by all of it; antialiased ones lie between."""
    composed = [compose(0, 6)]
    exact = render_rooms(composed, 4 * 48).images.flatten(0, 1)
    pooled = torch.nn.functional.avg_pool2d(exact, 4)
    aliased = exact[..., 2::4, 2::4]
    gains: dict[Quality, float] = {"full": 5.0, "fast": 1.0}
    for quality, gain in gains.items():
        images = render_rooms(composed, 48, quality).images.flatten(0, 1)
        assert (psnr(images, pooled) - psnr(aliased, pooled)).mean() > gain


def test_depth_alone_is_that_of_pictures_with_so_many_pixels():
    composed = [compose(seed, 3) for seed in (1, 2)]
    for cells in (4, 16):
        assert torch.equal(render_depth(composed, cells), render_rooms(composed, cells, "fast").depth)

"""The anchor of true cameras, the pictures that the estimator is shown, and what it is told step by step."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from rayzer.data.loader import Batch
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras, invert_rigid, rigid
from rayzer.geometry.rays import unproject
from rayzer.geometry.rotations import rotation_from_6d
from rayzer.model.anyview import AnyViewConfig, AnyViewRayZer
from rayzer.training.camera_training import camera_anchor, changed_pictures, estimator_arguments, point_anchor
from rayzer.training.recipe import CameraConfig
from rayzer.training.step import _anchor
from rayzer.view_split import ViewSplit

MODEL = AnyViewConfig(image_height=16, image_width=16, patch_size=4, width=32, head_width=16)


def random_poses(*shape, dtype=torch.float32):
    return rigid(rotation_from_6d(torch.randn(*shape, 6, dtype=dtype)), torch.randn(*shape, 3, dtype=dtype))


def random_cameras(b, v, dtype=torch.float32):
    focal = (1 + torch.rand(b, v, 1, dtype=dtype)).expand(-1, -1, 2)
    return Cameras(random_poses(b, v, dtype=dtype), torch.cat([focal, torch.full_like(focal, 0.5)], -1))


def seen_from(cameras, canonical):
    """In the frame of one of the views, at a mean distance of 1 from it."""
    moved = cameras.transformed(invert_rigid(cameras.world_from_camera[:, canonical : canonical + 1]))
    distances = torch.stack(
        [moved.centers[:, view].norm(dim=-1) for view in range(moved.shape[1]) if view != canonical]
    )
    return moved.scaled(1 / distances.mean(0)[:, None])


@pytest.mark.parametrize("canonical", [0, 2])
def test_true_cameras_cost_nothing_in_any_world(canonical):
    torch.manual_seed(0)
    true = random_cameras(3, 4)
    predicted = seen_from(true, canonical)
    for scale in (1e-2, 1.0, 50.0):
        other_world = true.scaled(scale).transformed(random_poses(3, 1))
        assert camera_anchor(predicted, other_world, canonical) < 1e-9
    assert camera_anchor(predicted, true, 1) > 1e-2
    assert camera_anchor(predicted.scaled(1.1), true, canonical) > 1e-3  # predictions have the gauge of the anchor


def standing(x=1.0):
    """Three cameras in a row that look the same way, the canonical one first."""
    pose = torch.eye(4).repeat(1, 3, 1, 1)
    pose[0, 1:, 0, 3] = torch.tensor([x, -x])
    return Cameras(pose, torch.tensor([1.5, 1.5, 0.5, 0.5]).repeat(1, 3, 1))


@pytest.mark.parametrize(("moved", "cost"), [(0.05, 0.05**2 / 0.2), (0.5, 0.5 - 0.05), (-2.0, 2.0 - 0.05)])
def test_one_moved_camera(moved, cost):
    predicted = standing()
    predicted.world_from_camera[0, 1, 1, 3] = moved
    assert camera_anchor(predicted, standing(3.0), 0) == pytest.approx(cost / 9)


def test_one_turned_camera_and_another_focal_length():
    predicted = standing()
    predicted.world_from_camera[0, 2, :2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = 18 * 4 * (1 - 0.03 / 2) / 27  # four entries are wrong by 1
    assert camera_anchor(predicted, standing(), 0) == pytest.approx(turned)
    predicted.intrinsics[..., :2] += 0.2
    assert camera_anchor(predicted, standing(), 0) == pytest.approx(turned + 0.04)


def test_a_small_turn():
    predicted, angle = standing(), math.radians(0.5)
    turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    predicted.world_from_camera[0, 2, :2, :2] = torch.tensor(turn)
    cost = 2 * math.sin(angle) ** 2 + 2 * (1 - math.cos(angle)) ** 2
    assert camera_anchor(predicted, standing(), 0) == pytest.approx(18 * cost / (2 * 0.03) / 27, rel=1e-4)


def test_the_mean_is_over_all_samples_and_unknown_cameras_add_nothing():
    torch.manual_seed(0)
    true, predicted = random_cameras(3, 4), random_cameras(3, 4)
    each = [camera_anchor(predicted[i : i + 1], true[i : i + 1], 2) for i in range(3)]
    assert_close(camera_anchor(predicted, true, 2), torch.stack(each).mean())
    unknown = true.map(torch.clone)
    unknown.world_from_camera[1], unknown.intrinsics[1] = torch.nan, torch.nan
    leaves = [x.clone().requires_grad_() for x in (predicted.world_from_camera, predicted.intrinsics)]
    found = camera_anchor(Cameras(*leaves), unknown, 2)
    assert_close(found, (each[0] + each[2]) / 3)
    found.backward()
    for leaf in leaves:
        assert leaf.grad.isfinite().all()
        assert (leaf.grad.flatten(1).abs().sum(1) > 0).tolist() == [True, False, True]


def test_no_known_cameras_and_no_way_between_them():
    torch.manual_seed(0)
    nothing = random_cameras(2, 3).map(lambda x: torch.full_like(x, torch.nan))
    pose = random_poses(2, 3).requires_grad_()
    found = camera_anchor(Cameras(pose, torch.ones(2, 3, 4)), nothing, 0)
    found.backward()
    assert found == 0
    assert (pose.grad == 0).all()
    assert camera_anchor(standing(0.0), standing(0.0), 0) == 0  # all in one point: there is no scale


def test_gradients_of_the_anchor():
    torch.manual_seed(0)
    true, predicted = random_cameras(2, 3, torch.float64), random_cameras(2, 3, torch.float64)
    leaves = [x.clone().requires_grad_() for x in (predicted.world_from_camera, predicted.intrinsics)]
    assert torch.autograd.gradcheck(lambda *x: camera_anchor(Cameras(*x), true, 1), leaves)


def test_the_anchor_ignores_autocast():
    torch.manual_seed(0)
    true, predicted = random_cameras(2, 3), random_cameras(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = camera_anchor(predicted, true, 1)
    assert torch.equal(inside, camera_anchor(predicted, true, 1))


def slow_point_anchor(predicted, true, depth_m, canonical):
    """A patch at a time, by 4x4 matrices."""
    b, v, rows, columns = depth_m.shape
    total = 0.0
    for sample in range(b):
        seen = {}
        reference = torch.linalg.inv(true.world_from_camera[sample, canonical])
        for view, row, column in itertools.product(range(v), range(rows), range(columns)):
            z = float(depth_m[sample, view, row, column])
            fx, fy, cx, cy = true.intrinsics[sample, view].tolist()
            x, y = ((column + 0.5) / columns - cx) / fx, ((row + 0.5) / rows - cy) / fy
            point = reference @ true.world_from_camera[sample, view] @ torch.tensor([x * z, y * z, z, 1.0]).double()
            if not math.isnan(z):
                seen[view, row, column] = point[:3]
        scale = sum(float(point.norm()) for point in seen.values()) / max(len(seen), 1)
        for place, point in seen.items():
            for error in (predicted[sample][place] - point / scale).abs().tolist():
                total += error**2 / 0.2 if error < 0.1 else error - 0.05
    return total / predicted.numel()


def points_of(true, depth_m, canonical):
    """Right predictions."""
    pose = invert_rigid(true.world_from_camera[:, canonical : canonical + 1]) @ true.world_from_camera
    points = unproject(Cameras(pose, true.intrinsics), depth_m)
    return points / points.norm(dim=-1).mean((1, 2, 3))[:, None, None, None, None]


def test_the_point_anchor_is_the_loop_over_patches():
    torch.manual_seed(0)
    true, depth_m = random_cameras(2, 3, torch.float64), 1 + torch.rand(2, 3, 2, 4, dtype=torch.float64)
    depth_m[0, 1, 1, 2:] = torch.nan
    predicted = 0.3 * torch.randn(2, 3, 2, 4, 3, dtype=torch.float64)
    assert_close(
        point_anchor(predicted, true, depth_m, 1).item(),
        slow_point_anchor(predicted, true, depth_m, 1),
        rtol=1e-7,
        atol=0,
    )


def test_true_points_cost_nothing_in_any_world_and_unit():
    torch.manual_seed(0)
    true, depth_m = random_cameras(3, 4), 1 + torch.rand(3, 4, 2, 2)
    predicted = points_of(true, depth_m, 2)
    for scale in (1e-2, 1.0, 50.0):
        other_world = true.scaled(scale).transformed(random_poses(3, 1))
        assert point_anchor(predicted, other_world, scale * depth_m, 2) < 1e-9
    assert point_anchor(predicted, true, depth_m, 1) > 1e-3
    assert point_anchor(1.1 * predicted, true, depth_m, 2) > 1e-3


def test_unknown_points_add_nothing_and_have_no_gradient():
    torch.manual_seed(0)
    true, depth_m = random_cameras(3, 4), 1 + torch.rand(3, 4, 2, 2)
    predicted = torch.randn(3, 4, 2, 2, 3)
    each = [point_anchor(predicted[i : i + 1], true[i : i + 1], depth_m[i : i + 1], 2) for i in range(3)]
    depth_m[1], true.world_from_camera[2] = torch.nan, torch.nan
    predicted.requires_grad_()
    found = point_anchor(predicted, true, depth_m, 2)
    assert_close(found, each[0] / 3)
    found.backward()
    assert predicted.grad.isfinite().all()
    assert (predicted.grad.flatten(1).abs().sum(1) > 0).tolist() == [True, False, False]


def test_gradients_of_the_point_anchor():
    torch.manual_seed(0)
    true, depth_m = random_cameras(2, 3, torch.float64), 1 + torch.rand(2, 3, 2, 2, dtype=torch.float64)
    predicted = torch.randn(2, 3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda points: point_anchor(points, true, depth_m, 1), predicted)


def test_depth_of_another_grid_than_the_patches():
    with pytest.raises(InputError, match=r"known at 2x4 places .* 4x4 patches; make .* --depth-cell"):
        point_anchor(torch.zeros(1, 2, 4, 4, 3), random_cameras(1, 2), torch.ones(1, 2, 2, 4), 0)


def pictures(views=4):
    return torch.rand(3, views, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_strengths_of_zero_change_nothing():
    assert torch.equal(changed_pictures(pictures(), CameraConfig(), 4), pictures())


@pytest.mark.parametrize("config", [CameraConfig(colour=1.0, blurred=0.5, patch_drop=0.3), CameraConfig(colour=5.0)])
def test_changed_pictures_repeat_under_a_seed_and_stay_pictures(config):
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(changed_pictures(pictures(), config, 4))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert 0 <= made[0].min() < made[0].max() <= 1


def test_colours_change_of_each_view_for_itself():
    torch.manual_seed(0)
    grey = torch.full((2, 3, 3, 8, 8), 0.5)
    changed = changed_pictures(grey, CameraConfig(colour=1.0), 4)
    assert (changed == changed[..., :1, :1]).all()  # whole pictures
    assert len(changed[..., 0, 0].unique()) == 2 * 3 * 3  # every view and channel by another factor
    assert ((changed - 0.5).abs() <= 0.4 * 0.5 + 0.15).all()


def test_blurred_pictures_are_means_of_neighbours():
    torch.manual_seed(0)
    changed = changed_pictures(pictures(), CameraConfig(blurred=1.0), 4)
    assert_close(changed[..., 5, 7], pictures()[..., 4:7, 6:9].mean((-2, -1)))
    assert_close(changed[..., 0, 0], pictures()[..., :2, :2].mean((-2, -1)))
    some = changed_pictures(torch.rand(100, 4, 3, 4, 4), CameraConfig(blurred=0.3), 4)
    assert some.shape == (100, 4, 3, 4, 4)
    many = torch.rand(200, 4, 3, 4, 4)
    is_blurred = (changed_pictures(many, CameraConfig(blurred=0.3), 4) != many).flatten(2).any(-1)
    assert is_blurred.float().mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 800))


def test_so_many_patches_are_grey():
    torch.manual_seed(0)
    bright = torch.full((8, 10, 3, 16, 24), 0.9)
    grey = changed_pictures(bright, CameraConfig(patch_drop=0.25), 4) != bright
    patches = grey.unfold(3, 4, 4).unfold(4, 4, 4).flatten(5)
    assert (patches.all(-1) | ~patches.any(-1)).all()  # whole patches
    assert (patches == patches[:, :, :1]).all()  # in all channels
    count = 8 * 10 * 4 * 6
    assert patches[:, :, 0, ..., 0].float().mean() == pytest.approx(0.25, abs=4 * math.sqrt(0.1875 / count))
    assert (changed_pictures(bright, CameraConfig(patch_drop=1.0, colour=1.0), 4) == 0.5).all()


@pytest.fixture
def batch():
    frames = torch.tensor([[3, 5, 8, 9], [0, 1, 2, 4], [6, 7, 8, 9]])
    split = ViewSplit(torch.tensor([[0, 3]] * 3), torch.tensor([[1, 2]] * 3))
    return Batch(pictures(), frames, split, ("a", "b", "c"))


def test_nothing_is_told_unless_it_is_asked_for(batch):
    assert estimator_arguments(batch, MODEL, CameraConfig(), 10**6) == {}


def test_any_view_is_canonical_from_its_step_on(batch):
    config = CameraConfig(any_canonical_after=3)
    assert [estimator_arguments(batch, MODEL, config, step) for step in range(3)] == [{}, {}, {}]
    torch.manual_seed(0)
    drawn = [estimator_arguments(batch, MODEL, config, step)["canonical"] for step in range(3, 63)]
    assert set(drawn) == {0, 1, 2, 3}
    torch.manual_seed(0)
    assert [estimator_arguments(batch, MODEL, config, step)["canonical"] for step in range(3, 63)] == drawn
    assert "canonical" in estimator_arguments(batch, MODEL, CameraConfig(any_canonical_after=0), 0)


def test_true_cameras_in_the_gauge_of_the_anchor_are_given_until_their_step(batch):
    torch.manual_seed(0)
    known = replace(batch, cameras=random_cameras(3, 4))
    config = CameraConfig(anchor=1.0, true_until=2)
    given = [estimator_arguments(known, MODEL, config, step).get("given") for step in range(4)]
    assert given[2:] == [None, None]
    assert camera_anchor(given[0], known.cameras, 2) < 1e-9
    assert_close(given[0].centers.norm(dim=-1).sum(1) / 3, torch.ones(3))
    assert estimator_arguments(batch, MODEL, config, 0) == {}  # none are known
    moving = replace(config, any_canonical_after=0)
    for step in (0, 1) * 8:
        told = estimator_arguments(known, MODEL, moving, step)
        assert camera_anchor(told["given"], known.cameras, told["canonical"]) < 1e-9


def test_positions_by_the_code_of_order(batch):
    def told(code, **config):
        return estimator_arguments(batch, AnyViewConfig(order_code=code), CameraConfig(**config), 0)

    assert told("none", drop_order=0.0) == told("index", drop_order=0.0) == {}
    assert torch.equal(told("relative", drop_order=0.0)["positions"], batch.frames)
    assert torch.equal(told("relative", drop_order=1.0)["positions"], torch.zeros_like(batch.frames))
    torch.manual_seed(0)
    kept = sum(bool(told("relative", drop_order=0.25)["positions"].any()) for _ in range(400))
    assert kept / 400 == pytest.approx(0.75, abs=4 * math.sqrt(0.1875 / 400))


@pytest.mark.parametrize("strength", ["colour", "blurred", "patch_drop"])
def test_pictures_are_changed_for_the_estimator_only(batch, strength):
    before = batch.images.clone()
    shown = estimator_arguments(batch, MODEL, CameraConfig(**{strength: 1.0}), 0)["shown"]
    assert not torch.equal(shown, before)
    assert torch.equal(batch.images, before)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"anchor": -1.0}, "training.cameras.anchor = -1.0"),
        ({"colour": math.inf}, "training.cameras.colour = inf"),
        ({"drop_order": 1.5}, "training.cameras.drop_order = 1.5"),
        ({"patch_drop": -0.1}, "training.cameras.patch_drop = -0.1"),
        ({"any_canonical_after": -1}, "training.cameras.any_canonical_after = -1"),
        ({"true_until": -1}, "training.cameras.true_until = -1"),
        ({"true_until": 5}, "training.cameras.true_until = 5: needs training.cameras.anchor"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(values, named):
    with pytest.raises(InputError) as error:
        CameraConfig(**values)
    assert named in str(error.value)


def test_without_cameras_every_weight_of_the_head_has_a_gradient_of_zero():
    """Else processes whose samples have none would wait for one another."""
    model = AnyViewRayZer(MODEL)
    images, views = torch.rand(1, 3, 3, 16, 16), torch.arange(3)[None]
    batch = Batch(images, views, ViewSplit(views[:, :2], views[:, 2:]), ("a",))
    predicted = model(images, None).cameras
    _anchor(predicted, batch, 1).backward()
    gradients = [parameter.grad for parameter in model.camera_estimator.head.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)

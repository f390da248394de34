"""The picture of cameras shows them where they are; statistics equal plain sums, and nothing waits for the device."""

import math

import numpy as np
import pytest
import torch

from rayzer import Cameras, ViewSplit
from rayzer.geometry import Similarity, rigid
from rayzer.geometry.rotations import rotation_from_quaternion
from rayzer.training.camera_pictures import _round_step, camera_picture, camera_statistics

BLUE, ORANGE, GREEN = (0x25, 0x63, 0xC9), (0xC2, 0x50, 0x0A), (0x0B, 0x7A, 0x58)
PANELS = ((46, 506), (552, 1012))  # columns of the panel from above and of the one from the side
TOP, BOTTOM = 56, 516


def cameras_at(*centers):
    poses = torch.eye(4).repeat(len(centers), 1, 1)
    poses[:, :3, 3] = torch.tensor(centers)
    return Cameras(poses, torch.tensor([1.0, 1.0, 0.5, 0.5]).repeat(len(centers), 1))


def some_cameras(*shape):
    generator = torch.Generator().manual_seed(0)
    rotation = rotation_from_quaternion(torch.randn(*shape, 4, generator=generator))
    pose = rigid(rotation, torch.randn(*shape, 3, generator=generator))
    return Cameras(pose, 0.5 + torch.rand(*shape, 4, generator=generator))


def split_of(views, targets):
    context = [view for view in range(views) if view not in targets]
    return ViewSplit(torch.tensor([context]), torch.tensor([targets]))


def discs(picture, panel, color):
    """Centres (column, row) of the discs of a colour on a panel: the only places where 4 x 4 pixels have it."""
    left, right = PANELS[panel]
    same = (picture[TOP:BOTTOM, left:right] == color).all(-1)
    filled = np.lib.stride_tricks.sliding_window_view(same, (4, 4)).all((-1, -2))
    centers = []
    for row, column in np.argwhere(filled):
        center = (int(left + column + 1.5), int(TOP + row + 1.5))
        if all(math.dist(center, other) > 6 for other in centers):
            centers.append(center)
    return centers


def test_right_up_and_one_scale():
    # x = 1 to the right, y = 1 below, z = 1 ahead of the first camera
    picture = camera_picture(cameras_at((0, 0, 0), (2, 1, 1.5)), split_of(2, [1]))
    (above_a,), (side_a,) = discs(picture, 0, BLUE), discs(picture, 1, BLUE)
    (above_b,), (side_b,) = discs(picture, 0, ORANGE), discs(picture, 1, ORANGE)
    unit = 460 / (1.3 * 2)
    assert np.subtract(above_b, above_a) == pytest.approx([2 * unit, -1.5 * unit], abs=2)
    assert np.subtract(side_b, side_a) == pytest.approx([1.5 * unit, 1 * unit], abs=2)
    middle = np.add(above_a, above_b) / 2
    assert middle == pytest.approx([(46 + 506) / 2, (56 + 516) / 2], abs=2)


def test_cameras_look_where_they_look():
    picture = camera_picture(cameras_at((0, 0, 0), (4, 0, 0)), split_of(2, [1]))
    ((x, y),) = discs(picture, 0, BLUE)
    close = (picture == BLUE).all(-1)
    ahead, behind = close[y - 45 : y - 8, x - 12 : x + 12].sum(), close[y + 25 : y + 60, x - 12 : x + 12].sum()
    assert ahead > 10
    assert behind == 0


def test_true_cameras_are_aligned():
    estimated = cameras_at(*[(math.cos(a), 0.3 * math.sin(2 * a), math.sin(a)) for a in np.linspace(0, 4, 9)])
    turn = rotation_from_quaternion(torch.tensor([0.3, 0.5, -0.2, 0.7]))
    true = Similarity(torch.tensor(7.0), turn, torch.tensor([10.0, 20.0, 30.0])).cameras(estimated)
    picture = camera_picture(estimated, split_of(9, [2, 5]), true)
    assert (picture == camera_picture(estimated, split_of(9, [2, 5]), estimated)).mean() > 0.995
    for panel, (left, right) in enumerate(PANELS):
        greenish = np.abs(picture[TOP:BOTTOM, left:right].astype(int) - GREEN).sum(-1) < 90
        rows, columns = np.nonzero(greenish)
        found = np.array(discs(picture, panel, BLUE) + discs(picture, panel, ORANGE))
        assert len(found) >= 8
        assert len(rows) > 20
        low, high = found.min(0), found.max(0)
        assert (columns + left).min() == pytest.approx(low[0], abs=12)
        assert (columns + left).max() == pytest.approx(high[0], abs=12)
        assert (rows + TOP).max() == pytest.approx(high[1], abs=12)
    without = camera_picture(estimated, split_of(9, [2, 5]))
    assert not (without == GREEN).all(-1).any()


@pytest.mark.parametrize(
    "break_them",
    [
        lambda poses, intrinsics: poses[1].fill_(math.nan),
        lambda poses, intrinsics: intrinsics.fill_(math.inf),
        lambda poses, intrinsics: poses[:, :3, 3].zero_(),
        lambda poses, intrinsics: poses[:, :3, 3].mul_(1e30),
        lambda poses, intrinsics: poses[:, :3, 3].mul_(1e-30),
        lambda poses, intrinsics: poses[:, :3, 3].add_(1e9),
        lambda poses, intrinsics: intrinsics.zero_(),
        lambda poses, intrinsics: intrinsics.mul_(-1e20),
    ],
)
def test_diverged_cameras_can_be_shown(break_them):
    true = some_cameras(5)
    broken = true.map(torch.clone)
    break_them(broken.world_from_camera, broken.intrinsics)
    for reference in (None, true):
        assert camera_picture(broken, split_of(5, [1, 3]), reference).shape == (562, 1035, 3)
    assert camera_picture(true, split_of(5, [1, 3]), broken).shape == (562, 1035, 3)


def test_cameras_that_are_not_finite_are_counted():
    cameras = cameras_at((0, 0, 0), (1, 0, 0), (2, 0, 0))
    before = camera_picture(cameras, split_of(3, [1]))
    cameras.intrinsics[1] = math.nan
    after = camera_picture(cameras, split_of(3, [1]))
    assert discs(before, 0, ORANGE)
    assert not discs(after, 0, ORANGE)
    assert len(discs(after, 0, BLUE)) == 2
    assert (before[:40] != after[:40]).any()  # the legend says so


@pytest.mark.parametrize(
    ("length", "step"), [(1.0, 1), (1.01, 2), (0.021, 0.05), (7, 10), (4e-5, 5e-5), (1e-12, 1e-12), (2e30, 2e30)]
)
def test_steps_of_the_grid(length, step):
    assert _round_step(length) == pytest.approx(step)


def test_statistics():
    cameras = some_cameras(3, 5)
    statistics = {name: value.item() for name, value in camera_statistics(cameras).items()}
    poses, intrinsics = cameras.world_from_camera.double().numpy(), cameras.intrinsics.double().numpy()
    focal = [np.mean([(view[0] + view[1]) / 2 for view in sample]) for sample in intrinsics]
    angles = [math.degrees(math.acos((np.trace(pose[:3, :3]) - 1) / 2)) for pose in poses.reshape(-1, 4, 4)]
    lengths = [math.sqrt(sum(x * x for x in pose[:3, 3])) for pose in poses.reshape(-1, 4, 4)]
    expected = {
        "focal_mean": np.mean(focal),
        "focal_spread": np.std(focal),
        "rotation_mean_deg": np.mean(angles),
        "translation_mean": np.mean(lengths),
        "translation_max": max(lengths),
    }
    assert statistics == pytest.approx(expected, rel=1e-5)


def test_statistics_of_one_sample_and_of_canonical_cameras():
    values = camera_statistics(cameras_at((0, 0, 0), (0, 0, 0)).map(lambda value: value[None]))
    numbers = [value.item() for value in values.values()]
    assert numbers == [1, 0, 0, 0, 0]
    assert all(value.ndim == 0 and not value.requires_grad for value in values.values())


def test_statistics_do_not_wait_for_the_device(monkeypatch):
    cameras = some_cameras(2, 3)
    for ask in ("item", "tolist", "numpy", "cpu", "to", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(torch.Tensor, ask, None)
    values = camera_statistics(cameras)
    monkeypatch.undo()
    assert all(math.isfinite(value.item()) for value in values.values())

"""Pose scores against hand-made cameras and a slow twin in numpy."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rayzer import Cameras
from rayzer.evaluation.poses import PoseScores, mean_pose_scores, pose_scores
from rayzer.geometry import Similarity, rigid
from rayzer.geometry.rotations import rotation_from_vector

fast = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)
ALL = {5: 1.0, 15: 1.0, 30: 1.0}
NONE = {5: None, 15: None, 30: None}
IDENTITY = torch.eye(3, dtype=torch.float64)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def about(axis, degrees):
    return rotation_from_vector(math.radians(degrees) * torch.eye(3, dtype=torch.float64)[axis])


def cameras(rotations, centers, focal=1.2):
    intrinsics = torch.tensor([focal, focal, 0.5, 0.5], dtype=torch.float64)
    return Cameras(rigid(rotations, centers), intrinsics.expand(len(centers), 4))


def random_cameras(views=5, seed=0):
    return cameras(rotation_from_vector(random(views, 3, seed=seed)), random(views, 3, seed=seed + 1))


def near(true, degrees, distance, seed=0):
    """The same cameras, each turned by about `degrees` and moved by about `distance`."""
    turns = rotation_from_vector(math.radians(degrees) * random(len(true), 3, seed=seed))
    moves = distance * random(len(true), 3, seed=seed + 1)
    focal = true.intrinsics * (1 + 0.1 * random(len(true), 4, seed=seed + 2))
    return Cameras(rigid(true.rotations @ turns, true.centers + moves), focal)


def numpy_twin(predicted, true):
    """The definitions pair by pair; the area by a histogram, as published evaluations compute it."""
    a, b = (np.linalg.inv(c.world_from_camera.double().numpy()) for c in (predicted, true))
    turns, directions = [], []
    for i in range(len(a)):
        for j in range(i + 1, len(a)):
            x, y = (w2c[i] @ np.linalg.inv(w2c[j]) for w2c in (a, b))
            turns.append(np.degrees(np.arccos(np.clip((np.trace(x[:3, :3].T @ y[:3, :3]) - 1) / 2, -1, 1))))
            cosine = x[:3, 3] @ y[:3, 3] / np.linalg.norm(x[:3, 3]) / np.linalg.norm(y[:3, 3])
            directions.append(np.degrees(np.arccos(np.clip(abs(cosine), 0, 1))))
    turns, directions = np.array(turns), np.array(directions)
    worst = np.maximum(turns, directions)

    def auc(limit):
        histogram, _ = np.histogram(worst, bins=np.arange(limit + 1))
        return np.mean(np.cumsum(histogram / len(worst)))

    source, target = (c.world_from_camera[:, :3, 3].double().numpy() for c in (predicted, true))
    source, target = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(target.T @ source / len(source))
    flip = np.diag([1, 1, np.linalg.det(u) * np.linalg.det(vt)])
    scale = np.trace(np.diag(s) @ flip) / source.var(0).sum()
    off = scale * source @ (u @ flip @ vt).T - target
    ratio = predicted.intrinsics[:, :2].double().numpy() / true.intrinsics[:, :2].double().numpy()
    return {
        "rra": {str(k): np.mean(turns < k) for k in (5, 15, 30)},
        "rta": {str(k): np.mean(directions < k) for k in (5, 15, 30)},
        "rpa": {str(k): np.mean((turns < k) & (directions < k)) for k in (5, 15, 30)},
        "auc": {str(k): auc(k) for k in (5, 20, 30)},
        "ate": np.sqrt((off**2).sum(1).mean() / target.var(0).sum()),
        "focal_error": np.abs(ratio - 1).mean(),
        "rotation_error_deg": np.median(turns),
        "translation_error_deg": np.median(directions),
    }


@given(seed=seeds, degrees=st.sampled_from([1.0, 5.0, 20.0]), views=st.integers(3, 8))
@fast
def test_scores_are_the_numpy_twin(seed, degrees, views):
    true = random_cameras(views, seed=seed)
    predicted = near(true, degrees, degrees / 60, seed=seed + 7)
    found, expected = pose_scores(predicted, true).as_json(), numpy_twin(predicted, true)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("views", [2, 3, 24])
def test_a_perfect_prediction(views, dtype):
    true = random_cameras(views).to(dtype)
    ate = None if views == 2 else pytest.approx(0, abs=1e-6)
    zero = pytest.approx(0, abs=1e-4)
    assert pose_scores(true, true) == PoseScores(ALL, ALL, ALL, {5: 1, 20: 1, 30: 1}, ate, 0, zero, zero)


@given(seed=seeds, scale=st.floats(1e-3, 1e3))
@fast
def test_no_score_sees_a_similarity(seed, scale):
    move = Similarity(
        torch.tensor(scale, dtype=torch.float64), rotation_from_vector(random(3, seed=seed)), 10 * random(3, seed=seed)
    )
    true = random_cameras(6, seed=seed)
    moved = pose_scores(move.cameras(true), true)
    assert (moved.rra, moved.rta, moved.rpa, moved.auc) == (ALL, ALL, ALL, {5: 1, 20: 1, 30: 1})
    assert moved.ate == pytest.approx(0, abs=1e-9)
    predicted = near(true, 8, 0.2, seed=seed + 7)
    for found in (pose_scores(move.cameras(predicted), true), pose_scores(predicted, move.cameras(true))):
        assert found.ate == pytest.approx(pose_scores(predicted, true).ate, abs=1e-9)
        assert found.auc == pytest.approx(pose_scores(predicted, true).auc)
        assert found.rotation_error_deg == pytest.approx(pose_scores(predicted, true).rotation_error_deg)


@pytest.mark.parametrize(
    ("degrees", "rra", "auc"),
    [
        (0.5, (1, 1, 1), (1, 1, 1)),
        (3.5, (1, 1, 1), (2 / 5, 17 / 20, 27 / 30)),
        (4.5, (1, 1, 1), (1 / 5, 16 / 20, 26 / 30)),
        (14.5, (0, 1, 1), (0, 6 / 20, 16 / 30)),
        (29.5, (0, 0, 1), (0, 0, 1 / 30)),
        (30.5, (0, 0, 0), (0, 0, 0)),
        (179.5, (0, 0, 0), (0, 0, 0)),
    ],
)
def test_a_known_turn_lands_in_its_bins(degrees, rra, auc):
    """Two cameras; the second is turned about its own centre, which leaves the translation seen from the first."""
    centers = torch.tensor([[0.0, 0, 0], [1, 2, 3]], dtype=torch.float64)
    true = cameras(IDENTITY.expand(2, 3, 3), centers)
    scores = pose_scores(cameras(torch.stack([IDENTITY, about(0, degrees)]), centers), true)
    assert tuple(scores.rra.values()) == rra
    assert scores.rpa == scores.rra
    assert scores.rta == ALL
    assert tuple(scores.auc.values()) == pytest.approx(auc)
    assert scores.rotation_error_deg == pytest.approx(degrees)
    assert scores.translation_error_deg == pytest.approx(0, abs=1e-9)


def test_a_known_direction_lands_in_its_bins():
    true = cameras(IDENTITY.expand(2, 3, 3), torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=torch.float64))
    moved = about(2, 10.5) @ true.centers[1]
    for sign in (1, -1):  # the direction is folded: against is along
        predicted = cameras(IDENTITY.expand(2, 3, 3), torch.stack([true.centers[0], sign * moved]))
        scores = pose_scores(predicted, true)
        assert scores.rra == ALL
        assert scores.rta == scores.rpa == {5: 0, 15: 1, 30: 1}
        assert scores.auc == pytest.approx({5: 0, 20: 10 / 20, 30: 20 / 30})
        assert scores.translation_error_deg == pytest.approx(10.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cameras_that_only_turn_are_judged_by_rotation(dtype):
    rotations = rotation_from_vector(random(6, 3)).to(dtype)
    w2c = rigid(rotations.mT, -(rotations.mT @ torch.tensor([3.1, -2.3, 0.7], dtype=dtype)))
    true = Cameras(torch.linalg.inv(w2c), torch.ones(6, 4, dtype=dtype))  # centres equal up to rounding
    predicted = Cameras(rigid(rotations, random(6, 3).to(dtype)), true.intrinsics)
    scores = pose_scores(predicted, true)
    assert scores.rra == scores.rpa == ALL
    assert scores.auc == {5: 1, 20: 1, 30: 1}
    assert scores.rta == NONE
    assert scores.ate is None
    assert scores.translation_error_deg is None


def test_one_pair_without_translation_counts_for_rotation_only():
    true = random_cameras(3)
    true = Cameras(rigid(true.rotations, true.centers[[0, 1, 0]]), true.intrinsics)  # pair 02
    predicted = Cameras(rigid(true.rotations, random(3, 3, seed=5)), true.intrinsics)
    scores = pose_scores(predicted, true)
    assert scores.rra == ALL
    assert scores.rpa[5] == pytest.approx((1 + 2 * scores.rta[5]) / 3)
    assert scores.rta[30] in (0, 0.5, 1)  # of two pairs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_predicted_cameras_that_all_coincide(dtype):
    true = random_cameras(5).to(dtype)
    w2c = rigid(true.rotations.mT, -(true.rotations.mT @ torch.tensor([3.1, -2.3, 0.7], dtype=dtype)))
    scores = pose_scores(Cameras(torch.linalg.inv(w2c), true.intrinsics), true)
    assert scores.rra == ALL
    assert scores.rta == scores.rpa == {5: 0, 15: 0, 30: 0}
    assert scores.auc == {5: 0, 20: 0, 30: 0}
    assert scores.translation_error_deg == 90
    assert scores.ate == pytest.approx(1, abs=0.5)  # of the path: nothing of it was found


def test_a_reflected_path_is_not_a_match():
    true = random_cameras(8)
    mirror = true.centers * torch.tensor([1.0, 1, -1])
    scores = pose_scores(cameras(true.rotations, mirror), true)
    assert scores.ate > 0.1
    flat = true.centers * torch.tensor([1.0, 1, 0])  # in a plane a half turn does what a mirror does
    assert (
        pose_scores(cameras(true.rotations, flat * torch.tensor([1.0, -1, 1])), cameras(true.rotations, flat)).ate
        < 1e-9
    )


def test_the_trajectory_error_by_hand():
    """Corners of a square; two opposite ones are predicted nearer to the middle, which leaves the axes as they are."""
    square = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    squeezed = square * torch.tensor([1.0, 0.5, 1])
    turns = IDENTITY.expand(4, 3, 3)
    scale = (2 * 1 + 2 * 0.5) / (2 * 1 + 2 * 0.25)  # least squares: 1.2
    expected = math.sqrt((2 * (1 - scale) ** 2 + 2 * (1 - 0.5 * scale) ** 2) / 4)
    assert pose_scores(cameras(turns, squeezed), cameras(turns, square)).ate == pytest.approx(expected)


def test_two_centres_fit_any_other_two():
    assert pose_scores(random_cameras(2), random_cameras(2, seed=5)).ate is None


def test_the_focal_error_is_the_mean_over_views_and_both_lengths():
    true = random_cameras(2)
    factors = torch.tensor([[1.1, 0.9, 3, 3], [1.0, 2.0, 3, 3]])
    assert pose_scores(Cameras(true.world_from_camera, true.intrinsics * factors), true).focal_error == pytest.approx(
        0.3
    )


@pytest.mark.parametrize(
    ("predicted", "true"),
    [
        (random_cameras(1), random_cameras(1)),
        (random_cameras(3), random_cameras(4)),
        (random_cameras(4).map(lambda x: x[None]), random_cameras(4).map(lambda x: x[None])),
    ],
    ids=["one view", "other views", "a batch"],
)
def test_misuse_is_refused(predicted, true):
    with pytest.raises(ValueError, match=r"same two or more views, got"):
        pose_scores(predicted, true)


def test_numbers_that_are_none_are_refused():
    true = random_cameras(3)
    broken = true.world_from_camera.clone()
    broken[1, 0, 3] = math.nan
    with pytest.raises(ValueError, match="predicted cameras hold numbers that are not finite"):
        pose_scores(Cameras(broken, true.intrinsics), true)


def test_true_focal_lengths_that_are_none_judge_nothing():
    true = random_cameras(3)
    scores = pose_scores(true, Cameras(true.world_from_camera, 0 * true.intrinsics))
    assert scores.focal_error is None
    assert scores.rpa[5] == 1


def test_the_mean_leaves_out_scenes_without_a_figure():
    a = PoseScores(ALL, {5: 0, 15: 0.5, 30: 1}, ALL, {5: 0.25, 20: 1, 30: 1}, 0.2, 0.1, 2.0, 4.0)
    b = PoseScores({5: 0, 15: 1, 30: 1}, NONE, ALL, {5: 0.75, 20: 1, 30: 1}, None, 0.3, 4.0, None)
    mean = mean_pose_scores([a, b])
    assert mean == PoseScores(
        rra={5: 0.5, 15: 1, 30: 1},
        rta={5: 0, 15: 0.5, 30: 1},
        rpa=ALL,
        auc={5: 0.5, 20: 1, 30: 1},
        ate=0.2,
        focal_error=pytest.approx(0.2),
        rotation_error_deg=3,
        translation_error_deg=4,
    )
    assert mean_pose_scores([b]) == b
    with pytest.raises(ValueError, match="no pose scores"):
        mean_pose_scores([])


def test_json_has_null_and_no_nan():
    true = cameras(rotation_from_vector(random(3, 3)), torch.zeros(3, 3, dtype=torch.float64))
    found = json.loads(json.dumps(pose_scores(random_cameras(3), true).as_json(), allow_nan=False))
    assert list(found) == [
        *("rra", "rta", "rpa", "auc", "ate", "focal_error", "rotation_error_deg", "translation_error_deg")
    ]
    assert found["rta"] == {"5": None, "15": None, "30": None}
    assert found["auc"].keys() == {"5", "20", "30"}
    assert found["ate"] is None

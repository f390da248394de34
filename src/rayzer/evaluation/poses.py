"""How well predicted cameras agree with the true ones: relative poses of all pairs, the whole path, focal lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rayzer.geometry.alignment import align_cameras, relative_pose_errors
from rayzer.geometry.cameras import Cameras, rigid
from rayzer.geometry.precision import rounding

SHARE_DEG = (5, 15, 30)  # thresholds of RRA, RTA and RPA
AUC_DEG = (5, 20, 30)

Shares = dict[int, float | None]


@dataclass(frozen=True)
class PoseScores:
    """Agreement of cameras, of one scene or as the mean over scenes. None where a figure cannot be had.

    Attributes:
        rra: threshold in degrees -> share in [0, 1] of the pairs of views whose relative rotation is off by less.
        rta: the same for the direction of the relative translation, over pairs whose true centres differ.
        rpa: share of the pairs with both below; where the true centres of a pair coincide, its rotation alone counts.
        auc: threshold k in degrees -> mean of RPA@1, RPA@2 ... RPA@k: the area under that curve with 1-degree bins.
        ate: root mean square error of the camera centres after Sim(3) alignment, as a fraction of the root mean square
            distance of the true centres from their mean. None with fewer than three views (two centres fit any other
            two) or where the true centres coincide.
        focal_error: mean of |predicted / true - 1| over the focal lengths fx and fy of all views.
        rotation_error_deg, translation_error_deg: medians over the pairs.
    """

    rra: Shares
    rta: Shares
    rpa: Shares
    auc: Shares
    ate: float | None
    focal_error: float | None
    rotation_error_deg: float | None
    translation_error_deg: float | None

    def as_json(self) -> dict[str, Any]:
        """The section `poses` of results.json: thresholds are strings, None becomes null."""
        return {
            name: {str(key): share for key, share in value.items()} if isinstance(value, dict) else value
            for name, value in asdict(self).items()
        }


def pose_scores_from_json(content: Mapping[str, Any]) -> PoseScores:
    """What `PoseScores.as_json` gave."""
    shares = {name: {int(key): share for key, share in content[name].items()} for name in ("rra", "rta", "rpa", "auc")}
    numbers = {name: content[name] for name in ("ate", "focal_error", "rotation_error_deg", "translation_error_deg")}
    return PoseScores(**shares, **numbers)


def pose_scores(predicted: Cameras, true: Cameras) -> PoseScores:
    """Score the cameras of one scene, in float64 on the CPU.

    No score sees a Sim(3) of either set. A pair whose predicted centres coincide, but not the true ones, has the
    largest translation error, 90 degrees.

    Args:
        predicted, true: cameras [v] of the same views, v >= 2, each set in a world of its own.

    Raises:
        ValueError: if the shapes differ or are not [v], there is only one view, or a number is not finite.
    """
    _check(predicted, true)
    rotation, translation = _pair_errors(predicted, true)
    moved = ~translation.isnan()
    both = torch.where(moved, torch.maximum(rotation, translation), rotation)
    return PoseScores(
        rra=_shares_below(rotation, SHARE_DEG),
        rta=_shares_below(translation[moved], SHARE_DEG),
        rpa=_shares_below(both, SHARE_DEG),
        auc={k: _area_under_curve(both, k) for k in AUC_DEG},
        ate=_absolute_trajectory_error(predicted, true),
        focal_error=_focal_error(predicted, true),
        rotation_error_deg=_median(rotation),
        translation_error_deg=_median(translation[moved]),
    )


def straight_line_scores(frames: Tensor, true: Cameras) -> PoseScores:
    """The control for cameras that knows nothing: all look the same way and stand on a line, spaced by frame number.

    The line runs sideways, up or forwards, whichever scores best (AUC@20): on a mild path that is not far from right.

    Args:
        frames: [v] frame numbers.
        true: cameras [v].
    """
    place = frames.to(true.centers)
    lines = [Cameras(_line(axis, place), true.intrinsics) for axis in torch.eye(3).to(place)]
    return max((pose_scores(line, true) for line in lines), key=lambda scores: scores.auc[20] or 0.0)


def _line(axis: Tensor, place: Tensor) -> Tensor:
    """[v, 4, 4] poses without rotation at `place` [v] along an axis [3]."""
    return rigid(torch.eye(3).to(place).expand(len(place), 3, 3), place[:, None] * axis)


def mean_pose_scores(scores: Sequence[PoseScores]) -> PoseScores:
    """Mean of every figure over the scenes that have it; None where none has. Medians too are averaged.

    Raises:
        ValueError: if there are no scores.
    """
    if not scores:
        raise ValueError("there are no pose scores to average")

    def shares(name: str) -> Shares:
        each = [getattr(score, name) for score in scores]
        return {key: _mean([one[key] for one in each]) for key in each[0]}

    def number(name: str) -> float | None:
        return _mean([getattr(score, name) for score in scores])

    return PoseScores(
        rra=shares("rra"),
        rta=shares("rta"),
        rpa=shares("rpa"),
        auc=shares("auc"),
        ate=number("ate"),
        focal_error=number("focal_error"),
        rotation_error_deg=number("rotation_error_deg"),
        translation_error_deg=number("translation_error_deg"),
    )


def _check(predicted: Cameras, true: Cameras) -> None:
    if predicted.shape != true.shape or len(true.shape) != 1 or len(true) < 2:
        raise ValueError(
            "poses are compared between cameras [v] of the same two or more views, "
            f"got {list(predicted.shape)} predicted and {list(true.shape)} true"
        )
    for name, cameras in (("predicted", predicted), ("true", true)):
        if not (cameras.world_from_camera.isfinite().all() and cameras.intrinsics.isfinite().all()):
            raise ValueError(f"{name} cameras hold numbers that are not finite")


def _pair_errors(predicted: Cameras, true: Cameras) -> tuple[Tensor, Tensor]:
    """As `relative_pose_errors`, in float64; which centres coincide is judged in the precision that they came in."""
    rotation, translation = relative_pose_errors(_double(predicted), _double(true))
    translation = translation.masked_fill(_pairs_in_one_point(predicted), 90.0)
    return rotation, translation.masked_fill(_pairs_in_one_point(true), torch.nan)


def _pairs_in_one_point(cameras: Cameras) -> Tensor:
    """[v (v - 1) / 2] bool: pairs whose centres differ by no more than rounding errors."""
    return relative_pose_errors(cameras, cameras)[1].isnan().cpu()


def _absolute_trajectory_error(predicted: Cameras, true: Cameras) -> float | None:
    coincide = _spread(true.centers) <= rounding(true.centers, (-1, -2))
    if len(true) < 3 or coincide:
        return None
    source, target = _double(predicted), _double(true)
    off = align_cameras(source, target).points(source.centers) - target.centers
    return float(off.square().sum(-1).mean().sqrt() / _spread(target.centers))


def _spread(centers: Tensor) -> Tensor:
    """Root mean square distance of centres [v, 3] from their mean."""
    return (centers - centers.mean(0)).square().sum(-1).mean().sqrt()


def _focal_error(predicted: Cameras, true: Cameras) -> float | None:
    """None where the true ones are none: estimated cameras that serve as true ones can have any."""
    if true.intrinsics[:, :2].min() <= 0:
        return None
    ratio = _double(predicted).intrinsics[:, :2] / _double(true).intrinsics[:, :2]
    return float((ratio - 1).abs().mean())


def _shares_below(errors_deg: Tensor, thresholds_deg: Sequence[int]) -> Shares:
    return {k: float((errors_deg < k).double().mean()) if len(errors_deg) else None for k in thresholds_deg}


def _area_under_curve(errors_deg: Tensor, limit_deg: int) -> float:
    edges = torch.arange(1, limit_deg + 1)
    return float((errors_deg[:, None] < edges).double().mean())


def _median(errors_deg: Tensor) -> float | None:
    return float(errors_deg.quantile(0.5)) if len(errors_deg) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _double(cameras: Cameras) -> Cameras:
    return cameras.detach().to("cpu", torch.float64)

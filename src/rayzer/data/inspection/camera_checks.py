"""What can be wrong with the cameras of a scene; each check is one entry in `checks.CHECKS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from rayzer.data.inspection.evidence import Evidence, Problem
from rayzer.errors import counted

JUMP = 10.0  # times the median step
OUTLIER = 1e3  # times the median distance from the middle
STILL = 1e-8  # of the distance from the origin: rounding of poses that are equal
FIELD_OF_VIEW_DEG = (10.0, 150.0)
OFF_CENTER = 0.15  # of the side of the picture
OTHER_SIZE = 1.25  # a principal point this many times farther out belongs to another picture
PIXEL_ASPECT = 1.25


def missing_poses(evidence: Evidence) -> Problem | None:
    """Frames without a pose, or with one that is not finite or not rigid, in a scene that has poses."""
    return _incomplete(evidence, "pose", evidence.poses) if evidence.comes_with("pose") else None


def missing_intrinsics(evidence: Evidence) -> Problem | None:
    """Frames without intrinsics, or with such that are no camera, in a scene that has cameras."""
    cameras = evidence.comes_with("pose") or evidence.comes_with("intrinsics")
    return _incomplete(evidence, "intrinsics", evidence.intrinsics) if cameras else None


def standing_still(evidence: Evidence) -> Problem | None:
    """Poses that are all the same, or only turn."""
    if len(evidence.poses) < 2:
        return None
    distances, middle = evidence.from_middle
    if distances.max() > STILL * (1 + np.linalg.norm(middle)):
        return None
    rotations = np.array([pose[:3, :3] for pose in evidence.poses.values()])
    if np.ptp(rotations, axis=0).max() > STILL:
        message = "the camera only turns and never moves, so that nothing tells depth; use the scene without poses"
        return Problem("warning", message)
    message = "all poses are the same, probably placeholders; estimate the cameras, or use the scene without poses"
    return Problem("error", message, prevents="poses")


def far_out(evidence: Evidence) -> Problem | None:
    """Camera centres a thousand times farther from the middle than is usual in the scene."""
    out = _far_out(evidence)
    if not out:
        return None
    message = f"{counted(len(out), 'camera')} over {OUTLIER:,.0f} times farther out than usual, which would shrink the "
    message += "rest to a point; remove these frames, or estimate the cameras anew"
    return Problem("error", message, evidence.names(out), "poses")


def jumps(evidence: Evidence) -> Problem | None:
    """Steps of the camera far longer than usual in the scene."""
    out = set(_far_out(evidence))
    positions = [position for position in evidence.poses if position not in out]
    if len(positions) < 4:
        return None
    steps = evidence.steps(positions)
    long = np.flatnonzero((steps > JUMP * np.median(steps)) & (np.median(steps) > 0))
    if not len(long):
        return None
    message = (
        f"the camera jumps (over {JUMP:g} times the median step) at {counted(len(long), 'frame')}: frames are out "
    )
    message += "of order, left out, or posed wrongly; split the scene there, or remove these frames"
    return Problem("warning", message, evidence.names(positions[index + 1] for index in long))


def intrinsics_of_another_size(evidence: Evidence) -> Problem | None:
    """Principal points that would be in the middle of a larger or smaller picture."""
    odd = np.flatnonzero(_of_another_size(evidence))
    if not len(odd):
        return None
    position, fractions = list(evidence.intrinsics.items())[odd[0]]
    (width, height), factor = evidence.size_px(position), 2 * fractions[2:].mean()
    message = (
        f"the intrinsics of {counted(len(odd), 'frame')} seem to belong to pictures of about "
        f"{width * factor:.0f}x{height * factor:.0f}, not {width}x{height} pixels; "
        f"multiply fx, fy, cx, cy by {1 / factor:.3g}"
    )
    return _wrong_intrinsics(evidence, odd, message)


def field_of_view(evidence: Evidence) -> Problem | None:
    """Focal lengths that no usual lens has."""
    odd = np.flatnonzero(~_of_another_size(evidence) & ~_usual_lens(evidence))
    if not len(odd):
        return None
    across, down = fields_of_view_deg(evidence)[odd[0]]
    message = f"focal lengths of {counted(len(odd), 'frame')} mean a field of view of {across:.3g} x {down:.3g} degrees"
    message += "; give them in pixels of the picture, not of another and not as fractions"
    return _wrong_intrinsics(evidence, odd, message)


def principal_point(evidence: Evidence) -> Problem | None:
    """Principal points far from the middle."""
    centers = _fractions(evidence)[:, 2:]
    far = (np.abs(centers - 0.5) > OFF_CENTER).any(-1)
    odd = np.flatnonzero(far & ~_of_another_size(evidence) & _usual_lens(evidence))
    if not len(odd):
        return None
    x, y = centers[odd[0]]
    message = f"the principal point of {counted(len(odd), 'frame')} is far from the middle (at {x:.0%} of the width, "
    message += f"{y:.0%} of the height): right for cropped pictures, else correct cx and cy"
    return Problem("warning", message, _names(evidence, odd))


def pixel_aspect(evidence: Evidence) -> Problem | None:
    """Pixels that are far from square."""
    sizes = np.array([evidence.size_px(position) for position in evidence.intrinsics]).reshape(-1, 2)
    aspects = np.divide(*(_fractions(evidence)[:, :2] * sizes).T)
    odd = np.flatnonzero((np.maximum(aspects, 1 / aspects) > PIXEL_ASPECT) & _usual_lens(evidence))
    if not len(odd):
        return None
    message = (
        f"fx is {aspects[odd[0]]:.3g} times fy in {counted(len(odd), 'frame')}, so pixels are not square; correct "
    )
    message += "the one that was not scaled with the picture"
    return Problem("warning", message, _names(evidence, odd))


def distortion(evidence: Evidence) -> Problem | None:
    """Lens distortion, which pinhole cameras leave out."""
    bent = [position for position, frame in enumerate(evidence.frames) if any(frame.distortion)]
    if not bent:
        return None
    largest = max((value for position in bent for value in evidence.frames[position].distortion), key=abs)
    message = (
        f"lens distortion in {counted(len(bent), 'frame')} (largest coefficient {largest:.2g}), which cameras leave "
    )
    message += "out; before training with poses, undistort the pictures (rayzer data convert --undistort)"
    return Problem("note", message, evidence.names(bent))


def fields_of_view_deg(evidence: Evidence) -> np.ndarray:
    """Angles of view [n, 2] in degrees, across and down, of the frames with usable intrinsics."""
    return 2 * np.degrees(np.arctan(0.5 / _fractions(evidence)[:, :2]))


def _incomplete(
    evidence: Evidence, kind: Literal["pose", "intrinsics"], usable: Mapping[int, object]
) -> Problem | None:
    """An error, because training with poses takes no scene that lacks some."""
    refused = evidence.reported.get(kind, ())
    lacking = [position for position in evidence.scene.present if position not in usable]
    if not lacking and not refused:
        return None
    message = f"no usable {kind} for {counted(max(len(lacking), len(refused)), 'frame')}"
    message += f"; the first: {refused[0]}" if refused else "; estimate them, or take these frames out"
    return Problem("error", message, evidence.names(lacking), "poses")


def _far_out(evidence: Evidence) -> list[int]:
    if len(evidence.poses) < 3:
        return []
    distances, _ = evidence.from_middle
    limit = OUTLIER * float(np.median(distances))
    return [position for position, distance in zip(evidence.poses, distances, strict=True) if distance > limit > 0]


def _wrong_intrinsics(evidence: Evidence, odd: np.ndarray, message: str) -> Problem:
    """An error if it is about most of the frames."""
    mostly = 2 * len(odd) > len(evidence.intrinsics)
    return Problem("error" if mostly else "warning", message, _names(evidence, odd), "poses" if mostly else "")


def _names(evidence: Evidence, odd: np.ndarray) -> tuple[str, ...]:
    """Names of some of the frames with usable intrinsics."""
    positions = list(evidence.intrinsics)
    return evidence.names(positions[index] for index in odd)


def _fractions(evidence: Evidence) -> np.ndarray:
    return np.array(list(evidence.intrinsics.values())).reshape(-1, 4)


def _usual_lens(evidence: Evidence) -> np.ndarray:
    """Whether both fields of view are those of a usual lens, bool [n]."""
    angles, (least, most) = fields_of_view_deg(evidence), FIELD_OF_VIEW_DEG
    return np.all((angles >= least) & (angles <= most), axis=-1)


def _of_another_size(evidence: Evidence) -> np.ndarray:
    """Whether the principal point is off the middle by one and the same large factor in x and y, bool [n]."""
    factors = 2 * _fractions(evidence)[:, 2:]
    mean = factors.mean(-1)
    return (np.abs(np.log(mean.clip(1e-9))) > np.log(OTHER_SIZE)) & (np.ptp(factors, axis=-1) < 0.05 * mean)

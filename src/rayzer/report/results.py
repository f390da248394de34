"""What an evaluation found: `results.json` as typed values; `read_results.py` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rayzer.report.camera_plot import Intrinsics, Pose

FORMAT = "rayzer-results-1"
FILE_NAME = "results.json"

EQUAL_SSIM = 0.9999
"""From here on two pictures without a finite PSNR are called identical."""


@dataclass(frozen=True)
class Scores:
    """Mean scores of pictures; None where one was not computed (or, for PSNR, is infinite)."""

    psnr: float | None = None
    ssim: float | None = None
    lpips: float | None = None
    identical: int = 0

    @property
    def is_identical(self) -> bool:
        """Whether there is no PSNR because the pictures are equal."""
        return self.psnr is None and (self.identical > 0 or (self.ssim or 0) >= EQUAL_SSIM)


@dataclass(frozen=True)
class ScoredView:
    """A target view. Paths are relative to the file; `picture` is the true one."""

    index: int
    name: str
    scores: Scores
    picture: str | None = None
    render: str | None = None


@dataclass(frozen=True)
class ContextView:
    """A view that the scene was built from."""

    index: int
    name: str
    picture: str | None = None


@dataclass(frozen=True)
class CameraList:
    """Cameras in one world: `world_from_camera` rows (OpenCV axes) and `fx, fy, cx, cy` as fractions."""

    world_from_camera: Sequence[Pose]
    intrinsics: Sequence[Intrinsics]


@dataclass(frozen=True)
class SceneCameras:
    """Cameras of all views, the true ones moved into the predicted world.

    Attributes:
        frames: index of the frame of each camera, sorted.
        given: whether `predicted` came with the data (LVSM).
    """

    frames: Sequence[int]
    predicted: CameraList
    true: CameraList | None = None
    given: bool = False


@dataclass(frozen=True)
class SceneFlyThrough:
    """A video along a path of cameras. Paths of files are relative to the results."""

    video: str
    poster: str | None = None
    path: Sequence[Pose] = ()


@dataclass(frozen=True)
class Poses:
    """Pose errors over all pairs of views. Shares (0 to 1) are by threshold in degrees.

    Attributes:
        rra: share of pairs with a rotation error below the threshold.
        rta: share of pairs with a translation direction below the threshold.
        rpa: share of pairs with both.
        auc: area under the curve of `rpa` up to the threshold.
        ate: RMSE of the centres after alignment, relative to the spread of the true path.
        focal_error: relative error of the focal length, 0.1 is 10 %.
        rotation_error_deg: median over the pairs.
        translation_error_deg: median over the pairs.
    """

    rra: Mapping[str, float] = field(default_factory=dict)
    rta: Mapping[str, float] = field(default_factory=dict)
    rpa: Mapping[str, float] = field(default_factory=dict)
    auc: Mapping[str, float] = field(default_factory=dict)
    ate: float | None = None
    focal_error: float | None = None
    rotation_error_deg: float | None = None
    translation_error_deg: float | None = None


@dataclass(frozen=True)
class SceneResult:
    """Everything about one scene; `scores` are means over its target views."""

    name: str
    scores: Scores
    views: Sequence[ScoredView]
    context: Sequence[ContextView] = ()
    size_px: tuple[int, int] | None = None
    cameras: SceneCameras | None = None
    fly_through: SceneFlyThrough | None = None
    controls: Mapping[str, Scores] = field(default_factory=dict)
    no_leak: Scores | None = None
    poses: Poses | None = None


@dataclass(frozen=True)
class Summary:
    """Means over scenes; `confidence` has 95 % intervals by score."""

    scores: Scores
    scenes: int
    views: int | None = None
    confidence: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ViewCount:
    """Scores with fewer or more context views."""

    context: int
    targets: int
    scenes: int
    scores: Scores


@dataclass(frozen=True)
class Transfer:
    """Cameras of one scene used in another that was filmed along the same path.

    Attributes:
        exact_pairs: pairs of scenes behind `exact`.
        exact: scores with the other scene's cameras.
        own: scores of the same targets with their own cameras.
        re_estimated_pairs: pairs of scenes behind `re_estimated`.
        re_estimated: cameras estimated again from the transferred renders against the ones that were asked for.
    """

    exact_pairs: int = 0
    exact: Scores | None = None
    own: Scores | None = None
    re_estimated_pairs: int = 0
    re_estimated: Poses | None = None


@dataclass(frozen=True)
class Probe:
    """Pose errors of a small network that reads true cameras out of the predicted ones."""

    train_scenes: int
    test_scenes: int
    poses: Poses


@dataclass(frozen=True)
class Verdict:
    """Whether the cameras are geometric: "are", "are not" or "unknown"; and why, as a paragraph."""

    cameras: str
    text: str


@dataclass(frozen=True)
class Failure:
    """A scene that could not be evaluated."""

    name: str
    error: str


@dataclass(frozen=True)
class Results:
    """One evaluation. Sections that were not computed are None or empty; `not_computed` says why."""

    title: str
    summary: Summary
    scenes: Sequence[SceneResult]
    failed: Sequence[Failure] = ()
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    controls: Mapping[str, Scores] = field(default_factory=dict)
    no_leak: Scores | None = None
    no_leak_note: str = ""
    poses: Poses | None = None
    pose_scenes: int | None = None
    straight_line: Poses | None = None
    view_counts: Sequence[ViewCount] = ()
    transfer: Transfer | None = None
    probe: Probe | None = None
    protocol_reference: Scores | None = None
    verdict: Verdict | None = None
    not_computed: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Settings by section (`checkpoint`, `protocol`, `data`, `versions`, `config`), values as text."""

"""The page that `rayzer predict` and `rayzer demo` write as `index.html`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rayzer.report.build import decibels, write_page
from rayzer.report.camera_plot import KINDS, CameraPlot, Intrinsics, PlottedCamera, Pose, check_camera
from rayzer.report.parts import Download, Fact, Notice


@dataclass(frozen=True)
class View:
    """One photo with its camera. Paths are relative to the page, with `/` between folders.

    Attributes:
        name: name of the photo, shown as it is.
        role: "context" (the scene was built from it) or "target" (held out).
        picture: path of the processed photo, the pixels the model saw.
        world_from_camera: 4x4 rows, OpenCV axes.
        intrinsics: `fx, fy, cx, cy` as fractions of the picture's size.
        true_world_from_camera: the known pose, already aligned with the predicted ones.
        render: path of the rendered picture of a target.
        psnr_db: score of `render` against `picture`; None where there is none.
        repeated: whether the same photo is another view too, so that its score says little.
    """

    name: str
    role: Literal["context", "target"]
    picture: str
    world_from_camera: Pose
    intrinsics: Intrinsics
    true_world_from_camera: Pose | None = None
    render: str | None = None
    psnr_db: float | None = None
    repeated: bool = False

    def __post_init__(self) -> None:
        if self.role not in ("context", "target"):
            raise ValueError(f"{self.name}: role is context or target, got {self.role}")
        if self.psnr_db is not None and math.isnan(self.psnr_db):
            raise ValueError(f"{self.name}: psnr_db is a number or None, got NaN")
        check_camera(self.name, self.world_from_camera, self.intrinsics)
        if self.true_world_from_camera is not None:
            check_camera(self.name, self.true_world_from_camera, self.intrinsics)

    @property
    def role_label(self) -> str:
        """The role as pages name it."""
        return KINDS[self.role]


@dataclass(frozen=True)
class FlyThrough:
    """A video along a path of cameras: one pose for each frame, in order."""

    video: str
    poster: str
    width_px: int
    height_px: int
    path: Sequence[Pose] = ()


@dataclass(frozen=True)
class PredictionPage:
    """All that the page shows.

    Attributes:
        title: the heading, for instance the name of the scene.
        subtitle: sentences under the summary.
        width_px: width of every picture of the views and their renders.
        height_px: height of the same.
        views: all photos in order.
        fly_through: the video, if there is one.
        notices: (level, sentence), shown at the top.
        downloads: (label, relative path, description).
        facts: (label, value).
        cameras_given: whether the cameras came with the photos and were not predicted from them.
    """

    title: str
    width_px: int
    height_px: int
    views: Sequence[View]
    subtitle: Sequence[str] = ()
    fly_through: FlyThrough | None = None
    notices: Sequence[Notice] = ()
    downloads: Sequence[Download] = ()
    facts: Sequence[Fact] = ()
    cameras_given: bool = False

    @property
    def context(self) -> list[View]:
        """The views that the scene was built from."""
        return [view for view in self.views if view.role == "context"]

    @property
    def compared(self) -> list[View]:
        """The held-out views that were rendered."""
        return [view for view in self.views if view.role == "target" and view.render is not None]

    @property
    def mean_psnr_db(self) -> float | None:
        """Mean over the scored held-out views, without repeated photos and identical pictures."""
        scores = [view.psnr_db for view in self.compared if view.psnr_db is not None and not view.repeated]
        finite = [score for score in scores if math.isfinite(score)]
        return sum(finite) / len(finite) if finite else None

    @property
    def has_true_cameras(self) -> bool:
        """Whether any view has a known pose."""
        return any(view.true_world_from_camera is not None for view in self.views)

    @property
    def summary(self) -> str:
        """The page in one sentence."""
        built = f"A scene {'' if self.cameras_given else 'and its cameras '}from {_photos(len(self.context))}"
        if not self.compared:
            return built + "."
        checked = f"{built}, checked against {len(self.compared)} held out"
        score = self.mean_psnr_db
        return f"{checked}: {decibels(score)} PSNR on average." if score is not None else f"{checked}."

    @property
    def camera_plot(self) -> CameraPlot:
        """Cameras of the views, then the true ones, and the path of the fly-through."""
        cameras = [_predicted_camera(view) for view in self.views]
        cameras += [
            _true_camera(view, pose) for view in self.views if (pose := view.true_world_from_camera) is not None
        ]
        return CameraPlot(cameras, self.fly_through.path if self.fly_through else ())


def write_prediction_page(path: str | Path, page: PredictionPage) -> None:
    """Write the page as one HTML file; the pictures and videos it names lie in the folder of `path`."""
    write_page(path, "prediction.html.j2", page=page)


def _photos(count: int) -> str:
    return f"{count} photo" if count == 1 else f"{count} photos"


def _predicted_camera(view: View) -> PlottedCamera:
    note = decibels(view.psnr_db) if view.psnr_db is not None else ""
    return PlottedCamera(view.role, view.name, view.world_from_camera, view.intrinsics, view.picture, note)


def _true_camera(view: View, pose: Pose) -> PlottedCamera:
    return PlottedCamera("true", view.name, pose, view.intrinsics)

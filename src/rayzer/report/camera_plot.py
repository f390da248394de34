"""What the 3D plot of cameras shows, in the form its script reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rayzer.report.build import relative_url

Pose = Sequence[Sequence[float]]
"""Four rows of four numbers: `world_from_camera`, OpenCV axes."""

Intrinsics = Sequence[float]
"""`fx, fy, cx, cy` as fractions of the picture's width, height, width, height."""

KINDS = {
    "context": "Input",
    "target": "Held out",
    "true": "True",
    "path": "Fly-through",
}
"""Kinds of cameras, each with its own colour (CSS variable `--kind`), and what pages call them."""


@dataclass(frozen=True)
class PlottedCamera:
    """One frustum of the plot.

    Attributes:
        kind: one of `KINDS`.
        name: shown when the camera is pointed at.
        world_from_camera: 4x4 rows, OpenCV axes.
        intrinsics: `fx, fy, cx, cy` as fractions of the picture's size.
        picture: path of the picture relative to the page, drawn into the frustum.
        note: a second line under the name.
    """

    kind: str
    name: str
    world_from_camera: Pose
    intrinsics: Intrinsics
    picture: str | None = None
    note: str = ""


@dataclass(frozen=True)
class CameraPlot:
    """The cameras of one plot, in the order in which a keyboard steps through them, and a path among them."""

    cameras: Sequence[PlottedCamera]
    path: Sequence[Pose] = ()

    @property
    def legend(self) -> list[tuple[str, str]]:
        """(kind, label) of the kinds that are there."""
        present = {camera.kind for camera in self.cameras} | ({"path"} if self.path else set())
        return [(kind, label) for kind, label in KINDS.items() if kind in present]

    @property
    def data(self) -> dict:
        """The plot as JSON values for `camera_plot.js`."""
        return {"cameras": [_camera_data(camera) for camera in self.cameras], "path": list(self.path)}


def check_camera(name: str, pose: Pose, intrinsics: Intrinsics) -> None:
    """Raise ValueError unless a frustum can be drawn of a camera: right shapes, finite, no focal length 0."""
    if [len(row) for row in pose] != [4, 4, 4, 4] or len(intrinsics) != 4:
        raise ValueError(f"{name}: a camera is a 4x4 world_from_camera and 4 intrinsics")
    if not all(math.isfinite(value) for row in (*pose, intrinsics) for value in row):
        raise ValueError(f"{name}: world_from_camera and intrinsics must be finite")
    if intrinsics[0] == 0 or intrinsics[1] == 0:
        raise ValueError(f"{name}: focal lengths must not be 0")


def _camera_data(camera: PlottedCamera) -> dict:
    return {
        "kind": camera.kind,
        "role": KINDS[camera.kind],
        "name": camera.name,
        "pose": camera.world_from_camera,
        "intrinsics": list(camera.intrinsics),
        "picture": relative_url(camera.picture) if camera.picture is not None else None,
        "note": camera.note,
    }

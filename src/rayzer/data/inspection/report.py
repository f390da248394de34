"""What an inspection finds, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rayzer.data.inspection.evidence import Problem, Recipe
from rayzer.data.sources.source import SceneRef

SAY_NOTHING = ("opencv_cameras.json", "scene.json", "transforms.json")  # files that are called alike in every scene


@dataclass(frozen=True)
class CameraPath:
    """How the camera moves, in units of the scene (which are arbitrary in most formats).

    Attributes:
        length: sum of the steps from pose to pose.
        median_step, largest_step: per frame.
        extent: largest distance of a camera from the median of all.
    """

    length: float
    median_step: float
    largest_step: float
    extent: float


@dataclass(frozen=True)
class SceneReport:
    """What one scene is and what is wrong with it.

    Attributes:
        ref: where it lies.
        name: its own name.
        format: name of its format, or empty if none was recognised.
        frames, present: frames in all, and those whose picture is there.
        decoded: pictures that were decoded, or should have been.
        usable: frames whose picture is there and, as far as it was looked at, can be used.
        poses, intrinsics: frames for which these are usable.
        sizes: `width_px, height_px, pictures`, most frequent first.
        field_of_view_deg: median angles of view across and down, or None.
        focal: median focal lengths as fractions of width and height, or None.
        path: how the camera moves, if there are two poses.
        duration_s: time from first to last frame of a video, or None.
        problems: by name of the check.
    """

    ref: SceneRef
    name: str
    format: str = ""
    frames: int = 0
    present: int = 0
    decoded: int = 0
    usable: int = 0
    poses: int = 0
    intrinsics: int = 0
    sizes: tuple[tuple[int, int, int], ...] = ()
    field_of_view_deg: tuple[float, float] | None = None
    focal: tuple[float, float] | None = None
    path: CameraPath | None = None
    duration_s: float | None = None
    problems: Mapping[str, Problem] = field(default_factory=dict)

    @property
    def usable_without_poses(self) -> bool:
        """Whether it gives samples of pictures."""
        return not any(problem.prevents == "everything" for problem in self.problems.values())

    @property
    def usable_with_poses(self) -> bool:
        """Whether it gives samples of pictures with known cameras."""
        return bool(self.poses and self.intrinsics) and not any(problem.prevents for problem in self.problems.values())


@dataclass(frozen=True)
class Inspection:
    """What is known of all scenes in one place.

    Attributes:
        path: where they were looked for.
        cameras: whether poses and intrinsics were looked at.
        recipe: what the scenes are wanted for.
        scenes: one report each, in their order.
    """

    path: Path
    cameras: bool
    recipe: Recipe
    scenes: tuple[SceneReport, ...]

    @property
    def with_poses(self) -> int:
        """How many scenes are usable with poses."""
        return sum(scene.usable_with_poses for scene in self.scenes)

    @property
    def without_poses(self) -> int:
        """How many scenes are usable without poses; these include all that are usable with them."""
        return sum(scene.usable_without_poses for scene in self.scenes)

    def label(self, scene: SceneReport) -> str:
        """A short name by which the scene can be found below `path`."""
        place = scene.ref.path
        if place == self.path or not place.is_relative_to(self.path):
            return scene.ref.key or scene.name
        place = place.relative_to(self.path)
        place = place.parent if place.name in SAY_NOTHING and place.parent.name else place
        return f"{place}#{scene.ref.key}" if scene.ref.key else str(place)


def as_json(inspection: Inspection) -> dict[str, Any]:
    """The whole result as plain values; `docs/formats.md` describes it."""
    scenes = inspection.scenes
    found = Counter((check, problem.severity) for scene in scenes for check, problem in scene.problems.items())
    return {
        "format": "rayzer-inspection",
        "version": 1,
        "path": str(inspection.path),
        "cameras_inspected": inspection.cameras,
        "recipe": asdict(inspection.recipe) if inspection.recipe.name else None,
        "summary": {
            "scenes": len(scenes),
            "usable_with_poses": inspection.with_poses,
            "usable_without_poses": inspection.without_poses,
            "frames": sum(scene.frames for scene in scenes),
            "pictures": sum(scene.present for scene in scenes),
            "pictures_decoded": sum(scene.decoded for scene in scenes),
            "problems": [{"check": check, "severity": level, "scenes": n} for (check, level), n in found.most_common()],
        },
        "scenes": [_scene(scene) for scene in scenes],
    }


def _scene(scene: SceneReport) -> dict[str, Any]:
    values = {name: getattr(scene, name) for name in _PLAIN}
    return {
        "path": str(scene.ref.path),
        "key": scene.ref.key,
        **values,
        "sizes": [dict(zip(("width_px", "height_px", "pictures"), size, strict=True)) for size in scene.sizes],
        "field_of_view_deg": _pair(scene.field_of_view_deg, "across", "down"),
        "focal": _pair(scene.focal, "fx", "fy"),
        "camera_path": asdict(scene.path) if scene.path else None,
        "problems": [_problem(check, problem) for check, problem in scene.problems.items()],
    }


_PLAIN = (
    *("name", "format", "frames", "present", "decoded", "usable", "poses", "intrinsics", "duration_s"),
    *("usable_with_poses", "usable_without_poses"),
)


def _pair(values: tuple[float, float] | None, *names: str) -> dict[str, float] | None:
    return dict(zip(names, values, strict=True)) if values else None


def _problem(check: str, problem: Problem) -> dict[str, Any]:
    return {
        "check": check,
        "severity": problem.severity,
        "prevents": problem.prevents or None,
        "message": problem.message,
        "frames": problem.frame_count,
        "frame_names": list(problem.frames),
    }

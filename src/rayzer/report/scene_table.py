"""The table of scenes: which columns there are, and the cells with the numbers that they are sorted by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rayzer.report.results import Poses, Results, SceneResult, Scores
from rayzer.report.scores import DASH, LPIPS, PSNR, SSIM, Metric, percent


@dataclass(frozen=True)
class SceneColumn:
    """A figure of a scene: how to find and how to write it."""

    label: str
    value: Callable[[SceneResult], float | None]
    write: Callable[[float], str]


@dataclass(frozen=True)
class SceneRow:
    """A scene by its number, with a picture and cells of (number to sort by, text)."""

    number: int
    name: str
    thumbnail: str | None
    cells: Sequence[tuple[float | None, str]]


def scene_columns(results: Results) -> list[SceneColumn]:
    """The columns that any scene has."""
    return [column for column in COLUMNS if any(column.value(scene) is not None for scene in results.scenes)]


def scene_rows(results: Results, thumbnails: Sequence[str | None]) -> list[SceneRow]:
    """One row a scene, in the order of the file."""
    columns = scene_columns(results)
    return [
        SceneRow(number, scene.name, thumbnail, [_cell(column, scene) for column in columns])
        for number, (scene, thumbnail) in enumerate(zip(results.scenes, thumbnails, strict=True))
    ]


def _cell(column: SceneColumn, scene: SceneResult) -> tuple[float | None, str]:
    value = column.value(scene)
    if value is None:
        identical = column.label == PSNR.label and scene.scores.is_identical
        return (1e9, "identical") if identical else (None, DASH)
    return value, column.write(value)


def _score(metric: Metric) -> SceneColumn:
    return SceneColumn(metric.label, lambda scene: metric.value(scene.scores), metric.number)


def _gain(scene: SceneResult) -> float | None:
    copied = scene.controls.get("copy_nearest", Scores()).psnr
    return None if copied is None or scene.scores.psnr is None else scene.scores.psnr - copied


def _pose(label: str, value: Callable[[Poses], float | None]) -> SceneColumn:
    return SceneColumn(label, lambda scene: value(scene.poses) if scene.poses else None, percent)


COLUMNS = (
    *(_score(metric) for metric in (PSNR, SSIM, LPIPS)),
    SceneColumn("Above copying", _gain, lambda gain: PSNR.number(gain, signed=True)),
    SceneColumn("No leak", lambda scene: scene.no_leak.psnr if scene.no_leak else None, PSNR.number),
    _pose("RPA@15", lambda poses: poses.rpa.get("15")),
    _pose("AUC@30", lambda poses: poses.auc.get("30")),
)

"""`results.json` -> `Results`. Every key but `summary` and `scenes` may be absent (`rayzer demo` leaves many out)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rayzer.errors import InputError
from rayzer.files import is_file, is_folder
from rayzer.report.camera_plot import check_camera
from rayzer.report.json_values import JsonValue, read_json
from rayzer.report.results import (
    FILE_NAME,
    FORMAT,
    CameraList,
    ContextView,
    Failure,
    Poses,
    Probe,
    Results,
    SceneCameras,
    SceneFlyThrough,
    SceneResult,
    ScoredView,
    Scores,
    Summary,
    Transfer,
    Verdict,
    ViewCount,
)

SCORES = ("psnr", "ssim", "lpips")
FACTS = ("checkpoint", "protocol", "data", "versions", "config")
SHARES = ("rra", "rta", "rpa", "auc")
ERRORS = ("ate", "focal_error", "rotation_error_deg", "translation_error_deg")
VERDICTS = ("are", "are not", "unknown")

T = TypeVar("T")


def load_results(folder: Path) -> Results:
    """Read `folder/results.json`.

    Raises:
        InputError: naming the file and key, if it is missing, foreign, newer than this version, or wrong in any part.
    """
    if not is_folder(folder):
        raise InputError(f"{folder}: is no folder; name the output folder of rayzer evaluate")
    path = folder / FILE_NAME
    if not is_file(path):
        raise InputError(f"{path}: missing; name the output folder of a finished rayzer evaluate")
    content = read_json(path)
    _check_format(path, content)
    return _results(content, title=folder.resolve().name)


def _check_format(path: Path, content: JsonValue) -> None:
    given = content.get("format")
    name = FORMAT if given is None else given.text()
    if name != FORMAT and name.startswith("rayzer-results-"):
        raise InputError(f"{path}: format {name} is newer than this rayzer, which reads {FORMAT}; update rayzer")
    foreign = any(key not in content.entries() for key in ("summary", "scenes"))
    if name != FORMAT or (given is None and foreign):
        raise InputError(f"{path}: not a file of rayzer evaluate (format, summary or scenes is missing or foreign)")


def _results(content: JsonValue, title: str) -> Results:
    named, poses, no_leak = content.get("title"), content.get("poses"), content.get("no_leak")
    return Results(
        title=named.text() if named else title,
        summary=_summary(content["summary"]),
        scenes=[_scene(value) for value in content["scenes"].items()],
        failed=_list(content, "failed", lambda value: Failure(value["name"].text(), value["error"].text())),
        left_out=_mapping(content, "left_out", lambda value: [item.text() for item in value.items()]),
        controls=_mapping(content, "controls", _scores),
        no_leak=_scores(no_leak) if no_leak else None,
        no_leak_note=_text(no_leak, "note") if no_leak else "",
        poses=_poses(poses) if poses else None,
        pose_scenes=_count(poses, "scenes") if poses else None,
        straight_line=_optional(poses, "straight_line", _poses) if poses else None,
        view_counts=_list(content, "view_counts", _view_count),
        transfer=_optional(content, "transfer", _transfer),
        probe=_optional(content, "probe", _probe),
        protocol_reference=_optional(content, "protocol_reference", _scores),
        verdict=_optional(content, "verdict", _verdict),
        not_computed=_mapping(content, "not_computed", JsonValue.text),
        facts={section: _facts(found) for section in FACTS if (found := content.get(section))},
    )


def _optional(parent: JsonValue, key: str, read: Callable[[JsonValue], T]) -> T | None:
    found = parent.get(key)
    return None if found is None else read(found)


def _list(parent: JsonValue, key: str, read: Callable[[JsonValue], T]) -> list[T]:
    found = parent.get(key)
    return [] if found is None else [read(value) for value in found.items()]


def _mapping(parent: JsonValue, key: str, read: Callable[[JsonValue], T]) -> dict[str, T]:
    found = parent.get(key)
    return {} if found is None else {name: read(value) for name, value in found.entries().items()}


def _text(parent: JsonValue, key: str) -> str:
    return _optional(parent, key, JsonValue.text) or ""


def _number_or_none(value: JsonValue) -> float | None:
    return None if value.value is None else value.number()


def _count(parent: JsonValue, key: str) -> int | None:
    return _optional(parent, key, JsonValue.count)


def _scores(value: JsonValue) -> Scores:
    numbers = {key: _optional(value, key, JsonValue.number) for key in SCORES}
    return Scores(**numbers, identical=_count(value, "identical") or 0)


def _summary(value: JsonValue) -> Summary:
    intervals = _mapping(value, "confidence", _interval)
    return Summary(_scores(value), value["scenes"].count(), _count(value, "views"), intervals)


def _interval(value: JsonValue) -> tuple[float, float]:
    low, high = value.items(2)
    return low.number(), high.number()


def _scene(value: JsonValue) -> SceneResult:
    size = value.get("size")
    width, height = (side.count() for side in size.items(2)) if size else (0, 0)
    return SceneResult(
        name=value["name"].text(),
        scores=_scores(value),
        views=[_view(view) for view in value["views"].items()],
        context=_list(value, "context", _context_view),
        size_px=(width, height) if width and height else None,
        cameras=_optional(value, "cameras", _scene_cameras),
        fly_through=_optional(value, "fly_through", _fly_through),
        controls=_mapping(value, "controls", _scores),
        no_leak=_optional(value, "no_leak", _scores),
        poses=_optional(value, "poses", _poses),
    )


def _view(value: JsonValue) -> ScoredView:
    index = value["index"].count()
    return ScoredView(
        index=index,
        name=_text(value, "name") or f"frame {index}",
        scores=_scores(value),
        picture=_optional(value, "truth", JsonValue.path),
        render=_optional(value, "render", JsonValue.path),
    )


def _context_view(value: JsonValue) -> ContextView:
    index = value["index"].count()
    return ContextView(index, _text(value, "name") or f"frame {index}", _optional(value, "picture", JsonValue.path))


def _scene_cameras(value: JsonValue) -> SceneCameras:
    frames = [frame.count() for frame in value["frames"].items()]
    true = value.get("true")
    return SceneCameras(
        frames=frames,
        predicted=_cameras(value["predicted"], len(frames)),
        true=_cameras(true, len(frames)) if true else None,
        given=bool(_optional(value, "given", JsonValue.flag)),
    )


def _cameras(value: JsonValue, count: int) -> CameraList:
    poses = [_pose(pose) for pose in value["world_from_camera"].items(count)]
    lenses = [[number.number() for number in lens.items(4)] for lens in value["intrinsics"].items(count)]
    for index, (pose, lens) in enumerate(zip(poses, lenses, strict=True)):
        try:
            check_camera(f"{value.where}, camera {index}", pose, lens)
        except ValueError as error:
            raise InputError(f"{error}; write the results again with rayzer evaluate") from None
    return CameraList(poses, lenses)


def _pose(value: JsonValue) -> list[list[float]]:
    return [[number.number() for number in row.items(4)] for row in value.items(4)]


def _fly_through(value: JsonValue) -> SceneFlyThrough:
    return SceneFlyThrough(
        value["video"].path(), _optional(value, "poster", JsonValue.path), _list(value, "path", _pose)
    )


def _poses(value: JsonValue) -> Poses:
    """Figures that could not be had are null: such shares are left out."""
    shares = {key: _mapping(value, key, _number_or_none) for key in SHARES}
    shares = {key: {at: share for at, share in of.items() if share is not None} for key, of in shares.items()}
    errors = {key: _optional(value, key, JsonValue.number) for key in ERRORS}
    return replace(replace(Poses(), **shares), **errors)


def _view_count(value: JsonValue) -> ViewCount:
    counts = (value[key].count() for key in ("context", "targets", "scenes"))
    return ViewCount(*counts, scores=_scores(value))


def _transfer(value: JsonValue) -> Transfer:
    exact, again = value.get("exact"), value.get("re_estimated")
    return Transfer(
        exact_pairs=exact["pairs"].count() if exact else 0,
        exact=_scores(exact) if exact else None,
        own=_optional(exact, "own", _scores) if exact else None,
        re_estimated_pairs=again["pairs"].count() if again else 0,
        re_estimated=_poses(again) if again else None,
    )


def _probe(value: JsonValue) -> Probe:
    return Probe(value["train_scenes"].count(), value["test_scenes"].count(), _poses(value))


def _verdict(value: JsonValue) -> Verdict:
    cameras = value["cameras"].text()
    if cameras not in VERDICTS:
        raise InputError(f"{value.where}.cameras: expected one of {', '.join(VERDICTS)}, got {cameras}")
    return Verdict(cameras, value["text"].text())


def _facts(value: JsonValue) -> dict[str, str]:
    """Settings of any shape as text, nested ones with dots in their names."""
    facts = {}
    for key, inner in value.entries().items():
        if isinstance(inner.value, dict):
            facts |= {f"{key}.{name}": text for name, text in _facts(inner).items()}
        else:
            facts[key] = inner.value if isinstance(inner.value, str) else json.dumps(inner.value)
    return facts

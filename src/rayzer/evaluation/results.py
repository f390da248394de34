"""From what was measured on single scenes to `results.json`."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import rayzer
from rayzer.devices import Runtime, device_name
from rayzer.evaluation.no_leak import ALONE, FILLED
from rayzer.evaluation.poses import mean_pose_scores, pose_scores_from_json
from rayzer.evaluation.scoring import METRICS, Scores, mean_scores
from rayzer.evaluation.statistics import bootstrap_interval
from rayzer.evaluation.verdict import verdict
from rayzer.model.weights import Model, kind_of, takes_any_views

FORMAT = "rayzer-results-1"
NO_CAMERAS = "the scenes have no true cameras"
GIVEN = "the cameras were given, not estimated"
NOT_ASKED = "not asked for"


@dataclass(frozen=True)
class Facts:
    """What is known before anything is measured; copied into the results.

    Attributes:
        title: for people.
        checkpoint: path, SHA-256 of its file, and fingerprint of model and weights.
        protocol: of `Protocol.as_json`.
        data: the files that were evaluated.
        left_out: names of scenes of the list that are not evaluated.
        reasons: why something is not computed, by its name in the results.
        inputs_sha256: of all that the results depend on.
    """

    title: str
    checkpoint: dict[str, str]
    protocol: dict[str, Any]
    data: dict[str, Any]
    left_out: dict[str, list[str]]
    reasons: Mapping[str, str]
    inputs_sha256: str


@dataclass(frozen=True)
class Collected:
    """What was measured, as the records of the units hold it.

    Attributes:
        scenes: entries of scenes, in the order of the list.
        failed: names and lines of scenes that could not be evaluated.
        counts: scores of the scenes, by the numbers of context and target views; empty without a sweep.
        re_estimated, exact: of pairs.
        probe: of the pose probe.
    """

    scenes: Sequence[dict[str, Any]]
    failed: Sequence[dict[str, str]]
    counts: Mapping[tuple[int, int], Sequence[dict[str, Any]]]
    re_estimated: Sequence[dict[str, Any]]
    exact: Sequence[dict[str, Any]]
    probe: dict[str, Any] | None


def assemble(found: Collected, facts: Facts, model: Model, runtime: Runtime) -> dict[str, Any]:
    """The content of `results.json` (docs/formats.md)."""
    reasons = dict(facts.reasons)
    sections = {
        "controls": _controls(found.scenes),
        "no_leak": _no_leak(found.scenes, ALONE if takes_any_views(model.config) else FILLED),
        "poses": _poses([scene["poses"] for scene in found.scenes]),
        "view_counts": _view_counts(found.counts),
        "transfer": _transfer(found),
        "probe": found.probe,
        "protocol_reference": _means(found.scenes, "protocol_reference"),
    }
    if sections["poses"] is None:
        reasons.setdefault("poses", NO_CAMERAS if model.estimates_cameras else GIVEN)
    summary = _summary(found.scenes)
    return {
        "format": FORMAT,
        "title": facts.title,
        "summary": summary,
        "verdict": verdict(
            summary,
            **{name: sections[name] for name in ("controls", "no_leak", "poses", "transfer", "probe")},
            cameras_given=not model.estimates_cameras,
        ),
        **sections,
        "not_computed": {name: reasons[name] for name in sorted(reasons)},
        "failed": list(found.failed),
        "left_out": facts.left_out,
        "config": {"kind": kind_of(model.config), **asdict(model.config)},
        "checkpoint": facts.checkpoint,
        "protocol": facts.protocol,
        "data": facts.data,
        "versions": versions(runtime),
        "inputs_sha256": facts.inputs_sha256,
        "scenes": list(found.scenes),
    }


def inputs_of(path: Path) -> str | None:
    """The SHA-256 of all that the results in a `results.json` depend on; None if there are none, or they lack it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("inputs_sha256") if isinstance(content, dict) else None


def versions(runtime: Runtime) -> dict[str, str]:
    """What computed the results."""
    return {
        "rayzer": rayzer.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": device_name(runtime.device),
        "precision": "bfloat16" if runtime.bfloat16 else "float32",
    }


def _summary(scenes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    columns = {name: [scene[name] for scene in scenes if scene[name] is not None] for name in METRICS}
    return {
        **_mean(scenes),
        "scenes": len(scenes),
        "views": sum(len(scene["views"]) for scene in scenes),
        "confidence": {name: bootstrap_interval(values) for name, values in columns.items()},
    }


def _mean(scores: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    return mean_scores([Scores(*(each[name] for name in METRICS)) for each in scores]).as_json()


def _means(scenes: Sequence[Mapping[str, Any]], part: str) -> dict[str, float | None] | None:
    known = [scene[part] for scene in scenes if scene[part] is not None]
    return _mean(known) if known else None


def _no_leak(scenes: Sequence[dict[str, Any]], note: str) -> dict[str, Any] | None:
    scores = _means(scenes, "no_leak")
    return scores and {**scores, "note": note}


def _controls(scenes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for scene in scenes for name in scene["controls"]))
    return {name: _means([scene["controls"] for scene in scenes], name) for name in names}


def _poses(scores: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    known = [each for each in scores if each is not None]
    if not known:
        return None
    own = mean_pose_scores([pose_scores_from_json(each) for each in known])
    line = mean_pose_scores([pose_scores_from_json(each["straight_line"]) for each in known])
    return {**own.as_json(), "scenes": len(known), "straight_line": line.as_json()}


def _view_counts(counts: Mapping[tuple[int, int], Sequence[dict[str, Any]]]) -> list[dict[str, Any]] | None:
    rows = [
        {"context": context, "targets": targets, "scenes": len(scores), **_mean(scores)}
        for (context, targets), scores in sorted(counts.items())
        if scores
    ]
    return rows or None


def _transfer(found: Collected) -> dict[str, Any] | None:
    exact = re_estimated = None
    if found.exact:
        own, other = (_mean([pair[key] for pair in found.exact]) for key in ("own", "other"))
        exact = {"pairs": len(found.exact), **other, "own": own}
    if found.re_estimated:
        mean = mean_pose_scores([pose_scores_from_json(pair) for pair in found.re_estimated])
        re_estimated = {"pairs": len(found.re_estimated), **mean.as_json()}
    return {"exact": exact, "re_estimated": re_estimated} if exact or re_estimated else None

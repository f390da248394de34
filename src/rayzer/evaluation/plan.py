"""What is to be measured beside the scores of the target views, and why some of it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rayzer.data.formats import find_scenes
from rayzer.data.view_index import ViewIndex, read_view_index
from rayzer.devices import Runtime
from rayzer.errors import InputError
from rayzer.evaluation.results import GIVEN, NOT_ASKED
from rayzer.evaluation.scenes import EvaluationScene, Selected, read_indexed
from rayzer.evaluation.scoring import Scorer
from rayzer.evaluation.transfer import same_path
from rayzer.evaluation.work import Unit
from rayzer.geometry.cameras import Cameras
from rayzer.model.weights import Model

if TYPE_CHECKING:
    from rayzer.evaluation.evaluate import Request


def counts_of(indices: Sequence[Path], selected: Selected, allow_outside: bool) -> list[Unit]:
    """Every scene under every other view index, for the sweep over numbers of context views.

    Raises:
        InputError: if an index has other targets than the usual one, or two of them have contexts of which neither
            holds the other: then the figures would not show what more views bring.
    """
    units: list[Unit] = []
    for path in indices:
        index = read_view_index(path)
        for scene in selected.scenes:
            found = read_indexed(scene.ref, index, allow_outside)
            if isinstance(found, str):
                raise InputError(f"{path}: has no views for {found!r}; all view indices of a sweep name all scenes")
            _check_nested(path, scene, found)
            units.append(Unit("count", len(units), (found,)))
    return units


def _check_nested(path: Path, usual: EvaluationScene, found: EvaluationScene) -> None:
    context, target = _frames(found)
    usual_context, usual_target = _frames(usual)
    if target != usual_target:
        raise InputError(f"{path}: {found.name}: has other targets than the view index; a sweep changes the context")
    if not (context <= usual_context or usual_context <= context):
        raise InputError(f"{path}: {found.name}: its context is neither within that of the view index nor around it")


def _frames(scene: EvaluationScene) -> tuple[set[int], set[int]]:
    context, target = (
        {scene.numbers[place] for place in part[0].tolist()} for part in (scene.split.context, scene.split.target)
    )
    return context, target


def re_estimated_pairs(scenes: Sequence[EvaluationScene]) -> list[Unit]:
    """Each two scenes in a row that have equal numbers of views."""
    pairs = zip(scenes[::2], scenes[1::2], strict=False)
    alike = [pair for pair in pairs if pair[0].counts == pair[1].counts]
    return [Unit("re-estimated", number, pair) for number, pair in enumerate(alike)]


def pairs_of(path: Path, index: ViewIndex, allow_outside: bool) -> list[Unit]:
    """Each two scenes in a row of a list, which must have been filmed along one path.

    Raises:
        InputError: naming the two, if they were not, or the index has no or other views for one of them.
    """
    scenes = [read_indexed(ref, index, allow_outside) for ref in find_scenes(path)]
    missing = next((scene for scene in scenes if isinstance(scene, str)), None)
    if missing is not None:
        raise InputError(f"{path}: the view index has no views for {missing!r}")
    if len(scenes) % 2:
        raise InputError(f"{path}: holds {len(scenes)} scenes; a list of pairs has two in a row for each path")
    found = [scene for scene in scenes if isinstance(scene, EvaluationScene)]
    units = [Unit("exact", n, pair) for n, pair in enumerate(zip(found[::2], found[1::2], strict=True))]
    for unit in units:
        _check_pair(path, *unit.scenes)
    return units


def _check_pair(path: Path, first: EvaluationScene, second: EvaluationScene) -> None:
    both = f"{path}: {first.name} and {second.name}"
    if first.numbers != second.numbers or _frames(first) != _frames(second):
        raise InputError(f"{both}: have other views in the view index; a pair needs the same")
    cameras = [_stored_cameras(scene) for scene in (first, second)]
    if cameras[0] is None or cameras[1] is None or not same_path(cameras[0], cameras[1]):
        raise InputError(f"{both}: were not filmed along one path, as the two scenes of a pair must be")


def _stored_cameras(scene: EvaluationScene) -> Cameras | None:
    """Poses as stored; intrinsics are not looked at."""
    import torch

    poses = [frame.world_from_camera for frame in scene.frames if frame.world_from_camera is not None]
    if len(poses) < len(scene.frames):
        return None
    stacked = torch.stack([torch.from_numpy(pose) for pose in poses])
    return Cameras(stacked, torch.ones(len(poses), 4, dtype=stacked.dtype))


def reasons_of(model: Model, request: Request, scorer: Scorer, runtime: Runtime) -> dict[str, str]:
    """Why parts of the results are not computed, by their names."""
    reasons = dict(scorer.reasons)
    if not model.estimates_cameras:
        reasons |= dict.fromkeys(("poses", "no_leak", "transfer", "probe"), GIVEN)
    config = request.config
    asked = {name: getattr(config, name) for name in ("controls", "no_leak", "transfer", "probe")}
    for name in (name for name, wanted in asked.items() if not wanted):
        reasons.setdefault(name, f"{NOT_ASKED} (evaluation.{name}=true)")
    if not request.counts:
        reasons["view_counts"] = f"{NOT_ASKED} (--sweep)"
    if request.protocol == "reference" and runtime.device.type != "cuda":
        reasons["protocol_reference"] = "the reference's precision exists on a GPU only; a CPU computes in float32"
    elif request.protocol != "reference":
        reasons["protocol_reference"] = f"{NOT_ASKED} (--protocol reference)"
    return reasons

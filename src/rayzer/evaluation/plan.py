"""What there is to measure, read and checked before any of it begins; and why some of it is not measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rayzer.data.formats import find_scenes, search_scenes
from rayzer.data.view_index import ViewIndex, read_view_index
from rayzer.devices import Runtime
from rayzer.errors import InputError
from rayzer.evaluation.processes import Share
from rayzer.evaluation.results import GIVEN, NOT_ASKED
from rayzer.evaluation.scenes import (
    EvaluationScene,
    Selected,
    check_pictures,
    fingerprint,
    read_indexed,
    select_scenes,
)
from rayzer.evaluation.scoring import Scorer
from rayzer.evaluation.settings import Request
from rayzer.evaluation.transfer import same_path
from rayzer.evaluation.work import Unit
from rayzer.geometry.cameras import Cameras
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.weights import Model, ModelConfig
from rayzer.progress import progress_bar


@dataclass(frozen=True)
class Work:
    """What there is to do, all of it read and checked.

    Attributes:
        selected: the scenes of the list.
        units: everything to be done, in order.
    """

    selected: Selected
    units: tuple[Unit, ...]

    def fingerprint(self) -> str:
        """SHA-256 of all scenes that are read, with their frames."""
        digest = hashlib.sha256()
        for unit in self.units:
            digest.update(unit.name.encode())
            digest.update("".join(fingerprint(scene) for scene in unit.scenes).encode())
        return digest.hexdigest()


def read_work(request: Request, model: ModelConfig, share: Share) -> Work:
    """Read all scenes and look at all pictures, before the model is loaded; processes share the looking.

    Raises:
        InputError: naming file, scene and frame, if anything cannot be used (with `keep_going`, of the scenes' own
            only if nothing is left).
    """
    index = read_view_index(request.view_index)
    refs = search_scenes(request.scenes)
    with progress_bar("Reading scenes") as advance:
        selected = select_scenes(refs, index, request.keep_going, request.allow_outside, advance)
    units = [Unit("scene", number, (scene,)) for number, scene in enumerate(selected.scenes)]
    units += counts_of(request.counts, selected, request.allow_outside)
    if not isinstance(model, LVSMConfig) and request.config.transfer:
        units += re_estimated_pairs(selected.scenes)
        if request.pairs is not None:
            units += pairs_of(request.pairs, index, request.allow_outside)
    scenes = list({id(scene): scene for unit in units for scene in unit.scenes}.values())
    with progress_bar("Checking pictures") as advance:
        failures = check_pictures(scenes[share.rank :: share.size], model, advance)
    by_name = {failure.name: failure for found in share.gather(failures) for failure in found}
    failed = [by_name[name] for name in dict.fromkeys(scene.name for scene in scenes) if name in by_name]
    kept = tuple(unit for unit in units if not any(scene.name in by_name for scene in unit.scenes))
    good = tuple(scene for scene in selected.scenes if scene.name not in by_name)
    if failed and not (request.keep_going and good):
        raise InputError(failed[0].error)
    return Work(replace(selected, scenes=good, failed=(*selected.failed, *failed)), kept)


def counts_of(indices: Sequence[Path], selected: Selected, allow_outside: bool) -> list[Unit]:
    """Every scene under every other view index, for the sweep over numbers of context views.

    Raises:
        InputError: if an index has other targets than the usual one, a number of context views that is there already
            or differs between scenes, or a context that neither holds another one nor is held by it: then the figures
            would not show what more views bring.
    """
    units: list[Unit] = []
    seen = {scene.name: [scene] for scene in selected.scenes}
    counts = {scene.counts for scene in selected.scenes}
    if indices and len(counts) > 1:
        raise InputError(f"{indices[0]}: a sweep needs equal numbers of views in all scenes, the view index has others")
    for path in indices:
        index = read_view_index(path)
        found = [_indexed(path, scene, index, allow_outside) for scene in selected.scenes]
        own = {scene.counts for scene in found}
        if len(own) > 1 or own & counts:
            problem = "has other numbers of views in other scenes" if len(own) > 1 else "has as many as another one"
            raise InputError(f"{path}: {problem}; a sweep has each number of context views once, for all scenes")
        counts |= own
        for scene in found:
            for other in seen[scene.name]:
                _check_nested(path, other, scene)
            seen[scene.name].append(scene)
            units.append(Unit("count", len(units), (scene,)))
    return units


def _indexed(path: Path, scene: EvaluationScene, index: ViewIndex, allow_outside: bool) -> EvaluationScene:
    found = read_indexed(scene.ref, index, allow_outside)
    if isinstance(found, str):
        raise InputError(f"{path}: has no views for {found!r}; all view indices of a sweep name all scenes")
    return found


def _check_nested(path: Path, other: EvaluationScene, found: EvaluationScene) -> None:
    context, target = _frames(found)
    other_context, other_target = _frames(other)
    if target != other_target:
        raise InputError(f"{path}: {found.name}: has other targets than the view index; a sweep changes the context")
    if not (context <= other_context or other_context <= context):
        raise InputError(f"{path}: {found.name}: its context is neither within that of another index nor around it")


def _frames(scene: EvaluationScene) -> tuple[set[int], set[int]]:
    context, target = (
        {scene.numbers[place] for place in part[0].tolist()} for part in (scene.split.context, scene.split.target)
    )
    return context, target


def re_estimated_pairs(scenes: Sequence[EvaluationScene]) -> list[Unit]:
    """Scenes of equal numbers of views in twos: one of the first half of the list, one of the second.

    Not neighbours: in a list of pairs these show one path, along which cameras carry over without being cameras.
    """
    half = len(scenes) // 2
    pairs = zip(scenes[:half], scenes[half:], strict=False)
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

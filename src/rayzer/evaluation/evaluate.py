"""`rayzer evaluate`: scenes in, `results.json` and a page out. Read this first."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rayzer.data.formats import search_scenes
from rayzer.data.scene_jobs import Plan, SceneTask, Staging, check_replaced, open_staging, unwritable
from rayzer.data.strict_json import mentions
from rayzer.data.view_index import read_view_index
from rayzer.devices import Runtime
from rayzer.errors import InputError, RunError
from rayzer.evaluation.extras import fly_throughs, probe_section
from rayzer.evaluation.measure import Measurer
from rayzer.evaluation.plan import counts_of, pairs_of, re_estimated_pairs, reasons_of
from rayzer.evaluation.processes import Share
from rayzer.evaluation.results import FORMAT, Collected, Facts, assemble
from rayzer.evaluation.scenes import Selected, check_pictures, load_sample, select_scenes
from rayzer.evaluation.scoring import Scorer
from rayzer.evaluation.settings import EvaluationConfig, Protocol, ProtocolName
from rayzer.evaluation.work import SCENES, TOKENS, Failed, Unit, attempt, decoded, in_batches
from rayzer.files import exists, file_sha256
from rayzer.model.rayzer import RayZer
from rayzer.model.weights import Model, fingerprint, weights_file
from rayzer.progress import progress_bar
from rayzer.report.evaluation_page import write_evaluation_page

RESULTS, PAGE = "results.json", "index.html"
WRITES = (SCENES, RESULTS, PAGE)


@dataclass(frozen=True)
class Request:
    """What to evaluate on, and where the results go.

    Attributes:
        scenes: a scene list (or anything that holds scenes).
        view_index: which frames of each scene are context and target.
        out: the output folder.
        config: what is measured.
        protocol: "reference" reports the scores under the reference's own precision, too.
        counts: more view indices with the same targets and other numbers of context views.
        pairs: scenes of which each two in a row were filmed along one path.
        keep_going: leave out and list scenes that cannot be evaluated.
        allow_outside: follow paths that leave a scene's folder.
        overwrite: replace an earlier evaluation.
    """

    scenes: Path
    view_index: Path
    out: Path
    config: EvaluationConfig
    protocol: ProtocolName = "default"
    counts: tuple[Path, ...] = ()
    pairs: Path | None = None
    keep_going: bool = False
    allow_outside: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Work:
    """What there is to do, all of it read and checked.

    Attributes:
        selected: the scenes of the list.
        units: everything to be done, in order.
    """

    selected: Selected
    units: tuple[Unit, ...]


def read_work(request: Request, estimates_cameras: bool) -> Work:
    """Read all scenes and look at all pictures, before the model is loaded.

    Raises:
        InputError: naming file, scene and frame, if anything cannot be used (with `keep_going`, of the scenes' own
            only if nothing is left).
    """
    if exists(request.out) and not request.overwrite:
        _refuse_finished(request.out)
    index = read_view_index(request.view_index)
    refs = search_scenes(request.scenes)
    with progress_bar("Reading scenes") as advance:
        needs_cameras = not estimates_cameras
        selected = select_scenes(
            refs, index, request.keep_going, request.allow_outside, needs_cameras=needs_cameras, advance=advance
        )
    units = [Unit("scene", number, (scene,)) for number, scene in enumerate(selected.scenes)]
    units += counts_of(request.counts, selected, request.allow_outside)
    if estimates_cameras and request.config.transfer:
        units += re_estimated_pairs(selected.scenes)
        if request.pairs is not None:
            units += pairs_of(request.pairs, index, request.allow_outside)
    with progress_bar("Checking pictures") as advance:
        good, failed = check_pictures(selected.scenes, request.keep_going, advance)
        others = {id(scene): scene for unit in units if unit.kind in ("count", "exact") for scene in unit.scenes}
        check_pictures(list(others.values()), False, advance)
    names = {scene.name for scene in good}
    kept = [unit for unit in units if unit.kind == "exact" or all(scene.name in names for scene in unit.scenes)]
    selected = replace(selected, scenes=tuple(good), failed=(*selected.failed, *failed))
    if not good:
        raise InputError(failed[0].error)
    return Work(selected, tuple(kept))


def evaluate(
    request: Request, work: Work, model: Model, checkpoint: str, runtime: Runtime, share: Share
) -> dict[str, Any] | None:
    """Measure everything, or go on where the same command was interrupted; several processes share the scenes.

    Args:
        work: what `read_work` gave.
        model: in eval mode, on the device of `runtime`.
        checkpoint: where the weights came from, as the user named it.

    Returns:
        the content of `results.json`, in the first process; None in the others.

    Raises:
        InputError: if a scene cannot be evaluated (unless `keep_going`), or `out` cannot be written.
    """
    scorer = Scorer.load(request.config, model.config, runtime.device)
    protocol = Protocol.of(
        request.protocol, model.config, request.config, runtime, file_sha256(request.view_index)
    ).as_json()
    weights = {"sha256": file_sha256(weights_file(checkpoint)), "fingerprint": fingerprint(model)}
    counts = [file_sha256(path) for path in request.counts]
    how = {"protocol": request.protocol, "protocol_sha256": protocol["sha256"], "counts": counts}
    settings = {**weights, **how, **asdict(request.config)}
    tasks = {unit.name: SceneTask(n, unit.scenes[0].ref, unit.name) for n, unit in enumerate(work.units)}
    check_replaced(request.out, WRITES, own=WRITES if mentions(request.out / RESULTS, FORMAT) else ())
    plan = Plan("evaluate", settings, tuple(tasks.values()))
    staging = open_staging(request.out, plan, request.overwrite, shared=share.size > 1)
    share.wait()
    if not staging.is_moving:
        measurer = Measurer(model, request.config, request.protocol, runtime, scorer)
        _run(request, work, measurer, staging, tasks, share)
    share.wait()
    if not share.is_first:
        return None
    facts = Facts(
        title=f"{Path(checkpoint).name or checkpoint} on {request.scenes.stem}",
        checkpoint={"path": checkpoint, **weights},
        protocol=protocol,
        data=_data(request),
        left_out={"null": list(work.selected.null), "absent": list(work.selected.absent)},
        reasons=reasons_of(model, request, scorer, runtime),
    )
    return _finish(request, work, model, runtime, staging, tasks, facts)


def _refuse_finished(out: Path) -> None:
    if exists(out / RESULTS) and not exists(out / ".partial"):
        raise InputError(f"{out}: holds finished results; choose another output folder or add --overwrite")


def _run(
    request: Request, work: Work, measurer: Measurer, staging: Staging, tasks: dict[str, SceneTask], share: Share
) -> None:
    """Do this process's share of all batches that are not done yet."""
    batches = in_batches(work.units, request.config.scenes_at_once(measurer.runtime))
    own = batches[share.rank :: share.size]
    pending = [batch for batch in own if not all(_is_done(staging, tasks[unit.name]) for unit in batch)]
    load = partial(load_sample, model=measurer.model.config)
    with progress_bar("Evaluating") as advance:
        advance(len(own) - len(pending), len(own))
        for done, (batch, samples) in enumerate(decoded(pending, load), start=1):
            for result in attempt(measurer, batch, samples):
                task = tasks[result.unit.name]
                try:
                    staging.process(result, task)
                except OSError as error:
                    raise unwritable(request.out, error) from error
                if isinstance(result, Failed) and not request.keep_going:
                    raise InputError(result.error)
            advance(len(own) - len(pending) + done, len(own))


def _is_done(staging: Staging, task: SceneTask) -> bool:
    outcome = staging.outcome(task)
    return outcome is not None and outcome.result is not None


def _finish(
    request: Request,
    work: Work,
    model: Model,
    runtime: Runtime,
    staging: Staging,
    tasks: dict[str, SceneTask],
    facts: Facts,
) -> dict[str, Any]:
    """Put everything together and move it to its place."""
    results_file = staging.folder / RESULTS

    def describe(folder: Path) -> None:
        found = _collect(request, work, staging, tasks)
        scenes = fly_throughs(found.scenes, work.selected.scenes, model, runtime, staging.results, request.config)
        probe, reasons = None, dict(facts.reasons)
        if request.config.probe and isinstance(model, RayZer):
            probe, reason = probe_section(staging.results, scenes, model, runtime)
            reasons |= {} if probe else {"probe": reason}
        known = replace(facts, reasons=reasons)
        content = assemble(replace(found, scenes=scenes, probe=probe), known, model, runtime)
        staging.tidy([unit.name for unit in work.units if unit.kind == "scene"])
        results_file.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def complete() -> None:
        for file in (request.out / SCENES).glob(f"*/{TOKENS}"):
            file.unlink()
        write_evaluation_page(request.out)

    moves = [(staging.results, request.out / SCENES), (results_file, request.out / RESULTS)]
    staging.finish(describe, moves, last=complete)
    return json.loads((request.out / RESULTS).read_text(encoding="utf-8"))


def _collect(request: Request, work: Work, staging: Staging, tasks: dict[str, SceneTask]) -> Collected:
    """What the records hold, by kind of unit."""
    results: dict[str, list[Any]] = {kind: [] for kind in ("scene", "re-estimated", "exact")}
    counts: dict[tuple[int, int], list[Any]] = {}
    failed = [{"name": failure.name, "error": failure.error} for failure in work.selected.failed]
    for unit in work.units:
        outcome = staging.outcome(tasks[unit.name])
        if outcome is None:
            raise RunError(f"{request.out}: {unit.name} was not finished; run the same command again")
        if outcome.result is None:
            if unit.kind == "scene":
                failed.append({"name": unit.scenes[0].name, "error": outcome.error})
            continue
        if unit.kind == "count" or (unit.kind == "scene" and request.counts):
            counts.setdefault(unit.scenes[0].counts, []).append(outcome.result)
        if unit.kind != "count":
            results[unit.kind].append(outcome.result)
    if not results["scene"]:
        raise InputError(failed[0]["error"])
    return Collected(results["scene"], failed, counts, results["re-estimated"], results["exact"], None)


def _data(request: Request) -> dict[str, Any]:
    """The files of an evaluation, as the user named them."""
    return {
        "scenes": str(request.scenes),
        "view_index": str(request.view_index),
        "view_index_sha256": file_sha256(request.view_index),
        "counts": [str(path) for path in request.counts],
        "pairs": None if request.pairs is None else str(request.pairs),
    }

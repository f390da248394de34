"""`rayzer evaluate`: scenes in, `results.json` and a page out. Read this first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rayzer.data.scene_jobs import Plan, SceneTask, Staging, check_replaced, open_staging, unwritable
from rayzer.data.strict_json import mentions
from rayzer.devices import Runtime
from rayzer.errors import InputError, RunError
from rayzer.evaluation.extras import fly_throughs, probe_section
from rayzer.evaluation.measure import Measurer
from rayzer.evaluation.plan import Work, reasons_of
from rayzer.evaluation.processes import Share
from rayzer.evaluation.results import FORMAT, Collected, Facts, assemble, inputs_of, versions
from rayzer.evaluation.scenes import load_sample
from rayzer.evaluation.scoring import Scorer
from rayzer.evaluation.settings import Protocol, Request
from rayzer.evaluation.work import SCENES, TOKENS, Failed, attempt, decoded, in_batches
from rayzer.files import check_output_folder, exclusive, exists, file_sha256, remove_entry
from rayzer.model.unposed import UnposedModel
from rayzer.model.weights import Model, fingerprint, weights_file
from rayzer.progress import progress_bar
from rayzer.report.evaluation_page import write_evaluation_page

RESULTS, PAGE = "results.json", "index.html"
COMPARISON = "comparison.html"  # of these results with a baseline's; it goes when they do
WRITES = (SCENES, RESULTS, PAGE, COMPARISON)
FAILED = "failed"  # in the unfinished work: a process that cannot go on tells the others so


def check_output(request: Request, inputs: Sequence[Path], may_stay: bool = False) -> None:
    """Make sure that results replace nothing but those of an earlier evaluation, and none of their own input.

    Args:
        inputs: what is read.
        may_stay: finished results may be kept; `WithBaseline` finds out.

    Raises:
        InputError: if they would.
    """
    out = request.out
    if not (Staging(out).is_moving or may_stay):
        check_output_folder(out, request.overwrite)
    check_replaced(out, WRITES, own=WRITES if mentions(out / RESULTS, FORMAT) else ())
    replaced = [(out / name).resolve() for name in WRITES]
    for path in inputs if out.exists() else []:
        if any(path.resolve() == entry or entry in path.resolve().parents for entry in replaced):
            raise InputError(f"{out}: results would replace the input {path}; choose another output folder")


def inputs_among(request: Request, work: Work | None) -> list[Path]:
    """The files and folders that an evaluation reads, with those of its scenes once they are known."""
    scenes = {id(scene): scene for unit in (work.units if work else ()) for scene in unit.scenes}.values()
    pictures = [frame.image for scene in scenes for frame in scene.frames if isinstance(frame.image, Path)]
    lists = [request.scenes, *([] if request.pairs is None else [request.pairs])]
    return [*lists, request.view_index, *request.counts, *(scene.ref.path for scene in scenes), *pictures]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that an evaluation needs once it may begin.

    Attributes:
        request: what was asked for.
        work: what there is to do.
        model: in eval mode, on the device of `runtime`.
        checkpoint: where its weights came from, as the user named it.
        runtime: where, and how precisely.
        scorer: compares pictures.
        share: this process among those that share the work.
    """

    request: Request
    work: Work
    model: Model
    checkpoint: str
    runtime: Runtime
    scorer: Scorer
    share: Share

    def run(self, last: Callable[[], object] = lambda: None) -> dict[str, Any] | None:
        """Measure everything, or go on where the same command was interrupted.

        Args:
            last: what is done in the first process when all results are in their place; the work is unfinished until
                then, so it is done again if it was cut short.

        Returns:
            the content of `results.json`, in the first process; None in the others.

        Raises:
            InputError: if a scene cannot be evaluated (unless `keep_going`), or the results cannot be written.
        """
        with self.alone():
            return self.run_in_own_folder(last)

    def run_in_own_folder(self, last: Callable[[], object]) -> dict[str, Any] | None:
        """What `run` does, for who is `alone` already."""
        with self.share.together():
            staging = self.begin() if self.share.is_first else None
        with self.share.together():
            staging = staging or open_staging(self.request.out, self.plan, self.request.overwrite, shared=True)
            if not staging.is_moving:
                self._measure(staging)
        return self._finish(staging, last) if self.share.is_first else None

    def begin(self) -> Staging:
        """Begin the work, or go on with what the same command left unfinished.

        Raises:
            InputError: if the output folder holds anything else, or cannot be written.
        """
        staging = open_staging(self.request.out, self.plan, self.request.overwrite)
        (staging.folder / FAILED).unlink(missing_ok=True)
        return staging

    @property
    def is_finished(self) -> bool:
        """Whether the very results that `run` would give are there, and nothing is left to do for them."""
        out = self.request.out
        return not Staging(out).is_open and inputs_of(out / RESULTS) == self._facts.inputs_sha256

    @cached_property
    def plan(self) -> Plan:
        """What unfinished work of this evaluation is known by."""
        return Plan("evaluate", self._settings, tuple(self._tasks.values()))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other evaluation works on the output folder."""
        out = self.request.out
        if not self.share.is_first:
            yield
            return
        try:
            out.mkdir(parents=True, exist_ok=True)
            with exclusive(out):
                yield
        except BlockingIOError:
            raise InputError(f"{out}: another process is at work there; wait for it, or choose another one") from None
        except OSError as error:
            raise unwritable(out, error) from error
        finally:
            with suppress(OSError):  # it is not empty
                out.rmdir()

    @property
    def _tasks(self) -> dict[str, SceneTask]:
        return {unit.name: SceneTask(n, unit.scenes[0].ref, unit.name) for n, unit in enumerate(self.work.units)}

    @cached_property
    def _protocol(self) -> dict[str, Any]:
        request, view_index = self.request, file_sha256(self.request.view_index)
        return Protocol.of(request.protocol, self.model.config, request.config, self.runtime, view_index).as_json()

    @cached_property
    def _weights(self) -> dict[str, str]:
        return {"sha256": file_sha256(weights_file(self.checkpoint)), "fingerprint": fingerprint(self.model)}

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """All that the results depend on: work of other settings is not gone on with, and its results are not kept."""
        return {
            **asdict(self.request.config),
            **{f"protocol.{key}": value for key, value in self._protocol.items()},
            **{f"checkpoint.{key}": value for key, value in self._weights.items()},
            **versions(self.runtime),
            "lpips_sha256": list(self.scorer.weights_sha256),
            "scenes_sha256": self.work.fingerprint(),
        }

    @cached_property
    def _facts(self) -> Facts:
        request, selected = self.request, self.work.selected
        data = {
            "scenes": str(request.scenes),
            "view_index": str(request.view_index),
            "view_index_sha256": self._protocol["view_index_sha256"],
            "counts": [str(path) for path in request.counts],
            "pairs": None if request.pairs is None else str(request.pairs),
        }
        return Facts(
            title=f"{_model_title(self.checkpoint)} on {_data_title(request.scenes)}",
            checkpoint={"path": self.checkpoint, **self._weights},
            protocol=self._protocol,
            data=data,
            left_out={"null": list(selected.null), "absent": list(selected.absent)},
            reasons=reasons_of(self.model, request, self.scorer, self.runtime),
            inputs_sha256=hashlib.sha256(json.dumps(self._settings, sort_keys=True).encode()).hexdigest(),
        )

    def _measure(self, staging: Staging) -> None:
        """Do this process's share of all batches that are not done yet."""
        request, share, tasks = self.request, self.share, self._tasks
        measurer = Measurer(self.model, request.config, request.protocol, self.runtime, self.scorer)
        batches = in_batches(self.work.units, request.config.scenes_at_once(self.runtime))
        own = batches[share.rank :: share.size]
        pending = [batch for batch in own if not all(_is_done(staging, tasks[unit.name]) for unit in batch)]
        load = partial(load_sample, model=self.model.config)
        with progress_bar("Evaluating") as advance:
            advance(len(own) - len(pending), len(own))
            for done, (batch, samples) in enumerate(decoded(pending, load), start=1):
                if exists(staging.folder / FAILED):
                    return
                for result in attempt(measurer, batch, samples):
                    self._record(staging, tasks[result.unit.name], result)
                advance(len(own) - len(pending) + done, len(own))

    def _record(self, staging: Staging, task: SceneTask, result: Any) -> None:
        try:
            staging.process(result, task)
            if isinstance(result, Failed) and not self.request.keep_going:
                (staging.folder / FAILED).touch()
                raise InputError(result.error)
        except OSError as error:
            raise unwritable(self.request.out, error) from error

    def _finish(self, staging: Staging, last: Callable[[], object]) -> dict[str, Any]:
        """Put everything together and move it to its place."""
        out, file = self.request.out, staging.folder / RESULTS

        def describe(folder: Path) -> None:
            content = self._content(staging)
            staging.tidy([unit.name for unit in self.work.units if unit.kind == "scene"])
            file.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")

        def make_room() -> None:
            if exists(file):  # else it has been moved
                for name in (COMPARISON, RESULTS, PAGE):
                    remove_entry(out / name)

        def complete() -> None:
            for tokens in (out / SCENES).glob(f"*/{TOKENS}"):
                tokens.unlink()
            write_evaluation_page(out)
            last()

        moves = [(staging.results, out / SCENES), (file, out / RESULTS)]
        staging.finish(describe, moves, first=make_room, last=complete)
        return json.loads((out / RESULTS).read_text(encoding="utf-8"))

    def _content(self, staging: Staging) -> dict[str, Any]:
        model, config, reasons = self.model, self.request.config, dict(self._facts.reasons)
        found = self._collect(staging)
        scenes = fly_throughs(found.scenes, self.work.selected.scenes, model, self.runtime, staging.results, config)
        probe = None
        if config.probe and isinstance(model, UnposedModel):
            probe, reason = probe_section(staging.results, scenes, model, self.runtime)
            reasons |= {} if probe else {"probe": reason}
        found = replace(found, scenes=scenes, probe=probe)
        return assemble(found, replace(self._facts, reasons=reasons), model, self.runtime)

    def _collect(self, staging: Staging) -> Collected:
        """What the records hold, by kind of unit."""
        results: dict[str, list[Any]] = {kind: [] for kind in ("scene", "re-estimated", "exact")}
        counts: dict[tuple[int, int], list[Any]] = {}
        failed = [{"name": failure.name, "error": failure.error} for failure in self.work.selected.failed]
        for unit in self.work.units:
            outcome = staging.outcome(self._tasks[unit.name])
            if outcome is None:
                raise RunError(f"{self.request.out}: {unit.title} was not finished; run the same command again")
            if outcome.result is None:
                failed.append({"name": unit.title, "error": outcome.error})
                continue
            if unit.kind == "count" or (unit.kind == "scene" and self.request.counts):
                counts.setdefault(unit.scenes[0].counts, []).append(outcome.result)
            if unit.kind != "count":
                results[unit.kind].append(outcome.result)
        if not results["scene"]:
            raise InputError(failed[0]["error"])
        return Collected(results["scene"], failed, counts, results["re-estimated"], results["exact"], None)


def _model_title(checkpoint: str) -> str:
    """Such as "rayzer_dl3dv.pt"; of a training run "smoke, step-00000024"."""
    path = Path(checkpoint).absolute()
    return f"{path.parents[1].name}, {path.name}" if path.parent.name == "checkpoints" else path.name


def _data_title(scenes: Path) -> str:
    """Such as "span-0.50"; of a file that says nothing its folder's name."""
    return scenes.absolute().parent.name if scenes.stem == "scenes" else scenes.stem


def _is_done(staging: Staging, task: SceneTask) -> bool:
    outcome = staging.outcome(task)
    return outcome is not None and outcome.result is not None

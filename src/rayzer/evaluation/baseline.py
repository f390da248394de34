"""A checkpoint and the baseline that it is held against (usually LVSM with true cameras), on the same views.

The baseline's results lie in a folder of their own among the first ones, and a page compares both. What is finished
with the very same data, weights and settings is not measured again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rayzer.data.scene_jobs import Staging
from rayzer.data.strict_json import mentions
from rayzer.errors import InputError
from rayzer.evaluation.evaluate import COMPARISON, RESULTS, Evaluation
from rayzer.evaluation.results import FORMAT
from rayzer.evaluation.settings import Request
from rayzer.files import exists
from rayzer.report.comparison_page import write_comparison_page

BASELINE = "baseline"  # folder in the output


def of_baseline(request: Request) -> Request:
    """The same evaluation, for a baseline: scenes, views, sweep, pairs and settings are equal."""
    return replace(request, out=request.out / BASELINE)


def may_stay(request: Request) -> bool:
    """Whether an evaluation is there that only lacks its baseline, as far as can be told before models are loaded."""
    return mentions(request.out / RESULTS, FORMAT) and _lacks_results(of_baseline(request))


def _lacks_results(request: Request) -> bool:
    return Staging(request.out).is_open or not exists(request.out / RESULTS)


def run_all(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]] | None:
    """Run an evaluation, and that of its baseline if there are two.

    Returns:
        the content of each `results.json`, in the first process; None in the others.

    Raises:
        InputError: as `Evaluation.run`.
    """
    if len(evaluations) == 2:
        return WithBaseline(*evaluations).run()
    (alone,) = evaluations
    found = alone.run()
    return None if found is None else [found]


@dataclass(frozen=True, eq=False)
class WithBaseline:
    """An evaluation, and then that of its baseline; both ready to begin."""

    main: Evaluation
    baseline: Evaluation

    def run(self) -> list[dict[str, Any]] | None:
        """Measure both and compare them, or go on where the same command was interrupted; as `run_all`."""
        main, baseline, share = self.main, self.baseline, self.main.share
        with main.alone():
            with share.together():
                stays = share.is_first and self._main_stays()
            if not share.gather(stays)[0]:
                main.run_in_own_folder(last=self._hand_over)
            baseline.run(last=self._compare)
        if not share.is_first:
            return None
        files = [each.request.out / RESULTS for each in (main, baseline)]
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def _main_stays(self) -> bool:
        """Whether the first results are there, and only those of the baseline are to be made.

        With `overwrite` they were made by an interrupted run of this command if that has begun with the baseline.

        Raises:
            InputError: if the first results are there, but of something else.
        """
        request, staging = self.main.request, Staging(self.main.request.out)
        staging.sweep()
        if request.overwrite:
            begun = Staging(self.baseline.request.out).goes_on_with(self.baseline.plan, overwrite=True)
            return begun and self.main.is_finished
        if staging.is_open or not may_stay(request):
            return False
        if not self.main.is_finished:
            raise InputError(
                f"{request.out / RESULTS}: is of other scenes, weights, settings or versions; choose another output "
                "folder or add --overwrite"
            )
        return True

    def _hand_over(self) -> None:
        """Begin with the baseline before the first results count as finished: a command that overwrites goes on."""
        self.baseline.begin()

    def _compare(self) -> None:
        out = self.main.request.out
        write_comparison_page(out / COMPARISON, [self.baseline.request.out, out], overwrite=True)

"""The page that `rayzer report` writes about several evaluations."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rayzer.errors import InputError, counted
from rayzer.files import check_output_file, exists
from rayzer.report.build import relative_url, write_page
from rayzer.report.evaluation_page import PAGE_NAME
from rayzer.report.parts import Notice
from rayzer.report.pictures import PictureFolder
from rayzer.report.read_results import load_results
from rayzer.report.results import Results, SceneResult, ScoredView
from rayzer.report.scores import METRICS, Metric, score_line
from rayzer.report.tables import columns_of, footnotes, is_best, run_names


@dataclass(frozen=True)
class Run:
    """One evaluation: its name on the page, its folder as seen from the page, and what it found."""

    name: str
    place: str
    results: Results
    files: PictureFolder

    @functools.cached_property
    def scenes(self) -> dict[str, SceneResult]:
        """Scenes by name in the order of the file; of two with one name the last."""
        return {scene.name: scene for scene in self.results.scenes}

    @property
    def page_url(self) -> str | None:
        """Where the page of this run lies, if it has one."""
        return self.url(PAGE_NAME) if exists(self.files.folder / PAGE_NAME) else None

    @property
    def picture_size(self) -> str:
        """Width and height of what was scored, as "256 × 256 pixels"; empty if it is not known."""
        protocol = self.results.facts.get("protocol", {})
        sides = [protocol.get(side) for side in ("width_px", "height_px")]
        return f"{sides[0]} × {sides[1]} pixels" if all(sides) else ""

    def url(self, picture: str | None) -> str | None:
        """Where a picture of this run lies, as seen from the page; None if it is missing."""
        present = self.files.present(picture)
        return relative_url(f"{self.place}/{present}") if present else None


class Cell(NamedTuple):
    """A figure of the table."""

    text: str
    best: bool


class Difference(NamedTuple):
    """How one score of a run differs from the first run's, scene by scene."""

    label: str
    mean: str
    better: int
    scenes: int


@dataclass(frozen=True)
class ComparisonPage:
    """What the page says about runs, the first of which the others are compared with."""

    runs: Sequence[Run]

    @property
    def summary(self) -> str:
        """The page in one sentence."""
        return f"{len(self.runs)} evaluations side by side, {counted(len(self.common), 'scene')} in common."

    @functools.cached_property
    def common(self) -> list[str]:
        """Names of the scenes that all runs have, in the order of the first."""
        others = [run.scenes for run in self.runs[1:]]
        return [name for name in self.runs[0].scenes if all(name in scenes for scenes in others)]

    @property
    def headings(self) -> list[str]:
        """Headings of the table after the name."""
        return [
            column.label.replace(" ↑", "\N{NO-BREAK SPACE}↑").replace(" ↓", "\N{NO-BREAK SPACE}↓")
            for column in columns_of(self._results)
        ]

    @property
    def rows(self) -> list[tuple[Run, list[Cell]]]:
        """The table: figures of each run, the best marked."""
        columns, results = columns_of(self._results), self._results
        return [
            (run, [Cell(column.text(run.results), is_best(column, run.results, results)) for column in columns])
            for run in self.runs
        ]

    @property
    def footnotes(self) -> list[str]:
        """Why scores are missing."""
        return footnotes(self._results, [run.name for run in self.runs])

    @property
    def differences(self) -> list[tuple[Run, list[Difference]]]:
        """For each run but the first, the paired differences of the scores that both have."""
        return [
            (run, [found for metric in METRICS if (found := self._difference(run, metric))]) for run in self.runs[1:]
        ]

    def _difference(self, run: Run, metric: Metric) -> Difference | None:
        first = self.runs[0].scenes
        pairs = [
            (metric.value(run.scenes[name].scores), metric.value(first[name].scores))
            for name in first
            if name in run.scenes
        ]
        gaps = [mine - other for mine, other in pairs if mine is not None and other is not None]
        if not gaps:
            return None
        better = sum(gap > 0 if metric.higher_is_better else gap < 0 for gap in gaps)
        mean = metric.with_unit(metric.number(sum(gaps) / len(gaps), signed=True))
        return Difference(metric.label, mean, better, len(gaps))

    @property
    def notices(self) -> list[Notice]:
        """Why runs may not be comparable."""
        first, notices = self.runs[0], []
        for section, key, what in COMPARABLE:
            known = first.results.facts.get(section, {}).get(key)
            others = [
                run.name
                for run in self.runs[1:]
                if known and run.results.facts.get(section, {}).get(key) not in (known, None)
            ]
            if others:
                sentence = f"{what} than {first.name}: {', '.join(others)}. Their scores may not be comparable."
                notices.append(Notice("warning", sentence))
        sizes = [f"{run.name} ({run.picture_size})" for run in self.runs[1:] if _differ(run, first)]
        if sizes:
            sentence = f"Pictures of another size than {first.name} ({first.picture_size}): {', '.join(sizes)}. "
            notices.append(Notice("warning", f"{sentence}Scores at different sizes do not compare."))
        others = [run.name for run in self.runs[1:] if run.scenes.keys() != first.scenes.keys()]
        if others:
            sentence = f"Other scenes than {first.name}: {', '.join(others)}. Means are over different scenes; "
            notices.append(Notice("warning", f"{sentence}the differences scene by scene are not."))
        if not self.common:
            notices.append(Notice("warning", "No scene is in all runs, so pictures cannot be laid side by side."))
        return notices

    @property
    def scenes(self) -> list[dict]:
        """Scenes in common as data for the script: pictures and scores of every view in every run."""
        return [self._scene(name) for name in self.common]

    def _scene(self, name: str) -> dict:
        scenes = [run.scenes[name] for run in self.runs]
        views = [{view.index: view for view in scene.views} for scene in scenes]
        indices = sorted(set.intersection(*(set(by_index) for by_index in views)))
        return {
            "name": name,
            "size": scenes[0].size_px or (256, 256),
            "scores": [score_line(scene.scores) for scene in scenes],
            "views": [self._view([by_index[index] for by_index in views]) for index in indices],
        }

    def _view(self, views: Sequence[ScoredView]) -> dict:
        pairs = list(zip(self.runs, views, strict=True))
        return {
            "name": views[0].name,
            "truth": next((url for run, view in pairs if (url := run.url(view.picture))), None),
            "renders": [{"picture": run.url(view.render), "scores": score_line(view.scores)} for run, view in pairs],
        }

    @property
    def _results(self) -> list[Results]:
        return [run.results for run in self.runs]


COMPARABLE = (
    ("data", "view_index_sha256", "Evaluated on other views"),
    ("protocol", "sha256", "Evaluated with other settings"),
    ("versions", "precision", "Evaluated in another precision"),
)
"""(section, key, sentence) of what must be equal for scores to be comparable."""


def compare(folders: Sequence[Path], start: Path = Path()) -> ComparisonPage:
    """What there is to say about the results in `folders`, on a page that lies in `start`.

    Raises:
        InputError: if a `results.json` cannot be used.
    """
    results = [load_results(folder) for folder in folders]
    names = run_names(results, folders)
    places = [_seen_from(start, folder) for folder in folders]
    files = [PictureFolder(folder) for folder in folders]
    return ComparisonPage([Run(*parts) for parts in zip(names, places, results, files, strict=True)])


def write_comparison_page(path: Path, folders: Sequence[Path], overwrite: bool = False) -> None:
    """Write a page about the results in `folders`; it shows their pictures where they lie.

    Args:
        path: the HTML file.
        folders: what `rayzer evaluate` wrote; the others are compared with the first.
        overwrite: replace an existing file.

    Raises:
        InputError: if a `results.json` cannot be used, or the page exists or cannot be written.
    """
    check_output_file(path, overwrite)
    page = compare(folders, path.parent)
    try:
        write_page(path, "comparison.html.j2", page=page)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another name with -o") from None


def _differ(run: Run, first: Run) -> bool:
    """Whether pictures are known to be of different sizes."""
    return "" not in (run.picture_size, first.picture_size) and run.picture_size != first.picture_size


def _seen_from(start: Path, folder: Path) -> str:
    return os.path.relpath(folder.resolve(), start.resolve()).replace(os.sep, "/")

"""The page that `rayzer evaluate` and `rayzer report` write as `index.html`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from rayzer.errors import InputError, counted
from rayzer.files import exists
from rayzer.report.build import write_page
from rayzer.report.camera_plot import KINDS, CameraPlot
from rayzer.report.charts import Chart, histogram, line
from rayzer.report.evaluation_figures import Baseline, PoseRow, baselines, pose_rows, pose_sources
from rayzer.report.parts import MODELS, Fact, Notice
from rayzer.report.pictures import PictureFolder
from rayzer.report.read_results import load_results
from rayzer.report.results import Results, SceneResult, ScoredView, Scores, Transfer
from rayzer.report.scene_details import comparison_choices, nearest_context, scene_details
from rayzer.report.scene_table import SceneRow, scene_columns, scene_rows
from rayzer.report.scores import METRICS, PSNR, score_line

PAGE_NAME = "index.html"
MARK = '<meta name="rayzer-page" content="evaluation">'
"""Tells pages that may be written again from pages of other commands."""

VERDICTS = {
    "are": "Geometric cameras",
    "are not": "Not geometric",
    "unknown": "Not known",
}

SECTIONS = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "poses": "Pose errors",
    "probe": "Probe",
    "transfer": "Transfer",
    "no_leak": "No-leak score",
    "view_counts": "Fewer and more input photos",
    "controls": "Controls",
    "protocol_reference": "Score in the reference's precision",
    "fly_through": "Fly-throughs",
}
"""What people call the keys of `not_computed`."""


LEFT_OUT = {
    "null": "the view index has null for it",
    "absent": "the view index has no entry for it",
}
"""What people call the keys of `left_out`."""


class Card(NamedTuple):
    """A figure of the summary."""

    label: str
    value: str
    detail: str


class Highlight(NamedTuple):
    """A scene worth looking at, and its view nearest to its mean."""

    label: str
    number: int
    scene: SceneResult
    view: ScoredView
    choices: list[dict | None]


@dataclass(frozen=True)
class EvaluationPage:
    """What the page says about `results`; `files` are the pictures beside it."""

    results: Results
    files: PictureFolder

    @property
    def summary(self) -> str:
        """The score in one sentence, and how far it is above copying."""
        scores, scenes = self.results.summary.scores, counted(self.results.summary.scenes, "scene")
        views = f"{counted(self.view_count, 'held-out view')} of {scenes}"
        if scores.psnr is None:
            return f"{views}."
        sentence = f"{PSNR.text(scores)} PSNR over {views}"
        copied = self.results.controls.get("copy_nearest")
        if copied is None or copied.psnr is None:
            return f"{sentence}."
        gain = scores.psnr - copied.psnr
        return f"{sentence}, {abs(gain):.2f} dB {'above' if gain >= 0 else 'below'} copying the nearest input photo."

    @property
    def view_count(self) -> int:
        """How many target views were scored."""
        views = self.results.summary.views
        return views if views is not None else sum(len(scene.views) for scene in self.results.scenes)

    @property
    def verdict_title(self) -> str | None:
        """The verdict in a few words, None where there is none."""
        return VERDICTS[self.results.verdict.cameras] if self.results.verdict else None

    @property
    def notices(self) -> list[Notice]:
        """What the reader must know before believing the numbers."""
        notices, failed, missing = [], self.results.failed, self.files.missing
        if failed:
            sentence = f"{counted(len(failed), 'scene')} failed and {'is' if len(failed) == 1 else 'are'} not counted"
            notices.append(Notice("warning", f"{sentence}: {_some([failure.name for failure in failed])}."))
        if missing:
            sentence = f"{counted(len(missing), 'picture')} or videos missing beside this page"
            notices.append(Notice("warning", f"{sentence}: {_some(list(missing))}."))
        for metric in METRICS:
            if metric.value(self.results.summary.scores) is None:
                reason = self.results.not_computed.get(metric.key, "no reason is given")
                notices.append(Notice("info", f"{metric.label} was not computed: {reason}".rstrip(".") + "."))
        return notices

    @property
    def cards(self) -> list[Card]:
        """The scores with their confidence, and of how much."""
        summary = self.results.summary
        cards = [Card(metric.label, metric.text(summary.scores), self._confidence(metric.key)) for metric in METRICS]
        views = f"{self.view_count:,} held-out views" if self.view_count != 1 else "1 held-out view"
        return [*cards, Card("Scenes", f"{summary.scenes:,}", views)]

    def _confidence(self, key: str) -> str:
        metric = next(metric for metric in METRICS if metric.key == key)
        ends = self.results.summary.confidence.get(key)
        if metric.value(self.results.summary.scores) is None:
            return "not computed"
        return f"95 %: {metric.number(ends[0])}–{metric.number(ends[1])}" if ends else ""

    @property
    def baselines(self) -> list[Baseline]:
        """The model and its controls."""
        return baselines(self.results)

    @property
    def pose_sources(self) -> list[tuple[str, str]]:
        """(heading, explanation) of the columns of `pose_rows`."""
        return [(source.label, source.explanation) for source in pose_sources(self.results)]

    @property
    def pose_rows(self) -> list[PoseRow]:
        """Pose errors of the cameras, of the probe and after a transfer."""
        return pose_rows(self.results)

    @property
    def sweep(self) -> Chart | None:
        """PSNR by the number of context views."""
        points = [(float(count.context), count.scores.psnr) for count in self.results.view_counts]
        known = {x: y for x, y in points if y is not None}
        return line(list(known.items()), "Input photos", "PSNR in dB") if len(known) > 1 else None

    @property
    def histogram(self) -> Chart | None:
        """PSNR of all target views."""
        values = [view.scores.psnr for scene in self.results.scenes for view in scene.views]
        known = [value for value in values if value is not None]
        return histogram(known, "PSNR in dB", "views") if len(known) > 1 else None

    @functools.cached_property
    def ranked(self) -> list[int]:
        """Numbers of the scenes that have a PSNR, best first."""
        scores = {number: scene.scores.psnr for number, scene in enumerate(self.results.scenes)}
        known = {number: psnr for number, psnr in scores.items() if psnr is not None}
        return sorted(known, key=lambda number: (-known[number], number))

    @property
    def first_scene(self) -> int:
        """Number of the scene that the page opens with: the median."""
        return self.ranked[len(self.ranked) // 2] if self.ranked else 0

    @property
    def highlights(self) -> list[Highlight]:
        """Best, median and worst scene, as far as they differ and have pictures."""
        if len(self.ranked) < 2:
            return []
        chosen = {"Best": self.ranked[0], "Median": self.first_scene, "Worst": self.ranked[-1]}
        if len(self.ranked) == 2:
            del chosen["Median"]
        found = [self._highlight(f"{label} scene", number) for label, number in chosen.items()]
        return [highlight for highlight in found if highlight]

    def _highlight(self, label: str, number: int) -> Highlight | None:
        scene = self.results.scenes[number]
        view = typical_view(scene)
        if view is None or not self.files.present(view.render) or not self.files.present(view.picture):
            return None
        choices = comparison_choices(view, nearest_context(view.index, scene.context), self.files)
        return Highlight(label, number, scene, view, choices)

    @functools.cached_property
    def details(self) -> list[dict]:
        """All scenes as data for the script that shows the chosen one."""
        return [scene_details(scene, self.files) for scene in self.results.scenes]

    @property
    def columns(self) -> list[str]:
        """Headings of the table of scenes after the name."""
        return [column.label for column in scene_columns(self.results)]

    @functools.cached_property
    def rows(self) -> list[SceneRow]:
        """The table of scenes."""
        thumbnails = [self._thumbnail(scene) for scene in self.results.scenes]
        return scene_rows(self.results, thumbnails)

    def _thumbnail(self, scene: SceneResult) -> str | None:
        view = typical_view(scene)
        return self.files.thumbnail(view.picture or view.render) if view else None

    @property
    def fly_through_size(self) -> tuple[int, int]:
        """Width and height that the place of a fly-through is kept for."""
        sizes = [scene.size_px for scene in self.results.scenes if scene.size_px]
        return sizes[0] if sizes else (256, 256)

    @property
    def has_plots(self) -> bool:
        """Whether any scene has cameras."""
        return any(scene.cameras for scene in self.results.scenes)

    @property
    def has_videos(self) -> bool:
        """Whether any scene has a fly-through."""
        return any(details["video"] for details in self.details)

    @property
    def has_pictures(self) -> bool:
        """Whether any render is there to be compared."""
        return any(view["render"] for details in self.details for view in details["views"])

    @property
    def not_computed(self) -> list[tuple[str, str]]:
        """(what, why) of everything that was not computed."""
        return [(SECTIONS.get(key, key), reason) for key, reason in self.results.not_computed.items()]

    @property
    def left_out(self) -> list[tuple[str, Sequence[str]]]:
        """(reason, names) of the scenes that were not to be evaluated."""
        return [(LEFT_OUT.get(key, key), names) for key, names in self.results.left_out.items() if names]

    @property
    def transfer_sentence(self) -> str:
        """The score with the other scene's cameras beside that with the own ones."""
        transfer = self.results.transfer or Transfer()
        exact, own = transfer.exact or Scores(), transfer.own
        return f"{score_line(exact)}" + (f", against {score_line(own)} with its own cameras." if own else ".")

    @property
    def facts(self) -> list[Fact]:
        """How this was made, without the configuration."""
        sections = {key: facts for key, facts in self.results.facts.items() if key != "config"}
        kind = self.results.facts.get("config", {}).get("kind", "")
        model = [Fact("Model", MODELS[kind])] if kind in MODELS else []
        return [
            *model,
            *(Fact(_label(key, name), text) for key, facts in sections.items() for name, text in facts.items()),
        ]

    @property
    def configuration(self) -> list[Fact]:
        """The model's configuration."""
        return [Fact(name, text) for name, text in self.results.facts.get("config", {}).items()]

    @property
    def empty_plot(self) -> CameraPlot:
        """The place of the chosen scene's cameras."""
        return CameraPlot(())

    @property
    def plot_legend(self) -> list[tuple[str, str]]:
        """All kinds of cameras that any scene may have."""
        return list(KINDS.items())


def typical_view(scene: SceneResult) -> ScoredView | None:
    """The view whose PSNR is nearest to the scene's."""
    mean = scene.scores.psnr

    def distance(view: ScoredView) -> float:
        return float("inf") if mean is None or view.scores.psnr is None else abs(view.scores.psnr - mean)

    return min(scene.views, key=distance, default=None)


def write_evaluation_page(folder: Path, overwrite: bool = False) -> Path:
    """Write `folder/index.html` about `folder/results.json` and the pictures beside it; returns its path.

    Args:
        folder: what `rayzer evaluate` wrote.
        overwrite: replace even an `index.html` that is not such a page (of `rayzer demo`, for instance).

    Raises:
        InputError: if `results.json` cannot be used, or the page cannot be written.
    """
    results = load_results(folder)
    path = folder / PAGE_NAME
    if not overwrite and exists(path) and not _is_evaluation_page(path):
        raise InputError(f"{path}: is another page, not one about results.json; add --overwrite to replace it")
    page = EvaluationPage(results, PictureFolder(folder))
    _ = page.details, page.rows  # so that the page knows by its top what is missing
    try:
        write_page(path, "evaluation.html.j2", page=page, metrics=METRICS, mark=Markup(MARK))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); free the place or copy the folder") from None
    return path


def _is_evaluation_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(4096)
    except OSError:
        return False


def _label(section: str, name: str) -> str:
    """ "sha256" of "checkpoint" as "Checkpoint: sha256"; what speaks for itself stays alone."""
    text = name.replace("_", " ")
    return text.capitalize() if section in ("versions", "data") else f"{section.capitalize()}: {text}"


def _some(names: Sequence[str], shown: int = 3) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")

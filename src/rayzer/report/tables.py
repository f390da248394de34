"""Evaluations as a table: one row a run. Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayzer.errors import one_line
from rayzer.report.results import Poses, Results, SceneResult, Scores
from rayzer.report.scores import DASH, METRICS

CONTROLS = {
    "copy_nearest": "Copy nearest",
    "blend_two": "Blend two",
    "constant_camera": "Constant camera",
    "shuffled_order": "Shuffled order",
    "reversed_order": "Reversed order",
}

LATEX_LETTERS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after a line's end LaTeX would read it as an argument
    "–": "--",
    "−": "$-$",
    "≤": r"$\le$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
MARKDOWN_LETTERS = set("\\`*_{}[]<>#|~&")


@dataclass(frozen=True)
class Column:
    """One figure of a run.

    Attributes:
        name: machine-readable, the heading of the CSV.
        label: the heading for people.
        value: the figure of a run, None where it has none.
        digits: after the point.
        higher_is_better: None for figures that no run should be praised for.
    """

    name: str
    label: str
    value: Callable[[Results], float | None]
    digits: int
    higher_is_better: bool | None = None

    def text(self, run: Results) -> str:
        """The figure as it is shown, a dash where there is none."""
        value = self.value(run)
        return DASH if value is None else f"{value:.{self.digits}f}"


def _score_columns() -> list[Column]:
    def column(metric):
        arrow = "↑" if metric.higher_is_better else "↓"
        label = f"{metric.label} {arrow}"
        return Column(
            metric.key, label, lambda run: metric.value(run.summary.scores), metric.digits, metric.higher_is_better
        )

    return [column(metric) for metric in METRICS]


def _control_column(key: str, label: str) -> Column:
    return Column(f"{key}_psnr", f"{label} PSNR", lambda run: run.controls.get(key, Scores()).psnr, 2)


def _no_leak_psnr(run: Results) -> float | None:
    return run.no_leak.psnr if run.no_leak else None


def _pose_column(name: str, label: str, value: Callable[[Poses], float | None], higher_is_better: bool) -> Column:
    return Column(name, label, lambda run: value(run.poses) if run.poses else None, 3, higher_is_better)


COLUMNS: Sequence[Column] = (
    *_score_columns(),
    Column("scenes", "Scenes", lambda run: run.summary.scenes, 0),
    *(_control_column(key, label) for key, label in CONTROLS.items()),
    Column("no_leak_psnr", "No-leak PSNR ↑", _no_leak_psnr, 2, True),
    _pose_column("rpa_15", "RPA@15 ↑", lambda poses: poses.rpa.get("15"), True),
    _pose_column("auc_30", "AUC@30 ↑", lambda poses: poses.auc.get("30"), True),
    _pose_column("ate", "ATE ↓", lambda poses: poses.ate, False),
    _pose_column("focal_error", "Focal error ↓", lambda poses: poses.focal_error, False),
)


def columns_of(runs: Sequence[Results]) -> list[Column]:
    """The columns that any run has. Scores stay, with a dash, where a run says why it lacks them."""
    reasons = {key for run in runs for key in run.not_computed}
    return [
        column for column in COLUMNS if column.name in reasons or any(column.value(run) is not None for run in runs)
    ]


def is_best(column: Column, run: Results, runs: Sequence[Results]) -> bool:
    """Whether no run has a better figure, as it is shown; of none where all show the same."""
    values = {column.text(other): value for other in runs if (value := column.value(other)) is not None}
    if len(values) < 2 or column.higher_is_better is None:
        return False
    return column.text(run) == (max if column.higher_is_better else min)(values, key=lambda text: values[text])


def footnotes(runs: Sequence[Results], names: Sequence[str]) -> list[str]:
    """Why scores are missing: one sentence for each."""
    labels = {metric.key: metric.label for metric in METRICS}
    missing = [
        (name, label, run.not_computed.get(key, "no reason is given"))
        for run, name in zip(runs, names, strict=True)
        for key, label in labels.items()
        if getattr(run.summary.scores, key) is None and key in {column.name for column in columns_of(runs)}
    ]
    return [
        f"{label} of {one_line(name)} was not computed: {one_line(reason)}".rstrip(".") + "."
        for name, label, reason in missing
    ]


def run_names(runs: Sequence[Results], folders: Sequence[Path]) -> list[str]:
    """Titles, with the folder where several runs share one."""
    titles, ends = [run.title for run in runs], [folder.resolve().name for folder in folders]
    places = [end if ends.count(end) == 1 else str(folder) for end, folder in zip(ends, folders, strict=True)]
    return [
        title if titles.count(title) == 1 else f"{title} ({place})" for title, place in zip(titles, places, strict=True)
    ]


def markdown(runs: Sequence[Results], names: Sequence[str]) -> str:
    """A GitHub table, the best values in bold if several runs are compared."""
    columns = columns_of(runs)
    lines = ["| Run |" + "".join(f" {column.label} |" for column in columns), "|:---|" + "---:|" * len(columns)]
    for run, name in zip(runs, names, strict=True):
        cells = [f"**{column.text(run)}**" if is_best(column, run, runs) else column.text(run) for column in columns]
        lines.append(f"| {_markdown_escaped(name)} |" + "".join(f" {cell} |" for cell in cells))
    notes = [_markdown_escaped(note) for note in footnotes(runs, names)]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def latex(runs: Sequence[Results], names: Sequence[str]) -> str:
    """A tabular for `booktabs`, the best values in bold if several runs are compared."""
    columns = columns_of(runs)
    lines = [
        "% \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        "\\toprule",
        " & ".join(["Run", *(_latex_heading(column.label) for column in columns)]) + " \\\\",
        "\\midrule",
    ]
    for run, name in zip(runs, names, strict=True):
        cells = [_latex_cell(column.text(run), is_best(column, run, runs)) for column in columns]
        lines.append(" & ".join([_latex_escaped(one_line(name)), *cells]) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", *(f"% {note}" for note in footnotes(runs, names))]
    return "\n".join(lines) + "\n"


def csv_runs(runs: Sequence[Results], names: Sequence[str]) -> str:
    """One line a run with all its digits; empty where a figure is missing."""
    columns = columns_of(runs)
    rows = [[name, *(_plain(column.value(run)) for column in columns)] for run, name in zip(runs, names, strict=True)]
    return _csv(["run", *(column.name for column in columns)], rows)


def csv_scenes(run: Results) -> str:
    """One line a scene with all digits; empty where a figure is missing, without the columns that no scene has."""
    controls = [key for key in CONTROLS if any(key in scene.controls for scene in run.scenes)]
    heading = ["scene", *(metric.key for metric in METRICS), "views", *(f"{key}_psnr" for key in controls)]
    heading += ["no_leak_psnr", "rra_15", "rta_15", "rpa_15", "auc_30", "ate", "focal_error"]
    rows = [_scene_row(scene, controls) for scene in run.scenes]
    kept = [column for column in range(len(heading)) if column == 0 or any(row[column] != "" for row in rows)]
    return _csv([heading[column] for column in kept], [[row[column] for column in kept] for row in rows])


def _scene_row(scene: SceneResult, controls: Sequence[str]) -> list[object]:
    poses, no_leak = scene.poses or Poses(), scene.no_leak or Scores()
    figures = [
        *(scene.controls.get(key, Scores()).psnr for key in controls),
        *(no_leak.psnr, *(shares.get("15") for shares in (poses.rra, poses.rta, poses.rpa))),
        *(poses.auc.get("30"), poses.ate, poses.focal_error),
    ]
    scores = [_plain(metric.value(scene.scores)) for metric in METRICS]
    return [scene.name, *scores, len(scene.views), *(_plain(figure) for figure in figures)]


def _plain(value: float | None) -> object:
    return "" if value is None else value


def _csv(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    return text.getvalue()


def _inert(cell: object) -> object:
    """A name that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _markdown_escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in MARKDOWN_LETTERS else letter for letter in one_line(text))


def _latex_heading(label: str) -> str:
    return _latex_escaped(label).replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$")


def _latex_cell(text: str, best: bool) -> str:
    return f"\\textbf{{{text}}}" if best else _latex_escaped(text)


def _latex_escaped(text: str) -> str:
    return "".join(LATEX_LETTERS.get(letter, letter) for letter in text)

"""A comparison in a few lines, for a terminal; the page has the rest."""

from __future__ import annotations

from collections.abc import Sequence

from rayzer.errors import one_line
from rayzer.report.comparison_page import ComparisonPage, Difference
from rayzer.report.results import Results
from rayzer.report.scores import METRICS
from rayzer.report.tables import COLUMNS, Column

SHOWN = ("psnr", "ssim", "lpips", "no_leak_psnr")  # the last, because it says how far to trust the others


def comparison_text(page: ComparisonPage) -> str:
    """The scores of each run, how those of the others differ from the first's, and what to mind."""
    columns = _columns([run.results for run in page.runs])
    differences = {run.name: found for run, found in page.differences}
    rows = [["Run", *(column.label for column in columns)]]
    for run in page.runs:
        rows.append([one_line(run.name), *(column.text(run.results) for column in columns)])
        rows += _differences(differences.get(run.name, []), columns)
    return "\n".join([*_aligned(rows), *(one_line(notice.sentence) for notice in page.notices)])


def _columns(runs: Sequence[Results]) -> list[Column]:
    shown = [column for column in COLUMNS if column.name in SHOWN]
    return [column for column in shown if any(column.value(run) is not None for run in runs)]


def _differences(found: Sequence[Difference], columns: Sequence[Column]) -> list[list[str]]:
    """Two rows, if there are scenes in common: the mean difference, and in how many scenes the run is better."""
    if not found:
        return []
    labels = {metric.key: metric.label for metric in METRICS}
    by_label = {difference.label: difference for difference in found}
    known = [by_label.get(labels.get(column.name, "")) for column in columns]
    return [
        ["  difference, scene by scene", *(each.mean if each else "" for each in known)],
        ["  better in", *(f"{each.better} of {each.scenes}" if each else "" for each in known)],
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest cell: the first to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    return ["  ".join(line).rstrip() for line in lines]

"""The figures of an evaluation beside what they are to be compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rayzer.report.results import Poses, Results, Scores
from rayzer.report.scores import DASH, LPIPS, PSNR, SSIM, percent
from rayzer.report.tables import CONTROLS

EXPLAINED = {
    "copy_nearest": "The nearest input photo, unchanged. Whoever is not above this has drawn nothing new.",
    "blend_two": "The input photos before and after, averaged.",
    "constant_camera": "The model with one camera for all views: what is left when cameras say nothing.",
    "shuffled_order": "The model with its photos in a random order.",
    "reversed_order": "The model with its photos in the opposite order.",
}
WITHOUT_MODEL = ("copy_nearest", "blend_two")
NO_LEAK = "The model without held-out photos: their cameras are interpolated between those of the input photos."
REFERENCE = "The model in the precision of the reference implementation, for comparison with published numbers."


@dataclass(frozen=True)
class Baseline:
    """One row of the chart of controls.

    Attributes:
        label: its name.
        explanation: what it is, in one sentence.
        psnr: text of the PSNR.
        ssim: text of the SSIM.
        lpips: text of the LPIPS.
        share: length of the bar, 0 to 1.
        difference: PSNR against the model's.
        kind: "model" for the score itself, "variant" for the model under other conditions, "control" for what needs no
            model.
    """

    label: str
    explanation: str
    psnr: str
    ssim: str
    lpips: str
    share: float
    difference: str
    kind: str


def baselines(results: Results) -> list[Baseline]:
    """The model, its variants, then the controls; empty if there is nothing to compare the model with."""
    rows = [("Model", "The score of this evaluation.", results.summary.scores, "model")]
    if results.no_leak:
        rows.append(("No leak", f"{NO_LEAK} {results.no_leak_note}".strip(), results.no_leak, "variant"))
    if results.protocol_reference:
        rows.append(("Reference precision", REFERENCE, results.protocol_reference, "variant"))
    for key in [
        *(key for key in CONTROLS if key in results.controls),
        *(key for key in results.controls if key not in CONTROLS),
    ]:
        kind = "control" if key in WITHOUT_MODEL else "variant"
        rows.append((CONTROLS.get(key, key), EXPLAINED.get(key, ""), results.controls[key], kind))
    best = max((scores.psnr for _, _, scores, _ in rows if scores.psnr is not None), default=None)
    model = results.summary.scores.psnr
    return [_baseline(*row, best=best, model=model) for row in rows] if len(rows) > 1 else []


def _baseline(
    label: str, explanation: str, scores: Scores, kind: str, best: float | None, model: float | None
) -> Baseline:
    psnr = scores.psnr
    gap = None if psnr is None or model is None or kind == "model" else psnr - model
    return Baseline(
        label=label,
        explanation=explanation,
        psnr=PSNR.text(scores),
        ssim=SSIM.text(scores),
        lpips=LPIPS.text(scores),
        share=max(psnr, 0) / best if psnr is not None and best is not None and best > 0 else 0,
        difference="" if gap is None else PSNR.number(gap, signed=True),
        kind=kind,
    )


@dataclass(frozen=True)
class PoseSource:
    """One set of pose errors."""

    label: str
    explanation: str
    poses: Poses


@dataclass(frozen=True)
class PoseRow:
    """A pose error of every source: lines of (threshold, text)."""

    label: str
    explanation: str
    cells: Sequence[Sequence[tuple[str, str]]]


def pose_sources(results: Results) -> list[PoseSource]:
    """Where pose errors come from, as far as they were computed."""
    sources = []
    if results.poses:
        scenes = f"All pairs of views of {results.pose_scenes} scenes" if results.pose_scenes else "All pairs of views"
        sources.append(PoseSource("As predicted", f"{scenes}.", results.poses))
    if results.straight_line:
        text = "The control: cameras that all look the same way from a line. Whoever does not beat it knows nothing."
        sources.append(PoseSource("Straight line", text, results.straight_line))
    if results.probe:
        probe = results.probe
        text = (
            "A small network reads true cameras out of them: "
            f"fitted on {probe.train_scenes}, tested on {probe.test_scenes} scenes."
        )
        sources.append(PoseSource("Through a probe", text, probe.poses))
    if results.transfer and results.transfer.re_estimated:
        pairs = results.transfer.re_estimated_pairs
        text = f"Cameras found again in renders of another scene, {pairs} pairs of scenes."
        sources.append(PoseSource("After a transfer", text, results.transfer.re_estimated))
    return sources


SHARES: Sequence[tuple[str, str, Callable[[Poses], Mapping[str, float]]]] = (
    ("RRA", "Pairs of views whose relative rotation is right to within so many degrees.", lambda poses: poses.rra),
    ("RTA", "Pairs whose direction of movement is right to within so many degrees.", lambda poses: poses.rta),
    ("RPA", "Pairs with both.", lambda poses: poses.rpa),
    ("AUC", "Pairs with both, averaged over all limits up to so many degrees.", lambda poses: poses.auc),
)
ERRORS: Sequence[tuple[str, str, Callable[[Poses], float | None], Callable[[float], str]]] = (
    ("Rotation error", "Median over the pairs.", lambda poses: poses.rotation_error_deg, "{:.2f}°".format),
    (
        "Translation error",
        "Median angle between directions.",
        lambda poses: poses.translation_error_deg,
        "{:.2f}°".format,
    ),
    (
        "ATE",
        "Error of the positions after alignment, against the extent of the path.",
        lambda poses: poses.ate,
        percent,
    ),
    ("Focal error", "Error of the focal length.", lambda poses: poses.focal_error, percent),
)


def pose_rows(results: Results) -> list[PoseRow]:
    """Every pose error that any source has."""
    sources = [source.poses for source in pose_sources(results)]
    rows = [PoseRow(label, text, [_shares(read(poses)) for poses in sources]) for label, text, read in SHARES]
    for label, text, read, write in ERRORS:
        values = [read(poses) for poses in sources]
        rows.append(PoseRow(label, text, [[("", write(value))] if value is not None else [] for value in values]))
    return [
        PoseRow(row.label, row.explanation, [cell or [("", DASH)] for cell in row.cells])
        for row in rows
        if any(row.cells)
    ]


def _shares(shares: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(f"{degrees}°", percent(share)) for degrees, share in shares.items()]

"""An inspection as text for a terminal: a card for one scene, a summary for many."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rayzer.data.inspection.evidence import Problem, Severity
from rayzer.data.inspection.report import Inspection, SceneReport
from rayzer.data.sources.source import VIDEO_FRAMES
from rayzer.errors import seen_from

MAX_WIDTH = 100
MAX_SCENES = 12  # rows in the table of scenes
MAX_EXAMPLES = 3  # names after a problem

_MARKS: dict[Severity, tuple[str, str]] = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "cyan")}
_RANKS: dict[Severity, int] = {severity: rank for rank, severity in enumerate(_MARKS)}


def render(inspection: Inspection) -> Group:
    """A card for one scene, a summary for many; the verdict comes last."""
    parts = _card(inspection) if len(inspection.scenes) == 1 else _summary(inspection)
    spaced = (line for part in (*parts, _verdict(inspection)) for line in ("", Padding(part, (0, 2), expand=False)))
    return Group(*spaced, "")


# ---- one scene


def _card(inspection: Inspection) -> list[RenderableType]:
    (scene,) = inspection.scenes
    title = _title(scene.name, scene.format, str(scene.ref))
    facts = [_facts(scene, inspection.cameras)] if scene.frames else []
    return [title, *facts, *([_problems(scene)] if scene.problems else [])]


def _facts(scene: SceneReport, cameras: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_row("frames", _frames(scene))
    table.add_row("pictures", _pictures(scene))
    if cameras:
        table.add_row("poses", _poses(scene))
        table.add_row("lens", _lens(scene))
    return table


def _frames(scene: SceneReport) -> str:
    missing = scene.frames - scene.present
    without = f", {missing:,} without a picture" if missing else ""
    return f"{scene.frames:,}{without}" + (
        f" of the video, spread over {scene.duration_s:.1f} s" if scene.duration_s else ""
    )


def _pictures(scene: SceneReport) -> str:
    sizes = [f"{width} x {height}" for width, height, _ in scene.sizes[:3]]
    sizes += [f"{len(scene.sizes) - 3} more sizes"] if len(scene.sizes) > 3 else []
    return f"{', '.join(sizes)}; {_share(scene.decoded, scene.present)} decoded"


def _poses(scene: SceneReport) -> str:
    path = scene.path
    if path is None:
        return "none" if not scene.poses else _share(scene.poses, scene.frames)
    steps = f"steps {path.median_step:.3g} (median) to {path.largest_step:.3g}"
    return f"{_share(scene.poses, scene.frames)}; path {path.length:.3g} units long, {steps}"


def _lens(scene: SceneReport) -> str:
    if not (scene.focal and scene.field_of_view_deg):
        return "unknown"
    across, down = scene.field_of_view_deg
    focal = f"focal length {scene.focal[0]:.3g} of the width"
    return f"{_share(scene.intrinsics, scene.frames)}; field of view {across:.0f}° x {down:.0f}°, {focal}"


def _problems(scene: SceneReport) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(min_width=max(map(len, _MARKS)))
    for problem in sorted(scene.problems.values(), key=lambda problem: _RANKS[problem.severity]):
        mark, style = _MARKS[problem.severity]
        names = _some(problem.frames, problem.frame_count) if problem.frame_count < scene.frames else ""
        table.add_row(Text(mark, style), Text(problem.severity, style), Text(_shorter(problem.message, scene.ref.path)))
        if names:
            table.add_row("", "", Text(names, "dim"))
    return table


# ---- many scenes


def _summary(inspection: Inspection) -> list[RenderableType]:
    scenes = inspection.scenes
    formats = Counter(scene.format or "unknown" for scene in scenes)
    counts = f"{len(scenes):,} scenes, {sum(scene.frames for scene in scenes):,} frames"
    kinds = ", ".join(f"{count:,} {name}" for name, count in formats.most_common())
    title = _title(str(inspection.path), counts, f"formats: {kinds}")
    found = _found(inspection)
    return [title, *([_found_table(inspection, found)] if found else []), _scenes_table(inspection)]


Found = dict[tuple[Severity, str], list[tuple[SceneReport, Problem]]]
"""Scenes with a problem, by severity and name of the check; the worst and most frequent come first."""


def _found(inspection: Inspection) -> Found:
    found: Found = defaultdict(list)
    for scene in inspection.scenes:
        for check, problem in scene.problems.items():
            found[problem.severity, check].append((scene, problem))
    return dict(sorted(found.items(), key=lambda item: (_RANKS[item[0][0]], -len(item[1]))))


def _found_table(inspection: Inspection, found: Found) -> Table:
    table = Table.grid(padding=(0, 1))
    for (severity, check), where in found.items():
        mark, style = _MARKS[severity]
        scenes = _some([inspection.label(scene) for scene, _ in where], len(where))
        count = f"{len(where):,} scene{'s' * (len(where) != 1)}"
        table.add_row(
            Text(mark, style), Text.assemble((check.replace("_", " "), f"bold {style}"), f"  {count}: {scenes}")
        )
        message = _shorter(where[0][1].message, inspection.path)
        table.add_row("", Text(f"in the first: {message}" if len(where) > 1 else message, "dim"))
    return table


def _scenes_table(inspection: Inspection) -> Table:
    worst = sorted(inspection.scenes, key=_badness)[:MAX_SCENES]
    total = len(inspection.scenes)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"worst {len(worst)} of {total:,}" if total > len(worst) else "scene")
    for name in ("frames", "size", "poses", "problems", "usable"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("frames", "poses") else "left")
    for scene in worst:
        label = Text(inspection.label(scene), no_wrap=True, overflow="ellipsis")  # the column that gives way
        table.add_row(label, *_row(scene))
    return table


def _row(scene: SceneReport) -> tuple[str | Text, ...]:
    sizes = [f"{width}x{height}" for width, height, _ in scene.sizes]
    size = "mixed" if len(sizes) > 1 else sizes[0] if sizes else "-"
    levels = Counter(problem.severity for problem in scene.problems.values())
    marks = [Text(f"{mark}{levels[level]}", style) for level, (mark, style) in _MARKS.items() if levels[level]]
    return f"{scene.frames:,}", size, f"{scene.poses:,}" if scene.poses else "-", Text(" ").join(marks), _usable(scene)


def _badness(scene: SceneReport) -> tuple[int, ...]:
    levels = Counter(problem.severity for problem in scene.problems.values())
    return scene.usable_without_poses, *(-levels[level] for level in _MARKS)


# ---- both


def _title(name: str, what: str, detail: str) -> Text:
    return Text.assemble((name, "bold"), "  ", (what, "cyan"), "\n", (detail, "dim"))


def _usable(scene: SceneReport) -> Text:
    if scene.usable_with_poses:
        return Text("with poses", "green")
    if not scene.usable_without_poses:
        return Text("no", "red")
    return Text("without poses", "yellow" if scene.poses else "green")


def _verdict(inspection: Inspection) -> Text:
    partly = any(_usable(scene).style != "green" for scene in inspection.scenes)
    style = "bold red" if not inspection.without_poses else "bold yellow" if partly else "bold green"
    text = Text()
    text.append(_sentence(inspection), style)
    for remark in _remarks(inspection):
        text.append(f"\n{remark}", "dim")
    return text


def _sentence(inspection: Inspection) -> str:
    total, without, posed = len(inspection.scenes), inspection.without_poses, inspection.with_poses
    usable = f"Usable for {inspection.recipe.name}" if inspection.recipe.name else "Usable"
    if not without:
        return f"Not {usable[0].lower()}{usable[1:]}." if total == 1 else f"{usable}: none of {total:,} scenes."
    if total == 1:
        return f"{usable} {_use_of(inspection.scenes[0])}."
    if not any(scene.poses for scene in inspection.scenes):
        return f"{usable} without poses: {without:,} of {total:,} scenes."
    return f"{usable}: {posed:,} of {total:,} scenes with poses, {without:,} of {total:,} without."


def _use_of(scene: SceneReport) -> str:
    if scene.usable_with_poses:
        return "with poses and without"
    return "without poses, not with them" if scene.poses else "without poses"


def _remarks(inspection: Inspection) -> list[str]:
    """What was not looked at, and what the verdict rests on."""
    decoded, pictures = (sum(getattr(scene, name) for scene in inspection.scenes) for name in ("decoded", "present"))
    uncounted = any("uncounted_frames" in scene.problems for scene in inspection.scenes)
    judged_by_two = not inspection.recipe.name and inspection.without_poses > 0
    videos = len(inspection.scenes) > 1 and any(scene.format == "video" for scene in inspection.scenes)
    remarks = {
        f"Decoded {decoded:,} of {pictures:,} pictures, spread evenly; --all decodes every one.": decoded < pictures,
        "Poses and intrinsics were not looked at.": not inspection.cameras,
        f"Of a video, {VIDEO_FRAMES} frames were looked at, spread evenly.": videos,
        "Videos count as usable; whether they are long enough was not looked at.": uncounted,
        "Two pictures make a scene usable here; --recipe NAME asks for more.": judged_by_two,
    }
    return [remark for remark, applies in remarks.items() if applies]


def _shorter(message: str, root: Path) -> str:
    """A message with paths relative to a folder that the reader sees named above."""
    return seen_from(root, message)


def _share(count: int, total: int) -> str:
    return f"all {count:,}" if count == total else f"{count:,} of {total:,}"


def _some(names: Iterable[str], total: int) -> str:
    shown = [name for name, _ in zip(names, range(MAX_EXAMPLES), strict=False)]
    return ", ".join(shown) + (f" and {total - len(shown):,} more" if total > len(shown) else "")

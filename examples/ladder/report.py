"""The results of the ladder as a table and curves: python examples/ladder/report.py OUT writes ladder.md, ladder.svg"""

import json
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from statistics import mean
from typing import Any

from rayzer.errors import InputError, one_line
from rayzer.report.charts import round_step

COLUMNS = ("rung", "what it adds", "M", "steps", "min. given", "PSNR", "to before", "SSIM", "RPA@15", "ATE", "transfer")
POINTS = 60  # of a curve: each is the mean of as many steps as come between two
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 480, 56, 200, 16, 44
Point = tuple[float, float]


def read_results(out: Path) -> list[dict[str, Any]]:
    """The lines of `results.jsonl`."""
    file = out / "results.jsonl"
    if not file.is_file():
        raise InputError(f"{file}: not found; no rung is finished there (examples/ladder/run.py)")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def table(results: list[dict[str, Any]]) -> str:
    """Markdown, with the control and the straight line below the rungs."""
    psnr = {result["rung"]: result["psnr"] for result in results}
    rows = [row(result, psnr.get(result["after"])) for result in results]
    first = results[0]
    rows.append(["", "copy the nearest photo", "", "", "", f"{first['copy_nearest_psnr']:.2f}", *[""] * 5])
    if lines := [result["straight_line_rpa_15"] for result in results if result["straight_line_rpa_15"] is not None]:
        rows.append(["", "cameras on a straight line", *[""] * 6, f"{lines[0]:.2f}", "", ""])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [COLUMNS, ["---"] * len(COLUMNS), *rows])


def row(result: dict[str, Any], before: float | None) -> list[str]:
    low, high = result["psnr_interval"] or (result["psnr"],) * 2
    transfer = (result["transfer_psnr"], result["transfer_own_psnr"])
    return [
        result["rung"],
        result["adds"],
        f"{result['parameters'] / 1e6:.1f}",
        str(result["steps"]),
        f"{result['steps'] * result['step_s'] / 60:.1f}",
        f"{result['psnr']:.2f} ({low:.2f} to {high:.2f})",
        "" if before is None else f"{result['psnr'] - before:+.2f}",
        f"{result['ssim']:.3f}",
        "" if result["rpa_15"] is None else f"{result['rpa_15']:.2f}",
        "" if result["ate"] is None else f"{result['ate']:.2f}",
        "" if None in transfer else f"{transfer[0]:.2f} (own {transfer[1]:.2f})",
    ]


def curve(run: Path, step_s: float) -> list[Point]:
    """Minutes of training, and PSNR of the training batches, smoothed."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    psnr = [json.loads(line)["psnr"] for line in lines]
    both = [((step + 1) * step_s / 60, value) for step, value in enumerate(psnr) if value is not None]
    width = max(1, len(both) // POINTS)
    parts = (both[start : start + width] for start in range(0, len(both), width))
    return [(mean(x for x, _ in part), mean(y for _, y in part)) for part in parts]


def plot(curves: dict[str, list[Point]]) -> str:
    """All curves in one SVG."""
    xs, ys = zip(*(point for points in curves.values() for point in points), strict=True)
    low, high, right = min(ys), max(max(ys), min(ys) + 1), max(xs)

    def place(x: float, y: float) -> Point:
        across, up = x / right, (y - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [*axes(place, (0, right), (low, high))]
    for number, (name, points) in enumerate(curves.items()):
        colour = f"hsl({360 * number / len(curves):.0f} 65% 42%)"
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(text(WIDTH - RIGHT + 20, TOP + 18 * (number + 1), name, fill=colour))
    style = 'font-family="sans-serif" font-size="13"'
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    inside = "\n".join(['<rect width="100%" height="100%" fill="white"/>', *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{inside}\n</svg>\n'


def axes(place: Any, across: Point, up: Point) -> Iterator[str]:
    """Ticks with lines, and what the axes are."""
    for y in ticks(*up):
        (x0, at), (x1, _) = place(across[0], y), place(across[1], y)
        yield f'<line x1="{x0:.1f}" x2="{x1:.1f}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
        yield text(x0 - 8, at + 4, f"{y:g}", anchor="end")
    for x in ticks(*across):
        yield text(place(x, up[0])[0], HEIGHT - BOTTOM + 18, f"{x:g}", anchor="middle")
    yield text(
        LEFT,
        HEIGHT - 6,
        "minutes of training; PSNR of training batches in dB, smoothed (while true_until lasts: with true cameras)",
    )


def ticks(low: float, high: float) -> list[float]:
    step = round_step((high - low) / 7)
    return [number * step for number in range(int(-(-low // step)), int(high // step) + 1)]


def text(x: float, y: float, words: str, anchor: str = "start", fill: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'


def main(out: Path) -> None:
    results = read_results(out)
    (out / "ladder.md").write_text(table(results), encoding="utf-8")
    curves = {result["rung"]: curve(out / result["rung"] / "run", result["step_s"]) for result in results}
    (out / "ladder.svg").write_text(plot(curves), encoding="utf-8")
    print(f"Wrote {out / 'ladder.md'} and {out / 'ladder.svg'}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]) if len(sys.argv) == 2 else Path())
    except InputError as error:
        print(one_line(str(error)), file=sys.stderr)
        sys.exit(2)

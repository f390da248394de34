"""Geometry of small charts. Positions are percent of the plot, from the left and from the top."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """A number along an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A bar that stands on the x axis; `title` says what it counts."""

    left: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Chart:
    """Bars or one line, with ticks.

    Attributes:
        description: the chart in one sentence, for those who do not see it.
        x_label: what lies along the x axis.
        y_label: what lies along the y axis.
        x_ticks: positions from the left.
        y_ticks: positions from the top.
        bars: of a histogram.
        line: points (x, y).
    """

    description: str
    x_label: str
    y_label: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    bars: Sequence[Bar] = ()
    line: Sequence[tuple[float, float]] = ()


def histogram(values: Sequence[float], x_label: str, noun: str) -> Chart:
    """How many `values` lie in each of some 20 bins of a round width.

    Args:
        values: at least one.
        x_label: what the values are.
        noun: what is counted, in the plural.
    """
    step = round_step((max(values) - min(values)) / 20 or 1)
    first = math.floor(min(values) / step)
    bins = [math.floor(value / step) - first for value in values]
    counts = [bins.count(index) for index in range(max(bins) + 1)]
    width, most = 100 / len(counts), max(counts)
    start = [(first + index) * step for index in range(len(counts) + 1)]
    bars = [
        Bar(index * width, width, 100 * count / most, f"{start[index]:g} to {start[index + 1]:g}: {count}")
        for index, count in enumerate(counts)
    ]
    return Chart(
        f"Histogram of {len(values)} {noun} from {min(values):.1f} to {max(values):.1f}",
        x_label,
        noun,
        _ticks(start[0], start[-1]),
        _from_top(_ticks(0, most, whole=True)),
        bars=bars,
    )


def line(points: Sequence[tuple[float, float]], x_label: str, y_label: str) -> Chart:
    """A line through points (x, y), with a margin above and below.

    Args:
        points: at least two, with different x.
        x_label: what x is.
        y_label: what y is.
    """
    points = sorted(points)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    margin = max(0.12 * (max(ys) - min(ys)), 0.05)
    low, high = min(ys) - margin, max(ys) + margin
    left, right = xs[0], xs[-1]
    place_x = [4 + 92 * (x - left) / (right - left) for x in xs]  # dots at the ends are not cut off
    return Chart(
        f"{y_label} against {x_label.lower()}: " + ", ".join(f"{y:.2f} at {x:g}" for x, y in points),
        x_label,
        y_label,
        [Tick(at, f"{x:g}") for at, x in zip(place_x, xs, strict=True)],
        _from_top(_ticks(low, high)),
        line=[(at, 100 * (high - y) / (high - low)) for at, y in zip(place_x, ys, strict=True)],
    )


def round_step(size: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `size`."""
    power = 10 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * (1 - 1e-9))


def _ticks(low: float, high: float, whole: bool = False) -> list[Tick]:
    step = round_step((high - low) / 7)
    step = max(step, 1) if whole else step
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [Tick(100 * (number * step - low) / (high - low), f"{number * step:.6g}") for number in numbers]


def _from_top(ticks: Sequence[Tick]) -> list[Tick]:
    return [Tick(100 - tick.at, tick.label) for tick in ticks]

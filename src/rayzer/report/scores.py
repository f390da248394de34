"""How scores are written, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rayzer.report.results import Scores

DASH = "–"

Key = Literal["psnr", "ssim", "lpips"]


@dataclass(frozen=True)
class Metric:
    """A score of pictures: its name, unit, digits, and which way is better."""

    key: Key
    label: str
    unit: str
    digits: int
    higher_is_better: bool

    def value(self, scores: Scores) -> float | None:
        """The score, None where it was not computed."""
        return getattr(scores, self.key)

    def number(self, value: float | None, signed: bool = False) -> str:
        """A value without its unit, a dash for None."""
        if value is None:
            return DASH
        text = f"{value:{'+' if signed else ''}.{self.digits}f}"
        return text.replace("-", "−")

    def text(self, scores: Scores) -> str:
        """The score with its unit; "identical" for equal pictures, which have no finite PSNR."""
        if self.key == "psnr" and scores.is_identical:
            return "identical"
        return self.with_unit(self.number(self.value(scores)))

    def with_unit(self, number: str) -> str:
        """A number of `number` with its unit."""
        return f"{number} {self.unit}" if self.unit and number != DASH else number


PSNR = Metric("psnr", "PSNR", "dB", 2, True)
SSIM = Metric("ssim", "SSIM", "", 3, True)
LPIPS = Metric("lpips", "LPIPS", "", 3, False)
METRICS = (PSNR, SSIM, LPIPS)


def score_line(scores: Scores) -> str:
    """All scores that are there in one line: "25.31 dB · SSIM 0.812"."""
    shown = [metric for metric in METRICS if metric.text(scores) != DASH]
    return " · ".join(
        metric.text(scores) if metric is PSNR else f"{metric.label} {metric.text(scores)}" for metric in shown
    )


def percent(share: float) -> str:
    """A share of 1 as "87.5 %"."""
    return f"{100 * share:.1f} %"

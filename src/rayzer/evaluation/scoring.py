"""Scores of rendered pictures, many at a time, on whatever device they lie."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rayzer.errors import InputError
from rayzer.evaluation.metrics import psnr, ssim
from rayzer.evaluation.settings import EvaluationConfig
from rayzer.losses import LPIPS, load_lpips

METRICS = ("psnr", "ssim", "lpips")
AT_ONCE = 32  # pictures; bounds the memory of VGG's features


@dataclass(frozen=True)
class Scores:
    """PSNR in dB, SSIM and LPIPS; None where one is not computed, or not finite (the PSNR of two equal pictures)."""

    psnr: float | None
    ssim: float | None
    lpips: float | None

    def as_json(self) -> dict[str, float | None]:
        """For `results.json`."""
        return {name: getattr(self, name) for name in METRICS}


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Means of each metric over those that have it; None where nobody has."""
    return Scores(*(_mean([getattr(each, name) for each in scores]) for name in METRICS))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


class Scorer:
    """Compares pictures.

    Args:
        lpips: the distance, on the device of the pictures; None if its weights are not to be had.
        reason: why not.
    """

    def __init__(self, lpips: LPIPS | None, reason: str = ""):
        self.lpips, self.reason = lpips, reason

    @staticmethod
    def load(config: EvaluationConfig, device: torch.device) -> Scorer:
        """With LPIPS where its weights are found.

        Raises:
            InputError: if files were named and cannot be used.
        """
        files = [Path(name) if name else None for name in (config.lpips_file, config.lpips_linear_file)]
        try:
            trunk, linear = load_lpips(*files, advice="until then LPIPS is not computed")
        except InputError as error:
            if any(files):
                raise
            return Scorer(None, str(error))
        return Scorer(LPIPS(trunk.state, linear.state).to(device).eval())

    def half_precision(self) -> Scorer:
        """The same with VGG in bfloat16, as the published scores were computed."""
        lpips = None if self.lpips is None else copy.deepcopy(self.lpips).to(torch.bfloat16)
        return Scorer(lpips, self.reason)

    @torch.no_grad()
    def __call__(self, truth: Tensor, pictures: Tensor) -> list[Scores]:
        """Scores of pictures [n, 3, h, w] against the true ones; both float32."""
        found: list[list[float | None]] = []
        for a, b in zip(truth.split(AT_ONCE), pictures.split(AT_ONCE), strict=True):
            columns = [psnr(a, b), ssim(a, b)] + ([] if self.lpips is None else [self.lpips(b, a)])
            rows = torch.stack([column.double() for column in columns], 1).tolist()
            found += [[value if math.isfinite(value) else None for value in row] for row in rows]
        return [Scores(*row, *([None] * (len(METRICS) - len(row)))) for row in found]

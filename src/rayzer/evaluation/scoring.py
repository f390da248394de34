"""Scores of rendered pictures, many at a time, on whatever device they lie."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rayzer.errors import InputError
from rayzer.evaluation.metrics import psnr, ssim
from rayzer.evaluation.settings import EvaluationConfig
from rayzer.losses import LPIPS, load_lpips
from rayzer.losses.lpips import SMALLEST_PX
from rayzer.losses.structural import WINDOW
from rayzer.model.weights import ModelConfig

METRICS = ("psnr", "ssim", "lpips")
AT_ONCE = 32  # pictures; bounds the memory of VGG's features
EQUAL_DB = 100.0  # what the infinite PSNR of two equal pictures counts as, so that means stay numbers


@dataclass(frozen=True)
class Scores:
    """PSNR in dB (100 for equal pictures), SSIM and LPIPS; None where one is not computed."""

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
        lpips: the distance, on the device of the pictures; None if it is not computed.
        reasons: why a metric is not computed, by its name.
        weights_sha256: of the files of its weights.
    """

    def __init__(
        self, lpips: LPIPS | None, reasons: Mapping[str, str] | None = None, weights_sha256: tuple[str, ...] = ()
    ):
        self.lpips, self.reasons, self.weights_sha256 = lpips, dict(reasons or {}), weights_sha256

    @staticmethod
    def load(config: EvaluationConfig, model: ModelConfig, device: torch.device) -> Scorer:
        """With what pictures of the model's size allow, and LPIPS where its weights are found.

        Raises:
            InputError: if files were named and cannot be used.
        """
        smallest = min(model.image_height, model.image_width)
        needs = {"ssim": WINDOW, "lpips": SMALLEST_PX}
        reasons = {
            name: f"it needs pictures of {px} pixels or more, the model's have {smallest}"
            for name, px in needs.items()
            if smallest < px
        }
        if "lpips" in reasons:
            return Scorer(None, reasons)
        files = [Path(name) if name else None for name in (config.lpips_file, config.lpips_linear_file)]
        try:
            trunk, linear = load_lpips(*files, advice="until then LPIPS is not computed")
        except InputError as error:
            if any(files):
                raise
            return Scorer(None, {"lpips": str(error)})
        sha256 = trunk.sha256, linear.sha256
        return Scorer(LPIPS(trunk.state, linear.state).to(device).eval(), weights_sha256=sha256)

    def half_precision(self) -> Scorer:
        """The same with VGG in bfloat16, as the published scores were computed."""
        lpips = None if self.lpips is None else copy.deepcopy(self.lpips).to(torch.bfloat16)
        return Scorer(lpips, self.reasons)

    @torch.no_grad()
    def __call__(self, truth: Tensor, pictures: Tensor) -> list[Scores]:
        """Scores of pictures [n, 3, h, w] against the true ones; both float32."""
        found: list[dict[str, float]] = []
        for a, b in zip(truth.split(AT_ONCE), pictures.split(AT_ONCE), strict=True):
            columns = {"psnr": psnr(a, b).clamp(max=EQUAL_DB)}
            if "ssim" not in self.reasons:
                columns["ssim"] = ssim(a, b)
            if self.lpips is not None:
                columns["lpips"] = self.lpips(b, a)
            rows = torch.stack([column.double() for column in columns.values()], 1).tolist()
            found += [dict(zip(columns, row, strict=True)) for row in rows]
        return [Scores(*(row.get(name) for name in METRICS)) for row in found]

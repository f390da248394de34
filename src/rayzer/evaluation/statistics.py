"""How far a mean over scenes can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float] | None:
    """Confidence interval of the mean: percentiles of the means of resampled values (Efron 1979).

    Scenes are resampled, not views: those of one scene are alike. To compare two models give the difference of every
    scene: the interval is then far narrower than the intervals of both means suggest.

    Args:
        values: one score per scene.
        confidence: share of such intervals that hold the true mean, between 0 and 1.
        samples: how often the values are drawn anew.
        seed: the same values and seed give the same interval.

    Returns:
        Lower and upper end; None where it cannot be told: fewer than two values, or one that is not finite.

    Raises:
        ValueError: if `confidence` is not between 0 and 1, or `samples` is not positive.
    """
    if not 0 < confidence < 1 or samples < 1:
        raise ValueError(f"confidence must lie between 0 and 1 and samples be positive, got {confidence}, {samples}")
    scores = np.asarray(values, dtype=np.float64)
    if len(scores) < 2 or not np.isfinite(scores).all():
        return None
    draws = np.random.default_rng(seed)
    # One resample at a time: all at once would need gigabytes where there are tens of thousands of scenes.
    means = [scores[draws.integers(len(scores), size=len(scores))].mean() for _ in range(samples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)

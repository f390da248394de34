import math

import numpy as np
import pytest

from rayzer.evaluation.statistics import bootstrap_interval


def scores(count, seed=0, mean=25.0, deviation=3.0):
    return np.random.default_rng(seed).normal(mean, deviation, count).tolist()


def test_the_interval_is_that_of_the_normal_approximation():
    values = scores(200)
    half = 1.96 * np.std(values) / math.sqrt(200)
    assert bootstrap_interval(values) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.03)


def test_of_two_values_by_hand():
    """Means of two draws of 0 and 1: 0, 0.5 and 1 with shares 1/4, 1/2 and 1/4."""
    assert bootstrap_interval([0, 1]) == (0, 1)
    assert bootstrap_interval([0, 1], confidence=0.4) == (0.5, 0.5)


def test_95_of_100_intervals_hold_the_true_mean():
    intervals = [bootstrap_interval(scores(40, seed), samples=400) for seed in range(200)]
    assert 0.9 <= np.mean([low <= 25.0 <= high for low, high in intervals]) <= 0.99


def test_more_confidence_and_fewer_scenes_make_it_wider():
    def width(count, confidence):
        low, high = bootstrap_interval(scores(count), confidence, samples=1000)
        return high - low

    assert width(50, 0.5) < width(50, 0.95) < width(50, 0.99)
    assert width(400, 0.95) < width(50, 0.95)


def test_equal_values_have_no_width():
    assert bootstrap_interval([2.5, 2.5, 2.5], samples=10) == (2.5, 2.5)


def test_it_is_a_function_of_its_arguments():
    values = scores(10)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    assert all(type(end) is float for end in bootstrap_interval(values))


def test_differences_of_scenes_tell_more_than_two_means():
    first = np.array(scores(30))
    second = first + 0.2 + 0.1 * np.array(scores(30, seed=1, mean=0, deviation=1))
    alone, paired = bootstrap_interval(second, samples=1000), bootstrap_interval(second - first, samples=1000)
    assert alone[0] < first.mean() < alone[1]
    assert paired[0] > 0.1


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf, 2.0], [1.0, math.nan]], ids=str)
def test_what_cannot_be_told_is_none(values):
    assert bootstrap_interval(values) is None


@pytest.mark.parametrize("options", [{"confidence": 0}, {"confidence": 95}, {"samples": 0}], ids=str)
def test_misuse_is_refused(options):
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        bootstrap_interval([1.0, 2.0], **options)

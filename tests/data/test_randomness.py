"""Streams of random numbers are the same everywhere, for as long as NumPy keeps its generators."""

import itertools

import numpy as np

from rayzer.data.randomness import random_stream


def test_numbers_are_those_of_yesterday():
    """Recorded with NumPy 2.4: where this fails, training samples and view indices are not what they were."""
    stream = random_stream(3, "views", 7, 2, 0)
    assert stream.integers(0, 1000, 5).tolist() == [813, 224, 437, 99, 101]
    assert stream.choice(30, 5, replace=False).tolist() == [16, 4, 14, 6, 2]
    assert stream.permutation(8).tolist() == [7, 5, 6, 0, 4, 2, 1, 3]


def test_every_argument_counts():
    keys = [(0, "views", 1, 2), (1, "views", 1, 2), (0, "order", 1, 2), (0, "views", 2, 1), (0, "views", 1, 3)]
    drawn = [random_stream(*key).integers(0, 2**62, 4).tolist() for key in keys]
    assert all(one != other for one, other in itertools.combinations(drawn, 2))
    assert drawn == [random_stream(*key).integers(0, 2**62, 4).tolist() for key in keys]


def test_the_global_stream_is_left_alone():
    before = np.random.get_state()[1].tolist()
    random_stream(0, "views").random()
    assert np.random.get_state()[1].tolist() == before

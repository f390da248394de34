import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayzer.prediction.selection import select_views, target_slots


def test_slots_of_the_published_evaluation():
    assert target_slots(24, 8) == (2, 5, 8, 11, 14, 17, 20, 22)


@given(st.integers(2, 40), st.integers(1, 40))
def test_targets_are_distinct_and_never_an_end(context, targets):
    total = context + targets
    slots = target_slots(total, targets)
    assert len(set(slots)) == targets
    assert list(slots) == sorted(slots)
    assert slots[0] >= 1
    assert slots[-1] <= total - 2


def test_without_two_ends_for_the_context_there_is_no_split():
    with pytest.raises(ValueError, match="cannot be held out"):
        target_slots(4, 3)


def test_many_photos_are_subsampled_evenly():
    selection = select_views(240, 16, 8)
    assert selection.indices[0] == 0
    assert selection.indices[-1] == 239
    steps = {b - a for a, b in zip(selection.indices, selection.indices[1:], strict=False)}
    assert steps <= {10, 11}
    assert not any(selection.repeated)


def test_few_photos_are_repeated_evenly():
    selection = select_views(8, 16, 8)
    assert all(selection.indices.count(index) == 3 for index in range(8))
    assert all(selection.repeated)
    assert len(selection.context) == 16

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


@given(st.integers(2, 60), st.integers(2, 20), st.integers(1, 20))
def test_any_number_of_photos(available, context, targets):
    """All are used once while they are few; always two are left for the scene, and one is held out if it can be."""
    targets = min(targets, context + targets - 2)
    selection = select_views(available, context, targets, any_number=True)
    assert not any(selection.repeated)
    assert len(selection.indices) == min(available, context + targets)
    assert len(selection.context) >= 2
    assert len(selection.targets) >= min(1, available - 2)
    if available >= context + targets:
        assert selection == select_views(available, context, targets)


@pytest.mark.parametrize(("available", "held_out"), [(2, 0), (3, 1), (5, 1), (6, 2), (9, 3), (11, 3), (12, 4), (30, 4)])
def test_as_large_a_share_of_few_photos_is_held_out(available, held_out):
    assert len(select_views(available, 8, 4, any_number=True).targets) == held_out


def test_few_photos_are_repeated_evenly():
    selection = select_views(8, 16, 8)
    assert all(selection.indices.count(index) == 3 for index in range(8))
    assert all(selection.repeated)
    assert len(selection.context) == 16

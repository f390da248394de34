import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rayzer.data.randomness import random_stream
from rayzer.data.view_sampling import ViewConfig, ViewSampler, frame_split, in_frame_order, two_frame_split
from rayzer.errors import InputError
from rayzer.view_split import ViewSplit

DL3DV = ViewConfig((48, 64), (64, 96), 30_000)


@st.composite
def draws(draw):
    context, target = draw(st.integers(2, 12)), draw(st.integers(1, 12))
    low = context + target - 1 + draw(st.integers(0, 30))
    high = low + draw(st.integers(0, 30))
    return draw(st.integers(low + 1, high + 60)), (low, high), context, target, draw(st.integers(0, 2**32))


@given(draws())
def test_views_of_the_two_frame_selector(drawn):
    frames, (low, high), context, target, seed = drawn
    split = two_frame_split(frames, (low, high), context, target, np.random.default_rng(seed))
    (inputs,), (targets,) = split.context.tolist(), split.target.tolist()
    assert (len(inputs), len(targets)) == (context, target)
    assert inputs == sorted(inputs)
    assert targets == sorted(targets)
    assert len({*inputs, *targets}) == context + target
    assert all(0 <= frame < frames for frame in inputs)
    assert low <= inputs[-1] - inputs[0] <= min(high, frames - 1)
    assert inputs[0] < targets[0]
    assert targets[-1] < inputs[-1]


def test_distances_starts_and_places_between_are_uniform():
    rng = np.random.default_rng(0)
    splits = [two_frame_split(20, (6, 9), 3, 2, rng) for _ in range(4000)]
    ends = np.array([split.context[0, [0, -1]].tolist() for split in splits])
    spans = ends[:, 1] - ends[:, 0]
    assert np.bincount(spans)[6:].tolist() == pytest.approx([1000] * 4, abs=120)
    starts = np.bincount(ends[spans == 6, 0], minlength=14)
    assert starts.tolist() == pytest.approx([starts.mean()] * 14, abs=40)
    places = np.bincount([place for s in splits for place in (s.target[0] - s.context[0, 0]).tolist()])
    assert places[1:6].tolist() == pytest.approx([places[1:6].mean()] * 5, rel=0.1)


@pytest.mark.parametrize(("frames", "distance", "context"), [(10, (10, 12), 3), (20, (3, 12), 3), (20, (6, 8), 7)])
def test_what_does_not_fit_is_refused(frames, distance, context):
    with pytest.raises(ValueError, match="do not fit"):
        two_frame_split(frames, distance, context, 2, np.random.default_rng(0))


@given(st.tuples(*[st.integers(1, 99)] * 4), st.integers(0, 50), st.integers(0, 60))
def test_the_curriculum_grows_steadily_from_start_to_end(ends, curriculum, step):
    low, low_end, high, high_end = sorted(ends)
    config = ViewConfig((low, high), (low_end, high_end), curriculum)
    now, then = config.distance_at(step), config.distance_at(step + 1)
    assert now[0] <= then[0]
    assert now[1] <= then[1]
    assert low <= now[0] <= now[1] <= high_end
    assert config.distance_at(curriculum) == config.end_distance
    assert config.distance_at(0) == (config.start_distance if curriculum else config.end_distance)


@given(st.tuples(*[st.integers(2, 99)] * 4), st.integers(0, 50), st.integers(0, 60), st.integers(1, 20))
def test_frames_needed_covers_every_step(ends, curriculum, start, count):
    config = ViewConfig(tuple(sorted(ends[:2])), tuple(sorted(ends[2:])), curriculum)
    steps = range(start, start + count)
    lowest = max(config.distance_at(step)[0] for step in steps)
    assert ViewSampler(config, 2, 1).frames_needed(steps) == lowest + 1


def test_the_recipe_in_numbers():
    assert [DL3DV.distance_at(step) for step in (0, 15_000, 30_000, 99_999)] == [(48, 64), (56, 80), (64, 96), (64, 96)]


def test_a_scene_shorter_than_the_largest_distance_is_used_as_far_as_it_reaches():
    sampler = ViewSampler(DL3DV, 16, 8)
    spans = set()
    for seed in range(200):
        split = sampler.draw_views(70, 30_000, (16, 8), np.random.default_rng(seed))
        spans.add(int(split.context[0, -1] - split.context[0, 0]))
    assert spans == set(range(64, 70))


def test_a_scene_shorter_than_the_smallest_distance_is_refused():
    sampler = ViewSampler(DL3DV, 16, 8)
    assert sampler.draw_views(49, 0, (16, 8), np.random.default_rng(0)).context.shape == (1, 16)
    with pytest.raises(InputError, match=r"has 49 usable frames, but at step 30000 a sample spans 65 frames or more"):
        sampler.draw_views(49, 30_000, (16, 8), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("config", "views", "named"),
    [
        (ViewConfig((22, 30), (64, 96)), (16, 8), r"training\.views\.start_distance = \[22, 30\].*begin it at 23"),
        (ViewConfig((48, 64), (10, 96)), (16, 8), r"training\.views\.end_distance = \[10, 96\]"),
        (ViewConfig(context_views=(2, 60)), (16, 8), r"60 \+ 8 views"),
        (DL3DV, (1, 8), r"model\.context_views = 1"),
    ],
)
def test_views_that_cannot_all_be_different_are_refused_at_once(config, views, named):
    with pytest.raises(InputError, match=named):
        ViewSampler(config, *views)


@pytest.mark.parametrize("name", ["start_distance", "end_distance", "context_views", "target_views"])
@pytest.mark.parametrize("value", [(0, 30), (30, 20)])
def test_ranges_of_the_configuration(name, value):
    with pytest.raises(InputError, match=rf"training\.views\.{name} = \[{value[0]}, {value[1]}\]"):
        ViewConfig(**{name: value})


def test_numbers_of_views():
    fixed, varied = ViewSampler(DL3DV, 16, 8), ViewSampler(ViewConfig(context_views=(2, 4)), 16, 8)
    assert {fixed.draw_counts(np.random.default_rng(seed)) for seed in range(9)} == {(16, 8)}
    assert {varied.draw_counts(np.random.default_rng(seed)) for seed in range(40)} == {(2, 8), (3, 8), (4, 8)}


def test_views_in_frame_order():
    split = ViewSplit(torch.tensor([[10, 40, 90]]), torch.tensor([[20, 70]]))
    frames, positions = in_frame_order(split)
    assert frames.tolist() == [[10, 20, 40, 70, 90]]
    assert positions.context.tolist() == [[0, 2, 4]]
    assert positions.target.tolist() == [[1, 3]]


def test_a_target_that_is_a_context_view_comes_after_it():
    frames, positions = in_frame_order(frame_split([9, 3], [5, 3]))
    assert frames.tolist() == [[3, 3, 5, 9]]
    assert (positions.context.tolist(), positions.target.tolist()) == ([[0, 3]], [[1, 2]])


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 5), min_size=1, max_size=4))
def test_positions_find_the_frames_again(rows):
    table = torch.tensor(rows)
    split = ViewSplit(table[:, :3], table[:, 3:])
    frames, positions = in_frame_order(split)
    assert torch.equal(positions.context_of(frames), split.context)
    assert torch.equal(positions.target_of(frames), split.target)
    assert torch.equal(frames, frames.sort(dim=1).values)
    assert torch.equal(torch.cat([positions.context, positions.target], 1).sort(dim=1).values[0], torch.arange(5))


def test_random_streams_depend_on_seed_purpose_and_key():
    def first(*arguments):
        return int(random_stream(*arguments).integers(2**62))

    streams = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a", 1, 2)]
    assert len({first(*arguments) for arguments in streams}) == len(streams)
    assert first(0, "a", 1) == first(0, "a", 1)
    assert first(0, "lone surrogate \udcff") >= 0


def test_targets_may_be_drawn_from_all_views():
    sampler = ViewSampler(ViewConfig((10, 20), (10, 20), 0, target_has_input=True), 4, 3)
    plain = ViewSampler(ViewConfig((10, 20), (10, 20), 0), 4, 3)
    seen = set()
    for seed in range(50):
        split = sampler.draw_views(40, 0, (4, 3), np.random.default_rng(seed))
        other = plain.draw_views(40, 0, (4, 3), np.random.default_rng(seed))
        assert split.context.equal(other.context)
        views = {*other.context[0].tolist(), *other.target[0].tolist()}
        targets = split.target[0].tolist()
        assert targets == sorted(set(targets))
        assert set(targets) <= views
        seen.add(len(set(targets) & set(split.context[0].tolist())))
    assert seen > {0, 1, 2}

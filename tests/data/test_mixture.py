import pickle
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from rayzer.data.dataset import Draw, Sample, SampleStream, scene_at
from rayzer.data.loader import training_batches
from rayzer.data.mixture import Mixture
from rayzer.data.view_sampling import ViewConfig, ViewSampler, in_frame_order
from rayzer.errors import InputError

VIEWS = ViewSampler(ViewConfig((5, 6), (7, 9), 10), 3, 2)


@dataclass(frozen=True)
class Listed:
    """Scenes without pictures: a sample's name says which, and the draw."""

    name: str
    scenes: int

    def sample(self, draw: Draw) -> Sample:
        scene = scene_at(draw.seed, draw.number, self.scenes)
        frames, split = in_frame_order(VIEWS.draw_views(12, draw.step, draw.counts, np.random.default_rng(0)))
        images = torch.zeros(frames.shape[1], 3, 8, 8, dtype=torch.uint8)
        return Sample(images, frames[0], split, f"{self.name} {scene} {draw.number} {draw.step} {draw.slot}")


def places(shares, count):
    mixture = Mixture([(Listed(str(part), 7), share) for part, share in enumerate(shares)])
    return [mixture.place(number) for number in range(count)]


@pytest.mark.parametrize(
    "shares", [(1,), (0.5, 0.5), (0.7, 0.3), (3, 1), (0.1, 0.2, 0.7), (0.7, 0.2, 0.1), (5, 4, 3, 2, 1, 0.5), (1e-3, 1)]
)
def test_a_part_numbers_its_own_samples_without_gaps_as_counting_would(shares):
    counted = Counter()
    for part, number in places(shares, 3000):
        assert number == counted[part]
        counted[part] += 1
    for part, share in enumerate(shares):
        assert abs(counted[part] - 3000 * share / sum(shares)) < 1


@pytest.mark.parametrize("shares", [(0.7, 0.3), (0.1, 0.2, 0.7), (7, 2, 1)])
def test_shares_are_exact_over_ten_samples_wherever_they_begin_a_round(shares):
    parts = [part for part, _ in places(shares, 1000)]
    for first in range(0, 1000, 10):
        counted = Counter(parts[first : first + 10])
        assert [counted[part] for part in range(len(shares))] == [round(10 * s / sum(shares)) for s in shares]


def test_any_stretch_of_a_run_has_all_parts():
    parts = [part for part, _ in places((0.5, 0.3, 0.2), 500)]
    for first in range(400):
        counted = Counter(parts[first : first + 100])
        assert all(abs(counted[part] - share) <= 2 for part, share in enumerate((50, 30, 20)))


def test_numbers_far_into_a_run():
    mixture = Mixture([(Listed("a", 7), 0.3), (Listed("b", 7), 0.6), (Listed("c", 7), 0.1)])
    far = 10**15
    before = {part: far * tenths // 10 for part, tenths in enumerate((3, 6, 1))}
    found = [mixture.place(far + k) for k in range(10)]
    assert sorted(found) == sorted((part, before[part] + k) for part, n in enumerate((3, 6, 1)) for k in range(n))


def names(steps, workers=0, **options):
    mixture = Mixture([(Listed("list", 7), 0.35), (Listed("rooms", 10**6), 0.65)])
    batches = training_batches(SampleStream(mixture, VIEWS, 3, 4), steps, workers, **options)
    return [name for batch in batches for name in batch.scenes]


def test_a_list_in_a_mixture_shows_every_scene_once_an_epoch():
    listed = [name.split() for name in names(range(50)) if name.startswith("list")]
    assert len(listed) == 70
    epochs = [[int(scene) for _, scene, *_ in listed[first : first + 7]] for first in range(0, 70, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs == [[scene_at(3, 7 * epoch + place, 7) for place in range(7)] for epoch in range(10)]


def test_parts_are_told_step_and_slot_of_the_mixture():
    told = [tuple(map(int, name.split()[3:])) for name in names(range(5))]
    assert told == [(step, slot) for step in range(5) for slot in range(4)]


def test_neither_workers_nor_processes_nor_resuming_change_a_mixture():
    straight = names(range(6))
    assert names(range(6), workers=2) == straight
    assert names(range(3, 6)) == straight[12:]
    ranks = [names(range(6), rank=rank, world_size=2) for rank in (0, 1)]
    shared = [ranks[rank][2 * step : 2 * step + 2] for step in range(6) for rank in (0, 1)]
    assert [name for part in shared for name in part] == straight


def test_a_mixture_of_mixtures():
    inner = Mixture([(Listed("a", 7), 1), (Listed("b", 7), 1)])
    outer = Mixture([(inner, 0.5), (Listed("c", 7), 0.5)])
    made = [outer.sample(Draw(0, 0, 0, number, (3, 2))).scene.split() for number in range(40)]
    for name, count in (("a", 10), ("b", 10), ("c", 20)):
        assert [int(number) for own, _, number, *_ in made if own == name] == list(range(count))


def test_a_mixture_survives_pickling():
    mixture = Mixture([(Listed("a", 7), 0.7), (Listed("b", 7), 0.3)])
    copy = pickle.loads(pickle.dumps(mixture))  # noqa: S301
    assert [copy.place(number) for number in range(20)] == [mixture.place(number) for number in range(20)]


@pytest.mark.parametrize("share", [0, -0.5, float("nan"), float("inf")])
def test_shares_that_are_none(share):
    with pytest.raises(InputError, match=r"share .* must be a positive number"):
        Mixture([(Listed("a", 7), 1), (Listed("b", 7), share)])


def test_no_parts():
    with pytest.raises(InputError, match="at least one source"):
        Mixture([])

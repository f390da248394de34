import pickle

import pytest
import torch

from rayzer.data import room_samples
from rayzer.data.dataset import ATTEMPTS, Draw, SampleStream
from rayzer.data.loader import training_batches
from rayzer.data.mixture import Mixture
from rayzer.data.room_samples import MOST_ROOMS, SPAN, TRAINING_SEEDS, RoomSamples, video
from rayzer.data.synthetic import rooms
from rayzer.data.synthetic.camera_paths import NoClearPath
from rayzer.data.synthetic.rooms import compose, render_images, render_room, render_rooms
from rayzer.data.synthetic.rooms_v1.definition import PAIRS, ROOMS, SPANS, pair_seed, room_seed
from rayzer.data.synthetic.writing import RoomsRequest
from rayzer.data.view_sampling import ViewConfig, ViewSampler
from rayzer.errors import InputError
from rayzer.geometry.cameras import normalize_poses
from rayzer.prediction.demo import ROOMS as DEMO_ROOMS

VIEWS = ViewSampler(ViewConfig((5, 6), (7, 9), 10), 3, 2)
SIZE = 16
DRAW = Draw(seed=3, step=8, slot=1, number=33, counts=(3, 2))


def source_of(views=VIEWS, **options):
    return RoomSamples(views, SIZE, **options)


def content(sample):
    parts = (sample.frames, sample.split.context, sample.split.target, sample.images)
    return sample.scene, *(part.tolist() for part in parts)


def draws(count, seed=3, counts=(3, 2)):
    return [Draw(seed, number // 4, number % 4, number, counts) for number in range(count)]


def test_a_sample_is_what_it_says():
    sample = source_of().sample(DRAW)
    frames = sample.frames.tolist()
    assert (sample.images.dtype, sample.frames.dtype) == (torch.uint8, torch.int64)
    assert sample.images.shape == (5, 3, SIZE, SIZE)
    assert sample.images.is_contiguous(memory_format=torch.channels_last)
    assert frames == sorted(set(frames))
    assert 6 <= frames[-1] - frames[0] <= 8
    assert 0 <= frames[0] < frames[-1] <= 9
    assert sample.split.context[0, [0, -1]].tolist() == [0, 4]
    assert sorted([*sample.split.context[0].tolist(), *sample.split.target[0].tolist()]) == list(range(5))
    assert sample.cameras is None
    assert (sample.problems, sample.replaces) == ((), False)


@pytest.mark.parametrize("quality", ["fast", "full"])
def test_pictures_and_cameras_are_those_of_the_room_rendered_by_itself(quality):
    """The whole video, by other functions: then the frames of the sample."""
    sample = source_of(cameras="stored", quality=quality, span=(0.4, 0.4)).sample(DRAW)
    seed = int(sample.scene.split()[1])
    alone = render_room(seed, 10, SIZE, 0.4, quality)
    assert torch.equal(sample.images, torch.floor(255 * alone.images[sample.frames] + 0.5).to(torch.uint8))
    assert sample.cameras is not None
    assert sample.cameras.world_from_camera.dtype == torch.float32
    assert torch.equal(sample.cameras.world_from_camera, alone.cameras.world_from_camera[sample.frames])
    assert torch.equal(sample.cameras.intrinsics, alone.cameras.intrinsics[sample.frames])


def test_depth_is_that_of_the_room_rendered_by_itself():
    sample = source_of(cameras="stored", depth_cell=2, span=(0.4, 0.4)).sample(DRAW)
    alone = render_room(int(sample.scene.split()[1]), 10, SIZE // 2, 0.4)
    assert torch.equal(sample.depth_m, alone.depth[sample.frames])
    assert source_of(cameras="stored").sample(DRAW).depth_m is None


def test_normalized_cameras():
    stored, normalized = (source_of(cameras=use).sample(DRAW).cameras for use in ("stored", "normalized"))
    assert stored is not None
    assert normalized is not None
    assert torch.equal(normalized.world_from_camera, normalize_poses(stored.world_from_camera))
    assert torch.equal(normalized.intrinsics, stored.intrinsics)
    assert (normalized.centers.abs().max() - 1 / 1.35).abs() < 1e-5


def test_pictures_alone_are_those_that_come_with_depth():
    room = compose(5, 3)
    assert torch.equal(render_images([room], 40)[0], render_rooms([room], 40).images[0])


def test_a_span_may_be_a_list():
    """As a YAML file has it."""
    assert content(source_of(span=[0.4, 0.5]).sample(DRAW)) == content(source_of(span=(0.4, 0.5)).sample(DRAW))


def test_the_length_of_the_walks():
    """Drawn for each room from the whole range; the cameras are those of a walk of this length."""
    source = source_of(span=(0.2, 0.6))
    seeds = [source.room_seed(draw) for draw in draws(400)]
    spans = [room_samples.span_of(seed, source.span) for seed in seeds]
    counts = torch.histc(torch.tensor(spans), 4, 0.2, 0.6)
    assert min(spans) >= 0.2
    assert max(spans) <= 0.6
    assert (counts > 70).all()
    cameras = compose(seeds[0], 10, spans[0]).world_from_camera
    assert torch.equal(video(seeds[0], 10, source.span).world_from_camera, cameras)


# ---- one stream, however it is made


def test_a_sample_depends_on_its_draw_only():
    first = [content(source_of().sample(draw)) for draw in draws(4)]
    video.cache_clear()
    source = source_of()
    assert [content(source.sample(draw)) for draw in reversed(draws(4))] == first[::-1]
    assert len({scene for scene, *_ in first}) == 4
    assert content(source.sample(DRAW)) != content(source_of().sample(Draw(4, 8, 1, 33, (3, 2))))


def batches_of(source, steps, workers=0, **options):
    return [
        (batch.scenes, batch.frames.tolist(), batch.split.context.tolist(), batch.images.tolist())
        for batch in training_batches(SampleStream(source, VIEWS, 3, 2), steps, workers, **options)
    ]


def test_workers_processes_and_resuming_change_nothing():
    straight = batches_of(source_of(), range(4))
    assert batches_of(source_of(), range(4), 2) == straight
    assert batches_of(source_of(), range(2, 4), 1, start_method="spawn") == straight[2:]
    second = batches_of(source_of(), range(4), rank=1, world_size=2)
    assert [scenes for scenes, *_ in second] == [scenes[1:] for scenes, *_ in straight]
    assert [images for *_, images in second] == [images[1:] for *_, images in straight]


def test_patterns_are_drawn_before_workers_start_and_as_in_them(monkeypatch):
    threads = []
    monkeypatch.setattr(rooms, "atlas", lambda pictures, device: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        source_of()
    finally:
        torch.set_num_threads(before)
    assert threads == [1]


def test_the_source_is_small_to_send():
    source = source_of(rooms=1000)
    source.sample(DRAW)
    assert len(pickle.dumps(source)) < 2000


def test_numbers_of_views_and_the_curriculum_are_those_of_the_configuration():
    views = ViewSampler(ViewConfig((5, 5), (9, 9), 8, context_views=(2, 4), target_views=(1, 2)), 3, 2)
    stream = SampleStream(source_of(views, rooms=1), views, 3, 1)
    samples = [stream.source.sample(stream.draw(step, 0)) for step in range(10)]
    counts = {(sample.split.context.shape[1], sample.split.target.shape[1]) for sample in samples}
    assert len(counts) > 2
    assert [int(sample.frames[-1] - sample.frames[0]) for sample in samples] == [5, 5, 6, 6, 7, 7, 8, 8, 9, 9]


# ---- which rooms


def test_a_limited_number_of_rooms_comes_once_an_epoch():
    source = source_of(rooms=5)
    seeds = [source.room_seed(draw) for draw in draws(15)]
    epochs = [seeds[:5], seeds[5:10], seeds[10:]]
    assert all(sorted(epoch) == list(TRAINING_SEEDS[:5]) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_frame_of_a_room_is_the_same_picture_in_all_samples():
    source, seen = source_of(rooms=1, cameras="stored"), {}
    for draw in draws(6):
        sample = source.sample(draw)
        for image, frame in zip(sample.images, sample.frames.tolist(), strict=True):
            assert torch.equal(seen.setdefault(frame, image), image)
    assert len(seen) > 6


def test_rooms_are_endless():
    source = source_of()
    seeds = [source.room_seed(draw) for draw in draws(2000)]
    assert len(set(seeds)) == 2000
    assert min(seeds) < TRAINING_SEEDS.start + len(TRAINING_SEEDS) // 50
    assert max(seeds) > TRAINING_SEEDS.stop - len(TRAINING_SEEDS) // 50
    assert set(seeds).isdisjoint(source.room_seed(draw) for draw in draws(2000, seed=4))


def test_training_shares_no_room_with_what_is_shown_or_measured():
    shown = set(DEMO_ROOMS.values()) | set(range(48))  # the demo and the documentation
    measured = {room_seed(number, attempt) for number in range(ROOMS) for attempt in (0, 1023)}
    measured |= {
        2 * pair_seed(number, attempt) + half for number in range(PAIRS) for attempt in (0, 1023) for half in (0, 1)
    }
    assert not any(seed in TRAINING_SEEDS for seed in shown | measured)
    source = source_of()
    assert all(source.room_seed(draw, attempt) in TRAINING_SEEDS for draw in draws(50) for attempt in range(ATTEMPTS))
    assert source_of(rooms=MOST_ROOMS).room_seed(DRAW) in TRAINING_SEEDS
    keys = RoomsRequest(first_seed=2**38 - 2, scenes=2, pairs=True).keys()  # the last that are kept free
    assert [2 * int(key[:-1]) + "ab".index(key[-1]) for key, _ in keys][-1] + 1 == TRAINING_SEEDS.start


# ---- what cannot be made


def test_a_room_without_a_clear_path_is_passed_over(monkeypatch):
    source = source_of(rooms=4)
    blocked = source.room_seed(DRAW)
    expected = source.room_seed(DRAW, 1)

    def compose_but_one(seed, frames, span):
        if seed == blocked:
            raise NoClearPath
        return compose(seed, frames, span)

    video.cache_clear()
    monkeypatch.setattr(room_samples, "compose", compose_but_one)
    sample = source.sample(DRAW)
    assert sample.scene == f"room {expected}" != f"room {blocked}"
    assert (sample.problems, sample.replaces) == ((), False)
    assert content(source.sample(DRAW)) == content(sample)
    endless = source_of()
    assert len({endless.room_seed(DRAW, attempt) for attempt in range(ATTEMPTS)}) == ATTEMPTS


def test_no_room_with_a_clear_path(monkeypatch):
    def none(seed, frames, span):
        raise NoClearPath

    video.cache_clear()
    monkeypatch.setattr(room_samples, "compose", none)
    with pytest.raises(
        InputError, match=rf"^step 8: {ATTEMPTS} rooms in a row have no clear path of span \[0.25, 1.0\]"
    ):
        source_of().sample(DRAW)


def test_other_errors_are_not_swallowed(monkeypatch):
    def broken(seed, frames, span):
        raise RuntimeError("out of memory")

    video.cache_clear()
    monkeypatch.setattr(room_samples, "compose", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        source_of().sample(DRAW)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"span": (0.5, 0.2)}, r"span = \[0.5, 0.2\]"),
        ({"span": (-1, 0.2)}, "span"),
        ({"span": (1, 5)}, "span"),
        ({"rooms": 0}, "rooms = 0"),
        ({"rooms": 10**6 + 1}, "rooms = 1000001: expected 1 to 1,000,000"),
        ({"image_size": 4}, "image_size = 4"),
    ],
)
def test_arguments_out_of_range(options, said):
    with pytest.raises(InputError, match=said):
        RoomSamples(VIEWS, **({"image_size": SIZE} | options))


def test_rooms_in_a_mixture():
    mixture = Mixture([(source_of(), 0.5), (source_of(rooms=2), 0.5)])
    batches = training_batches(SampleStream(mixture, VIEWS, 3, 4), range(2), 0)
    few = {f"room {seed}" for seed in TRAINING_SEEDS[:2]}
    assert [name in few for batch in batches for name in batch.scenes] == [True, False] * 4


def test_walks_are_as_long_as_in_the_benchmark():
    assert (min(SPANS), max(SPANS)) == SPAN

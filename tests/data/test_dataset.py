import json
import logging
import multiprocessing
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from rayzer.data.bad_data import BadData, check_scenes
from rayzer.data.dataset import ATTEMPTS, Draw, Problem, SampleStream, SceneSamples, scene_at
from rayzer.data.formats import find_scenes
from rayzer.data.images import Preprocessing
from rayzer.data.loader import Batch, StepSampler, collate, to_device, training_batches
from rayzer.data.view_sampling import ViewConfig, ViewSampler
from rayzer.data.views import load_views
from rayzer.errors import InputError
from rayzer.geometry.cameras import normalize_poses

SCENES, FRAMES, SIZE = 7, 12, 16
VIEWS = ViewSampler(ViewConfig((5, 6), (7, 9), 10), 3, 2)
FIT = Preprocessing(SIZE, 8).fit


def pixel(scene, frame):
    return 20 * scene + 3, 10 * frame + 4, 77


def write_scene(folder, number, frames=FRAMES, cameras=True, size=(20, 16)):
    """A scene whose pictures say which scene and frame they are."""
    folder.mkdir(parents=True)
    entries = []
    for frame in range(frames):
        Image.new("RGB", size, pixel(number, frame)).save(folder / f"{frame}.png")
        pose = np.eye(4)
        pose[0, 3] = -frame
        camera = {"fx": 18.0, "fy": 18.0, "cx": 10.0, "cy": 8.0, "w2c": pose.tolist()} if cameras else {}
        entries.append({"file_path": f"{frame}.png", **camera})
    (folder / "opencv_cameras.json").write_text(json.dumps({"scene_name": f"scene {number}", "frames": entries}))


@pytest.fixture(scope="session")
def data_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(SCENES):
        write_scene(folder / f"{number}", number)
    return folder


@pytest.fixture
def own_data_set(tmp_path):
    """One that a test may damage."""
    for number in range(SCENES):
        write_scene(tmp_path / f"{number}", number)
    return tmp_path


def source_of(folder, views=VIEWS, **options):
    return SceneSamples(find_scenes(folder), views, FIT, **options)


def stream_of(folder, seed=3, batch_size=4, views=VIEWS, **options):
    return SampleStream(source_of(folder, views, **options), views, seed, batch_size)


def content(batch):
    """Everything a model could see of a batch, sample by sample."""
    parts = zip(batch.scenes, batch.frames, batch.split.context, batch.split.target, batch.images, strict=True)
    return [(name, *(part.tolist() for part in numbers), images.numpy().tobytes()) for name, *numbers, images in parts]


def run(stream, steps, workers=0, **options):
    return [content(batch) for batch in training_batches(stream, steps, workers, **options)]


def test_a_sample_is_what_it_says(data_set):
    sample = source_of(data_set).sample(Draw(seed=3, step=8, slot=1, number=33, counts=(3, 2)))
    frames = sample.frames.tolist()
    assert sample.images.dtype == torch.uint8
    assert sample.images.shape == (5, 3, SIZE, SIZE)
    assert frames == sorted(set(frames))
    assert 6 <= frames[-1] - frames[0] <= 8
    assert sample.split.context[0, [0, -1]].tolist() == [0, 4]
    number = int(sample.scene.split()[1])
    for image, frame in zip(sample.images, frames, strict=True):
        assert image.flatten(1).unique(dim=1)[:, 0].tolist() == list(pixel(number, frame))
    assert sample.cameras is None
    assert (sample.problems, sample.replaces) == ((), False)


@pytest.mark.parametrize("use", ["stored", "normalized"])
def test_cameras_of_a_sample(data_set, use):
    sample = source_of(data_set, cameras=use).sample(Draw(3, 8, 1, 33, (3, 2)))
    views = load_views(data_set / sample.scene.split()[1] / "opencv_cameras.json", sample.frames, SIZE, 8)
    assert views.cameras is not None
    assert sample.cameras is not None
    expected = views.cameras.world_from_camera
    if use == "normalized":
        expected = normalize_poses(expected)
    assert torch.equal(sample.cameras.world_from_camera, expected)
    assert torch.equal(sample.cameras.intrinsics, views.cameras.intrinsics)


# ---- one stream, however it is made


@pytest.fixture(scope="session")
def straight(data_set):
    return run(stream_of(data_set), range(6))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [2, 8])
def test_the_stream_does_not_depend_on_workers(data_set, straight, workers):
    assert run(stream_of(data_set), range(6), workers) == straight


def test_workers_may_be_spawned(data_set, straight):
    assert run(stream_of(data_set), range(2), 1, start_method="spawn") == straight[:2]


@pytest.mark.parametrize("first", [1, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stream_goes_on_as_if_nothing_had_been(data_set, straight, first, workers):
    assert run(stream_of(data_set), range(first, 6), workers) == straight[first:]


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_stream_out(data_set, straight, world_size):
    ranks = [run(stream_of(data_set), range(6), rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [[sample for part in parts for sample in part] for parts in zip(*ranks, strict=True)] == straight


def test_other_seeds_and_steps_give_other_samples(data_set, straight):
    other = run(stream_of(data_set, seed=4), range(6))
    samples = [sample for batch in straight + other for sample in batch]
    assert len(set(map(repr, samples))) > 0.9 * len(samples)


def test_the_loader_leaves_the_global_random_state_alone(data_set):
    before = torch.random.get_rng_state()
    run(stream_of(data_set), range(1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_batch_that_cannot_be_shared_out(data_set):
    with pytest.raises(InputError, match="a batch of 4 cannot be shared out equally to 3 processes"):
        training_batches(stream_of(data_set), range(1), 0, rank=0, world_size=3)


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_process_that_is_none(data_set, rank):
    with pytest.raises(ValueError, match=f"rank {rank} of 2"):
        training_batches(stream_of(data_set), range(1), 0, rank=rank, world_size=2)


def test_slots_of_a_process():
    assert list(StepSampler(range(5, 7), range(2, 4))) == [[(5, 2), (5, 3)], [(6, 2), (6, 3)]]
    assert len(StepSampler(range(5, 7), range(2, 4))) == 2


def test_slots_of_micro_batches():
    sampler = StepSampler(range(5, 7), range(3, 8), 2)
    parts = [[3, 4], [5, 6], [7]]
    assert list(sampler) == [[(step, slot) for slot in part] for step in (5, 6) for part in parts]
    assert len(sampler) == 6


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("samples_at_once", "sizes"), [(1, [1, 1, 1, 1]), (3, [3, 1]), (4, [4]), (9, [4])])
def test_micro_batches_are_parts_of_the_batch(data_set, straight, workers, samples_at_once, sizes):
    batches = run(stream_of(data_set), range(6), workers, samples_at_once=samples_at_once)
    assert [len(batch) for batch in batches] == 6 * sizes
    steps = [batches[first : first + len(sizes)] for first in range(0, len(batches), len(sizes))]
    assert [[sample for batch in step for sample in batch] for step in steps] == straight


def test_micro_batches_of_a_process(data_set, straight):
    batches = run(stream_of(data_set), range(6), rank=1, world_size=2, samples_at_once=1)
    assert batches == [[sample] for batch in straight for sample in batch[2:]]


def test_micro_batches_of_nothing(data_set):
    with pytest.raises(ValueError, match="batches of 0 samples"):
        training_batches(stream_of(data_set), range(1), 0, samples_at_once=0)


class Slow:
    def sample(self, draw):
        time.sleep(1.5)
        raise InputError("too late")


def test_a_hung_worker_ends_the_wait():
    batches = training_batches(SampleStream(Slow(), VIEWS, 0, 1), range(1), 1, timeout_s=0.2)
    with pytest.raises(RuntimeError, match="timed out"):
        next(batches)


def test_no_workers_do_not_hang(data_set, straight):
    assert run(stream_of(data_set), range(2), timeout_s=0.5) == straight[:2]


class Threads:
    def sample(self, draw):
        raise InputError(f"{torch.get_num_threads()} threads in {multiprocessing.current_process().name}")


def test_workers_have_one_thread_and_errors_stay_one_line():
    batches = training_batches(SampleStream(Threads(), VIEWS, 0, 1), range(1), 1)
    with pytest.raises(InputError, match=r"^1 threads in \S+$"):
        next(batches)


# ---- epochs and numbers of views


def test_every_scene_once_an_epoch_in_changing_order():
    epochs = [[scene_at(5, epoch * 50 + place, 50) for place in range(50)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert [scene_at(6, place, 50) for place in range(50)] != epochs[0]


def test_attempts_walk_through_all_scenes():
    assert sorted(scene_at(5, 3, 7, attempt) for attempt in range(7)) == list(range(7))


def test_numbers_of_views_vary_from_step_to_step_but_not_in_a_batch(data_set):
    views = ViewSampler(ViewConfig((5, 6), (7, 9), 10, context_views=(2, 4), target_views=(1, 2)), 3, 2)
    shapes = [
        (batch.split.context.shape, batch.split.target.shape, batch.images.shape[1])
        for batch in training_batches(stream_of(data_set, views=views), range(12), 0)
    ]
    assert len(set(shapes)) > 3
    assert all(context[0] == target[0] == 4 and context[1] + target[1] == v for context, target, v in shapes)
    half = [
        batch.split.context.shape[1] for batch in training_batches(stream_of(data_set, views=views), range(12), 0, 1, 2)
    ]
    assert half == [context[1] for context, _, _ in shapes]


# ---- batches and devices


def test_bytes_become_the_same_floats_as_in_the_reference():
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 16, 16).expand(1, 2, 3, 16, 16)
    split = ViewSampler(ViewConfig((5, 6), (5, 6)), 2, 1).draw_views(9, 0, (2, 1), np.random.default_rng(0))
    batch = to_device(Batch(values, torch.zeros(1, 2, dtype=torch.int64), split, ("a",)), "cpu")
    expected = (np.arange(256) / 255.0).astype(np.float32)
    assert np.array_equal(batch.images[0, 0, 0].flatten().numpy(), expected)
    assert np.array_equal(expected, np.arange(256, dtype=np.float32) / np.float32(255))
    assert not np.array_equal(expected, np.arange(256, dtype=np.float32) * np.float32(1 / 255))
    assert batch.images.is_contiguous()


@pytest.mark.gpu
def test_batches_are_pinned_and_divided_exactly_on_a_gpu(data_set):
    batch = next(training_batches(stream_of(data_set, cameras="stored"), range(1), 2))
    assert batch.images.is_pinned()
    assert batch.split.context.is_pinned()
    moved = to_device(batch, "cuda")
    assert torch.equal(moved.images.cpu(), to_device(batch, "cpu").images)
    values = replace(batch, images=torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 16, 16))
    assert torch.equal(to_device(values, "cuda").images.cpu(), to_device(values, "cpu").images)


def test_cameras_in_a_batch(data_set):
    stream = stream_of(data_set, cameras="stored")
    (batch,) = training_batches(stream, range(2, 3), 0)
    alone = stream[2, 1]
    assert not isinstance(alone, InputError)
    assert batch.cameras is not None
    assert batch.cameras.shape == (4, 5)
    assert alone.cameras is not None
    assert torch.equal(batch.cameras.world_from_camera[1], alone.cameras.world_from_camera)
    assert to_device(batch, "cpu").cameras is not None


def test_pictures_of_different_shapes_do_not_make_a_batch(data_set):
    samples = [stream_of(data_set)[0, 0], stream_of(data_set)[0, 1]]
    samples[1] = replace(samples[1], images=samples[1].images[..., :8])
    assert "different shapes do not fit into one batch: 16x16" in str(collate(samples))


# ---- bad data


def damage(folder, numbers):
    for number in numbers:
        (folder / f"{number}" / "opencv_cameras.json").write_text("{")


def test_bad_scenes_are_replaced_the_same_way_everywhere(own_data_set):
    damage(own_data_set, [2, 5])
    for frame in range(FRAMES):
        (own_data_set / "3" / f"{frame}.png").write_bytes(b"no picture")
    stream = stream_of(own_data_set)
    batches = list(training_batches(stream, range(7), 0))
    assert {name for batch in batches for name in batch.scenes} == {f"scene {number}" for number in (0, 1, 4, 6)}
    assert sum(batch.replaced for batch in batches) == 3 * 4  # four epochs
    straight = [content(batch) for batch in batches]
    assert run(stream_of(own_data_set), range(7), 2) == straight
    assert run(stream_of(own_data_set), range(5, 7)) == straight[5:]
    second = run(stream_of(own_data_set), range(7), rank=1, world_size=2)
    assert second == [batch[2:] for batch in straight]


def test_a_bad_scene_is_named_once_and_counted(own_data_set, caplog):
    damage(own_data_set, [2])
    tally = BadData()
    with caplog.at_level(logging.WARNING):
        for batch in training_batches(stream_of(own_data_set), range(14), 0):
            tally.log_problems(batch.problems)
            tally.add(batch.replaced, len(batch))
    assert (tally.bad, tally.seen) == (8, 56)
    (line,) = caplog.messages
    assert "2/opencv_cameras.json: not valid JSON" in line


def test_missing_pictures_are_left_out_and_reported(own_data_set):
    for frame in (0, 5):
        (own_data_set / "2" / f"{frame}.png").unlink()
    samples = [stream_of(own_data_set)[step, slot] for step in range(7) for slot in range(4)]
    of_scene = [sample for sample in samples if not isinstance(sample, InputError) and sample.scene == "scene 2"]
    assert len(of_scene) == 4
    assert not any(sample.replaces or {0, 5} & set(sample.frames.tolist()) for sample in of_scene)
    (problem,) = of_scene[0].problems
    assert "2 of 12 pictures are left out; the first:" in problem.message
    assert "frame 0" in problem.message


def test_pictures_that_a_reader_passes_over_are_reported_too(own_data_set):
    scene = own_data_set / "2"
    frames = [{"file_path": f"{frame}.png", "transform_matrix": np.eye(4).tolist()} for frame in range(FRAMES)]
    (scene / "transforms.json").write_text(json.dumps({"w": 20, "h": 16, "fl_x": 18.0, "frames": frames}))
    (scene / "opencv_cameras.json").unlink()
    (scene / "3.png").unlink()
    samples = source_of(scene)
    _, (problem,) = samples.read(samples.scenes[0])
    assert "1 of 12 pictures are left out; the first:" in problem.message
    assert "3.png" in problem.message


def test_scenes_that_become_too_short_are_replaced(own_data_set):
    write_scene(own_data_set / "short", 8, frames=7)
    stream = stream_of(own_data_set, batch_size=8)
    early = [stream[0, slot] for slot in range(8)]
    late = [stream[20, slot] for slot in range(8)]
    assert not any(sample.replaces for sample in early)
    (replaced,) = [sample for sample in late if sample.replaces]
    assert replaced.scene != "scene 8"
    expected = "short: has 7 usable frames, but at step 20 a sample spans 8 frames or more"
    assert expected in replaced.problems[0].message


def test_a_list_that_is_all_bad_ends_at_once(own_data_set):
    damage(own_data_set, range(SCENES))
    for workers in (0, 1):
        with pytest.raises(
            InputError, match=rf"^step 5: {ATTEMPTS} attempts in a row made no sample; .*not valid JSON"
        ):
            next(training_batches(stream_of(own_data_set), range(5, 9), workers))


def test_a_scene_without_cameras_is_bad_where_they_are_needed(tmp_path):
    write_scene(tmp_path / "a", 1, cameras=False)
    assert not isinstance(stream_of(tmp_path)[0, 0], InputError)
    assert "has no cameras, which this model needs" in str(stream_of(tmp_path, cameras="stored")[0, 0])


def test_no_scenes_at_all():
    with pytest.raises(InputError, match="no scenes to train on"):
        SceneSamples([], VIEWS, FIT)


@pytest.mark.parametrize(("seed", "batch_size"), [(-1, 4), (0, 0)])
def test_seed_and_batch_size(data_set, seed, batch_size):
    with pytest.raises(InputError, match="must be at least 0 and 1"):
        stream_of(data_set, seed, batch_size)


def test_the_limit_of_bad_samples():
    tally = BadData(allowed_share=0.01)
    tally.add(10, 10)  # so few do not count, however bad a share
    with pytest.raises(InputError, match=r"^11 of 20 training samples .* more than the 1\.0% allowed"):
        tally.add(1, 10)
    resumed = BadData(bad=40, seen=4000)
    resumed.add(1, 100)
    with pytest.raises(InputError, match="43 of 4200"):
        resumed.add(2, 100)


def test_problems_of_one_scene_are_logged_once(caplog):
    tally = BadData()
    with caplog.at_level(logging.WARNING):
        tally.log_problems([Problem("a", "a: first"), Problem("b", "b: first"), Problem("a", "a: second")])
        tally.log_problems([Problem("a", "a: third")])
    assert caplog.messages == ["bad data: a: first", "bad data: b: first"]


def test_looking_at_scenes_before_a_run(own_data_set, caplog):
    check_scenes(source_of(own_data_set), range(100))
    assert caplog.messages == []
    write_scene(own_data_set / "short", 8, frames=7)
    with caplog.at_level(logging.WARNING):
        check_scenes(source_of(own_data_set), range(1))
        assert caplog.messages == []
        check_scenes(source_of(own_data_set), range(100))
    (line,) = caplog.messages
    assert "1 of 8 scenes looked at cannot be used at all steps" in line
    assert "short: has 7 usable frames, but a sample spans up to 8 frames" in line


@pytest.mark.parametrize(("good", "bad"), [(0, 2), (50, 11)])
def test_a_list_that_cannot_be_trained_on_to_the_end_is_refused(tmp_path, good, bad):
    for number in range(good + bad):
        write_scene(tmp_path / f"{number}", 1, frames=8 if number < good else 7, size=(8, 8))
    with pytest.raises(InputError, match=rf"{bad} of {good + bad} scenes looked at .* or lower training\.views"):
        check_scenes(source_of(tmp_path), range(100))


def test_only_the_last_scenes_are_kept(data_set, monkeypatch):
    monkeypatch.setattr("rayzer.data.dataset.RECENT_SCENES", 2)
    source = source_of(data_set)
    first, second, third = source.scenes[:3]
    kept = source.read(first)
    source.read(second)
    assert source.read(first) is kept
    source.read(third)
    assert source.read(first) is kept
    assert list(source._recent) == [third, first]

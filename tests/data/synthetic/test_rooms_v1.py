from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from rayzer.data.formats import find_scenes, read_scene
from rayzer.data.synthetic.rooms import compose, compose_pair, render_rooms
from rayzer.data.synthetic.rooms_v1 import generate as generating
from rayzer.data.synthetic.rooms_v1.definition import (
    CONTEXTS,
    IMAGE_SIZE,
    PAIRS,
    ROOMS,
    TARGETS,
    VIEWS,
    benchmark_scenes,
    nearest_context,
    pair_seed,
    room_seed,
)
from rayzer.data.synthetic.rooms_v1.record import fingerprint, publish, published, record_of
from rayzer.data.synthetic.writing import MAX_SEED, with_views
from rayzer.data.view_index import read_view_index
from rayzer.errors import InputError
from rayzer.evaluation.metrics import psnr

SCENES = list(benchmark_scenes())


def recorded(scene):
    room = scene.compose()
    return record_of(room, render_rooms([with_views(room, TARGETS)], IMAGE_SIZE).images[0])


def test_size():
    groups = [scene.group for scene in SCENES]
    assert {group: groups.count(group) for group in groups} == {"0.25": 128, "0.50": 128, "1.00": 128, "pairs": 128}
    assert [scene.name for scene in SCENES] == list(published())
    assert len(set(published())) == len(SCENES) == len({record.fingerprint for record in published().values()})


def test_no_room_is_ever_trained_on():
    rooms = [room_seed(number) for number in range(ROOMS)]
    in_pairs = [2 * pair_seed(number) + half for number in range(PAIRS) for half in (0, 1)]
    assert len({*rooms, *in_pairs}) == ROOMS + 2 * PAIRS
    trained_on = range(2 * MAX_SEED)  # seeds below MAX_SEED, and the two rooms of each pair of such a seed
    assert not any(seed in trained_on for seed in (*rooms, *in_pairs))


def test_contexts_are_nested_and_leave_the_targets_alone():
    sizes = [3, 4, 6, 8, 12, 16]
    assert list(CONTEXTS) == sizes == [len(context) for context in CONTEXTS.values()]
    for fewer, more in pairwise(sizes):
        assert set(CONTEXTS[fewer]) < set(CONTEXTS[more])
    for context in CONTEXTS.values():
        assert list(context) == sorted(set(context))
        assert (context[0], context[-1]) == (0, VIEWS - 1)
        assert not set(context) & set(TARGETS)
        assert context[0] < min(TARGETS) < max(TARGETS) < context[-1]


def test_the_even_index_is_even():
    sample = sorted((*CONTEXTS[8], *TARGETS))
    assert set(np.diff(sample)) == {2, 3}
    assert [sample.index(target) for target in TARGETS] == [2, 4, 7, 9]
    assert [nearest_context(target) for target in TARGETS] == [2, 6, 13, 17]  # ties go to the earlier


@pytest.mark.parametrize("number", [0, 200, 383, 400, 511])
def test_this_machine_makes_the_published_scenes(number):
    assert published()[SCENES[number].name].difference(recorded(SCENES[number])) == ""


@pytest.mark.slow
def test_this_machine_makes_all_published_scenes():
    assert [scene.name for scene in SCENES if published()[scene.name].difference(recorded(scene))] == []


@pytest.mark.slow
def test_copying_the_nearest_context_view_is_as_hard_as_published():
    """The control at the middle span: 22.74 dB when it was published."""
    scores = []
    for scene in SCENES[ROOMS : 2 * ROOMS]:
        assert scene.group == "0.50"
        frames = sorted({*TARGETS, *map(nearest_context, TARGETS)})
        images = render_rooms([with_views(scene.compose(), frames)], IMAGE_SIZE).images[0]
        targets, copies = (
            torch.stack([images[frames.index(frame)] for frame in chosen])
            for chosen in (TARGETS, map(nearest_context, TARGETS))
        )
        scores.append(psnr(targets, copies).mean())
    assert torch.stack(scores).mean().item() == pytest.approx(22.74, abs=0.02)


@pytest.mark.gpu
def test_a_gpu_makes_the_published_scenes():
    for scene in SCENES[::50]:
        room = scene.compose()
        targets = render_rooms([with_views(room, TARGETS)], IMAGE_SIZE, device="cuda").images[0]
        assert published()[scene.name].difference(record_of(room, targets)) == ""


def test_a_pair_is_filmed_by_the_same_cameras():
    one, other = (scene.compose() for scene in SCENES[-2:])
    assert torch.equal(one.world_from_camera, other.world_from_camera)
    assert torch.equal(one.intrinsics, other.intrinsics)
    assert fingerprint(one) != fingerprint(other)


def test_every_parameter_counts():
    room = compose(5, 3)
    assert fingerprint(room) == fingerprint(compose(5, 3))
    for step, same in ((1e-9, True), (1e-3, False)):
        moved = [
            replace(room, world_from_camera=room.world_from_camera + step),
            replace(room, room=replace(room.room, ambient=room.room.ambient + step)),
            replace(room, room=replace(room.room, solids=(*room.room.solids[:-1], nudged(room.room.solids[-1], step)))),
            replace(room, room=replace(room.room, materials=nudged(room.room.materials, step))),
        ]
        assert [fingerprint(other) == fingerprint(room) for other in moved] == [same] * 4


def nudged(record, step):
    return record.map(lambda value: value + step if value.is_floating_point() else value)


def test_other_pictures_are_noticed():
    room = compose(5, 4)
    images = render_rooms([room], 32).images[0]
    record = record_of(room, images)
    assert record.difference(record_of(room, images + 0.4 / 255)) == ""
    assert record.difference(record_of(room, images * 0.97)).startswith("its pictures (by ")
    assert record.difference(record_of(compose_pair(5, 4)[0], images)) == "its parameters or cameras"


def test_the_record_survives_its_files(tmp_path, monkeypatch):
    publish(published(), tmp_path)
    for name in ("FINGERPRINTS", "THUMBNAILS"):
        path = getattr(__import__("rayzer.data.synthetic.rooms_v1.record", fromlist=[name]), name)
        monkeypatch.setattr(f"rayzer.data.synthetic.rooms_v1.record.{name}", tmp_path / path.name)
    again = published.__wrapped__()
    assert list(again) == list(published())
    for name, record in again.items():
        assert record.fingerprint == published()[name].fingerprint
        np.testing.assert_array_equal(record.thumbnails, published()[name].thumbnails)


@pytest.fixture
def two_scenes(monkeypatch):
    chosen = [SCENES[3], SCENES[-1]]
    monkeypatch.setattr(generating, "benchmark_scenes", lambda: iter(chosen))
    return chosen


def test_generate(two_scenes, tmp_path, run):
    options = ("--benchmark", "rooms-v1", "--device", "cpu", "--workers", 1)
    code, _, err = run("data", "synthesize", tmp_path / "out", *options)
    assert code == 0, err
    out = tmp_path / "out"
    lists = {"span-0.25.txt", "pairs.txt", *(f"views-{count:02d}.json" for count in CONTEXTS)}
    assert {path.name for path in out.iterdir()} == {"scenes", "benchmark.json", *lists}
    (ref,) = find_scenes(out / "span-0.25.txt")
    scene = read_scene(ref)
    assert (scene.name, len(scene)) == (two_scenes[0].name, VIEWS)
    composed = two_scenes[0].compose()
    poses = np.stack([frame.world_from_camera for frame in scene.frames])
    np.testing.assert_allclose(poses, composed.world_from_camera.numpy(), atol=1e-12)
    split = read_view_index(out / "views-08.json").split_of(scene)
    assert split is not None
    assert split.context.tolist() == [list(CONTEXTS[8])]
    assert split.target.tolist() == [list(TARGETS)]
    assert run("data", "synthesize", out, *options)[0] == 2
    (out / "benchmark.json").unlink()
    code, _, err = run("data", "synthesize", out, *options, "--overwrite")
    assert code == 2
    assert f"{out / 'scenes'}: was not made by an earlier run" in err


def test_a_machine_that_makes_other_scenes_is_told(two_scenes, tmp_path, monkeypatch):
    wrong = {scene.name: published()[SCENES[7].name] for scene in two_scenes}
    monkeypatch.setattr(generating, "published", lambda: wrong)
    with pytest.raises(InputError, match=r"rooms-v1-0\.25-003: its parameters or cameras came out otherwise"):
        generating.generate(tmp_path / "out", "cpu", 1, False)

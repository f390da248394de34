"""The pose probe: what can be read is read, what is not there is not."""

import math

import pytest
import torch
from torch.testing import assert_close

from rayzer import Cameras
from rayzer.evaluation.probe import PoseProbe, ProbeScene, ProbeTraining, probe_scores, train_probe
from rayzer.geometry import invert_rigid, rigid
from rayzer.geometry.rotations import rotation_from_vector

WIDTH = 24
QUICK = ProbeTraining(iterations=800, learning_rate=3e-3, batch=256)
SHORT = ProbeTraining(iterations=3, learning_rate=1e-3, batch=8)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_cameras(views, seed):
    rotations = rotation_from_vector(0.6 * random(views, 3, seed=seed))
    pose = rigid(rotations, 10 * random(views, 3, seed=seed + 1))  # in some unit of length
    return Cameras(pose, torch.tensor([1.2, 1.2, 0.5, 0.5]).expand(views, 4))


def telling(cameras, canonical, noise_seed):
    """Tokens that hold the relative poses: nine numbers mixed, with noise, an offset and a constant channel."""
    poses = invert_rigid(cameras.world_from_camera[canonical]) @ cameras.world_from_camera
    moves = poses[:, :3, 3] / poses[:, :3, 3].norm(dim=-1).square().mean().sqrt()
    numbers = torch.cat([poses[:, :3, 0], poses[:, :3, 1], moves], -1)
    tokens = 5 + 0.1 * (numbers @ random(9, WIDTH, seed=99) + 0.01 * random(len(cameras), WIDTH, seed=noise_seed))
    return torch.cat([tokens, torch.full((len(tokens), 1), 7.3)], -1)


def scenes(count, seed, canonical="middle", views=6):
    def scene(number):
        cameras = random_cameras(views, 1000 * seed + 2 * number)
        index = views // 2 if canonical == "middle" else 0
        return ProbeScene(telling(cameras, index, noise_seed=5000 + 1000 * seed + number), cameras)

    return [scene(number) for number in range(count)]


def forgetful(scene, seed):
    return ProbeScene(random(*scene.tokens.shape, seed=seed), scene.cameras)


@pytest.mark.parametrize("canonical", ["middle", "first"])
def test_poses_that_the_tokens_hold_are_read(canonical):
    probe = train_probe(scenes(100, 1, canonical), canonical, QUICK)
    scores = probe_scores(probe, scenes(10, 2, canonical))
    assert scores.rpa[15] > 0.9
    assert scores.ate < 0.1
    assert scores.focal_error is None  # it reads none


def test_nothing_is_read_from_random_tokens():
    training = [forgetful(scene, seed) for seed, scene in enumerate(scenes(50, 1))]
    testing = [forgetful(scene, 777 + seed) for seed, scene in enumerate(scenes(10, 2))]
    assert probe_scores(train_probe(training, training=QUICK), testing).rpa[15] < 0.1


def test_the_canonical_view_is_the_identity():
    for canonical, index in (("middle", 3), ("first", 0)):
        probe, scene = train_probe(scenes(2, 1, canonical), canonical, SHORT), scenes(1, 2, canonical)[0]
        poses = probe.poses(scene.tokens)
        assert poses.shape == (6, 4, 4)
        assert torch.equal(poses[index], torch.eye(4))
        assert not torch.equal(poses[1], torch.eye(4))
        assert_close(poses[:, :3, :3] @ poses[:, :3, :3].mT, torch.eye(3).expand(6, 3, 3))


def test_poses_are_the_slow_twin():
    probe, tokens = train_probe(scenes(2, 1), training=SHORT), scenes(1, 2)[0].tokens
    first, _, second = probe.relative_pose
    seen = torch.cat([scene.tokens for scene in scenes(2, 1)])
    deviation = seen.std(0, correction=0)
    deviation[-1] = 1  # the constant channel
    for view in (0, 5):
        pair = torch.cat([(tokens[i] - seen.mean(0)) / deviation for i in (3, view)])
        numbers = torch.nn.functional.silu(pair @ first.weight.T + first.bias) @ second.weight.T + second.bias
        assert_close(probe.poses(tokens)[view, :3, 3], numbers[6:], rtol=1e-4, atol=1e-4)
        x = numbers[:3] + torch.tensor([1.0, 0, 0])
        assert_close(probe.poses(tokens)[view, :3, 0], x / x.norm(), rtol=1e-4, atol=1e-4)


def weights(probe: PoseProbe):
    return torch.cat([parameter.detach().flatten() for parameter in probe.parameters()])


def test_the_unit_of_length_and_the_world_do_not_matter():
    plain = scenes(4, 1)
    moved = [
        ProbeScene(s.tokens, s.cameras.scaled(2.0**k).transformed(random_cameras(1, k).world_from_camera))
        for k, s in enumerate(plain)
    ]
    assert_close(weights(train_probe(moved, training=SHORT)), weights(train_probe(plain, training=SHORT)))


def test_a_probe_is_a_function_of_its_arguments():
    before = torch.get_rng_state()
    first = train_probe(scenes(2, 1), training=SHORT)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert torch.equal(weights(train_probe(scenes(2, 1), training=SHORT)), weights(first))
    other = ProbeTraining(SHORT.iterations, SHORT.learning_rate, SHORT.batch, seed=1)
    assert not torch.equal(weights(train_probe(scenes(2, 1), training=other)), weights(first))


def test_it_trains_in_any_mode_that_tokens_are_computed_in():
    plain, test = scenes(2, 1), scenes(1, 2)[0]
    expected = weights(train_probe(plain, training=SHORT))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        probe = train_probe([ProbeScene(s.tokens.clone(), s.cameras) for s in plain], training=SHORT)
        assert probe.poses(test.tokens).dtype == torch.float32
    assert torch.equal(weights(probe), expected)


def test_cameras_that_only_turn_can_be_trained_on():
    def turning(scene):
        pose = rigid(scene.cameras.rotations, torch.tensor([0.1, 0.7, -0.3]).expand(6, 3))
        return ProbeScene(scene.tokens, Cameras(pose, scene.cameras.intrinsics))

    probe = train_probe([turning(scene) for scene in scenes(3, 1)], training=SHORT)
    assert probe_scores(probe, [turning(scene) for scene in scenes(2, 2)]).ate is None
    assert weights(probe).isfinite().all()


def test_scenes_may_differ_in_views_and_tokens_in_dtype():
    mixed = [*scenes(2, 1, views=2), *scenes(2, 1, views=5)]
    half = [ProbeScene(scene.tokens.bfloat16(), scene.cameras.to(torch.float64)) for scene in mixed]
    assert math.isfinite(probe_scores(train_probe(half, training=SHORT), half).rra[5])


def test_progress_is_told():
    told = []
    train_probe(scenes(1, 1), training=SHORT, advance=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_misuse_is_refused():
    scene = scenes(1, 1)[0]
    with pytest.raises(ValueError, match=r"two or more views, got \[6, 25\] and \[5\]"):
        ProbeScene(scene.tokens, scene.cameras[:5])
    with pytest.raises(ValueError, match="two or more views"):
        ProbeScene(scene.tokens[:1], scene.cameras[:1])
    with pytest.raises(ValueError, match=r"one width, got \[8, 25\]"):
        train_probe([scene, ProbeScene(scene.tokens[:, :8], scene.cameras)])
    with pytest.raises(ValueError, match=r"one width, got \[\]"):
        train_probe([])
    with pytest.raises(ValueError, match="positive"):
        ProbeTraining(iterations=0)
    with pytest.raises(ValueError, match="no pose scores"):
        probe_scores(train_probe([scene], training=SHORT), [])

"""Codes of places and cameras: axioms, and attention against an obvious twin that knows relative ones only."""

import pytest
import torch
from torch.testing import assert_close

from rayzer import Cameras
from rayzer.geometry.cameras import invert_rigid, rigid
from rayzer.geometry.rotations import rotation_from_6d
from rayzer.model.view_codes import camera_code, place_code
from rayzer.model.view_transformer import ViewAttention

ROWS, COLUMNS, WIDTH, HEAD = 2, 3, 64, 32
PLACES = [(row, column) for row in range(ROWS) for column in range(COLUMNS)]
CPU = torch.device("cpu")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def random_poses(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rotation = rotation_from_6d(torch.randn(*shape, 6, generator=generator))
    return rigid(rotation, torch.randn(*shape, 3, generator=generator))


def random_cameras(*shape, seed=0):
    return Cameras(random_poses(*shape, seed=seed), torch.tensor([1.2, 1.2, 0.5, 0.5]).expand(*shape, 4))


@pytest.fixture
def layer():
    """Attention whose weights are large enough for every part to matter."""
    torch.manual_seed(0)
    made = ViewAttention(WIDTH, HEAD)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def turned(here, there, width):
    """The rotary matrix [width, width] from one place to another, the first half of its waves of rows."""
    matrix, pairs = torch.eye(width, dtype=torch.float64), width // 2
    for pair in range(pairs):
        axis, wave = divmod(pair, pairs // 2)
        angle = torch.tensor((there[axis] - here[axis]) * 100.0 ** (-wave / (pairs // 2)), dtype=torch.float64)
        matrix[pair, pair] = matrix[pair + pairs, pair + pairs] = angle.cos()
        matrix[pair, pair + pairs], matrix[pair + pairs, pair] = -angle.sin(), angle.sin()
    return matrix


def between(here, there, poses):
    """The matrices [e, e] of scores and of values, from one token (view and place) to another."""
    (view, place), (other, other_place) = here, there
    if poses is None:
        return turned(place, other_place, HEAD), torch.eye(HEAD, dtype=torch.float64)
    relative = torch.linalg.inv(poses[0][view]) @ poses[1][other]
    half = HEAD // 2
    camera = torch.block_diag(*[relative] * (half // 4))
    scores = torch.block_diag(camera, turned(place, other_place, half))
    return scores, torch.block_diag(camera, torch.eye(half, dtype=torch.float64))


def slow_attention(layer, own, others, is_seen, poses=None):
    """One sample's tokens {(view, place): x} look at others; float64, one pair after the other."""

    def normalized(x, norm):
        return x / (x.square().mean() + 1e-5).sqrt() * norm.weight.double()

    results = []
    for here, x in own:
        heads = []
        for head in range(WIDTH // HEAD):
            rows = slice(head * HEAD, (head + 1) * HEAD)
            q = normalized(layer.to_q.weight.double()[rows] @ x, layer.q_norm)
            weights, values = [], []
            for there, y in others:
                if is_seen(here, there):
                    scores, change = between(here, there, poses)
                    k = normalized(layer.to_k.weight.double()[rows] @ y, layer.k_norm)
                    weights.append((q @ scores @ k / HEAD**0.5).exp())
                    values.append(change @ (layer.to_v.weight.double()[rows] @ y))
            shares = torch.stack(weights) / sum(weights)
            heads.append((shares[:, None] * torch.stack(values)).sum(0))
        results.append(layer.out.weight.double() @ torch.cat(heads))
    return torch.stack(results)


def listed(x):
    """Tokens [v, n, d] of one sample with their views and places; those before the patches stand at (0, 0)."""
    extra = x.shape[1] - len(PLACES)
    places = [(0, 0)] * extra + PLACES
    return [((view, places[i]), x[view, i].double()) for view in range(len(x)) for i in range(x.shape[1])]


@torch.no_grad()
@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("across", [False, True])
def test_attention_of_places_equals_its_slow_twin(layer, across, extra):
    x = torch.randn(2, 2, extra + len(PLACES), WIDTH)
    found = layer(x, place_code(ROWS, COLUMNS, HEAD, CPU, extra), across, False)
    for i, sample in enumerate(x):
        tokens = listed(sample)
        expected = slow_attention(layer, tokens, tokens, lambda a, b: across or a[0] == b[0])
        assert_close(found[i].flatten(0, 1).double(), expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("across", [False, True])
def test_attention_of_cameras_equals_its_slow_twin(layer, across):
    cameras = random_cameras(2, 2)
    x = torch.randn(2, 2, len(PLACES), WIDTH)
    found = layer(x, camera_code(ROWS, COLUMNS, HEAD, cameras), across, False)
    for i, sample in enumerate(x):
        tokens, poses = listed(sample), cameras.world_from_camera[i].double()
        expected = slow_attention(layer, tokens, tokens, lambda a, b: across or a[0] == b[0], (poses, poses))
        assert_close(found[i].flatten(0, 1).double(), expected, **CLOSE)


@torch.no_grad()
def test_reading_equals_its_slow_twin(layer):
    seen, readers = random_cameras(2, 3), random_cameras(2, 2, seed=1)
    scene, x = torch.randn(2, 3, len(PLACES), WIDTH), torch.randn(2, 2, len(PLACES), WIDTH)
    memory = layer.memorize(scene, camera_code(ROWS, COLUMNS, HEAD, seen))
    found = layer.read(x, camera_code(ROWS, COLUMNS, HEAD, readers), memory, False)
    for i in range(2):
        poses = (readers.world_from_camera[i].double(), seen.world_from_camera[i].double())
        expected = slow_attention(layer, listed(x[i]), listed(scene[i]), lambda *_: True, poses)
        assert_close(found[i].flatten(0, 1).double(), expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("across", [False, True])
def test_moving_the_whole_world_changes_nothing(layer, across):
    cameras, x = random_cameras(2, 3), torch.randn(2, 3, len(PLACES), WIDTH)
    code = lambda moved: camera_code(ROWS, COLUMNS, HEAD, moved)  # noqa: E731
    before = layer(x, code(cameras), across, False)
    assert_close(layer(x, code(cameras.transformed(random_poses(2, 1, seed=5))), across, False), before, **CLOSE)
    one = random_poses(2, 3, seed=5)
    one[:, 1:] = torch.eye(4)
    alone = layer(x, code(cameras.transformed(one)), across, False)
    assert ((alone - before).abs().max() > 1e-3) == across  # within a view, its camera does not matter


@torch.no_grad()
def test_moving_the_whole_world_changes_nothing_of_what_is_read(layer):
    seen, readers, new_from_old = random_cameras(2, 3), random_cameras(2, 2, seed=1), random_poses(2, 1, seed=5)
    scene, x = torch.randn(2, 3, len(PLACES), WIDTH), torch.randn(2, 2, len(PLACES), WIDTH)

    def read(seen, readers):
        memory = layer.memorize(scene, camera_code(ROWS, COLUMNS, HEAD, seen))
        return layer.read(x, camera_code(ROWS, COLUMNS, HEAD, readers), memory, False)

    before = read(seen, readers)
    assert_close(read(seen.transformed(new_from_old), readers.transformed(new_from_old)), before, **CLOSE)
    assert (read(seen, readers.transformed(new_from_old)) - before).abs().max() > 1e-3


@pytest.mark.parametrize("cameras", [None, "given"])
def test_scores_depend_on_relative_places_only(cameras):
    rows, columns = 3, 4
    code = place_code(rows, columns, HEAD, CPU)
    if cameras:
        code = camera_code(rows, columns, HEAD, random_cameras(1, 1))
    q, k = torch.randn(2, HEAD)
    everywhere = lambda x: x.expand(1, 1, rows * columns, 1, HEAD)  # noqa: E731
    scores = (code.of_queries(everywhere(q))[0, 0, :, 0] @ code.of_keys(everywhere(k))[0, 0, :, 0].T).view(
        rows, columns, rows, columns
    )
    by_way = {}
    for a, b, c, d in torch.cartesian_prod(*map(torch.arange, scores.shape)).tolist():
        by_way.setdefault((c - a, d - b), []).append(scores[a, b, c, d])
    for same in by_way.values():
        assert_close(torch.stack(same), same[0].expand(len(same)), **CLOSE)
    firsts = torch.stack([same[0] for same in by_way.values()])
    assert len(firsts.unique()) == len(by_way) == 35  # every way has a score of its own


def test_same_place_and_camera_change_nothing():
    cameras = random_cameras(1, 2)
    code = camera_code(ROWS, COLUMNS, HEAD, cameras)
    q, k, v = torch.randn(3, 1, 2, len(PLACES), 2, HEAD)
    plain = (q * k).sum(-1)
    assert_close((code.of_queries(q) * code.of_keys(k)).sum(-1), plain, rtol=1e-5, atol=1e-4)
    assert_close(code.of_results(code.of_values(v)), v, **CLOSE)


def test_codes_of_half_precision_tokens_are_rounded_once():
    code = camera_code(ROWS, COLUMNS, HEAD, random_cameras(2, 2))
    x = torch.randn(2, 2, len(PLACES), 2, HEAD).bfloat16()
    for function in (code.of_queries, code.of_keys, code.of_values, code.of_results):
        with torch.autocast("cpu", torch.bfloat16):
            found = function(x)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, function(x.float()).bfloat16())


def test_tokens_before_the_patches_have_no_place():
    code = place_code(ROWS, COLUMNS, HEAD, CPU, extra=2)
    x = torch.randn(1, 1, 2 + len(PLACES), 1, HEAD)
    assert torch.equal(code.of_queries(x)[:, :, :2], x[:, :, :2])
    assert torch.equal(code.of_queries(x)[:, :, 2:], place_code(ROWS, COLUMNS, HEAD, CPU).of_queries(x[:, :, 2:]))


def test_poses_are_inverses():
    code = camera_code(ROWS, COLUMNS, HEAD, random_cameras(2, 2))
    assert torch.equal(code.camera_from_world, invert_rigid(code.world_from_camera))

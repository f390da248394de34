import math

import pytest
import torch

from rayzer.data.synthetic.casting import Rays, Solids, cast, clearance, in_sight, nearest, occluded
from rayzer.data.synthetic.shapes import SHAPES
from rayzer.data.synthetic.textures import PATTERNS, fractal_noise

THINGS = [name for name in SHAPES if name != "room"]
HALF_SIZE = torch.tensor([0.4, 0.7, 0.4])


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def solids_of(shape: str, count: int, generator: torch.Generator, center: float = 2.0) -> Solids:
    def uniform(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=generator)

    radius = 0.1 + 0.4 * uniform(count)
    half_sizes = torch.stack([radius, 0.1 + 0.4 * uniform(count), radius], -1)
    if shape == "sphere":
        half_sizes = radius[:, None].expand(count, 3)
    skins = torch.arange(6 * count).reshape(count, 6)
    return Solids(shape, center * (2 * uniform(count, 3) - 1), half_sizes, 6 * uniform(count), skins)


def scene(seed: int) -> tuple[Solids, ...]:
    generator = torch.Generator().manual_seed(seed)
    things = [solids_of(shape, 8, generator) for shape in THINGS]
    zero = torch.zeros(1, 3)
    room = Solids("room", zero, torch.full((1, 3), 4.0), zero[:, 0], torch.arange(6)[None])
    return (room, *things)


def bundle(seed: int, count: int = 400, spread: float = 0.3) -> Rays:
    generator = torch.Generator().manual_seed(seed)
    axis = unit(torch.randn(3, generator=generator))
    return Rays(-3.9 * axis, unit(axis + spread * torch.randn(count, 3, generator=generator)))


@pytest.mark.parametrize("shape", SHAPES)
def test_hits_lie_on_the_surface_with_its_gradient_as_normal(shape):
    half_size = HALF_SIZE[:, None] if shape != "sphere" else HALF_SIZE[:1].expand(3)[:, None]
    generator = torch.Generator().manual_seed(0)
    origin = torch.zeros(3, 1) if shape == "room" else torch.tensor([1.5, -1.0, 2.0])[:, None]
    direction = torch.randn(3, 2000, generator=generator)
    direction = unit((direction if shape == "room" else 0.25 * direction - origin).T).T
    distance = SHAPES[shape].distance(origin, direction, half_size)
    hit = distance.isfinite()
    assert hit.sum() > 200
    point = (origin + distance * direction)[:, hit]
    assert SHAPES[shape].signed_distance(point, half_size).abs().max() < 1e-5

    normal, uv = SHAPES[shape].surface(point, half_size)
    assert uv.isfinite().all()
    assert ((normal * direction[:, hit]).sum(0) < 1e-4).all()
    away = SHAPES[shape].signed_distance(point + 0.01 * normal, half_size)
    assert torch.quantile((away - 0.01).abs(), 0.95) < 1e-5


@pytest.mark.parametrize("shape", THINGS)
def test_rays_that_miss_start_inside_or_look_away_hit_nothing(shape):
    half_size = torch.full((3, 1), 0.5)
    forward = torch.tensor([0.0, 0.0, 1.0])[:, None]
    for origin in ([2.0, 0.0, -3.0], [0.0, 0.0, 0.0], [0.0, 0.0, 3.0]):
        assert SHAPES[shape].distance(torch.tensor(origin)[:, None], forward, half_size).isinf().all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.02, 0.3, 3.0])
def test_leaving_out_what_is_out_of_sight_changes_nothing(seed, spread):
    solids, rays = scene(seed), bundle(seed, spread=spread)
    seen = in_sight(solids, rays)
    torch.testing.assert_close(nearest(seen, rays)[0], nearest(solids, rays)[0], rtol=0, atol=0)
    if spread < 0.1:
        assert sum(map(len, seen)) < sum(map(len, solids)) / 2


def test_a_batch_of_rooms_is_cast_like_each_room():
    rooms, rays = [scene(0), scene(1)], [bundle(0), bundle(1)]
    batched = [
        Solids(
            a.shape, *(torch.stack([vars(s)[k] for s in (a, b)]) for k in ("centers", "half_sizes", "yaws", "skins"))
        )
        for a, b in zip(*rooms, strict=True)
    ]
    both = Rays(torch.stack([r.origin for r in rays]), torch.stack([r.directions for r in rays]))
    hits = cast(batched, both)
    for k in range(2):
        alone = cast(rooms[k], rays[k])
        for name, value in vars(alone).items():
            torch.testing.assert_close(vars(hits)[name][k], value)


def test_textures_move_with_their_solid():
    (_, *things), rays = scene(2), bundle(2)
    before = cast([scene(2)[0], *things], rays)
    turn, shift = 0.7, torch.tensor([0.2, -0.1, 0.3])
    cosine, sine = math.cos(turn), math.sin(turn)
    world = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    moved = [Solids(s.shape, s.centers @ world.T + shift, s.half_sizes, s.yaws + turn, s.skins) for s in scene(2)]
    after = cast(moved, Rays(rays.origin @ world.T + shift, rays.directions @ world.T))
    assert (after.materials == before.materials).float().mean() > 0.99
    same = after.materials == before.materials
    torch.testing.assert_close(after.local[same], before.local[same], rtol=0, atol=1e-4)
    torch.testing.assert_close(after.normals[same], before.normals[same] @ world.T, rtol=0, atol=1e-3)


def test_a_ball_throws_a_shadow_only_on_what_is_behind_it():
    ball = Solids("sphere", torch.zeros(1, 3), torch.full((1, 3), 0.5), torch.zeros(1), torch.zeros(1, 6).long())
    lamp = Rays(torch.tensor([0.0, -2.0, 0.0]), unit(torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])))
    assert occluded([ball], lamp, torch.tensor([4.0, 1.0, 4.0])).tolist() == [True, False, False]


def test_clearance_is_negative_inside_things_and_outside_the_room():
    solids = scene(3)
    assert (clearance(solids, solids[1].centers) < 0).all()
    assert (clearance(solids, torch.tensor([[0.0, 5.0, 0.0]])) < 0).all()


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_stay_in_range_and_are_not_flat(name):
    generator = torch.Generator().manual_seed(0)
    uv = 6 * torch.rand(4000, 2, generator=generator) - 3
    noise = fractal_noise(5 * torch.rand(4000, 3, generator=generator))
    mix = PATTERNS[name](uv, noise)
    assert mix.shape == (4000,)
    assert mix.min() >= 0
    assert mix.max() <= 1
    assert mix.std() > 0.02


def test_noise_is_smooth_and_repeats_nowhere_near():
    points = torch.linspace(0, 20, 20001)[:, None] * torch.tensor([1.0, 0.3, -0.7])
    noise = fractal_noise(points)
    assert noise.diff().abs().max() < 0.02
    assert noise.std() > 0.15

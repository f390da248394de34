import pytest
import torch

from rayzer.data.synthetic.shapes import SHAPES

THINGS = [name for name in SHAPES if name != "room"]
HALF_SIZES = {"sphere": (0.4, 0.4, 0.4), "torus": (0.4, 0.12, 0.4)} | dict.fromkeys(
    ("room", "box", "cylinder", "cone"), (0.4, 0.7, 0.4)
)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.mark.parametrize("shape", SHAPES)
def test_hits_lie_on_the_surface_with_its_gradient_as_normal(shape):
    half_size = torch.tensor(HALF_SIZES[shape])[:, None]
    generator = torch.Generator().manual_seed(0)
    origin = torch.zeros(3, 1) if shape == "room" else torch.tensor([1.5, -1.0, 2.0])[:, None]
    direction = torch.randn(3, 2000, generator=generator)
    direction = unit((direction if shape == "room" else 0.25 * direction - origin).T).T
    distance = SHAPES[shape].distance(origin, direction, half_size)
    hit = distance.isfinite()
    assert hit.sum() > 200
    point = (origin + distance * direction)[:, hit]
    off = SHAPES[shape].signed_distance(point, half_size).abs()
    assert off.max() < (5e-4 if shape == "torus" else 1e-5)
    assert off.median() < 1e-6

    normal, uv = SHAPES[shape].surface(point, half_size)
    assert uv.isfinite().all()
    assert ((normal * direction[:, hit]).sum(0) < 1e-4).all()
    torch.testing.assert_close(normal.norm(dim=0), torch.ones(normal.shape[1]))
    outside = (point + 0.001 * normal).requires_grad_(True)
    (gradient,) = torch.autograd.grad(SHAPES[shape].signed_distance(outside, half_size).sum(), outside)
    assert torch.quantile((gradient - normal).norm(dim=0), 0.98) < 1e-3  # edges have no gradient


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_agree_with_walking_along_each_ray(shape):
    half_size = torch.tensor(HALF_SIZES[shape])[:, None]
    generator = torch.Generator().manual_seed(1)
    aim = 0.7 * torch.randn(3, 400, generator=generator)
    origin = 0.3 * unit(aim.T).T if shape == "room" else 3 * unit(torch.randn(400, 3, generator=generator)).T
    direction = unit((aim if shape == "room" else half_size * aim - origin).T).T
    steps = torch.linspace(0, 5, 5001)
    walked = SHAPES[shape].signed_distance(
        (origin[..., None] + steps * direction[..., None]).double(), half_size[..., None].double()
    )
    valleys = (walked[:, 1:-1] < walked[:, 2:]) & (walked[:, 1:-1] < walked[:, :-2])
    grazing = ((walked[:, 1:-1].abs() < 2e-3) & valleys).any(-1)  # may go either way
    found = SHAPES[shape].distance(origin, direction, half_size)
    first = torch.where((walked < 0).any(-1), steps[(walked < 0).int().argmax(-1)], torch.inf)
    assert (first.isfinite() & ~grazing).sum() > 50
    assert first.isinf().any() or shape == "room"
    torch.testing.assert_close(found[~grazing], first[~grazing], rtol=0, atol=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_signed_distance_is_the_distance_to_the_nearest_point_of_the_surface(shape):
    half_size = torch.tensor(HALF_SIZES[shape], dtype=torch.float64)[:, None]
    generator = torch.Generator().manual_seed(2)
    origin = unit(torch.randn(40000, 3, generator=generator, dtype=torch.float64)).T * (0.0 if shape == "room" else 3.0)
    aim = half_size * (2.4 * torch.rand(3, 40000, generator=generator, dtype=torch.float64) - 1.2)
    direction = unit((aim - origin).T).T
    distance = SHAPES[shape].distance(origin, direction, half_size)
    surface = (origin + distance * direction)[:, distance.isfinite()].T
    points = 1.5 * half_size * (2 * torch.rand(3, 200, generator=generator, dtype=torch.float64) - 1)
    nearest_point = torch.cdist(points.T, surface).amin(-1)
    signed = SHAPES[shape].signed_distance(points, half_size)
    assert (signed < 0).any()
    assert (signed > 0).any()
    assert (nearest_point - signed.abs()).min() > -1e-3
    assert (nearest_point - signed.abs()).max() < 0.03


@pytest.mark.parametrize("shape", THINGS)
def test_rays_that_miss_start_inside_or_look_away_hit_nothing(shape):
    half_size = torch.tensor(HALF_SIZES[shape])[:, None]
    forward = torch.tensor([0.0, 0.0, 1.0])[:, None]
    inside = [0.3, 0.0, 0.0] if shape == "torus" else [0.0, 0.0, 0.0]
    for origin in ([2.0, 0.0, -3.0], inside, [0.0, 0.0, 3.0]):
        assert SHAPES[shape].distance(torch.tensor(origin)[:, None], forward, half_size).isinf().all()

import pickle

import pytest
import torch
from torch import Tensor

from rayzer.data.synthetic.batching import together
from rayzer.data.synthetic.casting import Rays, Solids, cast, clearance, clearance_within, nearest, occluded
from rayzer.data.synthetic.culling import bounding_planes, candidate_lists, reached_by_planes
from rayzer.data.synthetic.shading import Lamps, Room
from rayzer.data.synthetic.shapes import SHAPES
from rayzer.data.synthetic.textures import MaterialTable

THINGS = [name for name in SHAPES if name != "room"]


def unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def solids_of(shape: str, count: int, generator: torch.Generator) -> Solids:
    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator)

    radius = 0.1 + 0.4 * uniform(count)
    half_sizes = torch.stack([radius, 0.1 + 0.4 * uniform(count), radius], -1)
    if shape == "sphere":
        half_sizes = radius[:, None].expand(count, 3)
    if shape == "torus":
        half_sizes[:, 1] = radius * (0.1 + 0.3 * uniform(count))
    skins = torch.arange(6 * count).reshape(count, 6)
    rotations = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator)).Q
    rotations = rotations * torch.linalg.det(rotations)[:, None, None]
    return Solids(shape, 4 * uniform(count, 3) - 2, half_sizes, rotations, skins)


def scene(seed: int, count: int = 8) -> Room:
    """Things that hover in a cube, `count` of each shape, and no light."""
    generator = torch.Generator().manual_seed(seed)
    things = [solids_of(shape, count, generator) for shape in THINGS]
    shell = Solids("room", torch.zeros(1, 3), torch.full((1, 3), 4.0), torch.eye(3)[None], torch.arange(6)[None])
    lamps = Lamps(torch.zeros(0, 3), torch.zeros(0, 2, 3), torch.zeros(0, 3), torch.zeros(0, 3))
    return Room((shell, *things), MaterialTable.of([]), lamps, torch.zeros(2, 3))


def rays_of(seed: int, bundles: int = 3, spread: float = 0.3) -> Rays:
    """[3, 1, m, s] origins near the walls; [3, 1, m, s, r] directions to the middle, give or take."""
    generator = torch.Generator().manual_seed(seed)
    axis = unit(torch.randn(bundles, 1, 3, generator=generator))
    origins = -3.8 * axis + 0.1 * torch.rand(bundles, 2, 3, generator=generator)
    directions = unit(axis[:, :, None] + spread * torch.randn(bundles, 2, 200, 3, generator=generator))
    return Rays(origins.movedim(-1, 0)[:, None].contiguous(), directions.movedim(-1, 0)[:, None].contiguous())


def slow_distances(solids: tuple[Solids, ...], rays: Rays) -> Tensor:
    """[n, m, s, r] metres to every solid, one after the other."""
    found = []
    for kind in solids:
        for center, half_size, turn in zip(kind.centers, kind.half_sizes, kind.world_from_local, strict=True):
            origins = torch.einsum("ji,jms->ims", turn, rays.origins[:, 0] - center[:, None, None])
            directions = torch.einsum("ji,jmsr->imsr", turn, rays.directions[:, 0])
            size = half_size[:, None, None, None]
            found.append(SHAPES[kind.shape].distance(origins[..., None], directions, size))
    return torch.stack(found)


def double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.02, 0.3, 3.0])
@pytest.mark.parametrize(("precision", "apart_m"), [("double", 1e-9), ("single", 1e-4)])
def test_the_nearest_solid_is_the_one_that_a_slow_twin_finds(seed, spread, precision, apart_m):
    """In single precision rounding depends on the processor: up to 2e-5 m has been seen."""
    room, rays = scene(seed).map(double), rays_of(seed, spread=spread).map(double)
    slow = slow_distances(room.solids, rays)
    if precision == "single":
        room, rays = room.single(), rays.single()
    batch = together([room])
    distance, index = nearest(batch.solids, rays)
    torch.testing.assert_close(distance[0].double(), slow.amin(0), rtol=0, atol=apart_m)
    firsts = [sum(len(kind) for kind in batch.solids[:k]) for k in range(len(SHAPES))]
    position = torch.cat([first + torch.arange(len(kind)) for first, kind in zip(firsts, room.solids, strict=True)])
    sure = slow.topk(2, 0, largest=False).values.diff(dim=0)[0] > 1e-4
    assert torch.equal(index[0][sure], position[slow.argmin(0)][sure])


@pytest.mark.parametrize("seed", range(4))
def test_narrow_bundles_try_few_solids_and_wide_ones_all(seed):
    batch = together([scene(seed)])

    def tried(spread: float) -> float:
        rays = rays_of(seed, spread=spread)
        planes = bounding_planes(rays.origins, rays.directions)
        masks = [reached_by_planes(planes, kind.boxes())[..., :-1] for kind in batch.solids[1:]]
        return torch.cat(masks, -1).float().mean().item()

    assert tried(0.02) < 0.35
    assert tried(3.0) == 1


def test_candidates_are_what_is_reached_and_the_last_solid():
    generator = torch.Generator().manual_seed(0)
    reached = torch.rand(2, 40, 12, generator=generator) < torch.rand(2, 40, 1, generator=generator) ** 2
    reached[..., -1] = False
    listed = torch.zeros(80, 24, dtype=torch.int64)
    for bundles, solids in candidate_lists(reached, 10, 200):
        assert len(bundles) == 1 or solids.numel() * 10 <= 200
        listed[bundles] += torch.nn.functional.one_hot(solids, 24).sum(1)
    of_own_room = torch.stack([listed[:40, :12], listed[40:, 12:]])
    assert of_own_room.sum() == listed.sum()
    assert torch.equal(of_own_room[..., :-1], reached[..., :-1].long())


def test_a_batch_of_rooms_is_cast_like_each_room():
    rooms, rays = [scene(0), scene(1, count=3), scene(2, count=11)], [rays_of(k) for k in range(3)]
    batch = together(rooms)
    every = Rays(*(torch.cat([vars(each)[name] for each in rays], 1) for name in ("origins", "directions")))
    hits = cast(batch.solids, every)
    points = every.at(torch.full_like(hits.distances, 2.0)).flatten(-2)
    near = clearance_within(batch.solids, points, 0.3)
    for k in range(3):
        alone = cast(together([rooms[k]]).solids, rays[k])
        for name, value in vars(alone).items():
            own = value[0] if name in ("distances", "materials") else value[:, 0]
            both = vars(hits)[name][k] if name in ("distances", "materials") else vars(hits)[name][:, k]
            torch.testing.assert_close(both, own, rtol=0, atol=1e-6)
        torch.testing.assert_close(near[k], clearance_within(together([rooms[k]]).solids, points[:, k, None], 0.3)[0])


def test_hits_say_where_on_which_face_of_a_solid_a_ray_ends():
    room, rays = scene(3), rays_of(3)
    hits = cast(together([room]).solids, rays)
    torch.testing.assert_close(hits.normals.norm(dim=0), torch.ones_like(hits.distances))
    assert ((hits.normals * rays.directions).sum(0) < 1e-3).all()
    assert clearance(room.solids, hits.points.movedim(0, -1)).abs().max() < 1e-4
    assert (clearance(room.solids, (hits.points + 0.005 * hits.normals).movedim(0, -1)) > 0).float().mean() > 0.97


def test_textures_move_with_their_solid():
    room, rays = scene(2), rays_of(2)
    before = cast(together([room]).solids, rays)
    turn, shift = torch.linalg.matrix_exp(torch.tensor([[0, -0.4, 0.7], [0.4, 0, 0.2], [-0.7, -0.2, 0]])), 0.3
    moved = [
        Solids(s.shape, s.centers @ turn.T + shift, s.half_sizes, turn @ s.world_from_local, s.skins)
        for s in room.solids
    ]
    origins = torch.einsum("ij,j...->i...", turn, rays.origins) + shift
    moved_rays = Rays(origins, torch.einsum("ij,j...->i...", turn, rays.directions))
    after = cast(together([Room(tuple(moved), room.materials, room.lamps, room.ambient)]).solids, moved_rays)
    same = after.materials == before.materials
    assert same.float().mean() > 0.99
    torch.testing.assert_close(after.local[:, same], before.local[:, same], rtol=0, atol=1e-4)
    torch.testing.assert_close(after.uv[:, same], before.uv[:, same], rtol=0, atol=1e-3)
    turned = torch.einsum("ij,j...->i...", turn, before.normals)
    torch.testing.assert_close(after.normals[:, same], turned[:, same], rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_shadows_fall_where_a_slow_twin_says(seed):
    room, rays = scene(seed), rays_of(seed)
    lengths = 4 * torch.rand(rays.directions.shape[1:], generator=torch.Generator().manual_seed(seed)) + 1
    asked = torch.ones_like(lengths, dtype=torch.bool)
    asked[:, 0] = False
    shadow = occluded(together([room]).solids, rays, lengths, asked)
    slow = slow_distances(room.solids[1:], rays).amin(0)
    assert torch.equal(shadow[0, 1:], (slow < lengths[0])[1:])
    assert shadow[0, 1:].any()
    assert not shadow[0, 1:].all()
    assert not shadow[0, 0].any()


def test_clearance_within_a_margin_is_the_clearance_up_to_there():
    room, rays = scene(3), rays_of(3, bundles=40, spread=0.1)
    points = rays.at(3 + torch.rand(rays.directions.shape[1:])).flatten(-2)
    slow = clearance(room.solids, points.movedim(0, -1)).clamp(max=0.25)
    torch.testing.assert_close(clearance_within(together([room]).solids, points, 0.25), slow, rtol=0, atol=1e-5)
    assert ((slow < 0.25) & (slow > 0)).float().mean() > 0.1


def test_clearance_is_negative_inside_things_and_outside_the_room():
    room = scene(3)
    assert (clearance(room.solids, room.solids[1].centers) < 0).all()
    assert clearance(room.solids, torch.tensor([0.0, 5.0, 0.0])) < 0


def test_records_are_pickled_by_value():
    room = scene(0)
    copy = pickle.loads(pickle.dumps(room))  # noqa: S301
    for kind, other in zip(room.solids, copy.solids, strict=True):
        assert kind.shape == other.shape
        assert torch.equal(kind.centers, other.centers)
        assert torch.equal(kind.skins, other.skins)
    assert copy.single().ambient.dtype == torch.float32

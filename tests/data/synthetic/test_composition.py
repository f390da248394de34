import numpy as np
import pytest
import torch

from rayzer.data.synthetic.abstract_room import Walkway
from rayzer.data.synthetic.batching import together
from rayzer.data.synthetic.camera_paths import camera_path
from rayzer.data.synthetic.casting import Rays, clearance, nearest
from rayzer.data.synthetic.composition import compose_room
from rayzer.data.synthetic.patterns.baking import PATTERNS, SIDE_PX
from rayzer.data.synthetic.room_kinds import ROOM_KINDS
from rayzer.data.synthetic.shading import Room
from rayzer.data.synthetic.tiles import PictureSet, pack
from rayzer.geometry.cameras import Cameras


def size(room: Room) -> int:
    return sum(map(len, room.solids))


def tensors(room: Room) -> list[torch.Tensor]:
    found = []
    room.map(lambda value: found.append(value) or value)
    return found


def test_a_seed_decides_everything_in_float64():
    for seed in (0, 1, 2):
        first, second, other = compose_room(seed), compose_room(seed), compose_room(seed + 100)
        assert all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))
        assert {value.dtype for value in tensors(first)} == {torch.float64, torch.int64}
        assert not torch.equal(first.materials.numbers[0], other.materials.numbers[0])


@pytest.mark.parametrize("kind", ROOM_KINDS)
def test_rooms_of_every_kind_are_well_formed(kind):
    for seed in range(5):
        room = compose_room(seed, kind=kind)
        assert room.solids[0].shape == "room"
        assert len(room.solids[0]) == 1
        assert 60 <= size(room) <= 230
        assert all(value.isfinite().all() for value in tensors(room))
        assert max(int(solids.skins.max()) for solids in room.solids) == len(room.materials.pattern) - 1
        assert all((solids.half_sizes > 0).all() for solids in room.solids)
        assert (clearance(room.solids, room.lamps.centers) > 0.005).all()
        assert 1 <= len(room.lamps.centers) <= 3
        assert sum(len(solids) for solids in room.solids if solids.shape == "torus") <= 12  # they cost most


@pytest.mark.parametrize("kind", ROOM_KINDS)
def test_colours_are_colours_and_patterns_are_neither_tiny_nor_huge(kind):
    for seed in range(5):
        numbers = compose_room(seed, kind=kind).materials.numbers
        place, base, mix = numbers[:, :10], numbers[:, 20:23], numbers[:, 23:32].view(-1, 3, 3)
        corners = torch.cat([base[:, None], base[:, None] + mix], 1)
        assert (corners > -1e-9).all()
        assert (corners < 1 + 1e-9).all()
        per_metre = place.abs().amax(1)
        assert (per_metre < 60).all()
        assert (per_metre > 0.01).all()


def test_the_number_of_parts_is_bounded():
    sizes = [size(compose_room(seed)) for seed in range(40)]
    assert np.mean(sizes) <= 140
    assert max(sizes) <= 260


def test_no_two_rooms_are_alike():
    """Rooms differ in their dimensions, in the patterns of their shells and in the shapes in them."""
    signatures = set()
    for seed in range(40):
        room = compose_room(seed)
        shell = room.materials.pattern[room.solids[0].skins[0]].tolist()
        signatures.add((*shell, *(len(solids) for solids in room.solids)))
    assert len(signatures) == 40
    shells = {tuple(compose_room(seed).solids[0].half_sizes[0].mul(10).round().tolist()) for seed in range(40)}
    assert len(shells) > 34


def test_all_kinds_and_most_patterns_appear():
    rooms = [compose_room(seed) for seed in range(40)]
    patterns = torch.cat([room.materials.pattern for room in rooms]).unique()
    assert len(patterns) > 58
    heights = torch.stack([2 * room.solids[0].half_sizes[0, 1] for room in rooms])
    assert heights.min() < 2.6
    assert heights.max() > 3.5


def visible(room: Room, cameras: Cameras) -> int:
    """Number of solids that some pixel of some view shows."""
    side = (torch.arange(64, dtype=torch.float64) + 0.5) / 64 - 0.5
    y, x = torch.meshgrid(side, side, indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x) * cameras.intrinsics[0, 0]], -1).reshape(-1, 3)
    turned = torch.nn.functional.normalize(rays @ cameras.rotations.mT, dim=-1)  # [v, r, 3]
    bundles = Rays(cameras.centers.T[:, None, :, None], turned.permute(2, 0, 1)[:, None, :, None])
    return len(nearest(together([room]).solids, bundles)[1].unique())


def test_many_primitives_are_visible():
    counts = []
    for seed in range(8):
        room = compose_room(seed)
        counts.append(visible(room, camera_path([room], seed, 2, 0.5)))
    assert np.mean(counts) > 35


@pytest.mark.parametrize("kind", ROOM_KINDS)
def test_there_is_room_for_a_camera(kind):
    for seed in range(3):
        room = compose_room(seed, kind=kind)
        camera_path([room], seed, 2, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("span", [0.25, 0.5, 1.0])
def test_there_is_room_for_a_camera_in_many_rooms(span):
    for seed in range(201):
        room = compose_room(seed)
        camera_path([room], seed, 2, span)


def test_walkways_keep_balls_out():
    way = Walkway(inner_m=1, outer_m=2, low_m=0.6, high_m=2, azimuth=3.0, half_width=1.0)
    assert not way.is_clear_of(-1.5, 1.2, 0, 0.1)
    assert way.is_clear_of(1.5, 1.2, 0, 0.1)
    assert way.is_clear_of(-1.5, 0.3, 0, 0.2)
    assert way.is_clear_of(-0.5, 1.2, 0, 0.3)
    assert not way.is_clear_of(-0.5, 1.2, 0, 0.6)
    assert not way.is_clear_of(0.5, 1.2, 0, 2.0)


def test_pictures_of_a_user_are_used():
    pictures = PictureSet(pack(torch.rand(3, 3, SIDE_PX, SIDE_PX), wrap=False), (1.0, 1.5, 0.7))
    for kind in ROOM_KINDS:
        rooms = [compose_room(seed, pictures, kind) for seed in range(4)]
        used = torch.cat([room.materials.pattern for room in rooms]).unique()
        assert (used >= len(PATTERNS)).any(), kind
        assert all(room.materials.pictures is pictures for room in rooms)

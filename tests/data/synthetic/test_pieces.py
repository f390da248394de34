import math

import numpy as np
import pytest

from rayzer.data.synthetic import room_kinds
from rayzer.data.synthetic.furnishing import Furnishing
from rayzer.data.synthetic.parts import (
    Part,
    ball,
    box,
    cone,
    cylinder,
    grounded,
    reach_down,
    resting,
    ring,
    rod,
    tilted,
    tumbled,
)
from rayzer.data.synthetic.pieces.abstract import COMPOSITIONS
from rayzer.data.synthetic.pieces.decor import SMALL_THINGS
from rayzer.data.synthetic.styles import Style
from rayzer.data.synthetic.textures import Material

FURNISHINGS = [value for value in vars(room_kinds).values() if isinstance(value, Furnishing)]
AT_WALL = {maker.__name__: maker for f in FURNISHINGS for maker in (*f.low, *f.tall)}
FREE = {maker.__name__: maker for f in FURNISHINGS for maker in (*f.middle, *f.floor)}
HUNG = {maker.__name__: maker for f in FURNISHINGS for maker in f.hung}
CHALK = Material("plain", ((1.0, 1.0, 1.0),) * 4)
TOUCH_M = 0.02
SEEDS = 4
TURN = np.linspace(0, 2 * math.pi, 48, endpoint=False)
CORNERS = np.stack(np.meshgrid(*[(-1, 1)] * 3), -1).reshape(-1, 3)


def corners(part: Part) -> np.ndarray:
    """Points [n, 3] on a part, enough to bound it."""
    if part.shape == "sphere":
        return np.array(part.center) + part.half_size[0] * np.concatenate([np.eye(3), -np.eye(3)])
    local = CORNERS * part.half_size
    if part.shape != "box":
        around = np.stack([np.cos(TURN), 0 * TURN, np.sin(TURN)], -1)
        radius, height = part.half_size[:2]
        rise = np.array([0, height, 0])
        local = np.concatenate(
            [radius * around + rise, -rise[None] if part.shape == "cone" else radius * around - rise]
        )
        if part.shape == "torus":
            tube = (radius - height) * around[:, None] + height * (
                around[:, None] * np.cos(TURN)[:, None] + np.array([0, 1, 0]) * np.sin(TURN)[:, None]
            )
            local = tube.reshape(-1, 3)
    return local @ np.array(part.rotation()).T + part.center


def bounds(part: Part) -> tuple[np.ndarray, np.ndarray]:
    points = corners(part)
    return points.min(0), points.max(0)


def hanging_in_the_air(parts: tuple[Part, ...], anchored: list[bool]) -> list[Part]:
    """Parts whose boxes are not joined to an anchored one by boxes that touch."""
    boxes = [bounds(part) for part in parts]
    held, waiting = (
        [k for k, fixed in enumerate(anchored) if fixed],
        [k for k, fixed in enumerate(anchored) if not fixed],
    )
    for support in held:  # grows while it is walked through
        low, high = boxes[support]
        touching = [
            k for k in waiting if (boxes[k][0] <= high + TOUCH_M).all() and (boxes[k][1] >= low - TOUCH_M).all()
        ]
        held += touching
        waiting = [k for k in waiting if k not in touching]
    return [parts[k] for k in waiting]


def made(maker, seed: int):
    rng = np.random.default_rng(seed)
    return maker(Style(rng), rng)


@pytest.mark.parametrize("name", [*AT_WALL, *FREE])
def test_pieces_stand_on_the_floor_and_nothing_hangs_in_the_air(name):
    for seed in range(SEEDS):
        piece = made((AT_WALL | FREE)[name], seed)
        lowest = [-bounds(part)[1][1] for part in piece.parts]
        assert -0.1 < min(lowest) < 0.005
        assert hanging_in_the_air(piece.parts, [low < 0.01 for low in lowest]) == []
        assert len(piece.parts) <= 45


@pytest.mark.parametrize("name", AT_WALL)
def test_pieces_keep_to_their_place_before_the_wall(name):
    for seed in range(SEEDS):
        piece = made(AT_WALL[name], seed)
        low = np.min([bounds(part)[0] for part in piece.parts], 0)
        high = np.max([bounds(part)[1] for part in piece.parts], 0)
        assert low[2] > -0.03
        assert high[2] < piece.size[2] + 0.1
        assert max(-low[0], high[0]) < piece.size[0] / 2 + 0.1
        assert -low[1] < max(piece.size[1] + 0.65, 1.2)


@pytest.mark.parametrize("name", FREE)
def test_pieces_in_the_middle_stay_below_the_camera(name):
    for seed in range(SEEDS):
        assert max(-bounds(part)[0][1] for part in made(FREE[name], seed).parts) < 1.4


@pytest.mark.parametrize("name", HUNG)
def test_hung_things_are_fixed_to_the_wall(name):
    for seed in range(SEEDS):
        parts = tuple(made(HUNG[name], seed))
        backs = [bounds(part)[0][2] for part in parts]
        assert -0.16 < min(backs) < 0.03  # balls may be half in the wall
        assert hanging_in_the_air(parts, [back < 0.03 for back in backs]) == []
        assert min(-bounds(part)[1][1] for part in parts) > -0.15


@pytest.mark.parametrize("maker", SMALL_THINGS)
def test_small_things_stand_within_their_place(maker):
    for seed in range(SEEDS):
        parts = tuple(made(maker, seed))
        assert min(-bounds(part)[1][1] for part in parts) == pytest.approx(0, abs=1e-6)
        assert max(abs(edge[k]) for part in parts for edge in bounds(part) for k in (0, 2)) < 0.2


@pytest.mark.parametrize("maker", COMPOSITIONS)
def test_compositions_stand_and_are_as_large_as_wanted(maker):
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        parts = maker(Style(rng), rng, 0.8)
        assert min(-bounds(part)[1][1] for part in parts) == pytest.approx(0, abs=3e-3)
        assert max(np.abs(edge).max() for part in parts for edge in bounds(part)) < 1.3 * 0.8


SHAPES_IN_ANY_ATTITUDE = [
    box((0.2, 0.5, 0.8), (0.1, 0, 0), CHALK),
    cylinder(0.3, 0.9, (0, 0, 0), CHALK),
    cone(0.3, 0.9, (0, 0, 0), CHALK),
    ring(0.4, 0.1, (0, 0, 0), CHALK),
    ball(0.4, (0, 0, 0), CHALK),
]


@pytest.mark.parametrize("part", SHAPES_IN_ANY_ATTITUDE)
def test_parts_rest_on_their_lowest_point(part):
    rng = np.random.default_rng(0)
    for pitch, roll in rng.uniform(-3, 3, (10, 2)).tolist():
        turned = tilted(part, pitch, roll)
        assert corners(turned)[:, 1].max() - turned.center[1] == pytest.approx(reach_down(turned), abs=2e-3)
        assert corners(resting(turned, 0.3))[:, 1].max() == pytest.approx(-0.3, abs=2e-3)


def test_tumbling_turns_places_and_axes_alike():
    rng = np.random.default_rng(1)
    parts = [tilted(part, 0.4, -0.9) for part in SHAPES_IN_ANY_ATTITUDE]
    for yaw, pitch, roll in rng.uniform(-3, 3, (10, 3)).tolist():
        outer = np.array(Part("box", (0, 0, 0), (1, 1, 1), CHALK, yaw, (pitch, roll)).rotation())
        for before, after in zip(parts, tumbled(parts, yaw, pitch, roll), strict=True):
            np.testing.assert_allclose(after.rotation(), outer @ before.rotation(), atol=1e-12)
            np.testing.assert_allclose(after.center, outer @ before.center, atol=1e-12)


def test_rods_go_from_end_to_end():
    rng = np.random.default_rng(2)
    for start, end in rng.uniform(-1, 1, (10, 2, 3)).tolist():
        part = rod(0.01, tuple(start), tuple(end), CHALK)
        axis = np.array(part.rotation())[:, 1] * part.half_size[1]
        wanted = np.array([[x, -y, z] for x, y, z in (start, end)])
        found = np.stack([part.center - axis, part.center + axis])
        np.testing.assert_allclose(np.sort(found, 0), np.sort(wanted, 0), atol=1e-12)


def test_grounded_things_touch_the_floor_as_one():
    parts = grounded(tumbled(SHAPES_IN_ANY_ATTITUDE, 0.3, 1.0, 0.5))
    assert max(part.center[1] + reach_down(part) for part in parts) == pytest.approx(0)

"""What rooms-v1 is: 128 rooms along camera paths of three spans, 64 pairs of rooms along one path, fixed views.

Every scene has 24 frames of 128x128 pixels. The targets are the same four frames in all view indices, the contexts
are nested: 3, 4, 6, 8, 12 or 16 views, always with the first and the last frame; 8 + 4 is the usual, even one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rayzer.data.synthetic.rooms import ComposedRoom, compose, compose_pair
from rayzer.data.synthetic.rooms_v1.attempts import PAIR_ATTEMPTS, ROOM_ATTEMPTS
from rayzer.data.synthetic.writing import MAX_SEED

NAME = "rooms-v1"
VIEWS = 24
IMAGE_SIZE = 128
SPANS = (0.25, 0.5, 1.0)
PAIR_SPAN = 0.5
ROOMS, PAIRS = 128, 64

TARGETS = (4, 8, 15, 19)
CONTEXTS = {
    3: (0, 10, 23),
    4: (0, 10, 17, 23),
    6: (0, 6, 10, 13, 17, 23),
    8: (0, 2, 6, 10, 13, 17, 21, 23),
    12: (0, 2, 3, 6, 7, 10, 13, 16, 17, 20, 21, 23),
    16: (0, 2, 3, 5, 6, 7, 9, 10, 13, 14, 16, 17, 18, 20, 21, 23),
}

_ATTEMPTS_PER_SCENE = 1024
_FIRST_SEED = 4 * MAX_SEED  # beyond all rooms of training: pairs of seed s are made of the rooms 2s and 2s + 1
_FIRST_PAIR_SEED = 8 * MAX_SEED


@dataclass(frozen=True)
class BenchmarkScene:
    """One scene of the benchmark.

    Attributes:
        name: `rooms-v1-0.50-007`, or `rooms-v1-pair-007a` and `b` for rooms with one camera path.
        group: "0.25", "0.50", "1.00" or "pairs".
        number: of the room or pair.
    """

    name: str
    group: str
    number: int

    def compose(self, attempt: int | None = None) -> ComposedRoom:
        """The room and its 24 cameras; `attempt` as in `room_seed`."""
        if self.group == "pairs":
            return compose_pair(pair_seed(self.number, attempt), VIEWS, PAIR_SPAN)["ab".index(self.name[-1])]
        return compose(room_seed(self.number, attempt), VIEWS, float(self.group))


def benchmark_scenes() -> Iterator[BenchmarkScene]:
    """All scenes, group by group."""
    for group in (f"{span:.2f}" for span in SPANS):
        for number in range(ROOMS):
            yield BenchmarkScene(f"{NAME}-{group}-{number:03d}", group, number)
    for number in range(PAIRS):
        for letter in "ab":
            yield BenchmarkScene(f"{NAME}-pair-{number:03d}{letter}", "pairs", number)


def room_seed(number: int, attempt: int | None = None) -> int:
    """Seed of a room; `attempt` counts the rooms that were drawn for this number, None is the one that was taken."""
    taken = ROOM_ATTEMPTS.get(number, 0) if attempt is None else attempt
    return _FIRST_SEED + _ATTEMPTS_PER_SCENE * number + taken


def pair_seed(number: int, attempt: int | None = None) -> int:
    """Seed of a pair, likewise."""
    taken = PAIR_ATTEMPTS.get(number, 0) if attempt is None else attempt
    return _FIRST_PAIR_SEED + _ATTEMPTS_PER_SCENE * number + taken


def nearest_context(target: int, context: tuple[int, ...] = CONTEXTS[8]) -> int:
    """The context frame that the control copies: the nearest by position, ties to the earlier."""
    return min(context, key=lambda frame: (abs(frame - target), frame))

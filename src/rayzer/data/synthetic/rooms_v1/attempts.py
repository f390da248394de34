"""Rooms and pairs of rooms-v1 that were drawn again, and how often, as `selection` found it. Frozen."""

ROOM_ATTEMPTS: dict[int, int] = {26: 1, 79: 1, 106: 1, 118: 1}
PAIR_ATTEMPTS: dict[int, int] = {34: 1}

"""Which of the rooms drawn for each number of rooms-v1 were taken, as `selection` found it. Frozen."""

ROOM_ATTEMPTS: tuple[int, ...] = ()
PAIR_ATTEMPTS: tuple[int, ...] = ()

"""Contact sheets of procedural rooms: python examples/contact_sheets.py FOLDER"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from rayzer.data.synthetic.rooms import ComposedRoom, compose, compose_pair, render_rooms
from rayzer.data.synthetic.writing import with_views
from rayzer.data.views import to_uint8

STRIP = (0, 5, 9, 14, 18, 23)  # of 24 views


def views(room: ComposedRoom, numbers: tuple[int, ...], size: int) -> np.ndarray:
    """Some views of a room beside one another, [size, n * size, 3]."""
    images = to_uint8(render_rooms([with_views(room, numbers)], size).images[0])
    return np.concatenate(list(images.permute(0, 2, 3, 1).numpy()), axis=1)


def save(rows: list[np.ndarray], path: Path) -> None:
    Image.fromarray(np.concatenate(rows, axis=0)).save(path, quality=88)
    print(path)


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
many = [views(compose(seed, views=24), (12,), size=144) for seed in range(48)]
save([np.concatenate(many[row : row + 8], axis=1) for row in range(0, 48, 8)], folder / "rooms.jpg")
save([views(compose(seed, views=24, span=1.0), STRIP, size=192) for seed in (2, 15, 18, 36)], folder / "walks.jpg")
save([views(room, STRIP, size=192) for room in compose_pair(1, views=24, span=1.0)], folder / "pair.jpg")

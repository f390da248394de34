"""The record that tells whether a machine makes the same rooms-v1 as everybody else's.

Kept beside this file: a SHA-256 of every scene's parameters and cameras, and 8x8 thumbnails of its four targets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rayzer.data.synthetic.records import TensorRecord
from rayzer.data.synthetic.rooms import ComposedRoom
from rayzer.data.views import to_uint8

FINGERPRINTS = Path(__file__).with_name("fingerprints.txt")
THUMBNAILS = Path(__file__).with_name("thumbnails.png")
SIDE = 8

_STEPS_PER_UNIT = 10_000  # parameters count as equal if they agree to 1e-4
_OFF_GRID = 0.2718281828  # of a step: values such as 0.01255 would else lie where rounding is a matter of luck
_TOLERANCE = 1  # of 255


@dataclass(frozen=True, eq=False)
class Record:
    """One scene's SHA-256, and its thumbnails uint8 [4, 8, 8, 3]."""

    fingerprint: str
    thumbnails: np.ndarray

    def difference(self, other: Record) -> str:
        """What is different, in a few words; empty if nothing is."""
        if self.fingerprint != other.fingerprint:
            return "its parameters or cameras"
        largest = int(np.abs(self.thumbnails.astype(int) - other.thumbnails.astype(int)).max())
        return f"its pictures (by {largest} of 255)" if largest > _TOLERANCE else ""


def record_of(room: ComposedRoom, targets: Tensor) -> Record:
    """The record of a scene from its room and the pictures [4, 3, h, w] of its targets."""
    small = torch.nn.functional.adaptive_avg_pool2d(targets.float(), SIDE)
    return Record(fingerprint(room), to_uint8(small).permute(0, 2, 3, 1).cpu().numpy())


def fingerprint(room: ComposedRoom) -> str:
    """SHA-256 of all numbers that make a room and its cameras, rounded to 1e-4."""
    digest = hashlib.sha256()
    for tensor in _tensors(room):
        rounded = (tensor.double() * _STEPS_PER_UNIT + _OFF_GRID).floor().to(torch.int64)
        digest.update(str(tuple(rounded.shape)).encode() + rounded.numpy().astype("<i8").tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def published() -> Mapping[str, Record]:
    """The records of all scenes by name."""
    lines = [line.split() for line in FINGERPRINTS.read_text(encoding="ascii").splitlines()]
    with Image.open(THUMBNAILS) as image:
        rows = np.asarray(image).reshape(len(lines), SIDE, -1, SIDE, 3).swapaxes(1, 2)
    return {name: Record(sha256, tiles) for (sha256, name), tiles in zip(lines, rows, strict=True)}


def publish(records: Mapping[str, Record], folder: Path) -> None:
    """Write both files: lines `sha256  name`, and one row of thumbnails a scene."""
    lines = "".join(f"{record.fingerprint}  {name}\n" for name, record in records.items())
    (folder / FINGERPRINTS.name).write_text(lines, encoding="ascii")
    rows = [np.concatenate(list(record.thumbnails), axis=1) for record in records.values()]
    Image.fromarray(np.concatenate(rows, axis=0)).save(folder / THUMBNAILS.name, optimize=True)


def _tensors(value: object) -> Sequence[Tensor]:
    """All tensors in a record, in the order of its fields."""
    if isinstance(value, Tensor):
        return [value]
    inner = vars(value).values() if isinstance(value, TensorRecord) else value if isinstance(value, tuple) else ()
    return [tensor for item in inner for tensor in _tensors(item)]

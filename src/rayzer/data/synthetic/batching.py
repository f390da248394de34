"""Several rooms as one record, so that they are cast and shaded together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

import torch
from torch import Tensor

from rayzer.data.synthetic.casting import Solids
from rayzer.data.synthetic.shading import Lamps, Room
from rayzer.data.synthetic.shapes import SHAPES
from rayzer.data.synthetic.textures import MaterialTable
from rayzer.data.synthetic.tiles import PictureSet

Record = TypeVar("Record", Solids, Lamps)


def together(rooms: Sequence[Room], pictures: PictureSet | None = None) -> Room:
    """One record of `b` rooms: solids, lamps and ambient light get a leading dimension [b], materials share a table.

    Rooms are filled up with solids that nothing meets (at least one of each shape: `candidate_lists` relies on the
    last) and with dark lamps. `pictures` are what the numbered patterns of all rooms refer to.
    """
    firsts = list(accumulate((len(room.materials.glow) for room in rooms), initial=0))
    solids = []
    for shape in SHAPES:
        kinds = [_of_shape(shape, room.solids) for room in rooms]
        count = 1 + max(map(len, kinds))
        kinds = [
            _filled(replace(kind, skins=kind.skins + first), count) for kind, first in zip(kinds, firsts, strict=False)
        ]
        solids.append(_stacked(kinds))
    lamps = max(len(room.lamps.centers) for room in rooms)
    return Room(
        tuple(solids),
        replace(_one_table([room.materials for room in rooms]), pictures=pictures),
        _stacked([room.lamps.map(lambda value: _lengthened(value, lamps)) for room in rooms]),
        torch.stack([room.ambient for room in rooms]),
    )


def _of_shape(shape: str, solids: Sequence[Solids]) -> Solids:
    """The solids of a shape, perhaps none."""
    none = replace(solids[0].map(lambda value: value[:0]), shape=shape)
    return next((kind for kind in solids if kind.shape == shape), none)


def _filled(kind: Solids, count: int) -> Solids:
    """With so many more solids of no size, far away, that there are `count`."""
    filled = kind.map(lambda value: _lengthened(value, count))
    filled.centers[len(kind) :] = 1e6
    filled.world_from_local[len(kind) :] = torch.eye(3).to(filled.centers)
    return filled


def _lengthened(value: Tensor, count: int) -> Tensor:
    """Zeros appended to the first dimension."""
    return torch.cat([value, value.new_zeros(count - len(value), *value.shape[1:])])


def _stacked(records: Sequence[Record]) -> Record:
    columns = {name: [vars(record)[name] for record in records] for name in vars(records[0])}
    return replace(records[0], **{k: torch.stack(v) for k, v in columns.items() if isinstance(v[0], Tensor)})


def _one_table(tables: Sequence[MaterialTable]) -> MaterialTable:
    columns = {name: [vars(table)[name] for table in tables] for name in vars(tables[0])}
    return replace(tables[0], **{k: torch.cat(v) for k, v in columns.items() if isinstance(v[0], Tensor)})

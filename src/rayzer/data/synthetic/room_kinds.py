"""Kinds of rooms. A new kind is an entry of `ROOM_KINDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rayzer.data.synthetic import abstract_room
from rayzer.data.synthetic.furnishing import Furnishing
from rayzer.data.synthetic.lights import Rig
from rayzer.data.synthetic.parts import Part, Piece, Vector, at_wall
from rayzer.data.synthetic.pieces import decor, furniture, gallery, kitchen, playroom, workshop
from rayzer.data.synthetic.styles import Style

Range = tuple[float, float]


@dataclass(frozen=True)
class RoomKind:
    """A kind of room.

    Attributes:
        weight: how often it is drawn, relative to the others.
        half_side_m: range of half the width and of half the depth; height_m: range of the height.
        fill: (style, rng, half size) -> everything in the room and its light.
    """

    weight: float
    half_side_m: Range
    height_m: Range
    fill: Callable[[Style, np.random.Generator, Vector], Rig]

    def half_size(self, rng: np.random.Generator) -> Vector:
        """Half the width, height and depth of a room, metres."""
        x, z = rng.uniform(*self.half_side_m, 2).tolist()
        return x, float(rng.uniform(*self.height_m)) / 2, z


def _one_picture(style: Style, rng: np.random.Generator) -> list[Part]:
    return decor.picture(style, rng, float(rng.uniform(0.6, 1.1)), float(rng.uniform(0.5, 0.8)))


def _poster(style: Style, rng: np.random.Generator) -> list[Part]:
    return decor.poster(style, rng, float(rng.uniform(0.5, 0.8)), float(rng.uniform(0.6, 0.9)))


def _shelf(style: Style, rng: np.random.Generator) -> list[Part]:
    return decor.wall_shelf(style, rng, float(rng.uniform(0.6, 1.0)))


def _bench(style: Style, rng: np.random.Generator) -> Piece:
    return at_wall(gallery.museum_bench(style, rng))


_LIVING = Furnishing(
    low=(furniture.sofa, furniture.sideboard, furniture.desk, furniture.fireplace),
    tall=(furniture.bookcase, furniture.plant, furniture.floor_lamp, furniture.crates, furniture.plinth),
    hung=(decor.picture_row, decor.picture_row, _one_picture, _shelf, decor.wall_clock),
    middle=(furniture.table, furniture.table, furniture.basket, furniture.toy_ball),
    floor=(furniture.stool, furniture.toy_ball, furniture.armchair, furniture.basket),
    rug=0.8,
)
_BEDROOM = Furnishing(
    low=(furniture.bed, furniture.desk, furniture.sideboard),
    tall=(furniture.wardrobe, furniture.bookcase, furniture.plant, furniture.floor_lamp),
    hung=(decor.picture_row, _poster, _one_picture, _shelf),
    middle=(furniture.stool, furniture.table, furniture.armchair),
    floor=(furniture.basket, furniture.toy_ball, furniture.stool),
    rug=0.9,
)
_KITCHEN = Furnishing(
    low=(kitchen.counter, kitchen.counter, kitchen.sink, kitchen.stove),
    tall=(kitchen.fridge, kitchen.dresser, furniture.plant),
    hung=(kitchen.hanging_pots, _shelf, decor.wall_clock, decor.picture_row),
    middle=(kitchen.dining_table, furniture.table),
    floor=(kitchen.fruit_stool, furniture.basket, kitchen.chair),
    rug=0.3,
)
_WORKSHOP = Furnishing(
    low=(workshop.bench, workshop.barrels, workshop.crate_pile),
    tall=(workshop.rack, workshop.rack, workshop.cabinet, workshop.ladder),
    hung=(workshop.pipe_wall, workshop.tool_board, _poster),
    middle=(workshop.trestle, workshop.trestle, workshop.tyres),
    floor=(workshop.tyres, workshop.traffic_cone, workshop.sack, furniture.toy_blocks),
)
_PLAYROOM = Furnishing(
    low=(playroom.toy_chest, playroom.castle, furniture.bed),
    tall=(playroom.dolls_house, playroom.tent, furniture.bookcase),
    hung=(playroom.bunting, _poster, _shelf, decor.picture_row),
    middle=(playroom.play_table, playroom.block_pyramid),
    floor=(playroom.bear, playroom.train, playroom.ring_tower, playroom.block_pyramid, furniture.toy_ball),
    rug=0.7,
)
_GALLERY = Furnishing(
    low=(gallery.showcase, _bench, gallery.pedestal),
    tall=(gallery.pedestal, gallery.bust, gallery.easel, gallery.standing_hoop),
    hung=(gallery.large_picture, gallery.large_picture, gallery.relief, decor.picture_row),
    middle=(gallery.island, gallery.museum_bench),
    floor=(furniture.toy_blocks, furniture.stool),
)

ROOM_KINDS = {
    "living": RoomKind(1.0, (2.2, 3.2), (2.4, 3.1), _LIVING.furnish),
    "bedroom": RoomKind(0.7, (2.0, 2.7), (2.4, 2.8), _BEDROOM.furnish),
    "kitchen": RoomKind(0.9, (2.1, 3.0), (2.4, 3.0), _KITCHEN.furnish),
    "workshop": RoomKind(1.0, (2.3, 3.5), (2.7, 3.8), _WORKSHOP.furnish),
    "playroom": RoomKind(0.9, (2.1, 2.9), (2.4, 2.9), _PLAYROOM.furnish),
    "gallery": RoomKind(0.9, (2.5, 3.6), (2.9, 4.2), _GALLERY.furnish),
    "abstract": RoomKind(2.2, (2.0, 3.4), (2.5, 4.2), abstract_room.fill_room),
}

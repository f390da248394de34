"""Pictures of procedural rooms with exact cameras and depth: a pure function of a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rayzer.data.synthetic.batching import together
from rayzer.data.synthetic.camera_paths import camera_path
from rayzer.data.synthetic.casting import Rays, nearest
from rayzer.data.synthetic.composition import compose_room
from rayzer.data.synthetic.culling import dot
from rayzer.data.synthetic.records import TensorRecord
from rayzer.data.synthetic.shading import Room, radiance, tone_mapped
from rayzer.data.synthetic.tiles import PictureSet, atlas, tile_number
from rayzer.devices import on_one_thread
from rayzer.geometry.cameras import Cameras
from rayzer.geometry.precision import outside_autocast

Quality = Literal["full", "fast"]
DEVICES = ("cuda", "cpu")
"""Kinds of devices that rooms are rendered on, the fastest first."""

_BUNDLE_PX = 8  # rays are cast in bundles through squares of this side: few solids are in sight of each
_RAYS_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 25}  # what a CPU's cache holds; what keeps a GPU busy

# Where in a pixel (x, y from its upper left corner) rays go through: rows and columns are all different, so that
# edges that are nearly level or upright get as many shades as there are rays.
_OFFSETS_PX: dict[Quality, tuple[tuple[float, float], ...]] = {
    "full": ((0.375, 0.125), (0.875, 0.375), (0.125, 0.625), (0.625, 0.875)),
    "fast": ((0.25, 0.25), (0.75, 0.75)),
}


@dataclass(frozen=True, eq=False)
class ComposedRoom(TensorRecord):
    """A room and `v` cameras in it, float64 on the CPU: all that rendering needs besides the user's pictures.

    Worker processes can compose rooms while a GPU renders others: the record is small and quick to pickle.
    """

    room: Room
    world_from_camera: Tensor
    intrinsics: Tensor

    @property
    def cameras(self) -> Cameras:
        """The cameras [v], exact; the world has y down, its origin in the middle of the floor, metres."""
        return Cameras(self.world_from_camera, self.intrinsics)


@dataclass(frozen=True, eq=False)
class RoomViews:
    """Views of one room, or of `b` rooms: then everything has one more dimension [b] before the others.

    Attributes:
        images: float32 [v, 3, h, w] in [0, 1].
        cameras: [v], exact, float32; the world has y down, its origin in the middle of the floor, metres.
        depth: [v, h, w] distance along the optical axis of what the centre of each pixel sees, metres.
    """

    images: Tensor
    cameras: Cameras
    depth: Tensor


@on_one_thread()  # like all rendering: sums over several threads could round a texel otherwise
def draw_patterns() -> None:
    """Draw all patterns now, which takes a second, so that processes that are forked later need not do it again."""
    atlas(None, torch.device("cpu"))


@on_one_thread()
@torch.no_grad()
def compose(seed: int, views: int, span: float = 0.5, pictures: PictureSet | None = None) -> ComposedRoom:
    """The room of a seed and a hand-held camera path through it; takes some 50 ms.

    Args:
        seed: decides everything, together with the other arguments; non-negative.
        views: number of pictures, evenly spaced along the path.
        span: how far the path goes, as in `camera_path`.
        pictures: hang on walls and cover things, besides those drawn by rule; hand them to `render_rooms` too.

    Raises:
        NoClearPath: if no path of that span keeps clear of everything.
    """
    room = compose_room(seed, pictures)
    return _composed(room, camera_path([room], seed, views, span))


@on_one_thread()
@torch.no_grad()
def compose_pair(
    seed: int, views: int, span: float = 0.5, pictures: PictureSet | None = None
) -> tuple[ComposedRoom, ComposedRoom]:
    """Two rooms that have nothing in common but their cameras: the path is clear in both. Arguments as of `compose`.

    They tell whether cameras that a model estimates in one scene hold in another.
    """
    rooms = compose_room(2 * seed, pictures), compose_room(2 * seed + 1, pictures)
    cameras = camera_path(rooms, seed, views, span)
    return _composed(rooms[0], cameras), _composed(rooms[1], cameras)


def _composed(room: Room, cameras: Cameras) -> ComposedRoom:
    """Without the user's pictures themselves, which every room would carry along."""
    room = replace(room, materials=replace(room.materials, pictures=None))
    return ComposedRoom(room, cameras.world_from_camera, cameras.intrinsics)


def render_room(
    seed: int,
    views: int,
    image_size: int,
    span: float = 0.5,
    quality: Quality = "full",
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], object] | None = None,
) -> RoomViews:
    """Views [v] of the room of a seed along a hand-held camera path; arguments as of `compose` and `render_rooms`."""
    found = render_rooms([compose(seed, views, span)], image_size, quality, device, progress=progress)
    return RoomViews(found.images[0], found.cameras[0], found.depth[0])


@on_one_thread()
@torch.no_grad()
@outside_autocast
def render_rooms(
    rooms: Sequence[ComposedRoom],
    image_size: int,
    quality: Quality = "full",
    device: str | torch.device = "cpu",
    pictures: PictureSet | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> RoomViews:
    """Views [b, v] of rooms that have `v` cameras each.

    Args:
        rooms: what to render; a GPU is busy with a dozen rooms or more.
        image_size: height and width in pixels.
        quality: "full" casts four rays per pixel and shades each, "fast" two: that takes half as long.
        device: where to cast the rays and leave the result; a CPU uses one thread, so render rooms side by side.
        pictures: those that the rooms were composed with.
        progress: called as `progress(done, total)` after some pictures.

    Raises:
        ValueError: if the rooms were composed with more pictures than these.
    """
    offsets_px = torch.tensor(_OFFSETS_PX[quality], device=device)
    cameras = _stacked([room.cameras for room in rooms]).to(device, torch.float32)
    images = torch.empty(*cameras.shape, 3, image_size, image_size, device=device)
    depth = torch.empty(*cameras.shape, image_size, image_size, device=device)
    for some, now, batch in _batches(rooms, cameras, len(offsets_px) * image_size**2, pictures, progress):
        images[some, now] = _images(batch, cameras[some, now], image_size, offsets_px)
        depth[some, now] = _depth(batch, cameras[some, now], image_size)
    return RoomViews(images, cameras, depth)


@on_one_thread()
@torch.no_grad()
@outside_autocast
def render_images(
    rooms: Sequence[ComposedRoom],
    image_size: int,
    quality: Quality = "full",
    device: str | torch.device = "cpu",
    pictures: PictureSet | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Tensor:
    """Only the pictures [b, v, 3, h, w] of rooms: without depth small ones take a tenth less time.

    They are bit for bit those of `render_rooms`, whose arguments and errors these are.
    """
    offsets_px = torch.tensor(_OFFSETS_PX[quality], device=device)
    cameras = _stacked([room.cameras for room in rooms]).to(device, torch.float32)
    images = torch.empty(*cameras.shape, 3, image_size, image_size, device=device)
    for some, now, batch in _batches(rooms, cameras, len(offsets_px) * image_size**2, pictures, progress):
        images[some, now] = _images(batch, cameras[some, now], image_size, offsets_px)
    return images


@on_one_thread()
@torch.no_grad()
@outside_autocast
def render_depth(
    rooms: Sequence[ComposedRoom],
    cells: int,
    device: str | torch.device = "cpu",
    pictures: PictureSet | None = None,
) -> Tensor:
    """Depth alone, [b, v, cells, cells]: along the optical axis, in metres, of what the centres of cells see.

    Cells are equal squares of the pictures: with as many as pixels this is the depth of `render_rooms`, whose other
    arguments and errors these are.
    """
    cameras = _stacked([room.cameras for room in rooms]).to(device, torch.float32)
    depth = torch.empty(*cameras.shape, cells, cells, device=device)
    for some, now, batch in _batches(rooms, cameras, cells**2, pictures, None):
        depth[some, now] = _depth(batch, cameras[some, now], cells)
    return depth


def _batches(
    rooms: Sequence[ComposedRoom],
    cameras: Cameras,
    rays_per_view: int,
    pictures: PictureSet | None,
    progress: Callable[[int, int], object] | None,
) -> Iterator[tuple[slice, slice, Room]]:
    """Which rooms and which of their views are rendered at once, and these rooms on the device of the `cameras`.

    `progress` hears of each batch when the next one is asked for.
    """
    if max(int(item.room.materials.pattern.max()) for item in rooms) >= tile_number(len(pictures or ())):
        raise ValueError("these rooms were composed with a user's pictures: hand them over for rendering too")
    (count, views), device = cameras.shape, cameras.intrinsics.device
    at_once = max(1, _RAYS_AT_ONCE.get(device.type, _RAYS_AT_ONCE["cuda"]) // rays_per_view)
    rooms_at_once = max(1, at_once // views)
    for first in range(0, count, rooms_at_once):
        some = slice(first, min(first + rooms_at_once, count))
        batch = together([item.room for item in rooms[some]], pictures).single().to(device)
        for view in range(0, views, at_once):
            now = slice(view, min(view + at_once, views))
            yield some, now, batch
            if progress is not None:
                progress(some.start * views + (some.stop - some.start) * now.stop, count * views)


def _stacked(cameras: Sequence[Cameras]) -> Cameras:
    return Cameras.cat([each.map(lambda value: value[None]) for each in cameras])


def _rays(cameras: Cameras, image_size: int, offsets_px: Tensor) -> tuple[Rays, Tensor]:
    """Rays through all pixels of square pictures by cameras [b, v].

    Args:
        offsets_px: [s, 2] where in the pixels: x and y from their upper left corners.

    Returns:
        Rays [b, m, s, r], where m counts views, rows and columns of squares and r rows and columns of pixels, and their
        lengths [b, m, s, r] per unit of depth.
    """
    sides = -(-image_size // _BUNDLE_PX)
    side = torch.arange(sides * _BUNDLE_PX, device=offsets_px.device)
    place = side.view(sides, 1, _BUNDLE_PX) + offsets_px.T[:, None, :, None]  # [x y, squares, s, pixels]
    fx, fy, cx, cy = cameras.intrinsics_px(image_size, image_size).movedim(-1, 0)[..., None, None, None]
    across = ((place[0] - cx) / fx)[:, :, None, :, :, None, :]  # [b, v, rows, columns, s, rows, columns]
    along = ((place[1] - cy) / fy)[:, :, :, None, :, :, None]
    right, down, ahead = cameras.rotations.permute(3, 2, 0, 1)[..., None, None, None, None, None]
    directions = across * right + along * down + ahead
    length = dot(directions, directions).sqrt()
    shape = (len(cameras), cameras.shape[1] * sides**2, len(offsets_px), _BUNDLE_PX**2)
    origins = cameras.centers.permute(2, 0, 1)[..., None, None].expand(-1, -1, -1, sides**2, len(offsets_px))
    directions = (directions / length).reshape(3, *shape)
    return Rays(origins.reshape(3, *shape[:3]), directions), length.reshape(shape)


def _pictures(values: Tensor, views: int, image_size: int) -> Tensor:
    """[c, b, m, r] of bundles as pictures [b, v, c, h, w]."""
    sides = -(-image_size // _BUNDLE_PX)
    parts = values.unflatten(-1, (_BUNDLE_PX, _BUNDLE_PX)).unflatten(2, (views, sides, sides))
    return parts.permute(1, 2, 0, 3, 5, 4, 6).flatten(5).flatten(3, 4)[..., :image_size, :image_size]


def _images(room: Room, cameras: Cameras, image_size: int, offsets_px: Tensor) -> Tensor:
    """[b, v, 3, h, w]: the mean of the display values of all rays of each pixel."""
    rays, _ = _rays(cameras, image_size, offsets_px)
    # Smoothed to a whole pixel, textures have as much fine detail as photos of real rooms at the same size.
    spacing = 1 / (cameras.intrinsics[:, 0, 0] * image_size)
    pixels = tone_mapped(radiance(room, rays, 2 * offsets_px - 1, spacing)).mean(-2)
    return _pictures(pixels, cameras.shape[1], image_size)


def _depth(room: Room, cameras: Cameras, image_size: int) -> Tensor:
    """[b, v, h, w] depth along the optical axis of the rays through the pixels' centres."""
    rays, length = _rays(cameras, image_size, torch.full((1, 2), 0.5, device=cameras.intrinsics.device))
    distance, _ = nearest(room.solids, rays)
    return _pictures((distance / length)[None, :, :, 0], cameras.shape[1], image_size)[:, :, 0]

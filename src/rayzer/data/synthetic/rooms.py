"""Pictures of procedural rooms with exact cameras and depth: a pure function of a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from rayzer.data.synthetic.camera_paths import camera_path
from rayzer.data.synthetic.casting import Rays, in_sight, nearest
from rayzer.data.synthetic.composition import compose_room
from rayzer.data.synthetic.shading import Room, radiance, tone_mapped
from rayzer.geometry.cameras import Cameras

# Rays are cast in tiles: that bounds the memory, and few solids are in sight of a small tile. On a GPU the number
# of calls matters more.
_TILE_PX = {"cpu": 43, "cuda": 256}


@dataclass(frozen=True, eq=False)
class RoomViews:
    """Views of one room.

    Attributes:
        images: float32 [v, 3, h, w] in [0, 1].
        cameras: [v], exact; the world has y down, its origin in the middle of the floor, metres.
        depth: [v, h, w] distance along the optical axis of what the centre of each pixel sees, metres.
    """

    images: Tensor
    cameras: Cameras
    depth: Tensor


@contextmanager
def _on_one_thread() -> Iterator[None]:
    """Tiles are too small to split: more threads gain nothing, and waiting for one another on busy cores costs 5x."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_on_one_thread()
@torch.no_grad()
def render_room(
    seed: int,
    views: int,
    image_size: int,
    span: float = 0.5,
    supersampling: int = 2,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], object] | None = None,
) -> RoomViews:
    """Views of the room of a seed along a hand-held camera path.

    Args:
        seed: decides the room, its light and the path; non-negative.
        views: number of pictures, evenly spaced along the path.
        image_size: height and width in pixels.
        span: how far the path goes: 1 is roughly a quarter turn around the middle of the room.
        supersampling: rays per pixel along each axis; every pixel is their mean.
        device: where to cast the rays and leave the result; a CPU uses one thread, so render rooms side by side.
        progress: called as `progress(done, total)` after each picture.

    Raises:
        RuntimeError: if no path of that span keeps clear of everything.
    """
    room = compose_room(seed)
    cameras = camera_path(room.solids, room.solids[0].half_sizes[0], seed, views, span).to(device)
    room = room.to(device)
    images = torch.empty(views, 3, image_size, image_size, device=device)
    depth = torch.empty(views, image_size, image_size, device=device)
    for view in range(views):
        for rows, columns in _tiles(image_size, _TILE_PX.get(images.device.type, 64)):
            tile = Tile(cameras[view], image_size, rows, columns)
            images[view, :, rows, columns] = _tile_image(room, tile, supersampling)
            depth[view, rows, columns] = _tile_depth(room, tile)
        if progress is not None:
            progress(view + 1, views)
    return RoomViews(images, cameras, depth)


@dataclass(frozen=True, eq=False)
class Tile:
    """A window of a square picture of `image_size` pixels taken by one camera (batch shape [])."""

    camera: Cameras
    image_size: int
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def rays(self, offsets: Tensor) -> tuple[Rays, Tensor]:
        """One bundle of rays per offset [s, 2] (x, y from the pixels' upper left corners, in pixels).

        Returns:
            Rays of [s, pixels in row-major order], and their lengths per unit of depth, [s, pixels].
        """
        device = offsets.device
        y = torch.arange(self.rows.start, self.rows.stop, device=device)[:, None] + offsets[:, 1, None, None]
        x = torch.arange(self.columns.start, self.columns.stop, device=device) + offsets[:, 0, None, None]
        y, x = torch.broadcast_tensors(y, x)
        fx, fy, cx, cy = self.camera.intrinsics_px(self.image_size, self.image_size)
        right, down, ahead = self.camera.rotations.unbind(-1)
        along_x, along_y = ((x - cx) / fx).flatten(1)[..., None], ((y - cy) / fy).flatten(1)[..., None]
        directions = along_x * right + along_y * down + ahead
        length = directions.norm(dim=-1)
        return Rays(self.camera.centers.expand(len(offsets), 3), directions / length[..., None]), length


def _tiles(image_size: int, side_px: int) -> Iterator[tuple[slice, slice]]:
    sides = [slice(start, min(start + side_px, image_size)) for start in range(0, image_size, side_px)]
    return ((rows, columns) for rows in sides for columns in sides)


def _tile_image(room: Room, tile: Tile, supersampling: int) -> Tensor:
    """[3, h, w]: the mean of the display values of all rays of each pixel."""
    side = (torch.arange(supersampling, device=room.ambient.device) + 0.5) / supersampling
    y, x = torch.meshgrid(side, side, indexing="ij")
    offsets = torch.stack([x, y], -1).reshape(-1, 2)
    rays, _ = tile.rays(offsets)
    pixels = tone_mapped(radiance(room, rays, 2 * offsets - 1)).mean(0)
    return pixels.T.reshape(3, *tile.shape)


def _tile_depth(room: Room, tile: Tile) -> Tensor:
    """[h, w] depth along the optical axis of the rays through the pixels' centres."""
    rays, length = tile.rays(room.ambient.new_tensor([[0.5, 0.5]]))
    distance, _ = nearest(in_sight(room.solids, rays), rays)
    return (distance / length).reshape(tile.shape)

"""What pictures of rooms-v1's kind can be had by warping photos with the true depth, and how exact cameras must be.

    python examples/experiments/warped_photos.py 0 0.1 0.2 0.4

For each angle in degrees: PSNR of targets whose camera is turned by that angle about a random axis, every pixel put
together from the four nearest photos that see its point. Twelve rooms, span 0.5, views as in rooms-v1. docs/log.md.
"""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor
from torch.nn import functional as F

from rayzer.data.synthetic.rooms import RoomViews, compose, render_rooms
from rayzer.geometry.cameras import Cameras, rigid
from rayzer.geometry.rays import pixel_rays, project
from rayzer.geometry.rotations import rotation_from_vector

SIZE, SEEDS = 128, range(100, 112)
CONTEXT, TARGET = (0, 1, 3, 5, 6, 8, 10, 11), (2, 4, 7, 9)  # of 12 views
PHOTOS = 4  # that a pixel is put together from
SAME_SURFACE = 0.05  # of the depth


def turned(camera: Cameras, angle_deg: float, generator: torch.Generator) -> Cameras:
    axis = F.normalize(torch.randn(3, generator=generator), dim=0)
    turn = rotation_from_vector(axis * math.radians(angle_deg))
    return Cameras(rigid(turn @ camera.rotations, camera.centers), camera.intrinsics)


def points_of(camera: Cameras, depth: Tensor) -> Tensor:
    """[h * w, 3] world points that a camera sees at these depths [h, w]."""
    origins, directions = pixel_rays(camera, SIZE, SIZE)
    along = (directions * camera.rotations[:, 2]).sum(-1)
    return (origins + directions * (depth / along)[..., None]).reshape(-1, 3)


def warped(room: RoomViews, target: int, camera: Cameras) -> Tensor:
    """The picture [3, h, w] of a target from the photos nearest to it, if its camera were this one."""
    points = points_of(camera, room.depth[target])
    total, weights = torch.zeros(3, SIZE, SIZE), torch.zeros(SIZE, SIZE)
    for photo in sorted(CONTEXT, key=lambda view: abs(view - target))[:PHOTOS]:
        seen = project(room.cameras[photo], points).view(SIZE, SIZE, 3)
        grid = (2 * seen[..., :2] - 1)[None]
        colours = F.grid_sample(room.images[photo][None], grid, "bicubic", "border", align_corners=False)[0]
        depth = F.grid_sample(room.depth[photo][None, None], grid, align_corners=False)[0, 0]
        visible = ((seen[..., 2] - depth).abs() < SAME_SURFACE * seen[..., 2]) & (grid[0].abs().amax(-1) < 1)
        weight = visible / (photo - target) ** 2 + 1e-6
        total, weights = total + colours * weight, weights + weight
    return (total / weights).clamp(0, 1)


def score(room: RoomViews, angle_deg: float, generator: torch.Generator) -> float:
    """Mean PSNR in dB over the targets of a room."""
    values = []
    for target in TARGET:
        picture = warped(room, target, turned(room.cameras[target], angle_deg, generator))
        values.append(-10 * math.log10((picture - room.images[target]).square().mean().item()))
    return sum(values) / len(values)


def views_of(seed: int) -> RoomViews:
    """Twelve views of a room along its walk."""
    found = render_rooms([compose(seed, 24, 0.5)], SIZE)
    chosen = torch.linspace(0, 23, 12).round().long()
    return RoomViews(found.images[0, chosen], found.cameras[0, chosen], found.depth[0, chosen])


if __name__ == "__main__":
    rooms = [views_of(seed) for seed in SEEDS]
    for word in sys.argv[1:]:
        generator = torch.Generator().manual_seed(0)
        scores = [score(room, float(word), generator) for room in rooms]
        print(f"{float(word):5.2f} degrees: {sum(scores) / len(scores):.2f} dB", flush=True)

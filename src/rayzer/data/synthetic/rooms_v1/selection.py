"""How the rooms of rooms-v1 were chosen; run once, and its result is frozen in `attempts`.

A room is drawn again where its views barely overlap at the longest span, or hardly differ at the shortest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rayzer.data.synthetic.rooms import ComposedRoom, compose, compose_pair, render_rooms
from rayzer.data.synthetic.rooms_v1.definition import (
    CONTEXTS,
    IMAGE_SIZE,
    PAIR_SPAN,
    SPANS,
    TARGETS,
    VIEWS,
    nearest_context,
    pair_seed,
    room_seed,
)
from rayzer.data.synthetic.writing import with_views
from rayzer.geometry.cameras import Cameras
from rayzer.geometry.rays import pixel_rays, project

MAX_COPY_DB = 28.0  # more at the shortest span: the views hardly differ
MIN_SEEN_SHARE = 0.6  # less at the longest span, of any target in its nearest context view: they barely overlap

_FRAMES = tuple(sorted((*CONTEXTS[8], *TARGETS)))


def choose_room(number: int, device: str) -> int:
    """The first attempt for a room that is neither too easy nor too hard."""
    attempt = 0
    while not _suits_at_all_spans(room_seed(number, attempt), device):
        attempt += 1
    return attempt


def choose_pair(number: int, device: str) -> int:
    """The first attempt for a pair both rooms of which are neither too easy nor too hard."""
    attempt = 0
    while not _pair_suits(pair_seed(number, attempt), device):
        attempt += 1
    return attempt


def copy_nearest_db(room: ComposedRoom, device: str) -> Tensor:
    """PSNR [4] of the control: each target against its nearest of the eight context views."""
    return _judge(room, device)[0]


def _suits_at_all_spans(seed: int, device: str) -> bool:
    try:
        rooms = [compose(seed, VIEWS, span) for span in SPANS]
    except RuntimeError:  # there is no clear path of that span
        return False
    return _moves(rooms[0], device) and _overlaps(rooms[-1], device)


def _pair_suits(seed: int, device: str) -> bool:
    try:
        rooms = compose_pair(seed, VIEWS, PAIR_SPAN)
    except RuntimeError:
        return False
    return all(_moves(room, device) and _overlaps(room, device) for room in rooms)


def _moves(room: ComposedRoom, device: str) -> bool:
    return _judge(room, device)[0].mean().item() <= MAX_COPY_DB


def _overlaps(room: ComposedRoom, device: str) -> bool:
    return _judge(room, device)[1].min().item() >= MIN_SEEN_SHARE


def _judge(room: ComposedRoom, device: str) -> tuple[Tensor, Tensor]:
    """PSNR [4] of copying the nearest context view, and the share [4] of each target that lies within that view."""
    found = render_rooms([with_views(room, _FRAMES)], IMAGE_SIZE, device=device)
    images, cameras, depth = found.images[0], found.cameras[0], found.depth[0]
    scores, shares = [], []
    for target in TARGETS:
        own, other = _FRAMES.index(target), _FRAMES.index(nearest_context(target))
        scores.append(-10 * (images[own] - images[other]).square().mean().log10())
        shares.append(_share_within(cameras[own], depth[own], cameras[other]))
    return torch.stack(scores), torch.stack(shares)


def _share_within(camera: Cameras, depth: Tensor, other: Cameras) -> Tensor:
    """Share of the pixels of a view whose surfaces project into another view (hidden or not)."""
    height, width = depth.shape
    origins, directions = pixel_rays(camera, height, width)
    ahead = (directions * camera.rotations[:, 2]).sum(-1, keepdim=True)
    points = origins + directions / ahead * depth[..., None]
    x, y, ahead_of_other = project(other, points.flatten(0, 1)).unbind(-1)
    inside = (x.clamp(0, 1) == x) & (y.clamp(0, 1) == y) & (ahead_of_other > 0)
    return inside.float().mean()

"""How the rooms of rooms-v1 were chosen; run once, and its result is frozen in `attempts` and `record`.

A room is drawn again where its views barely overlap at the longest span, or hardly differ at the shortest.

    python -m rayzer.data.synthetic.rooms_v1.selection FOLDER     # needs a CUDA GPU; prints the control's scores
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from rayzer.data.synthetic.rooms import ComposedRoom, compose, compose_pair, render_rooms
from rayzer.data.synthetic.rooms_v1.definition import (
    CONTEXTS,
    IMAGE_SIZE,
    PAIR_SPAN,
    PAIRS,
    ROOMS,
    SPANS,
    TARGETS,
    VIEWS,
    benchmark_scenes,
    nearest_context,
    pair_seed,
    room_seed,
)
from rayzer.data.synthetic.rooms_v1.record import Record, publish, record_of
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


def _recorded(device: str, scene_number: int, attempt: int) -> tuple[str, str, Record, float]:
    """Name, group, record and the control's mean score of a scene, given which attempt was taken."""
    scene = list(benchmark_scenes())[scene_number]
    room = scene.compose(attempt)
    found = render_rooms([with_views(room, TARGETS)], IMAGE_SIZE, device=device)
    return scene.name, scene.group, record_of(room, found.images[0]), _judge(room, device)[0].mean().item()


def main(folder: Path, device: str = "cuda", workers: int = 8) -> None:
    """Choose all rooms and write `attempts.py` and the record into `folder`."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        rooms = list(pool.map(partial(choose_room, device=device), range(ROOMS)))
        pairs = list(pool.map(partial(choose_pair, device=device), range(PAIRS)))
        scenes = list(benchmark_scenes())
        taken = [(pairs if scene.group == "pairs" else rooms)[scene.number] for scene in scenes]
        recorded = list(pool.map(partial(_recorded, device), range(len(scenes)), taken, chunksize=8))
    source = Path(__file__).with_name("attempts.py").read_text(encoding="utf-8").split("ROOM_ATTEMPTS")[0]
    again = ({number: attempt for number, attempt in enumerate(taken) if attempt} for taken in (rooms, pairs))
    tables = "ROOM_ATTEMPTS: dict[int, int] = {}\nPAIR_ATTEMPTS: dict[int, int] = {}\n".format(*again)
    (folder / "attempts.py").write_text(source + tables, encoding="utf-8")
    publish({name: record for name, _, record, _ in recorded}, folder)
    for group in dict.fromkeys(group for _, group, _, _ in recorded):
        scores = torch.tensor([score for _, own, _, score in recorded if own == group])
        low, high = scores.min(), scores.max()
        print(f"{group:6} copy-nearest {scores.mean():.2f} dB (sd {scores.std():.2f}, {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

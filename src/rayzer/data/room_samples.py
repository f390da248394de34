"""Training samples of procedural rooms: endless, nothing on disk, exact cameras if they are asked for.

A room stands for a video of it: `frames` evenly spaced moments of one walk of the camera, both functions of the room's
seed. A sample takes frames of this video as it would of a file, by the same rules, and only these are rendered. So the
curriculum applies as it is, and one frame of one room is the same picture in every sample.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from rayzer.data.dataset import ATTEMPTS, CameraUse, Draw, Sample, scene_at
from rayzer.data.randomness import random_stream
from rayzer.data.synthetic.camera_paths import NoClearPath
from rayzer.data.synthetic.rooms import ComposedRoom, Quality, compose, draw_patterns, render_depth, render_images
from rayzer.data.synthetic.writing import MAX_SEED, with_views
from rayzer.data.view_sampling import ViewSampler, in_frame_order
from rayzer.data.views import to_uint8
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras, normalize_poses

TRAINING_SEEDS, VALIDATION_SEEDS = range(MAX_SEED // 2, MAX_SEED // 4 * 3), range(MAX_SEED // 4 * 3, MAX_SEED)
"""Of the rooms that samples show: beyond the demo's, those of the documentation and whatever `rayzer data synthesize`
makes with a `--seed` below 2**38 (pairs of seed s are made of the rooms 2s and 2s + 1), and below all benchmarks'."""

SPAN = (0.25, 1.0)  # from the shortest to the longest walks of rooms-v1
MOST_ROOMS = 10**6  # if their number is limited: every process keeps the order of two epochs, 8 bytes a room
RECENT_ROOMS = 128  # composed, a room takes about 50 kB, and 40 ms


class RoomSamples:
    """Samples of rooms: a `Sampled`.

    Args:
        views: chooses the frames; its largest distance is the length of every room's video.
        image_size: height and width in pixels.
        cameras: whether samples have cameras, and which; the stored ones have y down, metres, and their origin in the
            middle of the room's floor.
        quality: as in `render_rooms`.
        span: shortest and longest walk through a room, from its first frame to its last, uniform in between; as in
            `compose`.
        rooms: how many different rooms there are, each once an epoch: a few, to see whether a model can learn them by
            heart. They are the same for all seeds of a run. None for a new room in every sample.
        seeds: of all these rooms; those for validation are never trained on.
        depth_cell: also give the depth at the centres of cells of so many pixels; 0 for no depth.

    Raises:
        InputError: naming the argument, if a number is out of range.
    """

    def __init__(
        self,
        views: ViewSampler,
        image_size: int,
        cameras: CameraUse = "none",
        quality: Quality = "fast",
        span: tuple[float, float] = SPAN,
        rooms: int | None = None,
        seeds: range = TRAINING_SEEDS,
        depth_cell: int = 0,
    ):
        if not 8 <= image_size <= 4096:
            raise InputError(f"rooms: image_size = {image_size}: expected 8 to 4096")
        if not 0 <= span[0] <= span[1] <= 4:
            raise InputError(f"rooms: span = {list(span)}: must be [shortest, longest], both in 0 to 4")
        if rooms is not None and not 1 <= rooms <= MOST_ROOMS:
            raise InputError(f"rooms: rooms = {rooms}: expected 1 to {MOST_ROOMS:,}, or none for no limit")
        assert depth_cell == 0 or image_size % depth_cell == 0
        self.views, self.image_size, self.cameras, self.depth_cell = views, image_size, cameras, depth_cell
        self.quality: Quality = quality
        self.span, self.rooms, self.seeds = (float(span[0]), float(span[1])), rooms, seeds
        self.frames = 1 + max(views.config.start_distance[1], views.config.end_distance[1])
        draw_patterns()

    def sample(self, draw: Draw) -> Sample:
        """See `Sampled`; a room without a clear path is passed over: nothing is wrong with the data.

        Images are bytes of the rendered values in [0, 1]: times 255, rounded.
        """
        for attempt in range(ATTEMPTS):
            seed = self.room_seed(draw, attempt)
            try:
                room = video(seed, self.frames, self.span)
            except NoClearPath:
                continue
            return self._sample(room, seed, draw)
        raise InputError(
            f"step {draw.step}: {ATTEMPTS} rooms in a row have no clear path of span {list(self.span)}; shorten it"
        )

    def room_seed(self, draw: Draw, attempt: int = 0) -> int:
        """Which room the sample of a draw shows; later attempts name others."""
        if self.rooms is not None:
            return self.seeds[scene_at(draw.seed, draw.number, self.rooms, attempt)]
        rng = random_stream(draw.seed, "room", draw.number, attempt)
        return int(rng.integers(self.seeds.start, self.seeds.stop))

    def _sample(self, room: ComposedRoom, seed: int, draw: Draw) -> Sample:
        rng = random_stream(draw.seed, "views of a room", draw.step, draw.slot)
        chosen, split = in_frame_order(self.views.draw_views(self.frames, draw.step, draw.counts, rng))
        frames = chosen[0]
        seen = with_views(room, frames.tolist())
        images = to_uint8(render_images([seen], self.image_size, self.quality)[0])
        images = images.contiguous(memory_format=torch.channels_last)
        depth_m = render_depth([seen], self.image_size // self.depth_cell)[0] if self.depth_cell else None
        return Sample(images, frames, split, f"room {seed}", self._cameras(seen.cameras), depth_m)

    def _cameras(self, exact: Cameras) -> Cameras | None:
        if self.cameras == "none":
            return None
        cameras = exact.to(torch.float32)
        if self.cameras == "stored":
            return cameras
        return Cameras(normalize_poses(cameras.world_from_camera), cameras.intrinsics)


@lru_cache(maxsize=RECENT_ROOMS)
def video(seed: int, frames: int, span: tuple[float, float]) -> ComposedRoom:
    """The room of a seed with the cameras of all frames of its walk.

    Raises:
        NoClearPath: if no such walk keeps clear of everything.
    """
    return compose(seed, frames, span_of(seed, span))


def span_of(seed: int, span: tuple[float, float]) -> float:
    """How far the walk through the room of a seed goes, uniform between shortest and longest."""
    return float(random_stream(seed, "span of a room").uniform(*span))

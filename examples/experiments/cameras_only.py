"""Train the camera estimator of an AnyViewRayZer alone, on the camera anchor: half a minute a variant on one H200.

    python examples/experiments/cameras_only.py rooms.pt points plain:points=0 few:rooms=500

The file of rooms is made where there is none. Each variant is NAME or NAME:key=value,... with the keys of `Variant`.
All pictures lie on the device, and the last 128 rooms are held out; printed are pose figures of 8 views of
those, 24 frames apart. What came of it: docs/log.md.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from rayzer.configs.presets import anyview_rooms
from rayzer.data.parallel import available_cpus, in_order, worker_pool
from rayzer.data.synthetic.camera_paths import NoClearPath
from rayzer.data.synthetic.room_jobs import ROOMS_AT_ONCE
from rayzer.data.synthetic.rooms import ComposedRoom, compose, render_depth, render_images
from rayzer.data.views import to_uint8
from rayzer.errors import InputError, one_line
from rayzer.evaluation.poses import mean_pose_scores, pose_scores
from rayzer.geometry.cameras import Cameras
from rayzer.model.acceleration import compile_blocks, set_recomputation
from rayzer.model.anyview import AnyViewConfig, ViewCameraEstimator
from rayzer.strict import build
from rayzer.training.camera_training import camera_anchor, changed_pictures, point_anchor
from rayzer.training.optim import Optimizer, learning_rate
from rayzer.training.recipe import CameraConfig, OptimizerConfig

VIEWS, HELD_OUT = 8, 128
ROOMS, FRAMES, SIZE, PATCH = 2400, 48, 128, 8


@dataclass(frozen=True)
class Variant:
    """What is tried: from which step on any view is the canonical one, changed pictures, rates and sizes.

    `rooms` are how many it learns from, of those there are. `points` weighs what every patch is asked for besides: the
    point that it shows.
    """

    any_after: int = 10**9
    changed: float = 0.0
    rate: float = 1e-3
    layers: int = 6
    points: float = 1.0
    width: int = 256
    batch: int = 64
    rooms: int = 10**9
    steps: int = 1000


@dataclass(frozen=True)
class Drawn:
    """Views [b, v] of rooms: images [b, v, 3, h, w], and the depth [b, v, rows, columns] at the centres of patches."""

    images: Tensor
    cameras: Cameras
    depth_m: Tensor


class Rooms:
    """Rooms on a device, and random views of them."""

    def __init__(self, file: Path, device: torch.device):
        if not file.is_file():
            torch.save(rendered(device), file)
        self.images, self.poses, self.intrinsics, self.depth_m = torch.load(file, map_location=device)
        if self.depth_m.shape[2:] != (SIZE // PATCH, SIZE // PATCH):
            raise InputError(f"{file}: is of another version of this script; delete it, and it is made anew")

    def draw(self, rooms: range, count: int, spans: tuple[int, int], generator: torch.Generator) -> Drawn:
        """Views of `count` rooms that are so many frames apart, from first to last."""

        def random(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=self.images.device)

        room = (rooms.start + random(count) * len(rooms)).long()[:, None]
        span = (spans[0] + random(count, 1) * (spans[1] + 1 - spans[0])).long()
        place = random(count, VIEWS).sort(1).values
        place[:, 0], place[:, -1] = 0, 1
        frame = (random(count, 1) * (self.images.shape[1] - span)).long() + (place * span).round().long()
        images = self.images[room, frame].float() / 255
        cameras = Cameras(self.poses[room, frame], self.intrinsics[room, frame])
        return Drawn(images, cameras, self.depth_m[room, frame].float())


def rendered(device: torch.device) -> tuple[Tensor, ...]:
    """Images [rooms, frames, 3, h, w] (uint8), poses, intrinsics, and depth at the centres of patches."""
    parts: list[tuple[Tensor, ...]] = []
    with worker_pool(available_cpus()) as pool:
        composed = (room for room in in_order(pool, walk, range(ROOMS), ahead=3 * ROOMS_AT_ONCE) if room is not None)
        while batch := list(itertools.islice(composed, ROOMS_AT_ONCE)):
            images = to_uint8(render_images(batch, SIZE, "fast", device))
            cameras = Cameras.cat([room.cameras.map(lambda value: value[None]) for room in batch])
            cameras = cameras.to(device, torch.float32)
            depth = render_depth(batch, SIZE // PATCH, device).half()
            parts.append((images, cameras.world_from_camera, cameras.intrinsics, depth))
    return tuple(torch.cat(each) for each in zip(*parts, strict=True))


def walk(seed: int) -> ComposedRoom | None:
    try:
        return compose(seed, FRAMES, 1.0)
    except NoClearPath:
        return None


class Alone(nn.Module):
    """A model that is nothing but its camera estimator."""

    def __init__(self, config: AnyViewConfig):
        super().__init__()
        self.camera_estimator = ViewCameraEstimator(config)
        self.renderer = nn.Module()
        self.renderer.transformer = nn.Module()
        self.renderer.transformer.blocks = nn.ModuleList()


def train(name: str, variant: Variant, rooms: Rooms) -> None:
    torch.manual_seed(0)
    device, count = rooms.images.device, len(rooms.images)
    base = anyview_rooms().model
    assert isinstance(base, AnyViewConfig)
    config = replace(base, width=variant.width, camera_layers=variant.layers, patch_points=variant.points > 0)
    model = Alone(config).to(device).train()
    set_recomputation(model, "none")
    if device.type == "cuda":
        compile_blocks(model)  # type: ignore[arg-type]
    recipe = OptimizerConfig("muon", "wsd", variant.rate, warmup_steps=100, decay_share=0.25)
    optimizer = Optimizer(model, recipe)
    changes = CameraConfig(colour=variant.changed, blurred=0.3 * variant.changed, patch_drop=0.25 * variant.changed)
    generator, started = torch.Generator(device).manual_seed(1), time.perf_counter()
    training, held_out = range(min(variant.rooms, count - HELD_OUT)), range(count - HELD_OUT, count)
    for step in range(variant.steps):
        batch = rooms.draw(training, variant.batch, (10, 30), generator)
        shown = changed_pictures(batch.images, changes, config.patch_size) if variant.changed else batch.images
        canonical = VIEWS // 2 if step < variant.any_after else int(torch.randint(VIEWS, ()))
        with torch.autocast(device.type, torch.bfloat16):
            predicted, points = model.camera_estimator(shown, None, canonical)
        loss = camera_anchor(predicted, batch.cameras, canonical)
        if points is not None:
            loss = loss + variant.points * point_anchor(points, batch.cameras, batch.depth_m, canonical)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(learning_rate(step, variant.steps, recipe))
        if (step + 1) % (variant.steps // 4) == 0:
            figures = held_out_scores(model, rooms, held_out)
            print(f"{name:>16} step {step + 1:5d} {time.perf_counter() - started:4.0f} s  {figures}", flush=True)


@torch.no_grad()
def held_out_scores(model: Alone, rooms: Rooms, held_out: range) -> str:
    generator = torch.Generator(rooms.images.device).manual_seed(2)
    drawn = rooms.draw(held_out, HELD_OUT, (24, 24), generator)
    with torch.autocast(drawn.images.device.type, torch.bfloat16):
        predicted, _ = model.camera_estimator(drawn.images, None, VIEWS // 2)
    scores = mean_pose_scores(
        [pose_scores(a.to("cpu"), b.to("cpu")) for a, b in zip(predicted, drawn.cameras, strict=True)]
    )
    return (
        f"RPA@5 {scores.rpa[5]:.3f} RPA@15 {scores.rpa[15]:.3f} ATE {scores.ate:.3f} "
        f"rotation {scores.rotation_error_deg:.2f} deg, focal {scores.focal_error:.3f}"
    )


def parsed(word: str) -> tuple[str, Variant]:
    name, _, pairs = word.partition(":")
    values = {key: value for key, _, value in (pair.partition("=") for pair in pairs.split(",") if pair)}
    return name, build(Variant, values, word, name)


def main(file: Path, words: list[str]) -> None:
    variants = [parsed(word) for word in words]  # mistakes are told before rooms are made
    rooms = Rooms(file, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    for name, variant in variants:
        train(name, variant, rooms)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except InputError as error:
        print(one_line(str(error)), file=sys.stderr)
        sys.exit(2)

"""Which parts of its cameras a checkpoint gets wrong on rooms-v1: across, down, along; pitch, yaw, roll.

    rayzer data synthesize rooms-v1 --benchmark rooms-v1
    python examples/experiments/camera_errors.py src/rayzer/assets/anyview-rooms rooms-v1 32

Root mean squares over so many rooms (the first of span 0.5, 8 + 4 views), in the frame of the canonical view; distances
in mean distances from it, predicted ones after the scale that fits best. What came of it: docs/log.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

import rayzer
from rayzer.data.formats import read_scene
from rayzer.data.views import decode_views
from rayzer.evaluation.presets import BENCHMARKS
from rayzer.geometry.cameras import Cameras
from rayzer.model.camera_estimator import canonical_index
from rayzer.training.camera_training import in_gauge

SIZE, PATCH = 128, 8


def small_turn_deg(rotations: Tensor) -> Tensor:
    """About x, y and z [..., 3] of rotations [..., 3, 3] that are small."""
    skew = (rotations - rotations.mT) / 2
    return torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1).rad2deg()


def parts(predicted: Cameras, true: Cameras) -> Tensor:
    """Mean squares [4, 3] over the views of a room: errors and true values of centres, then of rotations."""
    (true,) = in_gauge(true[None], canonical_index(len(true), "middle"))
    scale = (predicted.centers * true.centers).sum() / predicted.centers.square().sum()
    turned = small_turn_deg(true.rotations.mT @ predicted.rotations)
    values = [scale * predicted.centers - true.centers, true.centers, turned, small_turn_deg(true.rotations)]
    return torch.stack(values).square().mean(1)


@torch.no_grad()
def main(checkpoint: str, benchmark: Path, count: int) -> None:
    model = rayzer.load_model(checkpoint)
    assert not isinstance(model, rayzer.LVSM)  # which is given its cameras
    scenes, index, _, _ = BENCHMARKS["rooms_v1"].files(benchmark)
    views = json.loads(index.read_text(encoding="utf-8"))
    found = []
    for line in scenes.read_text(encoding="utf-8").splitlines()[:count]:
        scene = read_scene(benchmark / line)
        chosen = views[scene.name]
        seen = decode_views(scene, sorted(chosen["context"] + chosen["target"]), SIZE, SIZE, PATCH)
        assert seen.cameras is not None  # those of rooms are known
        found.append(parts(model.estimate_cameras(seen.images[None])[0], seen.cameras))
    names = ("centre error (x y z)", "true centre", "rotation error, degrees", "true rotation")
    for name, values in zip(names, torch.stack(found).mean(0).sqrt().tolist(), strict=True):
        print(f"{name:>24} " + " ".join(f"{value:6.3f}" for value in values))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

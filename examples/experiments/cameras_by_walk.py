"""How right the cameras of a checkpoint are in procedural rooms, by the span of the walk and the part that is seen.

    python examples/experiments/cameras_by_walk.py src/rayzer/assets/anyview-rooms 951000 0.5
    python examples/experiments/cameras_by_walk.py src/rayzer/assets/anyview-rooms 951000 1 12 36

Arguments: checkpoint, seed of the first of 32 rooms, span, first and last of the 48 frames (else all of the walk).
Twelve views, two rays a pixel. Rooms of training (the model card names their seeds) tell what it knows by heart. What
came of it: docs/log.md.
"""

from __future__ import annotations

import itertools
import sys

import torch

import rayzer
from rayzer.data.synthetic.camera_paths import NoClearPath
from rayzer.data.synthetic.rooms import ComposedRoom, compose, render_images
from rayzer.data.synthetic.writing import with_views
from rayzer.data.views import evenly_spaced, to_uint8
from rayzer.evaluation.poses import mean_pose_scores, pose_scores
from rayzer.geometry.cameras import Cameras
from rayzer.model.camera_estimator import canonical_index
from rayzer.training.camera_training import camera_anchor

ROOMS, FRAMES, VIEWS, SIZE = 32, 48, 12, 128


def walk(seed: int, span: float) -> ComposedRoom | None:
    try:
        return compose(seed, FRAMES, span)
    except NoClearPath:
        return None


@torch.no_grad()
def main(checkpoint: str, first_seed: int, span: float, first: int = 0, last: int = FRAMES - 1) -> None:
    model = rayzer.load_model(checkpoint)
    assert not isinstance(model, rayzer.LVSM)  # which is given its cameras
    frames = [first + place for place in evenly_spaced(VIEWS, last - first + 1)]
    rooms = filter(None, (walk(seed, span) for seed in itertools.count(first_seed)))
    predicted, true = [], []
    for room in itertools.islice(rooms, ROOMS):
        seen = with_views(room, frames)
        images = to_uint8(render_images([seen], SIZE, "fast")).float() / 255
        predicted.append(model.estimate_cameras(images))
        true.append(seen.cameras.to(torch.float32)[None])
    found, known = Cameras.cat(predicted), Cameras.cat(true)
    scores = mean_pose_scores([pose_scores(a, b) for a, b in zip(found, known, strict=True)])
    anchor = camera_anchor(found, known, canonical_index(VIEWS, "middle"))
    print(
        f"anchor {anchor:.3f}  RPA@5 {scores.rpa[5]:.2f}  RPA@15 {scores.rpa[15]:.2f}  ATE {scores.ate:.3f}  "
        f"rotation {scores.rotation_error_deg:.2f} degrees"
    )


if __name__ == "__main__":
    checkpoint, seed, span, *part = sys.argv[1:]
    main(checkpoint, int(seed), float(span), *map(int, part))

"""`rayzer demo`: the main job on procedural rooms, whose true cameras are known."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

import torch

from rayzer.data.exchange import frames_from_cameras
from rayzer.data.scenes import Scene
from rayzer.data.synthetic.rooms import render_room
from rayzer.data.synthetic.writing import MAX_SEED
from rayzer.data.views import decode_views, to_uint8
from rayzer.devices import Runtime, on_one_thread
from rayzer.evaluation.controls import copy_nearest
from rayzer.evaluation.metrics import psnr, ssim
from rayzer.evaluation.poses import PoseScores, mean_pose_scores, pose_scores
from rayzer.evaluation.results import FORMAT
from rayzer.files import output_folder
from rayzer.model.rayzer import RayZerConfig
from rayzer.model.weights import ModelConfig, build_model, fingerprint, load_model
from rayzer.prediction.embedded import NAME, embedded_checkpoint
from rayzer.prediction.outputs import WRITES, check_destination
from rayzer.prediction.path import PathRequest
from rayzer.prediction.photos import Chosen
from rayzer.prediction.predict import Checkpoint, Outcome, predict_photos
from rayzer.prediction.selection import select_views
from rayzer.progress import progress_bar
from rayzer.view_split import ViewSplit

ROOMS = {"room-1": 3 * MAX_SEED + 5, "room-2": 3 * MAX_SEED + 10}
"""Name and seed: no training shows these rooms, and `rayzer data synthesize` makes none of them, nor pairs of them."""
SPAN = 0.5
RANDOM_MODEL = RayZerConfig(
    image_height=128,
    image_width=128,
    context_views=8,
    target_views=4,
    patch_size=8,
    width=192,
    head_width=64,
    camera_layers=2,
    scene_layers=2,
    renderer_layers=2,
    scene_tokens=256,
)


@dataclass(frozen=True, eq=False)
class Demo:
    """What a demo left behind.

    Attributes:
        pages: a page for each room.
        is_random: whether the weights were random, because none come with this version.
        results: the content of `results.json`.
        poses: mean figures of the estimated against the true cameras.
    """

    pages: list[Path]
    is_random: bool
    results: dict
    poses: PoseScores


@on_one_thread()  # pictures of 128x128 pixels are small
def run_demo(out: Path | None, overwrite: bool = False) -> Demo:
    """Predict every demo room and write pages, files and `results.json`.

    The weights are those that come with the package, or random ones where none do.

    Args:
        out: output folder; None for the next free `rayzer-demo-N`. The first room lies directly in it, the others in
            folders of their names.
        overwrite: replace what an earlier demo left there.

    Raises:
        InputError: if the folder is not empty (without `overwrite`) or cannot be written.
    """
    out = out or next(folder for n in count(1) if not (folder := Path(f"rayzer-demo-{n}")).exists())
    check_destination(out, overwrite, writes=(*WRITES, *ROOMS))
    runtime = Runtime.choose()
    checkpoint = _embedded_or_random(runtime)
    folders = [Path(), *(Path(name) for name in list(ROOMS)[1:])]
    outcomes = []
    with output_folder(out, overwrite) as staging:
        for folder, (name, seed) in zip(folders, ROOMS.items(), strict=True):
            chosen = render_chosen(name, seed, checkpoint.model.config)
            outcomes.append(
                predict_photos(chosen, checkpoint, PathRequest.parse(), runtime, staging / folder, overwrite=True)
            )
        content = results_file(outcomes, checkpoint)
        (staging / "results.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    pages = [out / folder / "index.html" for folder in folders]
    return Demo(pages, checkpoint.is_random, content, mean_pose_scores([_poses(outcome) for outcome in outcomes]))


def render_chosen(name: str, seed: int, config: ModelConfig) -> Chosen:
    """A procedural room as photos that a model will see, with their true cameras."""
    total = config.context_views + config.target_views
    width, height = config.image_width, config.image_height
    with progress_bar(f"Rendering {name}") as advance:
        room = render_room(seed, total, height, SPAN, progress=advance)
    pixels = to_uint8(room.images).permute(0, 2, 3, 1).numpy()
    names = [f"view {index:02d}" for index in range(total)]
    known = frames_from_cameras(room.cameras, names, [Path(view) for view in names], width, height)
    frames = tuple(replace(frame, image=pixels[index]) for index, frame in enumerate(known))
    scene = Scene(name, frames, Path(name))
    selection = select_views(total, config.context_views, config.target_views)
    return Chosen(scene, selection, decode_views(scene, selection.indices, width, height, config.patch_size), ())


def results_file(outcomes: list[Outcome], checkpoint: Checkpoint) -> dict:
    """`results.json` in the form that `rayzer evaluate` writes, with the scores alone."""
    scenes = [_scene_result(outcome) for outcome in outcomes]
    copies = [_copy_nearest_psnr(outcome) for outcome in outcomes]
    summary = {key: sum(scene[key] for scene in scenes) / len(scenes) for key in ("psnr", "ssim")}
    return {
        "format": FORMAT,
        "summary": {**summary, "lpips": None, "scenes": len(scenes)},
        "scenes": scenes,
        "controls": {"copy_nearest": {"psnr": sum(copies) / len(copies)}},
        "config": asdict(checkpoint.model.config),
        "checkpoint": {"path": checkpoint.name, "sha256": fingerprint(checkpoint.model)},
    }


def _scene_result(outcome: Outcome) -> dict:
    scores = {"psnr": outcome.psnr_db.tolist(), "ssim": ssim(outcome.targets, outcome.renders).tolist()}
    views = [
        {"index": index, "psnr": scores["psnr"][number], "ssim": scores["ssim"][number], "lpips": None}
        for number, index in enumerate(outcome.encoded.targets)
    ]
    means = {key: sum(values) / len(values) for key, values in scores.items()}
    return {"name": outcome.encoded.name, **means, "lpips": None, "views": views}


def _copy_nearest_psnr(outcome: Outcome) -> float:
    images = outcome.encoded.images.float() / 255
    split = ViewSplit(*(torch.tensor([views]) for views in (outcome.encoded.context, outcome.encoded.targets)))
    copies = copy_nearest(images[None], torch.arange(len(images))[None], split)
    return float(psnr(outcome.targets, copies[0]).mean())


def _poses(outcome: Outcome) -> PoseScores:
    encoded = outcome.encoded
    assert encoded.true_cameras is not None  # those of procedural rooms are known
    return pose_scores(encoded.cameras, encoded.true_cameras)


def _embedded_or_random(runtime: Runtime) -> Checkpoint:
    folder = embedded_checkpoint()
    if folder is not None:
        return Checkpoint(load_model(folder, device=runtime.device), NAME)
    torch.manual_seed(0)
    return Checkpoint(build_model(RANDOM_MODEL).to(runtime.device).eval(), "random weights", is_random=True)

"""What the prediction's page says; how it looks is the report's business."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from rayzer.devices import Runtime
from rayzer.evaluation.poses import PoseScores, pose_scores
from rayzer.geometry.cameras import Cameras
from rayzer.model.weights import kind_of
from rayzer.prediction.embedded import CAUTION
from rayzer.prediction.encoded import EncodedScene
from rayzer.prediction.outputs import FRAMES, IMAGES, ORIGINAL, RENDERS, picture_names, there_and_back
from rayzer.prediction.path import PathRequest
from rayzer.report.parts import MODELS, Download, Fact, Notice
from rayzer.report.prediction_page import FlyThrough, PredictionPage, View, write_prediction_page

if TYPE_CHECKING:
    from rayzer.prediction.predict import Checkpoint

DOWNLOADS = (
    Download("cameras.json", "cameras.json", "Cameras of all views, with the convention spelled out"),
    Download("transforms.json", "transforms.json", "The same for nerfstudio, for the processed photos"),
    Download("sparse/0", "sparse/0", "The same as a COLMAP model, text and binary"),
    Download(ORIGINAL, ORIGINAL, "The original photos with their cameras, for nerfstudio, gsplat and COLMAP"),
    Download("flythrough.mp4", "flythrough.mp4", "The fly-through"),
    Download(FRAMES, FRAMES, "Its frames"),
    Download("camera_path.json", "camera_path.json", "Its cameras, for rayzer predict --path and for nerfstudio"),
    Download(
        "scene.safetensors", "scene.safetensors", "The encoded scene: rayzer predict renders it again, along any path"
    ),
)


def write_page(
    scene: EncodedScene,
    checkpoint: Checkpoint,
    path: PathRequest,
    way: Cameras,
    scores_db: Tensor,
    runtime: Runtime,
    seconds: float,
    folder: Path,
) -> None:
    """Write `folder/index.html` for a prediction whose other files are there already.

    Args:
        way: cameras of the fly-through's frames.
        scores_db: PSNR of every target view.
    """
    height, width = scene.images.shape[-2:]
    poses = way.world_from_camera.tolist()
    page = PredictionPage(
        title=scene.name,
        width_px=width,
        height_px=height,
        views=_views(scene, scores_db),
        fly_through=FlyThrough(
            "flythrough.mp4", f"{FRAMES}/00000.png", width, height, there_and_back(poses) if path.goes_back else poses
        ),
        notices=_notices(scene, checkpoint),
        downloads=[download for download in DOWNLOADS if (folder / download.path).exists()],
        facts=_facts(scene, checkpoint, runtime, seconds),
        cameras_given=not checkpoint.model.estimates_cameras,
    )
    write_prediction_page(folder / "index.html", page)


def _views(scene: EncodedScene, scores_db: Tensor) -> list[View]:
    names = picture_names(scene)
    scores = dict(zip(scene.targets, scores_db.tolist(), strict=True))
    true = scene.true_cameras
    return [
        View(
            name=view.name,
            role="target" if view.is_target else "context",
            picture=f"{IMAGES}/{names[index]}",
            world_from_camera=scene.cameras[index].world_from_camera.tolist(),
            intrinsics=scene.cameras[index].intrinsics.tolist(),
            true_world_from_camera=None if true is None else true[index].world_from_camera.tolist(),
            render=f"{RENDERS}/{names[index]}" if view.is_target else None,
            psnr_db=scores.get(index),
            repeated=view.repeated,
        )
        for index, view in enumerate(scene.views)
    ]


def _notices(scene: EncodedScene, checkpoint: Checkpoint) -> list[Notice]:
    notices = []
    if checkpoint.is_random:
        notices.append(
            Notice(
                "warning", "The weights are random, nothing was learned: pictures are noise and cameras mean nothing."
            )
        )
    if not checkpoint.model.cameras_are_geometric:
        notices.append(
            Notice(
                "warning",
                "The cameras of this checkpoint need not be geometric: they are what its renderer needs, which may not "
                "be where the photos were taken. Their scale is arbitrary.",
            )
        )
    return notices + [Notice("warning" if note == CAUTION else "info", note) for note in scene.notes]


def _facts(scene: EncodedScene, checkpoint: Checkpoint, runtime: Runtime, seconds: float) -> list[Fact]:
    height, width = scene.images.shape[-2:]
    parameters = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    return [
        Fact("Model", f"{MODELS[kind_of(checkpoint.model.config)]}, {parameters / 1e6:.1f} M parameters"),
        Fact("Checkpoint", checkpoint.name),
        Fact("Fingerprint of its weights", scene.fingerprint[:16]),
        Fact("Views", f"{len(scene.context)} context + {len(scene.targets)} held out, {width}x{height} pixels"),
        *_pose_facts(scene, checkpoint),
        Fact("Computed on", str(runtime)),
        Fact("Time", f"{seconds:.1f} s"),
    ]


def _pose_facts(scene: EncodedScene, checkpoint: Checkpoint) -> list[Fact]:
    """How well the estimated cameras agree with the known ones, if there are any."""
    if scene.true_cameras is None or not checkpoint.model.estimates_cameras:
        return []
    return [Fact("Cameras against the known ones", agreement(pose_scores(scene.cameras, scene.true_cameras)))]


def agreement(scores: PoseScores) -> str:
    """Pose figures in words."""
    share, ate = scores.rpa[15], scores.ate
    pairs = "no figures" if share is None else f"{100 * share:.0f} % of the pairs of views within 15 degrees"
    return pairs if ate is None else f"{pairs}; positions off by {100 * ate:.0f} % of the size of the path"

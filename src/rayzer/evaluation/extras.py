"""What is made once all scenes are scored: videos of some of them, and the pose probe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from rayzer.data.views import evenly_spaced, to_uint8
from rayzer.devices import Runtime
from rayzer.evaluation.probe import ProbeScene, ProbeTraining, probe_scores, train_probe
from rayzer.evaluation.scenes import EvaluationScene, load_sample, normalised
from rayzer.evaluation.settings import EvaluationConfig
from rayzer.evaluation.work import SCENES, TOKENS, WEBP_QUALITY
from rayzer.geometry.cameras import Cameras
from rayzer.geometry.trajectories import interpolate
from rayzer.model.unposed import UnposedModel
from rayzer.model.weights import Model
from rayzer.progress import progress_bar
from rayzer.rendering.video import write_mp4

FRAMES, FPS = 48, 24.0
LEAST_FOR_PROBE = 8  # scenes, half of them to learn from


def fly_throughs(
    entries: Sequence[dict[str, Any]],
    scenes: Sequence[EvaluationScene],
    model: Model,
    runtime: Runtime,
    folder: Path,
    config: EvaluationConfig,
) -> list[dict[str, Any]]:
    """The entries of all scenes, some with a video through the scene along its cameras.

    Args:
        entries: of `results.json`.
        scenes: more than those; found by name.
        folder: has a folder for each scene, into which the videos go.
    """
    chosen = _worth_seeing(entries, config.fly_throughs)
    folders = scene_folders(entries)
    by_name = {scene.name: scene for scene in scenes}
    films: dict[int, dict[str, Any]] = {}
    with progress_bar("Fly-throughs") as advance:
        for done, number in enumerate(chosen):
            advance(done, len(chosen))
            name = folders[number]
            films[number] = _film(by_name[entries[number]["name"]], model, runtime, folder / name, f"{SCENES}/{name}")
        advance(len(chosen), len(chosen))
    return [{**entry, "fly_through": films.get(number)} for number, entry in enumerate(entries)]


def _worth_seeing(entries: Sequence[dict[str, Any]], count: int) -> list[int]:
    """Evenly from the best to the worst score; of three the one between is the page's median scene."""
    known = [number for number, entry in enumerate(entries) if entry["psnr"] is not None]
    ranked = sorted(known, key=lambda number: (-entries[number]["psnr"], number))
    if not (count and ranked):
        return []
    return sorted(ranked[place] for place in evenly_spaced(min(count, len(ranked)), len(ranked)))


@torch.no_grad()
def _film(scene: EvaluationScene, model: Model, runtime: Runtime, folder: Path, path: str) -> dict[str, Any]:
    sample = load_sample(scene, model.config)
    images = (sample.images.float() / 255)[None].to(runtime.device)
    split = sample.split.to(runtime.device)
    with runtime.autocast():
        if isinstance(model, UnposedModel):
            cameras = model.estimate_cameras(images, model.positions_of(sample.frames[None].to(runtime.device)))
        else:
            cameras = normalised([sample.cameras], [scene.name]).to(runtime.device)
        latent = model.reconstruct(split.context_of(images), split.context_of(cameras), split.context)
        way = interpolate(cameras[0].to("cpu"), FRAMES)
        step = runtime.views_at_once
        parts = [way[first : first + step].to(runtime.device) for first in range(0, FRAMES, step)]
        frames = [_array(picture) for part in parts for picture in model.render(latent, part[None])[0].float()]
    write_mp4(folder / "fly.mp4", [*frames, *frames[-2:0:-1]], FPS)
    Image.fromarray(frames[0]).save(folder / "fly.webp", quality=WEBP_QUALITY)
    poses = np.round(way.world_from_camera.double().numpy(), 6).tolist()
    return {"video": f"{path}/fly.mp4", "poster": f"{path}/fly.webp", "path": [*poses, *poses[-2:0:-1]]}


def _array(picture: Tensor) -> np.ndarray:
    return np.ascontiguousarray(to_uint8(picture).permute(1, 2, 0).cpu().numpy())


def probe_section(
    folder: Path, entries: Sequence[dict[str, Any]], model: UnposedModel, runtime: Runtime
) -> tuple[dict[str, Any] | None, str]:
    """Train the pose probe on the first half of the scenes, score it on the others; or None and why not.

    Args:
        folder: has a folder for each scene, with its tokens where true cameras are known.
    """
    stored = [load_file(file) for name in scene_folders(entries) if (file := folder / name / TOKENS).is_file()]
    if len(stored) < LEAST_FOR_PROBE:
        return None, f"it needs {LEAST_FOR_PROBE} scenes with true cameras, there are {len(stored)}"
    scenes = [ProbeScene(each["tokens"], Cameras(each["world_from_camera"], each["intrinsics"])) for each in stored]
    half = (len(scenes) + 1) // 2  # not every second one: lists of pairs have one path in two scenes in a row
    learned, unseen, training = scenes[:half], scenes[half:], ProbeTraining()
    with progress_bar("Pose probe") as advance:
        probe = train_probe(learned, model.config.canonical, training, runtime.device, advance)
    counts = {"train_scenes": len(learned), "test_scenes": len(unseen), "iterations": training.iterations}
    return {**counts, **probe_scores(probe, unseen).as_json()}, ""


def scene_folders(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the folders of scenes."""
    return [Path(entry["context"][0]["picture"]).parent.name for entry in entries]

"""The scenes of an evaluation: which frames of each a model sees, checked before any long work starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from rayzer.data.dataset import Sample
from rayzer.data.formats import read_scene
from rayzer.data.images import fit_cover
from rayzer.data.parallel import available_cpus
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import ReadOptions, SceneRef, leave_out
from rayzer.data.view_index import ViewIndex
from rayzer.data.view_sampling import in_frame_order
from rayzer.data.views import decode_frames, fitted_cameras
from rayzer.errors import InputError
from rayzer.geometry.cameras import Cameras, normalize_poses
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.weights import ModelConfig
from rayzer.progress import Advance
from rayzer.view_split import ViewSplit


@dataclass(frozen=True, eq=False)
class EvaluationScene:
    """One scene, reduced to the frames that are used.

    Attributes:
        ref: where it lies.
        name: its own name.
        numbers: v positions in the scene's `frames`, ascending; a frame that is context and target comes twice.
        frames: those frames.
        split: context and target as positions among the v views, batch size 1.
    """

    ref: SceneRef
    name: str
    numbers: tuple[int, ...]
    frames: tuple[Frame, ...]
    split: ViewSplit

    @property
    def counts(self) -> tuple[int, int]:
        """How many context and target views there are."""
        return self.split.context.shape[1], self.split.target.shape[1]


@dataclass(frozen=True, eq=False)
class Failure:
    """A scene that cannot be evaluated, and the line that says why."""

    name: str
    error: str


@dataclass(frozen=True)
class Selected:
    """What of a list of scenes is evaluated, and what is not.

    Attributes:
        scenes: those that the view index has views for.
        failed: those that cannot be read.
        null: names of scenes whose entry in the index is null.
        absent: names of scenes without an entry.
    """

    scenes: tuple[EvaluationScene, ...]
    failed: tuple[Failure, ...]
    null: tuple[str, ...]
    absent: tuple[str, ...]


def select_scenes(
    refs: Sequence[SceneRef],
    index: ViewIndex,
    keep_going: bool = False,
    allow_outside: bool = False,
    advance: Advance = lambda done, total: None,
) -> Selected:
    """Read all scenes of a list and keep the frames that the index names.

    Args:
        keep_going: list scenes that cannot be read instead of stopping at the first.
        allow_outside: as in `ReadOptions`.

    Raises:
        InputError: naming scene and frame, if one cannot be read (unless `keep_going`) or the index names a frame that
            is not there; if two scenes have one name; if no scene is left.
    """
    scenes: list[EvaluationScene] = []
    failed: list[Failure] = []
    left_out: dict[bool, list[str]] = {True: [], False: []}
    sources: dict[str, SceneRef] = {}
    for done, ref in enumerate(refs):
        advance(done, len(refs))
        try:
            found = read_indexed(ref, index, allow_outside)
        except InputError as error:
            if not keep_going:
                raise
            failed.append(Failure(str(ref), str(error)))
            continue
        name = found if isinstance(found, str) else found.name
        if name in sources:
            both = f"has the name {name!r} of {sources[name]}"
            raise InputError(f"{ref}: {both}; view indices go by name, so rename one of the scenes")
        sources[name] = ref
        if isinstance(found, EvaluationScene):
            scenes.append(found)
        else:
            left_out[name in index.splits].append(name)
    if not scenes:
        if failed:
            raise InputError(failed[0].error)
        raise InputError(f"{index.path}: has views for none of {len(refs)} scenes; is it the index of other data?")
    return Selected(tuple(scenes), tuple(failed), tuple(left_out[True]), tuple(left_out[False]))


def read_indexed(ref: SceneRef, index: ViewIndex, allow_outside: bool = False) -> EvaluationScene | str:
    """One scene with the frames that the index names; its name alone if there are none.

    Pictures that are not used may be missing.

    Raises:
        InputError: if the scene cannot be read, or a frame is not there.
    """
    lost: list[str] = []
    scene = read_scene(ref, ReadOptions(allow_outside, report=leave_out(lost)))
    try:
        split = index.split_of(scene)
    except InputError as error:
        raise InputError(f"{error} ({lost[0]})" if lost else str(error)) from None
    return scene.name if split is None else _reduced(ref, scene, split)


def _reduced(ref: SceneRef, scene: Scene, split: ViewSplit) -> EvaluationScene:
    numbers, positions = in_frame_order(split)
    chosen = tuple(numbers[0].tolist())
    return EvaluationScene(ref, scene.name, chosen, tuple(scene.frames[number] for number in chosen), positions)


def check_pictures(scenes: Sequence[EvaluationScene], model: ModelConfig, advance: Advance) -> list[Failure]:
    """Decode every picture that will be used as it will be, so that bad ones are known of before the model is.

    Returns:
        the scenes that cannot be used.
    """
    failed: list[Failure] = []
    with ThreadPoolExecutor(available_cpus()) as threads:
        errors = threads.map(partial(_error, model=model), scenes)
        for done, (scene, error) in enumerate(zip(scenes, errors, strict=True), start=1):
            failed += [] if error is None else [Failure(scene.name, error)]
            advance(done, len(scenes))
    return failed


def _error(scene: EvaluationScene, model: ModelConfig) -> str | None:
    try:
        sample = load_sample(scene, model)
        if isinstance(model, LVSMConfig):
            normalised([sample.cameras], [str(scene.ref)])
    except InputError as error:
        return str(error)
    return None


def normalised(given: Sequence[Cameras | None], scenes: Sequence[str]) -> Cameras:
    """Known cameras [b, v] as LVSM was trained on them.

    Raises:
        InputError: naming the scene, if one has none or they cannot be normalised.
    """
    poses = []
    for name, cameras in zip(scenes, given, strict=True):
        if cameras is None:
            raise InputError(f"{name}: this checkpoint needs known cameras, and the scene has none; leave it out")
        try:
            poses.append(Cameras(normalize_poses(cameras.world_from_camera), cameras.intrinsics))
        except ValueError as error:
            raise InputError(f"{name}: {error}; leave the scene out") from None
    return Cameras.cat([cameras.map(lambda value: value[None]) for cameras in poses])


def fingerprint(scene: EvaluationScene) -> str:
    """SHA-256 of all that is read of a scene; picture files go by size and time."""
    digest = hashlib.sha256()
    digest.update(json.dumps([scene.name, scene.numbers, *(part.tolist() for part in _parts(scene.split))]).encode())
    for frame in scene.frames:
        pose = b"" if frame.world_from_camera is None else frame.world_from_camera.tobytes()
        digest.update(repr([frame.name, frame.width_px, frame.height_px, frame.fxfycxcy_px]).encode() + pose)
        if isinstance(frame.image, Path):
            stat = frame.image.stat()
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _parts(split: ViewSplit) -> tuple[Tensor, Tensor]:
    return split.context, split.target


def load_sample(scene: EvaluationScene, model: ModelConfig) -> Sample:
    """Decode a scene's views at the size of a model; cameras as stored, None where they are not known.

    Raises:
        InputError: naming the file, if a picture cannot be used.
    """
    fit = partial(fit_cover, width=model.image_width, height=model.image_height, patch_size=model.patch_size)
    pixels, fits = decode_frames(scene.frames, fit)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    numbers = torch.tensor(scene.numbers, dtype=torch.int64)
    return Sample(images, numbers, scene.split, scene.name, fitted_cameras(scene.frames, fits))

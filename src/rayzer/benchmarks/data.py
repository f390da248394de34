"""How fast training samples come out of the loader: loose JPEG and PNG files against packed scenes."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rayzer.data.dataset import SampleStream, SceneSamples
from rayzer.data.images import Preprocessing
from rayzer.data.loader import Batch, training_batches
from rayzer.data.packing import pack_scene
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.rayzer_json import write_rayzer_json
from rayzer.data.sources.source import SceneRef
from rayzer.data.view_sampling import ViewConfig, ViewSampler

CONTEXT, TARGET = 16, 8
WIDTH_PX, HEIGHT_PX = 960, 540
PICTURES = 32  # different ones
FRAMES = 330  # in a scene, as in DL3DV: they are parsed for every sample
SCENES = 200  # more than a worker keeps, as in a real data set
ROUNDS = 5
ROUND_S = 1.0

_NEVER = 10**12


@dataclass(frozen=True)
class Rate:
    """How fast samples of 24 views are made: the median of five rounds of a second or more."""

    name: str
    workers: int
    samples_per_s: float
    images_per_s: float


def measure(
    name: str, scenes: Sequence[SceneRef], preprocessing: Preprocessing, workers: int, round_s: float = ROUND_S
) -> Rate:
    """Measure the loader on a list of scenes of at least 24 frames each.

    Args:
        name: what the result is called.
        scenes: where samples come from.
        preprocessing: how their pictures are resized and cropped.
        workers: processes that decode; 0 for this one.
        round_s: length of a round in seconds.

    Raises:
        InputError: if no sample can be made.
    """
    views = ViewSampler(ViewConfig((CONTEXT + TARGET - 1, 96), (CONTEXT + TARGET - 1, 96), 0), CONTEXT, TARGET)
    source = SceneSamples(scenes, views, preprocessing.fit, allow_outside=True)
    batches = training_batches(SampleStream(source, views, seed=0, batch_size=1), range(_NEVER), workers)
    for _ in range(4 * workers + 1):  # until workers have started and those waiting are used up
        next(batches)
    samples_per_s = statistics.median(_round(batches, round_s) for _ in range(ROUNDS))
    return Rate(name, workers, samples_per_s, samples_per_s * (CONTEXT + TARGET))


def made_up_scenes(folder: Path, preprocessing: Preprocessing) -> Iterator[tuple[str, list[SceneRef]]]:
    """Write three lists of scenes with the same pictures: loose JPEG, loose PNG, packed. Yields name and scenes.

    Pictures have noise on soft shapes, so that they compress and decode about like photos.
    """
    pictures = [_picture(number) for number in range(PICTURES)]
    jpeg = _loose(folder / "jpg", pictures, quality=90)
    yield f"loose JPEG {WIDTH_PX}x{HEIGHT_PX}", _many(folder / "jpg scenes", jpeg.source)
    png = _loose(folder / "png", pictures, compress_level=6)
    yield f"loose PNG {WIDTH_PX}x{HEIGHT_PX}", _many(folder / "png scenes", png.source)
    packed = folder / "packed.safetensors"
    pack_scene(jpeg, preprocessing, packed)
    yield f"packed {preprocessing.image_size}x{preprocessing.image_size}", _many(folder / "packed scenes", packed)


def table(rates: Sequence[Rate]) -> str:
    """The results as lines of text."""
    lines = [f"{'':24} {'workers':>7} {'samples/s':>10} {'images/s':>10}"]
    lines += [
        f"{rate.name[:24]:24} {rate.workers:7} {rate.samples_per_s:10.1f} {rate.images_per_s:10.0f}" for rate in rates
    ]
    return "\n".join(lines)


def _round(batches: Iterator[Batch], seconds: float) -> float:
    """Samples per second."""
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        count += len(next(batches))
    return count / elapsed


def _picture(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    soft = Image.fromarray(rng.integers(0, 256, (9, 16, 3), np.uint8)).resize((WIDTH_PX, HEIGHT_PX))
    noisy = np.asarray(soft) + rng.normal(0, 4, (HEIGHT_PX, WIDTH_PX, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _loose(folder: Path, pictures: Sequence[Image.Image], **options: Any) -> Scene:
    """A scene in `folder`, whose name is the pictures' suffix."""
    folder.mkdir(parents=True)
    files = [folder / f"{number}.{folder.name}" for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        picture.save(file, **options)
    frames = (Frame(file.name, file, WIDTH_PX, HEIGHT_PX) for file in itertools.islice(itertools.cycle(files), FRAMES))
    scene = Scene("made up", tuple(frames), folder)
    write_rayzer_json(scene, folder)
    return scene


def _many(folder: Path, scene: Path) -> list[SceneRef]:
    """The same scene under many names, none of which is still in memory when its turn comes again."""
    folder.mkdir()
    links = [folder / f"{number}{scene.suffix}" for number in range(SCENES)]
    for link in links:
        link.symlink_to(scene, target_is_directory=scene.is_dir())
    return [SceneRef(link) for link in links]

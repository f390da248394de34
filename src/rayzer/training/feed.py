"""From a configuration to this process's batches, step after step, whatever happens to the workers."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path

from rayzer.data.bad_data import BadData, check_scenes
from rayzer.data.dataset import CameraUse, Sampled, SampleStream, SceneSamples
from rayzer.data.formats import search_scenes
from rayzer.data.images import Preprocessing
from rayzer.data.loader import Batch, training_batches
from rayzer.data.mixture import Mixture
from rayzer.data.room_samples import TRAINING_SEEDS, RoomSamples
from rayzer.data.view_sampling import ViewSampler
from rayzer.data.views import evenly_spaced
from rayzer.errors import InputError, RunError
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.weights import ModelConfig
from rayzer.training.distributed import World
from rayzer.training.recipe import DataConfig, SourceConfig, TrainingConfig

RESTARTS = 3  # in a row without a single batch
_LOOKED_AT = 16  # scenes of a source

log = logging.getLogger("rayzer")


def training_samples(model: ModelConfig, config: TrainingConfig, steps: range) -> SampleStream:
    """The samples of a run; some scenes are looked at first, so that a list that cannot be used is refused at once.

    Raises:
        InputError: if there are no scenes or they cannot be used; the message names key or scene.
    """
    views = ViewSampler(config.views, model.context_views, model.target_views)
    sources = sources_of(config)
    if config.cameras.anchor > 0 and not any(source.anchored for source in sources):
        raise InputError(
            "training.cameras.anchor: no source is anchored, so that there is nothing to compare cameras with; say "
            "anchored: true in training.data.mix, add rooms (training.data.rooms), or set it to 0"
        )
    parts = [(_source(source, model, config, views, steps), source.weight) for source in sources]
    have_depth = [_has_depth(part, model.patch_size) for part, _ in parts if config.cameras.points > 0]
    if have_depth and not any(have_depth):
        raise InputError(
            "training.cameras.points: no anchored scene that was looked at has depth; add procedural rooms "
            "(training.data.rooms), make some with `rayzer data synthesize --packed --depth-cell "
            f"{model.patch_size}`, or set it to 0"
        )
    source: Sampled = parts[0][0] if len(parts) == 1 else Mixture(parts)
    return SampleStream(source, views, config.seed, config.batch_size)


def sources_of(config: TrainingConfig) -> tuple[SourceConfig, ...]:
    """Where samples come from; procedural rooms, whose cameras are known, anchor those of the model."""
    data = config.data
    if data.mix:
        return data.mix
    scenes = SourceConfig(data.scenes, data.format, 1 - data.rooms) if data.rooms < 1 else None
    rooms = SourceConfig(weight=data.rooms, anchored=True) if data.rooms > 0 else None
    if scenes is not None and not data.scenes:
        raise InputError(
            "training.data.scenes is empty: name a scene list or a folder of scenes, or train on procedural rooms with "
            "training.data.rooms=1"
        )
    return tuple(source for source in (scenes, rooms) if source is not None)


def _source(
    source: SourceConfig, model: ModelConfig, config: TrainingConfig, views: ViewSampler, steps: range
) -> Sampled:
    """Samples of one source; some of its scenes are looked at."""
    is_read = source.anchored and config.cameras.anchor > 0 and camera_use(model) == "none"
    cameras = "stored" if is_read else camera_use(model)
    depth = is_read and config.cameras.points > 0
    if not source.scenes:
        return room_samples(model, views, cameras, TRAINING_SEEDS, depth)
    scenes = scene_samples(model, config.data, source.scenes, source.format, views, cameras, depth)
    check_scenes(scenes, steps, config.data.allowed_bad_share)
    return scenes


def _has_depth(source: Sampled, patch_size: int) -> bool:
    """Whether samples have it, judged by some scenes.

    Raises:
        InputError: if it is not known at the centres of patches.
    """
    if not isinstance(source, SceneSamples):
        return isinstance(source, RoomSamples) and source.depth_cell > 0
    found = False
    for index in evenly_spaced(min(_LOOKED_AT, len(source.scenes)), len(source.scenes)) if source.depth else []:
        try:
            scene, _ = source.read(source.scenes[index])
        except InputError:  # told of, or refused, by `check_scenes`
            continue
        for frame in scene.frames:
            if frame.depth_m is None:
                continue
            found, patches = True, (frame.height_px // patch_size, frame.width_px // patch_size)
            if frame.depth_m.shape != patches:
                have, want = (f"{rows}x{columns}" for rows, columns in (frame.depth_m.shape, patches))
                raise InputError(
                    f"{source.scenes[index]}: depth is known at {have} places of a picture, not at the centres of its "
                    f"{want} patches; make the rooms again with --depth-cell {patch_size}"
                )
    return found


def scene_samples(
    model: ModelConfig,
    config: DataConfig,
    path: str,
    format: str,
    views: ViewSampler,
    cameras: CameraUse,
    depth: bool = False,
) -> SceneSamples:
    """Samples of the scenes at a path, in a format (empty to recognise it).

    Raises:
        InputError: if there are none.
    """
    fit = Preprocessing(min(model.image_height, model.image_width), model.patch_size, config.square_crop).fit
    refs = search_scenes(Path(path).expanduser(), format)
    return SceneSamples(refs, views, fit, cameras, config.allow_outside, depth)


def room_samples(
    model: ModelConfig, views: ViewSampler, cameras: CameraUse, seeds: range, depth: bool = False
) -> RoomSamples:
    """Samples of the procedural rooms of these seeds; with depth at the centres of the model's patches.

    Raises:
        InputError: if the model's pictures are not square.
    """
    if model.image_height != model.image_width:
        raise InputError(
            f"training.data.rooms: rooms are square, the model's pictures are {model.image_width}x{model.image_height}"
        )
    depth_cell = model.patch_size if depth else 0
    return RoomSamples(views, model.image_height, cameras, seeds=seeds, depth_cell=depth_cell)


def camera_use(model: ModelConfig) -> CameraUse:
    """LVSM takes normalised cameras; the others are trained on pictures alone (but for anchored sources)."""
    return "normalized" if isinstance(model, LVSMConfig) else "none"


class Feed:
    """Micro-batches of this process.

    A worker that died or hangs is replaced: samples are a function of their place, so that nothing is lost.

    Args:
        stream: all samples of the run.
        steps: from the step at which the run starts or resumes.
        config: of the run.
        world: this process among all.
        bad_data: told of problems with scenes.
        report: told of workers that were lost.

    Attributes:
        share: samples of this process in every step.
        waited_s: time spent waiting for the batches of the last step.
        scenes: the names of its samples.
        last: its last batch, as it came from the loader.
    """

    def __init__(
        self,
        stream: SampleStream,
        steps: range,
        config: TrainingConfig,
        world: World,
        bad_data: BadData,
        report: Callable[..., None],
    ):
        self.stream, self.steps, self.config, self.world = stream, steps, config, world
        self.bad_data, self.report = bad_data, report
        self.waited_s = 0.0
        self.scenes: list[str] = []
        self.last: Batch  # there is one after the first step
        self.share = stream.batch_size // world.size
        self.at_once = min(config.samples_at_once, self.share) if self.share else 1
        self._batches: Iterator[Batch] | None = None
        self._workers: list[BaseProcess] = []

    def close(self) -> None:
        """End the workers, also those that do not react; Python would wait for them when it ends."""
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def step(self, step: int) -> Iterator[Batch]:
        """The batches of a step, which must be the one after the last."""
        done, self.waited_s, self.scenes = 0, 0.0, []
        while done < self.share:
            started = time.perf_counter()
            self.world.at("waiting for data", step)
            batch = self.last = self._next(step, done)
            self.world.at("training", step)
            self.waited_s += time.perf_counter() - started
            self.scenes += batch.scenes
            self.bad_data.log_problems(batch.problems)
            done += len(batch)
            yield batch

    def _next(self, step: int, done: int) -> Batch:
        reason = ""
        for _ in range(1 + RESTARTS):
            try:
                if self._batches is None:
                    self._batches = self._start(step, done // self.at_once)
                with self._patience():
                    return next(self._batches)
            except RuntimeError as error:  # what the loader raises for dead and silent workers
                if not self.config.data.workers:
                    raise
                reason, self._batches = str(error).splitlines()[0], None
                self.close()
                log.warning("step %d: data workers are started again (%s)", step, reason)
                self.report("data workers started again", step=step, problem=reason)
        raise RunError(f"step {step}: data workers failed {1 + RESTARTS} times in a row; the last: {reason}")

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Around waiting for a batch: workers are killed when the loader, which notices most faults, does not either.

        It waits for ever where a worker was stopped after it had sent word of a batch and before it handed it over.
        """
        timer = threading.Timer(2 * self.config.data.timeout_s, self._kill_workers)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _kill_workers(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _start(self, step: int, skipped: int) -> Iterator[Batch]:
        """The batches from a step on, without the first ones of it; workers have started."""
        batches = training_batches(
            self.stream,
            range(step, self.steps.stop),
            self.config.data.workers,
            self.world.rank,
            self.world.size,
            samples_at_once=self.at_once,
            timeout_s=self.config.data.timeout_s,
        )
        # The loader's own handler of SIGCHLD raises wherever the main thread is, in the middle of an update, say.
        handler, others = signal.getsignal(signal.SIGCHLD), set(active_children())
        try:
            with self._patience():
                first = next(islice(batches, skipped, None))
        finally:
            self._workers = [process for process in active_children() if process not in others]
            if threading.current_thread() is threading.main_thread():
                is_loaders = getattr(handler, "__module__", "").startswith("torch.utils.data")
                signal.signal(signal.SIGCHLD, signal.SIG_DFL if is_loaders else handler)
        return chain([first], batches)

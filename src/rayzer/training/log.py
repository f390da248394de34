"""What a run says: files that are always written, a line on the terminal, pictures, and trackers that are optional.

The first process speaks for all; the others have a log that says nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayzer.training.camera_pictures import camera_picture
from rayzer.training.distributed import World
from rayzer.training.feed import Feed
from rayzer.training.pictures import contact_sheet, save_png
from rayzer.training.records import Events, Report, StepRecords
from rayzer.training.run_folder import RunConfig
from rayzer.training.speed import SpeedMeter
from rayzer.training.status_line import StatusLine
from rayzer.training.step import StepResult, Trainer, sample_prediction
from rayzer.training.trackers import InBackground, Trackers, start_tensorboard, start_wandb

log = logging.getLogger("rayzer")


@contextmanager
def events_of(folder: Path, world: World) -> Iterator[Report]:
    """A function `report(event, **values)` that adds a line to `events.jsonl`, or does nothing.

    Raises:
        InputError: if the file cannot be written.
    """
    if not world.is_first:
        yield lambda event, **values: None
        return
    events = Events(folder / "events.jsonl")
    try:
        yield events.write
    finally:
        events.close()


@contextmanager
def open_log(
    folder: Path, config: RunConfig, world: World, trainer: Trainer, first_step: int, report: Report
) -> Iterator[RunLog]:
    """The log of a run from `first_step` on.

    Raises:
        InputError: if its files cannot be written, or a tracker that is asked for cannot be had.
    """
    if not world.is_first:
        yield SilentLog()
        return
    run_log = FirstLog(folder, config, trainer, first_step, report)
    try:
        yield run_log
    finally:
        run_log.close()


class RunLog:
    """What the loop tells."""

    def step(self, step: int, result: StepResult, feed: Feed, seconds: float) -> None:
        """A step is done; it took so long, waiting for data included."""

    def not_finite(self, step: int, ranks: tuple[int, ...], scenes: str) -> None:
        """Loss or gradient of these ranks was not finite; those were their scenes."""

    def validation(self, steps: int, scores: dict[str, float]) -> None:
        """Held-out samples were scored after so many steps."""

    def pictures(self, steps: int, trainer: Trainer, feed: Feed) -> None:
        """Show some of the last samples after so many steps; all processes must call this together."""
        sample_prediction(trainer, feed.last)


class SilentLog(RunLog):
    """Of the processes that are not the first."""


class FirstLog(RunLog):
    """Of the first process; see `open_log`."""

    def __init__(self, folder: Path, config: RunConfig, trainer: Trainer, first_step: int, report: Report):
        self.folder, self.report = folder, report
        self.batch_size = config.training.batch_size
        self._metrics = StepRecords(folder / "metrics.jsonl", first_step)
        self._timing = StepRecords(folder / "timing.jsonl", first_step)
        self._validation = StepRecords(folder / "validation.jsonl", first_step + 1)
        self._trackers = Trackers(_trackers(folder, config, first_step, report))
        self._speed = SpeedMeter(config, trainer.world)
        self._line = StatusLine(config.training.steps, first_step)
        if self._metrics.lost:
            report("metrics lost", steps=self._metrics.lost)

    def step(self, step: int, result: StepResult, feed: Feed, seconds: float) -> None:
        """See `RunLog`."""
        values = {
            **result.values,
            "lr": result.learning_rate,
            "grad_norm": result.gradient_norm,
            "skipped": result.skipped,
            "replaced": result.replaced,
        }
        speed = self._speed.of_step(feed.last.split, seconds, feed.waited_s)
        self._metrics.write(step, values)
        self._timing.write(step, speed)
        self._trackers.scalars(step, {**values, **{f"speed/{name}": value for name, value in speed.items()}})
        self._line.update(step, {**values, **speed, "scenes": self.batch_size})

    def not_finite(self, step: int, ranks: tuple[int, ...], scenes: str) -> None:
        """See `RunLog`."""
        log.warning("step %d: loss or gradient is not finite, the step is skipped; scenes of %s", step, scenes)
        self.report("not finite", step=step, ranks=", ".join(map(str, ranks)), scenes=scenes)

    def validation(self, steps: int, scores: dict[str, float]) -> None:
        """See `RunLog`."""
        self._validation.write(steps, scores)
        self._trackers.scalars(steps, {f"validation/{name}": value for name, value in scores.items()})
        log.info("validation after %d steps: %s", steps, ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))

    def pictures(self, steps: int, trainer: Trainer, feed: Feed) -> None:
        """See `RunLog`."""
        batch, prediction = sample_prediction(trainer, feed.last)
        sheet = contact_sheet(batch.images, batch.split, prediction.images)
        cameras = camera_picture(
            prediction.cameras[0], batch.split, None if batch.cameras is None else batch.cameras[0]
        )
        for name, picture in (("samples", sheet), ("cameras", cameras)):
            save_png(self.folder / "pictures" / f"{name}-{steps:08}.png", picture)
            self._trackers.picture(steps, name, picture)

    def close(self) -> None:
        """Write what is not yet written; never waits long."""
        self._line.close()
        self._trackers.close()
        for records in (self._metrics, self._timing, self._validation):
            records.close()


def _trackers(folder: Path, config: RunConfig, first_step: int, report: Report) -> list[InBackground]:
    wanted = config.training.log
    trackers = []
    if wanted.tensorboard:
        trackers.append(start_tensorboard(folder / "tensorboard", first_step, report))
    if wanted.wandb != "off":
        key_file = Path(wanted.wandb_key_file).expanduser() if wanted.wandb_key_file else None
        values = config.values()
        trackers.append(start_wandb(wanted.wandb_project, folder.name, folder, wanted.wandb, values, key_file, report))
    return trackers

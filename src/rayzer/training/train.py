"""Training, on one screen: set up, then step after step until done, interrupted, or beyond help."""

from __future__ import annotations

import math
import time
from signal import Signals

from rayzer.errors import RunError
from rayzer.model.weights import ModelConfig
from rayzer.training.checkpoints import Checkpoints, read_state, read_training
from rayzer.training.distributed import cpu_threads, joined_world, lost_processes_named
from rayzer.training.interruption import EXIT_CODES, Interrupted, Interruption
from rayzer.training.log import events_of
from rayzer.training.recipe import TrainingConfig
from rayzer.training.run_folder import RunConfig, refuse_other_configuration, run_folder
from rayzer.training.set_up import Run, check_share, set_up
from rayzer.training.state import Best, determinism, is_finished, is_validation_due, seed_everything
from rayzer.training.step import StepResult, train_step


def train(model: ModelConfig, recipe: TrainingConfig, device: str = "auto") -> int:
    """Train, or go on where an earlier run of this configuration in the same folder stopped.

    Args:
        model, recipe: of the run; several processes (started by torchrun) are given the same.
        device: "auto", "cpu" or "cuda"; of several processes each takes the GPU of its number.

    Returns:
        The exit code: 0 when done, 130 and 143 after SIGINT and SIGTERM.

    Raises:
        InputError: if something that the user gave cannot be used.
        RunError: if training cannot go on.
    """
    config = RunConfig(model, recipe)
    with (
        Interruption() as interruption,
        joined_world(recipe.processes, device) as world,
        lost_processes_named(world),
        cpu_threads(world, recipe.data.workers),
        determinism(recipe.deterministic),
        run_folder(recipe, world) as folder,
        events_of(folder, world) as report,
    ):
        check_share(recipe, world)
        checkpoints = Checkpoints(folder / "checkpoints", world, recipe.keep_last, recipe.keep_every, report)
        newest = checkpoints.newest()
        checkpoints.check_writable()
        if newest is not None:
            refuse_other_configuration(read_training(newest), config, folder)
            if is_finished(read_state(newest), recipe):
                return 0
        with set_up(config, world, folder, checkpoints, newest, report) as run:
            return _loop(run, interruption)


def _loop(run: Run, interruption: Interruption) -> int:
    recipe, state, signal = run.config.training, run.state, 0
    while not signal and not is_finished(state.numbers(), recipe):
        try:
            if is_validation_due(state.numbers(), recipe):
                _validate(run, interruption)
            else:
                _step(run, interruption)
        except Interrupted as interrupted:
            signal = interrupted.signal
        validated = not is_validation_due(state.numbers(), recipe)  # before saving, which is once a step
        if signal or (validated and _due(run, recipe.checkpoint_every)):
            _save(run)
    _save(run)
    run.checkpoints.finish(state.step)
    return EXIT_CODES[Signals(signal)] if signal else 0


def _due(run: Run, every: int) -> bool:
    return bool(every) and (run.state.step % every == 0 or run.state.step == run.config.training.steps)


def _step(run: Run, interruption: Interruption) -> None:
    """One step, and what is said about it.

    Raises:
        Interrupted: before or after the step.
    """
    step, started = run.state.step, time.perf_counter()
    seed_everything(run.config.training.seed, step, run.world.rank)
    result = train_step(run.trainer, run.state, run.feed.step(step), run.feed.share, lambda: interruption.signal)
    run.log.step(step, result, run.feed, time.perf_counter() - started)
    if result.suspects:
        _not_finite(run, step, result)
    run.state.bad_data.add(result.replaced, run.config.training.batch_size)
    run.checkpoints.prepare(run.state)
    if _due(run, run.config.training.log.pictures_every):
        run.log.pictures(run.state.step, run.trainer, run.feed)
    if result.signal:
        raise Interrupted(result.signal)


def _not_finite(run: Run, step: int, result: StepResult) -> None:
    """Name the scenes of the processes whose loss or gradient was not finite.

    Raises:
        RunError: on all processes, after too many steps in a row.
    """
    names = run.world.texts(", ".join(run.feed.scenes))
    scenes = "; ".join(f"rank {rank}: {names[rank]}" for rank in result.suspects)
    run.log.not_finite(step, result.suspects, scenes)
    if run.state.not_finite >= run.config.training.stop_after:
        raise RunError(
            f"step {step}: loss or gradient was not finite {run.state.not_finite} steps in a row; the last scenes are "
            f"{scenes}; look at them, or go on from a checkpoint before with training.continue_from, a lower "
            "training.optimizer.learning_rate and another training.output_dir"
        )


def _save(run: Run) -> None:
    run.checkpoints.save(run.state, run.config, run.environment)


def _validate(run: Run, interruption: Interruption) -> None:
    """Score held-out samples; the checkpoint of the best score is kept.

    Raises:
        Interrupted: then the validation is still due.
    """
    assert run.validation is not None
    scores = run.validation.score(run.trainer, run.state, lambda: interruption.signal)
    run.log.validation(run.state.step, scores)
    run.state.validated = run.state.step
    psnr_db = scores.get("psnr", math.nan)
    if math.isfinite(psnr_db) and (run.state.best is None or psnr_db > run.state.best.psnr_db):
        run.state.best = Best(run.state.step, psnr_db)
        _save(run)

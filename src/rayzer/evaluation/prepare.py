"""From what was asked for to evaluations that may begin: all that a user can do wrong is found here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rayzer.devices import Runtime
from rayzer.errors import InputError
from rayzer.evaluation.baseline import may_stay
from rayzer.evaluation.evaluate import Evaluation, check_output, inputs_among
from rayzer.evaluation.plan import Work, read_work
from rayzer.evaluation.processes import Share
from rayzer.evaluation.scoring import Scorer
from rayzer.evaluation.settings import Request
from rayzer.model.rayzer import RayZerConfig
from rayzer.model.weights import Model, ModelConfig, load_model, peek_config
from rayzer.progress import progress_bar


@dataclass(frozen=True)
class Subject:
    """A checkpoint that is to be evaluated.

    Attributes:
        checkpoint: where its weights are, as the user named it.
        config: the model, for a reference file; None where the checkpoint says it.
        request: on what it is evaluated, and where the results go.
        runtime: where, and how precisely.
        is_baseline: whether it is what another one is held against.
    """

    checkpoint: str
    config: ModelConfig | None
    request: Request
    runtime: Runtime
    is_baseline: bool = False


def prepare(subjects: Sequence[Subject], share: Share) -> list[Evaluation]:
    """Check everything and load the models: of one checkpoint, or of one and its baseline.

    Scenes and pictures are checked before what is wrong with a checkpoint is told.

    Raises:
        InputError: if anything cannot be used.
    """
    with share.together():
        _check_outputs(subjects, [None] * len(subjects))
        peeked = [_peek(subject) for subject in subjects]
        scorers = [
            Scorer.load(subject.request.config, model, subject.runtime.device)
            for subject, (model, _) in zip(subjects, peeked, strict=True)
        ]
    with share.together():
        works = [_read_work(subject, model, share) for subject, (model, _) in zip(subjects, peeked, strict=True)]
        _check_outputs(subjects, works)
        for problem in filter(None, (problem for _, problem in peeked)):
            raise problem
        models = _load(subjects)
    return [
        Evaluation(subject.request, work, model, subject.checkpoint, subject.runtime, scorer, share)
        for subject, work, model, scorer in zip(subjects, works, models, scorers, strict=True)
    ]


def _check_outputs(subjects: Sequence[Subject], works: Sequence[Work | None]) -> None:
    """Nothing of what is read, for whichever checkpoint, is in the way of any results."""
    inputs = [Path(subject.checkpoint) for subject in subjects]
    for subject, work in zip(subjects, works, strict=True):
        inputs += inputs_among(subject.request, work)
    for subject in subjects:
        lacks_baseline = len(subjects) > 1 and not subject.is_baseline and may_stay(subject.request)
        check_output(subject.request, inputs, lacks_baseline)


def _peek(subject: Subject) -> tuple[ModelConfig, InputError | None]:
    """What the checkpoint holds; or what is wrong with it, which is told when the scenes have been checked."""
    try:
        return peek_config(subject.checkpoint, subject.config), None
    except InputError as error:
        return RayZerConfig(), error


def _read_work(subject: Subject, model: ModelConfig, share: Share) -> Work:
    try:
        return read_work(subject.request, model, share)
    except InputError as error:  # such as missing cameras, which the other one may do without
        if not subject.is_baseline:
            raise
        raise InputError(f"--baseline {subject.checkpoint}: {error}") from None


def _load(subjects: Sequence[Subject]) -> list[Model]:
    models = []
    with progress_bar("Loading weights") as advance:
        for done, subject in enumerate(subjects, start=1):
            models.append(load_model(subject.checkpoint, subject.config, subject.runtime.device))
            advance(done, len(subjects))
    return models

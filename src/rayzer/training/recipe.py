"""What fixes a training run, apart from the model (RayZer paper, section 4.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from rayzer.data.bad_data import ALLOWED_SHARE
from rayzer.data.view_sampling import ViewConfig
from rayzer.errors import InputError
from rayzer.model.recomputation import Recomputation
from rayzer.strict import build

OptimizerKind = Literal["adamw", "muon"]
Schedule = Literal["cosine", "wsd"]
Sharding = Literal["ddp", "fsdp"]
WandbMode = Literal["off", "online", "offline"]
VggWeights = Literal["matconvnet", "torchvision"]


def _require(name: str, value: Any, holds: bool, form: str) -> None:
    if not holds:
        raise InputError(f"training.{name} = {value}: must be {form}")


@dataclass(frozen=True)
class OptimizerConfig:
    """Which optimiser, its schedule, clipped gradients, and skipped steps.

    Attributes:
        kind: "adamw" as in the reference; "muon": Muon for the matrices of the transformers' blocks, scaled to AdamW's
            rate (arXiv 2502.16982), AdamW for everything else.
        schedule: after the warm-up, "cosine" falls to the end; "wsd" (warm-up, stable, decay) stays at the peak and
            falls linearly over the last `decay_share` of all steps.
        learning_rate: the peak.
        final_learning_rate: where the schedule ends: 0 in the released code, 1.5e-4 in the paper.
        warmup_steps: linear from 0.
        decay_share: of "wsd" only.
        betas, eps: of AdamW.
        momentum: of Muon.
        weight_decay: of tensors with more than one dimension (learned tokens included).
        clip_norm: largest gradient norm of an update.
        skip_norm: a step whose norm before clipping is larger is skipped; the schedule advances all the same.
        skip_after: the first this many steps are never skipped.
    """

    kind: OptimizerKind = "adamw"
    schedule: Schedule = "cosine"
    learning_rate: float = 4e-4
    final_learning_rate: float = 0.0
    warmup_steps: int = 3000
    decay_share: float = 0.2
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    momentum: float = 0.95
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    skip_norm: float = 2.0
    skip_after: int = 100

    def __post_init__(self) -> None:
        for name in ("learning_rate", "final_learning_rate", "weight_decay"):
            value = getattr(self, name)
            _require(f"optimizer.{name}", value, 0 <= value < math.inf, "a finite number of at least 0")
        _require("optimizer.warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "at least 0")
        _require("optimizer.decay_share", self.decay_share, 0 < self.decay_share <= 1, "above 0 and at most 1")
        _require("optimizer.betas", self.betas, all(0 <= beta < 1 for beta in self.betas), "at least 0 and below 1")
        _require("optimizer.momentum", self.momentum, 0 <= self.momentum < 1, "at least 0 and below 1")
        for name in ("eps", "clip_norm", "skip_norm"):
            _require(f"optimizer.{name}", getattr(self, name), getattr(self, name) > 0, "above 0")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of the loss, 0 leaves a term out; and where frozen networks are read from.

    Attributes:
        mse: mean squared error.
        perceptual: VGG-19 features (`rayzer.losses.PerceptualLoss`).
        lpips: `rayzer.losses.LPIPS`.
        structural: gradients and SSIM; needs no weights (`rayzer.losses.StructuralLoss`).
        vgg: whose VGG-19 the perceptual term uses; torchvision's weights give it another scale.
        vgg_file, lpips_file, lpips_linear_file: where those weights lie; empty for the cache.
    """

    mse: float = 1.0
    perceptual: float = 0.2
    lpips: float = 0.0
    structural: float = 0.0
    vgg: VggWeights = "matconvnet"
    vgg_file: str = ""
    lpips_file: str = ""
    lpips_linear_file: str = ""

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("mse", "perceptual", "lpips", "structural")}
        for name, value in weights.items():
            _require(f"loss.{name}", value, 0 <= value < math.inf, "a finite number of at least 0")

    @property
    def is_of_pictures(self) -> bool:
        """Whether rendered pictures are compared at all."""
        return bool(self.mse or self.perceptual or self.lpips or self.structural)


@dataclass(frozen=True)
class SourceConfig:
    """One of several sources of training samples.

    Attributes:
        scenes: a scene list, a folder of scenes, or one scene; empty for procedural rooms, made as they are needed.
        format: read them as this format; empty to recognise it.
        weight: its share of the samples, relative to the other sources'.
        anchored: their true cameras anchor the model's (`training.cameras.anchor`); else they are not even read.
    """

    scenes: str = ""
    format: str = ""
    weight: float = 1.0
    anchored: bool = False

    def __post_init__(self) -> None:
        _require("data.mix: weight", self.weight, 0 < self.weight < math.inf, "a finite number above 0")


@dataclass(frozen=True)
class CameraConfig:
    """How an `AnyViewRayZer` learns cameras.

    Attributes:
        anchor: weight of the difference between predicted and true cameras, on samples of sources that are `anchored`;
            0 to learn from pictures alone. Where all terms of the loss are 0, the camera estimator is trained alone,
            which takes a third of the time: a good start (`init_from`) for a run that renders.
        points: weight of the difference between predicted points and true ones, of patches of anchored samples whose
            depth is known: procedural rooms, or packed ones with depth. For models with `model.patch_points`; it
            makes cameras emerge sooner and generalise better (docs/log.md).
        true_until: up to this step pictures of samples with known cameras are rendered with those in place of the
            predicted ones, so that scene encoder and renderer learn before cameras have emerged. Meanwhile the
            estimator learns of these samples from the anchor alone, and their `psnr` is that of true cameras.
        any_canonical_after: from this step on a random view defines the world frame of each micro-batch, not the
            configured one; None for never. Cameras emerge later if it begins at once (docs/log.md).
        drop_order: share of micro-batches whose order is not told (for models with a code of relative order).
        colour: how far the estimator's pictures are lightened, tinted and shifted, of each view for itself; 0 for not
            at all, 1 for strongly. The renderer sees them as they are, so that cameras cannot carry colours.
        blurred: share of the estimator's pictures that are blurred.
        patch_drop: share of the patches of the estimator's pictures that are greyed out.
    """

    anchor: float = 0.0
    points: float = 0.0
    true_until: int = 0
    any_canonical_after: int | None = None
    drop_order: float = 0.5
    colour: float = 0.0
    blurred: float = 0.0
    patch_drop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("anchor", "points", "colour"):
            value = getattr(self, name)
            _require(f"cameras.{name}", value, 0 <= value < math.inf, "a finite number of at least 0")
        if self.points and not self.anchor:
            raise InputError(
                f"training.cameras.points = {self.points:g}: true points come with true cameras; set "
                "training.cameras.anchor, too, or this to 0"
            )
        _require("cameras.true_until", self.true_until, self.true_until >= 0, "at least 0")
        if self.true_until and not self.anchor:
            raise InputError(
                f"training.cameras.true_until = {self.true_until}: needs training.cameras.anchor, or no cameras are "
                "learned meanwhile; set it to 0, too"
            )
        after = self.any_canonical_after
        _require("cameras.any_canonical_after", after, after is None or after >= 0, "at least 0, or null")
        for name in ("drop_order", "blurred", "patch_drop"):
            _require(f"cameras.{name}", getattr(self, name), 0 <= getattr(self, name) <= 1, "from 0 to 1")


@dataclass(frozen=True)
class DataConfig:
    """Where training samples come from.

    Attributes:
        scenes: a scene list, a folder of scenes, or one scene.
        format: read them as this format; empty to recognise it.
        rooms: share of the samples that are procedural rooms, from 0 to 1; with 1, `scenes` is not needed.
        mix: several sources, each with its weight, in place of `scenes` and `rooms`.
        workers: processes that decode, for each training process.
        square_crop: cut pictures to squares, as the reference does.
        allow_outside: follow paths that leave a scene's folder.
        allowed_bad_share: a run ends when more than this share of its samples could not be made.
        timeout_s: a worker that is silent for so long is replaced.
    """

    scenes: str = ""
    format: str = ""
    rooms: float = 0.0
    mix: tuple[SourceConfig, ...] = ()
    workers: int = 4
    square_crop: bool = True
    allow_outside: bool = False
    allowed_bad_share: float = ALLOWED_SHARE
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        parts = (
            build(SourceConfig, part, "training.data", "mix") if isinstance(part, dict) else part for part in self.mix
        )
        object.__setattr__(self, "mix", tuple(parts))  # OmegaConf leaves the entries of lists as they are
        if self.mix and (self.scenes or self.rooms or self.format):
            raise InputError("training.data.mix: names all sources; leave out training.data.scenes, format and rooms")
        for name in ("rooms", "allowed_bad_share"):
            _require(f"data.{name}", getattr(self, name), 0 <= getattr(self, name) <= 1, "from 0 to 1")
        _require("data.workers", self.workers, self.workers >= 0, "at least 0")
        _require("data.timeout_s", self.timeout_s, 0 < self.timeout_s < math.inf, "above 0")


@dataclass(frozen=True)
class ValidationConfig:
    """Scoring held-out samples in the course of training.

    Attributes:
        every: steps between validations; 0 for none.
        scenes: held-out scenes, as `data.scenes`; empty for procedural rooms, which training never sees.
        samples: how many, the same ones each time.
    """

    every: int = 0
    scenes: str = ""
    samples: int = 64

    def __post_init__(self) -> None:
        _require("validation.every", self.every, self.every >= 0, "at least 0")
        _require("validation.samples", self.samples, self.samples >= 1, "at least 1")


@dataclass(frozen=True)
class LogConfig:
    """What is shown and logged, besides `metrics.jsonl`, which always is.

    Attributes:
        pictures_every: steps between pictures of samples and cameras; 0 for none.
        tensorboard: write TensorBoard files to `<output_dir>/tensorboard`.
        wandb: "off", "online" or "offline".
        wandb_project: where it logs to.
        wandb_key_file: the reference's `api_keys.yaml`; empty for wandb's own login.
    """

    pictures_every: int = 1000
    tensorboard: bool = False
    wandb: WandbMode = "off"
    wandb_project: str = "rayzer"
    wandb_key_file: str = ""

    def __post_init__(self) -> None:
        _require("log.pictures_every", self.pictures_every, self.pictures_every >= 0, "at least 0")


@dataclass(frozen=True)
class ProcessConfig:
    """How processes work together.

    Attributes:
        sharding: "ddp": every process has all weights; "fsdp": each holds a part of weights and optimiser state.
        timeout_s: a job whose processes do not hear of one of them for so long ends, naming it.
    """

    sharding: Sharding = "ddp"
    timeout_s: float = 150.0

    def __post_init__(self) -> None:
        _require("processes.timeout_s", self.timeout_s, 1 <= self.timeout_s < math.inf, "at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        steps: optimiser steps.
        output_dir: where checkpoints and logs go.
        seed: of everything that is random.
        batch_size: samples of a step, over all processes.
        samples_at_once: most samples in one forward pass of a process; a larger share of the batch is accumulated.
        checkpoint_every: steps between checkpoints.
        keep_last: how many of the newest checkpoints are kept.
        keep_every: checkpoints at multiples of this many steps are kept for good; 0 for none.
        init_from: weights to start from: a checkpoint folder, a hub id, or a reference `.pt`.
        continue_from: a training checkpoint (a `step-*` folder, or a training `.pt` of the reference) whose weights,
            optimiser state and step this run goes on from, under this configuration.
        ema_decay: of an exponential moving average of the weights, which is then what `load_model` gives; 0 for none.
        bf16: autocast to bfloat16 on a GPU.
        compile: compile the blocks of the transformers and the perceptual term (on a GPU).
        recompute: which activations are computed again in the backward pass to save memory: "all", "selective" (all but
            the results of attention and its projections) or "none".
        deterministic: give up some speed on a GPU for results that repeat bit for bit.
        stop_after: a run ends after this many steps in a row whose loss or gradient is not finite.
    """

    steps: int = 100_000
    output_dir: str = "runs/rayzer"
    seed: int = 0
    batch_size: int = 256
    samples_at_once: int = 8
    checkpoint_every: int = 2000
    keep_last: int = 2
    keep_every: int = 0
    init_from: str = ""
    continue_from: str = ""
    ema_decay: float = 0.0
    bf16: bool = True
    compile: bool = True
    recompute: Recomputation = "all"
    deterministic: bool = False
    stop_after: int = 10
    data: DataConfig = DataConfig()
    views: ViewConfig = ViewConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    cameras: CameraConfig = CameraConfig()
    validation: ValidationConfig = ValidationConfig()
    log: LogConfig = LogConfig()
    processes: ProcessConfig = ProcessConfig()

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "samples_at_once", "checkpoint_every", "stop_after"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("seed", "keep_every"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        _require("keep_last", self.keep_last, self.keep_last >= 2, "at least 2, in case the newest is damaged")
        _require("ema_decay", self.ema_decay, 0 <= self.ema_decay < 1, "at least 0 and below 1")
        _require("output_dir", self.output_dir, bool(self.output_dir.strip()), "the name of a folder")
        both = bool(self.init_from and self.continue_from)
        _require("init_from", self.init_from, not both, "empty where training.continue_from is given")
        learns = self.loss.is_of_pictures or self.cameras.anchor > 0
        if not learns:
            raise InputError("training.loss: give a term a weight, or train cameras alone with training.cameras.anchor")


OPERATIONAL = frozenset(
    (
        "output_dir",
        "checkpoint_every",
        "keep_last",
        "keep_every",
        "compile",
        "recompute",
        "samples_at_once",
        "data.workers",
        "data.timeout_s",
        "data.allow_outside",
        "data.allowed_bad_share",
        "loss.vgg_file",
        "loss.lpips_file",
        "loss.lpips_linear_file",
        "log",
        "processes",
    )
)
"""Keys of `training`, or sections, that may change when a run resumes: they change what is learned by rounding only."""

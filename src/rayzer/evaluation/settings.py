"""What an evaluation measures, and the record of how: two results compare only where their protocols do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rayzer.devices import Runtime
from rayzer.errors import InputError
from rayzer.model.weights import ModelConfig

ProtocolName = Literal["default", "reference"]
SCENES_AT_ONCE = 4  # on a GPU; a CPU is busy with one


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured beside the scores of the target views; set with `evaluation.NAME=VALUE`.

    Attributes:
        batch_size: scenes that go through the model together; 0 for one on a CPU and four on a GPU.
        controls: score what needs no scene (copying a photo) or spoils the input (another order of views).
        no_leak: score target cameras that the target pictures had no part in.
        transfer: use the cameras of one scene in another.
        probe: train a small network to read true poses from camera tokens; half of the scenes are for training.
        fly_throughs: how many scenes get a video: evenly from the best to the worst score.
        lpips_file: torchvision's VGG-16, if it lies in none of the usual places.
        lpips_linear_file: the lpips package's channel weights, likewise.

    Raises:
        InputError: if a number is negative.
    """

    batch_size: int = 0
    controls: bool = True
    no_leak: bool = True
    transfer: bool = True
    probe: bool = False
    fly_throughs: int = 3
    lpips_file: str = ""
    lpips_linear_file: str = ""

    def __post_init__(self) -> None:
        for name in ("batch_size", "fly_throughs"):
            if getattr(self, name) < 0:
                raise InputError(f"evaluation.{name} = {getattr(self, name)}: must be 0 or more")

    def scenes_at_once(self, runtime: Runtime) -> int:
        """How many scenes go through the model together."""
        return self.batch_size or (SCENES_AT_ONCE if runtime.device.type == "cuda" else 1)


@dataclass(frozen=True)
class Request:
    """What to evaluate on, and where the results go.

    Attributes:
        scenes: a scene list (or anything that holds scenes).
        view_index: which frames of each scene are context and target.
        out: the output folder.
        config: what is measured.
        protocol: "reference" reports the scores under the reference's own precision, too.
        counts: more view indices with the same targets and other numbers of context views.
        pairs: scenes of which each two in a row were filmed along one path.
        keep_going: leave out and list scenes that cannot be evaluated.
        allow_outside: follow paths that leave a scene's folder.
        overwrite: replace an earlier evaluation.
    """

    scenes: Path
    view_index: Path
    out: Path = Path()
    config: EvaluationConfig = field(default_factory=EvaluationConfig)
    protocol: ProtocolName = "default"
    counts: tuple[Path, ...] = ()
    pairs: Path | None = None
    keep_going: bool = False
    allow_outside: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Protocol:
    """Everything about the procedure that a score depends on, apart from weights and pictures.

    Attributes:
        name: "default", or "reference" where the scores under the reference's own precision are reported, too.
        height_px, width_px, patch_size: to what pictures are resized and cropped.
        precision: of the transformers; cameras, rays and metrics are float32.
        view_index_sha256: of the file that says which frames are context and target.
        measured: the sections that were asked for.
    """

    name: ProtocolName
    height_px: int
    width_px: int
    patch_size: int
    precision: Literal["float32", "bfloat16"]
    view_index_sha256: str
    measured: tuple[str, ...]

    @staticmethod
    def of(
        name: ProtocolName, model: ModelConfig, config: EvaluationConfig, runtime: Runtime, view_index_sha256: str
    ) -> Protocol:
        """The protocol of an evaluation."""
        measured = tuple(part for part in ("controls", "no_leak", "transfer", "probe") if getattr(config, part))
        precision = "bfloat16" if runtime.bfloat16 else "float32"
        size = model.image_height, model.image_width, model.patch_size
        return Protocol(name, *size, precision, view_index_sha256, measured)

    def as_json(self) -> dict[str, Any]:
        """For `results.json`, with a SHA-256 over all that the scores depend on (other sections do not change them)."""
        content = {
            **asdict(self),
            "measured": list(self.measured),
            "resize": "Lanczos to the short side, rounded to whole patches, centre crop",
            "psnr": "both pictures clamped to [0, 1]",
            "ssim": "window 11, Gaussian, sample covariance, border of 5 pixels left out, not clamped",
            "lpips": "VGG, version 0.1",
            "mean": "over the views of a scene, then over scenes",
        }
        of_scores = {key: value for key, value in content.items() if key not in ("name", "measured")}
        text = json.dumps(of_scores, sort_keys=True)
        return {**content, "sha256": hashlib.sha256(text.encode()).hexdigest()}

"""What the rungs of the ladder are, and the figures of a finished one."""

import json
import statistics
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rayzer.configs import load_config
from rayzer.files import output_file
from rayzer.model.weights import build_model

HERE = Path(__file__).parent
RUNGS = (
    *("reference", "muon", "one_way", "views", "gta", "anchor", "changed_pictures"),
    *("no_order", "relative_order", "true_first", "points", "counts", "lvsm"),
)
OUTLIER = 3  # times the median


def read_rung(name: str) -> dict[str, Any]:
    """A rung's file on top of those before it; another `kind` of model starts from none."""
    own: Any = OmegaConf.to_container(OmegaConf.load(HERE / f"{name}.yaml"))
    base = read_rung(own["after"]) if "after" in own else {}
    base.pop("timed_as", None)
    if "kind" in own:
        base.pop("model", None)
    return OmegaConf.to_container(OmegaConf.merge(base, own))  # type: ignore


def measured(folder: Path) -> dict[str, Any]:
    """The figures of a finished rung."""
    found = json.loads((folder / "evaluation/results.json").read_text(encoding="utf-8"))
    model = build_model(load_config(str(folder / "config.yaml")).model)
    poses, exact = found["poses"], (found["transfer"] or {}).get("exact")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "psnr": found["summary"]["psnr"],
        "psnr_interval": found["summary"]["confidence"]["psnr"],
        "ssim": found["summary"]["ssim"],
        "copy_nearest_psnr": found["controls"]["copy_nearest"]["psnr"],
        "rpa_15": poses and poses["rpa"]["15"],
        "ate": poses and poses["ate"],
        "straight_line_rpa_15": poses and poses["straight_line"]["rpa"]["15"],
        "transfer_psnr": exact and exact["psnr"],
        "transfer_own_psnr": exact and exact["own"]["psnr"],
    }


def times(run: Path) -> list[float]:
    """Seconds that each step of a run took, waiting for data included, as `without_compiling`."""
    lines = (run / "timing.jsonl").read_text(encoding="utf-8").splitlines()
    return without_compiling([json.loads(line)["step_s"] for line in lines])


def without_compiling(seconds: list[float]) -> list[float]:
    """Steps that took far longer than the others, because they compiled, count as the median."""
    usual = statistics.median(seconds)
    return [usual if value > OUTLIER * usual else value for value in seconds]


def of_length(steps: int, shares: dict[str, float]) -> list[str]:
    """Overrides for a run of so many steps."""
    return [f"training.steps={steps}", *(f"{key}={round(share * steps)}" for key, share in shares.items())]


def write(path: Path, text: str) -> None:
    """The whole file or nothing."""
    with output_file(path) as partial:
        partial.write_text(text, encoding="utf-8")

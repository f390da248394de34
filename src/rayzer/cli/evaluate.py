"""`rayzer evaluate`: how good a checkpoint is, and what its cameras are worth."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayzer.cli.data import PATH, overwrite_option
from rayzer.errors import InputError, counted, one_line

if TYPE_CHECKING:
    from rayzer.configs.presets import Config
    from rayzer.devices import Runtime
    from rayzer.evaluation.prepare import Subject
    from rayzer.evaluation.processes import Share
    from rayzer.evaluation.settings import EvaluationConfig, Request

BENCHMARKS = ("dl3dv_even", "dl3dv_random", "re10k", "rooms_v1")


@click.command(
    short_help="Score a checkpoint on a list of scenes.",
    epilog="The same command goes on where it was interrupted. The guide is docs/evaluation.md.",
)
@click.option("--checkpoint", required=True, help="Checkpoint folder, training step-*, reference .pt file, or hub id.")
@click.option("--config", help="For a reference .pt file: its YAML file, or a preset's name.")
@click.option("--baseline", metavar="CHECKPOINT", help="Evaluate this one on the same views, too, and compare both.")
@click.option("--baseline-config", metavar="CONFIG", help="As --config, for the baseline.")
@click.option("--scenes", type=PATH, help="Scene list.")
@click.option("--view-index", type=PATH, help="Which frames of each scene are context and target.")
@click.option("--benchmark", type=click.Choice(BENCHMARKS), help="Scenes and view index of a known benchmark.")
@click.option("--data", type=PATH, help="The folder of that benchmark.")
@click.option("-o", "--output", type=PATH, required=True, help="Folder for results.json, pictures and a page.")
@click.option(
    "--protocol",
    type=click.Choice(["default", "reference"]),
    default="default",
    show_default=True,
    help="reference: also score under the precision of the published numbers (GPU).",
)
@click.option(
    "--sweep", type=PATH, multiple=True, metavar="J", help="View index with other numbers of context views; repeatable."
)
@click.option("--pairs", type=PATH, help="Scene list in which each two in a row were filmed along one path.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--keep-going", is_flag=True, help="Leave out scenes that cannot be evaluated; exit with 1 then.")
@click.option("--allow-outside", is_flag=True, help="Follow paths that leave a scene's folder.")
@overwrite_option
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def evaluate(checkpoint, config, baseline, baseline_config, output, protocol, device, **flags) -> int:
    """Score a checkpoint on a list of scenes.

    \b
    Scores of the target views, controls, the no-leak score, pose figures and more:
      rayzer evaluate --checkpoint CKPT --scenes scenes.txt --view-index even.json -o results
      rayzer evaluate --checkpoint CKPT --benchmark rooms_v1 --data rooms-v1 -o results
      rayzer evaluate --checkpoint RAYZER --baseline LVSM --benchmark rooms_v1 --data rooms-v1 -o results
      torchrun --nproc-per-node 8 -m rayzer evaluate ...
    What is measured: evaluation.controls, no_leak, transfer, probe (true or false),
    batch_size, fly_throughs; LPIPS weights: lpips_file, lpips_linear_file.
    With --baseline, its results are in OUTPUT/baseline and the comparison in OUTPUT/comparison.html.
    """
    from rayzer.evaluation.baseline import run_all
    from rayzer.evaluation.prepare import prepare
    from rayzer.evaluation.processes import own_share

    if os.environ.get("RANK", "0") != "0":
        logging.getLogger("rayzer").setLevel(logging.WARNING)  # the first process says it for all
    overrides = flags.pop("overrides")
    settings, full = _settings(config, overrides)
    request = _request(**flags, out=output, config=settings, protocol=protocol)
    checkpoints = [(checkpoint, full), *_baseline(baseline, baseline_config)]
    with own_share() as share:
        found = run_all(prepare(_subjects(checkpoints, request, device, share), share))
    return 0 if found is None else _tell(found, output)


def _baseline(checkpoint: str | None, config: str | None) -> list[tuple[str, Config | None]]:
    """The baseline with its configuration, if one is named."""
    from rayzer.configs import load_config

    if checkpoint is not None:
        return [(checkpoint, None if config is None else load_config(config))]
    if config is not None:
        raise InputError(f"--baseline-config {config}: is for --baseline; name that, too")
    return []


def _subjects(
    checkpoints: Sequence[tuple[str, Config | None]], request: Request, device: str, share: Share
) -> list[Subject]:
    """The checkpoint and, if one is named, its baseline: with what each is evaluated."""
    from rayzer.evaluation.baseline import of_baseline
    from rayzer.evaluation.prepare import Subject

    local_rank = share.local_rank if share.size > 1 else None
    subjects = []
    for checkpoint, full in checkpoints:
        runtime, is_baseline = _runtime(device, local_rank, full), bool(subjects)
        on = of_baseline(request) if is_baseline else request
        subjects.append(Subject(checkpoint, full and full.model, on, runtime, is_baseline))
    return subjects


def _settings(config: str | None, words: Sequence[str]) -> tuple[EvaluationConfig, Config | None]:
    """What `evaluation.*` asks for, and the configuration file with all other keys in it."""
    from rayzer.configs import load_config
    from rayzer.configs.config import parse_overrides
    from rayzer.evaluation.settings import EvaluationConfig
    from rayzer.strict import build, nearest, unknown_key

    changes = parse_overrides(words)
    own = changes.pop("evaluation", {})
    slip = next((key for key in changes if nearest(key, ["evaluation"])), None)
    if slip is not None:
        raise unknown_key("override", slip, ["evaluation"])
    if not isinstance(own, dict):
        raise InputError(f"evaluation={own}: give one key, like evaluation.probe=true")
    settings = build(EvaluationConfig, own, "override", "evaluation")
    if config is not None:
        return settings, load_config(config, list(_words(changes)))
    if changes:
        key = next(_words(changes)).partition("=")[0]
        raise InputError(f"{key}: only evaluation.* can be changed without --config")
    return settings, None


def _words(changes: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested values as `a.b=1` again."""
    for key, value in changes.items():
        if isinstance(value, dict) and value:
            yield from _words(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}"


def _request(
    scenes: Path | None,
    view_index: Path | None,
    benchmark: str | None,
    data: Path | None,
    sweep: Sequence[Path],
    pairs: Path | None,
    **more: Any,
) -> Request:
    """What is evaluated; `more` says where to and how."""
    from rayzer.evaluation.presets import BENCHMARKS
    from rayzer.evaluation.settings import Request

    if benchmark is not None:
        if data is None or scenes is not None or view_index is not None:
            raise InputError(f"--benchmark {benchmark}: give its folder with --data, and no --scenes or --view-index")
        scenes, view_index, known_sweep, known_pairs = BENCHMARKS[benchmark].files(data)
        sweep, pairs = sweep or known_sweep, pairs or known_pairs
    elif data is not None:
        raise InputError(f"--data {data}: is for --benchmark; name that, too")
    if scenes is None or view_index is None:
        raise InputError("give --scenes and --view-index, or --benchmark and --data")
    return Request(scenes, view_index, counts=tuple(sweep), pairs=pairs, **more)


def _runtime(device: str, local_rank: int | None, config: Config | None) -> Runtime:
    """The device of this process; a GPU computes in bfloat16 unless the configuration says otherwise."""
    from rayzer.devices import Runtime

    runtime = Runtime.choose(device)
    if runtime.device.type == "cuda" and local_rank is not None:
        runtime = Runtime.choose(f"cuda:{local_rank}")
    half = runtime.bfloat16 and (config is None or config.training.bf16)
    return Runtime(runtime.device, half)


def _tell(found: Sequence[dict[str, Any]], output: Path) -> int:
    """Print what came of the checkpoint and its baseline, if there is one; returns the exit code."""
    from rayzer.evaluation.baseline import BASELINE
    from rayzer.evaluation.evaluate import COMPARISON, PAGE

    _tell_summary(found[0])
    if len(found) > 1:
        _tell_comparison([output / BASELINE, output])
    for failure in (failure for each in found for failure in each["failed"]):
        named = "" if failure["error"].startswith(failure["name"]) else f"{failure['name']}: "
        print(f"rayzer: left out: {one_line(named + failure['error'])}", file=sys.stderr)
    print(f"Open {output / (COMPARISON if len(found) > 1 else PAGE)} in a browser.")
    return 1 if any(each["failed"] for each in found) else 0


def _tell_summary(found: dict[str, Any]) -> None:
    summary = found["summary"]
    scores = [f"PSNR {summary['psnr']:.2f} dB"]
    scores += [f"{name.upper()} {summary[name]:.3f}" for name in ("ssim", "lpips") if summary[name] is not None]
    if summary["lpips"] is None:
        scores.append("LPIPS not computed")
    copied = found["controls"].get("copy_nearest", {}).get("psnr")
    beside = f" (copying the nearest photo: {copied:.2f} dB)" if copied is not None else ""
    what = f"{counted(summary['scenes'], 'scene')}, {counted(summary['views'], 'view')}"
    print(f"{what}: {', '.join(scores)}{beside}.")
    print(found["verdict"]["text"])
    left_out = sum(len(names) for names in found["left_out"].values())
    if left_out:
        print(f"{counted(left_out, 'scene')} of the list without views in the view index; named in results.json.")


def _tell_comparison(folders: Sequence[Path]) -> None:
    from rayzer.report.comparison_page import compare
    from rayzer.report.comparison_text import comparison_text

    print("", comparison_text(compare(folders)), sep="\n")

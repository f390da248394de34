"""`rayzer evaluate`: how good a checkpoint is, and what its cameras are worth."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayzer.cli.data import PATH, overwrite_option
from rayzer.errors import InputError, counted, one_line

if TYPE_CHECKING:
    from rayzer.configs.presets import Config
    from rayzer.devices import Runtime
    from rayzer.evaluation.settings import EvaluationConfig, Request
    from rayzer.model.weights import ModelConfig

BENCHMARKS = ("dl3dv_even", "dl3dv_random", "re10k", "rooms_v1")


@click.command(
    short_help="Score a checkpoint on a list of scenes.",
    epilog="The same command goes on where it was interrupted. The guide is docs/evaluation.md.",
)
@click.option("--checkpoint", required=True, help="Checkpoint folder, training step-*, reference .pt file, or hub id.")
@click.option("--config", help="For a reference .pt file: its YAML file, or a preset's name.")
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
def evaluate(
    checkpoint, config, scenes, view_index, benchmark, data, output, protocol, sweep, pairs, device, **flags
) -> int:
    """Score a checkpoint on a list of scenes.

    \b
    Scores of the target views, controls, the no-leak score, pose figures and more:
      rayzer evaluate --checkpoint CKPT --scenes scenes.txt --view-index even.json -o results
      rayzer evaluate --checkpoint CKPT --benchmark rooms_v1 --data rooms-v1 -o results
      torchrun --nproc-per-node 8 -m rayzer evaluate ...
    What is measured: evaluation.controls, no_leak, transfer, probe (true or false),
    batch_size, fly_throughs; LPIPS weights: lpips_file, lpips_linear_file.
    """
    from rayzer.evaluation.evaluate import Evaluation, check_output
    from rayzer.evaluation.plan import read_work
    from rayzer.evaluation.processes import own_share
    from rayzer.evaluation.scoring import Scorer
    from rayzer.model.weights import load_model
    from rayzer.progress import progress_bar

    if os.environ.get("RANK", "0") != "0":
        logging.getLogger("rayzer").setLevel(logging.WARNING)  # the first process says it for all
    settings, full = _settings(config, flags["overrides"])
    request = _request(scenes, view_index, benchmark, data, sweep, pairs)
    more = {name: flags[name] for name in ("keep_going", "allow_outside", "overwrite")}
    request = replace(request, out=output, config=settings, protocol=protocol, **more)
    given = full.model if full is not None else None
    with own_share() as share:
        runtime = _runtime(device, share.local_rank if share.size > 1 else None, full)
        with share.together():
            check_output(request)
            model_config, problem = _peek(checkpoint, given)
            scorer = Scorer.load(settings, model_config, runtime.device)
        with share.together():
            work = read_work(request, model_config, share)
            check_output(request, work, checkpoint)
            if problem is not None:
                raise problem
            with progress_bar("Loading weights") as advance:
                model = load_model(checkpoint, given, runtime.device)
                advance(1, 1)
        found = Evaluation(request, work, model, checkpoint, runtime, scorer, share).run()
    return 0 if found is None else _tell(found, output)


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
) -> Request:
    """What is evaluated; where to and how is yet to be filled in."""
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
    return Request(scenes, view_index, counts=tuple(sweep), pairs=pairs)


def _runtime(device: str, local_rank: int | None, config: Config | None) -> Runtime:
    """The device of this process; a GPU computes in bfloat16 unless the configuration says otherwise."""
    from rayzer.devices import Runtime

    runtime = Runtime.choose(device)
    if runtime.device.type == "cuda" and local_rank is not None:
        runtime = Runtime.choose(f"cuda:{local_rank}")
    half = runtime.bfloat16 and (config is None or config.training.bf16)
    return Runtime(runtime.device, half)


def _peek(checkpoint: str, config: ModelConfig | None) -> tuple[ModelConfig, InputError | None]:
    """What the checkpoint holds; or what is wrong with it, which is told when the scenes have been checked."""
    from rayzer.model.rayzer import RayZerConfig
    from rayzer.model.weights import peek_config

    try:
        return peek_config(checkpoint, config), None
    except InputError as error:
        return RayZerConfig(), error


def _tell(found: dict[str, Any], output: Path) -> int:
    """Print the summary; returns the exit code."""
    summary, failed = found["summary"], found["failed"]
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
    for failure in failed:
        named = "" if failure["error"].startswith(failure["name"]) else f"{failure['name']}: "
        print(f"rayzer: left out: {one_line(named + failure['error'])}", file=sys.stderr)
    print(f"Open {output / 'index.html'} in a browser.")
    return 1 if failed else 0

"""From RayZer as published to the any-view model, an idea at a time: every rung trains for equal minutes on one GPU.

    ROOMS="--views 48 --span 1 --quality fast --image-size 128"
    rayzer data synthesize rooms-128 --packed --depth-cell 8 --scenes 10000 $ROOMS
    rayzer data synthesize rooms-v1 --benchmark rooms-v1
    python examples/ladder/run.py --rooms rooms-128 --benchmark rooms-v1 --minutes 20 -o ladder
    python examples/ladder/report.py ladder

A rung is a file beside this one: what it adds to the rung `after` which it comes; `shares` are of all steps. It is
timed first (or the rung that does the same work on the GPU, `timed_as`), then trained for as many steps as the minutes
hold, then scored on rooms-v1. Stopped, the same command goes on; finished rungs are skipped. results.jsonl has a line a
rung, each rung's folder its configuration, run and scores.

Compiling and scoring leave a GPU idle. Once all rungs are timed, alone (`--time-only`), several of these commands with
different rungs (`--only`) may share it: a rung's number of steps is fixed by then, however long they take. Minutes are
always those of a GPU that does nothing else.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import rayzer
from omegaconf import OmegaConf
from rungs import RUNGS, measured, of_length, read_rung, times, write

from rayzer.configs import load_config
from rayzer.configs.config import parse_overrides
from rayzer.errors import InputError, one_line
from rayzer.evaluation.presets import BENCHMARKS
from rayzer.training.checkpoints import name_of

UNTIMED = 10  # steps that compile


@dataclass(frozen=True)
class Ladder:
    """What all rungs are given."""

    rooms: Path
    benchmark: Path
    out: Path
    minutes: float
    timed_steps: int
    device: str
    overrides: dict[str, Any]


def run_rung(ladder: Ladder, name: str, time_only: bool) -> None:
    """Time, train and score one rung; what is done already is not done again."""
    values, folder = read_rung(name), ladder.out / name
    begin(ladder, values, folder)
    if (folder / "result.json").is_file():
        return
    plan = planned(ladder, values, folder)
    if time_only:
        return
    train(ladder, folder, of_length(plan["steps"], values["shares"]), folder / "run")
    if not (folder / "evaluation/results.json").is_file():
        evaluate(ladder, folder, plan["steps"])
    result = {"rung": name, "after": values.get("after"), "adds": values["adds"], **plan, **measured(folder)}
    write(folder / "result.json", json.dumps(result) + "\n")


def begin(ladder: Ladder, values: dict[str, Any], folder: Path) -> None:
    """Write the rung's configuration; whatever is wrong with it is said before anything runs."""
    anchored = {"mix": [{"scenes": str(ladder.rooms), "anchored": True}]}
    data = anchored if values.get("anchored") else {"scenes": str(ladder.rooms)}
    own = {key: values[key] for key in ("kind", "model", "training")}
    config = OmegaConf.to_yaml(OmegaConf.merge(own, {"training": {"data": data}}, ladder.overrides))
    file, text = folder / "config.yaml", f"# for {ladder.minutes:g} minutes\n{config}"
    if (folder / "plan.json").is_file() and file.read_text(encoding="utf-8") != text:
        raise InputError(f"{file}: this rung was begun with other minutes, rooms or keys; choose another output folder")
    folder.mkdir(parents=True, exist_ok=True)
    write(file, text)
    load_config(str(file))


def planned(ladder: Ladder, values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """How long a step takes in a short run that is thrown away, and how many the minutes hold; found out only once."""
    file = folder / "plan.json"
    if not file.is_file():
        other = values.get("timed_as")
        step_s = planned_rung(ladder, other)["step_s"] if other else timed(ladder, values["shares"], folder)
        plan = {"minutes": ladder.minutes, "step_s": step_s, "steps": max(1, int(60 * ladder.minutes / step_s))}
        write(file, json.dumps(plan))
    return json.loads(file.read_text(encoding="utf-8"))


def planned_rung(ladder: Ladder, name: str) -> dict[str, Any]:
    values, folder = read_rung(name), ladder.out / name
    begin(ladder, values, folder)
    return planned(ladder, values, folder)


def timed(ladder: Ladder, shares: dict[str, float], folder: Path) -> float:
    """Seconds a step."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        train(ladder, folder, of_length(UNTIMED + ladder.timed_steps, shares), Path(scratch))
        return statistics.mean(times(Path(scratch))[UNTIMED:])


def train(ladder: Ladder, folder: Path, overrides: list[str], run: Path) -> None:
    words = (*overrides, f"training.output_dir={run}")
    rayzer("train", "--config", folder / "config.yaml", "--device", ladder.device, *words)


def evaluate(ladder: Ladder, folder: Path, steps: int) -> None:
    scenes, index, _, pairs = BENCHMARKS["rooms_v1"].files(ladder.benchmark)
    on = ("--scenes", scenes, "--view-index", index, "--pairs", pairs, "--device", ladder.device)
    less = ("-o", folder / "evaluation", "evaluation.fly_throughs=0", "evaluation.no_leak=false")
    rayzer("evaluate", "--checkpoint", folder / "run/checkpoints" / name_of(steps), *on, *less)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=Path, required=True, help="packed rooms of 48 frames to train on")
    parser.add_argument("--benchmark", type=Path, required=True, help="the folder of rooms-v1")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, for every rung")
    parser.add_argument("--only", nargs="+", default=RUNGS, metavar="RUNG", help=", ".join(RUNGS))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="changes all rungs")
    parser.add_argument("--timed-steps", type=int, default=20)
    parser.add_argument("--time-only", action="store_true", help="train nothing yet; see above")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    return parser.parse_args()


def checked(given: argparse.Namespace) -> Ladder:
    """What was asked for; mistakes are told before anything runs."""
    if wrong := [name for name in given.only if name not in RUNGS]:
        raise InputError(f"--only {wrong[0]}: is no rung; choose of {', '.join(RUNGS)}")
    if not (given.minutes > 0 and given.timed_steps > 0):
        raise InputError(f"--minutes {given.minutes:g}, --timed-steps {given.timed_steps}: must be above 0")
    BENCHMARKS["rooms_v1"].files(given.benchmark)
    length, changes = (given.minutes, given.timed_steps), parse_overrides(given.set)
    return Ladder(given.rooms.resolve(), given.benchmark, given.output, *length, given.device, changes)


def main(ladder: Ladder, names: Sequence[str], time_only: bool = False) -> int:
    """Run these rungs in their order; one that breaks down (exit code 1) does not stop the others."""
    failed = 0
    for name in (name for name in RUNGS if name in names):
        try:
            run_rung(ladder, name, time_only)
        except SystemExit as stop:
            if stop.code != 1:
                raise
            failed = 1
        finished = [ladder.out / each / "result.json" for each in RUNGS]
        write(ladder.out / "results.jsonl", "".join(file.read_text() for file in finished if file.is_file()))
    return failed


if __name__ == "__main__":
    given = arguments()
    try:
        sys.exit(main(checked(given), given.only, given.time_only))
    except InputError as error:
        print(one_line(str(error)), file=sys.stderr)
        sys.exit(2)

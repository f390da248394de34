"""`rayzer train`: train a model, or go on where a run stopped."""

from __future__ import annotations

import logging
import os
import shlex
import sys

import click

from rayzer.errors import RunError

log = logging.getLogger("rayzer")


@click.command(
    short_help="Train a model; the same command again resumes.",
    epilog="Without torchrun this trains in one process, on the GPU if there is one.",
)
@click.option("--config", required=True, metavar="NAME|FILE", help="A preset's name or a YAML file.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda.")
@click.option("--dry-run", is_flag=True, help="Do two steps, say what a run will need; write nothing.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def train(config: str, device: str, dry_run: bool, overrides: tuple[str, ...]) -> int:
    """Train a model, or go on where an earlier run in the same folder stopped.

    \b
    KEY=VALUE changes the configuration:
      rayzer train --config rayzer_dl3dv training.data.scenes=packed/scenes.txt training.output_dir=runs/mine
      rayzer train --config smoke                      (procedural rooms on any CPU, about 15 s)
      torchrun --nproc-per-node 8 -m rayzer train --config rayzer_dl3dv training.data.scenes=...

    A name that is no preset lists them. The guide is docs/training.md.
    """
    from rayzer.configs import load_config
    from rayzer.training.train import train as run

    found = load_config(config, overrides)
    if dry_run:
        from rayzer.training.dry_run import dry_run as try_out

        text = try_out(found.model, found.training, device)
        if _is_first():
            print(text)
        return 0
    try:
        code = run(found.model, found.training, device)
    except RunError:
        _say_how_to_go_on("The run has ended")
        raise
    if code:
        _say_how_to_go_on(f"Interrupted; everything is saved in {found.training.output_dir}")
    elif _is_first():
        print(f"Done: {found.training.steps:,} steps; the model is in {found.training.output_dir}/checkpoints.")
    return code


def _is_first() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def _say_how_to_go_on(what: str) -> None:
    if _is_first():
        print(f"{what}. To go on:\n  {_same_command()}", file=sys.stderr)


def _same_command() -> str:
    """The command that resumes this run: the one that started it, as far as a process knows it."""
    words = ["rayzer", *sys.argv[1:]]
    size, here = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if size > 1:
        nodes = ["--nnodes", str(size // here), "..."] if size > here else []
        words = ["torchrun", *nodes, "--nproc-per-node", str(here), "-m", *words]
    return shlex.join(words)

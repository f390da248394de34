"""`rayzer bench ...`: measure speed on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from rayzer.cli.data import PATH, format_option
from rayzer.errors import InputError


@click.group()
def bench() -> None:
    """Measure speed on this machine."""


@bench.command("data", short_help="How fast training samples come out of the loader.")
@click.option("--scenes", type=PATH, help="Measure these (scene, folder or list).  [default: made-up ones]")
@format_option
@click.option("--workers", type=click.IntRange(min=0), help="Processes that decode.  [default: one per CPU core]")
@click.option("--json", "json_file", type=PATH, help="Write the results to this file, too.")
def bench_data(scenes: Path | None, format: str, workers: int | None, json_file: Path | None) -> None:
    """Measure how fast training samples of 24 views come out of the loader.

    Files come from the memory of the operating system: a slow disk or network is not part of it, unless the
    scenes given are larger than that memory.
    """
    import json
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from rayzer.benchmarks.data import made_up_scenes, measure, table
    from rayzer.data.formats import find_scenes
    from rayzer.data.parallel import available_cpus
    from rayzer.progress import progress_bar

    if json_file is not None and not json_file.parent.is_dir():
        raise InputError(f"{json_file}: there is no such folder; make it first")
    workers = available_cpus() if workers is None else workers
    rates = []
    with TemporaryDirectory(prefix="rayzer-bench-") as folder, progress_bar("Measuring") as advance:
        lists = made_up_scenes(Path(folder)) if scenes is None else [(scenes.name, find_scenes(scenes, format))]
        kinds = 3 if scenes is None else 1
        advance(0, kinds)
        for name, refs in lists:
            rates.append(measure(name, refs, workers))
            advance(len(rates), kinds)
    print(table(rates))
    if json_file is not None:
        content = {"cpus": available_cpus(), "results": [asdict(rate) for rate in rates]}
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

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
@click.option("--image-size", type=int, default=256, show_default=True, help="Short side of the pictures in pixels.")
@click.option("--patch-size", type=int, default=16, show_default=True, help="Of the model.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that decode.  [default: one per CPU core]")
@click.option("--json", "json_file", type=PATH, help="Write the results to this file, too.")
def bench_data(
    scenes: Path | None, format: str, image_size: int, patch_size: int, workers: int | None, json_file: Path | None
) -> None:
    """Measure how fast training samples of 24 views come out of the loader.

    Files come from the memory of the operating system: a slow disk or network is not part of it, unless the
    scenes given are larger than that memory.
    """
    import json
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from rayzer.benchmarks.data import made_up_scenes, measure, table
    from rayzer.data.formats import search_scenes
    from rayzer.data.images import Preprocessing
    from rayzer.data.parallel import available_cpus
    from rayzer.files import check_output_file
    from rayzer.progress import progress_bar

    if json_file is not None:
        check_output_file(json_file, overwrite=True)
        if not json_file.parent.is_dir():
            raise InputError(f"{json_file}: there is no such folder; make it first")
    workers = available_cpus() if workers is None else workers
    preprocessing = Preprocessing(image_size, patch_size)
    given = [] if scenes is None else [(scenes.name, search_scenes(scenes, format))]
    rates = []
    with TemporaryDirectory(prefix="rayzer-bench-") as folder, progress_bar("Measuring") as advance:
        lists = given or made_up_scenes(Path(folder), preprocessing)
        kinds = 3 if scenes is None else 1
        advance(0, kinds)
        for name, refs in lists:
            rates.append(measure(name, refs, preprocessing, workers))
            advance(len(rates), kinds)
    print(table(rates))
    if json_file is not None:
        content = {"cpus": available_cpus(), "results": [asdict(rate) for rate in rates]}
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@bench.command("rooms", short_help="How fast procedural rooms are made.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one per CPU core]")
def bench_rooms(device: str, workers: int | None) -> None:
    """Measure how fast procedural rooms are made: 24 views of 128x128 pixels each, composing included."""
    from rayzer.benchmarks.rooms import QUALITIES, measure_on_cpu, measure_on_gpu
    from rayzer.data.parallel import available_cpus
    from rayzer.data.synthetic.rooms import DEVICES
    from rayzer.devices import choose_device, device_name
    from rayzer.progress import progress_bar

    chosen = choose_device(device, DEVICES)
    workers = workers or available_cpus()
    rates = []
    with progress_bar("Measuring") as advance:
        for quality in QUALITIES:
            advance(len(rates), len(QUALITIES))
            if chosen.type == "cuda":
                rates.append(measure_on_gpu(quality, str(chosen), workers))
            else:
                rates.append(measure_on_cpu(quality, workers))
        advance(len(rates), len(QUALITIES))
    print(f"rooms on {device_name(chosen)}\n{'quality':>8} {'workers':>8} {'images/s':>10}")
    for rate in rates:
        print(f"{rate.quality:>8} {rate.workers:8} {rate.images_per_s:10.1f}")

"""`rayzer bench ...`: measure speed on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    from rayzer.progress import progress_bar

    _check_json(json_file)
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


config_option = click.option("--config", default="rayzer_dl3dv", show_default=True, help="A preset or a YAML file.")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
json_option = click.option("--json", "json_file", type=PATH, help="Write the results to this file, too.")
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


@bench.command("train", short_help="How fast a model is trained.")
@config_option
@device_option
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Timed steps.")
@click.option("--plain/--no-plain", default=True, help="Also time eager blocks that recompute everything.")
@json_option
@overrides_argument
def bench_train(
    config: str, device: str, steps: int, plain: bool, json_file: Path | None, overrides: tuple[str, ...]
) -> None:
    """Time whole training steps on random pictures and weights, and print the results as JSON.

    \b
    A step is what `rayzer train` does: forward pass, losses, backward pass, clipping, optimiser. It has
    training.samples_at_once scenes for each process. KEY=VALUE changes the configuration:
      rayzer bench train --config rayzer_dl3dv training.recompute=none
      torchrun --nproc-per-node 2 -m rayzer bench train --config rayzer_dl3dv --no-plain
    """
    from rayzer.benchmarks.training import measure_training
    from rayzer.configs import load_config
    from rayzer.progress import progress_bar
    from rayzer.training.distributed import joined_world

    _check_json(json_file)
    found = load_config(config, overrides)
    with joined_world(found.training.processes, device) as world, progress_bar("Measuring") as advance:
        results = measure_training(found, world, steps, plain, advance)
        if world.is_first:
            _tell({"config": config, "overrides": list(overrides), **results}, json_file)


@bench.command("render", short_help="How fast a model predicts a scene and renders it.")
@config_option
@device_option
@click.option("--calls", type=click.IntRange(min=1), default=50, show_default=True, help="Timed calls of each kind.")
@json_option
@overrides_argument
def bench_render(config: str, device: str, calls: int, json_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Time predictions on random pictures and weights, and print the results as JSON.

    Timed are the whole forward pass of one scene, and rendering 1, 8 and 30 views of a scene that is encoded: as
    `rayzer.model.acceleration.FastInference` does it, and as the model itself does.
    """
    from rayzer.benchmarks.rendering import measure_rendering
    from rayzer.configs import load_config
    from rayzer.devices import choose_device
    from rayzer.progress import progress_bar

    _check_json(json_file)
    found = load_config(config, overrides)
    chosen = choose_device(device, ("cuda", "cpu"))
    with progress_bar("Measuring") as advance:
        results = measure_rendering(found.model, chosen, chosen.type == "cuda", calls, advance)
    _tell({"config": config, "overrides": list(overrides), **results}, json_file)


def _check_json(json_file: Path | None) -> None:
    """Raise InputError unless results can be written there; better before measuring than after."""
    from rayzer.files import check_output_file

    if json_file is not None:
        check_output_file(json_file, overwrite=True)
        if not json_file.parent.is_dir():
            raise InputError(f"{json_file}: there is no such folder; make it first")


def _tell(results: dict[str, Any], json_file: Path | None) -> None:
    import json

    text = json.dumps(results, indent=1)
    print(text)
    if json_file is not None:
        json_file.write_text(text + "\n", encoding="utf-8")

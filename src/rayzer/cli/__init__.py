"""The command line: parse, import lazily, call. Every mistake of the user is one plain line and exit code 2."""

from __future__ import annotations

import logging
import signal
import sys
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayzer.cli.bench import bench
from rayzer.cli.data import PATH, data, overwrite_option
from rayzer.cli.evaluate import evaluate
from rayzer.cli.report import report
from rayzer.cli.train import train
from rayzer.errors import InputError, RunError, one_line

if TYPE_CHECKING:
    import torch

    from rayzer.model.weights import ModelConfig
    from rayzer.prediction.predict import Checkpoint

NO_WEIGHTS = "no trained weights come with this version yet; name some with --checkpoint"

checkpoint_option = click.option(
    "--checkpoint", help="Checkpoint folder, reference .pt file, or hub id.  [default: what comes with rayzer]"
)
config_option = click.option("--config", help="For a reference .pt file: its YAML file, or a preset's name.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def app() -> None:
    """RayZer: cameras, a scene and new views from unposed photos or video."""


app.add_command(data)
app.add_command(bench)
app.add_command(train)
app.add_command(evaluate)
app.add_command(report)


@app.command()
@click.option("-o", "--output", type=PATH, help="Folder for all results.  [default: the next free rayzer-demo-N]")
@overwrite_option
def demo(output: Path | None, overwrite: bool) -> None:
    """Run on bundled procedural rooms; write a page to look at."""
    from rayzer.prediction.demo import run_demo
    from rayzer.prediction.page import agreement

    made = run_demo(output, overwrite)
    score, copy = made.results["summary"]["psnr"], made.results["controls"]["copy_nearest"]["psnr"]
    print(f"Held-out views: {score:.1f} dB PSNR; copies of the nearest photo: {copy:.1f} dB.")
    print(f"Cameras against the true ones: {agreement(made.poses)}.")
    noise = " The weights are random, so the pictures are noise." if made.is_random else ""
    print(f"Done.{noise} Open in a browser:", *made.pages, sep="\n  ")


@app.command()
@click.argument("input", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for all results.")
@checkpoint_option
@config_option
@click.option(
    "--path",
    default="interpolate",
    show_default=True,
    help="Fly-through: interpolate, orbit, spiral, dolly, wobble, or a camera_path.json.",
)
@click.option("--frames", type=int, help="Frames of the fly-through.  [default: 60]")
@click.option("--fps", type=float, help="Frames per second of the video.  [default: 24]")
@click.option("--size", type=int, help="Short side of the pictures in pixels.  [default: as trained]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of the transformers; cameras and rays are always float32.",
)
@click.option("--strict", is_flag=True, help="Stop at the first unreadable photo instead of leaving it out.")
@click.option("--allow-outside", is_flag=True, help="Follow paths that leave the scene file's folder.")
@overwrite_option
def predict(
    input, output, checkpoint, config, path, frames, fps, size, device, dtype, strict, allow_outside, overwrite
) -> None:
    """Photos or a video in; cameras, new views and a page out.

    INPUT is a folder of photos, a video, a scene file, or the scene.safetensors of an earlier prediction.
    """
    from rayzer.data.sources.packed_file import looks_packed
    from rayzer.devices import Runtime
    from rayzer.prediction.embedded import CAUTION, shows_rooms
    from rayzer.prediction.encoded import load_scene
    from rayzer.prediction.outputs import check_destination
    from rayzer.prediction.path import PathRequest
    from rayzer.prediction.photos import choose_photos
    from rayzer.prediction.predict import predict_encoded, predict_photos

    way = PathRequest.parse(path, frames, fps)
    runtime = Runtime.choose(device, dtype)
    if input.suffix == ".safetensors" and not looks_packed(input):
        check_destination(output, overwrite)
        if size is not None:
            raise InputError(f"--size {size}: {input} is encoded at its own size; encode the photos again")
        encoded = load_scene(input)
        loaded = _load(checkpoint, config, runtime.device)
        outcome = predict_encoded(encoded, loaded, way, runtime, output, overwrite)
    else:
        check_destination(output, overwrite, input)
        model_config, problem = _peek(checkpoint, config)
        chosen = choose_photos(input, model_config, size, strict, allow_outside)
        if checkpoint is None and problem is None and not shows_rooms(input):
            chosen = replace(chosen, notes=(*chosen.notes, CAUTION))
        if problem is not None:
            raise problem
        for note in chosen.notes:
            print(f"note: {one_line(note)}", file=sys.stderr)
        loaded = _load(checkpoint, model_config, runtime.device)
        outcome = predict_photos(chosen, loaded, way, runtime, output, overwrite)
    scores = outcome.psnr_db
    held_out = f"held-out views at {scores.mean():.2f} dB" if len(scores) else "no view was held out"
    print(f"Done: {held_out}. Open {output / 'index.html'} in a browser.")


@app.command()
@click.argument("source")
@click.argument("destination", type=PATH)
@config_option
@overwrite_option
def convert(source: str, destination: Path, config: str | None, overwrite: bool) -> None:
    """Convert between reference .pt files and checkpoint folders.

    SOURCE is a reference .pt file (with --config), a checkpoint folder or a hub id; DESTINATION is a folder, or a
    file ending in .pt.
    """
    from rayzer.model.weights import load_model, save_model, save_reference

    to_reference = destination.suffix == ".pt"
    if to_reference and destination.exists() and not overwrite:
        raise InputError(f"{destination}: exists; choose another name or add --overwrite")
    model = load_model(source, config)
    if to_reference:
        save_reference(model, destination)
    else:
        save_model(model, destination, overwrite)
    print(f"Wrote {destination}")


@app.command()
def info() -> None:
    """Print version and environment, for bug reports."""
    import platform

    import torch

    import rayzer

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA GPU"
    print(f"rayzer {rayzer.__version__}\nPython {platform.python_version()} on {platform.platform()}")
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} CPU threads")


def _peek(checkpoint: str | None, config: str | None) -> tuple[ModelConfig, InputError | None]:
    """How many views the checkpoint takes, and which size; and what is wrong with it.

    The photos are checked before that is told: then those of the released model are assumed.
    """
    from rayzer.model.rayzer import RayZerConfig
    from rayzer.model.weights import peek_config
    from rayzer.prediction.embedded import embedded_checkpoint

    source = embedded_checkpoint() if checkpoint is None else checkpoint
    if source is None:
        return RayZerConfig(), InputError(NO_WEIGHTS)
    try:
        return peek_config(source, config), None
    except InputError as error:
        return RayZerConfig(), error


def _load(checkpoint: str | None, config: str | ModelConfig | None, device: torch.device) -> Checkpoint:
    from rayzer.model.weights import load_model
    from rayzer.prediction.embedded import NAME, embedded_checkpoint
    from rayzer.prediction.predict import Checkpoint
    from rayzer.progress import progress_bar

    source = embedded_checkpoint() if checkpoint is None else checkpoint
    if source is None:
        raise InputError(NO_WEIGHTS)
    with progress_bar("Loading weights") as advance:
        model = load_model(source, config, device)
        advance(1, 1)
    return Checkpoint(model, NAME if checkpoint is None else checkpoint)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    With 0; 1 if a run had to end; 2 for a mistake of the user; 130 when interrupted, 143 when terminated.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("rayzer").setLevel(logging.INFO)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries are not the user's business
    for stream in (sys.stdout, sys.stderr):  # which may lack a letter of a file's name
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that unfinished files go
    code = _run(arguments)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # all is done; another one would only disturb the end
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    try:
        return app.main(arguments, prog_name="rayzer", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 0
    except (InputError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"rayzer: {one_line(message)}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"rayzer: {one_line(str(error))}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, click.Abort):
        print("\nrayzer: interrupted", file=sys.stderr)
        return 130

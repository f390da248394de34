"""`rayzer data ...`: look at scenes, convert, list and pack them, make procedural ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayzer.errors import InputError, counted, one_line

if TYPE_CHECKING:
    from rayzer.data.inspection.evidence import Recipe
    from rayzer.data.inspection.report import Inspection
    from rayzer.data.scenes import Scene

PATH = click.Path(path_type=Path)
_SHOWN = 20  # lines of complaint of one kind

format_option = click.option(
    "--format", metavar="NAME", default="", help="Read the input as this format.  [default: recognised]"
)
outside_option = click.option("--allow-outside", is_flag=True, help="Follow paths that leave a scene's folder.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace results of an earlier run.")


@click.group(short_help="Look at data sets, convert, list and pack them.")
def data() -> None:
    """Look at scenes, convert, list and pack them, make procedural ones.

    \b
    From videos to a training set:
      rayzer data convert videos/ scenes/
      rayzer data inspect scenes/
      rayzer data pack scenes/ packed/

    The guide is docs/data.md, with all formats.
    """


@data.command(short_help="Say what is there and what is broken.")
@click.argument("path", type=PATH)
@format_option
@outside_option
@click.option("--no-poses", is_flag=True, help="Leave poses and intrinsics aside: RayZer trains without.")
@click.option(
    "--recipe", metavar="NAME", help="Ask for as many frames as this preset trains on, for instance rayzer_dl3dv."
)
@click.option("--all", "every_picture", is_flag=True, help="Decode every picture, however many there are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/formats.md) and nothing else.")
def inspect(
    path: Path,
    format: str,
    allow_outside: bool,
    no_poses: bool,
    recipe: str | None,
    every_picture: bool,
    as_json: bool,
) -> None:
    """Say what is there, what is broken, and what to do about it.

    PATH is a scene, a video, a folder of scenes or a list of them. The exit code is 2 if no scene is usable.
    """
    from rayzer.data.formats import search_scenes
    from rayzer.data.inspection.evidence import ANYTHING
    from rayzer.data.inspection.inspector import InspectOptions, inspect_scenes
    from rayzer.data.inspection.report import Inspection
    from rayzer.progress import progress_bar

    wanted = _recipe(recipe) if recipe else ANYTHING
    options = InspectOptions(not no_poses, allow_outside, every_picture, wanted)
    refs = search_scenes(path, format)
    with progress_bar("Inspecting") as advance:
        scenes = inspect_scenes(refs, options, advance)
    inspection = Inspection(path, options.cameras, wanted, scenes)
    _print_json(inspection) if as_json else _print_text(inspection)
    if not inspection.without_poses:
        raise InputError(f"{path}: nothing here can be used as a scene; the report on it says why")


def _recipe(name: str) -> Recipe:
    from rayzer.configs.presets import PRESETS
    from rayzer.data.inspection.evidence import Recipe
    from rayzer.data.view_sampling import ViewSampler

    if name not in PRESETS:
        raise InputError(f"--recipe {name}: is not known; choose one of {', '.join(PRESETS)}")
    config = PRESETS[name]()
    views = config.training.views
    sampler = ViewSampler(views, config.model.context_views, config.model.target_views)
    widest = 1 + max(views.start_distance[1], views.end_distance[1])
    return Recipe(name, sampler.frames_needed(range(config.training.steps)), widest)


def _print_json(inspection: Inspection) -> None:
    import json

    from rayzer.data.inspection.report import as_json

    print(json.dumps(as_json(inspection), indent=2, allow_nan=False))


def _print_text(inspection: Inspection) -> None:
    from rich.console import Console

    from rayzer.data.inspection.text import MAX_WIDTH, render

    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    with console.capture() as captured:
        console.print(render(inspection))
    encoding = sys.stdout.encoding or "utf-8"  # which may lack a mark, or a letter of a file's name
    lines = captured.get().encode(encoding, "replace").decode(encoding).splitlines()
    print(*map(str.rstrip, lines), sep="\n")


@data.command("make-index", epilog="Example: rayzer data make-index scenes/ -o view_index.json")
@click.argument("scenes", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The view index, a JSON file.")
@click.option(
    "--kind",
    type=click.Choice(["even", "random"]),
    default="even",
    show_default=True,
    help="Views evenly spaced, or drawn as in training.",
)
@click.option("--context", type=int, default=16, show_default=True, help="Views that a scene is made from.")
@click.option("--target", type=int, default=8, show_default=True, help="Views that are rendered and scored.")
@click.option(
    "--distance", metavar="A-B", default="64-96", show_default=True, help="Pictures from first to last view, or: all."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other views.")
@format_option
@outside_option
@overwrite_option
def make_index(scenes, output, kind, context, target, distance, seed, format, allow_outside, overwrite) -> None:
    """Choose the views that an evaluation uses.

    SCENES is a scene, a folder of scenes or a list of them. A scene's views depend on its name and the options
    only, not on the others.
    """
    from rayzer.data import view_index
    from rayzer.data.formats import read_scene, search_scenes
    from rayzer.data.sources.source import ReadOptions, leave_out
    from rayzer.data.sources.video import refuse_videos
    from rayzer.files import check_output_file
    from rayzer.progress import progress_bar

    request = view_index.IndexRequest(kind, context, target, view_index.parse_distance(distance), seed)
    check_output_file(output, overwrite)
    refs = search_scenes(scenes, format)
    refuse_videos(refs)
    options = ReadOptions(allow_outside=allow_outside, cameras=False, report=leave_out([]))
    gaps: list[str] = []

    def read(number: int) -> Scene:
        advance(number + 1, len(refs))
        scene = read_scene(refs[number], options)
        if missing := len(scene) - len(scene.present):
            gaps.append(f"{refs[number]}: {counted(missing, 'picture')} missing; these frames are not chosen")
        return scene

    with progress_bar("Reading scenes") as advance:
        splits = view_index.make_index(map(read, range(len(refs))), request)
        view_index.write_view_index(splits, output)
    _complain("note", gaps)
    chosen = sum(split is not None for split in splits.values())
    left_out = f"; {len(splits) - chosen} too short, null in the index" if chosen < len(splits) else ""
    print(f"Wrote {output}: views of {chosen} of {len(splits)} scenes{left_out}")


@data.command(
    short_help="Write pictures and cameras in another format.", epilog="Example: rayzer data convert videos/ scenes/"
)
@click.argument("source", type=PATH)
@click.argument("destination", type=PATH)
@click.option(
    "--to",
    metavar="FORMAT",
    type=click.Choice(["rayzer", "nerfstudio", "colmap"]),
    default="rayzer",
    show_default=True,
    help="rayzer, or nerfstudio or colmap, which need cameras.",
)
@format_option
@click.option("--fps", type=float, default=5.0, show_default=True, help="Pictures a second to take from videos.")
@click.option("--no-poses", is_flag=True, help="Leave poses and intrinsics aside, valid or not.")
@click.option("--undistort", is_flag=True, help="Remove lens distortion from the pictures.")
@outside_option
@overwrite_option
def convert(source, destination, to, format, fps, no_poses, undistort, allow_outside, overwrite) -> None:
    """Convert scenes or videos of any format into folders of pictures and cameras.

    SOURCE is a scene, a video, a folder of them or a list. A scene or video goes into DESTINATION itself, those of
    a folder or list into a folder each. Pictures stay as they are, byte for byte, if they are plain JPEG or PNG.
    Interrupted, the same command goes on where it stopped.
    """
    from rayzer.data.convert import ConvertRequest
    from rayzer.data.convert import convert as convert_scenes

    request = ConvertRequest(to, not no_poses, undistort, fps, allow_outside)
    report = convert_scenes(source, destination, request, format, overwrite)
    _complain("note", [f"{scene.name}: {note}" for scene in report.scenes for note in scene.notes])
    _complain("left out", report.left_out)
    pictures = sum(scene.pictures for scene in report.scenes)
    print(f"Wrote {destination}: {counted(len(report.scenes), 'scene')}, {counted(pictures, 'picture')}")


@data.command(
    short_help="List the scenes that can be used.", epilog="Example: rayzer data index scenes/ more/ -o scenes.txt"
)
@click.argument("paths", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="The scene list, a text file.")
@click.option("--no-poses", is_flag=True, help="Pictures suffice; poses are not even looked at.")
@click.option(
    "--min-frames", type=click.IntRange(min=1), default=1, show_default=True, help="Leave out scenes with fewer."
)
@outside_option
@overwrite_option
def index(paths, output, no_poses, min_frames, allow_outside, overwrite) -> None:
    """List all scenes that can be used, and say what is wrong with the others.

    PATHS are scenes, folders of scenes or lists of them. Scenes below the folder of the list are named relative to
    it. Without --no-poses, only scenes with valid cameras are listed.
    """
    from rayzer.data.listing import Wanted, list_scenes
    from rayzer.data.parallel import available_cpus

    found = list_scenes(paths, output, Wanted(not no_poses, min_frames, allow_outside), available_cpus(), overwrite)
    for kind in dict.fromkeys(scene.kind for scene in found if scene.kind):
        _complain(kind, [scene.reason for scene in found if scene.kind == kind])
    kept = [scene for scene in found if not scene.kind]
    gaps = {scene.ref: counted(scene.missing, "picture") for scene in kept if scene.missing}
    _complain("note", [f"{ref}: {missing} missing; training goes on without" for ref, missing in gaps.items()])
    pictures = sum(scene.pictures for scene in kept)
    print(f"Wrote {output}: {len(kept)} of {counted(len(found), 'scene')}, {counted(pictures, 'picture')}")


@data.command(
    short_help="Resize all pictures once, for fast training.", epilog="Example: rayzer data pack scenes/ packed/"
)
@click.argument("source", type=PATH)
@click.argument("destination", type=PATH)
@click.option("--image-size", type=int, default=256, show_default=True, help="Short side in pixels.")
@click.option("--patch-size", type=int, default=16, show_default=True, help="Long sides are rounded to it.")
@click.option("--keep-aspect", is_flag=True, help="Do not crop pictures to squares.")
@click.option("--no-poses", is_flag=True, help="Leave poses and intrinsics aside: RayZer trains without.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes; fewer need less memory.  [default: one per CPU core]"
)
@click.option("--shard", metavar="I/N", help="Pack part I of N only, for arrays of cluster jobs.")
@format_option
@outside_option
@overwrite_option
def pack(
    source,
    destination,
    image_size,
    patch_size,
    keep_aspect,
    no_poses,
    workers,
    shard,
    format,
    allow_outside,
    overwrite,
) -> None:
    """Resize all pictures once, for training that does not wait for data.

    SOURCE is a scene, a folder of scenes or a list of them. DESTINATION gets one .safetensors file a scene,
    scenes.txt to train on, and SHA256SUMS. Interrupted, the same command goes on where it stopped. With --shard
    several machines share the work; the command without it then finishes the set.
    """
    from rayzer.data.bad_data import ALLOWED_SHARE
    from rayzer.data.images import Preprocessing
    from rayzer.data.packing import PackRequest, Shard
    from rayzer.data.packing import pack as pack_scenes
    from rayzer.data.parallel import available_cpus

    request = PackRequest(Preprocessing(image_size, patch_size, not keep_aspect), not no_poses, allow_outside)
    part = None if shard is None else Shard.parse(shard)
    report = pack_scenes(source, destination, request, format, workers or available_cpus(), part, overwrite)
    _complain("unreadable", report.unreadable)
    _complain("left out", report.left_out)
    if report.bad_share > ALLOWED_SHARE:
        share = f"{report.bad_share:.1%} of what should be packed is missing"
        print(f"warning: {share}; look into the source (rayzer data inspect {source}) before training", file=sys.stderr)
    done = f"{counted(report.scenes, 'scene')}, {counted(report.images, 'picture')}, {_size(report.bytes)}"
    if part is None:
        print(f"Packed {destination}: {done}")
    else:
        todo = (
            f"{counted(report.missing, 'scene')} to go. At the end," if report.missing else "all scenes are tried. Now"
        )
        print(f"Packed part {shard}: {done} by now, {todo} run this command once without --shard.")


_ROOM_OPTIONS = (
    "scenes",
    "pairs",
    "views",
    "image_size",
    "span",
    "seed",
    "quality",
    "pictures",
    "packed",
    "depth_cell",
)


@data.command(epilog="Example: rayzer data synthesize rooms/ --scenes 100")
@click.argument("destination", type=PATH)
@click.option("--scenes", type=int, default=16, show_default=True, help="How many rooms, or pairs of rooms.")
@click.option("--pairs", is_flag=True, help="Film two rooms along every camera path: room-000000a and room-000000b.")
@click.option("--views", type=int, default=24, show_default=True, help="Pictures of each, along a camera path.")
@click.option("--image-size", type=int, default=256, show_default=True, help="Side of the pictures in pixels.")
@click.option("--span", type=float, default=0.5, show_default=True, help="How far a camera path goes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first room; the others follow.")
@click.option(
    "--quality",
    type=click.Choice(["full", "fast"]),
    default="full",
    show_default=True,
    help="Four rays a pixel, or two.",
)
@click.option("--pictures", type=PATH, help="A folder of photos (up to 256 are used) to hang on walls.")
@click.option("--packed", is_flag=True, help="Write a packed set to train on, as pack would make it of the pictures.")
@click.option("--depth-cell", type=int, default=0, help="With --packed: keep depth, too, at cells of so many pixels.")
@click.option(
    "--benchmark", type=click.Choice(["rooms-v1"]), help="Make this benchmark; the options above are its own."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one per CPU core]")
@overwrite_option
@click.pass_context
def synthesize(
    context,
    destination,
    scenes,
    pairs,
    views,
    image_size,
    span,
    seed,
    quality,
    pictures,
    benchmark,
    packed,
    depth_cell,
    device,
    workers,
    overwrite,
) -> None:
    """Make procedural rooms with exact cameras, as RayZer scenes.

    A seed always makes the same room. With a GPU, processes compose and write rooms, and the GPU renders dozens at
    once. Interrupted, the same command goes on where it stopped.
    """
    from rayzer.data.synthetic.rooms import DEVICES
    from rayzer.data.synthetic.writing import RoomsRequest
    from rayzer.data.synthetic.writing import synthesize as write_rooms
    from rayzer.devices import choose_device

    device = str(choose_device(device, DEVICES))
    if benchmark:
        for option in _ROOM_OPTIONS:
            if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE:
                text = option.replace("_", "-")
                raise InputError(f"--{text}: {benchmark} is what it is; leave this option or --benchmark out")
        from rayzer.data.synthetic.rooms_v1.generate import generate

        generate(destination, device, workers, overwrite)
        print(f"Wrote {destination}: {benchmark}, as published")
        return
    request = RoomsRequest(seed, scenes, views, image_size, span, quality, pictures, pairs, packed, depth_cell)
    left_out = write_rooms(destination, request, device, workers, overwrite)
    _complain("left out", left_out)
    print(f"Wrote {destination}: {counted(len(request.keys()) - len(left_out), 'room')} of {counted(views, 'picture')}")


def _complain(kind: str, lines: Sequence[str]) -> None:
    """Print the first few lines on stderr, and how many there are."""
    for line in lines[:_SHOWN]:
        print(f"{kind}: {one_line(line)}", file=sys.stderr)
    if len(lines) > _SHOWN:
        print(f"{kind}: ... and {len(lines) - _SHOWN} more", file=sys.stderr)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"

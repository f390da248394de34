"""Converting scenes: any format in; RayZer scenes, nerfstudio or COLMAP folders out, with their pictures.

DST/images/...   and  opencv_cameras.json | transforms.json | sparse/0        one scene
DST/NAME/...     the same, once for each of many scenes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rayzer.data.exchange import known_camera, opencv_distortion
from rayzer.data.formats import read_scene, search_scenes
from rayzer.data.parallel import available_cpus
from rayzer.data.pictures import ordered_stems, save_picture
from rayzer.data.scene_jobs import (
    Plan,
    SceneOutcome,
    SceneTask,
    Staging,
    check_replaced,
    open_staging,
    run_scenes,
)
from rayzer.data.scene_names import check_apart, is_plain_name, plain_name, scene_names
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources import colmap, nerfstudio, rayzer_json
from rayzer.data.sources.source import ReadOptions, SceneRef, leave_out
from rayzer.data.sources.video import Video, export_video
from rayzer.data.sources.video_decoder import THREADS
from rayzer.data.strict_json import load_json
from rayzer.data.undistort import undistorted
from rayzer.errors import InputError
from rayzer.files import exists
from rayzer.progress import Advance, progress_bar

IMAGES = "images"
REPORT = "convert.json"
FPS = 5.0  # of pictures taken from videos, as in DL3DV-10K

_REPORT_FORMAT = "rayzer-converted"
_NO_CAMERAS = "has no cameras, which --to {} needs; convert --to rayzer, or estimate cameras with rayzer predict"
_SOME_CAMERAS = "has cameras for some frames only; leave all of them out with --no-poses"
_DISTORTED = (
    "the lens distortion is not in opencv_cameras.json, which holds pinholes; "
    "--undistort removes it from the pictures, as for published numbers"
)


def _write_rayzer(scene: Scene, folder: Path) -> None:
    rayzer_json.write_rayzer_json(scene, folder)


def _write_nerfstudio(scene: Scene, folder: Path) -> None:
    nerfstudio.write_transforms(folder / nerfstudio.FILE_NAME, scene.frames, _note(scene))


def _write_colmap(scene: Scene, folder: Path) -> None:
    colmap.write_colmap(folder / "sparse" / "0", scene.frames, _note(scene))


WRITERS: dict[str, tuple[Callable[[Scene, Path], None], str]] = {
    "rayzer": (_write_rayzer, rayzer_json.FILE_NAME),
    "nerfstudio": (_write_nerfstudio, nerfstudio.FILE_NAME),
    "colmap": (_write_colmap, "sparse"),
}
"""Formats that are written: how, and the file or folder beside `images/` that a scene is known by."""


@dataclass(frozen=True)
class ConvertRequest:
    """What to convert to.

    Attributes:
        to: a key of `WRITERS`.
        cameras: convert poses and intrinsics; without, they are not even looked at.
        undistort: remove lens distortion from the pictures.
        fps: pictures to take of each second of a video.
        allow_outside: follow paths in scene files that leave the scene's folder.
    """

    to: str = "rayzer"
    cameras: bool = True
    undistort: bool = False
    fps: float = FPS
    allow_outside: bool = False

    def __post_init__(self) -> None:
        if self.to not in WRITERS:
            raise InputError(f"--to {self.to}: is not written; choose one of {', '.join(WRITERS)}")
        if not 0 < self.fps <= 1000:
            raise InputError(f"--fps {self.fps:g}: expected pictures a second, above 0 and at most 1000")
        if not self.cameras and (self.undistort or self.to != "rayzer"):
            option = "--undistort" if self.undistort else f"--to {self.to}"
            raise InputError(f"--no-poses: {option} needs the cameras; leave one of the two options out")


@dataclass(frozen=True)
class ConvertJob:
    """Converting one scene: a `SceneJob`.

    Attributes:
        request: what to convert to.
        out: the output folder.
        is_single: whether the scene goes into `out` itself, or into a folder in it.
    """

    request: ConvertRequest
    out: Path
    is_single: bool

    def make(self, task: SceneTask, target: Path, progress: Advance) -> dict[str, Any]:
        """Write one scene folder."""
        (target / IMAGES).mkdir(parents=True)
        if Video().recognises(task.ref.path):
            scene, notes = _from_video(task.ref.path, target, self.request, progress)
        else:
            scene, lost = _read(task.ref, self.request)
            _check_pictures(scene, self.places(task))
            scene, notes = _with_pictures(scene, lost, target, self.request, progress)
        if scene.name == plain_name(task.ref) and not is_plain_name(task.name, task.ref):  # others are called so, too
            scene = replace(scene, name=task.name)
        WRITERS[self.request.to][0](scene, target)
        return asdict(Converted(scene.name, "." if self.is_single else task.name, len(scene), notes))

    def places(self, task: SceneTask) -> list[Path]:
        """All that will be replaced."""
        if not self.is_single:
            return [self.out / task.name]
        return [self.out / name for name in (IMAGES, WRITERS[self.request.to][1])]


@dataclass(frozen=True)
class Converted:
    """One converted scene: its name, its folder in the output, its pictures, and what a user should know."""

    name: str
    folder: str
    pictures: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ConvertReport:
    """What `convert` did: the scenes written, and a line on each that is left out."""

    scenes: tuple[Converted, ...]
    left_out: tuple[str, ...]


def convert(
    source: Path, out: Path, request: ConvertRequest = ConvertRequest(), format: str = "", overwrite: bool = False
) -> ConvertReport:
    """Convert a scene into the folder `out`, or many into folders in it. What was left unfinished is continued.

    Args:
        source: what `find_scenes` takes.
        out: until everything is converted, all is in `out/.partial`.
        request: what to convert to.
        format: of `source`; empty to recognise it.
        overwrite: replace scenes that were converted before, and begin anew what was left unfinished without this.

    Raises:
        InputError: if nothing can be converted, or `out` cannot be written or lies in the input.
    """
    refs = search_scenes(source, format)
    job = ConvertJob(request, out, is_single=len(refs) == 1 and refs[0].path == source and not refs[0].key)
    tasks = tuple(SceneTask(i, ref, name) for i, (ref, name) in enumerate(zip(refs, scene_names(refs), strict=True)))
    places = [place.name for task in tasks for place in job.places(task)]
    check_apart(out, places, {source, *(ref.path for ref in refs)})
    earlier = {entry["folder"] for entry in _earlier(out)}
    check_replaced(out, places, own=places if job.is_single and "." in earlier else earlier)
    plan = Plan("convert", {**asdict(request), "single": job.is_single}, tasks)
    staging = open_staging(out, plan, overwrite)
    with progress_bar("Converting") as advance:
        run_scenes(job, staging, tasks, _workers(refs), advance)
        return _finish(staging, staging.outcomes(tasks), job)


def _read(ref: SceneRef, request: ConvertRequest) -> tuple[Scene, list[str]]:
    """The scene, and a line for each picture that cannot be read."""
    lost: list[str] = []
    report = leave_out(lost, "; or convert without cameras (--no-poses)")
    scene = read_scene(ref, ReadOptions(request.allow_outside, request.cameras, report=report))
    return scene, [*(message for _, message in scene.skipped), *lost]


def _from_video(path: Path, target: Path, request: ConvertRequest, progress: Advance) -> tuple[Scene, tuple[str, ...]]:
    if request.to != "rayzer":
        raise InputError(f"{path}: {_NO_CAMERAS.format(request.to)}")
    scene = export_video(path, target / IMAGES, request.fps, progress)
    return scene, scene.notes


def _with_pictures(
    scene: Scene, lost: list[str], target: Path, request: ConvertRequest, progress: Advance
) -> tuple[Scene, tuple[str, ...]]:
    """Write all pictures; the frames that have one are the new scene. Also notes on it."""
    present = [scene.frames[index] for index in scene.present]
    if present:
        _check_cameras(scene, present, request)
    frames = []
    for done, (frame, stem) in enumerate(zip(present, ordered_stems([frame.name for frame in present]), strict=True)):
        pinhole = undistorted(frame) if request.undistort else frame
        try:
            picture = save_picture(pinhole, target / IMAGES, stem)
        except InputError as error:
            lost.append(str(error))
        else:
            frames.append(replace(pinhole, name=picture.name, image=picture))
        progress(done + 1, len(present))
    if not frames:
        reason = f" ({lost[0]})" if lost else ""
        raise InputError(f"{scene.source}: none of its pictures can be read{reason}; leave it out")
    notes = (*scene.notes, *_notes(scene, frames, lost, request))
    return replace(scene, frames=tuple(frames)), notes


def _check_cameras(scene: Scene, frames: Sequence[Frame], request: ConvertRequest) -> None:
    for name in ("world_from_camera", "fxfycxcy_px"):
        known = [getattr(frame, name) is not None for frame in frames]
        if request.to != "rayzer" and not any(known):
            raise InputError(f"{scene.source}: {_NO_CAMERAS.format(request.to)}")
        if any(known) and not all(known):
            raise InputError(f"{scene.source}: {_SOME_CAMERAS}")
    if request.to != "rayzer":
        for frame in frames:
            known_camera(frame)
            opencv_distortion(frame if not request.undistort else replace(frame, distortion=()))


def _notes(scene: Scene, frames: Sequence[Frame], lost: Sequence[str], request: ConvertRequest) -> Iterable[str]:
    missing = len(scene) - len(frames)
    if missing:
        first = f" (the first: {lost[0]})" if lost else ""
        yield (
            f"{missing} of {len(scene)} frames have no readable picture and are left out{first}; "
            "the numbers of later frames shift, so view indices of the original do not fit"
        )
    elif lost:  # files that a folder of photos does not even count as frames
        yield f"files that cannot be read are left out ({len(lost)}); the first: {lost[0]}"
    if request.to == "rayzer" and any(any(frame.distortion) for frame in frames):
        yield _DISTORTED


def _note(scene: Scene) -> str:
    return f"Scene {scene.name!r}, converted by rayzer. The world is that of the source."


def _check_pictures(scene: Scene, replaced: Iterable[Path]) -> None:
    """Raise InputError if one of the scene's pictures lies in what will be replaced."""
    targets = {path.resolve() for path in replaced if exists(path)}
    folders = {frame.image.parent for frame in scene.frames if isinstance(frame.image, Path)} if targets else set()
    for folder in folders:
        if targets & {folder.resolve(), *folder.resolve().parents}:
            raise InputError(f"{folder}: the results would replace these pictures; choose another output folder")


def _earlier(out: Path) -> list[dict[str, Any]]:
    """The scenes that `convert.json` names."""
    if not exists(out / REPORT):
        return []
    data = load_json(out / REPORT)
    scenes = data.get("scenes")
    known = isinstance(scenes, list) and all(isinstance(entry, dict) and "folder" in entry for entry in scenes)
    if data.get("format") != _REPORT_FORMAT or not isinstance(scenes, list) or not known:
        raise InputError(f"{out / REPORT}: is not from an earlier run; choose another output folder")
    return scenes


def _workers(refs: Sequence[SceneRef]) -> int:
    """How many scenes are converted at once; a video is decoded by several threads."""
    videos = any(Video().recognises(ref.path) for ref in refs)
    return max(1, available_cpus() // THREADS) if videos else available_cpus()


def _finish(staging: Staging, outcomes: Sequence[SceneOutcome], job: ConvertJob) -> ConvertReport:
    """Move scenes to their places."""
    made = staging.made([outcome.task for outcome in outcomes])
    scenes = tuple(Converted(**result) for _, result in made)
    report = ConvertReport(scenes, tuple(outcome.error for outcome in outcomes if outcome.result is None))
    folders = [staging.results / task.name for task, _ in made]
    entries = sorted(folders[0].iterdir()) if job.is_single and folders[0].exists() else folders
    staging.finish(
        lambda folder: _write_report(folder / REPORT, report, _earlier(staging.out)),
        [(entry, staging.out / entry.name) for entry in (*entries, staging.folder / REPORT)],
    )
    return report


def _write_report(path: Path, report: ConvertReport, earlier: Sequence[dict[str, Any]]) -> None:
    new = {scene.folder for scene in report.scenes}
    scenes = [*(entry for entry in earlier if entry["folder"] not in new), *map(asdict, report.scenes)]
    content = {"format": _REPORT_FORMAT, "scenes": scenes, "left_out": report.left_out}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

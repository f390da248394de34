"""Videos: frames chosen evenly in time, decoded in a child process that may crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from threading import Timer

import numpy as np

from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.source import ReadOptions, SceneRef, Source
from rayzer.errors import InputError
from rayzer.files import is_file

SILENCE_S = 60.0
SUFFIXES = frozenset(
    (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm")
)

_PROGRAM = Path(__file__).with_name("video_decoder.py")


class Video(Source):
    """A video: frames evenly spaced in time."""

    name = "video"
    description = "a video (mp4, mov, mkv, webm, avi, ...)"

    def recognises(self, path: Path) -> bool:
        """A file named like a video."""
        return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and is_file(path)

    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """See `read_video`."""
        return read_video(ref.path, options.video_frames, options.progress)


def refuse_videos(refs: Iterable[SceneRef]) -> None:
    """Raise InputError if one of the scenes is a video: of those, pictures must be chosen first."""
    for ref in refs:
        if Video().recognises(ref.path):
            raise InputError(f"{ref}: is a video; take pictures from it first with rayzer data convert")


def read_video(path: Path | str, count: int, progress: Callable[[int, int], object] | None = None) -> Scene:
    """At most `count` frames of a video, evenly spaced in time, the first and the last included.

    A video with fewer frames gives each of them once. Rotation metadata is applied. Only the chosen frames
    are kept, as decoded pixels; they are named by their time ("1.500s").

    Args:
        path: the video file.
        count: how many frames, at least 1.
        progress: called as `progress(frames so far, count)` while the video is decoded.

    Raises:
        InputError: if the file is no video, is damaged, ends before it should or is too large.
        ValueError: if `count` is less than 1.
    """
    path = Path(path)
    if count < 1:
        raise ValueError(f"at least one frame must be chosen, got count={count}")
    _check(path)
    try:
        with TemporaryDirectory(prefix="rayzer-video-") as folder:
            report = _decode(path, "count", count, Path(folder), progress)
            pixels = [np.load(file, allow_pickle=False) for file in sorted(Path(folder).glob("*.npy"))]
    except OSError as error:
        problem = f"its frames cannot be kept in {gettempdir()} ({error.strerror})"
        raise InputError(f"{path}: {problem}; free space there, or name another folder in TMPDIR") from error
    return _scene(path, report, pixels)


def export_video(
    path: Path | str, folder: Path, fps: float, progress: Callable[[int, int], object] | None = None
) -> Scene:
    """Write frames of a video as JPEG (quality 95, full colour resolution), `fps` a second; none is dropped for blur.

    They are chosen by time: the first, then the nearest to every multiple of 1 / fps seconds. A video with fewer
    frames gives each of them once. Rotation metadata is applied. Memory does not grow with the video.

    Args:
        path: the video file.
        folder: an existing folder; gets `00000.jpg`, `00001.jpg`, ...
        fps: frames a second, positive.
        progress: called as `progress(frames so far, frames in all)`.

    Raises:
        InputError: if the file is no video, is damaged, ends before it should or has huge frames.
        OSError: if the pictures cannot be written.
    """
    path = Path(path)
    _check(path)
    with TemporaryDirectory(prefix="rayzer-video-") as log:
        report = _decode(path, "fps", fps, folder, progress, Path(log))
    return _scene(path, report, sorted(folder.glob("*.jpg")))


def _check(path: Path) -> None:
    if not is_file(path):
        raise InputError(f"{path}: there is no such file; check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty; copy it again")


def _scene(path: Path, report: dict, images: Sequence[np.ndarray | Path]) -> Scene:
    frames = tuple(
        Frame(f"{time_s:.3f}s", image, *size, time_s=time_s)
        for time_s, size, image in zip(report["times_s"], report["sizes"], images, strict=True)
    )
    return Scene(path.stem, frames, path, tuple(report["notes"]))


def _decode(
    path: Path,
    way: str,
    number: float,
    folder: Path,
    progress: Callable[[int, int], object] | None,
    log: Path | None = None,
) -> dict:
    """Run the decoder to its last line; frames lie in `folder` then, and what it complained of in `log`."""
    # Run by its file, so that this package (and torch) is not imported; with -P, so that nothing beside the
    # file is taken for a library.
    command = [sys.executable, "-P", str(_PROGRAM), str(path.resolve()), way, str(number), str(folder)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread would reserve address space
    line: dict = {}
    log = log or folder
    with (
        (log / "stderr.txt").open("wb") as stderr,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=environment
        ) as child,
    ):
        try:
            for line in _lines(child):
                if progress and "done" in line:
                    progress(line["done"], line["of"])
        except BaseException:  # interrupted or terminated: the child would work on for hours
            child.kill()
            raise
    if "errno" in line:
        raise OSError(line["errno"], os.strerror(line["errno"] or 0))
    if "fault" in line:
        raise InputError(f"{path}: {line['fault']}")
    if child.returncode != 0 or "times_s" not in line:
        raise InputError(f"{path}: {_failure(child.returncode, log)}; copy it again or re-encode it")
    return line


def _lines(child: subprocess.Popen[bytes]) -> Iterator[dict]:
    """The child's lines of JSON as they come; a child that is silent for too long is killed."""
    assert child.stdout is not None
    while True:
        watchdog = Timer(SILENCE_S, child.kill)
        watchdog.start()
        text = child.stdout.readline()
        watchdog.cancel()
        if not text:
            return
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict):
                yield line


def _failure(returncode: int, folder: Path) -> str:
    if returncode < 0:
        return f"the decoder crashed or was stopped ({signal.Signals(-returncode).name})"
    errors = (folder / "stderr.txt").read_text(errors="replace").splitlines()
    return f"the decoder failed ({errors[-1] if errors else f'exit code {returncode}'})"

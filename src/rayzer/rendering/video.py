"""Videos that play in every browser: H.264 in an MP4 file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rayzer.errors import InputError
from rayzer.files import output_file

if TYPE_CHECKING:
    import av.container
    from av.video.stream import VideoStream

BT709, LIMITED_RANGE = 1, 1
"""Numbers of ITU-T H.273 that tell a player how the colours were coded."""

ENCODER_OPTIONS = {"crf": "17", "preset": "medium", "x264-params": "mbtree=0"}
"""Constant rate factor 17: differences that the eye does not see.

Macroblock trees are off: for pictures of few blocks x264 computes them partly from memory that it never set,
and the bytes of the file differ from run to run.
"""

THREADS = 4
"""A fixed number, because x264 writes other bytes for another number of threads."""


def write_mp4(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames as an H.264 video that starts playing before it is loaded fully.

    Frames are encoded as they come, so any number fits into memory. Odd sizes grow by one pixel, a copy of
    the last row or column, because yuv420p needs even ones. The same frames give the same bytes. Where a
    frame is bad or missing, nothing is written and an older file stays.

    Args:
        path: the file to write, replaced when it exists.
        frames: uint8 [h, w, 3] RGB pictures of one size.
        fps: frames per second.

    Raises:
        InputError: if there are no frames, or the installed PyAV has no H.264 encoder.
        ValueError: if `fps` is not positive or a frame has another type, shape or size.
    """
    path = Path(path)
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps must be positive and finite, got {fps}")
    _require_encoder(path)
    pictures = _checked(frames)
    first = next(pictures, None)
    if first is None:
        raise InputError(f"{path}: there are no frames to write")
    with output_file(path) as partial:
        _encode(partial, itertools.chain([first], pictures), first.shape[:2], fps)


def _require_encoder(path: Path) -> None:
    import av.codec

    if "libx264" not in av.codec.codecs_available:
        raise InputError(
            f"{path}: cannot write H.264 video, the installed PyAV has no libx264; "
            "install the wheel from PyPI: pip install --force-reinstall --only-binary av av"
        )


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames with even sizes; raises where one is not uint8 [h, w, 3] of the size of the first."""
    expected: tuple[int, ...] | None = None
    for number, frame in enumerate(frames):
        expected = expected or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != expected:
            raise ValueError(
                f"frames are uint8 [h, w, 3] of one size, frame {number} is {frame.dtype} {list(frame.shape)}"
                f" and the first {list(expected)}"
            )
        yield _even(frame)


def _even(frame: np.ndarray) -> np.ndarray:
    """Repeat the last row and column where their number is odd."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _encode(path: Path, pictures: Iterable[np.ndarray], size: tuple[int, ...], fps: float) -> None:
    import av

    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = _stream(container, size, fps)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _stream(container: av.container.OutputContainer, size: tuple[int, ...], fps: float) -> VideoStream:
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=ENCODER_OPTIONS)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = THREADS
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE
    return stream

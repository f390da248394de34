"""The program that decodes a video for `video.py`, in a process of its own.

Damaged files can crash a decoder or make it hang or swallow memory; here they take only this process with
them. It imports nothing of the package, so that it starts fast and without torch.

`count N` chooses N frames, evenly spaced in time, and writes them into a folder as `00000.npy`, `00001.npy`, ...
(uint8 [h, w, 3], RGB, upright). `fps F` chooses F frames a second and writes them as `00000.jpg`, ...; one frame
is in memory at a time. It prints lines of JSON: `{"done": frames written so far, "of": frames chosen}` at least
once a second while it decodes, then one last line: `{"times_s": [...], "sizes": [[w, h], ...], "notes": [...]}`,
`{"fault": "what is wrong; what to do"}`, or `{"errno": ...}` when the frames cannot be written.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import av
import av.container
import numpy as np
from av.error import FFmpegError
from PIL import Image

MEMORY_BYTES = 4 * 2**30
CPU_SECONDS = {"count": 3600, "fps": 48 * 3600}  # an hour of 4K takes hours to write
MAX_FRAME_PIXELS = 8192 * 4320
MAX_OUTPUT_BYTES = 4 * 10**9
MAX_FRAMES = 1_000_000
THREADS = 4

# Playlists and other formats that open further files or addresses are not among these.
_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv"
_NOTHING = "holds no frames that can be decoded; copy it again or re-encode it"
_HDR_TRANSFERS = (16, 18)  # PQ and HLG (ITU-T H.273)


class Fault(Exception):
    """The video cannot be used; the text says what is wrong and what to do."""


class TimedFrame(NamedTuple):
    """A decoded frame and when it is shown."""

    time_s: float
    frame: av.VideoFrame


class Extent(NamedTuple):
    """What the packets of a video say, without decoding.

    Attributes:
        packets: how many there are.
        first_s, last_s: times of the first and the last frame.
        last_duration_s: how long the last frame is shown; 0 if unknown.
    """

    packets: int
    first_s: float
    last_s: float
    last_duration_s: float


class VideoFile:
    """The best video stream of a file, read forward once; it prints a sign of life every second.

    Attributes:
        written, wanted: how many frames were written so far, and will be.
        damaged: how many packets could not be decoded so far.
        seen: how many frames were decoded so far.
        first_s, last_s: times of the first and the last of them.
    """

    def __init__(self, path: str):
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
        self.container = _open(path, options)
        stream = self.container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            raise Fault("holds no video; give a video file or a folder of photos")
        if not stream.codec_context:  # PyAV leaves None here for codecs that it does not have
            raise Fault("is in a video format that cannot be decoded; re-encode it as H.264")
        self.stream = stream
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = THREADS
        self.written = self.wanted = self.damaged = self.seen = 0
        self.first_s = self.last_s = 0.0
        self._reported = time.monotonic()
        _check_size(stream.codec_context.width, stream.codec_context.height)

    def packets(self) -> Iterator[av.Packet]:
        """All intact packets; a file that breaks off ends there."""
        with suppress(FFmpegError):
            for packet in self.container.demux(self.stream):
                self.damaged += packet.is_corrupt
                if not packet.is_corrupt:
                    yield packet
                if time.monotonic() - self._reported > 1:
                    self.report()

    def frames(self) -> Iterator[TimedFrame]:
        """All frames that can be decoded, in ascending order of time."""
        for packet in self.packets():
            for frame in self._decode(packet):
                late = self.seen and frame.time is not None and frame.time <= self.last_s
                if frame.is_corrupt or frame.time is None or late:
                    continue
                self.first_s = self.first_s if self.seen else frame.time
                self.last_s = frame.time
                self.seen += 1
                yield TimedFrame(frame.time, frame)

    def _decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        try:
            return [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
        except FFmpegError:
            self.damaged += 1
            return []

    def report(self) -> None:
        """Print how many frames are written."""
        self._reported = time.monotonic()
        print(json.dumps({"done": self.written, "of": self.wanted}), flush=True)

    def extent(self) -> Extent:
        """Read all packets without decoding them."""
        shown = [
            (float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base))
            for packet in self.packets()
            if packet.pts is not None and not packet.is_discard
        ]
        if not shown:
            raise Fault(_NOTHING)
        (first_s, _), (last_s, last_duration_s) = min(shown), max(shown)
        return Extent(len(shown), first_s, last_s, last_duration_s)

    def promised_s(self) -> tuple[float, bool]:
        """Length in seconds that the file states, and whether it states it of the video (or of all in it)."""
        stream = self.stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base), True
        if tag := stream.metadata.get("DURATION"):  # Matroska: 00:00:03.000000000
            with suppress(ValueError):
                hours, minutes, seconds = map(float, tag.split(":"))
                return hours * 3600 + minutes * 60 + seconds, True
        return (self.container.duration or 0) / av.time_base, False

    def notes(self) -> list[str]:
        """What a user should know about the frames read so far."""
        notes = []
        if self.stream.codec_context.color_trc in _HDR_TRANSFERS:
            notes.append(
                "The video is HDR; its colours are used without tone mapping and look flat. "
                "Export it as SDR for true colours."
            )
        if self.damaged:
            notes.append(
                f"Parts of the video are damaged and were skipped (packets: {self.damaged}). "
                "Copy it again if the original is intact."
            )
        return notes


def decode(path: str, count: int, folder: Path) -> dict:
    """Write at most `count` frames, evenly spaced in time, first and last included; returns the last line.

    Raises:
        Fault: if the video cannot be used.
    """
    extent = VideoFile(path).extent()
    video = VideoFile(path)
    _check_output(video.stream.codec_context, min(count, extent.packets))
    times = np.linspace(extent.first_s, extent.last_s, count).tolist()
    return _write(video, extent, times, lambda number, pixels: np.save(folder / f"{number:05d}.npy", pixels))


def export(path: str, fps: float, folder: Path) -> dict:
    """Write `fps` frames a second (fewer where the video has fewer) as JPEG; returns the last line.

    Raises:
        Fault: if the video cannot be used.
    """
    extent = VideoFile(path).extent()
    count = min(int((extent.last_s - extent.first_s) * fps + 1e-6) + 1, MAX_FRAMES)
    times = (extent.first_s + np.arange(count) / fps).tolist()

    def save(number: int, pixels: np.ndarray) -> None:
        Image.fromarray(pixels).save(folder / f"{number:05d}.jpg", quality=95, subsampling="4:4:4")

    last_line = _write(VideoFile(path), extent, times, save)
    got = len(last_line["times_s"])
    if got < 0.9 * count:
        rate = (got - 1) / max(extent.last_s - extent.first_s, 1e-3)
        note = f"The video has {rate:.1f} frames a second, fewer than the {fps:g} to take: all of them are taken."
        last_line["notes"].append(note)
    return last_line


def _write(video: VideoFile, extent: Extent, times: list[float], save: Callable[[int, np.ndarray], object]) -> dict:
    video.wanted = len(times)
    times_s, sizes = [], []
    for chosen in nearest(video.frames(), times):
        pixels = _upright(chosen.frame)
        save(video.written, pixels)
        sizes.append((pixels.shape[1], pixels.shape[0]))
        times_s.append(chosen.time_s - video.first_s)
        video.written += 1
        video.report()
    if not times_s:
        raise Fault(_NOTHING)
    _check_complete(video, extent.last_duration_s)
    return {"times_s": times_s, "sizes": sizes, "notes": video.notes()}


def nearest(frames: Iterable[TimedFrame], times: list[float]) -> Iterator[TimedFrame]:
    """Of ascending frames, those nearest to the ascending `times`, each once; two are held at a time."""
    waiting = list(reversed(times))
    previous = yielded = None
    for frame in frames:
        while waiting and waiting[-1] <= frame.time_s:
            wanted = waiting.pop()
            early = previous is not None and wanted - previous.time_s <= frame.time_s - wanted
            best = previous if early else frame
            if best is not yielded and best is not None:
                yield best
            yielded = best
        previous = frame
    if waiting and previous is not None and previous is not yielded:
        yield previous


def _open(path: str, options: dict[str, str]) -> av.container.InputContainer:
    """Open a video whose titles may be in any encoding; since 19, PyAV sees to that itself."""
    if int(av.__version__.split(".")[0]) >= 19:
        return av.open(path, options=options)
    return av.open(path, options=options, metadata_errors="replace")


def _upright(frame: av.VideoFrame) -> np.ndarray:
    _check_size(frame.width, frame.height)
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_FRAME_PIXELS:
        limit = f"more than the {MAX_FRAME_PIXELS // 10**6} megapixels that are read"
        raise Fault(f"has frames of {width}x{height} pixels, {limit}; scale it down")


def _check_output(codec: av.VideoCodecContext, count: int) -> None:
    if count * codec.width * codec.height * 3 > MAX_OUTPUT_BYTES:
        frames = f"{count} frames of {codec.width}x{codec.height} pixels"
        limit = f"more than the {MAX_OUTPUT_BYTES // 10**9} GB that are kept"
        raise Fault(f"{frames} are {limit}; choose fewer or scale it down")


def _check_complete(video: VideoFile, last_duration_s: float) -> None:
    promised_s, exact = video.promised_s()
    interval_s = (video.last_s - video.first_s) / max(video.seen - 1, 1)
    decoded_s = video.last_s - video.first_s + (last_duration_s or interval_s)
    # Sound may go on for longer than the pictures, so the length of the whole file is a weaker promise.
    slack_s = (min if exact else max)(0.5, 0.05 * promised_s)
    if promised_s - decoded_s > max(slack_s, 1.5 * interval_s):
        raise Fault(
            f"should last {promised_s:.1f} s but can be decoded only up to {decoded_s:.1f} s; "
            "copy it again, or re-encode it or cut it there"
        )


def _limit_resources(cpu_seconds: int) -> None:
    """Bound memory and time where the platform can; no core dumps."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {"RLIMIT_AS": MEMORY_BYTES, "RLIMIT_CPU": cpu_seconds, "RLIMIT_CORE": 0}
    for name, value in limits.items():
        with suppress(ValueError, OSError):  # refused by the platform, or a lower limit holds already
            resource.setrlimit(getattr(resource, name), (value, value))


def main(path: str, way: str, number: str, folder: str) -> None:
    """Decode and print the last line."""
    _limit_resources(CPU_SECONDS[way])
    try:
        last_line = _run(path, way, number, Path(folder))
    except Fault as fault:
        last_line = {"fault": str(fault)}
    except MemoryError:  # some FFmpegErrors are MemoryErrors, too
        last_line = {"fault": "needs too much memory to decode; scale it down"}
    except FFmpegError as error:
        what = " ".join(str(error.strerror).split())
        last_line = {"fault": f"is no video, or cut off or damaged ({what}); copy it again or re-encode it"}
    except OSError as error:
        last_line = {"errno": error.errno}
    print(json.dumps(last_line), flush=True)


def _run(path: str, way: str, number: str, folder: Path) -> dict:
    return decode(path, int(number), folder) if way == "count" else export(path, float(number), folder)


if __name__ == "__main__":
    main(*sys.argv[1:])

import os
import signal
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rayzer.data.sources import video
from rayzer.data.sources.video import export_video, read_video
from rayzer.errors import InputError

REAL_DATA = Path(os.environ.get("RAYZER_REAL_DATA", Path(__file__).parents[3] / "shared" / "real"))


def picture(level, size=(64, 48)):
    """Grey of one level, with a red top left corner."""
    pixels = np.full((size[1], size[0], 3), level, np.uint8)
    pixels[: size[1] // 4, : size[0] // 4] = 255, 0, 0
    return pixels


def write_video(path, levels, fps=10, times_ms=None, noise=0, options=None, trc=None, codec="libx264"):
    """A small video whose frame `k` has the grey level `levels[k]`."""
    generator = np.random.default_rng(0)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if trc is not None:
            stream.codec_context.color_trc = trc
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, level in enumerate(levels):
            pixels = picture(level) + generator.integers(0, noise + 1, (48, 64, 3)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels_of(scene):
    return [float(frame.image[24:, 32:].mean()) for frame in scene.frames]


def times_of(scene):
    return [frame.time_s for frame in scene.frames]


def refused(path, *words, count=4):
    with pytest.raises(InputError) as caught:
        read_video(path, count)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "; " in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("mkv", "libx264"),
        ("webm", "libvpx"),
        ("avi", "mpeg4"),
        ("ts", "libx264"),
    ],
)
def test_frames_are_spread_over_the_time(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"my höme.{suffix}", range(0, 210, 7), codec=codec)
    scene = read_video(path, 4)
    assert scene.name == "my höme"
    assert scene.notes == ()
    assert times_of(scene) == pytest.approx([0.0, 1.0, 1.9, 2.9], abs=1e-3)  # 29 frames in three steps
    assert levels_of(scene) == pytest.approx([0, 70, 133, 203], abs=4)
    assert [frame.name for frame in scene.frames] == ["0.000s", "1.000s", "1.900s", "2.900s"]
    frame = scene.frames[0]
    assert frame.image.shape == (48, 64, 3)
    assert frame.image.dtype == np.uint8
    assert (frame.width_px, frame.height_px) == (64, 48)
    assert frame.image[3, 3] == pytest.approx([255, 0, 0], abs=12)


def test_variable_frame_rate_is_sampled_by_time(tmp_path):
    times_ms = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 500, 1000, 1040]
    path = write_video(tmp_path / "v.mkv", range(0, 13 * 15, 15), times_ms=times_ms)
    scene = read_video(path, 3)
    assert times_of(scene) == pytest.approx([0.0, 0.5, 1.04], abs=2e-3)  # by index it would be 0.06
    assert levels_of(scene) == pytest.approx([0, 150, 180], abs=5)


@pytest.mark.parametrize(("frames", "count"), [(1, 1), (1, 5), (2, 5), (3, 1)])
def test_short_videos_give_each_frame_once(tmp_path, frames, count):
    path = write_video(tmp_path / "v.mp4", [40] * frames)
    assert len(read_video(path, count)) == min(frames, count)


def test_all_frames(tmp_path):
    scene = read_video(write_video(tmp_path / "v.mp4", range(0, 120, 10)), 12)
    assert levels_of(scene) == pytest.approx(list(range(0, 120, 10)), abs=4)


def test_less_than_one_frame(tmp_path):
    with pytest.raises(ValueError):
        read_video(tmp_path / "v.mp4", 0)


def test_progress(tmp_path):
    seen = []
    read_video(write_video(tmp_path / "v.mp4", [0] * 9), 3, lambda done, total: seen.append((done, total)))
    assert [pair for pair in seen if pair[0]] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("matrix", "k"),
    [
        ((0, 1, -1, 0), -1),
        ((-1, 0, 0, -1), 2),
        ((0, -1, 1, 0), 1),
        ((1, 0, 0, 1), 0),
    ],  # 90 cw, 180, 90 ccw, none
)
def test_rotation_metadata_is_applied(tmp_path, matrix, k):
    path = write_video(tmp_path / "v.mp4", [100] * 5)
    stored = read_video(path, 1).frames[0].image
    a, b, c, d = (value << 16 for value in matrix)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    frame = read_video(path, 1).frames[0]
    np.testing.assert_array_equal(frame.image, np.rot90(stored, k))
    assert (frame.width_px, frame.height_px) == ((48, 64) if k % 2 else (64, 48))


@pytest.mark.parametrize("trc", [16, 18])
def test_hdr_is_noted(tmp_path, trc):
    assert "HDR" in read_video(write_video(tmp_path / "v.mp4", [100] * 3, trc=trc), 2).notes[0]


@pytest.mark.parametrize("share", [0.1, 0.8])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_cut_off(tmp_path, share, suffix):
    options = {"movflags": "+faststart"} if suffix == "mp4" else None
    path = write_video(tmp_path / f"v.{suffix}", [100] * 40, noise=99, options=options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "should last 4.0 s but can be decoded only up to")


@pytest.mark.parametrize("length", [4, 300])
def test_cut_inside_the_first_frame(tmp_path, length):
    path = write_video(tmp_path / "v.mp4", [100] * 9, noise=99, options={"movflags": "+faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + length])
    refused(path, "holds no frames")


def test_cut_before_the_index(tmp_path):
    path = write_video(tmp_path / "v.mp4", [100] * 9, noise=99)
    path.write_bytes(path.read_bytes()[:-300])
    refused(path, "cut off or damaged")


def test_damage_in_the_middle_is_noted(tmp_path):
    path = write_video(tmp_path / "v.mp4", [100] * 40, noise=99, options={"movflags": "+faststart"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    scene = read_video(path, 4)
    assert "damaged" in scene.notes[0]
    assert times_of(scene)[-1] == pytest.approx(3.9)


@pytest.mark.parametrize(
    "content",
    [
        b"this is a text file\n" * 50,
        bytes(5000),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\ngood.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile good.ts\n",
    ],
)
def test_files_that_are_no_videos(tmp_path, content):
    """Among them playlists, which would make the decoder open other files."""
    write_video(tmp_path / "good.ts", [100] * 9)
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    refused(path, "is no video")


def test_unknown_codec(tmp_path):
    path = write_video(tmp_path / "v.mp4", [100] * 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    refused(path, "cannot be decoded")


def test_metadata_in_another_encoding(tmp_path):
    path = write_video(tmp_path / "v.mp4", [100] * 3)
    path.write_bytes(path.read_bytes().replace(b"VideoHandler", b"Vid\xe9oHandler"))
    assert len(read_video(path, 3)) == 3


def test_empty_and_missing(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"")
    refused(tmp_path / "v.mp4", "is empty")
    refused(tmp_path / "none.mp4", "no such file")


def test_sound_only(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    refused(path, "holds no video")


def test_sound_may_last_a_little_longer_than_the_pictures(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=44100)
        for _ in range(10):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(picture(9), format="rgb24")))
        container.mux(pictures.encode())
        silence = np.zeros((1, 44100 * 3), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    assert len(read_video(path, 3)) == 3


def test_huge_frames(tmp_path):
    path = tmp_path / "v.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 8200, 4400, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((4400, 8200), np.uint8), format="gray")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    refused(path, "8200x4400", "scale it down")


PROGRAMS = {
    "crash": ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    "garbage": ("print('no JSON'); print(5)", "the decoder failed"),
    "half": ("print('{\"done\": 1}'); raise OSError('disk full')", "disk full"),
    "hang": ("import time; time.sleep(60)", "SIGKILL"),
}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_decoder_that_fails_takes_nobody_with_it(tmp_path, monkeypatch, name):
    source, words = PROGRAMS[name]
    (tmp_path / "program.py").write_text(source)
    monkeypatch.setattr(video, "_PROGRAM", tmp_path / "program.py")
    monkeypatch.setattr(video, "SILENCE_S", 0.5 if name == "hang" else 60.0)
    refused(write_video(tmp_path / "v.mp4", [100]), words)


@pytest.mark.skipif(sys.platform != "linux", reason="memory limits are those of Linux")
def test_the_decoder_has_limits(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    original = video._PROGRAM.read_text().split("if __name__")[0]
    program.write_text(original + "\n_limit_resources(60)\nbytearray(5 * 2**30)\n")
    monkeypatch.setattr(video, "_PROGRAM", program)
    refused(write_video(tmp_path / "v.mp4", [100]), "MemoryError")


def test_the_decoder_imports_neither_torch_nor_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "av.py").write_text("raise SystemExit('imported from the working folder')")
    path = write_video(tmp_path / "v.mp4", [100])
    monkeypatch.chdir(tmp_path)
    assert len(read_video(path.name, 1)) == 1
    code = f"import runpy, sys; runpy.run_path({str(video._PROGRAM)!r}); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    read_video(write_video(tmp_path / "v.mp4", [100] * 3), 2)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("name", "last_s", "size"),
    [("vrnerf_apartment.mp4", 31.0, (742, 1122)), ("skating.mp4", 3.367, (686, 364))],
)
def test_real_videos(name, last_s, size):
    if not (REAL_DATA / name).exists():
        pytest.skip("the real videos are not here")
    scene = read_video(REAL_DATA / name, 24)
    assert len(scene) == 24
    assert times_of(scene)[-1] == pytest.approx(last_s, abs=0.01)
    assert {(frame.width_px, frame.height_px) for frame in scene.frames} == {size}
    assert min(np.ptp(frame.image) for frame in scene.frames) > 100
    assert scene.notes == ()


def test_pictures_that_cannot_be_kept(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", [100] * 3)
    with pytest.raises(OSError, match="No such file"):  # whoever writes the pictures knows what to say
        export_video(path, tmp_path / "missing", 5)
    (tmp_path / "program.py").write_text("print('{\"errno\": 28}')")
    monkeypatch.setattr(video, "_PROGRAM", tmp_path / "program.py")
    refused(path, "No space left", "TMPDIR")


def test_export_by_time(tmp_path):
    times_ms = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 500, 1000, 1040]
    path = write_video(tmp_path / "v.mkv", range(0, 13 * 15, 15), times_ms=times_ms)
    seen = []
    scene = export_video(path, tmp_path, 2, lambda done, total: seen.append((done, total)))
    assert times_of(scene) == pytest.approx([0.0, 0.5, 1.0], abs=2e-3)
    assert [frame.image.name for frame in scene.frames] == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert {(frame.width_px, frame.height_px) for frame in scene.frames} == {(64, 48)}
    assert seen[-1] == (3, 3)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["00000.jpg", "00001.jpg", "00002.jpg", "v.mkv"]


def test_an_interrupted_export_ends_its_decoder(tmp_path):
    path = write_video(tmp_path / "v.mp4", [100] * 50)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_video(path, tmp_path, 10, interrupt)
    assert len(list(tmp_path.glob("*.jpg"))) < 50

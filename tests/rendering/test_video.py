import av
import av.codec
import numpy as np
import pytest

from rayzer.errors import InputError
from rayzer.rendering.video import write_mp4


def smooth_frames(count, height, width):
    """Slowly drifting saturated colour gradients."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    for k in range(count):
        channels = [np.sin(3 * x + 2 * y + 0.1 * k), np.cos(2 * x - y), np.sin(4 * y - 0.05 * k)]
        yield np.round(np.stack(channels, -1) * 120 + 127).astype(np.uint8)


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (63, 97), (65, 64), (1, 1)])
def test_frames_come_back(tmp_path, height, width):
    frames = list(smooth_frames(12, height, width))
    write_mp4(tmp_path / "a.mp4", frames, fps=24)
    back = decoded(tmp_path / "a.mp4")
    assert len(back) == 12
    assert back[0].shape == (height + height % 2, width + width % 2, 3)
    for frame, again in zip(frames, back, strict=True):
        assert psnr(frame, again[:height, :width]) > 35


def test_padding_copies_the_edge(tmp_path):
    frame = next(smooth_frames(1, 33, 65))
    write_mp4(tmp_path / "a.mp4", [frame], fps=1)
    assert psnr(decoded(tmp_path / "a.mp4")[0][-1, :65], frame[-1]) > 35


def test_stream_is_what_browsers_play(tmp_path):
    write_mp4(tmp_path / "a.mp4", smooth_frames(30, 64, 64), fps=29.97)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
        assert float(stream.average_rate) == pytest.approx(29.97)
        assert float(stream.duration * stream.time_base) == pytest.approx(30 / 29.97, abs=1e-3)


def test_index_comes_before_the_pictures(tmp_path):
    write_mp4(tmp_path / "a.mp4", smooth_frames(3, 32, 32), fps=10)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data[4:8] == b"ftyp"
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_same_frames_give_the_same_bytes(tmp_path):
    written, clutter = set(), []
    for size in range(10_000, 20_000, 1000):
        clutter.append(np.full(size, 255, np.uint8))  # another state of the heap: encoders read what they never set
        write_mp4(tmp_path / "a.mp4", smooth_frames(20, 64, 64), fps=10)
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1


def test_no_frames_is_an_input_error_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"a\.mp4.*no frames"):
        write_mp4(tmp_path / "a.mp4", [], fps=10)
    assert list(tmp_path.iterdir()) == []


def test_missing_encoder_is_an_input_error(tmp_path, monkeypatch):
    monkeypatch.setattr(av.codec, "codecs_available", {"mpeg4"})
    with pytest.raises(InputError, match="libx264"):
        write_mp4(tmp_path / "a.mp4", smooth_frames(2, 32, 32), fps=10)


BAD_FRAMES = {
    "float": np.zeros((4, 4, 3)),
    "alpha": np.zeros((4, 4, 4), np.uint8),
    "gray": np.zeros((4, 4), np.uint8),
    "other size": np.zeros((8, 4, 3), np.uint8),
}


@pytest.mark.parametrize("bad", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_bad_frame_is_named_and_the_old_file_stays(tmp_path, bad):
    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(ValueError, match="frame 1 is"):
        write_mp4(tmp_path / "a.mp4", [np.zeros((4, 4, 3), np.uint8), bad], fps=10)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.mp4", b"old")]


@pytest.mark.parametrize("fps", [0, -1, float("inf"), float("nan")])
def test_fps_must_be_positive(tmp_path, fps):
    with pytest.raises(ValueError, match="fps"):
        write_mp4(tmp_path / "a.mp4", smooth_frames(2, 4, 4), fps=fps)

import io
import json
import math
import pickle
import zipfile
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rayzer.data.images import EncodedImage
from rayzer.data.sources.chunks import Chunks, read_clip
from rayzer.data.sources.source import ReadOptions
from rayzer.data.views import decode_views
from rayzer.errors import InputError
from rayzer.geometry.rotations import rotation_from_quaternion

URL = "https://www.youtube.com/watch?v=0a-B_c1"
# fx fy cx cy as fractions, two zeros, camera from world 3x4; numbers that float32 has exactly
CAMERAS = [
    [0.5, 0.875, 0.5, 0.5, 0, 0, 0, -1, 0, 1, 1, 0, 0, 2, 0, 0, 1, 3],
    [0.625, 1.0625, 0.484375, 0.53125, 0, 0, 0, 0, 1, -0.5, 0, 1, 0, 0.25, -1, 0, 0, 4],
    [0.5, 0.875, 0.5, 0.5, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
]
TIMES = [17266000, 17299999, 17333000]


def encoded(red=0, size=(64, 36), format="JPEG", **options):
    file = io.BytesIO()
    Image.new("RGB", size, (red, 0, 0)).save(file, format, **options)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def clip(key="0a1b2c", **changes):
    return {
        "url": URL,
        "timestamps": torch.tensor(TIMES),
        "cameras": torch.tensor(CAMERAS, dtype=torch.float32),
        "images": [encoded(100 * number) for number in range(3)],
        "key": key,
    } | changes


def write(folder, *clips, name="000000.torch"):
    folder.mkdir(exist_ok=True)
    torch.save(list(clips), folder / name)
    return folder / name


def refused(path, *words, key="0a1b2c", **options):
    with pytest.raises(InputError) as caught:
        read_clip(path, key, ReadOptions(**options))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


def test_reads_values_typed_by_hand(tmp_path, seen_at):
    scene = read_clip(write(tmp_path, clip("another"), clip()), "0a1b2c")
    assert scene.name == "0a1b2c"
    assert [frame.name for frame in scene.frames] == list(map(str, TIMES))
    assert [frame.time_s for frame in scene.frames] == [17.266, 17.299999, 17.333]
    point = (0.3, -0.2, 3.0)
    for frame, row in zip(scene.frames, CAMERAS, strict=True):
        assert (frame.width_px, frame.height_px) == (64, 36)
        fx, fy, cx, cy, _, _, *matrix = row
        x, y, z = (sum(a * b for a, b in zip(matrix[4 * i : 4 * i + 4], (*point, 1), strict=True)) for i in range(3))
        expected = [64 * (fx * x / z + cx), 36 * (fy * y / z + cy)]  # the corner of the picture is (0, 0)
        np.testing.assert_allclose(seen_at(frame, point), expected, atol=1e-9)


unit = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda wxyz: math.hypot(*wxyz) > 0.1)
cameras = st.tuples(unit, st.tuples(*[st.floats(-100, 100)] * 3), st.tuples(*[st.floats(0.01, 10)] * 4))


@settings(deadline=None, max_examples=25)
@given(st.lists(cameras, min_size=1, max_size=4))
def test_cameras_come_back(tmp_path_factory, cameras):
    rows = []
    for wxyz, translation, fxfycxcy in cameras:
        rotation = rotation_from_quaternion(torch.tensor(wxyz, dtype=torch.float64))
        matrix = torch.cat([rotation, torch.tensor(translation, dtype=torch.float64)[:, None]], 1)
        rows.append(torch.cat([torch.tensor([*fxfycxcy, 0.0, 0.0], dtype=torch.float64), matrix.flatten()]))
    n = len(rows)
    changes = {"timestamps": torch.arange(n), "cameras": torch.stack(rows), "images": [encoded()] * n}
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-4)):
        made = clip(**changes | {"cameras": changes["cameras"].to(dtype).requires_grad_()})
        scene = read_clip(write(tmp_path_factory.mktemp("set"), made), "0a1b2c")
        for frame, row in zip(scene.frames, rows, strict=True):
            w2c = np.vstack([row[6:].view(3, 4), [0, 0, 0, 1]])
            np.testing.assert_allclose(frame.world_from_camera @ w2c, np.eye(4), atol=tolerance)
            np.testing.assert_allclose(frame.fxfycxcy_px, row[:4] * torch.tensor([64, 36] * 2), rtol=1e-6)


def test_pictures_are_decoded_when_asked_for(tmp_path):
    broken = encoded(format="PNG")[:60]  # the header is there, the pixels are not
    scene = read_clip(path := write(tmp_path, clip(images=[encoded(0), broken, encoded(200)])), "0a1b2c")
    assert scene.present == [0, 1, 2]
    assert all(isinstance(frame.image, EncodedImage) for frame in scene.frames)
    views = decode_views(scene, [2, 0], 32, 32, 8)
    assert (views.images[:, 0].mean((-1, -2)) * 255).round().tolist() == pytest.approx([200, 0], abs=3)
    assert views.cameras is not None
    with pytest.raises(InputError, match="is damaged") as caught:
        decode_views(scene, [1], 32, 32, 8)
    assert str(caught.value).startswith(f"{path}: clip '0a1b2c': frame 1: ")


def test_formats_sizes_and_orientation_of_pictures(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    images = [encoded(format="PNG"), encoded(size=(128, 72)), encoded(exif=exif)]
    scene = read_clip(write(tmp_path, clip(images=images)), "0a1b2c")
    assert [(frame.width_px, frame.height_px) for frame in scene.frames] == [(64, 36), (128, 72), (64, 36)]
    assert scene.frames[1].fxfycxcy_px == (80, 76.5, 62, 38.25)


def test_times_are_times_of_a_video_only_where_there_is_one(tmp_path):
    scene = read_clip(write(tmp_path, clip("dl3dv_0f", url="", timestamps=torch.tensor([3, 4, 7]))), "dl3dv_0f")
    assert [frame.name for frame in scene.frames] == ["3", "4", "7"]
    assert {frame.time_s for frame in scene.frames} == {None}
    scene = read_clip(write(tmp_path, clip(timestamps=torch.zeros(3, dtype=torch.int64))), "0a1b2c")
    assert [frame.name for frame in scene.frames] == ["00000", "00001", "00002"]


def test_wrong_frames_are_reported_and_keep_their_numbers(tmp_path):
    made = clip(images=[encoded(), torch.zeros(9, dtype=torch.uint8), encoded()])
    made["cameras"][2, 6:] = math.nan
    reported = []
    scene = read_clip(write(tmp_path, made), "0a1b2c", ReadOptions(report=lambda *each: reported.append(each)))
    assert scene.present == [0, 2]
    assert [frame.world_from_camera is None for frame in scene.frames] == [False, False, True]
    assert [(kind, str(error).partition("frame ")[2][:2]) for kind, error in reported] == [
        ("image", "1:"),
        ("pose", "2:"),
    ]


# ---- clips that are wrong


def camera(row, column, value):
    cameras = torch.tensor(CAMERAS, dtype=torch.float32)
    cameras[row, column] = value
    return {"cameras": cameras}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (camera(1, 0, math.nan), "frame 1: fx fy cx cy"),
        (camera(1, 1, -1), "frame 1: fx fy cx cy"),
        (camera(1, 9, math.inf), "frame 1: the pose is not finite"),
        (camera(1, 8, 2), "frame 1: the 3x3 part of the pose is not a rotation"),
        (camera(1, 11, -1), "frame 1: the pose is mirrored"),
        ({"cameras": torch.zeros(3, 17)}, "cameras: expected a tensor float32 [3, 18], got float32 [3, 17]"),
        ({"cameras": torch.zeros(2, 18)}, "got float32 [2, 18]"),
        ({"cameras": torch.zeros(3, 18, dtype=torch.float16)}, "got float16 [3, 18]"),
        ({"cameras": CAMERAS}, "cameras: expected a tensor float32 [3, 18], got list"),
        ({"cameras": None}, "got nothing"),
        ({"cameras": torch.zeros(3, 18).to_sparse()}, "cameras: expected a tensor"),
        ({"cameras": torch.zeros(3, 18, device="meta")}, "cameras: expected a tensor"),
        ({"timestamps": torch.zeros(2, dtype=torch.int64)}, "timestamps: expected a tensor int64 [3], got int64 [2]"),
        ({"timestamps": torch.zeros(3)}, "timestamps: expected a tensor int64 [3], got float32 [3]"),
        ({"images": []}, "images: expected a list of at least one picture"),
        ({"images": torch.zeros(3, 8, 8)}, "images: expected a list"),
        ({"images": [encoded(), torch.zeros(3, 8, 8, dtype=torch.uint8), encoded()]}, "frame 1: expected the bytes"),
        ({"images": [encoded(), encoded().float(), encoded()]}, "frame 1: expected the bytes of a picture file"),
        ({"images": [encoded(), b"bytes", encoded()]}, "frame 1: expected the bytes of a picture file"),
        ({"images": [encoded(), torch.zeros(1, dtype=torch.uint8).expand(10**12), encoded()]}, "frame 1: expected"),
        ({"images": [encoded(), torch.zeros(0, dtype=torch.uint8), encoded()]}, "frame 1: is not a picture"),
        ({"images": [encoded(), encoded()[:20], encoded()]}, "frame 1: "),
    ],
)
def test_wrong_values_name_clip_key_and_frame(tmp_path, changes, says):
    refused(write(tmp_path, clip(**changes)), "clip '0a1b2c': ", says)


def test_huge_pictures_are_refused_by_their_header(tmp_path):
    bomb = bytearray(encoded(format="PNG").tolist())
    bomb[16:24] = (30_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    images = [encoded(), torch.frombuffer(bomb, dtype=torch.uint8), encoded()]
    refused(write(tmp_path, clip(images=images)), "frame 1: has more than the 120 megapixels that are read")


def test_cameras_that_are_not_asked_for_are_not_looked_at(tmp_path):
    scene = read_clip(write(tmp_path, clip(cameras="none")), "0a1b2c", ReadOptions(cameras=False))
    assert {frame.fxfycxcy_px for frame in scene.frames} == {None}


# ---- files that are wrong


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "holds no clip '0a1b2c'"),
        ([clip("other")], "holds no clip '0a1b2c', but 1 others"),
        ({"key": "0a1b2c"}, "expected a list of clips"),
        ([torch.zeros(3)], "expected a list of clips"),
        ([clip(), clip()], "clip 1: key: '0a1b2c' stands twice"),
        ([clip(), clip(7)], "clip 1: key: expected a text"),
        ([clip(), clip([])], "clip 1: key: expected a text"),
        ([clip(), {"images": []}], "clip 1: key: expected a text"),
    ],
)
def test_lists_that_are_no_chunks(tmp_path, content, says):
    torch.save(content, tmp_path / "a.torch")
    refused(tmp_path / "a.torch", says)


class Code:
    def __reduce__(self):
        return print, ("this must never run",)


def test_code_is_never_run(tmp_path, capfd):
    path = tmp_path / "a.torch"
    torch.save([clip(extra=Code())], path)
    refused(path, "holds more than lists of tensors")
    path.write_bytes(pickle.dumps(Code()))
    refused(path)
    assert "never run" not in capfd.readouterr().out


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"PK\3\4" + b"\0" * 100, bytes(range(256))])
def test_garbage(tmp_path, content):
    (tmp_path / "a.torch").write_bytes(content)
    refused(tmp_path / "a.torch", "no chunk")


def test_files_cut_off_or_packed_by_something_else(tmp_path):
    whole = write(tmp_path, clip()).read_bytes()
    for size in (len(whole) // 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.torch").write_bytes(whole[:size])
        refused(tmp_path / "cut.torch", "is damaged or no chunk")
    with zipfile.ZipFile(tmp_path / "photos.torch", "w") as file:
        file.writestr("a.txt", "x")
    refused(tmp_path / "photos.torch", "is damaged or no chunk")
    torch.save([clip()], tmp_path / "old.torch", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.torch", "PyTorch 1.6")
    refused(tmp_path / "none.torch", "there is no such file")
    refused(tmp_path, "is no chunk")


# ---- finding


@pytest.fixture
def dataset(tmp_path):
    write(tmp_path / "test", clip("b"), clip("ünï #1"))
    write(tmp_path / "test", clip("a"), name="000001.torch")
    index = {"b": "000000.torch", "ünï #1": "000000.torch", "a": "000001.torch"}
    (tmp_path / "test" / "index.json").write_text(json.dumps(index))
    return tmp_path / "test"


def test_index_says_where_clips_lie(dataset):
    source = Chunks()
    (dataset / "000001.torch").rename(dataset.parent / "away.torch")  # chunks are not opened to find clips
    for path in (dataset, dataset / "index.json"):
        assert source.recognises(path)
        refs = source.find(path)
        assert [(ref.path.name, ref.key) for ref in refs] == [
            *(("000000.torch", "b"), ("000000.torch", "ünï #1")),
            ("000001.torch", "a"),
        ]
        assert source.read(refs[1], ReadOptions()).name == "ünï #1"
    refused(dataset / "000001.torch", "no such file", "index.json", key="a")
    assert source.pick(dataset, "b") == refs[0]


def test_chunks_without_an_index(dataset):
    source = Chunks()
    (dataset / "index.json").unlink()
    assert not source.recognises(dataset)  # the files in it are
    assert source.recognises(dataset / "000000.torch")
    assert [ref.key for ref in source.find(dataset / "000000.torch")] == ["b", "ünï #1"]
    assert [ref.key for ref in source.find(dataset)] == ["b", "ünï #1", "a"]
    with pytest.raises(InputError, match=r"holds neither index\.json nor any \.torch file"):
        source.find(dataset.parent)


@pytest.mark.parametrize("content", ['{"a": 1}', '{"scenes": []}', "{}", "[", ""])
def test_an_index_of_something_else_is_not_recognised(tmp_path, content):
    (tmp_path / "index.json").write_text(content)
    assert not Chunks().recognises(tmp_path)
    assert not Chunks().recognises(tmp_path / "index.json")


@pytest.mark.parametrize("name", ['"../000000.torch"', '"/etc/a.torch"', '"a/b.torch"', "7", '"b.pt"', '".torch/"'])
def test_an_index_names_files_beside_it_only(dataset, name):
    (dataset / "index.json").write_text(f'{{"b": "000000.torch", "c": {name}}}')
    with pytest.raises(InputError, match=r"index\.json: clip 'c': expected the name of a \.torch file beside"):
        Chunks().find(dataset)


def test_names_that_no_file_can_have(dataset):
    (dataset / "index.json").write_text(json.dumps({"a": "\0.torch", "b": "x" * 300 + ".torch"}))
    for ref in Chunks().find(dataset):
        with pytest.raises(InputError, match="there is no such file"):
            Chunks().read(ref, ReadOptions())

import copy
import json

import numpy as np
import pytest
from PIL import Image

from rayzer.data.convert import convert
from rayzer.data.formats import read_scene, recognise
from rayzer.data.scenes import Frame, Scene
from rayzer.data.sources.rayzer_json import FILE_NAME, read_rayzer_json, write_rayzer_json
from rayzer.data.sources.source import ReadOptions, refuse
from rayzer.data.views import open_image
from rayzer.errors import InputError

TURN = [[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0], [0.0, 0.0, 0.0, 1.0]]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "scene"
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (40, 30)).save(folder / "images" / f"{number}.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "outside.png")
    return folder


def content():
    camera = {"fx": 50.0, "fy": 51, "cx": 20.5, "cy": 15.0, "w2c": copy.deepcopy(TURN)}
    frames = [{"file_path": f"images/{number}.png", **copy.deepcopy(camera)} for number in range(3)]
    return {"scene_name": "My scene", "frames": frames}


def write(folder, data):
    path = folder / FILE_NAME
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def refused(path, *words, **options):
    with pytest.raises(InputError) as caught:
        read_rayzer_json(path, ReadOptions(**options))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


def test_reads_cameras(folder):
    scene = read_rayzer_json(write(folder, content()))
    assert scene.name == "My scene"
    assert [frame.name for frame in scene.frames] == ["0.png", "1.png", "2.png"]
    frame = scene.frames[1]
    assert frame.image == folder / "images" / "1.png"
    assert (frame.width_px, frame.height_px) == (40, 30)
    assert frame.fxfycxcy_px == (50.0, 51.0, 20.5, 15.0)
    np.testing.assert_allclose(frame.world_from_camera @ TURN, np.eye(4), atol=1e-15)
    np.testing.assert_allclose(frame.world_from_camera[:3, 3], [-2, 1, -3])  # the camera's centre


@pytest.mark.parametrize(
    ("keys", "poses", "intrinsics"),
    [
        (["w2c"], False, True),
        (["fx", "fy", "cx", "cy"], True, False),
        (["fx", "fy", "cx", "cy", "w2c"], False, False),
    ],
)
def test_cameras_may_be_absent(folder, keys, poses, intrinsics):
    data = content()
    for frame in data["frames"]:
        for key in keys:
            del frame[key]
    for frame in read_rayzer_json(write(folder, data)).frames:
        assert (frame.world_from_camera is not None) == poses
        assert (frame.fxfycxcy_px is not None) == intrinsics


def test_scene_name_defaults_to_the_folder(folder):
    data = content()
    del data["scene_name"]
    assert read_rayzer_json(write(folder, data)).name == "scene"


def test_same_file_name_in_two_folders(folder):
    (folder / "more").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "more" / "0.png")
    data = content()
    data["frames"][1]["file_path"] = "more/0.png"
    scene = read_rayzer_json(write(folder, data))
    assert [frame.name for frame in scene.frames] == ["images/0.png", "more/0.png", "images/2.png"]


def test_given_sizes_are_taken(folder):
    data = content()
    for frame in data["frames"]:
        frame |= {"w": 40, "h": 30.0}
    (folder / "images" / "1.png").write_bytes(b"not opened")
    frame = read_rayzer_json(write(folder, data)).frames[1]
    assert (frame.width_px, frame.height_px) == (40, 30)


@pytest.mark.parametrize("key", ["fx", "fy", "cx", "cy", "w2c"])
def test_a_key_missing_in_one_frame(folder, key):
    data = content()
    del data["frames"][2][key]
    refused(write(folder, data), "frame 2", repr(key))


def test_a_key_missing_in_all_frames_but_one(folder):
    data = content()
    for frame in data["frames"][1:]:
        del frame["w2c"]
    refused(write(folder, data), "frame 1", "'w2c'")


SCALED = (np.diag([1.01, 1.01, 1.01, 1.0]) @ TURN).tolist()
MIRRORED = (np.diag([-1.0, 1.0, 1.0, 1.0]) @ TURN).tolist()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fx", None),
        ("fx", "50"),
        ("fx", True),
        ("fy", 0),
        ("fy", -3.5),
        ("cx", [1]),
        ("cy", 10**400),
        ("w2c", None),
        ("w2c", TURN[:3]),
        ("w2c", [row[:3] for row in TURN]),
        ("w2c", SCALED),
        ("w2c", MIRRORED),
        ("w2c", [*TURN[:3], [0.0, 0.0, 0.1, 1.0]]),
        ("w2c", [["a"] * 4] * 4),
        ("w2c", [[0.0] * 4] * 4),
        ("w", -1),
        ("w", 40.5),
        ("h", "30"),
    ],
)
def test_bad_values_name_frame_and_key(folder, key, value):
    data = content()
    for frame in data["frames"]:
        frame |= {"w": 40, "h": 30}
    data["frames"][1][key] = value
    refused(write(folder, data), "frame 1", key)


def test_a_rotation_of_few_digits_is_rigid_enough(folder):
    data = content()
    angle = np.deg2rad(33)
    rotation = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    data["frames"][0]["w2c"][:3] = [[*np.round(np.array(row, float), 4).tolist(), 0.0] for row in rotation]
    assert read_rayzer_json(write(folder, data)).frames[0].world_from_camera is not None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(folder, number):
    refused(write(folder, json.dumps(content()).replace("20.5", number)), "frame 0", "cx", "not finite")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"frames": []}',
        '{"frames": {}}',
        '{"frames": ["images/0.png"]}',
        '{"frames": [{}]}',
        '{"scene_name": "", "frames": [{"file_path": "images/0.png"}]}',
        '{"scene_name": 5, "frames": [{"file_path": "images/0.png"}]}',
        '{"frames": [{"file_path": "images/0.png", "file_path": "images/1.png"}]}',
        '{"frames": ' + "[" * 200_000,
        "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    ],
)
def test_files_that_are_no_scenes(folder, text):
    refused(write(folder, text))


def test_missing_scene_file(folder):
    refused(folder / FILE_NAME)


ESCAPES = [
    "../outside.png",
    "images/../../outside.png",
    "{tmp}/outside.png",
    "./../outside.png",
    "images/..//../outside.png",
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_paths_stay_in_the_folder_unless_allowed(folder, escape):
    data = content()
    data["frames"][1]["file_path"] = escape.replace("{tmp}", str(folder.parent))
    path = write(folder, data)
    refused(path, "frame 1", "file_path", "--allow-outside")
    frame = read_rayzer_json(path, ReadOptions(allow_outside=True)).frames[1]
    assert frame.image.samefile(folder.parent / "outside.png")


@pytest.mark.parametrize("value", ["images/0.png\0.jpg", "", " ", "\ud800.png", 7, None, ["images/0.png"], "x" * 5000])
@pytest.mark.parametrize("allow_outside", [False, True])
def test_paths_that_are_none(folder, value, allow_outside):
    data = content()
    data["frames"][2]["file_path"] = value
    refused(write(folder, data), "frame 2", allow_outside=allow_outside)


def test_links_inside_the_folder_are_followed(folder):
    (folder.parent / "store").mkdir()
    Image.new("RGB", (8, 6)).save(folder.parent / "store" / "0.png")
    (folder / "linked").symlink_to(folder.parent / "store")
    path = write(folder, {"frames": [{"file_path": "linked/0.png"}]})
    assert read_rayzer_json(path).frames[0].width_px == 8


@pytest.mark.parametrize("sizes", [{}, {"w": 40, "h": 30}])
def test_missing_pictures_name_the_frame(folder, sizes):
    data = content()
    for frame in data["frames"]:
        frame |= sizes
    (folder / "images" / "2.png").unlink()
    refused(write(folder, data), "frame 2", "'images/2.png'", str(folder / "images" / "2.png"))


def test_unreadable_pictures_name_the_frame(folder):
    (folder / "images" / "2.png").write_bytes(b"text")
    refused(write(folder, content()), "frame 2", "not a picture")


def test_write_then_read(folder):
    scene = read_rayzer_json(write(folder, content()))
    (folder / FILE_NAME).unlink()
    assert write_rayzer_json(scene, folder) == folder / FILE_NAME
    again = read_rayzer_json(folder / FILE_NAME)
    assert again.name == scene.name
    for a, b in zip(scene.frames, again.frames, strict=True):
        assert (a.name, a.image, a.width_px, a.fxfycxcy_px) == (b.name, b.image, b.width_px, b.fxfycxcy_px)
        np.testing.assert_allclose(a.world_from_camera, b.world_from_camera, atol=1e-14)
    assert sorted(path.name for path in folder.iterdir()) == ["images", FILE_NAME]


def test_write_without_cameras(folder):
    scene = Scene("plain", (Frame("0.png", folder / "images" / "0.png", 40, 30),), folder)
    frame = read_rayzer_json(write_rayzer_json(scene, folder)).frames[0]
    assert frame.fxfycxcy_px is None
    assert frame.world_from_camera is None


def test_write_refuses_what_the_reader_would(folder):
    inside = Frame("0.png", folder / "images" / "0.png", 40, 30)
    known = Frame("1.png", folder / "images" / "1.png", 40, 30, world_from_camera=np.eye(4))
    outside = Frame("o.png", folder.parent / "outside.png", 40, 30)
    decoded = Frame("0.000s", np.zeros((30, 40, 3), np.uint8), 40, 30)
    for frames in [(inside, known), (outside,), (decoded,)]:
        with pytest.raises(ValueError):
            write_rayzer_json(Scene("bad", frames, folder), folder)
    assert not (folder / FILE_NAME).exists()


@pytest.mark.parametrize("sizes", [True, False], ids=["sizes given", "sizes from the pictures"])
def test_cameras_are_for_the_stored_picture(folder, sizes):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "images/1.png", exif=exif)
    data = content()
    for frame in data["frames"]:
        frame |= {"w": 40, "h": 30} if sizes else {}
    frame = read_rayzer_json(write(folder, data)).frames[1]
    assert (frame.width_px, frame.height_px, frame.fxfycxcy_px) == (40, 30, (50.0, 51.0, 20.5, 15.0))
    np.testing.assert_array_equal(open_image(frame), pixels)
    convert(folder, folder.parent / "out")  # to a picture that nobody can turn
    again = read_scene(folder.parent / "out").frames[1]
    assert (again.width_px, again.height_px, again.fxfycxcy_px) == (40, 30, (50.0, 51.0, 20.5, 15.0))
    np.testing.assert_array_equal(open_image(again), pixels)
    with Image.open(again.image) as image:
        assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("value", ["64", -64, 0, 40.5])
def test_a_size_that_is_none_is_a_fault_of_the_file(folder, value):
    data = content()
    data["frames"][1] |= {"w": value, "h": 30}
    path = write(folder, data)
    for report in (refuse, lambda kind, error: None):
        with pytest.raises(InputError, match="frame 1: w: "):
            read_rayzer_json(path, ReadOptions(report=report))


@pytest.mark.parametrize("value", [1e300, 1e-300])
def test_focal_lengths_that_float32_cannot_hold(folder, value):
    data = content()
    data["frames"][1]["fx"] = value
    refused(write(folder, data), "frame 1", "not pixels of any picture")


def test_its_own_file_comes_before_those_of_others(folder):
    """A data set that was converted in place, and one called by a hash as DL3DV's are."""
    write(folder, content())
    (folder / "transforms.json").write_text('{"frames": [{"file_path": "images/2.png", "transform_matrix": []}]}')
    hashed = folder.rename(folder.parent / ("0123456789abcdef" * 4))
    for path in (hashed, hashed / FILE_NAME):
        assert recognise(path).name == "rayzer"
        assert len(read_scene(path)) == 3
    assert recognise(hashed / "transforms.json").name != "rayzer"
    (hashed / FILE_NAME).unlink()
    assert recognise(hashed).name == "dl3dv"


def test_a_number_of_many_digits(folder):
    refused(write(folder, json.dumps(content()).replace("20.5", "1" * 5000)), "has 5000 digits")

"""Which format something has, where scenes are found, and what scene lists may say."""

import errno
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rayzer.data.formats import FORMATS, find_scenes, read_scene, recognise
from rayzer.data.scenes import Frame
from rayzer.data.sources.colmap import write_colmap
from rayzer.data.sources.source import ReadOptions, SceneRef
from rayzer.errors import InputError

HASH = "0123456789abcdef" * 4


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(path)
    return path


def text(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# ---- one small scene of every format; each returns what a user would give


def photos(folder: Path) -> Path:
    return photo(folder / "1.png").parent


def video(folder: Path) -> Path:
    return text(folder / "clip.mp4", "told by its name")


def rayzer_scene(folder: Path) -> Path:
    photo(folder / "images" / "0.png")
    return text(folder / "opencv_cameras.json", {"frames": [{"file_path": "images/0.png"}]}).parent


def e_rayzer_scene(folder: Path) -> Path:
    return rayzer_scene(folder).joinpath("opencv_cameras.json").rename(folder / "scene.json").parent


def nerfstudio(folder: Path) -> Path:
    photo(folder / "images" / "0.png")
    frame = {"file_path": "images/0.png", "w": 8, "h": 6, "fl_x": 9, "transform_matrix": np.eye(4).tolist()}
    return text(folder / "transforms.json", {"frames": [frame]}).parent


def dl3dv(folder: Path) -> Path:
    scene = nerfstudio(folder / HASH)
    (scene / "images").rename(scene / "images_4")
    return scene


def colmap(folder: Path) -> Path:
    picture = photo(folder / "images" / "0.png")
    frame = Frame("0.png", picture, 8, 6, (9.0, 9.0, 4.0, 3.0), world_from_camera=np.eye(4))
    write_colmap(folder / "sparse" / "0", [frame], "made up")
    return folder


def lvsm(folder: Path, key: str = "a") -> Path:
    photo(folder / "images" / key / "00000.png")
    text(folder / "metadata" / f"{key}.json", {"frames": [{"image_path": f"images/{key}/00000.png"}]})
    return folder


def lvsm_file(folder: Path) -> Path:
    return lvsm(folder) / "metadata" / "a.json"


def real_estate(folder: Path, key: str = "a") -> Path:
    photo(folder / key / "1000.jpg")
    text(folder / f"{key}.txt", "https://example.org/v\n1000 1 1 .5 .5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n")
    return folder


def real_estate_file(folder: Path) -> Path:
    return real_estate(folder) / "a.txt"


def chunk(path: Path, *keys: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "PNG")
    camera = torch.tensor([[1, 1, 0.5, 0.5, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]])
    image = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    content = {"url": "", "timestamps": torch.tensor([0]), "cameras": camera, "images": [image]}
    torch.save([{**content, "key": key} for key in keys], path)
    return path


def one_chunk(folder: Path) -> Path:
    return chunk(folder / "000000.torch", "a")


def chunks(folder: Path, *keys: str) -> Path:
    chunk(folder / "000000.torch", *(keys or "a"))
    return text(folder / "index.json", dict.fromkeys(keys or "a", "000000.torch")).parent


def index_of_chunks(folder: Path) -> Path:
    return chunks(folder) / "index.json"


def co3d(folder: Path) -> Path:
    for name in ("frame_annotations.jgz", "sequence_annotations.jgz"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(gzip.compress(b"[]"))
    return folder


def packed(folder: Path) -> Path:
    header = b'{"__metadata__":{"format":"rayzer-packed-scene"}}'
    folder.mkdir(parents=True)
    (folder / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder / "a.safetensors"


FIXTURES: list[tuple[str, Callable[[Path], Path]]] = [
    ("packed", packed),
    ("chunks", chunks),
    ("chunks", one_chunk),
    ("chunks", index_of_chunks),
    ("co3d", co3d),
    ("dl3dv", dl3dv),
    ("nerfstudio", nerfstudio),
    ("lvsm", lvsm),
    ("lvsm", lvsm_file),
    ("rayzer", rayzer_scene),
    ("rayzer", e_rayzer_scene),
    ("realestate", real_estate),
    ("realestate", real_estate_file),
    ("colmap", colmap),
    ("video", video),
    ("photos", photos),
]
READABLE = [make for name, make in FIXTURES if name not in ("packed", "co3d", "video")]  # whose fixtures are stubs


@pytest.mark.parametrize(("name", "make"), FIXTURES)
def test_every_format_is_recognised(tmp_path, name, make):
    path = make(tmp_path / "given")
    assert recognise(path).name == name


def test_every_format_has_a_fixture_and_says_what_it_is():
    assert {name for name, _ in FIXTURES} == set(FORMATS)
    for name, source in FORMATS.items():
        assert source.name == name
        assert "\n" not in source.description


@pytest.mark.parametrize("source", FORMATS.values(), ids=FORMATS)
def test_recognising_never_raises(tmp_path, source):
    (tmp_path / "empty").mkdir()
    for suffix in (".json", ".txt", ".torch", ".safetensors", ".jgz", ".bin", ".zip"):
        (tmp_path / f"garbage{suffix}").write_bytes(bytes(range(256)))
        assert source.recognises(tmp_path / f"garbage{suffix}") is (suffix == ".torch" and source.name == "chunks")
    assert not source.recognises(tmp_path / "empty")
    assert not source.recognises(tmp_path / "none")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("source", FORMATS.values(), ids=FORMATS)
def test_recognising_never_waits_for_a_pipe(tmp_path, source):
    for name in ("transforms.json", "index.json", "a.safetensors", "a.torch", "a.txt", "a.jpg", "a.mp4"):
        os.mkfifo(tmp_path / name)
        source.recognises(tmp_path / name)
    source.recognises(tmp_path)


@pytest.mark.parametrize("source", FORMATS.values(), ids=FORMATS)
def test_recognising_never_raises_where_nobody_may_look(tmp_path, source, monkeypatch):
    def stat(path, **options):
        if path != locked and path.is_relative_to(locked):
            raise PermissionError(errno.EACCES, "Permission denied")
        return whole(path, **options)

    locked, whole = tmp_path / "locked", Path.stat
    locked.mkdir()
    monkeypatch.setattr(Path, "stat", stat)
    assert not source.recognises(locked)
    source.recognises(locked / "transforms.json")


@pytest.mark.parametrize("make", READABLE)
def test_reads_one_scene_by_its_path_by_a_line_and_by_its_reference(tmp_path, make):
    path = make(tmp_path / "given")
    (ref,) = find_scenes(path)
    assert ref.format
    scene = read_scene(path)
    assert len(scene) == 1
    lines = text(tmp_path / "list.txt", f"{path.relative_to(tmp_path)}\n{path}\n")
    for other in (ref, SceneRef(path), SceneRef(path, format=ref.format), *find_scenes(lines)):
        again = read_scene(other)
        assert (again.name, again.frames[0].name) == (scene.name, scene.frames[0].name)


# ---- folders of folders


def test_scenes_in_folders_of_folders_in_natural_order(tmp_path):
    made = [
        rayzer_scene(tmp_path / "set" / "scene2"),
        photos(tmp_path / "set" / "scene10"),
        nerfstudio(tmp_path / "set" / "train" / "1K" / "b"),
        colmap(tmp_path / "set" / "train" / "2K" / "a"),
    ]
    text(tmp_path / "set" / "notes.md", "not a scene")
    text(tmp_path / "set" / "view_index.json", {"scene2": {"context": [0], "target": [0]}})
    photos(tmp_path / "set" / ".thumbnails")
    assert [ref.path for ref in find_scenes(tmp_path / "set")] == made
    assert [ref.format for ref in find_scenes(tmp_path / "set")] == ["rayzer", "photos", "nerfstudio", "colmap"]
    assert [(ref.path, ref.format) for ref in find_scenes(tmp_path / "set", "photos")] == [(p, "photos") for p in made]
    assert [ref.path for ref in find_scenes(tmp_path / "set", "colmap")] == made[3:]


def test_scenes_too_far_down_are_not_found(tmp_path):
    photos(tmp_path / "a" / "b" / "c" / "d" / "e")
    assert find_scenes(tmp_path / "a")
    with pytest.raises(InputError, match="holds no photos, no video and no scene"):
        find_scenes(tmp_path)


def test_data_sets_in_splits(tmp_path):
    for split in ("test", "train"):
        lvsm(lvsm(tmp_path / "lvsm" / split, "a"), "b")
        real_estate(real_estate(tmp_path / "re10k" / split, "a"), "b")
        chunks(tmp_path / "chunks" / split, "a", "b")
    assert [ref.path.stem for ref in find_scenes(tmp_path / "lvsm")] == ["a", "b", "a", "b"]
    assert [ref.path.name for ref in find_scenes(tmp_path / "re10k")] == ["a.txt", "b.txt", "a.txt", "b.txt"]
    assert [ref.key for ref in find_scenes(tmp_path / "chunks")] == ["a", "b", "a", "b"]
    for ref in find_scenes(tmp_path):
        assert len(read_scene(ref)) == 1


def test_chunks_without_an_index_are_found_one_by_one(tmp_path):
    for number in (10, 2):
        chunk(tmp_path / f"{number}.torch", f"a{number}", f"b{number}")
    assert [ref.key for ref in find_scenes(tmp_path)] == ["a2", "b2", "a10", "b10"]


def test_several_scenes_where_one_is_expected(tmp_path):
    folder = chunks(tmp_path / "set", "first", "second")
    with pytest.raises(InputError, match=r"holds 2 scenes, expected one; .* for instance .*000000\.torch#first"):
        read_scene(folder)
    with pytest.raises(InputError, match=r"holds 2 scenes, expected one"):
        read_scene(SceneRef(folder))
    lvsm(lvsm(tmp_path / "lvsm", "a"), "b")
    with pytest.raises(InputError, match=r"for instance .*a\.json"):
        read_scene(tmp_path / "lvsm")


def test_the_order_of_formats_does_not_hide_a_missing_folder(tmp_path):
    for path in (tmp_path / "none", tmp_path / "none#key", Path("x" * 300)):
        with pytest.raises(InputError, match="there is no such file or folder; check the path"):
            find_scenes(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no photos, no video and no scene"):
        find_scenes(tmp_path / "empty")
    with pytest.raises(InputError, match="is neither a folder of photos"):
        find_scenes(text(tmp_path / "notes.md", "x"))


# ---- keys


def test_one_of_several_scenes(tmp_path, monkeypatch):
    folder = chunks(tmp_path / "set", "a", "b #2")
    for path in (folder, folder / "000000.torch", folder / "index.json"):
        assert read_scene(f"{path}#b #2").name == "b #2"
    assert find_scenes(Path(f"{folder}#a")) == [SceneRef(folder / "000000.torch", "a", "chunks")]
    monkeypatch.chdir(tmp_path)
    assert read_scene("set#a").name == "a"
    assert read_scene(f"{lvsm(tmp_path / 'lvsm')}#a").name == "a"
    assert read_scene(f"{real_estate(tmp_path / 're10k')}#a").name == "a"


def test_a_key_that_nothing_has(tmp_path):
    folder = chunks(tmp_path / "set", "a", "b")
    with pytest.raises(InputError, match=r"set: holds no scene 'c'; it has 2, for instance 'a'"):
        read_scene(f"{folder}#c")
    (ref,) = find_scenes(text(tmp_path / "list.txt", f"{folder}#c"))
    with pytest.raises(InputError, match=r"set: holds no scene 'c'"):
        read_scene(ref)
    with pytest.raises(InputError, match=r"photos: holds no scene 'a'"):
        read_scene(f"{photos(tmp_path / 'photos')}#a")


def test_a_number_sign_in_a_name_is_no_key(tmp_path):
    path = photos(tmp_path / "take #2")
    assert read_scene(path).name == "take #2"
    (ref,) = find_scenes(text(tmp_path / "list.txt", "take #2\n"))
    assert ref == SceneRef(path)
    folder = chunks(tmp_path / "set #1", "a#b")
    (ref,) = find_scenes(text(tmp_path / "list.txt", "set #1#a#b\n"))
    assert ref == SceneRef(folder, "a#b")
    assert read_scene(ref).name == "a#b"


# ---- the format at the user's word


def test_format_is_taken_at_its_word(tmp_path):
    folder = colmap(tmp_path / "scene")
    assert read_scene(folder).frames[0].world_from_camera is not None
    assert read_scene(folder, format="photos").frames[0].world_from_camera is None
    text(tmp_path / "cameras.data", {"frames": [{"file_path": "scene/images/0.png"}]})
    assert len(read_scene(tmp_path / "cameras.data", format="rayzer")) == 1


@pytest.mark.parametrize("name", FORMATS)
def test_a_wrong_format_says_what_it_looked_for(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "garbage").write_bytes(bytes(range(256)))
    for path in (tmp_path / "empty", tmp_path / "garbage"):
        if name == "photos" and path.is_dir():
            assert len(read_scene(path, format=name)) == 0  # whoever needs photos says so
            continue
        with pytest.raises(InputError) as caught:
            read_scene(path, format=name)
        assert str(caught.value).startswith(str(tmp_path))
        assert "\n" not in str(caught.value)


def test_the_format_of_what_a_list_names(tmp_path):
    colmap(tmp_path / "scene")
    chunks(tmp_path / "clips", "a", "b")
    (ref,) = find_scenes(text(tmp_path / "scenes.txt", "scene\n"), format="photos")
    assert read_scene(ref).frames[0].world_from_camera is None
    refs = find_scenes(text(tmp_path / "clips.txt", "clips#b\nclips/000000.torch#a\n"), format="chunks")
    assert [read_scene(ref).name for ref in refs] == ["b", "a"]


def test_an_unknown_format(tmp_path):
    with pytest.raises(InputError, match=r"--format colmop: is not known; choose one of .*colmap"):
        find_scenes(photos(tmp_path / "a"), "colmop")


# ---- scene lists


def test_lists_of_e_rayzer(tmp_path):
    for key in ("a", "b"):
        e_rayzer_scene(tmp_path / "scenes" / key)
    text(tmp_path / "covisibility" / "a" / "covisibility.json", {"pairs": []})
    below = text(tmp_path / "train.txt", "scenes/a/scene.json\nscenes/b/scene.json\n")
    manifest = text(tmp_path / "manifests" / "train.txt", below.read_text())
    upward = text(tmp_path / "manifests" / "up.txt", "../scenes/a/scene.json\n../scenes/b/scene.json\n")
    for path in (below, manifest, upward):
        assert [read_scene(ref).name for ref in find_scenes(path)] == ["a", "b"]
    assert [ref.path.name for ref in find_scenes(tmp_path)] == ["a", "b"]


def test_e_rayzer_scenes_without_pictures_of_their_own(tmp_path):
    picture = photo(tmp_path / "store" / "0.png")
    text(tmp_path / "out" / "scenes" / "a" / "scene.json", {"frames": [{"file_path": str(picture)}]})
    (ref,) = find_scenes(text(tmp_path / "out" / "manifests" / "test.txt", "scenes/a/scene.json"))
    with pytest.raises(InputError, match=r"scene\.json: frame 0: file_path: .* --allow-outside"):
        read_scene(ref)
    assert read_scene(ref, ReadOptions(allow_outside=True)).frames[0].image == picture


def test_the_folder_of_the_list_comes_before_the_working_directory_before_the_folder_above(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("set/lists/a", "a", "set/a"):
        photos(tmp_path / place)
    text(tmp_path / "set/lists/l.txt", "a")
    for expected in ("set/lists/a", "a", "set/a"):
        (ref,) = find_scenes(Path("set/lists/l.txt"))
        assert ref.path.samefile(tmp_path / expected)
        (tmp_path / expected / "1.png").unlink()
        (tmp_path / expected).rmdir()
    monkeypatch.chdir(tmp_path / "set" / "lists")
    photos(tmp_path / "set" / "a")
    assert find_scenes(Path("l.txt"))[0].path.samefile(tmp_path / "set" / "a")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\n\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_marks_comments_and_blanks(tmp_path, end, mark):
    names = ["two words", "Küche 1", "写真", "line\u2028separator", "tab\there", "form\x0cfeed"]
    for name in names:
        photos(tmp_path / name)
    lines = ["# scenes", "", *names[:3], "  ", "\t# a comment", *(f"  {name}\t " for name in names[3:]), ""]
    (tmp_path / "list.txt").write_bytes((mark + end.join(lines)).encode())
    assert [ref.path.name for ref in find_scenes(tmp_path / "list.txt")] == names


def test_absolute_paths_and_repeats(tmp_path):
    path = photos(tmp_path / "a")
    refs = find_scenes(text(tmp_path / "lists" / "l.txt", f"{path}\n../a\n{path}/\n"))
    assert [ref.path.resolve() for ref in refs] == [path] * 3


def test_missing_paths_name_list_line_and_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "a")
    path = text(tmp_path / "set" / "lists" / "l.txt", "# scenes\n../../a\nlost/scene.json\n")
    with pytest.raises(InputError) as caught:
        find_scenes(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: line 3: there is neither {path.parent}/lost/scene.json nor ")
    assert f" nor lost/scene.json nor {tmp_path}/set/lost/scene.json; " in message
    for line in ("x" * 5000, "a\0b", "#a\nlost#key"):
        with pytest.raises(InputError, match=r"line [12]: there is neither"):
            find_scenes(text(path, line))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "names no scenes; write one path a line"),
        (b"\n# nothing\n\r\n", "names no scenes; write one path a line"),
        ("Küche".encode("latin-1"), "not UTF-8 text"),
        (b"scenes/a\xff\xfe", "not UTF-8 text"),
    ],
)
def test_files_that_are_no_lists(tmp_path, content, says):
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        find_scenes(tmp_path / "l.txt")
    assert str(caught.value).startswith(str(tmp_path / "l.txt"))


def test_camera_files_are_no_lists_and_lists_are_no_camera_files(tmp_path):
    real_estate(tmp_path, "a")
    text(tmp_path / "list.txt", "a.txt\n")
    assert find_scenes(tmp_path / "a.txt") == [SceneRef(tmp_path / "a.txt", format="realestate")]
    assert find_scenes(tmp_path / "list.txt") == [SceneRef(tmp_path / "a.txt")]
    assert find_scenes(tmp_path) == [SceneRef(tmp_path / "a.txt", format="realestate")]


# ---- the command line


def test_exit_code_and_one_plain_line(run, tmp_path):
    (tmp_path / "a.torch").write_bytes(b"garbage")
    text(tmp_path / "a.txt", "https://example.org\n1 2 3\n")
    text(tmp_path / "metadata" / "a.json", {"frames": [{"image_path": "none.png"}]})
    for name in ("a.torch", "a.txt", "metadata/a.json"):
        code, _, err = run("predict", tmp_path / name, "-o", tmp_path / "out")
        assert code == 2
        assert err.splitlines()[-1].startswith(f"rayzer: {tmp_path / name}: ")
        assert "Traceback" not in err
        assert not (tmp_path / "out").exists()

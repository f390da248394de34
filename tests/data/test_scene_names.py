"""Names are safe, distinct, and as near to the scene's own as can be."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayzer.data.scene_names import check_apart, scene_names
from rayzer.data.sources.source import SceneRef
from rayzer.errors import InputError


def names(*paths):
    return scene_names([SceneRef(Path(*path.split("#")[:1]), *path.split("#")[1:]) for path in paths])


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/d/garden/opencv_cameras.json"], ["garden"]),
        (["/d/garden/transforms.json", "/d/house/scene.json"], ["garden", "house"]),
        (["/d/my clip.mp4"], ["my clip"]),
        (["/d/key.json", "/d/x.safetensors"], ["key", "x"]),
        (["/d/000000.torch#abc", "/d/000000.torch#d/e f"], ["abc", "d_e f"]),
        (["/d/1K/g.mp4", "/d/2K/g.mp4", "/d/h.mp4"], ["1K_g", "2K_g", "h"]),
        (["/d/1K/g/scene.json", "/d/2K/g/scene.json"], ["1K_g", "2K_g"]),
        (["/d/x/g.mp4", "/e/x/g.mp4"], ["x_g", "x_g-2"]),
        (["/d/0.torch#k", "/d/1.torch#k"], ["0_k", "1_k"]),
        (["/a/G.mp4", "/b/g.mp4"], ["a_G", "b_g"]),
        (["/d/.hidden.mp4"], ["_hidden"]),
        (["/d/ends. .mp4"], ["ends_"]),
        (["/d/größe ß.mp4"], ["größe ß"]),
        (['/d/a:b*c?"<>|.mp4'], ["a_b_c_____"]),
    ],
)
def test_names(paths, expected):
    assert names(*paths) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=200), st.text(max_size=60)), max_size=8))
def test_names_are_safe_and_distinct(parts):
    refs = [SceneRef(Path("/d") / f"f{above}", key) for above, key in parts if "\0" not in above]
    found = scene_names(refs)
    assert len({unicodedata.normalize("NFC", name.casefold()) for name in found}) == len(refs)
    for name in found:
        assert 0 < len(name.encode()) < 200
        assert not set(name) & set('/\\:*?"<>|\n\r\0#')
        assert name == name.strip()
        assert name[0] != "."


def test_apart(tmp_path):
    for name in ("in/scene", "out"):
        (tmp_path / name).mkdir(parents=True)
    check_apart(tmp_path / "out", ["in"], [tmp_path / "in"])
    check_apart(tmp_path, ["other"], [tmp_path / "in"])
    for out, writes in [("in", []), ("in/scene/x", []), ("", ["in"]), ("out/..", ["in"])]:
        with pytest.raises(InputError, match="choose"):
            check_apart(tmp_path / out, writes, [tmp_path / "in/scene", tmp_path / "in"])

"""Predictions with a model that takes any number of views: what is chosen, kept, saved and rendered again."""

import json

import pytest
import torch
from safetensors import safe_open

from rayzer.devices import Runtime
from rayzer.model.view_transformer import ReadingTransformer
from rayzer.model.weights import load_model
from rayzer.prediction.encoded import load_scene
from rayzer.prediction.inference import ready, render


@pytest.fixture
def predict(run, any_views, tmp_path):
    """Predict with the model of any views; returns the output folder."""

    def call(path, name="out"):
        out = tmp_path / name
        code, _, err = run("predict", path, "-o", out, "--checkpoint", any_views, "--frames", 4)
        assert code == 0, err
        return out

    return call


@pytest.mark.parametrize(("photos", "held_out"), [(3, 1), (5, 1), (8, 3), (11, 3)])
def test_photos_are_used_once(predict, make_photos, photos, held_out):
    out = predict(make_photos(photos))
    views = json.loads((out / "cameras.json").read_text())["views"]
    assert len({view["name"] for view in views}) == len(views) == min(photos, 8)
    assert [view["role"] for view in views].count("target") == held_out
    page = (out / "index.html").read_text()
    said = {3: "All 3 photos were used: 2 for the scene, 1 held out", 11: "8 of 11 photos were used, evenly spaced"}
    assert said.get(photos, "photo") in page
    assert "takes exactly" not in page


def test_two_photos_are_the_scene(predict, make_photos, run, any_views, tmp_path):
    out = predict(make_photos(2))
    assert len(list((out / "frames").iterdir())) == 4
    assert len(list((out / "images").iterdir())) == 2
    assert not (out / "renders").exists()
    assert "All 2 photos were used: 2 for the scene, none held out" in (out / "index.html").read_text()
    code, printed, _ = run("predict", tmp_path / "photos", "-o", tmp_path / "x", "--checkpoint", any_views)
    assert code == 0
    assert "no view was held out" in printed


def test_a_saved_scene_renders_to_the_same_pictures(predict, make_photos):
    out = predict(make_photos(6))
    again = predict(out / "scene.safetensors", "again")
    for folder in ("renders", "frames"):
        for picture in (out / folder).iterdir():
            assert picture.read_bytes() == (again / folder / picture.name).read_bytes()


def test_the_memory_is_made_once_and_not_saved(predict, make_photos, monkeypatch):
    made = []
    original = ReadingTransformer.memorize
    monkeypatch.setattr(ReadingTransformer, "memorize", lambda *given: made.append(1) or original(*given))
    out = predict(make_photos(6))
    assert len(made) == 1
    predict(out / "scene.safetensors", "again")
    assert len(made) == 2
    with safe_open(out / "scene.safetensors", "pt") as file:
        assert set(file.keys()) == {"tokens", "images", "world_from_camera", "intrinsics"}


def test_the_cameras_of_the_context_come_back(predict, make_photos, any_views):
    scene = load_scene(predict(make_photos(6)) / "scene.safetensors")
    assert scene.tokens.cameras is not None
    assert torch.equal(scene.tokens.cameras.world_from_camera[0], scene.cameras[scene.context].world_from_camera)
    model, runtime = load_model(any_views), Runtime(torch.device("cpu"), bfloat16=False)
    with torch.no_grad():
        images = scene.images[scene.context][None] / 255
        expected = model.render(model.reconstruct(images, scene.tokens.cameras), scene.cameras[None])[0]
    found = render(model, ready(model, scene.tokens, runtime), scene.cameras, runtime)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_scenes_of_latents_have_no_cameras_of_their_own(run, make_photos, checkpoint, tmp_path):
    code, _, err = run("predict", make_photos(8), "-o", tmp_path / "out", "--checkpoint", checkpoint, "--frames", 2)
    assert code == 0, err
    assert load_scene(tmp_path / "out/scene.safetensors").tokens.cameras is None

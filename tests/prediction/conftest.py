"""A small untrained checkpoint, and photos of a made-up room, for running the whole program."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rayzer.configs import load_config
from rayzer.model.anyview import AnyViewConfig
from rayzer.model.weights import build_model, save_model
from rayzer.prediction import embedded


def save_untrained(config, folder):
    torch.manual_seed(0)
    model = build_model(config)
    # Untrained heads see no difference between views; larger ones give cameras that stand apart.
    for parameter in model.camera_estimator.head.relative_pose.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_model(model, folder)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A folder with a RayZer of 0.2 M parameters that takes 5 + 3 views of 32x32 pixels."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    save_untrained(load_config("smoke").model, folder)
    return folder


@pytest.fixture(scope="session")
def any_views(tmp_path_factory):
    """A folder with an AnyViewRayZer that is meant for 5 + 3 views of 32x32 pixels."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-any-views"
    layers = {"camera_layers": 1, "scene_layers": 1, "renderer_layers": 1}
    save_untrained(AnyViewConfig(32, 32, 5, 3, patch_size=8, width=64, head_width=16, **layers), folder)
    return folder


@pytest.fixture
def embed(monkeypatch):
    """Let a folder be the checkpoint that comes with the package; one that does not exist if None is given."""

    def call(folder=None):
        monkeypatch.setattr(embedded, "FOLDER", folder or Path("nowhere"))

    return call


def picture(number, width=48, height=36):
    """A photo that differs from every other: a bright disc moves over a gradient."""
    y, x = np.mgrid[:height, :width]
    disc = (x - 4 - 3 * number % width) ** 2 + (y - height / 2) ** 2 < 40
    pixels = np.stack([255 * x / width, 255 * y / height, np.full_like(x, (37 * number) % 256)], -1)
    pixels[disc] = 250
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def make_photos(tmp_path):
    """Write photos into a folder: `make_photos(8)` or `make_photos(["a b.png", "ü.jpg"])`."""

    def make(names, folder="photos", size=(48, 36)):
        names = [f"photo{number}.jpg" for number in range(names)] if isinstance(names, int) else names
        target = tmp_path / folder
        target.mkdir(exist_ok=True)
        for number, name in enumerate(names):
            picture(number, *size).save(target / name)
        return target

    return make


@pytest.fixture
def video(tmp_path):
    """A two-second video of 64x48 pixels."""
    from rayzer.rendering.video import write_mp4

    path = tmp_path / "walk.mp4"
    write_mp4(path, [np.asarray(picture(number, 64, 48)) for number in range(48)], fps=24)
    return path


@pytest.fixture
def recordings():
    """Recorded behaviour of the reference implementation."""
    return Path(__file__).parents[1] / "recordings"


@pytest.fixture
def recorded_scene(recordings):
    """A scene file of eight or more frames with poses and intrinsics."""
    return recordings / "dataset/scenes/scene_a/opencv_cameras.json"

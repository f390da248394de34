"""A tiny run, and what tests of training have in common."""

import pytest
import torch

from rayzer.configs import load_config
from rayzer.training.distributed import World

TINY = [
    "model.width=32",
    "model.image_height=16",
    "model.image_width=16",
    "model.scene_tokens=8",
    "training.steps=6",
    "training.checkpoint_every=2",
    "training.batch_size=2",
    "training.samples_at_once=1",
    "training.data.workers=0",
    "training.validation.every=0",
    "training.log.pictures_every=0",
    "training.loss.structural=0",
    "training.views.context_views=null",
    "training.views.target_views=null",
    "model.context_views=2",
    "model.target_views=1",
]


@pytest.fixture
def alone():
    """The world of a process without others."""
    return World(0, 1, torch.device("cpu"))


@pytest.fixture
def tiny(tmp_path):
    """The smoke preset made smaller still, in a folder of its own; more overrides may be given."""

    def make(*overrides, folder="run"):
        return load_config("smoke", [*TINY, f"training.output_dir={tmp_path / folder}", *overrides])

    return make


@pytest.fixture(scope="session")
def rooms_on_disk(tmp_path_factory):
    """A folder of three small scenes with cameras, 26 pictures each."""
    from rayzer.data.synthetic.writing import RoomsRequest, synthesize

    folder = tmp_path_factory.mktemp("scenes") / "rooms"
    synthesize(folder, RoomsRequest(scenes=3, views=26, image_size=16, quality="fast"), "cpu", 1, False)
    return folder

"""Encoded once, rendered many times: what rendering reads of a scene is there before it begins."""

from dataclasses import replace

import pytest
import torch

from rayzer.configs import load_config
from rayzer.devices import Runtime
from rayzer.geometry.cameras import Cameras
from rayzer.model.weights import build_model, load_model
from rayzer.prediction.inference import encode, ready, render

CPU = Runtime(torch.device("cpu"), bfloat16=False)


@pytest.fixture(params=["one_way", "anyview"])
def model(request, any_views):
    """A model whose scenes have a memory."""
    if request.param == "anyview":
        return load_model(any_views)
    torch.manual_seed(0)
    return build_model(replace(load_config("smoke").model, renderer="one_way")).eval()


def test_memory_is_made_anew_as_it_was(model):
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    _, scene = encode(model, images, None, [0, 2, 3, 5, 7], CPU)
    assert scene.memory
    assert ready(model, scene, CPU).memory[0].key is scene.memory[0].key
    again = ready(model, replace(scene, memory=()), CPU)
    for made, kept in zip(again.memory, scene.memory, strict=True):
        assert torch.equal(made.key, kept.key)
        assert torch.equal(made.value, kept.value)


def test_no_cameras_no_pictures(model):
    _, scene = encode(model, torch.rand(8, 3, 32, 32), None, [0, 1], CPU)
    none = Cameras(torch.zeros(0, 4, 4), torch.zeros(0, 4))
    assert render(model, scene, none, CPU).shape == (0, 3, 32, 32)

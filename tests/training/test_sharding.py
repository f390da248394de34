"""Distributed modules in a group of one process: what wraps and shards a model must know every way into its blocks."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from rayzer.model.anyview import AnyViewConfig
from rayzer.model.rayzer import RayZerConfig
from rayzer.model.weights import build_model
from rayzer.training.distributed import World, distribute
from rayzer.training.optim import Optimizer
from rayzer.training.recipe import OptimizerConfig, ProcessConfig
from rayzer.view_split import ViewSplit

SIZES = {"image_height": 16, "image_width": 16, "patch_size": 8, "width": 32, "head_width": 16}
LAYERS = {"camera_layers": 2, "scene_layers": 2, "renderer_layers": 2}
MODELS = [
    AnyViewConfig(**SIZES, **LAYERS, order_code="relative"),
    RayZerConfig(**SIZES, **LAYERS, scene_tokens=6, renderer="one_way"),
    RayZerConfig(**SIZES, **LAYERS, scene_tokens=6),
]


@pytest.fixture
def group():
    """A process group of this process, which is told that it is one of two."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield World(0, 2, torch.device("cpu"))
    dist.destroy_process_group()


def whole(value):
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def stepped(config, world, sharding):
    """Weights and gradients after two steps, the second with positions where the model takes them."""
    torch.manual_seed(0)
    model = build_model(config)
    module = model if sharding is None else distribute(model, world, ProcessConfig(sharding=sharding))
    optimizer = Optimizer(model, OptimizerConfig(kind="muon"))
    images, places = torch.rand(2, 5, 3, 16, 16), torch.arange(5).expand(2, 5)
    more = [{}, {"positions": places}] if isinstance(config, AnyViewConfig) else [{}, {}]
    for arguments in more:
        optimizer.zero_grad()
        out = module(images, ViewSplit(places[:, ::2], places[:, 1::2]), **arguments)
        (out.images.square().mean() + out.cameras.centers.mean()).backward()
        optimizer.step(0.01)
    return [whole(x).detach() for p in model.parameters() for x in (p, p.grad)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
@pytest.mark.parametrize("config", MODELS, ids=["anyview", "one_way", "joint"])
def test_distributed_steps_equal_those_of_one_process(group, config, sharding):
    expected = stepped(config, group, None)
    for found, value in zip(stepped(config, group, sharding), expected, strict=True):
        assert_close(found, value, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_sharded_models_render_without_gradients(group):
    for config in MODELS:
        model = build_model(config).eval()
        images, places = torch.rand(2, 5, 3, 16, 16), torch.arange(5).expand(2, 5)
        split = ViewSplit(places[:, ::2], places[:, 1::2])
        with torch.no_grad():
            expected = model(images, split).images
            sharded = distribute(model, group, replace(ProcessConfig(), sharding="fsdp"))
            assert_close(sharded(images, split).images, expected, rtol=0, atol=1e-6)

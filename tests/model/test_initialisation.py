"""Size and initial statistics of the models."""

import math

import pytest
import torch
from torch import nn

from rayzer import RayZerConfig
from rayzer.model.weights import build_model


def test_the_released_model_has_its_published_size():
    with torch.device("meta"):
        model = build_model(RayZerConfig())
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 238.36


@pytest.fixture(params=["rayzer", "lvsm", "lvsm_decoder_only"])
def fresh(request, tiny_config):
    """A freshly built model wide enough for statistics."""
    torch.manual_seed(0)
    sizes = {"width": 128, "renderer_layers": 3, "scene_tokens": 128}
    return lambda **changes: build_model(tiny_config(request.param, **sizes | changes))


def stacks(model):
    return [module for name, module in model.named_modules() if name.endswith("blocks")]


@pytest.mark.parametrize("init", ["depth", "stack", "plain"])
def test_blocks(fresh, init):
    for blocks in stacks(fresh(block_init=init)):
        for i, block in enumerate(blocks):
            depth = {"depth": 2 * (i + 1), "stack": 2 * len(blocks), "plain": 1}[init]
            linears = [module for module in block.modules() if isinstance(module, nn.Linear)]
            assert len(linears) == 4
            for linear in linears:
                assert linear.bias is None
                assert linear.weight.std().item() == pytest.approx(0.02 / math.sqrt(depth), rel=0.03)
                assert abs(linear.weight.mean()) < 1e-3


def test_everything_outside_blocks(fresh):
    model = fresh()
    in_blocks = {module for blocks in stacks(model) for module in blocks.modules()}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or module in in_blocks:
            continue
        if name.startswith("fusion."):  # the reference leaves PyTorch's default there
            bound = 1 / math.sqrt(module.in_features)
            assert 0.95 * bound < module.weight.abs().max() <= bound
            assert 0 < module.bias.abs().max() <= bound
            continue
        std = 1e-3 if ".head." in name else 0.02
        tolerance = 4 / math.sqrt(2 * module.weight.numel())  # four standard errors
        assert module.weight.std().item() == pytest.approx(std, rel=tolerance), name
        assert module.bias is None or module.bias.abs().max() == 0, name


def test_norms_are_one_and_without_bias(fresh):
    for name, parameter in fresh().named_parameters():
        if "norm" in name or name in ("fusion.0.weight", "renderer.to_pixels.0.weight"):
            assert (parameter == 1).all(), name
            assert name.endswith("weight")


def test_learned_tokens(fresh):
    tokens = {name: p for name, p in fresh().named_parameters() if name.endswith(("scene_tokens", "camera_token"))}
    for name, parameter in tokens.items():
        assert parameter.ndim == 2, name  # decayed like every tensor with more than one dimension
        assert parameter.std().item() == pytest.approx(0.02, rel=0.2), name

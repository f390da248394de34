"""What the backward pass computes again changes memory, not results."""

from typing import get_args

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rayzer.model.acceleration import set_recomputation
from rayzer.model.recomputation import ATTENTION, Recomputation

MODES = get_args(Recomputation)


class Counter(TorchDispatchMode):
    """Counts attentions and matrix products with weights."""

    def __init__(self):
        super().__init__()
        self.attentions = self.products = 0

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        self.attentions += operator in ATTENTION
        self.products += operator is torch.ops.aten.mm.default
        return operator(*arguments, **(options or {}))


def run(model, images, split):
    model.zero_grad()
    picture = model(images, split).images
    with Counter() as counter:
        picture.square().mean().backward()
    return [picture, *(parameter.grad for parameter in model.parameters())], counter


@pytest.mark.parametrize("qk_norm", [True, False])
def test_all_modes_give_the_same(tiny_model, sample, qk_norm):
    model = tiny_model(qk_norm=qk_norm).train()
    images, split, _ = sample(5)
    results = {}
    for mode in MODES:
        set_recomputation(model, mode)
        results[mode], _ = run(model, images, split)
    for mode in MODES:
        for found, expected in zip(results[mode], results["none"], strict=True):
            assert torch.equal(found, expected), mode


def test_what_is_computed_again(tiny_model, sample):
    model = tiny_model(camera_layers=3, scene_layers=3, renderer_layers=3).train()
    images, split, _ = sample(5)
    attentions, products = {}, {}
    for mode in MODES:
        set_recomputation(model, mode)
        _, counter = run(model, images, split)
        attentions[mode], products[mode] = counter.attentions, counter.products
    assert attentions == {"all": 9, "selective": 0, "none": 0}
    layers = 9
    # The last product of a block is not needed again; "selective" repeats the first of the MLP alone.
    assert products["selective"] - products["none"] == layers
    assert products["all"] - products["none"] >= 3 * layers


def test_recomputation_is_the_default_and_for_training_only(tiny_model, sample):
    model = tiny_model()
    images, split, _ = sample(5)
    _, counter = run(model.train(), images, split)
    assert counter.attentions > 0
    _, counter = run(model.eval(), images, split)
    assert counter.attentions == 0

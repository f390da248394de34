"""The perceptual loss against a slow twin made from torchvision's VGG-19."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import vgg19

from rayzer.losses import PerceptualLoss

TAPS = {3: 2.6, 8: 4.8, 13: 3.7, 22: 5.6, 31: 0.15}  # index of relu1_2 ... relu5_2 in the features -> divisor


@pytest.fixture(scope="module")
def features():
    """The features of a VGG-19 with random weights, its pooling replaced by averages."""
    with torch.device("meta"):
        layers = vgg19(weights=None).features
    layers = layers.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.normal_(layer.bias, std=0.1, generator=generator)
        if isinstance(layer, nn.MaxPool2d):
            layers[index] = nn.AvgPool2d(2)
        if isinstance(layer, nn.ReLU):
            layers[index] = nn.ReLU(inplace=False)
    return layers.requires_grad_(False)


@pytest.fixture(scope="module")
def state(features):
    return {f"features.{name}": value for name, value in features.state_dict().items()}


def slow_twin(features, a, b):
    mean = torch.tensor([123.68, 116.779, 103.939]).reshape(1, 3, 1, 1)
    a, b = a * 255 - mean, b * 255 - mean
    total = (a - b).abs().mean()
    for index, layer in enumerate(features[:32]):
        a, b = layer(a), layer(b)
        if index in TAPS:
            total = total + (a - b).abs().mean() / TAPS[index]
    return total / 255


@pytest.mark.parametrize("size", [(32, 32), (16, 16), (48, 40), (33, 27)])
def test_equals_its_slow_twin(features, state, size):
    a, b = torch.rand(2, 2, 3, *size)
    loss = PerceptualLoss(state)
    assert loss(a, b).shape == ()
    assert_close(loss(a, b), slow_twin(features, a, b), rtol=1e-5, atol=0)
    assert loss(a, a) == 0


def test_every_tap_counts(features, state):
    """The deepest features matter, with the weight that the specification gives them."""
    a, b = torch.rand(2, 1, 3, 32, 32)
    cut = dict(state, **{"features.30.weight": state["features.30.weight"] * 2, "features.30.bias": torch.zeros(512)})
    assert (PerceptualLoss(cut)(a, b) - PerceptualLoss(state)(a, b)).abs() > 1e-3


def test_is_the_mean_over_the_batch(state):
    a, b = torch.rand(2, 3, 3, 32, 32)
    loss = PerceptualLoss(state)
    assert_close(loss(a, b), torch.stack([loss(a[i : i + 1], b[i : i + 1]) for i in range(3)]).mean())


def test_only_pictures_get_gradients(features, state):
    a, b = torch.rand(2, 1, 3, 32, 32)
    loss = PerceptualLoss(state)
    loss(a.requires_grad_(), b).backward()
    expected = torch.autograd.grad(slow_twin(features, a, b), a)[0]
    assert_close(a.grad, expected, rtol=1e-3, atol=1e-6)
    assert b.grad is None
    assert not any(p.requires_grad for p in loss.parameters())
    assert not any(value.requires_grad for value in state.values())


def test_does_not_share_the_given_weights(state):
    loss = PerceptualLoss(state)
    with torch.no_grad():
        next(loss.parameters()).add_(1)
    assert not torch.equal(next(loss.parameters()), state["features.0.weight"])


def test_the_classifier_is_not_needed_and_not_used(state):
    a, b = torch.rand(2, 1, 3, 16, 16)
    full = dict(state, **{"classifier.0.weight": torch.zeros(2)})
    assert PerceptualLoss(full)(a, b) == PerceptualLoss(state)(a, b)


@pytest.mark.parametrize("name", ["features.0.weight", "features.28.bias", "features.30.weight"])
def test_missing_weights(state, name):
    with pytest.raises(ValueError, match=name):
        PerceptualLoss({key: value for key, value in state.items() if key != name})


@pytest.mark.parametrize(
    "wrong", [torch.zeros(64, 3, 5, 5), torch.zeros(64, 3), torch.zeros(3, 3, 3, 3), torch.zeros(64, 4, 3, 3)]
)
def test_weights_of_another_shape(state, wrong):
    with pytest.raises(ValueError, match=r"features\.0"):
        PerceptualLoss({**state, "features.0.weight": wrong})


def test_convolutions_that_do_not_follow_one_another(state):
    other = {"features.2.weight": torch.zeros(64, 32, 3, 3)}
    with pytest.raises(ValueError, match=r"features\.2"):
        PerceptualLoss({**state, **other})

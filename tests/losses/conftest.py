"""Random weights: of narrow networks, which are fast, and of full ones where the structure is checked."""

import pytest
import torch


def vgg_state(counts, widths):
    """Random weights of a VGG under torchvision's names; a stage of `counts` convolutions has one of the `widths`."""
    generator = torch.Generator().manual_seed(0)
    state, index, channels = {}, 0, 3
    for count, width in zip(counts, widths, strict=True):
        for _ in range(count):
            spread = (2 / (9 * channels)) ** 0.5
            state[f"features.{index}.weight"] = spread * torch.randn(width, channels, 3, 3, generator=generator)
            state[f"features.{index}.bias"] = 0.1 * torch.randn(width, generator=generator)
            index, channels = index + 2, width
        index += 1
    return state


def linear_state(widths):
    generator = torch.Generator().manual_seed(1)
    return {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1, generator=generator) for i, w in enumerate(widths)}


NARROW = (4, 6, 8, 10, 12)


@pytest.fixture(scope="session")
def narrow_vgg19():
    return vgg_state((2, 2, 4, 4, 4), NARROW)


@pytest.fixture(scope="session")
def narrow_lpips():
    return vgg_state((2, 2, 3, 3, 3), NARROW), linear_state(NARROW)


@pytest.fixture(scope="session")
def full_vgg19():
    return vgg_state((2, 2, 4, 4, 4), (64, 128, 256, 512, 512))


@pytest.fixture(scope="session")
def full_vgg16():
    return vgg_state((2, 2, 3, 3, 3), (64, 128, 256, 512, 512))


@pytest.fixture
def pair():
    """Makes a prediction and a target [n, 3, h, w]."""

    def make(n=2, h=32, w=32, dtype=torch.float32):
        pictures = torch.rand(2, n, 3, h, w, generator=torch.Generator().manual_seed(2), dtype=dtype)
        return pictures.unbind()

    return make

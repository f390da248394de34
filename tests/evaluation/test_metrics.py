"""Picture metrics against scikit-image."""

import numpy as np
import pytest
import torch

import rayzer
from rayzer.evaluation.metrics import psnr, ssim

skimage = pytest.importorskip("skimage.metrics")


def ramp(n, h, w):
    rows, columns = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing="ij")
    return torch.stack([rows, columns, rows * columns]).expand(n, 3, h, w)


def pictures(kind, h=40, w=32, n=2):
    """A target and a prediction of it, [n, 3, h, w]."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(n, 3, h, w, generator=generator)
    more = torch.randn(n, 3, h, w, generator=generator)
    smooth = ramp(n, h, w)
    return {
        "unrelated noise": (noise, noise.flip(0, 1, 2)),
        "faint noise": (smooth, smooth + 0.01 * more),
        "strong noise": (smooth, smooth + 0.3 * more),
        "negative": (noise, 1 - noise),
        "flat": (torch.full_like(noise, 0.25), torch.full_like(noise, 0.5)),
        "flat and noise": (torch.full_like(noise, 0.5), noise),
        "darker": (smooth, 0.7 * smooth),
        "black": (torch.zeros_like(noise), torch.zeros_like(noise) + 1e-3),
    }[kind]


KINDS = ["unrelated noise", "faint noise", "strong noise", "negative", "flat", "flat and noise", "darker", "black"]


def expected_ssim(target, prediction):
    options = {"win_size": 11, "gaussian_weights": True, "channel_axis": 0, "data_range": 1.0}
    pairs = zip(target.double().numpy(), prediction.double().numpy(), strict=True)
    return [skimage.structural_similarity(a, b, **options) for a, b in pairs]


@pytest.mark.parametrize("kind", KINDS)
def test_ssim(kind):
    target, prediction = pictures(kind)
    assert ssim(target, prediction).tolist() == pytest.approx(expected_ssim(target, prediction), abs=1e-6)


@pytest.mark.parametrize("size", [(11, 11), (12, 31), (37, 16), (64, 65)])
def test_ssim_of_odd_sizes(size):
    target, prediction = pictures("strong noise", *size)
    assert ssim(target, prediction).tolist() == pytest.approx(expected_ssim(target, prediction), abs=1e-6)


def test_ssim_does_not_clamp():
    target, prediction = pictures("strong noise")
    assert prediction.max() > 1.1
    assert abs(ssim(target, prediction) - ssim(target, prediction.clamp(0, 1))).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_psnr(kind):
    target, prediction = pictures(kind)
    pairs = zip(target.double().numpy(), prediction.double().clamp(0, 1).numpy(), strict=True)
    expected = [skimage.peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in pairs]
    assert psnr(target, prediction).tolist() == pytest.approx(expected, rel=1e-6)


def test_psnr_clamps_both_pictures():
    target, prediction = torch.full((1, 3, 4, 4), 1.5), torch.full((1, 3, 4, 4), -2.0)
    assert psnr(target, prediction).item() == 0
    assert psnr(target, torch.ones(1, 3, 4, 4)).item() == np.inf


def test_equal_pictures():
    target = pictures("faint noise")[0]
    assert psnr(target, target).tolist() == [np.inf, np.inf]
    assert ssim(target, target).tolist() == pytest.approx([1, 1])


def test_one_value_per_picture():
    target, prediction = pictures("strong noise", n=4)
    for metric in (psnr, ssim):
        whole = metric(target, prediction)
        assert whole.shape == (4,)
        assert whole[2:3].tolist() == pytest.approx(metric(target[2:3], prediction[2:3]).tolist(), rel=1e-6)


def test_too_small_for_the_window():
    with pytest.raises(ValueError, match=r"at least 11x11.*\[10, 20\]"):
        ssim(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))


@pytest.mark.parametrize("other", [(2, 3, 16, 16), (1, 3, 16, 17), (1, 1, 16, 16)])
def test_pictures_of_different_shapes_are_not_compared(other):
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match="one shape"):
            metric(torch.zeros(1, 3, 16, 16), torch.zeros(other))


def test_half_precision_is_not_lost_in():
    """Pictures in bfloat16 are scored as the numbers that they are."""
    target, prediction = (x.bfloat16() for x in pictures("strong noise"))
    for metric in (psnr, ssim):
        found, exact = metric(target, prediction), metric(target.double(), prediction.double())
        assert found.tolist() == pytest.approx(exact.tolist(), rel=1e-6)


def test_reachable_as_documented():
    assert rayzer.evaluation.metrics.psnr is psnr

"""The structural loss against NumPy and scikit-image, and by axioms."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from rayzer.losses import StructuralLoss

skimage = pytest.importorskip("skimage.metrics")
loss = StructuralLoss()


def slow_twin(prediction, target):
    values = []
    for p, t in zip(prediction.double().numpy(), target.double().numpy(), strict=True):
        options = {"win_size": 11, "gaussian_weights": True, "channel_axis": 0, "data_range": 1.0}
        steps = 0
        a, b = p, t
        for octave in range(4):
            if octave:
                a, b = halved(a), halved(b)
            for axis in (1, 2):
                steps += np.abs(np.diff(a, axis=axis) - np.diff(b, axis=axis)).mean()
        values.append(steps / 4 + 1 - skimage.structural_similarity(p, t, **options))
    return np.mean(values)


def halved(x):
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    x = x[:, :h, :w]
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


@pytest.mark.parametrize("size", [(16, 16), (33, 27), (64, 48)])
def test_equals_its_slow_twin(pair, size):
    a, b = pair(2, *size)
    assert loss(a, b).shape == ()
    for prediction, target in ((a, b), (0.02 * a, 0.02 * (a + 0.1 * b))):  # unrelated noise; dark and nearly the same
        assert loss(prediction, target).item() == pytest.approx(slow_twin(prediction, target), rel=1e-5)


def test_does_not_depend_on_which_picture_comes_first(pair):
    a, b = pair()
    assert_close(loss(a, b), loss(b, a))


def test_is_the_mean_over_the_batch(pair):
    a, b = pair(3)
    assert_close(loss(a, b), torch.stack([loss(a[i : i + 1], b[i : i + 1]) for i in range(3)]).mean())


def test_every_difference_counts(pair):
    """Brightness alone, noise alone, blur alone, a picture mirrored: none is 0."""
    a, b = pair(1)
    smooth = F.interpolate(a[..., ::8, ::8], scale_factor=8, mode="bilinear")
    blurred = F.avg_pool2d(smooth, 3, 1, 1)
    for other in (0.9 * smooth + 0.05, smooth + 0.05, smooth + 0.05 * (b - 0.5), blurred, smooth.flip(-1)):
        assert loss(other, smooth) > 1e-3


def test_grows_with_noise_and_blur(pair):
    a, b = pair(1)
    smooth = F.interpolate(a[..., ::4, ::4], scale_factor=4, mode="bilinear")
    noise = [loss(smooth + strength * (b - 0.5), smooth) for strength in (0, 0.05, 0.1, 0.2, 0.4)]
    assert noise == sorted(noise)
    assert noise[-1] > 2 * noise[1]
    blur = [loss(F.avg_pool2d(smooth, size, 1, size // 2, count_include_pad=False), smooth) for size in (1, 3, 5, 7)]
    assert blur == sorted(blur)


def test_descent_recovers_the_picture(pair):
    x, target = pair(1, 16, 16)
    x = x.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], 0.02)
    before = (x - target).abs().mean().item()
    for _ in range(150):
        optimizer.zero_grad()
        loss(x, target).backward()
        optimizer.step()
    assert (x - target).abs().mean() < before / 5


def test_has_no_weights():
    assert not loss.state_dict()

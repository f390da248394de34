"""LPIPS against the `lpips` package, with a random trunk and the package's own linear weights."""

import warnings
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from rayzer.losses import LPIPS, load_lpips
from rayzer.losses.pretrained import LPIPS_LINEAR

package = pytest.importorskip("lpips")


@pytest.fixture(scope="module")
def linear():
    return torch.load(Path(package.__file__).parent / LPIPS_LINEAR, map_location="cpu", weights_only=True)


@pytest.fixture(scope="module")
def theirs(full_vgg16):
    """The package's metric, its trunk replaced by ours."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # torchvision's, of the argument `pretrained`
        patch.setattr(torch.nn.init, "normal_", lambda tensor, *args: tensor)  # of a classifier that is thrown away
        patch.setattr(torch.nn.init, "kaiming_normal_", lambda tensor, **options: tensor)
        metric = package.LPIPS(net="vgg", version="0.1", pnet_rand=True, verbose=False)
    for stage in (metric.net.slice1, metric.net.slice2, metric.net.slice3, metric.net.slice4, metric.net.slice5):
        stage.load_state_dict({name: full_vgg16[f"features.{name}"] for name in stage.state_dict()})
    return metric


@pytest.fixture(scope="module")
def ours(full_vgg16, linear):
    return LPIPS(full_vgg16, linear)


@pytest.mark.parametrize("size", [(16, 16), (32, 40), (37, 50)])
def test_equals_the_package(theirs, ours, pair, size):
    a, b = pair(2, *size)
    gradients = []
    for metric in (lambda x: theirs(x, b, normalize=True).flatten(), lambda x: ours(x, b)):
        x = a.clone().requires_grad_()
        value = metric(x)
        value.sum().backward()
        gradients.append((value.detach(), x.grad))
    (value, gradient), (own_value, own_gradient) = gradients
    assert own_value.shape == (2,)
    assert value.min() > 0.01
    assert_close(own_value, value, rtol=1e-5, atol=0)
    assert_close(own_gradient, gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item())


def test_one_number_per_picture(narrow_lpips, pair):
    metric = LPIPS(*narrow_lpips)
    a, b = pair(3)
    singles = [metric(a[i : i + 1], b[i : i + 1]) for i in range(3)]
    assert_close(metric(a, b), torch.cat(singles))


def test_pixels_without_any_feature_have_a_gradient(narrow_lpips, pair):
    """Their length is 0, where the root of a sum of squares has no slope."""
    trunk, linear = narrow_lpips
    silent = {name: value if "weight" in name else value - 5 for name, value in trunk.items()}
    a, b = pair()
    metric = LPIPS(silent, linear)
    value = metric(a.requires_grad_(), b)
    value.sum().backward()
    assert any((x.sum(1) == 0).any() for x, _ in metric.vgg.compare(a, b))
    assert a.grad.isfinite().all()


def test_does_not_share_the_given_weights(narrow_lpips):
    trunk, linear = narrow_lpips
    metric = LPIPS(trunk, linear)
    with torch.no_grad():
        metric.channel_weights[0].add_(1)
    assert not torch.equal(metric.channel_weights[0], linear["lin0.model.1.weight"][0])
    assert not any(parameter.requires_grad for parameter in metric.parameters())


@pytest.mark.parametrize("name", ["features.0.bias", "features.28.weight"])
def test_missing_weights_of_the_trunk(narrow_lpips, name):
    trunk, linear = narrow_lpips
    with pytest.raises(ValueError, match=f"VGG-16.*{name}"):
        LPIPS({key: value for key, value in trunk.items() if key != name}, linear)


def test_missing_or_other_linear_weights(narrow_lpips):
    trunk, linear = narrow_lpips
    name = "lin3.model.1.weight"
    with pytest.raises(ValueError, match=name):
        LPIPS(trunk, {key: value for key, value in linear.items() if key != name})
    for wrong in (torch.zeros(1, 11, 1, 1), torch.zeros(10)):
        with pytest.raises(ValueError, match=name):
            LPIPS(trunk, {**linear, name: wrong})


def test_weights_from_files(tmp_path, full_vgg16, ours, pair):
    torch.save({**full_vgg16, "classifier.0.weight": torch.zeros(2)}, tmp_path / "vgg16.pth")
    trunk, linear = load_lpips(tmp_path / "vgg16.pth")
    assert (trunk.kind, linear.kind) == ("torchvision", "lpips")
    assert list(trunk.state) == list(full_vgg16)
    assert linear.file.name == "vgg.pth"
    assert linear.sha256.startswith("a78928a0")
    assert torch.equal(LPIPS(trunk.state, linear.state)(*pair()), ours(*pair()))

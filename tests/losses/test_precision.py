"""What holds for every loss: precision, compilation, gradients, refusals."""

import pytest
import torch
from torch.testing import assert_close

from rayzer.losses import LPIPS, PerceptualLoss, StructuralLoss


@pytest.fixture(params=["perceptual", "lpips", "structural"])
def loss(request, narrow_vgg19, narrow_lpips):
    if request.param == "perceptual":
        return PerceptualLoss(narrow_vgg19)
    return LPIPS(*narrow_lpips) if request.param == "lpips" else StructuralLoss()


@pytest.fixture(params=["perceptual", "lpips"])
def network_loss(request, narrow_vgg19, narrow_lpips):
    return PerceptualLoss(narrow_vgg19) if request.param == "perceptual" else LPIPS(*narrow_lpips)


def value_and_gradient(loss, prediction, target):
    prediction = prediction.detach().clone().requires_grad_()
    value = loss(prediction, target)
    value.sum().backward()
    return value.detach(), prediction.grad


def fast(module):
    return module.to(dtype=torch.bfloat16, memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("prepare", [lambda loss: loss, fast], ids=["float32", "bfloat16"])
def test_results_do_not_depend_on_autocast(loss, pair, dtype, prepare):
    loss = prepare(loss)
    expected = value_and_gradient(loss, *pair())
    with torch.autocast("cpu", dtype=dtype):
        found = value_and_gradient(loss, *pair())
    for value, true in zip(found, expected, strict=True):
        assert value.dtype == torch.float32
        assert torch.equal(value, true)


def test_autocast_would_have_changed_the_result(network_loss, pair):  # or the test above would be empty
    a, _ = pair()
    stage = network_loss.vgg.stages[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert stage(a).dtype == torch.bfloat16


def test_bfloat16_and_channels_last_give_nearly_the_same(network_loss, pair):
    value, gradient = value_and_gradient(network_loss, *pair())
    fast_value, fast_gradient = value_and_gradient(fast(network_loss), *pair())
    assert fast_value.dtype == fast_gradient.dtype == torch.float32
    assert not torch.equal(fast_value, value)
    assert_close(fast_value, value, rtol=0.01, atol=0)
    assert torch.cosine_similarity(fast_gradient.flatten(), gradient.flatten(), dim=0) > 0.98


def test_channels_last_alone_changes_only_the_order_of_sums(network_loss, pair):
    value, gradient = value_and_gradient(network_loss, *pair())
    found = value_and_gradient(network_loss.to(memory_format=torch.channels_last), *pair())
    assert_close(found, (value, gradient), rtol=1e-4, atol=1e-6)


def test_the_network_runs_in_dtype_and_memory_format_of_its_weights(network_loss, pair):
    for a, b in fast(network_loss).vgg.compare(*pair()):
        assert a.dtype == b.dtype == torch.bfloat16
        assert a.is_contiguous(memory_format=torch.channels_last)
        assert b.is_contiguous(memory_format=torch.channels_last)


def test_what_the_network_sees_is_rounded_once(network_loss, pair):
    """Constants and their arithmetic stay float32 when the module is moved to bfloat16."""
    seen = []
    network_loss.vgg.stages[0][0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    network_loss(*pair())
    fast(network_loss)(*pair())
    assert len(seen) == 4
    for exact, rounded in zip(seen[:2], seen[2:], strict=True):
        assert torch.equal(exact.bfloat16(), rounded)


def test_nothing_of_the_targets_branch_is_kept(network_loss, pair):
    a, b = pair()
    for x, y in network_loss.vgg.compare(a.requires_grad_(), b.requires_grad_()):
        assert x.requires_grad
        assert not y.requires_grad
    network_loss(a, b).sum().backward()
    assert b.grad is None
    assert a.grad.abs().min() > 0


def test_pictures_of_less_precision(loss, pair):
    a, b = pair()
    half = loss(a.bfloat16(), b)
    assert half.dtype == torch.float32
    assert torch.equal(half, loss(a.bfloat16().float(), b))


def test_compiles_into_one_graph(loss, pair):
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected = value_and_gradient(loss, *pair())
    assert_close(value_and_gradient(compiled, *pair()), expected, rtol=1e-5, atol=1e-7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(value_and_gradient(compiled, *pair()), expected, rtol=1e-5, atol=1e-7)


def test_gradients_are_those_of_finite_differences(loss, pair):
    a, b = pair(1, 16, 16, torch.float64)
    loss = loss.double()
    assert torch.autograd.gradcheck(lambda x: loss(x, b), a.requires_grad_(), eps=1e-7, atol=1e-5, fast_mode=True)


def test_equal_pictures(loss, pair):
    a, _ = pair()
    assert (loss(a, a) == 0).all()
    assert value_and_gradient(loss, a, a)[1].isfinite().all()


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gradients_at_flat_pictures_are_finite(loss, pair, level):
    noise, _ = pair()
    flat = torch.full_like(noise, level)
    for a, b in ((flat, noise), (noise, flat), (flat, flat), (flat, 1 - flat)):
        value, gradient = value_and_gradient(loss, a, b)
        assert value.isfinite().all()
        assert gradient.isfinite().all()


def test_pictures_of_other_shapes_are_refused(loss):
    with pytest.raises(ValueError, match=r"of one shape, got \[2, 3, 16, 16\] and \[1, 3, 16, 16\]"):
        loss(torch.rand(2, 3, 16, 16), torch.rand(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"\[3, 16, 16\]"):
        loss(torch.rand(3, 16, 16), torch.rand(3, 16, 16))


def test_the_smallest_pictures(loss):
    assert loss(torch.rand(1, 3, 16, 17), torch.rand(1, 3, 16, 17)).isfinite().all()
    with pytest.raises(ValueError, match="at least 16x16"):
        loss(torch.rand(1, 3, 15, 40), torch.rand(1, 3, 15, 40))


def test_building_draws_no_random_numbers(narrow_vgg19, narrow_lpips):
    before = torch.get_rng_state()
    PerceptualLoss(narrow_vgg19)
    LPIPS(*narrow_lpips)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
def test_on_a_gpu(loss, pair):
    """TF32, which PyTorch allows convolutions by default, does not reach SSIM; bfloat16 is as near as on a CPU."""
    expected = value_and_gradient(loss, *pair())
    on_cpu = value_and_gradient(fast(loss), *pair())
    on_gpu = loss.cuda()
    tolerance = 1e-4 if isinstance(loss, StructuralLoss) else 0.01
    prediction, target = (x.cuda() for x in pair())
    for module in (on_gpu, torch.compile(on_gpu, fullgraph=True)):
        value, gradient = value_and_gradient(module, prediction, target)
        assert_close(value.cpu(), expected[0], rtol=tolerance, atol=0)
        assert difference(gradient.cpu(), expected[1]) <= 1.5 * difference(on_cpu[1], expected[1]) + 1e-3


def difference(gradient, expected):
    """Relative, in the L2 norm."""
    return (gradient - expected).norm() / expected.norm()

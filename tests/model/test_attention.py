"""The choice of kernel; what needs Hopper is marked `gpu` and the guard's logic is tried with fake kernels."""

import warnings

import pytest
import torch
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from rayzer.model import attention as module
from rayzer.model.attention import attention, cudnn_is_right

SHAPE = (torch.float32, 16, 8, 12)  # dtype, head width, queries, keys of the self-test


@pytest.fixture(autouse=True)
def _fresh_cache():
    cudnn_is_right.cache_clear()
    yield
    cudnn_is_right.cache_clear()


@pytest.fixture
def kernel(monkeypatch):
    """Makes the self-test see a kernel whose output and gradients are the right ones changed by a function."""

    def install(change):
        right = module._with_gradients

        def fake(attend, *inputs):
            results = right(module._exact_attention, *inputs)
            return results if attend is module._exact_attention else change(results)

        monkeypatch.setattr(module, "_with_gradients", fake)

    return install


def qkv(queries=5, keys=7):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, length, 8, generator=generator) for length in (queries, keys, keys)]


def test_equals_the_textbook():
    q, k, v = qkv()
    weights = (q @ k.mT / 8**0.5).exp()
    assert_close(attention(q, k, v), weights / weights.sum(-1, keepdim=True) @ v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_cpu_the_framework_chooses(monkeypatch, dtype):
    monkeypatch.setattr(module, "cudnn_is_right", lambda *_: pytest.fail("no self-test on a CPU"))
    monkeypatch.setattr(module, "_cudnn_attention", lambda *_: pytest.fail("no cuDNN on a CPU"))
    attention(*(x.to(dtype) for x in qkv()))


@pytest.fixture
def hopper(monkeypatch):
    """A CPU that passes for a Hopper GPU: which lengths were tested, and how often cuDNN was called."""

    def install(right):
        asked, called = [], []
        monkeypatch.setattr(module, "_is_hopper_in_half_precision", lambda *_: True)
        monkeypatch.setattr(module, "cudnn_is_right", lambda *key: asked.append(key) or right)
        monkeypatch.setattr(
            module, "_cudnn_attention", lambda q, k, v: called.append(1) or module._exact_attention(q, k, v)
        )
        return asked, called

    return install


@pytest.mark.parametrize("right", [True, False])
def test_cudnn_is_used_only_after_the_self_test(hopper, right):
    asked, called = hopper(right)
    q, k, v = qkv()
    assert_close(attention(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v))
    assert asked == [(torch.float32, 8, 5, 7)]
    assert len(called) == right


def test_deterministic_mode_does_without_cudnn(hopper):
    asked, called = hopper(True)
    torch.use_deterministic_algorithms(True)
    try:
        attention(*qkv())
    finally:
        torch.use_deterministic_algorithms(False)
    assert not asked
    assert not called


def test_only_hopper_in_half_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert module._is_hopper_in_half_precision("cuda", torch.bfloat16)
    assert module._is_hopper_in_half_precision("cuda", torch.float16)
    assert not module._is_hopper_in_half_precision("cuda", torch.float32)
    assert not module._is_hopper_in_half_precision("cpu", torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (10, 0))
    assert not module._is_hopper_in_half_precision("cuda", torch.bfloat16)


def test_the_first_call_may_be_inside_a_recomputed_region(kernel, monkeypatch):
    kernel(lambda results: results)
    monkeypatch.setattr(module, "_is_hopper_in_half_precision", lambda *_: True)
    original = cudnn_is_right
    monkeypatch.setattr(module, "cudnn_is_right", lambda *key: original(*key, device="cpu"))
    monkeypatch.setattr(module, "_cudnn_attention", module._exact_attention)
    q, k, v = (x.requires_grad_() for x in qkv())
    out = checkpoint(attention, q, k, v, use_reentrant=False)  # what the self-test keeps must not count as kept
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    for found, right in zip(
        torch.autograd.grad(out.sum(), (q, k, v)), torch.autograd.grad(expected.sum(), (q, k, v)), strict=True
    ):
        assert_close(found, right)


@pytest.mark.slow
def test_the_first_call_may_be_traced(kernel, hopper, monkeypatch):
    kernel(lambda results: results)
    hopper(True)
    tested = []
    monkeypatch.setattr(module, "cudnn_is_right", lambda *key: tested.append(key) or cudnn_is_right(*key, device="cpu"))
    compiled = torch.compile(attention, fullgraph=True, dynamic=False)
    q, k, v = qkv()
    for _ in range(2):
        assert_close(compiled(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v))
    assert set(tested) == {(torch.float32, 8, 5, 7)}


def test_a_right_kernel_is_used_and_tested_once(kernel):
    calls = []
    kernel(lambda results: calls.append(1) or results)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cudnn_is_right(*SHAPE, device="cpu")
        assert cudnn_is_right(*SHAPE, device="cpu")
    assert len(calls) == 1


@pytest.mark.parametrize("wrong", range(4), ids=["output", "q gradient", "k gradient", "v gradient"])
@pytest.mark.parametrize("damage", [0.1, float("nan"), float("inf")])
def test_a_wrong_kernel_is_reported_and_left_alone(kernel, wrong, damage):
    def change(results):
        results[wrong] = results[wrong].clone()
        results[wrong][0, 0, -1, 0] += damage * results[wrong].abs().max()
        return results

    kernel(change)
    with pytest.warns(UserWarning, match="cuDNN attention is wrong at 8 queries and 12 keys"):
        assert not cudnn_is_right(*SHAPE, device="cpu")


def test_an_absent_kernel_is_reported_and_left_alone(kernel):
    def refuse(results):
        raise RuntimeError("No available kernel")

    kernel(refuse)
    with pytest.warns(UserWarning, match="not available .No available kernel"):
        assert not cudnn_is_right(*SHAPE, device="cpu")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_self_test_works_where_gradients_are_off(kernel, mode):
    kernel(lambda results: results)
    with mode(), torch.autocast("cpu", torch.bfloat16):
        assert cudnn_is_right(*SHAPE, device="cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("length", [6168, 7168, 3328])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_self_test_on_hopper(length, mode):
    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("needs a Hopper GPU")
    with warnings.catch_warnings(record=True) as caught, mode():
        warnings.simplefilter("always")
        right = cudnn_is_right(torch.bfloat16, 64, length, length)
        assert right == (not caught)  # either it is right, or the user is told
        q, k, v = (torch.randn(1, 2, length, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
        exact = torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
        worst = (attention(q, k, v).float() - exact).abs().max() / exact.abs().max()
    assert worst < module.SELF_TEST_TOLERANCE

"""The choice of kernel; what needs Hopper is marked `gpu` and the guard's logic is tried with fake kernels."""

import warnings

import pytest
import torch
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from rayzer.model import attention as module
from rayzer.model.attention import (
    Projected,
    attention,
    attention_in_parts,
    attention_of_all,
    cudnn_is_right,
    shared_attention,
)
from rayzer.model.recomputation import recomputed

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


@pytest.fixture
def sequences():
    """Makes what 4 sequences project of 5 tokens of their own, and 2 scenes of the 7 that 2 sequences share."""

    def make(times=2, own=5, shared=7, width=16, dtype=torch.float64, device="cpu", scenes=2):
        generator = torch.Generator(device).manual_seed(0)
        shapes = (scenes * times, 3, own, width), (scenes, 3, shared, width)
        return [
            Projected(*(torch.randn(shape, dtype=dtype, device=device, generator=generator) for _ in range(3)))
            for shape in shapes
        ]

    return make


def textbook(query, key, value):
    scores = query @ key.mT / query.shape[-1] ** 0.5
    return scores.softmax(-1) @ value, scores.logsumexp(-1)


def test_shared_tokens_are_as_if_each_sequence_had_them(sequences):
    own, shared = sequences()
    for sequence in range(4):
        q, k, v = (torch.cat([a[sequence], b[sequence // 2]], 1) for a, b in zip(own, shared, strict=True))
        assert_close(shared_attention(own, shared)[sequence], textbook(q, k, v)[0])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_parts_merge_into_the_whole(sequences):
    assert_close(attention_in_parts(*sequences()), attention_of_all(*sequences()))


def test_parts_merge_into_the_whole_for_scores_of_any_size(sequences):
    own, shared = sequences(dtype=torch.float32)
    for factor_own, factor_shared in ((100, 1), (1, 100), (100, 100)):
        scaled = own._replace(key=factor_own * own.key), shared._replace(key=factor_shared * shared.key)
        assert_close(attention_in_parts(*scaled), attention_of_all(*scaled))


def gradients_of(function, own, shared):
    leaves = [x.detach().requires_grad_() for x in (*own, *shared)]
    result = function(Projected(*leaves[:3]), Projected(*leaves[3:]))
    generator = torch.Generator(result.device).manual_seed(1)
    upstream = torch.randn(result.shape, device=result.device, generator=generator).to(result.dtype)
    return torch.autograd.grad(result, leaves, upstream)


def test_gradients_of_parts(sequences, monkeypatch):
    monkeypatch.setattr(module, "_with_denominator", textbook)  # the kernel itself has none on a CPU
    for found, expected in zip(
        gradients_of(attention_in_parts, *sequences()), gradients_of(attention_of_all, *sequences()), strict=True
    ):
        assert_close(found, expected)


@pytest.mark.parametrize(
    ("times", "own", "width", "used"), [(8, 256, 64, True), (7, 256, 64, False), (8, 513, 64, False), (8, 8, 48, False)]
)
def test_when_attention_is_in_parts(sequences, monkeypatch, times, own, width, used):
    monkeypatch.setattr(module, "_is_hopper_in_half_precision", lambda *_: True)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert module._parts_are_faster(*sequences(times, own, 512, width, torch.bfloat16, scenes=1)) == used


def test_uncompiled_and_last_layers_attend_to_all(sequences, monkeypatch):
    monkeypatch.setattr(module, "_is_hopper_in_half_precision", lambda *_: True)
    own, shared = sequences(8, 256, 512, 64, torch.bfloat16, scenes=1)
    assert not module._parts_are_faster(own, shared)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not module._parts_are_faster(own, shared._replace(query=shared.query[:, :, :0]))


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["all", "selective", "none"])
def test_parts_on_a_gpu(sequences, mode):
    """As near to float32 as the kernels that attend to all; recomputed in each of the ways that training knows."""
    own, shared = sequences(8, 256, 1024, 64, torch.float32, "cuda")
    exact = [attention_of_all(own, shared), *gradients_of(attention_of_all, own, shared)]
    half = [Projected(*(x.bfloat16() for x in tokens)) for tokens in (own, shared)]

    def update(own, shared):
        assert module._parts_are_faster(own, shared)
        return recomputed(mode, lambda *x: shared_attention(Projected(*x[:3]), Projected(*x[3:])), *own, *shared)

    fast = torch.compile(update, fullgraph=True, dynamic=False)
    for found, usual, expected in zip(
        [fast(*half), *gradients_of(fast, *half)],
        [attention_of_all(*half), *gradients_of(attention_of_all, *half)],
        exact,
        strict=True,
    ):
        assert (found - expected).abs().max() <= 1.5 * (usual - expected).abs().max()


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

"""The one place that picks an attention kernel."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from einops import repeat
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

_CHOSEN: dict[str, bool] = {}

MERGE_FROM = 8  # sequences; with fewer, attention in parts is not faster
SELF_TEST_TOLERANCE = 2e-2  # largest error relative to the largest value; bfloat16 itself gives 4e-3 to 1e-2


class Projected(NamedTuple):
    """Queries [b, heads, l, e], keys and values [b, heads, m, e] of some tokens."""

    query: Tensor
    key: Tensor
    value: Tensor


class KeyValue(NamedTuple):
    """Keys and values [b, heads, m, e] of tokens that others read."""

    key: Tensor
    value: Tensor


def attention(query: Tensor, key: Tensor, value: Tensor, *, by_cudnn: bool | None = None) -> Tensor:
    """Softmax attention of all queries to all keys, scaled by 1 / sqrt(e).

    Args:
        query: [b, heads, l, e].
        key, value: [b, heads, m, e].
        by_cudnn: what `is_for_cudnn` said; None to ask now, which a compiled graph can for fixed lengths only.

    Returns:
        [b, heads, l, e].
    """
    if by_cudnn is None:
        lengths = query.shape[-2], key.shape[-2]
        by_cudnn = _cudnn_is_chosen(query.device.type, query.dtype, query.shape[-1], *lengths)
    return _cudnn_attention(query, key, value) if by_cudnn else scaled_dot_product_attention(query, key, value)


def is_for_cudnn(tokens: Tensor, head_width: int, queries: int, keys: int) -> bool:
    """Whether cuDNN is to compute attention of so many queries and keys that are made of tokens like these."""
    device = tokens.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tokens.dtype
    return _cudnn_is_chosen(device, dtype, head_width, queries, keys)


def shared_attention(own: Projected, shared: Projected) -> Tensor:
    """Attention of sequences that begin with tokens of their own and end with tokens that `t` of them share.

    Args:
        own: of [b * t] sequences.
        shared: of [b].

    Returns:
        [b * t, heads, own + shared queries, e]: what `attention` of the concatenated tokens gives.
    """
    merge = attention_in_parts if _parts_are_faster(own, shared) else attention_of_all
    return merge(own, shared)


def reading_attention(own: Projected, memory: KeyValue) -> Tensor:
    """Attention of sequences to themselves and to what `t` of them read in common.

    Args:
        own: of [b * t] sequences.
        memory: of [b].

    Returns:
        [b * t, heads, own queries, e].
    """
    times = len(own.key) // len(memory.key)
    key = torch.cat([own.key, _repeat(memory.key, times)], 2)
    return attention(own.query, key, torch.cat([own.value, _repeat(memory.value, times)], 2))


def attention_of_all(own: Projected, shared: Projected) -> Tensor:
    """`shared_attention`, computed as it is defined."""
    times = len(own.key) // len(shared.key)
    together = Projected(*(torch.cat([a, _repeat(b, times)], 2) for a, b in zip(own, shared, strict=True)))
    return attention(together.query, together.key, together.value)


def attention_in_parts(own: Projected, shared: Projected) -> Tensor:
    """`shared_attention`, where what shared queries gather from shared keys is computed once and not `t` times.

    The softmax over all keys is put together from those over own and over shared keys and the logarithms of their
    denominators, as in FlashAttention and ring attention; gradients pass through both.
    """
    times = len(own.key) // len(shared.key)
    from_shared, of_shared = _with_denominator(*shared)
    from_own, of_own = _with_denominator(_repeat(shared.query, times), own.key, own.value)
    part = torch.sigmoid(_repeat(of_shared, times) - of_own)[..., None]
    merged = from_own + part * (_repeat(from_shared, times) - from_own)
    keys, values = (torch.cat([a, _repeat(b, times)], 2) for a, b in zip(own[1:], shared[1:], strict=True))
    return torch.cat([attention(own.query, keys, values), merged.to(from_own.dtype)], 2)


def _with_denominator(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Attention [b, heads, l, e] and the logarithm [b, heads, l] of each query's sum of exponentials."""
    from torch.nn.attention.flex_attention import AuxRequest, flex_attention  # slow to import; has both derivatives

    attended, extra = flex_attention(query, key, value, return_aux=AuxRequest(lse=True))
    assert extra.lse is not None  # it was asked for
    return attended, extra.lse


def _parts_are_faster(own: Projected, shared: Projected) -> bool:
    """Whether attention in parts saves time (docs/log.md); uncompiled, its kernel would hold the whole matrix."""
    times, (_, _, queries, head_width) = len(own.key) // len(shared.key), shared.query.shape
    saves = times >= MERGE_FROM and own.key.shape[2] <= queries == shared.key.shape[2] and head_width in (64, 128)
    return saves and torch.compiler.is_compiling() and _may_be_fast(shared.query.device.type, shared.query.dtype)


def _repeat(x: Tensor, times: int) -> Tensor:
    return repeat(x, "b ... -> (b t) ...", t=times)


def chosen_kernels() -> dict[str, str]:
    """What computes attention, by the lengths (queries x keys) that were asked for on a GPU so far in this process."""
    return {lengths: "cuDNN" if right else "the framework's choice" for lengths, right in _CHOSEN.items()}


@torch.compiler.assume_constant_result  # a compiled graph holds the choice that was made for its lengths
def _cudnn_is_chosen(device: str, dtype: torch.dtype, head_width: int, queries: int, keys: int) -> bool:
    """Whether cuDNN computes attention at these lengths.

    cuDNN is 1.4-1.6x faster than FlashAttention 2 on Hopper at head width 64 (docs/log.md), but has had releases with
    wrong results at lengths that are not multiples of 128: it is used only for lengths that passed the self-test. Its
    gradients depend on the order of threads, so that deterministic mode does without it.
    """
    chosen = _may_be_fast(device, dtype) and cudnn_is_right(dtype, head_width, queries, keys)
    if device == "cuda":
        _CHOSEN[f"{queries}x{keys}"] = chosen
    return chosen


def _may_be_fast(device: str, dtype: torch.dtype) -> bool:
    return _is_hopper_in_half_precision(device, dtype) and not torch.are_deterministic_algorithms_enabled()


def _is_hopper_in_half_precision(device: str, dtype: torch.dtype) -> bool:
    half = dtype in (torch.bfloat16, torch.float16)
    return device == "cuda" and half and torch.cuda.get_device_capability()[0] == 9


def _cudnn_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    # The operator itself: a context manager that orders kernels costs launch time and breaks compiled graphs.
    with_gradients = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    return torch.ops.aten._scaled_dot_product_cudnn_attention(query, key, value, None, with_gradients)[0]


@functools.cache
def cudnn_is_right(dtype: torch.dtype, head_width: int, queries: int, keys: int, device: str = "cuda") -> bool:
    """Whether cuDNN's attention and its gradients equal float32 attention at these lengths; run once per process."""
    # On a thread of its own, where no caller's tracing, autocast, inference mode or checkpointing is in force.
    with ThreadPoolExecutor(1) as thread:
        try:
            worst = thread.submit(_largest_error, dtype, head_width, queries, keys, _index(device)).result()
        except RuntimeError as error:
            warnings.warn(f"cuDNN attention is not available ({error}); using the framework's choice", stacklevel=2)
            return False
    if not worst <= SELF_TEST_TOLERANCE:
        warnings.warn(
            f"cuDNN attention is wrong at {queries} queries and {keys} keys (relative error {worst:.2g}); "
            "using the framework's choice",
            stacklevel=2,
        )
    return worst <= SELF_TEST_TOLERANCE


def _largest_error(dtype: torch.dtype, head_width: int, queries: int, keys: int, device: torch.device) -> float:
    generator = torch.Generator(device).manual_seed(0)
    shapes = [(1, 2, length, head_width) for length in (queries, keys, keys, queries)]
    inputs = [torch.randn(shape, device=device, generator=generator) for shape in shapes]
    expected = _with_gradients(_exact_attention, *inputs)
    found = _with_gradients(_cudnn_attention, *(x.to(dtype) for x in inputs))
    errors = [(f.float() - e).abs().max() / e.abs().max() for f, e in zip(found, expected, strict=True)]
    return float(torch.stack(errors).max())  # NaN if one of them is (Python's max would lose it)


def _index(device: str) -> torch.device:
    """Which one, because a new thread would choose the first."""
    return torch.device(device, torch.cuda.current_device()) if device == "cuda" else torch.device(device)


def _exact_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return scaled_dot_product_attention(query, key, value)


def _with_gradients(
    kernel: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor, upstream: Tensor
) -> list[Tensor]:
    query, key, value = (x.detach().requires_grad_() for x in (q, k, v))
    with warnings.catch_warnings():
        # The first product of a process on autograd's own thread remarks that it sets up its context there.
        warnings.filterwarnings("ignore", message="Attempting to run cuBLAS")
        out = kernel(query, key, value)
        return [out.detach(), *torch.autograd.grad(out, (query, key, value), upstream)]

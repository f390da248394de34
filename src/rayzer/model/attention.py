"""The one place that picks an attention kernel."""

from __future__ import annotations

import functools
import warnings

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

# cuDNN is 1.4-1.6x faster than FlashAttention 2 on Hopper at head width 64 (docs/log.md), but has had releases with
# wrong results at lengths that are not multiples of 128: it is used only for lengths that passed the self-test.
HOPPER_ORDER = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
SELF_TEST_TOLERANCE = 2e-2  # largest error relative to the largest value; bfloat16 itself gives 4e-3 to 1e-2


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of all queries to all keys, scaled by 1 / sqrt(e).

    Args:
        query: [b, heads, l, e].
        key, value: [b, heads, m, e].

    Returns:
        [b, heads, l, e].
    """
    if _cudnn_applies(query) and cudnn_is_right(query.dtype, query.shape[-1], query.shape[-2], key.shape[-2]):
        with sdpa_kernel(HOPPER_ORDER, set_priority=True):
            return scaled_dot_product_attention(query, key, value)
    return scaled_dot_product_attention(query, key, value)


def _cudnn_applies(query: Tensor) -> bool:
    half = query.dtype in (torch.bfloat16, torch.float16)
    return query.is_cuda and half and torch.cuda.get_device_capability(query.device)[0] == 9


@functools.cache
def cudnn_is_right(dtype: torch.dtype, head_width: int, queries: int, keys: int, device: str = "cuda") -> bool:
    """Whether cuDNN's attention and its gradients equal float32 attention at these lengths; run once per process."""
    generator = torch.Generator(device).manual_seed(0)
    shapes = [(1, 2, length, head_width) for length in (queries, keys, keys, queries)]
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        q, k, v, upstream = (torch.randn(shape, device=device, generator=generator) for shape in shapes)
        expected = _with_gradients(q, k, v, upstream, torch.float32, SDPBackend.MATH)
        try:
            found = _with_gradients(q, k, v, upstream, dtype, SDPBackend.CUDNN_ATTENTION)
        except RuntimeError as error:
            warnings.warn(f"cuDNN attention is not available ({error}); using the framework's choice", stacklevel=2)
            return False
    errors = [(f.float() - e).abs().max() / e.abs().max() for f, e in zip(found, expected, strict=True)]
    worst = float(torch.stack(errors).max())  # NaN if one of them is (Python's max would lose it)
    if not worst <= SELF_TEST_TOLERANCE:
        warnings.warn(
            f"cuDNN attention is wrong at {queries} queries and {keys} keys (relative error {worst:.2g}); "
            "using the framework's choice",
            stacklevel=2,
        )
    return worst <= SELF_TEST_TOLERANCE


def _with_gradients(q: Tensor, k: Tensor, v: Tensor, upstream: Tensor, dtype: torch.dtype, backend: SDPBackend):
    query, key, value = (x.to(dtype).requires_grad_() for x in (q, k, v))
    with sdpa_kernel(backend), warnings.catch_warnings():
        # The first product of a process on autograd's own thread remarks that it sets up its context there.
        warnings.filterwarnings("ignore", message="Attempting to run cuBLAS")
        out = scaled_dot_product_attention(query, key, value)
        return [out.detach(), *torch.autograd.grad(out, (query, key, value), upstream.to(dtype))]

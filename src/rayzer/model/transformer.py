"""The block and the stack that all models are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from rayzer.model.attention import KeyValue, Projected, attention, reading_attention, shared_attention
from rayzer.model.recomputation import Recomputation, recomputed

BlockInit = Literal["depth", "stack", "plain"]


class HeadNorm(nn.Module):
    """RMSNorm over each head of a query or key, in float32 whatever autocast says."""

    def __init__(self, head_width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [..., head_width]."""
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), eps=1e-5).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention whose queries may be fewer than its keys."""

    def __init__(self, width: int, head_width: int, qk_norm: bool):
        super().__init__()
        self.head_width = head_width
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm = HeadNorm(head_width) if qk_norm else nn.Identity()
        self.k_norm = HeadNorm(head_width) if qk_norm else nn.Identity()
        self.out = nn.Linear(width, width, bias=False)

    def project(self, x: Tensor, queries: int) -> Projected:
        """Queries of the first `queries` tokens, keys and values of all."""
        width = x.shape[-1]
        if queries == x.shape[-2]:
            q, k, v = self.to_qkv(x).chunk(3, -1)
        else:
            q = F.linear(x[:, :queries], self.to_qkv.weight[:width])
            k, v = F.linear(x, self.to_qkv.weight[width:]).chunk(2, -1)
        q, k, v = (rearrange(part, "b n (h e) -> b n h e", e=self.head_width) for part in (q, k, v))
        return Projected(*(rearrange(part, "b n h e -> b h n e") for part in (self.q_norm(q), self.k_norm(k), v)))

    def mix(self, own: Projected, shared: Projected | None = None) -> Tensor:
        """Attend, also to shared tokens if there are any, and merge the heads: [b, queries, width]."""
        return self.merge(attention(own.query, own.key, own.value) if shared is None else shared_attention(own, shared))

    def merge(self, attended: Tensor) -> Tensor:
        """Results of all heads [b, heads, n, e] -> [b, n, width]."""
        return self.out(rearrange(attended, "b h n e -> b n (h e)"))


class BaseBlock(nn.Module):
    """What all blocks have in common: how they are called, and what their backward pass computes again.

    Attributes:
        recomputation: what the backward pass computes again in train mode; the results are the same.
        run: how `compute` is called: as it is, or compiled (`rayzer.model.acceleration`).
        also_called: methods that others call besides the block itself; where weights are sharded, each gathers them.
    """

    also_called: tuple[str, ...] = ()
    recomputation: Recomputation = "all"
    run: Callable[..., Any] = staticmethod(lambda block, method, *arguments: block.compute(method, *arguments))

    def compute(self, method: str, *arguments) -> Any:
        """What one of the block's methods gives, with activations kept or recomputed."""
        function = getattr(self, method)
        if self.training and torch.is_grad_enabled():
            return recomputed(self.recomputation, function, *arguments)
        return function(*arguments)


class Stack(nn.Module):
    """A stack of blocks.

    Attributes:
        blocks: what Muon is for, and what is sharded and compiled one by one.
    """

    blocks: nn.ModuleList


def feed_forward(width: int) -> nn.Sequential:
    """Linear - GELU - Linear, four times as wide in between."""
    return nn.Sequential(nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False))


class Block(BaseBlock):
    """Pre-norm block: `x += attention(LN(x)); x += mlp(LN(x))`."""

    also_called = ("memorize", "reading")

    def __init__(self, width: int, head_width: int, qk_norm: bool):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.attention = Attention(width, head_width, qk_norm)
        self.norm2 = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.mlp = feed_forward(width)

    def forward(self, x: Tensor, read: int | None = None, shared: Tensor | None = None) -> Tensor:
        """Update tokens.

        Args:
            x: [b, n, d].
            read: how many of the first tokens are needed afterwards; None for all.
            shared: [b / t, s, d] tokens that follow `x` in each of `t` consecutive sequences; their norm and their
                queries, keys and values are computed once instead of `t` times.

        Returns:
            [b, read or n + s, d].
        """
        return self.run(self, "_update", x, read, shared)

    def memorize(self, x: Tensor) -> KeyValue:
        """What other tokens read of tokens [b, s, d] before this block updates them, computed once for all readers."""
        return self.run(self, "_memorize", x)

    def reading(self, x: Tensor, memory: KeyValue) -> Tensor:
        """Update tokens [b * t, n, d] that look at themselves and at the memory [b] of others."""
        return self.run(self, "_reading", x, memory)

    def _update(self, x: Tensor, read: int | None, shared: Tensor | None) -> Tensor:
        own = x.shape[1]
        length = own + (0 if shared is None else shared.shape[1])
        read = length if read is None else read
        mixed = [self.attention.project(self.norm1(x), min(read, own))]
        if shared is not None:
            mixed.append(self.attention.project(self.norm1(shared), max(0, read - own)))
            x = torch.cat([x, repeat(shared, "b s d -> (b t) s d", t=len(x) // len(shared))], 1)
        x = x[:, :read] + self.attention.mix(*mixed)
        return x + self.mlp(self.norm2(x))

    def _memorize(self, x: Tensor) -> KeyValue:
        return KeyValue(*self.attention.project(self.norm1(x), 0)[1:])

    def _reading(self, x: Tensor, memory: KeyValue) -> Tensor:
        own = self.attention.project(self.norm1(x), x.shape[1])
        x = x + self.attention.merge(reading_attention(own, memory))
        return x + self.mlp(self.norm2(x))


class Transformer(Stack):
    """A stack of blocks over one sequence."""

    def __init__(self, layers: int, width: int, head_width: int, qk_norm: bool, init: BlockInit):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, head_width, qk_norm) for _ in range(layers))
        for index, block in enumerate(self.blocks):
            depth = {"depth": 2 * (index + 1), "stack": 2 * layers, "plain": 1}[init]
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02 / math.sqrt(depth))

    def forward(self, x: Tensor, read: int | None = None, shared: Tensor | None = None) -> Tensor:
        """Update tokens [b, n, d]; see `Block.forward` for `read` (of the last layer) and `shared` (of the first)."""
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            x = block(x, read if index == last else None, shared if index == 0 else None)
        return x

"""Blocks for the tokens of several views: attention within each view, across all views, and from rays to a scene."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from rayzer.model.attention import KeyValue, attention, is_for_cudnn
from rayzer.model.transformer import BaseBlock, HeadNorm, Stack, feed_forward
from rayzer.model.view_codes import ViewCode


class ViewAttention(nn.Module):
    """Multi-head attention of coded tokens. Tokens are [b, v, n, d]: n of each of v views."""

    def __init__(self, width: int, head_width: int):
        super().__init__()
        self.head_width = head_width
        # One matrix each, because Muon makes the update of a matrix orthogonal as a whole.
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.q_norm = HeadNorm(head_width)
        self.k_norm = HeadNorm(head_width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, code: ViewCode, across: bool, by_cudnn: bool) -> Tensor:
        """Tokens [b, v, n, d] look at those of their view, or `across` all views; for `by_cudnn` see `attention`."""
        q, k, v = self._heads(x, self.to_q, self.to_k, self.to_v)
        q, k, v = code.of_queries(self.q_norm(q)), code.of_keys(self.k_norm(k)), code.of_values(v)
        together = "b v n h e -> b h (v n) e" if across else "b v n h e -> (b v) h n e"
        q, k, v = (rearrange(part, together) for part in (q, k, v))
        attended = attention(q, k, v, by_cudnn=by_cudnn)
        apart = "b h (v n) e -> b v n h e" if across else "(b v) h n e -> b v n h e"
        return self._merge(rearrange(attended, apart, b=len(x), v=x.shape[1]), code)

    def memorize(self, x: Tensor, code: ViewCode) -> KeyValue:
        """Keys and values [b, heads, v n, e] of tokens [b, v, n, d] that others will read."""
        k, v = self._heads(x, self.to_k, self.to_v)
        k, v = code.of_keys(self.k_norm(k)), code.of_values(v)
        return KeyValue(*(rearrange(part, "b v n h e -> b h (v n) e") for part in (k, v)))

    def read(self, x: Tensor, code: ViewCode, memory: KeyValue, by_cudnn: bool) -> Tensor:
        """Tokens [b, v, n, d] look at the memory [b] of others; for `by_cudnn` see `attention`."""
        (q,) = self._heads(x, self.to_q)
        q = rearrange(code.of_queries(self.q_norm(q)), "b v n h e -> b h (v n) e")
        attended = attention(q, *memory, by_cudnn=by_cudnn)
        return self._merge(rearrange(attended, "b h (v n) e -> b v n h e", v=x.shape[1]), code)

    def _heads(self, x: Tensor, *maps: nn.Linear) -> list[Tensor]:
        """Tokens through some of the maps, in one product: [b, v, n, heads, e] of each."""
        parts = F.linear(x, torch.cat([linear.weight for linear in maps])).chunk(len(maps), -1)
        return [rearrange(part, "b v n (h e) -> b v n h e", e=self.head_width) for part in parts]

    def _merge(self, attended: Tensor, code: ViewCode) -> Tensor:
        return self.out(rearrange(code.of_results(attended), "b v n h e -> b v n (h e)"))


class ViewBlock(BaseBlock):
    """Pre-norm block whose attention stays within each view, or goes across all views."""

    def __init__(self, width: int, head_width: int, across: bool):
        super().__init__()
        self.across = across
        self.norm1 = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.attention = ViewAttention(width, head_width)
        self.norm2 = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.mlp = feed_forward(width)

    def forward(self, x: Tensor, code: ViewCode) -> Tensor:
        """Update tokens [b, v, n, d]."""
        length = x.shape[1] * x.shape[2] if self.across else x.shape[2]
        by_cudnn = is_for_cudnn(x, self.attention.head_width, length, length)
        return self.run(self, "_update", x, code, by_cudnn)

    def _update(self, x: Tensor, code: ViewCode, by_cudnn: bool) -> Tensor:
        x = x + self.attention(self.norm1(x), code, self.across, by_cudnn)
        return x + self.mlp(self.norm2(x))


class ReadingBlock(BaseBlock):
    """`x += self_attention(LN(x)); x += attention(LN(x), memory of a scene); x += mlp(LN(x))`.

    The scene does not see who reads it, so that its keys and values serve all views (SVSM, arXiv 2602.21341).
    """

    also_called = ("memorize",)

    def __init__(self, width: int, head_width: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.attention = ViewAttention(width, head_width)
        self.norm2 = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.reading = ViewAttention(width, head_width)
        self.norm3 = nn.LayerNorm(width, eps=1e-5, bias=False)
        self.mlp = feed_forward(width)

    def forward(self, x: Tensor, within: ViewCode, across: ViewCode, memory: KeyValue) -> Tensor:
        """Update tokens [b, t, n, d] of views that are alone with a scene; codes for both kinds of attention."""
        _, views, n, _ = x.shape
        head_width, keys = self.attention.head_width, memory.key.shape[2]
        by_cudnn = is_for_cudnn(x, head_width, n, n), is_for_cudnn(x, head_width, views * n, keys)
        return self.run(self, "_update", x, within, across, memory, *by_cudnn)

    def memorize(self, scene: Tensor, code: ViewCode) -> KeyValue:
        """What this block reads of scene tokens [b, c, n, d]."""
        return self.run(self, "_memorize", scene, code)

    def _update(
        self, x: Tensor, within: ViewCode, across: ViewCode, memory: KeyValue, itself: bool, scene: bool
    ) -> Tensor:
        x = x + self.attention(self.norm1(x), within, across=False, by_cudnn=itself)
        x = x + self.reading.read(self.norm2(x), across, memory, by_cudnn=scene)
        return x + self.mlp(self.norm3(x))

    def _memorize(self, scene: Tensor, code: ViewCode) -> KeyValue:
        return self.reading.memorize(scene, code)


class ViewTransformer(Stack):
    """Blocks within each view and across all views in turns (VGGT, arXiv 2503.11651)."""

    def __init__(self, layers: int, width: int, head_width: int):
        super().__init__()
        self.blocks = nn.ModuleList(ViewBlock(width, head_width, across=bool(i % 2)) for i in range(layers))
        initialise_blocks(self.blocks)

    def forward(self, x: Tensor, within: ViewCode, across: ViewCode) -> Tensor:
        """Update tokens [b, v, n, d]; codes for both kinds of attention."""
        for block in self.blocks:
            x = block(x, across if block.across else within)
        return x


class ReadingTransformer(Stack):
    """Blocks through which views read a scene."""

    def __init__(self, layers: int, width: int, head_width: int):
        super().__init__()
        self.blocks = nn.ModuleList(ReadingBlock(width, head_width) for _ in range(layers))
        initialise_blocks(self.blocks)

    def memorize(self, scene: Tensor, code: ViewCode) -> tuple[KeyValue, ...]:
        """What every layer reads of scene tokens [b, c, n, d]."""
        return tuple(block.memorize(scene, code) for block in self.blocks)  # type: ignore[operator]

    def forward(self, x: Tensor, within: ViewCode, across: ViewCode, memory: tuple[KeyValue, ...]) -> Tensor:
        """Update tokens [b, t, n, d]; codes for both kinds of attention."""
        for block, layer in zip(self.blocks, memory, strict=True):
            x = block(x, within, across, layer)
        return x


def initialise_blocks(blocks: nn.ModuleList) -> None:
    """N(0, 0.02); what is added to the tokens is smaller, so that it has the same size however many blocks there are.

    By 1 / sqrt(2 layers), as in SVSM (arXiv 2602.21341).
    """
    for block in blocks:
        last = {module.out for module in block.modules() if isinstance(module, ViewAttention)} | {block.mlp[-1]}  # type: ignore[index]
        for module in block.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02 / (math.sqrt(2 * len(blocks)) if module in last else 1))

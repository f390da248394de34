"""Speed at the edges of a model: compiled blocks, what is recomputed in training, CUDA graphs for inference.

None of it changes what the model computes, its parameters' names, or how it is saved.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.model.camera_estimator import CameraHead
from rayzer.model.lvsm import LVSM
from rayzer.model.rayzer import Prediction, RayZer
from rayzer.model.recomputation import Recomputation
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.tokens import RayEmbedding
from rayzer.model.transformer import Block
from rayzer.view_split import ViewSplit

OPTIONS = None
MOST_GRAPHS = 256  # variants of the one code object that all blocks share; PyTorch's own limit is 8
VIEWS_AT_ONCE = (8, 4, 2, 1)  # a request is rendered in parts of these sizes, the largest first


def blocks_of(model: nn.Module) -> Iterator[Block]:
    """All transformer blocks of a model."""
    return (module for module in model.modules() if isinstance(module, Block))


def compile_blocks(model: nn.Module) -> None:
    """Compile every transformer block, in place.

    Blocks of one shape share a graph, so that a stack compiles as fast as its two or three kinds of layers. Every new
    batch size, number of tokens or mode (training, inference) compiles anew, a few seconds each; names and values of
    parameters, copies and files stay what they were.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
    for module in model.modules():
        if isinstance(module, Block | RayEmbedding):
            module.compile(fullgraph=True, dynamic=False, options=OPTIONS)


def set_recomputation(model: nn.Module, mode: Recomputation) -> None:
    """Set what the backward pass of every block computes again; see `recomputed`."""
    for block in blocks_of(model):
        block.recomputation = mode


class FastInference:
    """A model as it is called for inference, replayed from CUDA graphs on a GPU.

    On a CPU it calls the model as it is. On a GPU the first call with new shapes compiles and records, which takes
    seconds to a minute; later ones launch a whole encoder or renderer at once. Its Linears are stored in the half
    precision that autocast would cast them to in every call; camera head, norms and learned tokens stay float32, so
    that the results are those of the model under autocast.

    Memory: a copy of the model (half as large as the float32 one), and one pool for the graphs that is as large as the
    largest call needs; results are copied out of it and stay valid.

    Args:
        model: in any mode; it is copied and not changed.
        dtype: torch.bfloat16, or torch.float32 for no autocast.
    """

    def __init__(self, model: RayZer | LVSM, dtype: torch.dtype = torch.bfloat16):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.config = model.config
        self.dtype = dtype
        self._device = next(model.parameters()).device
        self._graphs: dict[tuple, _Graph] = {}
        self._pool = torch.cuda.graph_pool_handle() if self._device.type == "cuda" else None
        if self._device.type == "cuda":
            _store_linears(self.model, dtype)
            compile_blocks(self.model)

    def __call__(self, images: Tensor, split: ViewSplit) -> Prediction:
        """As `RayZer.forward`."""

        def run(images: Tensor, context: Tensor, target: Tensor):
            prediction = self.model(images, ViewSplit(context, target))
            return prediction.images, prediction.cameras.world_from_camera, prediction.cameras.intrinsics

        pictures, *cameras = self._replay("forward", run, images, split.context, split.target)
        return Prediction(pictures, Cameras(*cameras))

    def estimate_cameras(self, images: Tensor, positions: Tensor | None = None) -> Cameras:
        """As `RayZer.estimate_cameras`."""

        def run(images: Tensor, *positions: Tensor):
            cameras = self.model.estimate_cameras(images, *positions)
            return cameras.world_from_camera, cameras.intrinsics

        return Cameras(*self._replay("cameras", run, images, *_given(positions)))

    def reconstruct(self, images: Tensor, cameras: Cameras, positions: Tensor | None = None) -> SceneTokens:
        """As `RayZer.reconstruct`."""

        def run(images: Tensor, pose: Tensor, intrinsics: Tensor, *positions: Tensor):
            return (self.model.reconstruct(images, Cameras(pose, intrinsics), *positions).tokens,)

        arguments = (images, cameras.world_from_camera, cameras.intrinsics, *_given(positions))
        (tokens,) = self._replay("scene", run, *arguments)
        return SceneTokens(tokens, *images.shape[-2:])

    def render(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        """As `RayZer.render`; many views are rendered in parts of 8, 4, 2 and 1."""

        def run(tokens: Tensor, pose: Tensor, intrinsics: Tensor):
            return (self.model.render(SceneTokens(tokens, scene.height, scene.width), Cameras(pose, intrinsics)),)

        parts, start = [], 0
        while start < cameras.shape[1]:
            size = next(size for size in VIEWS_AT_ONCE if start + size <= cameras.shape[1])
            part = cameras[:, start : start + size]
            key = f"render {scene.height} {scene.width}"
            parts += self._replay(key, run, scene.tokens, part.world_from_camera, part.intrinsics)
            start += size
        return torch.cat(parts, 1)

    def _replay(self, name: str, function: Callable[..., tuple[Tensor, ...]], *arguments: Tensor) -> list[Tensor]:
        with torch.inference_mode(), self._autocast():
            if self._device.type != "cuda":
                return list(function(*arguments))
            key = (name, *((argument.shape, argument.dtype) for argument in arguments))
            if key not in self._graphs:
                self._graphs[key] = _Graph(function, arguments, self._pool)
            return self._graphs[key](*arguments)

    def _autocast(self) -> AbstractContextManager:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, self.dtype)


class _Graph:
    """One function of tensors of fixed shapes, recorded once; a call copies arguments in and results out."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], arguments: tuple[Tensor, ...], pool):
        self.arguments = [argument.clone() for argument in arguments]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # compiles, tests and tunes; nothing of that may be recorded
                function(*self.arguments)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.results = function(*self.arguments)

    def __call__(self, *arguments: Tensor) -> list[Tensor]:
        for static, argument in zip(self.arguments, arguments, strict=True):
            static.copy_(argument)
        self.graph.replay()
        return [result.clone() for result in self.results]


def _store_linears(model: nn.Module, dtype: torch.dtype) -> None:
    heads = {module for head in model.modules() if isinstance(head, CameraHead) for module in head.modules()}
    for module in model.modules():
        if isinstance(module, nn.Linear) and module not in heads:
            module.to(dtype)


def _given(positions: Tensor | None) -> tuple[Tensor, ...]:
    return () if positions is None else (positions,)

"""Speed at the edges of a model: compiled blocks, what is recomputed in training, CUDA graphs for inference.

None of it changes what a model computes, the names of its parameters, or how it is copied and saved.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from rayzer.geometry.cameras import Cameras
from rayzer.model.anyview import AnyViewRayZer, PointHead
from rayzer.model.attention import KeyValue
from rayzer.model.camera_estimator import CameraHead
from rayzer.model.rayzer import Prediction
from rayzer.model.recomputation import Recomputation
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.tokens import RayEmbedding
from rayzer.model.transformer import BaseBlock
from rayzer.model.view_codes import ViewCode
from rayzer.model.weights import Model
from rayzer.view_split import ViewSplit

MOST_GRAPHS = 256  # variants of the one function that all blocks share; PyTorch's own limit is 8


def set_recomputation(model: nn.Module, mode: Recomputation) -> None:
    """Set what the backward pass of every block computes again; see `recomputed`."""
    for module in model.modules():
        if isinstance(module, BaseBlock):
            module.recomputation = mode


def compile_blocks(model: Model, tune: bool = False, any_views: bool = False) -> None:
    """Compile every transformer block and ray embedding, in place, when they are next called.

    Blocks of one shape share a graph, so that a stack compiles as fast as its two or three kinds of layers. Every new
    batch size, number of tokens and mode (training, inference) compiles anew, some seconds each.

    Args:
        any_views: blocks that take views one by one (of `AnyViewRayZer`) compile once for all numbers of views.
        tune: measure block sizes of the kernels of the renderer's inner layers, which are over half of the work: 3 to
            5 % faster for another 3 s in inference; in training it takes minutes and showed no gain (docs/log.md).
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
    for module in model.modules():
        if isinstance(module, RayEmbedding):
            module.compile(fullgraph=True, dynamic=None if any_views else False)
        elif isinstance(module, BaseBlock):
            module.run = _run_compiled_for_any_views if any_views else _run_compiled
    inner = [block for block in model.renderer.transformer.blocks if isinstance(block, BaseBlock)][1:-1]
    for block in inner if tune else []:
        block.run = _run_tuned


# Functions of a module, not bound to a block: copies of a model and its blocks keep calling their own weights.
def _run_compiled(block: BaseBlock, *arguments) -> Any:
    return _compiled(block, *arguments)


def _run_compiled_for_any_views(block: BaseBlock, *arguments) -> Any:
    for argument in arguments:
        _mark_views(argument)
    return _compiled_for_any_views(block, *arguments)


def _mark_views(argument: Any) -> None:
    """Tell the compiler which dimension counts views, or their tokens."""
    if isinstance(argument, KeyValue):
        for tensor in argument:
            torch._dynamo.maybe_mark_dynamic(tensor, 2)
    elif isinstance(argument, ViewCode) and argument.camera_from_world is not None:
        for pose in (argument.camera_from_world, argument.world_from_camera):
            torch._dynamo.maybe_mark_dynamic(pose, 1)
    elif isinstance(argument, Tensor) and argument.ndim == 4:
        torch._dynamo.maybe_mark_dynamic(argument, 1)


def _run_tuned(block: BaseBlock, *arguments) -> Any:
    return _tuned(block, *arguments)


def _compute(block: BaseBlock, *arguments) -> Any:
    return block.compute(*arguments)


_compiled = torch.compile(_compute, fullgraph=True, dynamic=False)
_compiled_for_any_views = torch.compile(_compute, fullgraph=True)
_tuned = torch.compile(_compute, fullgraph=True, dynamic=False, options={"coordinate_descent_tuning": True})


class FastInference:
    """A model for inference that is called like the model; on a GPU it is replayed from CUDA graphs.

    The first call with new shapes (number of views, of scenes, pixels) compiles and records, seconds to a minute; later
    ones launch a whole encoder or renderer at once. Long camera paths are best rendered in parts of one size. Weights
    of Linears are stored in the half precision that autocast would cast them to in every call; heads, norms and
    learned tokens stay float32, so that results are those of the model under autocast. On a CPU it calls the model.

    Memory: a copy of the model, half as large as the float32 one; the arguments and results of every shape; and one
    pool as large as the largest call needs, which all graphs share: results are copied out of it and stay valid.

    Args:
        model: in any mode; it is copied, not changed.
        dtype: torch.bfloat16, or torch.float32 to compute without autocast.
        tune: as of `compile_blocks`.
    """

    def __init__(self, model: Model, dtype: torch.dtype = torch.bfloat16, tune: bool = True):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.dtype = dtype
        self.device = next(model.parameters()).device
        self._graphs: dict[tuple, _Graph] = {}
        if self.device.type == "cuda":
            self._pool = torch.cuda.graph_pool_handle()
            _store_linears(self.model, dtype)
            compile_blocks(self.model, tune)

    def __call__(self, images: Tensor, split: ViewSplit, cameras: Cameras | None = None) -> Prediction:
        """As `RayZer.forward`, or with cameras as `LVSM.forward`."""

        def run(images: Tensor, context: Tensor, target: Tensor, *given: Tensor):
            prediction = self.model(images, ViewSplit(context, target), *([Cameras(*given)] if given else []))
            return prediction.images, prediction.cameras.world_from_camera, prediction.cameras.intrinsics

        given = () if cameras is None else _tensors(cameras)
        pictures, *found = self._replay("forward", run, images, split.context, split.target, *given)
        return Prediction(pictures, Cameras(*found))

    def estimate_cameras(self, images: Tensor, positions: Tensor | None = None) -> Cameras:
        """As `RayZer.estimate_cameras`."""

        def run(images: Tensor, *positions: Tensor):
            return _tensors(self.model.estimate_cameras(images, *positions))  # type: ignore[operator]

        return Cameras(*self._replay("cameras", run, images, *_given(positions)))

    def reconstruct(self, images: Tensor, cameras: Cameras, positions: Tensor | None = None) -> SceneTokens:
        """As `RayZer.reconstruct`."""

        def run(images: Tensor, pose: Tensor, intrinsics: Tensor, *positions: Tensor):
            return _flat(self.model.reconstruct(images, Cameras(pose, intrinsics), *positions))

        parts = self._replay("scene", run, images, *_tensors(cameras), *_given(positions))
        return _scene(parts, *images.shape[-2:], cameras=isinstance(self.model, AnyViewRayZer))

    def render(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        """As `RayZer.render`."""
        size, has_cameras = (scene.height, scene.width), scene.cameras is not None

        def run(pose: Tensor, intrinsics: Tensor, *parts: Tensor):
            return (self.model.render(_scene(parts, *size, cameras=has_cameras), Cameras(pose, intrinsics)),)

        return self._replay(("render", *size, has_cameras), run, *_tensors(cameras), *_flat(scene))[0]

    def _replay(self, name, function: Callable[..., tuple[Tensor, ...]], *arguments: Tensor) -> list[Tensor]:
        with torch.inference_mode(), self._autocast():
            if self.device.type != "cuda":
                return list(function(*arguments))
            key = (name, *((argument.shape, argument.dtype) for argument in arguments))
            if key not in self._graphs:
                self._graphs[key] = _Graph(function, arguments, self._pool)
            return self._graphs[key](*arguments)

    def _autocast(self) -> AbstractContextManager:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)


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
    float32 = (head for head in model.modules() if isinstance(head, CameraHead | PointHead))
    heads = {module for head in float32 for module in head.modules()}
    for module in model.modules():
        if isinstance(module, nn.Linear) and module not in heads:
            module.to(dtype)


def _flat(scene: SceneTokens) -> tuple[Tensor, ...]:
    """All tensors of a scene in one order: tokens, cameras if there are any, keys and values."""
    cameras = () if scene.cameras is None else _tensors(scene.cameras)
    return (scene.tokens, *cameras, *(tensor for layer in scene.memory for tensor in layer))


def _scene(parts: Sequence[Tensor], height: int, width: int, cameras: bool) -> SceneTokens:
    """The scene that `_flat` took apart."""
    tokens, *rest = parts
    of_views = Cameras(*rest[:2]) if cameras else None
    rest = rest[2:] if cameras else rest
    memory = tuple(KeyValue(key, value) for key, value in zip(rest[::2], rest[1::2], strict=True))
    return SceneTokens(tokens, height, width, of_views, memory)


def _tensors(cameras: Cameras) -> tuple[Tensor, Tensor]:
    return cameras.world_from_camera, cameras.intrinsics


def _given(positions: Tensor | None) -> tuple[Tensor, ...]:
    return () if positions is None else (positions,)

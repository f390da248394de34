"""How fast a model predicts one scene, and renders views of a scene that is encoded; random weights and pictures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from rayzer.benchmarks.timing import environment, forget_peak_memory, peak_memory_gib, time_calls
from rayzer.devices import device_name
from rayzer.geometry.cameras import Cameras
from rayzer.model.acceleration import FastInference
from rayzer.model.flops import model_flops, peak_flops
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.rayzer import Prediction
from rayzer.model.scene_encoder import SceneTokens
from rayzer.model.weights import Model, ModelConfig, build_model
from rayzer.progress import Advance
from rayzer.view_split import ViewSplit

VIEWS = (1, 8, 30)  # rendered together


def measure_rendering(
    config: ModelConfig, device: torch.device, bf16: bool, calls: int, advance: Advance | None = None
) -> dict[str, Any]:
    """Time `FastInference` and, beside it, the model as it is.

    Args:
        bf16: whether to compute under autocast to bfloat16; the differences are to float32 in any case.
        calls: timed calls of each kind.
        advance: told how many of the kinds are done.

    Returns:
        What `rayzer bench render` prints. `difference` holds the largest differences of pictures, in [0, 1]: of the
        fast path to the plain one in float32, and of both to that in the precision that is timed.
    """
    torch.manual_seed(0)
    model = build_model(config).to(device).eval().requires_grad_(False)
    dtype = torch.bfloat16 if bf16 else torch.float32
    inputs = _Inputs(config, device)
    fast, plain = FastInference(model, dtype), _Plain(model, dtype)
    exact = _Plain(model, torch.float32)(*inputs.forward)
    scene = plain.reconstruct(inputs.context, inputs.context_cameras)
    results, kinds = [], [("forward", *inputs.forward), *(("render", scene, inputs.cameras(n)) for n in VIEWS)]
    forget_peak_memory(device)
    for done, (name, *arguments) in enumerate(kinds):
        if advance is not None:
            advance(done, len(kinds))
        results.append(_measure(config, device, calls, name, arguments, fast, plain))
    difference = {
        f"{name} to plain float32": _largest(path(*inputs.forward), exact)
        for name, path in {
            "fast float32": FastInference(model, torch.float32, tune=False),
            f"fast {_name(dtype)}": fast,
            f"plain {_name(dtype)}": plain,
        }.items()
    }
    return {
        **environment(device),
        "precision": _name(dtype),
        "fast": "compiled blocks and CUDA graphs" if device.type == "cuda" else "the same as plain on a CPU",
        "plain": "eager",
        "peak_memory_gib": peak_memory_gib(device),
        "difference": difference,
        "results": results,
    }


def _measure(
    config: ModelConfig,
    device: torch.device,
    calls: int,
    name: str,
    arguments: list,
    fast: FastInference,
    plain: _Plain,
) -> dict[str, Any]:
    """Both paths on one kind of call."""
    paths: dict[str, Callable] = {"fast": fast, "plain": plain}
    if name == "render":
        paths = {"fast": fast.render, "plain": plain.render}
        views = arguments[1].shape[1]
        flops = model_flops(config, target_views=views).rendering
    else:
        views, flops = config.target_views, model_flops(config).forward
    spreads = {key: time_calls(lambda path=path: path(*arguments), device, calls) for key, path in paths.items()}
    seconds, peak = spreads["fast"].median_ms / 1000, peak_flops(device_name(device))
    return {
        "name": name,
        "views": views,
        **{key: asdict(spread) for key, spread in spreads.items()},
        "views_per_s": views / seconds,
        "mfu": None if peak is None else flops / seconds / peak,
    }


class _Plain:
    """A model as it is, in the given precision."""

    def __init__(self, model: Model, dtype: torch.dtype):
        self.model, self.dtype = model, dtype
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def __call__(self, *arguments) -> Prediction:
        with self._autocast():
            return self.model(*arguments)

    @torch.inference_mode()
    def reconstruct(self, images: Tensor, cameras: Cameras) -> SceneTokens:
        with self._autocast():
            return self.model.reconstruct(images, cameras)

    @torch.inference_mode()
    def render(self, scene: SceneTokens, cameras: Cameras) -> Tensor:
        with self._autocast():
            return self.model.render(scene, cameras)

    def _autocast(self) -> AbstractContextManager:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)


class _Inputs:
    """Random pictures of one scene, targets evenly among them, and cameras on a line that look ahead."""

    def __init__(self, config: ModelConfig, device: torch.device):
        self.device, views = device, config.context_views + config.target_views
        self.images = torch.rand(1, views, 3, config.image_height, config.image_width).to(device)
        target = torch.arange(1, views, views // config.target_views)[: config.target_views]
        context = torch.tensor([view for view in range(views) if view not in target])
        split = ViewSplit(context[None].to(device), target[None].to(device))
        given = (self.cameras(views),) if isinstance(config, LVSMConfig) else ()
        self.forward = (self.images, split, *given)
        self.context, self.context_cameras = split.context_of(self.images), split.context_of(self.cameras(views))

    def cameras(self, views: int) -> Cameras:
        pose = torch.eye(4).repeat(1, views, 1, 1)
        pose[..., 0, 3] = torch.linspace(-0.5, 0.5, views)
        return Cameras(pose, torch.tensor([1.25, 1.25, 0.5, 0.5]).expand(1, views, 4)).to(self.device)


def _largest(a: Prediction, b: Prediction) -> float:
    return float((a.images.float() - b.images.float()).abs().max())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

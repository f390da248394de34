"""Recordings of the reference implementation, and small models to try things on."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import rayzer
from rayzer.model.anyview import AnyViewConfig
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.rayzer import Prediction, RayZerConfig
from rayzer.model.weights import Model, ModelConfig, build_model

RECORDINGS = Path(__file__).parents[1] / "recordings"


@dataclass(frozen=True)
class Recording:
    """Inputs and outputs of the reference, and our model with its weights."""

    name: str
    model: Model
    tensors: dict[str, Tensor]
    cameras: rayzer.Cameras
    split: rayzer.ViewSplit

    @property
    def images(self) -> Tensor:
        return self.tensors["image"]

    @property
    def targets(self) -> Tensor:
        return self.split.target_of(self.images)

    def run(self) -> Prediction:
        given = (self.cameras,) if self.name.startswith("lvsm") else ()
        return self.model(self.images, self.split, *given)

    def gradient_norms(self) -> dict[str, float]:
        return json.loads((RECORDINGS / f"{self.name}.grads.json").read_text())["grad_norms"]


def read_recording(name: str) -> Recording:
    model = rayzer.load_model(RECORDINGS / f"{name}.pt", RECORDINGS / f"{name}.yaml")
    tensors = load_file(RECORDINGS / f"{name}.io.safetensors")
    pose, intrinsics = tensors["c2w"], tensors["fxfycxcy"]
    if not name.startswith("lvsm"):
        split = rayzer.ViewSplit(tensors["context_indices"], tensors["target_indices"])
        return Recording(name, model, tensors, rayzer.Cameras(pose, intrinsics), split)
    b, v, _, height, width = tensors["image"].shape
    first_target = v - tensors["render"].shape[1]
    views = torch.arange(v).expand(b, v)
    split = rayzer.ViewSplit(views[:, :first_target], views[:, first_target:])
    return Recording(name, model, tensors, rayzer.Cameras.from_pixels(pose, intrinsics, width, height), split)


@pytest.fixture
def recordings_folder() -> Path:
    return RECORDINGS


@pytest.fixture(params=["rayzer_tiny", "rayzer_options", "lvsm_encdec_tiny", "lvsm_deconly_tiny"])
def recording(request) -> Recording:
    return read_recording(request.param)


@pytest.fixture(params=["rayzer_tiny", "rayzer_options"])
def rayzer_recording(request) -> Recording:
    return read_recording(request.param)


TINY = {"image_height": 16, "image_width": 16, "patch_size": 8, "width": 32, "head_width": 16}


@pytest.fixture
def tiny_config():
    """Makes a configuration of a model that runs in milliseconds."""

    def make(kind: str = "rayzer", **changes) -> ModelConfig:
        if kind == "rayzer":
            layers = {"camera_layers": 2, "scene_layers": 2, "renderer_layers": 2, "scene_tokens": 6}
            return RayZerConfig(**TINY | layers | changes)
        if kind == "anyview":
            layers = {"camera_layers": 2, "scene_layers": 2, "renderer_layers": 2}
            return AnyViewConfig(**TINY | layers | changes)
        layers = {"encoder": kind == "lvsm", "encoder_layers": 2, "renderer_layers": 2, "scene_tokens": 6}
        return LVSMConfig(**TINY | layers | changes)

    return make


@pytest.fixture
def tiny_model(tiny_config):
    """Makes a tiny model whose weights are large enough for every part to matter."""

    def make(kind: str = "rayzer", **changes) -> Model:
        torch.manual_seed(0)
        model = build_model(tiny_config(kind, **changes)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture
def sample():
    """Makes random pictures [2, v, 3, h, w], a split and cameras: target views are odd positions."""

    def make(views: int = 5, height: int = 16, width: int = 16, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(2, views, 3, height, width, generator=generator)
        positions = torch.arange(views).expand(2, views)
        split = rayzer.ViewSplit(positions[:, ::2], positions[:, 1::2] if views > 1 else positions)
        pose = torch.eye(4).repeat(2, views, 1, 1)
        pose[..., :3, 3] = torch.randn(2, views, 3, generator=generator)
        cameras = rayzer.Cameras(pose, torch.tensor([1.2, 1.3, 0.5, 0.5]).expand(2, views, 4))
        return images, split, cameras

    return make

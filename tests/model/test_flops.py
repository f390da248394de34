"""The count of arithmetic against PyTorch's counter, on the textbook transformer that computes every token."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rayzer import LVSMConfig, RayZerConfig, ViewSplit
from rayzer.losses import PerceptualLoss
from rayzer.model.anyview import AnyViewConfig
from rayzer.model.flops import model_flops, peak_flops, training_flops, vgg19_flops
from rayzer.model.transformer import Transformer

PRESETS = {"forward": 12.59e12, "training": 38.93e12}  # of the released model, as measured on the reference


def every_token(self, x, read=None, shared=None):
    if shared is not None:
        x = torch.cat([x, shared.repeat_interleave(len(x) // len(shared), 0)], 1)
    for block in self.blocks:
        x = block(x)
    return x if read is None else x[:, :read]


def no_gradient(config):
    """What a backward pass does less than twice the forward pass: nobody asks for gradients of inputs."""
    d, patch = config.width, config.patch_size
    patches = config.image_height * config.image_width // patch**2
    if isinstance(config, LVSMConfig):
        return 2 * patches * d * patch**2 * (3 * 9 + 2 * 6)  # pictures and rays of given cameras
    if isinstance(config, AnyViewConfig):  # pictures, twice where they are context, and order
        return 2 * (8 * patches * d * 3 * patch**2 + 5 * (config.order_code != "none") * d * d)
    coded = config.position_code != "none"
    return 2 * 5 * (patches * d * 3 * patch**2 + coded * (patches + 1) * d * d)  # pictures and places


def inverted_poses(config):
    """Three by three for each of five views, which is left out as rays are."""
    return 5 * 2 * 9 * (isinstance(config, AnyViewConfig) and config.relative_cameras)


def counted(function):
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        function()
    return counter.get_total_flops()


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("rayzer", {}),
        ("rayzer", {"position_code": "none", "rotation": "quaternion", "qk_norm": False}),
        ("rayzer", {"image_width": 24, "scene_layers": 3}),
        ("rayzer", {"renderer": "one_way", "renderer_layers": 3}),
        ("anyview", {"image_width": 24, "camera_layers": 3, "scene_layers": 3}),
        ("anyview", {"order_code": "index", "rotation": "quaternion"}),
        ("anyview", {"order_code": "relative", "relative_cameras": False}),
        ("lvsm", {}),
        ("lvsm_decoder_only", {"patch_size": 4}),
    ],
    ids=str,
)
def test_counts_what_pytorch_counts(tiny_model, sample, kind, changes, train, monkeypatch):
    model = tiny_model(kind, **changes)
    config = model.config
    images, split, cameras = sample(5, config.image_height, config.image_width)
    given = () if model.estimates_cameras else (cameras[:1],)
    monkeypatch.setattr(Transformer, "forward", every_token)
    split = ViewSplit(split.context[:1], split.target[:1])

    def step():
        picture = model(images[:1], split, *given).images
        if train:
            picture.sum().backward()

    expected = training_flops(config, 3, 2) - no_gradient(config) if train else model_flops(config, 3, 2).forward
    assert counted(step) == expected + inverted_poses(config) * (3 if train else 1)


def test_savings_do_not_count(tiny_model, sample):
    model = tiny_model()
    images, split, _ = sample(5)
    with torch.no_grad():
        done = counted(lambda: model(images[:1], ViewSplit(split.context[:1], split.target[:1])))
    assert done < 0.95 * model_flops(model.config, 3, 2).forward


def test_the_network_of_the_perceptual_loss():
    state, channels, index = {}, 3, 0
    for count, width in zip((2, 2, 4, 4, 4), (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            state[f"features.{index}.weight"] = torch.zeros(width, channels, 3, 3)
            state[f"features.{index}.bias"] = torch.zeros(width)
            channels, index = width, index + 2
        index += 1
    loss = PerceptualLoss(state)
    prediction = nn.Parameter(torch.rand(1, 3, 16, 32))
    found = counted(lambda: loss(prediction, torch.rand(1, 3, 16, 32)).backward())
    assert found == 3 * vgg19_flops(16, 32)


def test_the_released_model():
    config = RayZerConfig()
    assert model_flops(config).forward == pytest.approx(PRESETS["forward"], rel=1e-3)
    assert training_flops(config, perceptual=True) == pytest.approx(PRESETS["training"], rel=1e-3)
    parts = model_flops(config)
    assert (parts.cameras / 1e12, parts.scene / 1e12, parts.rendering / 1e12) == pytest.approx(
        (1.655, 3.136, 7.796), abs=1e-3
    )


def test_views_change_the_count():
    config = LVSMConfig()
    assert model_flops(config, target_views=16).rendering == 2 * model_flops(config, target_views=8).rendering
    assert model_flops(config, context_views=8).scene < model_flops(config).scene


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989.5e12),
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA GH200 480GB", 989.5e12),
        ("NVIDIA H20", 148e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA RTX A4000", None),
        ("CPU", None),
    ],
)
def test_peaks(name, peak):
    assert peak_flops(name) == peak

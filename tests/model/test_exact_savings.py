"""The transformer's savings against a slow twin that has none: every token of every sequence through every layer."""

import copy
import dataclasses

import pytest
import torch
from torch.testing import assert_close

from rayzer.model.renderer import Renderer
from rayzer.model.transformer import Block, Transformer
from rayzer.model.weights import build_model, initialise, save_model

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def slow_layer_norm(x, norm):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight


def slow_head_norm(x, norm):
    if isinstance(norm, torch.nn.Identity):
        return x
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight


def slow_attention(x, layer, seen=1.0):
    width, head_width = x.shape[-1], layer.head_width
    q, k, v = (x @ layer.to_qkv.weight[i * width : (i + 1) * width].T for i in range(3))
    heads = []
    for start in range(0, width, head_width):
        head = slice(start, start + head_width)
        scores = slow_head_norm(q[..., head], layer.q_norm) @ slow_head_norm(k[..., head], layer.k_norm).mT
        weights = (scores / head_width**0.5).exp() * seen
        heads.append(weights / weights.sum(-1, keepdim=True) @ v[..., head])
    return torch.cat(heads, -1) @ layer.out.weight.T


def slow_mlp(x, layer):
    hidden = x @ layer[0].weight.T
    return (hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))) @ layer[2].weight.T


def slow_transformer(self, x, read=None, shared=None):
    if shared is not None:
        times = len(x) // len(shared)
        replicas = [scene for scene in shared for _ in range(times)]
        x = torch.cat([x, torch.stack(replicas)], 1)
    for block in self.blocks:
        x = x + slow_attention(slow_layer_norm(x, block.norm1), block.attention)
        x = x + slow_mlp(slow_layer_norm(x, block.norm2), block.mlp)
    return x if read is None else x[:, :read]


def slow_one_way(self, rays, scene):
    """One sequence of rays and scene in which the rays see everything and the scene sees itself."""
    own, times = rays.shape[1], len(rays) // len(scene.tokens)
    x = torch.cat([rays, torch.stack([tokens for tokens in self.norm(scene.tokens) for _ in range(times)])], 1)
    seen = torch.ones(x.shape[1], x.shape[1])
    seen[own:, :own] = 0
    for block in self.transformer.blocks:
        x = x + slow_attention(slow_layer_norm(x, block.norm1), block.attention, seen)
        x = x + slow_mlp(slow_layer_norm(x, block.norm2), block.mlp)
    return x[:, :own]


def random_transformer(layers, qk_norm):
    torch.manual_seed(layers)
    transformer = Transformer(layers, 32, 8, qk_norm, "depth")
    for parameter in transformer.parameters():
        parameter.data.add_(0.15 * torch.randn_like(parameter))
    return transformer


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("read", "shared"), [(None, 0), (3, 0), (5, 0), (5, 4), (2, 4), (7, 4), (None, 4)])
def test_transformer_equals_its_slow_twin(layers, qk_norm, read, shared, train):
    transformer = random_transformer(layers, qk_norm).train(train)
    x = torch.randn(6, 5, 32, requires_grad=True)
    scene = torch.randn(2, shared, 32, requires_grad=True) if shared else None
    inputs = [x, *([scene] if shared else []), *transformer.parameters()]
    results = []
    for run in (transformer, lambda *args: slow_transformer(transformer, *args)):
        out = run(x, read, scene)
        assert out.shape == (6, read or 5 + shared, 32)
        results.append([out, *torch.autograd.grad((out * torch.linspace(-1, 1, 32)).sum(), inputs)])
    for fast, slow in zip(*results, strict=True):
        assert_close(fast, slow, rtol=1e-5, atol=1e-5 * max(1, slow.abs().max().item()))


@pytest.mark.parametrize("kind", ["rayzer", "lvsm", "lvsm_decoder_only"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_models_equal_their_slow_twins(tiny_model, sample, kind, layers, monkeypatch):
    names = ["camera_layers", "scene_layers"] if kind == "rayzer" else ["encoder_layers"]
    fast = tiny_model(kind, **dict.fromkeys([*names, "renderer_layers"], layers))
    slow = copy.deepcopy(fast)
    images, split, cameras = sample(7, 16, 24)
    given = () if kind == "rayzer" else (cameras,)
    target = split.target_of(images)
    results = []
    for model in (fast, slow):
        if model is slow:
            monkeypatch.setattr(Transformer, "forward", slow_transformer)
        out = model(images, split, *given).images
        (out - target).square().mean().backward()
        results.append(out)
    assert_close(*results, **TOLERANCE)
    for (name, a), b in zip(fast.named_parameters(), slow.parameters(), strict=True):
        assert_close(a.grad, b.grad, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


def test_the_last_layer_computes_only_what_is_read(monkeypatch):
    transformer = random_transformer(3, True)
    rows = []
    for block in transformer.blocks:
        block.mlp.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[1]))
    transformer(torch.randn(2, 9, 32), read=4)
    assert rows == [9, 9, 4]


def test_shared_tokens_are_projected_once():
    transformer = random_transformer(2, True)
    sizes = []
    transformer.blocks[0].norm1.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape))
    transformer(torch.randn(6, 3, 32), read=3, shared=torch.randn(2, 4, 32))
    assert sizes == [(6, 3, 32), (2, 4, 32)]


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_one_way_rendering_equals_its_slow_twin(tiny_model, sample, layers, qk_norm, monkeypatch):
    fast = tiny_model(renderer="one_way", renderer_layers=layers, qk_norm=qk_norm).train()
    slow = copy.deepcopy(fast)
    images, split, _ = sample(7, 16, 24)
    results = []
    for model in (fast, slow):
        if model is slow:
            monkeypatch.setattr(Renderer, "_read", slow_one_way)
        out = model(images, split).images
        (out - split.target_of(images)).square().mean().backward()
        results.append(out)
    assert_close(*results, **TOLERANCE)
    for (name, a), b in zip(fast.named_parameters(), slow.named_parameters(), strict=True):
        assert_close(a.grad, b[1].grad, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


def test_one_way_scenes_are_encoded_once(tiny_model, sample, monkeypatch):
    model = tiny_model(renderer="one_way", renderer_layers=3)
    images, _, cameras = sample(7)
    calls, real = [], Block._memorize
    monkeypatch.setattr(Block, "_memorize", lambda *args: calls.append(1) or real(*args))
    scene = model.reconstruct(images, cameras)
    together = model.render(scene, cameras)
    alone = torch.cat([model.render(scene, cameras[:, i : i + 1]) for i in range(7)], 1)
    assert len(calls) == 3
    assert_close(alone, together, **TOLERANCE)
    assert_close(model.render(dataclasses.replace(scene, memory=()), cameras), together, **TOLERANCE)


def test_weights_of_a_joint_model_fit_a_one_way_one(tiny_model, sample, tmp_path):
    joint, one_way = tiny_model(), build_model(tiny_model(renderer="one_way").config).eval()
    images, split, cameras = sample(5)
    save_model(joint, tmp_path / "joint")
    initialise(one_way, tmp_path / "joint")
    for (name, a), (other, b) in zip(joint.state_dict().items(), one_way.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(a, b)
    scenes = [model.reconstruct(images, cameras) for model in (joint, one_way)]
    assert torch.equal(scenes[0].tokens, scenes[1].tokens)
    assert [len(scene.memory) for scene in scenes] == [0, 2]
    pictures = [model(images, split) for model in (joint, one_way)]
    assert torch.equal(pictures[0].cameras.world_from_camera, pictures[1].cameras.world_from_camera)
    assert (pictures[0].images - pictures[1].images).abs().max() > 1e-4
    assert_close(joint.render(scenes[1], cameras), joint.render(scenes[0], cameras))  # it has no use for the memory

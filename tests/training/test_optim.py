"""The optimiser: the recorded 40 steps of the reference, and each rule alone."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rayzer
from rayzer.training.optim import is_skipped, learning_rate, make_optimizer
from rayzer.training.recipe import OptimizerConfig

RECORDINGS = Path(__file__).parents[1] / "recordings"
RECORDED = OptimizerConfig(
    learning_rate=3e-3, warmup_steps=5, weight_decay=0.5, clip_norm=0.02, skip_norm=0.04, skip_after=10
)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors are faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_recorded_loss_curve():
    steps = json.loads((RECORDINGS / "train_curve.json").read_text())["log"]
    model = rayzer.load_model(RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml").train()
    tensors = load_file(RECORDINGS / "rayzer_tiny.io.safetensors")
    split = rayzer.ViewSplit(tensors["context_indices"], tensors["target_indices"])
    optimizer = make_optimizer(model, RECORDED)
    for step, expected in enumerate(steps):
        images = 1 - 0.2 * tensors["image"] if step in (3, 20, 21) else tensors["image"]
        loss = (model(images, split).images - split.target_of(images)).square().mean()
        model.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), RECORDED.clip_norm).item()
        rate = learning_rate(step, len(steps), RECORDED)
        skipped = is_skipped(step, norm, RECORDED)
        assert expected["step"] == step
        assert loss.item() == pytest.approx(expected["loss"], rel=1e-5), step
        assert norm == pytest.approx(expected["grad_norm"], rel=1e-5), step
        assert rate == pytest.approx(expected["lr"], rel=1e-5), step
        assert skipped == expected["skipped"], step
        for group in optimizer.param_groups:
            group["lr"] = rate
        if not skipped:
            optimizer.step()
    assert {step["skipped"] for step in steps} == {True, False}


def test_groups():
    model = rayzer.load_model(RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml")
    optimizer = make_optimizer(model, RECORDED)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0), name
    assert decay[id(model.scene_encoder.scene_tokens)] == 0.5
    assert optimizer.defaults["betas"] == (0.9, 0.95)
    assert optimizer.defaults["eps"] == 1e-8


def test_frozen_parameters_are_left_out():
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    (weight,) = (p for group in make_optimizer(model, RECORDED).param_groups for p in group["params"])
    assert weight is model.weight


def test_learning_rate():
    config = OptimizerConfig(learning_rate=2.0, final_learning_rate=0.5, warmup_steps=10)
    rates = [learning_rate(step, 110, config) for step in (0, 5, 10, 60, 110, 200)]
    assert rates == pytest.approx([0, 1, 2, 1.25, 0.5, 0.5])
    assert learning_rate(0, 10, OptimizerConfig(warmup_steps=0)) == 4e-4
    assert learning_rate(5, 5, OptimizerConfig(warmup_steps=5)) == 4e-4
    steps = [learning_rate(step, 110, config) for step in range(10, 111)]
    assert steps == sorted(steps, reverse=True)


@pytest.mark.parametrize(
    ("step", "norm", "skip_after", "skipped"),
    [
        (99, 3.0, 100, False),
        (100, 3.0, 100, True),
        (100, 2.0, 100, False),
        (100, 2.0001, 100, True),
        (0, 3.0, -1, True),
        (0, 3.0, 0, True),
        (0, math.nan, 100, True),
        (0, math.inf, 100, True),
    ],
)
def test_skipping(step, norm, skip_after, skipped):
    assert is_skipped(step, norm, OptimizerConfig(skip_norm=2.0, skip_after=skip_after)) is skipped

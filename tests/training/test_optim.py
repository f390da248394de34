"""The optimiser: the recorded 40 steps of the reference, and each rule alone."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rayzer
from rayzer.data.bad_data import BadData
from rayzer.data.loader import Batch
from rayzer.errors import InputError
from rayzer.training import step as step_module
from rayzer.training.distributed import World
from rayzer.training.loss import TrainingLoss
from rayzer.training.optim import Optimizer, is_skipped, learning_rate, update_average
from rayzer.training.recipe import LossConfig, OptimizerConfig, TrainingConfig
from rayzer.training.state import TrainingState
from rayzer.training.step import Trainer, train_step

RECORDINGS = Path(__file__).parents[1] / "recordings"
RECORDED = OptimizerConfig(
    learning_rate=3e-3, warmup_steps=5, weight_decay=0.5, clip_norm=0.02, skip_norm=0.04, skip_after=10
)


def recorded_run():
    """The model, recording and batches of the recorded curve, as a trainer and its state."""
    steps = json.loads((RECORDINGS / "train_curve.json").read_text())["log"]
    model = rayzer.load_model(RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml").train()
    tensors = load_file(RECORDINGS / "rayzer_tiny.io.safetensors")
    split = rayzer.ViewSplit(tensors["context_indices"], tensors["target_indices"])
    recipe = TrainingConfig(steps=len(steps), optimizer=RECORDED, loss=LossConfig(perceptual=0.0))
    trainer = Trainer(model, TrainingLoss.from_config(recipe.loss), recipe, World(0, 1, torch.device("cpu")))
    state = TrainingState(model, Optimizer(model, RECORDED), None, BadData())

    def batch(step):
        images = 1 - 0.2 * tensors["image"] if step in (3, 20, 21) else tensors["image"]
        return Batch(images, torch.arange(images.shape[1])[None], split, ("recorded",))

    return steps, trainer, state, batch


def test_recorded_loss_curve(monkeypatch):
    monkeypatch.setattr(step_module, "to_device", lambda batch, device: batch)  # its images are no bytes
    steps, trainer, state, batch = recorded_run()
    for step, expected in enumerate(steps):
        assert expected["step"] == state.step == step
        result = train_step(trainer, state, [batch(step)], 1)
        assert result.values["loss"] == pytest.approx(expected["loss"], rel=1e-5), step
        assert result.gradient_norm == pytest.approx(expected["grad_norm"], rel=1e-5), step
        assert result.learning_rate == pytest.approx(expected["lr"], rel=1e-5), step
        assert result.skipped == expected["skipped"], step
    assert {step["skipped"] for step in steps} == {True, False}


def tiny_model():
    return rayzer.load_model(RECORDINGS / "rayzer_tiny.pt", RECORDINGS / "rayzer_tiny.yaml")


def groups(optimizer):
    return [group for part in optimizer.parts for group in part.param_groups]


def test_groups():
    model = tiny_model()
    optimizer = Optimizer(model, RECORDED)
    decay = {id(p): group["weight_decay"] for group in groups(optimizer) for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0), name
    assert decay[id(model.scene_encoder.scene_tokens)] == 0.5
    (adamw,) = optimizer.parts
    assert adamw.defaults["betas"] == (0.9, 0.95)
    assert adamw.defaults["eps"] == 1e-8


def test_muon_takes_the_matrices_of_the_blocks_only():
    model = tiny_model()
    adamw, muon = Optimizer(model, replace(RECORDED, kind="muon")).parts
    assert isinstance(muon, torch.optim.Muon)
    names = {id(p): name for name, p in model.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert taken == {name for name, p in model.named_parameters() if ".blocks." in name and p.ndim == 2}
    left = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert left == set(names.values()) - taken


def test_a_step_of_muon_equals_the_textbook():
    """Newton-Schulz by a singular value decomposition: all singular values become about one."""
    torch.manual_seed(0)
    model = tiny_model()
    optimizer = Optimizer(model, replace(RECORDED, kind="muon", weight_decay=0.0))
    weight = model.renderer.transformer.blocks[0].mlp[0].weight
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    before, gradient = weight.detach().clone(), weight.grad.clone()
    optimizer.step(0.01)
    u, _, vh = torch.linalg.svd(gradient, full_matrices=False)
    moved = (before - weight.detach()) / (0.01 * 0.2 * max(weight.shape) ** 0.5)
    assert torch.nn.functional.cosine_similarity(moved.flatten(), (u @ vh).flatten(), dim=0) > 0.97
    assert 0.6 < torch.linalg.svdvals(moved).min() <= torch.linalg.svdvals(moved).max() < 1.3


def test_frozen_parameters_are_left_out():
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    (weight,) = (p for group in groups(Optimizer(model, RECORDED)) for p in group["params"])
    assert weight is model.weight


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_state_moves_to_another_optimizer_by_name(kind):
    config = replace(RECORDED, kind=kind)
    models = [tiny_model(), tiny_model()]
    first, second = (Optimizer(model, config) for model in models)
    assert not list(first.tensors())

    def update(optimizer, model, seed):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step(0.1)

    update(first, models[0], 1)
    models[1].load_state_dict(models[0].state_dict())
    second.restore((name, value.clone()) for name, value in first.tensors())
    for optimizer, model in zip((first, second), models, strict=True):
        update(optimizer, model, 2)
    assert all(a.equal(b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
    other = Optimizer(models[1], replace(config, kind="muon" if kind == "adamw" else "adamw"))
    with pytest.raises(InputError, match="state of another optimiser"):
        other.restore(first.tensors())


def test_average_follows_fast_at_first():
    model = torch.nn.Linear(1, 1, bias=False)
    average = {"weight": torch.zeros(1, 1)}
    expected = 0.0
    for updates in range(200):
        model.weight.data.fill_(float(updates))
        update_average(average, model, 0.9, updates)
        decay = min(0.9, (1 + updates) / (10 + updates))
        expected = decay * expected + (1 - decay) * updates
    assert average["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_warm_up_stable_decay():
    config = OptimizerConfig(
        schedule="wsd", learning_rate=2.0, final_learning_rate=1.0, warmup_steps=10, decay_share=0.25
    )
    rates = [learning_rate(step, 100, config) for step in (0, 5, 10, 50, 75, 80, 90, 100)]
    assert rates == pytest.approx([0, 1, 2, 2, 2, 1.8, 1.4, 1.0])


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

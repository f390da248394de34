import json
import math
from dataclasses import replace

import pytest
import torch

from rayzer.benchmarks import training
from rayzer.configs import load_config
from rayzer.model.flops import training_flops
from rayzer.training.distributed import World
from rayzer.training.recipe import LossConfig

ALONE = World(0, 1, torch.device("cpu"))
SMOKE = ["--config", "smoke", "--device", "cpu", "--steps", 2]


def test_both_paths_are_measured(run, tmp_path):
    code, printed, err = run("bench", "train", *SMOKE, "--json", tmp_path / "rates.json", "training.recompute=none")
    assert code == 0, err
    results = json.loads(printed)
    assert results == json.loads((tmp_path / "rates.json").read_text())
    assert {name: path["recompute"] for name, path in results["results"].items()} == {"fast": "none", "plain": "all"}
    for path in results["results"].values():
        assert path["p5_ms"] <= path["median_ms"] <= path["p95_ms"]
        assert path["scenes_per_s"] == pytest.approx(1000 * results["batch_size"] / path["median_ms"])
        assert path["updates"] == 1 + 3 + 2  # none was skipped
        assert path["saving"]["size_gb"] > 0.002
    assert set(results["difference"]) == {"loss", "gradient_norm"}
    assert all(value <= 1e-6 for value in results["difference"].values())


def test_the_step_of_the_trainer_is_timed(monkeypatch):
    calls = []
    original = training.train_step
    monkeypatch.setattr(training, "train_step", lambda *arguments: calls.append(1) or original(*arguments))
    results = training.measure_training(load_config("smoke"), World(0, 1, torch.device("cpu")), 2, with_plain=False)
    assert len(calls) == 1 + 3 + 2 + training.SAVES * training.STEPS_AFTER_SAVE
    assert list(results["results"]) == ["fast"]
    assert "difference" not in results


def test_utilisation_counts_the_perceptual_network(monkeypatch):
    monkeypatch.setattr(training, "peak_flops", lambda name: 1e12)
    config = load_config("smoke", ["training.loss.perceptual=0.2", "training.samples_at_once=1"])
    fast = training.measure_training(config, World(0, 1, torch.device("cpu")), 1, with_plain=False)["results"]["fast"]
    flops = training_flops(config.model, perceptual=True)
    assert fast["mfu"] == pytest.approx(flops / (fast["median_ms"] / 1000) / 1e12)
    assert flops > 2 * training_flops(config.model)


def test_random_features_neither_vanish_nor_grow():
    loss = training.random_loss(LossConfig(mse=0.0, perceptual=1.0))
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.rand(1, 1, 3, 32, 32, generator=generator) for _ in range(2)]
    total, _ = loss(*pictures)
    assert 0.01 < float(total) < 100
    assert math.isfinite(float(total))


def test_mistakes(run):
    code, _, complaint = run("bench", "train", *SMOKE, "training.loss.lpips=1")
    assert code == 2
    assert "training.loss.lpips" in complaint
    assert run("bench", "train", *SMOKE, "training.stepz=1")[0] == 2


def test_given_cameras():
    config = load_config("smoke")
    model = load_config("lvsm_decoder_only", ["model.width=32", "model.head_width=16", "model.renderer_layers=1"]).model
    small = replace(model, image_height=32, image_width=32, context_views=2, target_views=2)
    results = training.measure_training(
        replace(config, model=small), World(0, 1, torch.device("cpu")), 1, with_plain=False
    )
    assert results["results"]["fast"]["updates"] == 5

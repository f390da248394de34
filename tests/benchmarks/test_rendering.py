import json

import pytest
import torch

from rayzer.benchmarks import rendering, timing
from rayzer.configs import load_config
from rayzer.model.flops import model_flops

SMOKE = ["--config", "smoke", "--device", "cpu", "--calls", 2]


def test_both_paths_are_measured(run, tmp_path):
    code, printed, err = run("bench", "render", *SMOKE, "--json", tmp_path / "rates.json")
    assert code == 0, err
    results = json.loads(printed)
    assert results == json.loads((tmp_path / "rates.json").read_text())
    assert [(r["name"], r["views"]) for r in results["results"]] == [
        ("forward", 3),
        *(("render", n) for n in (1, 8, 30)),
    ]
    for result in results["results"]:
        for path in ("fast", "plain"):
            assert 0 < result[path]["p5_ms"] <= result[path]["median_ms"] <= result[path]["p95_ms"]
        assert result["views_per_s"] == pytest.approx(1000 * result["views"] / result["fast"]["median_ms"])
        assert result["mfu"] is None  # what a CPU can do at best is not known
    assert results["precision"] == "float32"
    assert set(results["difference"].values()) == {0.0}
    assert results["torch"] == torch.__version__


def test_utilisation(monkeypatch):
    monkeypatch.setattr(rendering, "peak_flops", lambda name: 1e12)
    monkeypatch.setattr(rendering, "time_calls", lambda *_: timing.Spread(10.0, 9.0, 11.0, 1))
    config = load_config("smoke").model
    forward, one, *_ = rendering.measure_rendering(config, torch.device("cpu"), True, 1)["results"]
    assert forward["mfu"] == pytest.approx(model_flops(config).forward / 0.010 / 1e12)
    assert one["mfu"] == pytest.approx(model_flops(config, target_views=1).rendering / 0.010 / 1e12)


def test_differences_are_found(monkeypatch):
    class Wrong(rendering.FastInference):
        def __init__(self, model, dtype, tune=True):
            super().__init__(model, dtype, tune)
            self.model.renderer.to_pixels[1].weight.data.mul_(1.5)

    monkeypatch.setattr(rendering, "FastInference", Wrong)
    found = rendering.measure_rendering(load_config("smoke").model, torch.device("cpu"), True, 1)["difference"]
    assert found["fast float32 to plain float32"] > 1e-3
    assert found["fast bfloat16 to plain float32"] > found["plain bfloat16 to plain float32"] > 0


@pytest.mark.parametrize("preset", ["lvsm_encoder_decoder", "lvsm_decoder_only"])
def test_models_with_given_cameras(run, preset):
    small = ["image_height=32", "image_width=32", "width=32", "head_width=16", "renderer_layers=1", "scene_tokens=8"]
    code, printed, err = run("bench", "render", "--config", preset, *SMOKE[2:], *(f"model.{word}" for word in small))
    assert code == 0, err
    assert len(json.loads(printed)["results"]) == 4


def test_mistakes(run, tmp_path):
    assert run("bench", "render", "--config", "smok")[0] == 2
    assert run("bench", "render", *SMOKE, "--json", tmp_path)[0] == 2
    assert run("bench", "render", *SMOKE, "model.widht=3")[0] == 2


def test_percentiles(monkeypatch):
    marks = iter([0.0, *(sum(range(1, n + 1)) / 1000 for n in range(1, 22))])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(marks))
    spread = timing.time_calls(lambda: None, torch.device("cpu"), 21, warm_up=5)
    assert spread == timing.Spread(*(pytest.approx(ms) for ms in (11, 2, 20)), 21)

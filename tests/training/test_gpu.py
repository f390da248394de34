"""Training on a GPU: resumed runs repeat bit for bit in deterministic mode, and saving hardly holds up training."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rayzer.training.checkpoints import Checkpoints, name_of
from rayzer.training.distributed import World
from rayzer.training.loss import TrainingLoss
from rayzer.training.recipe import LossConfig
from rayzer.training.run_folder import RunConfig
from rayzer.training.set_up import build
from rayzer.training.train import train

from .test_train import stop_at

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_deterministic_runs_resume_bit_for_bit(tiny, monkeypatch, kind):
    options = ["training.deterministic=true", "training.compile=false", f"training.optimizer.kind={kind}"]
    whole, cut = (tiny(*options, "training.bf16=true", folder=folder) for folder in ("whole", "cut"))
    assert train(whole.model, whole.training, "cuda") == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert train(cut.model, cut.training, "cuda") == 143
    assert train(cut.model, cut.training, "cuda") == 0
    folders = [Path(config.training.output_dir) for config in (whole, cut)]
    for file in ("metrics.jsonl", f"checkpoints/{name_of(6)}/model.safetensors"):
        first, second = (folder / file for folder in folders)
        assert first.read_bytes() == second.read_bytes(), file


def test_the_copy_is_of_the_moment_of_saving(tiny, tmp_path):
    """Weights change right after saving, while they are still being copied."""
    config = tiny("model.width=512", "model.head_width=64", "model.renderer_layers=8")
    world = World(0, 1, torch.device("cuda"))
    checkpoints = Checkpoints(tmp_path / "checkpoints", world, 2, 0, lambda event, **values: None)
    run = RunConfig(config.model, config.training)
    state, _ = build(run, world, TrainingLoss.from_config(LossConfig(perceptual=0)))
    for round in range(2):  # the second copies into the same memory
        state.step += 1
        before = {name: value.clone() for name, value in state.model.state_dict().items()}
        checkpoints.save(state, run, {})
        checkpoints.before_update()
        for parameter in state.model.parameters():
            parameter.data.fill_(round)
        checkpoints.wait()
        saved = load_file(checkpoints.folder / name_of(state.step) / "model.safetensors")
        assert all(value.cpu().equal(saved[name]) for name, value in before.items())

"""What a run leaves for its user to see."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayzer.errors import InputError
from rayzer.training import trackers
from rayzer.training.train import train


def run(config):
    assert train(config.model, config.training, "cpu") == 0
    return Path(config.training.output_dir)


def test_pictures(tiny):
    folder = run(tiny("training.log.pictures_every=3", "training.steps=6"))
    names = sorted(path.name for path in (folder / "pictures").iterdir())
    assert names == [f"{kind}-0000000{step}.png" for kind in ("cameras", "samples") for step in (3, 6)]
    for name in names:
        assert np.asarray(Image.open(folder / "pictures" / name)).std() > 5


def test_tensorboard_has_the_curves(tiny):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run(tiny("training.log.tensorboard=true", "training.validation.every=3", "training.validation.samples=1"))
    found = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = set(found.Tags()["scalars"])
    assert {"loss", "psnr", "lr", "grad_norm", "speed/scenes_per_s", "validation/psnr"} <= tags
    assert [point.step for point in found.Scalars("loss")] == list(range(6))


def test_a_tracker_that_fails_changes_nothing(tiny, monkeypatch, caplog):
    def broken(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(trackers, "TensorBoardTracker", broken)
    plain, with_tracker = tiny(folder="plain"), tiny("training.log.tensorboard=true", folder="with")
    folders = [run(plain), run(with_tracker)]
    first, second = ((folder / "metrics.jsonl").read_bytes() for folder in folders)
    assert first == second
    assert "tensorboard: stopped (ConnectionError: no route to host)" in caplog.text
    assert "tracker stopped" in (folders[1] / "events.jsonl").read_text()


def test_a_key_file_that_is_missing_is_told_at_once(tiny, tmp_path):
    with pytest.raises(InputError, match=r"keys\.yaml: cannot be read"):
        run(tiny("training.log.wandb=offline", f"training.log.wandb_key_file={tmp_path / 'keys.yaml'}"))

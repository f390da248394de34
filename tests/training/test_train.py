"""The loop as a whole: resumed runs equal uninterrupted ones, and every rule of a run's folder."""

import json
import signal

import pytest
import torch

import rayzer
from rayzer.errors import InputError, RunError
from rayzer.training import train as train_module
from rayzer.training.checkpoints import name_of, steps_in
from rayzer.training.interruption import Interruption
from rayzer.training.train import train


def run(config):
    return train(config.model, config.training, "cpu")


def folder_of(config):
    from pathlib import Path

    return Path(config.training.output_dir)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(config, step, name="model.safetensors"):
    return (folder_of(config) / "checkpoints" / name_of(step) / name).read_bytes()


def stop_at(monkeypatch, step, number=signal.SIGTERM):
    """Let a signal arrive while the given step is done."""
    real = train_module.train_step

    def stopping(trainer, state, *rest):
        if state.step == step:
            signal.raise_signal(number)
        return real(trainer, state, *rest)

    monkeypatch.setattr(train_module, "train_step", stopping)


VALIDATED = ["training.validation.every=2", "training.validation.samples=1"]


ADAMW = ["training.optimizer.kind=adamw", "training.ema_decay=0", "training.samples_at_once=2"]


# Steps of several micro-batches, and the first one of a process, are abandoned; others are finished.
@pytest.mark.parametrize(("options", "saved"), [(VALIDATED, [1, 2]), (ADAMW, [2, 2])], ids=["muon", "adamw"])
def test_a_resumed_run_equals_an_uninterrupted_one(tiny, monkeypatch, options, saved):
    whole, cut = tiny(*options, folder="whole"), tiny(*options, folder="cut")
    assert run(whole) == 0
    for step, number, code in ((1, signal.SIGTERM, 143), (2, signal.SIGINT, 130)):
        with monkeypatch.context() as patch:
            stop_at(patch, step, number)
            assert run(cut) == code
    assert run(cut) == 0
    assert weights(whole, 6) == weights(cut, 6)
    for file in ("metrics.jsonl", "validation.jsonl"):
        assert (folder_of(whole) / file).read_bytes() == (folder_of(cut) / file).read_bytes(), file
    starts = [line for line in lines(folder_of(cut) / "events.jsonl") if line["event"] == "start"]
    assert [line["resumed_from"] for line in starts] == [None, *map(name_of, saved)]


def test_metrics_have_every_step_once(tiny):
    config = tiny()
    run(config)
    metrics = lines(folder_of(config) / "metrics.jsonl")
    assert [line["step"] for line in metrics] == list(range(6))
    assert {"loss", "mse", "psnr", "lr", "grad_norm", "skipped", "focal_mean"} <= set(metrics[0])
    assert [line["step"] for line in lines(folder_of(config) / "timing.jsonl")] == list(range(6))


def test_a_finished_run_does_nothing(tiny, monkeypatch):
    config = tiny()
    run(config)
    monkeypatch.setattr(train_module, "set_up", None)
    assert run(config) == 0


def test_another_configuration_is_refused(tiny):
    run(tiny())
    with pytest.raises(InputError, match=r"training\.optimizer\.learning_rate \(was 0.001, now 0.002\)"):
        run(tiny("training.optimizer.learning_rate=0.002"))
    with pytest.raises(InputError, match=r"model\.scene_layers"):
        run(tiny("model.scene_layers=2"))
    assert run(tiny("training.keep_last=3", "training.data.workers=1", "training.checkpoint_every=3")) == 0


def test_checkpoints_are_kept_as_configured(tiny):
    config = tiny("training.steps=10", "training.checkpoint_every=1", "training.keep_every=4")
    run(config)
    assert sorted(steps_in(folder_of(config) / "checkpoints")) == [4, 8, 9, 10]


def test_a_checkpoint_is_a_source_of_models(tiny):
    config = tiny()
    run(config)
    newest = folder_of(config) / "checkpoints" / name_of(6)
    averaged = rayzer.load_model(newest)
    from safetensors.torch import load_file

    average, last = load_file(newest / "ema.safetensors"), load_file(newest / "model.safetensors")
    for name, value in averaged.state_dict().items():
        assert torch.equal(value, average[name])
    assert any(not torch.equal(average[name], last[name]) for name in average)
    assert averaged.config == config.model


def test_validation_keeps_the_best_checkpoint(tiny):
    config = tiny(
        "training.validation.every=2", "training.validation.samples=2", "training.steps=10", "training.keep_last=2"
    )
    run(config)
    scores = {line["step"]: line["psnr"] for line in lines(folder_of(config) / "validation.jsonl")}
    assert list(scores) == [2, 4, 6, 8, 10]
    best = max(scores, key=scores.get)
    assert sorted({best, 8, 10}) == sorted(steps_in(folder_of(config) / "checkpoints"))


def test_two_runs_in_one_folder_are_refused(tiny, monkeypatch):
    config = tiny()
    seen = []

    def second(*_):
        with pytest.raises(InputError, match="another run is at work there"):
            run(config)
        seen.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "_loop", second)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert seen


def test_a_loss_that_is_never_finite_ends_the_run(tiny, monkeypatch):
    from rayzer.training.loss import MeanSquaredError

    monkeypatch.setattr(MeanSquaredError, "forward", lambda self, a, b: (a * torch.nan).mean())
    config = tiny("training.stop_after=3", "training.steps=8")
    with pytest.raises(RunError, match=r"step 2: .* 3 steps in a row.*room \d+"):
        run(config)
    events = [line for line in lines(folder_of(config) / "events.jsonl") if line["event"] == "not finite"]
    assert [event["step"] for event in events] == [0, 1, 2]
    assert all("room" in event["scenes"] for event in events)


def test_one_bad_step_changes_no_weight(tiny, monkeypatch):
    config = tiny("training.steps=2", "training.checkpoint_every=1")
    from rayzer.training import step as step_module

    real = step_module.clip_gradients
    calls = []

    def broken(model, norm):
        calls.append(1)
        if len(calls) == 2:
            next(model.parameters()).grad.fill_(torch.inf)
        return real(model, norm)

    monkeypatch.setattr(step_module, "clip_gradients", broken)
    run(config)
    assert weights(config, 1) == weights(config, 2)
    assert [line["skipped"] for line in lines(folder_of(config) / "metrics.jsonl")] == [False, True]


def test_a_second_interrupt_is_obeyed_at_once():
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_unusable_folders(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write there"):
        run(tiny(folder="file/run"))


def test_a_run_on_another_thread(tiny):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run, tiny("training.steps=2", "training.data.workers=1")).result() == 0


def test_validation_that_a_signal_cut_is_made_up_for(tiny, monkeypatch):
    whole, cut = tiny(*VALIDATED, folder="whole"), tiny(*VALIDATED, folder="cut")
    assert run(whole) == 0
    from rayzer.training.validation import Validation

    real = Validation.score

    def stopping(self, trainer, state, *rest):
        if state.step == 4:
            signal.raise_signal(signal.SIGTERM)
        return real(self, trainer, state, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Validation, "score", stopping)
        assert run(cut) == 143
    assert [line["step"] for line in lines(folder_of(cut) / "validation.jsonl")] == [2]
    assert run(cut) == 0
    for file in ("validation.jsonl", "metrics.jsonl", f"checkpoints/{name_of(6)}/state.json"):
        assert (folder_of(whole) / file).read_bytes() == (folder_of(cut) / file).read_bytes(), file


def test_a_batch_must_fit_the_processes(tiny):
    from rayzer.training.distributed import World
    from rayzer.training.set_up import check_share

    config = tiny("training.batch_size=3")
    with pytest.raises(InputError, match=r"training\.batch_size = 3: cannot be shared out equally to 2 processes"):
        check_share(config.training, World(0, 2, torch.device("cpu")))


def test_what_is_refused_leaves_nothing_behind(tiny):
    config = tiny("training.data.rooms=0")
    with pytest.raises(InputError, match=r"training\.data\.scenes is empty"):
        run(config)
    assert not folder_of(config).exists()


def test_pictures_that_are_too_small_for_the_loss(tiny):
    small = ["model.image_height=8", "model.image_width=8"]
    with pytest.raises(InputError, match="8 pixels are too few"):
        run(tiny(*small, "training.loss.structural=0.1"))
    assert run(tiny(*small, "training.steps=1")) == 0


def test_a_log_without_checkpoints_is_told(tiny, caplog):
    import shutil

    config = tiny("training.steps=2")
    run(config)
    shutil.rmtree(folder_of(config) / "checkpoints")
    assert run(config) == 0
    assert "no checkpoint of it; training begins at step 0" in caplog.text

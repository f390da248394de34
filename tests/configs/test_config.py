"""Presets, YAML files of ours, and overrides."""

import dataclasses

import pytest
import torch

from rayzer import InputError, LVSMConfig, RayZerConfig
from rayzer.configs import PRESETS, load_config, parse_overrides
from rayzer.model.weights import build_model
from rayzer.training.recipe import TrainingConfig


def message(*args):
    with pytest.raises(InputError) as error:
        load_config(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def yaml(tmp_path):
    """Writes a YAML file and returns its name."""

    def write(text, name="my.yaml"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_and_is_documented(name):
    config = load_config(name)
    assert config == PRESETS[name]()
    with torch.device("meta"):
        model = build_model(config.model)
    assert sum(p.numel() for p in model.parameters()) > 0
    assert PRESETS[name].__doc__
    assert config.training.output_dir.endswith(name)


def test_presets_are_the_published_recipes():
    released, paper, re10k = (load_config(name) for name in ("rayzer_dl3dv", "rayzer_paper", "rayzer_re10k"))

    def layers(config):
        return config.model.camera_layers, config.model.scene_layers, config.model.renderer_layers

    assert layers(released) == (8, 12, 12)
    assert layers(paper) == (8, 8, 8)
    assert (released.training.steps, paper.training.steps) == (100_000, 50_000)
    assert paper.training.optimizer.final_learning_rate == 1.5e-4
    assert (re10k.model.context_views, re10k.model.target_views) == (5, 5)
    assert re10k.training.views.end_distance == (128, 192)
    assert released.training.optimizer.skip_norm == 2.0
    assert load_config("lvsm_decoder_only").model == LVSMConfig(encoder=False, renderer_layers=24)
    assert load_config("lvsm_encoder_decoder").training.optimizer.skip_after == -1


@pytest.mark.parametrize(
    "words",
    [
        ["training.steps=7"],
        ["training.steps", "=", "7"],
        ["training.steps=", "7"],
        ["training.steps", "=7"],
        ["training.steps = 7"],
        ["training.steps ", "= ", "7"],
        ["training.steps=5", "training.steps", "=", "7"],
    ],
    ids=str,
)
def test_overrides_with_and_without_spaces(words):
    config = load_config("smoke", [*words, "model.qk_norm", "=", "false"])
    assert config.training.steps == 7
    assert config.model.qk_norm is False
    assert config.training.checkpoint_every == 4  # the rest of the preset stays
    assert config.training.optimizer == load_config("smoke").training.optimizer


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["a.b=x=y"], "x=y"),
        (["a.b", "=", "x=y"], "x=y"),
        (["a.b=x="], "x="),
        (["a.b=-1"], -1),
        (["a.b", "=", "-1.5"], -1.5),
        (["a.b=4e-4"], 4e-4),
        (["a.b=true"], True),
        (["a.b=null"], None),
        (["a.b=[1,2]"], [1, 2]),
        (["a.b=runs/größe 1"], "runs/größe 1"),
    ],
    ids=str,
)
def test_values_of_overrides(words, value):
    assert parse_overrides(words) == {"a": {"b": value}}


@pytest.mark.parametrize("words", [["training.steps"], ["=3"], ["training.steps="], ["="], ["a", "b=1"]], ids=str)
def test_words_that_are_no_overrides(words):
    assert "key=value" in message("smoke", words)


def test_types_of_nested_values():
    words = ["training.optimizer.betas=[0.5, 0.75]", "training.views.start_distance=[3,4]", "training.loss.mse=2"]
    training = load_config("smoke", words).training
    assert training.optimizer.betas == (0.5, 0.75)
    assert training.views.start_distance == (3, 4)
    assert isinstance(training.loss.mse, float)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("model.widht=64", 'model.widht: unknown key; did you mean "model.width"?'),
        ("training.step=64", 'training.step: unknown key; did you mean "training.steps"?'),
        ("training.optimizer.learning_rat=1", 'did you mean "training.optimizer.learning_rate"?'),
        ("training.warmup_steps=1", 'did you mean "training.optimizer.warmup_steps"?'),
        ("training.optimiser.eps=1", 'training.optimiser: unknown key; did you mean "training.optimizer"?'),
        ("training.optimizer.lr=1", "training.optimizer.lr: unknown key; known: kind, schedule, learning_rate"),
        ("trainin.steps=3", 'trainin: unknown key; did you mean "training"?'),
        ("steps=3", 'steps: unknown key; did you mean "training.steps"?'),
        ("foo=3", "foo: unknown key; known: model, training"),
        ("model.encoder=true", "model.encoder: unknown key"),
        ("training.steps=abc", "training.steps = 'abc'"),
        ("training.steps=2.5", "training.steps = 2.5"),
        ("training.steps=true", "training.steps = True"),
        ("training.steps=null", "training.steps = None"),
        ("training.steps=[1]", "training.steps = [1]"),
        ("training.bf16=maybe", "training.bf16 = 'maybe'"),
        ("training.optimizer=3", "training.optimizer: expected keys and values, got 3"),
        ("training.optimizer.eps=x", "training.optimizer.eps = 'x'"),
        ("training.optimizer.betas=[0.9]", "training.optimizer.betas = [0.9]"),
        ("training.optimizer.betas=[0.9,x]", "training.optimizer.betas = [0.9, 'x']"),
        ("training.views.end_distance=[5,x]", "training.views.end_distance = [5, 'x']"),
        ("model=3", "model: expected keys and values, got 3"),
        ("model.canonical=last", "model.canonical = 'last'"),
        ("model.width=-8", "model.width = -8: must be at least 1"),
        ("model.width=60", "model.width = 60 is not a multiple of model.head_width = 16"),
        ("model.image_height=33", "model.image_height = 33 is not a multiple"),
        ("training.steps=-3", "training.steps = -3: must be at least 1"),
        ("training.checkpoint_every=0", "training.checkpoint_every = 0"),
        ("training.output_dir= ", "key=value"),
        ("training.optimizer.learning_rate=-1", "training.optimizer.learning_rate = -1.0"),
        ("training.optimizer.learning_rate=nan", "training.optimizer.learning_rate = nan"),
        ("training.optimizer.betas=[0.9,1]", "training.optimizer.betas = (0.9, 1.0)"),
        ("training.optimizer.clip_norm=0", "training.optimizer.clip_norm = 0.0"),
        ("training.loss.mse=.inf", "training.loss.mse = inf"),
        ("training.views.start_distance=[64,48]", "training.views.start_distance = [64, 48]"),
        ("training.views.end_distance=[0,5]", "training.views.end_distance = [0, 5]"),
        ("training.output_dir=${nothing}", "nothing"),
        ("training.output_dir=[a", "training.output_dir=[a"),
    ],
)
def test_wrong_overrides_are_named(word, named):
    text = message("smoke", [word])
    assert named in text
    assert "$VALUE" not in text


def test_an_unknown_name():
    assert 'did you mean "rayzer_dl3dv"?' in message("rayzer_dl3vd")
    assert "smoke" in message("nothing/like.it")
    assert "neither a file nor a preset" in message("x" * 300)


def test_a_folder_is_no_configuration(tmp_path):
    assert str(tmp_path) in message(str(tmp_path))


def test_yaml_that_starts_from_a_preset(yaml):
    path = yaml("preset: smoke\nmodel:\n  scene_layers: 2\ntraining:\n  optimizer: {clip_norm: 0.5}\n")
    config = load_config(path, ["training.steps=9"])
    smoke = load_config("smoke")
    optimizer = dataclasses.replace(smoke.training.optimizer, clip_norm=0.5)
    assert config.model == dataclasses.replace(smoke.model, scene_layers=2)
    assert config.training == dataclasses.replace(smoke.training, steps=9, optimizer=optimizer)


@pytest.mark.parametrize(("kind", "model"), [("rayzer", RayZerConfig), ("lvsm", LVSMConfig), (None, RayZerConfig)])
def test_yaml_that_starts_from_the_defaults(yaml, kind, model):
    path = yaml(f"kind: {kind}\n" * bool(kind) + "model: {width: 128}\n")
    config = load_config(path)
    assert config.model == model(width=128)
    assert config.training == TrainingConfig()


def test_unicode(yaml):
    path = yaml("preset: smoke\ntraining: {output_dir: 'läufe/実験 1'}\n", "größe ß.yaml")
    assert load_config(path).training.output_dir == "läufe/実験 1"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: [", "not a readable YAML file"),
        ("a: b: c", "not a readable YAML file"),
        ("\x00", "not a readable YAML file"),
        (b"\xff\xfe\xfa", "not a readable YAML file"),
        ("- preset: smoke\n", "expected keys and values"),
        ("preset: smok", "'smok' is not one of"),
        ("preset: [smoke]", "['smoke'] is not one of"),
        ("kind: nerf", "'nerf' is not one of rayzer, anyview, lvsm"),
        ("kind: [rayzer]", "['rayzer'] is not one of"),
        ("preset: smoke\nkind: rayzer", "kind: unknown key"),
        ("preset: smoke\nmodell: {width: 8}", 'modell: unknown key; did you mean "model"?'),
        ("preset: smoke\nmodel: {widht: 8}", 'did you mean "model.width"?'),
        ("preset: smoke\nmodel: {5: 8}", "model.5: unknown key"),
        ("preset: smoke\nmodel:\n", "model: expected keys and values, got None"),
        ("preset: smoke\nmodel: {width: wide}", "model.width = 'wide'"),
        ("preset: smoke\nmodel: {width: 60}", "model.width = 60 is not a multiple"),
        ('preset: smoke\nmodel: {width: "${foo}"}', "foo"),
        ("1: 2", "1: unknown key"),
        ("hello", "hello: unknown key"),
    ],
)
def test_wrong_yaml_is_refused_with_its_name(yaml, text, named):
    path = yaml(text)
    assert path in message(path)
    assert named in message(path)


def test_a_file_that_may_not_be_read(yaml, monkeypatch):
    path = yaml("preset: smoke")
    monkeypatch.setattr("rayzer.configs.config.OmegaConf.load", lambda p: (_ for _ in ()).throw(PermissionError("no")))
    assert path in message(path)


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_config("smoke").training.steps = 3

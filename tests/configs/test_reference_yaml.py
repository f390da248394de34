"""The reference implementation's YAML files."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rayzer import InputError, LVSMConfig, RayZerConfig
from rayzer.configs import load_config
from rayzer.data.view_sampling import ViewConfig
from rayzer.training.recipe import DataConfig, LogConfig, LossConfig, OptimizerConfig, TrainingConfig

RECORDINGS = Path(__file__).parents[1] / "recordings"
ABSENT = "absent"


@pytest.fixture
def altered(tmp_path):
    """Writes a recorded YAML file with some dotted keys changed, or taken out where the value is ABSENT."""

    def write(changes, name="rayzer_tiny"):
        content = OmegaConf.to_container(OmegaConf.load(RECORDINGS / f"{name}.yaml"))
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = content
            for parent in parents:
                section = section.setdefault(parent, {})
            if value is ABSENT:
                section.pop(last)
            else:
                section[last] = value
        OmegaConf.save(OmegaConf.create(content), tmp_path / "altered.yaml")
        return str(tmp_path / "altered.yaml")

    return write


def message(*args):
    with pytest.raises(InputError) as error:
        load_config(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


SMALL = {"patch_size": 8, "width": 64, "head_width": 16}
RECORDED = {
    "rayzer_tiny": RayZerConfig(
        **SMALL,
        image_height=32,
        image_width=32,
        context_views=4,
        target_views=2,
        camera_layers=1,
        scene_layers=2,
        renderer_layers=3,
        scene_tokens=32,
        position_code="reference",
    ),
    "rayzer_options": RayZerConfig(
        **SMALL,
        image_height=24,
        image_width=40,
        context_views=3,
        target_views=2,
        camera_layers=2,
        scene_layers=1,
        renderer_layers=1,
        scene_tokens=32,
        canonical="first",
        rotation="quaternion",
        qk_norm=False,
        position_code="reference",
    ),
    "lvsm_encdec_tiny": LVSMConfig(
        **SMALL,
        image_height=32,
        image_width=32,
        context_views=4,
        target_views=2,
        encoder_layers=2,
        renderer_layers=2,
        scene_tokens=32,
    ),
    "lvsm_deconly_tiny": LVSMConfig(
        **SMALL,
        image_height=32,
        image_width=32,
        context_views=2,
        target_views=3,
        encoder=False,
        renderer_layers=3,
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_models(name):
    assert load_config(str(RECORDINGS / f"{name}.yaml")).model == RECORDED[name]


def test_recorded_training():
    assert load_config(str(RECORDINGS / "rayzer_tiny.yaml")).training == TrainingConfig(
        steps=100_000,
        output_dir="./experiments/checkpoints/rayzer_dl3dv",
        checkpoint_every=2000,
        bf16=True,
        optimizer=OptimizerConfig(
            learning_rate=4e-4,
            final_learning_rate=0,
            warmup_steps=3000,
            betas=(0.9, 0.95),
            weight_decay=0.05,
            clip_norm=1,
            skip_norm=2,
            skip_after=100,
        ),
        loss=LossConfig(mse=1, perceptual=0, lpips=0),
        views=ViewConfig((48, 64), (64, 96), 30_000),
        batch_size=8,
        samples_at_once=8,
        data=DataConfig(scenes="./data/dl3dv10k_train.txt", workers=4, square_crop=True),
        log=LogConfig(pictures_every=1000, wandb_project="rayzer", wandb_key_file="./configs/api_keys.yaml"),
    )


def test_the_batch_is_that_of_all_processes(altered, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    training = load_config(altered({"training.grad_accum_steps": 2})).training
    assert (training.batch_size, training.samples_at_once) == (64, 8)


def test_crop_and_targets_as_the_file_says(altered):
    training = load_config(altered({"training.square_crop": False, "training.target_has_input": True})).training
    assert not training.data.square_crop
    assert training.views.target_has_input


def test_recorded_training_of_lvsm():
    training = load_config(str(RECORDINGS / "lvsm_encdec_tiny.yaml")).training
    assert training.optimizer.skip_norm == 5
    assert training.optimizer.skip_after == -1
    assert training.views == ViewConfig((64, 96), (64, 96), 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model.pose_latent.canonical": ABSENT}, {"canonical": "first"}),
        ({"model.pose_latent.representation": ABSENT}, {"rotation": "6d"}),
        ({"model.pose_latent.length": ABSENT}, {"rotation": "6d"}),
        ({"model.transformer.use_qk_norm": ABSENT}, {"qk_norm": False}),
        ({"model.input_with_pe": False}, {"position_code": "none"}),
        ({"model.transformer.special_init": False}, {"block_init": "plain"}),
        ({"model.transformer.special_init": ABSENT}, {"block_init": "plain"}),
        ({"model.transformer.depth_init": False}, {"block_init": "stack"}),
        ({"model.transformer.depth_init": ABSENT}, {"block_init": "stack"}),
        ({"model.target_image.height": 64, "model.target_image.width": 48}, {"image_height": 64, "image_width": 48}),
    ],
    ids=str,
)
def test_keys_that_say_something_by_being_absent(altered, changes, expected):
    model = load_config(altered(changes)).model
    assert {name: getattr(model, name) for name in expected} == expected


def test_training_keys_that_are_absent(altered):
    absent = ["allowed_gradnorm_factor", "no_pass_steps", "lr", "warmup", "weight_decay", "beta1", "beta2"]
    training = load_config(altered({f"training.{key}": ABSENT for key in absent})).training
    assert training.optimizer == OptimizerConfig(skip_norm=5.0, skip_after=-1)
    factor = load_config(altered({"training.grad_clip_norm": 0.5, "training.allowed_gradnorm_factor": 3}))
    assert (factor.training.optimizer.clip_norm, factor.training.optimizer.skip_norm) == (0.5, 1.5)


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"model.class_name": "model.nerf.NeRF"}, "model.class_name", "model.nerf.NeRF"),
        ({"model.class_name": ["model.rayzer.RayZer"]}, "model.class_name", "['model.rayzer.RayZer']"),
        ({"model.pose_latent.length": 2}, "model.pose_latent.length", "2"),
        ({"model.pose_latent.length": True}, "model.pose_latent.length", "True"),
        ({"model.pose_latent.canonical": "last"}, "model.pose_latent.canonical", "last"),
        ({"model.pose_latent.canonical": {"x": 1}}, "model.pose_latent.canonical", "must be one value"),
        ({"model.pose_latent": 3}, "model.pose_latent", "3"),
        ({"training": "fast"}, "training", "fast"),
        ({"model.pose_latent.representation": "euler"}, "model.pose_latent.representation", "euler"),
        ({"model.target_image.patch_size": 16}, "model.target_image.patch_size", "16"),
        ({"model.image_tokenizer.in_channels": 4}, "model.image_tokenizer.in_channels", "4"),
        ({"model.target_image.in_channels": 9}, "model.target_image.in_channels", "9"),
        ({"model.input_with_pe": "yes please"}, "model.input_with_pe", "yes please"),
        ({"model.transformer.use_qk_norm": "maybe"}, "model.transformer.use_qk_norm", "maybe"),
        ({"model.transformer.d": "wide"}, "model.transformer.d", "wide"),
        ({"model.transformer.d": True}, "model.transformer.d", "True"),
        ({"model.transformer.d": 60}, "model.width", "60"),
        ({"model.transformer.encoder_geom_n_layer": 0}, "model.scene_layers", "0"),
        ({"training.lr": "fast"}, "training.lr", "fast"),
        ({"training.lr": -1}, "training.optimizer.learning_rate", "-1"),
        ({"training.amp_dtype": "fp8"}, "training.amp_dtype", "fp8"),
        ({"training.view_selector.type": "all"}, "training.view_selector.type", "all"),
    ],
    ids=str,
)
def test_values_that_are_not_understood_are_refused(altered, changes, key, value):
    path = altered(changes)
    text = message(path)
    assert path in text
    assert key in text
    assert value in text
    assert text.count(path) == 1


@pytest.mark.parametrize(
    "key",
    ["model.transformer.d", "model.transformer.decoder_n_layer", "model.scene_latent.length", "model.image_tokenizer"],
)
def test_keys_that_must_be_there(altered, key):
    text = message(altered({key: ABSENT}))
    assert key in text
    assert "is missing" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"model.target_pose_tokenizer.image_size": 64},
        {"model.target_pose_tokenizer.patch_size": 16},
        {"model.image_tokenizer.in_channels": 3},
        {"model.target_pose_tokenizer.in_channels": 9},
    ],
    ids=str,
)
def test_values_of_lvsm_that_are_not_understood(altered, changes):
    (key,) = changes
    for name in ("lvsm_encdec_tiny", "lvsm_deconly_tiny"):
        assert key in message(altered(changes, name))


def test_keys_without_a_meaning_are_listed_in_one_line(altered, caplog):
    with caplog.at_level("INFO", "rayzer"):
        path = altered({"training.my_key": 5, "other": {"a": {"b": 1}}})
        load_config(path)
    (record,) = caplog.records
    assert path in record.message
    unused = record.message.split(": ", 2)[-1].split(", ")
    assert {"training.my_key", "other.a.b", "training.wandb_exp_name"} <= set(unused)
    known = {"training.lr", "model.transformer.d", "training.view_selector.curriculum_iter", "training.use_amp"}
    assert not known & set(unused)
    assert "\n" not in record.message


@pytest.mark.parametrize(
    ("words", "check"),
    [
        (["model.transformer.d", "=", "32"], lambda c: c.model.width == 32),
        (["model.width=32"], lambda c: c.model.width == 32),
        (["model.transformer.d=128", "model.width=32"], lambda c: c.model.width == 32),
        (["training.train_steps = 5"], lambda c: c.training.steps == 5),
        (["training.steps", "=5"], lambda c: c.training.steps == 5),
        (["training.lr=0.5"], lambda c: c.training.optimizer.learning_rate == 0.5),
        (["training.optimizer.learning_rate=0.5"], lambda c: c.training.optimizer.learning_rate == 0.5),
        (["training.grad_clip_norm=2"], lambda c: c.training.optimizer.skip_norm == 4),
        (["training.checkpoint_dir=out"], lambda c: c.training.output_dir == "out"),
        (["training.view_selector.use_curriculum=false"], lambda c: c.training.views.curriculum_steps == 0),
        (["inference.if_inference = true", "wandb=off"], lambda c: c.model == RECORDED["rayzer_tiny"]),
        (["training.no_pass_steps=-1"], lambda c: c.training.optimizer.skip_after == -1),
    ],
)
def test_overrides_in_either_language(words, check):
    assert check(load_config(str(RECORDINGS / "rayzer_tiny.yaml"), words))


def test_wrong_overrides_of_reference_files():
    path = str(RECORDINGS / "rayzer_tiny.yaml")
    assert "model.pose_latent.length = 3" in message(path, ["model.pose_latent.length=3"])
    assert "model = 3" in message(path, ["model=3"])
    assert "model.width = 60" in message(path, ["model.width=60"])


def test_precision(altered):
    assert load_config(altered({"training.use_amp": False})).training.bf16 is False
    assert load_config(altered({"training.amp_dtype": "fp32"})).training.bf16 is False
    assert load_config(altered({"training.amp_dtype": ABSENT})).training.bf16 is True


def test_a_file_without_a_class_name_is_told_so(tmp_path):
    path = tmp_path / "reference.yaml"
    path.write_text("model:\n  transformer:\n    d: 64\ninference:\n  if_inference: false\n")
    with pytest.raises(InputError, match=r"model\.class_name"):
        load_config(str(path))


@pytest.mark.parametrize("key", ["square_crop", "target_has_input"])
def test_switches_must_be_switches(tmp_path, key):
    path = tmp_path / "reference.yaml"
    path.write_text((RECORDINGS / "rayzer_tiny.yaml").read_text().replace(f"{key}: ", f"{key}: maybe # "))
    with pytest.raises(InputError, match=rf"training\.{key}"):
        load_config(str(path))


def test_empty_file(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("")
    with pytest.raises(InputError, match=r"empty\.yaml: expected keys and values"):
        load_config(str(path))

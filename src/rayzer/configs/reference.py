"""The reference implementation's YAML, translated: the only file that knows its keys."""

from __future__ import annotations

import os
from typing import Any

from rayzer.configs.presets import Config
from rayzer.data.view_sampling import ViewConfig
from rayzer.errors import InputError
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.rayzer import RayZerConfig
from rayzer.training.recipe import DataConfig, LogConfig, LossConfig, OptimizerConfig, TrainingConfig

RAYZER = "model.rayzer.RayZer"
ENCODER_DECODER = "model.LVSM_scene_encoder_decoder.Images2LatentScene"
DECODER_ONLY = "model.LVSM_scene_decoder_only.Images2LatentScene"


class Reader:
    """Takes values out of a nested mapping by dotted key, checks them, and remembers which were asked for."""

    def __init__(self, content: dict[str, Any]):
        self.values, self.asked = dict(_flat(content)), set[str]()

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """The value of `key`, or the default; an error if it is missing without default or of another type."""
        value = self._value(key, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            problem = "is missing" if value is None else f"must be {kind.__name__}, got {value!r}"
            raise InputError(f"{key} {problem}")
        return value

    def choose(self, key: str, choices: dict[Any, Any], default: Any) -> Any:
        """What the value of `key` means, or an error that names key, value and what is understood."""
        value = self._value(key, default)
        known = [choice for choice in choices if choice == value and type(choice) is type(value)]
        if not known:
            understood = ", ".join(str(choice) for choice in choices)
            raise InputError(f"{key} = {value!r} is not supported; understood: {understood}")
        return choices[known[0]]

    def _value(self, key: str, default: Any) -> Any:
        self.asked.add(key)
        if any(other.startswith(key + ".") for other in self.values):
            raise InputError(f"{key} must be one value, got keys and values")
        section, _, last = key.rpartition(".")
        while section:
            if self.values.get(section) is not None:
                raise InputError(f"{section} = {self.values[section]!r}: expected keys and values, with {last} in it")
            section = section.rpartition(".")[0]
        return self.values.get(key, default)

    def unused(self) -> list[str]:
        """Keys that were never asked for."""
        return sorted(key for key in self.values if key not in self.asked)


def is_reference(content: dict[str, Any]) -> bool:
    """Whether a YAML file's content is the reference implementation's."""
    model = content.get("model")
    return "inference" in content or (isinstance(model, dict) and ("class_name" in model or "transformer" in model))


def translate(content: dict[str, Any], where: str) -> tuple[Config, list[str]]:
    """Our configuration for a reference file's content, and the keys that have no meaning for us."""
    reader = Reader(content)
    kinds = {name: name for name in (RAYZER, ENCODER_DECODER, DECODER_ONLY)}
    try:
        kind = reader.choose("model.class_name", kinds, None)
        model = _rayzer(reader) if kind == RAYZER else _lvsm(reader, kind == ENCODER_DECODER)
        return Config(model, _training(reader)), reader.unused()
    except InputError as error:  # of the reader, or of the configuration that it gives
        raise InputError(f"{where}: {error}") from None


def _rayzer(reader: Reader) -> RayZerConfig:
    reader.choose("model.pose_latent.length", {1: 1}, 1)
    reader.choose("model.image_tokenizer.in_channels", {3: 3}, 3)
    reader.choose("model.target_image.in_channels", {6: 6}, 6)
    size = reader.get("model.image_tokenizer.image_size", int, 256)
    coded = reader.choose("model.input_with_pe", {True: "reference", False: "none"}, True)
    return RayZerConfig(
        image_height=reader.get("model.target_image.height", int, size),
        image_width=reader.get("model.target_image.width", int, size),
        patch_size=_patch_size(reader, "model.target_image.patch_size"),
        camera_layers=reader.get("model.transformer.encoder_n_layer", int),
        scene_layers=reader.get("model.transformer.encoder_geom_n_layer", int),
        renderer_layers=reader.get("model.transformer.decoder_n_layer", int),
        scene_tokens=reader.get("model.scene_latent.length", int),
        canonical=reader.choose("model.pose_latent.canonical", {"middle": "middle", "first": "first"}, "first"),
        rotation=reader.choose("model.pose_latent.representation", {"6d": "6d", "quat": "quaternion"}, "6d"),
        position_code=coded,
        **_common(reader),
    )


def _lvsm(reader: Reader, encoder: bool) -> LVSMConfig:
    reader.choose("model.image_tokenizer.in_channels", {9: 9}, 9)
    reader.choose("model.target_pose_tokenizer.in_channels", {6: 6}, 6)
    size = reader.get("model.image_tokenizer.image_size", int, 256)
    reader.choose("model.target_pose_tokenizer.image_size", {size: size}, size)
    layers = {}
    if encoder:
        layers["encoder_layers"] = reader.get("model.transformer.encoder_n_layer", int)
        layers["scene_tokens"] = reader.get("model.transformer.n_latent_vectors", int)
    key = "decoder_n_layer" if encoder else "n_layer"
    return LVSMConfig(
        image_height=size,
        image_width=size,
        patch_size=_patch_size(reader, "model.target_pose_tokenizer.patch_size"),
        encoder=encoder,
        renderer_layers=reader.get(f"model.transformer.{key}", int),
        **layers,
        **_common(reader),
    )


def _common(reader: Reader) -> dict[str, Any]:
    """What the models share."""
    special = reader.get("model.transformer.special_init", bool, False)
    depth = reader.get("model.transformer.depth_init", bool, False)
    return {
        "width": reader.get("model.transformer.d", int),
        "head_width": reader.get("model.transformer.d_head", int),
        "qk_norm": reader.get("model.transformer.use_qk_norm", bool, False),
        "block_init": ("depth" if depth else "stack") if special else "plain",
        "context_views": reader.get("training.num_input_views", int, 16),
        "target_views": reader.get("training.num_target_views", int, 8),
    }


def _patch_size(reader: Reader, other: str) -> int:
    size = reader.get("model.image_tokenizer.patch_size", int)
    reader.choose(other, {size: size}, size)
    return size


def _training(reader: Reader) -> TrainingConfig:
    clip = reader.get("training.grad_clip_norm", float, 1.0)
    default = TrainingConfig()
    optimizer = OptimizerConfig(
        learning_rate=reader.get("training.lr", float, default.optimizer.learning_rate),
        warmup_steps=reader.get("training.warmup", int, default.optimizer.warmup_steps),
        betas=(reader.get("training.beta1", float, 0.9), reader.get("training.beta2", float, 0.95)),
        weight_decay=reader.get("training.weight_decay", float, default.optimizer.weight_decay),
        clip_norm=clip,
        skip_norm=clip * reader.get("training.allowed_gradnorm_factor", float, 5.0),
        skip_after=reader.get("training.no_pass_steps", int, -1),
    )
    loss = LossConfig(
        mse=reader.get("training.l2_loss_weight", float, 1.0),
        perceptual=reader.get("training.perceptual_loss_weight", float, 0.0),
        lpips=reader.get("training.lpips_loss_weight", float, 0.0),
    )
    at_once = reader.get("training.batch_size_per_gpu", int, default.samples_at_once)
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # the reference's batch grows with them
    return TrainingConfig(
        steps=reader.get("training.train_steps", int, default.steps),
        output_dir=reader.get("training.checkpoint_dir", str, default.output_dir),
        checkpoint_every=reader.get("training.checkpoint_every", int, default.checkpoint_every),
        batch_size=at_once * reader.get("training.grad_accum_steps", int, 1) * processes,
        samples_at_once=at_once,
        bf16=reader.get("training.use_amp", bool, True)
        and reader.choose("training.amp_dtype", {"bf16": True, "fp32": False}, "bf16"),
        optimizer=optimizer,
        loss=loss,
        views=_views(reader),
        data=DataConfig(
            scenes=reader.get("training.dataset_path", str, ""),
            workers=reader.get("training.num_workers", int, default.data.workers),
            square_crop=reader.get("training.square_crop", bool, False),
        ),
        log=LogConfig(
            pictures_every=reader.get("training.vis_every", int, default.log.pictures_every),
            wandb_project=reader.get("training.wandb_project", str, default.log.wandb_project),
            wandb_key_file=reader.get("training.api_key_path", str, ""),
        ),
    )


def _views(reader: Reader) -> ViewConfig:
    selector = "training.view_selector."
    reader.choose(selector + "type", {"two_frame": "two_frame"}, "two_frame")
    end = (
        reader.get(selector + "min_frame_dist", int, 64),
        reader.get(selector + "max_frame_dist", int, 96),
    )
    has_input = reader.get("training.target_has_input", bool, False)
    if not reader.get(selector + "use_curriculum", bool, False):
        return ViewConfig(start_distance=end, end_distance=end, curriculum_steps=0, target_has_input=has_input)
    start = (
        reader.get(selector + "curriculum_start_min_frame_dist", int),
        reader.get(selector + "curriculum_start_max_frame_dist", int),
    )
    steps = reader.get(selector + "curriculum_iter", int)
    return ViewConfig(start, end, steps, target_has_input=has_input)


def _flat(content: dict[str, Any], prefix: str = ""):
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

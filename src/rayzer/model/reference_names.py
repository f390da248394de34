"""The table of parameter names: ours <-> those in checkpoints of the reference implementations.

Both ways, strict: every name of one side has exactly one on the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from rayzer.model.lvsm import LVSM
from rayzer.model.rayzer import RayZer

RAYZER = {
    "image_embedding": "image_tokenizer.1",
    "position_mlp": "pe_embedder",
    "camera_estimator.camera_token": "cam_code",
    "camera_estimator.index_mlp": "temporal_pe_embedder",
    "camera_estimator.transformer.blocks": "transformer_encoder",
    "camera_estimator.head.relative_pose": "pose_predictor.rel_head",
    "camera_estimator.head.focal": "pose_predictor.canonical_k_head",
    "ray_embedding": "target_pose_tokenizer.1",  # the reference's "target": these are the *context* rays
    "fusion": "mlp_fuse",
    "scene_encoder.scene_tokens": "scene_code",
    "scene_encoder.transformer.blocks": "transformer_encoder_geom",
    "renderer.ray_embedding": "target_pose_tokenizer2.1",
    "renderer.norm": "decoder_ln",
    "renderer.transformer.blocks": "transformer_decoder",
    "renderer.to_pixels": "image_token_decoder",
}
LVSM_ENCODER_DECODER = {
    "context_embedding": "image_tokenizer.1",
    "scene_encoder.scene_tokens": "n_light_field_latent",
    "scene_encoder.transformer.blocks": "transformer_encoder",
    "renderer.ray_embedding": "target_pose_tokenizer.1",
    "renderer.norm": "transformer_input_layernorm_decoder",
    "renderer.transformer.blocks": "transformer_decoder",
    "renderer.to_pixels": "image_token_decoder",
}
LVSM_DECODER_ONLY = {
    "context_embedding": "image_tokenizer.1",
    "renderer.ray_embedding": "target_pose_tokenizer.1",
    "renderer.norm": "transformer_input_layernorm",
    "renderer.transformer.blocks": "transformer_blocks",
    "renderer.to_pixels": "image_token_decoder",
}
BLOCK = {
    "norm1": "norm1",
    "attention.to_qkv": "attn.to_qkv",
    "attention.q_norm": "attn.q_norm",
    "attention.k_norm": "attn.k_norm",
    "attention.out": "attn.fc",
    "norm2": "norm2",
    "mlp": "mlp.mlp",
}
IGNORED_PREFIX = "loss_computer."  # frozen weights of the training loss, not of the model


def reference_name_of(name: str, model: nn.Module) -> str:
    """The reference's name of one of our parameters, e.g. "fusion.1.bias" -> "mlp_fuse.1.bias"."""
    table = _table(model)
    part = max((part for part in table if name == part or name.startswith(part + ".")), key=len)
    rest = name[len(part) :]
    if part.endswith(".blocks"):
        layer, inner = rest[1:].split(".", 1)
        module = max((module for module in BLOCK if inner.startswith(module + ".")), key=len)
        rest = f".{layer}.{BLOCK[module]}{inner[len(module) :]}"
    return table[part] + rest


def to_reference(model: nn.Module) -> dict[str, Tensor]:
    """The model's state dict under the reference's names."""
    return {reference_name_of(name, model): value for name, value in model.state_dict().items()}


def from_reference(state: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """A reference state dict under our names, and the names of what is not part of the model.

    A `module.` prefix is dropped. Names that are unknown, or there a second time, stay under a name that a strict
    load refuses; so do our own names, which no reference file has.
    """
    ours = {reference_name_of(name, model): name for name in model.state_dict()}
    renamed, ignored = {}, []
    for full_name, value in state.items():
        name = full_name.removeprefix("module.")
        if name.startswith(IGNORED_PREFIX):
            ignored.append(name)
        elif name in ours and ours[name] not in renamed:
            renamed[ours[name]] = value
        else:
            renamed[f"{full_name} in the file"] = value
    return renamed, ignored


def _table(model: nn.Module) -> dict[str, str]:
    if isinstance(model, RayZer):
        return RAYZER
    if isinstance(model, LVSM):
        return LVSM_ENCODER_DECODER if model.config.encoder else LVSM_DECODER_ONLY
    raise TypeError(f"{type(model).__name__} has no counterpart among the reference models")

"""Presets: each docstring is a contract (what it is, what it needs, what it should give)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rayzer.data.view_sampling import ViewConfig
from rayzer.model.anyview import AnyViewConfig
from rayzer.model.lvsm import LVSMConfig
from rayzer.model.rayzer import RayZerConfig
from rayzer.training.recipe import (
    CameraConfig,
    DataConfig,
    LogConfig,
    LossConfig,
    OptimizerConfig,
    TrainingConfig,
    ValidationConfig,
)


@dataclass(frozen=True)
class Config:
    """A model and how to train it."""

    model: RayZerConfig | AnyViewConfig | LVSMConfig
    training: TrainingConfig


def rayzer_dl3dv() -> Config:
    """The released recipe: 8/12/12 layers, 16 + 8 views of 256x256 from DL3DV, 100k steps of batch 256.

    Hardware: 32 GPUs of 80 GB. Published for its weights (even / random targets): 25.59 / 25.47 dB PSNR.
    """
    return Config(RayZerConfig(), TrainingConfig(output_dir="runs/rayzer_dl3dv", recompute="selective"))


def rayzer_paper() -> Config:
    """The paper's model: 8/8/8 layers, 50k steps, learning rate down to 1.5e-4.

    Published (even / random targets): 24.36 / 23.72 dB PSNR on DL3DV.
    """
    base = rayzer_dl3dv()
    optimizer = replace(base.training.optimizer, final_learning_rate=1.5e-4)
    return Config(
        replace(base.model, scene_layers=8, renderer_layers=8),
        replace(base.training, steps=50_000, output_dir="runs/rayzer_paper", optimizer=optimizer),
    )


def rayzer_re10k() -> Config:
    """RealEstate10K: 5 + 5 views, frame distances 96-128 growing to 128-192; otherwise as `rayzer_dl3dv`."""
    base = rayzer_dl3dv()
    views = ViewConfig(start_distance=(96, 128), end_distance=(128, 192))
    return Config(
        replace(base.model, context_views=5, target_views=5),
        replace(base.training, output_dir="runs/rayzer_re10k", views=views),
    )


def lvsm_encoder_decoder() -> Config:
    """LVSM with a latent scene and known cameras, on the same views as `rayzer_dl3dv`."""
    return Config(LVSMConfig(), _lvsm_training("runs/lvsm_encoder_decoder"))


def lvsm_decoder_only() -> Config:
    """LVSM whose 24-layer renderer reads the context tokens themselves, with known cameras."""
    return Config(LVSMConfig(encoder=False, renderer_layers=24), _lvsm_training("runs/lvsm_decoder_only"))


def anyview_dl3dv() -> Config:
    """AnyViewRayZer at the size of the released RayZer: 8/12/12 layers, 256x256 pixels, 2 to 16 context views.

    Hardware: GPUs of 80 GB. Not trained to the end by us.
    """
    model = AnyViewConfig(camera_layers=8)
    base = rayzer_dl3dv().training
    training = replace(
        base,
        output_dir="runs/anyview_dl3dv",
        ema_decay=0.9995,
        views=replace(base.views, context_views=(2, 16), target_views=(8, 8)),
        optimizer=_anyview_optimizer(),
        cameras=CameraConfig(any_canonical_after=5000, colour=1.0, blurred=0.3, patch_drop=0.25),
    )
    return Config(model, training)


def anyview_rooms() -> Config:
    """AnyViewRayZer of 16.3 M parameters on procedural rooms at 128x128 pixels, anchored to true cameras and points.

    For weights that come with the package; one GPU.
    """
    model = AnyViewConfig(
        image_height=128,
        image_width=128,
        context_views=8,
        target_views=4,
        patch_size=8,
        width=256,
        camera_layers=6,
        scene_layers=6,
        renderer_layers=6,
        patch_points=True,
    )
    training = TrainingConfig(
        steps=20_000,
        output_dir="runs/anyview_rooms",
        batch_size=64,
        samples_at_once=64,
        checkpoint_every=1000,
        ema_decay=0.9995,
        recompute="none",
        data=DataConfig(rooms=1.0, workers=14),
        views=ViewConfig((12, 24), (12, 47), 4000),
        loss=LossConfig(perceptual=0.0, structural=0.05),
        optimizer=_anyview_optimizer(),
        cameras=CameraConfig(
            anchor=1.0,
            points=1.0,
            true_until=12_000,
            any_canonical_after=5000,
            colour=1.0,
            blurred=0.15,
            patch_drop=0.1,
        ),
        validation=ValidationConfig(every=1000, samples=64),
    )
    return Config(model, training)


def _anyview_optimizer() -> OptimizerConfig:
    """Muon at a constant rate that falls over the last part; large gradients are clipped, not skipped."""
    return OptimizerConfig(kind="muon", schedule="wsd", learning_rate=1e-3, warmup_steps=300, skip_norm=1e3)


def smoke() -> Config:
    """A RayZer of 0.3 M parameters at 32x32 pixels on procedural rooms: trains on any CPU in about 15 s.

    For tests and first steps: every mechanism is in use (Muon and AdamW, moving average, accumulation, varying numbers
    of views, worker processes), quality is not the aim.
    """
    model = RayZerConfig(
        image_height=32,
        image_width=32,
        context_views=5,
        target_views=3,
        patch_size=8,
        width=64,
        head_width=16,
        camera_layers=1,
        scene_layers=1,
        renderer_layers=1,
        scene_tokens=32,
    )
    training = TrainingConfig(
        steps=24,
        output_dir="runs/smoke",
        batch_size=4,
        samples_at_once=2,
        checkpoint_every=4,
        ema_decay=0.9,
        bf16=False,
        data=DataConfig(rooms=1.0, workers=2),
        views=ViewConfig((8, 12), (12, 24), 24, context_views=(3, 5), target_views=(2, 3)),
        loss=LossConfig(perceptual=0.0, structural=0.1),
        optimizer=OptimizerConfig(kind="muon", schedule="wsd", learning_rate=1e-3, warmup_steps=4),
        validation=ValidationConfig(every=8, samples=4),
        log=LogConfig(pictures_every=12),
    )
    return Config(model, training)


def _lvsm_training(output_dir: str) -> TrainingConfig:
    """The reference's LVSM file: distances 64-96 without curriculum, looser skipping from the first step."""
    return TrainingConfig(
        output_dir=output_dir,
        recompute="selective",
        optimizer=OptimizerConfig(skip_norm=5.0, skip_after=-1),
        views=ViewConfig(start_distance=(64, 96), end_distance=(64, 96), curriculum_steps=0),
    )


PRESETS: dict[str, Callable[[], Config]] = {
    preset.__name__: preset
    for preset in (
        rayzer_dl3dv,
        rayzer_paper,
        rayzer_re10k,
        anyview_dl3dv,
        anyview_rooms,
        lvsm_encoder_decoder,
        lvsm_decoder_only,
        smoke,
    )
}

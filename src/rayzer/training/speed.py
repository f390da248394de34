"""How fast a run is: what one step took, and what that is worth."""

from __future__ import annotations

import torch

from rayzer.devices import device_name
from rayzer.model.flops import peak_flops, training_flops
from rayzer.training.distributed import World
from rayzer.training.run_folder import RunConfig
from rayzer.training.step import StepResult


class SpeedMeter:
    """Turns the duration of a step into rates.

    Args:
        config: says how many scenes a step has, and how much work each is.
        world: how many processes share it, on which device.
    """

    def __init__(self, config: RunConfig, world: World):
        self.batch_size, self.device = config.training.batch_size, world.device
        flops = training_flops(config.model, perceptual=bool(config.training.loss.perceptual))
        peak = peak_flops(device_name(world.device)) if world.device.type == "cuda" else None
        self.seconds_at_peak = None if peak is None else self.batch_size * flops / (peak * world.size)

    def of_step(self, result: StepResult, seconds: float, waited_s: float) -> dict[str, float]:
        """`step_s`, `scenes_per_s`, `data_wait_share`, on a GPU `memory_gib` (the most so far), and `mfu` if known."""
        values = {
            "step_s": seconds,
            "scenes_per_s": self.batch_size / seconds,
            "data_wait_share": waited_s / seconds,
        }
        if self.device.type == "cuda":
            values["memory_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        if self.seconds_at_peak is not None:
            values["mfu"] = self.seconds_at_peak / seconds
        return values

"""How fast a run is: what one step took, and what that is worth."""

from __future__ import annotations

import torch

from rayzer.devices import device_name
from rayzer.model.flops import peak_flops, training_flops
from rayzer.training.distributed import World
from rayzer.training.run_folder import RunConfig
from rayzer.view_split import ViewSplit


class SpeedMeter:
    """Turns the duration of a step into rates.

    Args:
        config: says how many scenes a step has, and how much work each is.
        world: how many processes share it, on which device.
    """

    def __init__(self, config: RunConfig, world: World):
        self.batch_size, self.device = config.training.batch_size, world.device
        self.model, self.loss = config.model, config.training.loss
        peak = peak_flops(device_name(world.device)) if world.device.type == "cuda" else None
        self.peak_flops = None if peak is None else peak * world.size

    def of_step(self, split: ViewSplit, seconds: float, waited_s: float) -> dict[str, float]:
        """Rates of a step whose samples are split like this.

        Returns:
            `step_s`, `scenes_per_s`, `data_wait_share`, on a GPU `memory_gib` (the most so far), and `mfu` if known.
        """
        values = {
            "step_s": seconds,
            "scenes_per_s": self.batch_size / seconds,
            "data_wait_share": waited_s / seconds,
        }
        if self.device.type == "cuda":
            values["memory_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        if self.peak_flops is not None:
            counts = split.context.shape[1], split.target.shape[1]
            kinds = {"perceptual": bool(self.loss.perceptual), "pictures": self.loss.is_of_pictures}
            flops = self.batch_size * training_flops(self.model, *counts, **kinds)
            values["mfu"] = flops / self.peak_flops / seconds
        return values

"""Which device to compute on."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rayzer.errors import InputError

KINDS = ("cuda", "mps", "cpu")


def choose_device(name: str = "auto", kinds: Sequence[str] = KINDS) -> torch.device:
    """The device that a user names, or the first kind that is there.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1", "mps".
        kinds: what the work can be done on, the fastest first.

    Raises:
        InputError: if the named device is not there, or not of these kinds.
    """
    if name == "auto":
        there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
        name = next(kind for kind in kinds if there[kind]())
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"--device {name}: not available here ({reason}); use --device cpu") from None
    if device.type not in kinds:
        raise InputError(f"--device {name}: this work is done on {' or '.join(kinds)}; choose one of them")
    return device


def device_name(device: torch.device) -> str:
    """What a user knows a device by: "NVIDIA H200", "CPU", "MPS"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()

"""Which device to compute on, and how precisely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from rayzer.errors import InputError

KINDS = ("cuda", "mps", "cpu")
Precision = Literal["auto", "float32", "bfloat16"]


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


@contextmanager
def on_one_thread() -> Iterator[None]:
    """For tensors too small to split: more threads gain little, and on busy cores waiting costs up to 5x."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Runtime:
    """Where and how precisely to compute.

    Attributes:
        device: "cpu", "cuda", "cuda:1" or "mps".
        bfloat16: whether the transformers run in bfloat16; cameras and rays are float32 always.
    """

    device: torch.device
    bfloat16: bool

    @staticmethod
    def choose(device: str = "auto", dtype: Precision = "auto") -> Runtime:
        """The fastest device there is, and bfloat16 where that is a GPU that has it.

        Raises:
            InputError: if the named device is not there.
        """
        chosen = choose_device(device)
        fast = chosen.type == "cuda" and torch.cuda.is_bf16_supported()
        return Runtime(chosen, fast if dtype == "auto" else dtype == "bfloat16")

    def autocast(self) -> AbstractContextManager:
        """The context in which to call a model."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    @property
    def views_at_once(self) -> int:
        """How many views to render together: enough to fill a GPU, few enough to show progress on a CPU."""
        return 8 if self.device.type == "cuda" else 1

    def __str__(self) -> str:
        return f"{device_name(self.device)}, {'bfloat16' if self.bfloat16 else 'float32'}"

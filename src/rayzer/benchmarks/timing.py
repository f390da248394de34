"""Timing calls on a CPU or GPU, and saying on what they were timed."""

from __future__ import annotations

import itertools
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import rayzer
from rayzer.devices import device_name
from rayzer.model.attention import chosen_kernels


@dataclass(frozen=True)
class Spread:
    """Durations of calls in milliseconds: the median, and what 5 % and 95 % of them took at most."""

    median_ms: float
    p5_ms: float
    p95_ms: float
    calls: int


def time_calls(function: Callable[[], Any], device: torch.device, calls: int, warm_up: int = 3) -> Spread:
    """Call a function again and again, and see how long each call took.

    On a GPU the marks between the calls are events in its queue, so that the host may run ahead as it does at work.
    """
    for _ in range(warm_up):
        function()
    marks = [_mark(device)]
    for _ in range(calls):
        function()
        marks.append(_mark(device))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    durations = [_milliseconds(a, b) for a, b in itertools.pairwise(marks)]
    cuts = statistics.quantiles(durations, n=20, method="inclusive") if calls > 1 else 19 * durations
    return Spread(statistics.median(durations), cuts[0], cuts[-1], calls)


def peak_memory_gib(device: torch.device) -> float | None:
    """The most memory that tensors took on a GPU since `forget_peak_memory`."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def forget_peak_memory(device: torch.device) -> None:
    """Give back what is free, and measure from now on."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def environment(device: torch.device) -> dict[str, Any]:
    """The device, the versions of everything that computes, and the attention kernels chosen so far."""
    on_gpu = device.type == "cuda"
    return {
        "device": device_name(device),
        "rayzer": rayzer.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "attention": chosen_kernels(),
        "python": platform.python_version(),
    }


def _mark(device: torch.device) -> torch.cuda.Event | float:
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _milliseconds(a: torch.cuda.Event | float, b: torch.cuda.Event | float) -> float:
    if isinstance(a, float) and isinstance(b, float):
        return 1000 * (b - a)
    return a.elapsed_time(b)  # type: ignore[union-attr]

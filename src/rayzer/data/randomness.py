"""Random numbers that are a pure function of what they are for: nothing to store, nothing to resume."""

from __future__ import annotations

import hashlib

import numpy as np


def random_stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """A generator that depends on its arguments only: not on processes, workers or what was drawn before.

    Args:
        seed: of the whole run, at least 0.
        purpose: what is drawn, so that two uses of one key are independent; a scene's name may be part of it.
        key: numbers of at least 0, such as step and slot; always as many for one purpose.
    """
    name = int.from_bytes(hashlib.sha256(purpose.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return np.random.default_rng([seed, name, *key])

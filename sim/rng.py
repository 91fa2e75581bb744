"""Random streams keyed by what they are for, so that order, parallelism and resumption change nothing."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(purpose: str, *key: int) -> np.random.Generator:
    """A generator that depends only on `purpose` and the non-negative integers `key`.

    Source: NumPy's `SeedSequence`, whose spawn keys give independent streams.
    """
    entropy = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:16], "big")
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))

"""Cells of an experiment: each is one network trained or linearised, computed once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from sim.records import Cache

Spec = TypeVar("Spec")

# The code a cell's numbers depend on, beside what the cache's own key covers.
COMPUTING = [
    "batchnorm.py",
    "data.py",
    "kernel_regime.py",
    "models.py",
    "ntk.py",
    "train.py",
    "probes/displacement.py",
    "experiments/fine_tuned.py",
    "experiments/linearised.py",
]


@lru_cache(maxsize=1)
def code_hash() -> str:
    """SHA-256 over this package's computing source, and torch's version."""
    digest = hashlib.sha256(torch.__version__.encode())
    root = Path(__file__).resolve().parent.parent
    for name in COMPUTING:
        digest.update(name.encode())
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def cells(
    specs: Sequence[Spec],
    compute: Callable[[Spec, str, Callable[[int], Any]], dict[str, Any]],
    cache: Cache,
    label: str,
    *,
    work: Callable[[Spec], int],
    unit: str,
    device: str,
    data: str,
) -> Iterator[dict[str, Any]]:
    """The result of each spec, in order, from the cache or computed now and kept; with a progress bar on a terminal.

    Parameters
    ----------
    compute : callable
        `(spec, key, progress) -> result`; `key` names the cell, `progress` takes units of work done.
    work : callable
        Units of work in a spec.
    data : str
        Hash of the data that all the specs draw from.
    """
    with tqdm(total=sum(map(work, specs)), desc=label, unit=unit, disable=None, leave=False) as bar:
        for spec in specs:
            key = cache.key({"cell": label, **asdict(spec), "device": device, "data": data, "code": code_hash()})  # type: ignore[call-overload]
            done = bar.n
            result = cache.get(key)
            if result is None:
                result = compute(spec, key, bar.update)
                cache.put(key, result)
            bar.update(done + work(spec) - bar.n)
            yield result

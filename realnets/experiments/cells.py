"""Cells of an experiment: each is one network trained or linearised, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from sim.records import Cache

Spec = TypeVar("Spec")


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
            about = {"cell": label, **asdict(spec), "device": device, "data": data, "torch": torch.__version__}  # type: ignore[call-overload]
            key = cache.key(about, compute.__module__)
            done = bar.n
            result = cache.get(key)
            if result is None:
                result = compute(spec, key, bar.update)
                cache.put(key, result)
            bar.update(done + work(spec) - bar.n)
            yield result

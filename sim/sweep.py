"""Many independent computations of one kind, each kept as it is finished, so that a killed sweep goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from tqdm import tqdm

from sim.records import Cache


def sweep(
    function: Callable[[Any], dict[str, Any]],
    items: Sequence[Any],
    cache: Cache,
    label: str,
    *,
    weight: Callable[[Any], float] | None = None,
    depends: Callable[[Any], Any] | None = None,
) -> list[dict[str, Any]]:
    """`function` of each item, in order: from the cache, or computed now and kept; with a progress bar on a terminal.

    Parameters
    ----------
    function : callable
        At the top level of a module; returns a JSON-ready dictionary that depends on the item alone.
    items : sequence of frozen dataclasses with JSON-ready fields
    cache : Cache
    label : str
        Of the progress bar.
    weight : callable, optional
        Relative time that an item takes, for the time left; 1 each by default.
    depends : callable, optional
        What else an item's result depends on, JSON-ready: a hash of data that it only names.

    Returns
    -------
    list of dict, each with the `"seconds"` that its computation took.
    """
    results = []
    # disable=None: the bar vanishes where there is no terminal.
    with tqdm(total=sum(weight(i) if weight else 1 for i in items), desc=label, disable=None, leave=False) as bar:
        for item in items:
            settings = {"item": asdict(item), "depends": depends(item) if depends else None, "function": function.__qualname__}
            results.append(cache.computed(settings, function.__module__, partial(function, item)))
            bar.update(weight(item) if weight else 1)
    return results

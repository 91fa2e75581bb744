"""Many independent computations of one kind, each kept as it is finished, so that a killed sweep goes on where it stopped.

Where they run is the ambient `sim.execution`; results do not depend on it. This process alone writes to the cache.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from sim import processes
from sim.backend import resolve_backend
from sim.code import code_hash
from sim.execution import current, usage
from sim.records import Cache
from sim.work import Task

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


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
        Relative time that an item takes, for the time left and the order of work; 1 each by default.
    depends : callable, optional
        What else an item's result depends on, JSON-ready: a hash of data that it only names.

    Returns
    -------
    list of dict, each with the `"seconds"` that its computation took.

    Raises
    ------
    ChildProcessError
        If an item ends the process that computes it, even alone: most likely for want of memory.
    """
    backend = resolve_backend("auto")

    def key_of(item: Any) -> str:
        settings = {"item": asdict(item), "depends": depends(item) if depends else None, "function": function.__qualname__}
        # Another library rounds otherwise.
        other = {} if backend.name == "numpy" else {"backend": backend.name}
        return cache.key({**settings, **other}, function.__module__)

    keys = [key_of(item) for item in items]
    weights = [max(float(weight(i)), 1e-9) if weight else 1.0 for i in items]
    found = {key: cache.get(key) for key in dict.fromkeys(keys)}
    # Equal items are computed once.
    shares: dict[str, float] = dict.fromkeys(keys, 0.0)
    for key, share in zip(keys, weights, strict=True):
        shares[key] += share
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    missing = [index for index, key in enumerate(keys) if found[key] is None and first[key] == index]
    code = code_hash(function.__module__)
    tasks = [Task(index, function, items[index], weights[index], code, backend.name) for index in missing]
    taken = usage()
    taken.cached += len(found) - len(tasks)
    here = current()
    known = sum(share for key, share in shares.items() if found[key] is not None)
    # disable=None: the bar vanishes where there is no terminal. smoothing=0: parts that run at once arrive in bursts.
    with tqdm(total=sum(weights), initial=known, desc=label, disable=None, leave=False, smoothing=0, bar_format=_BAR) as bar:
        if here.cluster:
            answers = here.cluster.run(tasks, bar.refresh)
        else:
            # Workers would share one GPU and each hold memory of it.
            answers = processes.run(tasks, here.jobs, bar.refresh, processes_allowed=backend.describe() == "cpu")
        with closing(answers):
            for done, answer in enumerate(answers, start=len(found) - len(tasks) + 1):
                key = keys[answer.index]
                found[key] = result = {**json.loads(answer.text), "seconds": answer.seconds}
                cache.put(key, result)
                taken.add(answer.process, answer.memory)
                bar.set_postfix_str(f" {done} of {len(found)}", refresh=False)
                bar.update(shares[key])
    return [dict(found[key] or {}) for key in keys]

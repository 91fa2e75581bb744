"""How many threads to use: never more than the caller's own limit, and one BLAS thread in each where there are several."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from threadpoolctl import ThreadpoolController, threadpool_limits

_lock = threading.Lock()
_held: dict[str, Any] = {"users": 0, "limit": None}
_most: ContextVar[int | None] = ContextVar("most threads", default=None)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_threads() -> int:
    """Threads to start: what `at_most_threads` allows, else one a core, or the ambient limit on BLAS threads where that is lower.

    `OMP_NUM_THREADS`, `threadpool_limits` and joblib's workers all set that limit; a thread of `workers` sees 1.
    """
    most = _most.get()
    if most is not None:
        return min(most, cores())
    limits = [library["num_threads"] for library in ThreadpoolController().info() if library["user_api"] == "blas"]
    return max(1, min([cores(), *limits]))


@contextmanager
def at_most_threads(count: int) -> Iterator[None]:
    """`available_threads` inside is at most `count`, and no longer depends on BLAS."""
    outer = _most.get()
    token = _most.set(count if outer is None else min(count, outer))
    try:
        yield
    finally:
        _most.reset(token)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """One BLAS thread while anybody is inside: the limit belongs to the process, so the last one to leave lifts it."""
    with _lock:
        if _held["users"] == 0:
            _held["limit"] = threadpool_limits(1, user_api="blas")
        _held["users"] += 1
    try:
        yield
    finally:
        with _lock:
            _held["users"] -= 1
            if _held["users"] == 0:
                _held["limit"].restore_original_limits()


@contextmanager
def workers(threads: int | None = None) -> Iterator[Callable[..., Any]]:
    """An ordered `map` over `threads` threads, each with one BLAS thread; `None` takes what `available_threads` says.

    With one thread it is the built-in `map`.
    """
    count = available_threads() if threads is None else threads
    with one_blas_thread():
        if count == 1:
            yield map
            return
        with ThreadPoolExecutor(count) as pool:
            yield pool.map

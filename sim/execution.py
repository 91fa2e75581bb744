"""Where the parts of experiments are computed: on how many cores of this machine, or on a cluster; and what that took.

Ambient, so that an experiment says what is to be computed and never where.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from sim.memory import peak_memory, restart_peak
from theory.errors import InvalidInput
from theory.threads import cores

if TYPE_CHECKING:
    from sim.cluster import Cluster


PER_CORE = 4
"""Most jobs for each core: more would only fill the memory."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where sweeps run.

    Parameters
    ----------
    jobs : int ≥ 1
        Cores of this machine to use: the most worker processes at once.
    cluster : Cluster, optional
        Where to send everything instead.
    """

    jobs: int
    cluster: Cluster | None = None


@dataclass
class Usage:
    """What the sweeps inside `measured` took.

    Attributes
    ----------
    computed, cached : int
        Parts computed now, and parts that an earlier run had left in the cache.
    workers : dict
        Largest resident set, in bytes, of each process that computed parts, besides this one.
    wall_seconds : float
    own_memory : int
        Largest resident set of this process, in bytes.
    """

    computed: int = 0
    cached: int = 0
    workers: dict[str, int] = field(default_factory=dict)
    wall_seconds: float = 0.0
    own_memory: int = 0

    def add(self, process: str, memory: int) -> None:
        """One more part, computed by `process`."""
        self.computed += 1
        if process != this_process():
            self.workers[process] = max(memory, self.workers.get(process, 0))

    def at_once(self) -> int:
        """How many workers computed at once: one that was lost, and whoever replaced it, count once."""
        here = current()
        return len(self.workers) if here.cluster else min(len(self.workers), here.jobs)

    def peak_memory(self) -> int:
        """Bytes that all processes held together at most: the sum of each one's own peak."""
        return self.own_memory + sum(sorted(self.workers.values(), reverse=True)[: self.at_once()])


_current: ContextVar[Execution | None] = ContextVar("execution", default=None)
_usage: ContextVar[Usage | None] = ContextVar("usage", default=None)


def current() -> Execution:
    """The execution in force; all cores of this machine by default."""
    return _current.get() or Execution(jobs=cores())


def this_process() -> str:
    """A name that no other process has."""
    return f"{platform.node()}:{os.getpid()}"


def usage() -> Usage:
    """Where sweeps write down what they took; nobody reads it outside `measured`."""
    return _usage.get() or Usage()


@contextmanager
def execution(*, jobs: int | None = None, cluster: str | None = None) -> Iterator[Execution]:
    """Let sweeps inside run on `jobs` cores (all by default), or on the Dask scheduler at the address `cluster`.

    Results do not depend on it.

    Raises
    ------
    InvalidInput
        For `jobs` below 1 or above `PER_CORE` for each core, or both; for a cluster that does not answer or has no worker.
    """
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise InvalidInput(f"jobs is {jobs!r}; a whole number of at least 1 is allowed, or none for all cores")
    if jobs is not None and jobs > PER_CORE * cores():
        raise InvalidInput(f"jobs is {jobs}; at most {PER_CORE * cores()} is allowed here, {PER_CORE} for each of the {cores()} core(s)")
    if cluster is None:
        here = Execution(jobs=jobs or cores())
        token = _current.set(here)
        try:
            yield here
        finally:
            _current.reset(token)
        return
    if jobs is not None:
        raise InvalidInput(f"jobs is {jobs} and cluster is {cluster!r}; one of the two is allowed, a cluster knows its own workers")
    from sim.cluster import connected

    with connected(cluster) as there:
        here = Execution(jobs=1, cluster=there)
        token = _current.set(here)
        try:
            yield here
        finally:
            _current.reset(token)


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure what runs inside; whole when it ends."""
    found = Usage()
    token = _usage.set(found)
    restart_peak()
    started = perf_counter()
    try:
        yield found
    finally:
        found.wall_seconds, found.own_memory = perf_counter() - started, peak_memory()
        _usage.reset(token)

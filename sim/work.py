"""One part of a sweep, as it travels to whoever computes it, and its answer."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sim.backend import preferred
from sim.code import code_hash
from sim.execution import execution, this_process
from sim.memory import peak_memory, restart_peak
from theory.errors import InvalidInput
from theory.threads import at_most_threads, one_blas_thread


@dataclass(frozen=True)
class Answer:
    """What came of a task.

    Attributes
    ----------
    index : int, of the task
    text : str, the result as JSON, which is what the cache will return another time
    seconds : float, that the computation took
    process : str, who computed it
    memory : int, bytes of the largest resident set of that process meanwhile
    """

    index: int
    text: str
    seconds: float
    process: str
    memory: int


@dataclass(frozen=True)
class Task:
    """One part of a sweep.

    Attributes
    ----------
    index : int
    function, item : what to compute
    weight : float > 0, relative time
    code : str, hash of the source that the result is kept under
    backend : str, name of the array library that "auto" stands for
    """

    index: int
    function: Callable[[Any], dict[str, Any]]
    item: Any
    weight: float
    code: str
    backend: str

    def run(self, threads: int) -> Answer:
        """Compute it here with one BLAS thread, since another number of them may round otherwise, and up to `threads` of our own."""
        started = perf_counter()
        with at_most_threads(threads), one_blas_thread():
            result = self.function(self.item)
        text = json.dumps(result, allow_nan=False)
        return Answer(self.index, text, perf_counter() - started, this_process(), peak_memory())

    def __str__(self) -> str:
        return f"{self.function.__qualname__} of {self.item}"


def run_elsewhere(task: Task) -> Answer:
    """Compute `task` in a worker, on one thread.

    Raises
    ------
    InvalidInput
        If the worker has other source than the sender: its number would be kept under a wrong name.
    """
    if code_hash(task.function.__module__) != task.code:
        raise InvalidInput(
            f"the source of {task.function.__module__} on {platform.node()} is not the one this sweep began with; "
            "the same version is needed everywhere, unchanged while a sweep runs"
        )
    restart_peak()
    with execution(jobs=1), preferred(task.backend):
        return task.run(threads=1)

"""A contender's side of the conversation: one process, one task, one JSON object a line on stdin and stdout.

Run inside every contender's environment, so it needs the standard library and NumPy only.

    {"do": "prepare", "task": …, "setting": {…}, "data": "inputs.npz"}  ->  {"ok": true, "versions": {…}}
    {"do": "check", "out": "outputs.npz"}                               ->  {"ok": true}
    {"do": "measure"}                                                   ->  {"ok": true, "seconds": …}

Imports, compilation and first calls belong to `prepare` and `check`, which nobody times.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a contender does for one task.

    Attributes
    ----------
    measure : callable
        Seconds of one unit of the work.
    check : callable
        The numbers that every contender must agree on.
    notes : dict
        What the report says beside the times.
    """

    measure: Callable[[], float]
    check: Callable[[], dict[str, Any]]
    notes: dict[str, Any] = field(default_factory=dict)


Task = Callable[[dict[str, Any], dict[str, np.ndarray]], Work]


def timed(step: Callable[[], object], repeats: int = 1, untimed: int = 0, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds a call of `step`, over `repeats` in a row after `untimed` ones that bring threads and caches back."""
    for _ in range(untimed):
        step()
    started = clock()
    for _ in range(repeats):
        step()
    return (clock() - started) / repeats


def peak_memory() -> int:
    """The most memory that this process ever held, in bytes."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        # Bytes on macOS, kibibytes elsewhere.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(tasks: dict[str, Task], versions: Callable[[], dict[str, str]]) -> None:
    """Answer on stdin until it ends. Whatever the libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    work: Work | None = None
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            answer: dict[str, Any] = {"ok": True}
            if asked["do"] == "prepare":
                with np.load(asked["data"]) as data:
                    work = tasks[asked["task"]](asked["setting"], dict(data))
                answer |= {"versions": versions(), "notes": work.notes}
            elif asked["do"] == "check":
                assert work is not None
                np.savez(asked["out"], **work.check())
            elif asked["do"] == "measure":
                assert work is not None
                answer |= {"seconds": work.measure(), "notes": work.notes, "peak_bytes": peak_memory()}
            else:
                raise ValueError(f"unknown request {asked['do']!r}")
        except Exception as error:
            traceback.print_exc()
            answer = {"ok": False, "error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

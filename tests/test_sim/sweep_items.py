"""Parts for sweeps in tests: this file is put on the path of real processes, which import it by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Part:
    """A number, the seconds it takes, and a file: whoever computes it while that is there removes it and dies."""

    number: int
    seconds: float = 0.0
    deadly: str = ""


def squared(part: Part) -> dict[str, Any]:
    if part.deadly and Path(part.deadly).exists():
        Path(part.deadly).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(part.seconds)
    return {"square": part.number**2, "pid": os.getpid()}


def killing(part: Part) -> dict[str, Any]:
    if part.number == 5 and os.getpid() != int(os.environ["SWEEPING"]):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(part.seconds)
    return {}


def failing(part: Part) -> dict[str, Any]:
    time.sleep(part.seconds)
    if part.number == 5:
        raise ArithmeticError("five")
    return {}


def infinite(part: Part) -> dict[str, Any]:
    return {"x": float("inf")}


def summed(part: Part) -> dict[str, Any]:
    """A sum whose last digits depend on how BLAS threads share it, and the threads it may use."""
    import numpy as np

    from theory.threads import available_threads

    rng = np.random.default_rng(part.number)
    X = rng.standard_normal((300, 300))
    return {"values": np.linalg.eigvalsh(X @ X.T).tolist(), "threads": available_threads()}

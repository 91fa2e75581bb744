"""Sizes that must be reachable: what they take in time and memory, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Environments, NotRun


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size, reached by one run of a task of `contenders/ours_large.py`.

    Attributes
    ----------
    name, title, task : str
    setting : dict
    limit_bytes : int, optional
        The peak memory that it must stay below.
    gpu : bool
        Whether it is a size for a card, and run there only.
    """

    name: str
    title: str
    task: str
    setting: dict[str, Any]
    limit_bytes: int | None = None
    gpu: bool = False


SIZES = (
    Size(
        name="wide_net",
        title="simulated transfer, width 2²⁰, 1,000 + 1,000 points, d = 64, 3 steps a stage, float64",
        task="simulate",
        setting={"n": 1_000, "d": 64, "width": 1 << 20, "steps": 3, "dtype": "float64"},
        limit_bytes=16 << 30,
    ),
    Size(
        name="exact_solve",
        title="exact prediction by Cholesky, 2,000 source and 20,000 target points, d = 100, float64",
        task="predict",
        setting={"source": 2_000, "target": 20_000, "d": 100, "solver": "cholesky"},
    ),
    Size(
        name="matrix_free",
        title="one product with the Gram matrix of 100,000 points, d = 100, float64, never held (n² over the measured rate)",
        task="matrix_free",
        setting={"n": 100_000, "d": 100, "trials": [2_500, 5_000, 10_000], "backend": "numpy"},
    ),
    Size(
        name="matrix_free_gpu",
        title="the same on the card",
        task="matrix_free",
        setting={"n": 100_000, "d": 100, "trials": [10_000, 20_000, 40_000], "backend": "cupy"},
        gpu=True,
    ),
)


def measure(python_of: Environments, say: Callable[[str], object], gpu: bool, sizes: tuple[Size, ...] = SIZES) -> list[dict[str, Any]]:
    """Seconds, peak memory and notes of each size; JSON-ready."""
    return [_size(size, python_of, say) for size in sizes if size.gpu == gpu]


def _size(size: Size, python_of: Environments, say: Callable[[str], object]) -> dict[str, Any]:
    known = {"name": size.name, "title": size.title, "setting": size.setting, "limit_bytes": size.limit_bytes}
    with tempfile.TemporaryDirectory(prefix="ptoq-bench-") as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz")
        try:
            contender = Contender(python_of("main"), "ours_large.py", folder, timeout=1800)
            try:
                contender.ask(do="prepare", task=size.task, setting=size.setting, data=str(folder / "inputs.npz"))
                answer = contender.ask(do="measure")
            finally:
                contender.close()
        except NotRun as error:
            say(f"  {size.name}: {error}")
            return {**known, "status": "not run", "reason": str(error)}
    say(f"  {size.name}: {answer['seconds']:.1f} s, {answer['peak_bytes'] / 2**30:.1f} GiB")
    return {**known, "status": "ran", "seconds": answer["seconds"], "peak_bytes": answer["peak_bytes"], "notes": answer["notes"]}

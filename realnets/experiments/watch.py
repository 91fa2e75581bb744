"""What is measured of a network while it trains, kept on disk, so that an interrupted run ends with all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from theory.files import write_atomically


class Watch:
    """A `callback` of `realnets.train.train`.

    A resumed run calls it again from its checkpoint on; what it had measured before that is read from the file. The file is written after
    each measurement, at a step no earlier than the last checkpoint, so that nothing is missing in the end.

    Parameters
    ----------
    path : Path
        JSON; gone after `rows`.
    measure : callable
        `measure(model)`, JSON-ready.
    steps : collection of int, optional
        Steps to measure at; by default at each call.
    """

    def __init__(self, path: Path, measure: Callable[[nn.Module], dict[str, Any]], steps: frozenset[int] | None = None) -> None:
        self._path, self._measure, self._steps = path, measure, steps
        try:
            self._seen: dict[int, dict[str, Any]] = {int(step): row for step, row in json.loads(path.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError):
            self._seen = {}

    def __call__(self, step: int, model: nn.Module) -> None:
        """Measure, unless this step is not asked for."""
        if self._steps is None or step in self._steps:
            self._seen[step] = self._measure(model)
            write_atomically(self._path, json.dumps(self._seen, allow_nan=False).encode())

    def rows(self) -> list[dict[str, Any]]:
        """Everything measured, by step; the file is deleted."""
        self._path.unlink(missing_ok=True)
        return [{"step": step, **self._seen[step]} for step in sorted(self._seen)]

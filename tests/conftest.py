"""Hypothesis profiles, and one fixture that hands every test the array libraries the project promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@dataclass(frozen=True)
class ArrayLibrary:
    """One way for arrays to come in: `load` takes a NumPy array to that library, keeping its dtype."""

    name: str
    load: Callable[[np.ndarray], Any]


def _read_only(x: np.ndarray) -> np.ndarray:
    x = np.array(x)
    x.flags.writeable = False
    return x


def _strict(x: np.ndarray) -> Any:
    xp = pytest.importorskip("array_api_strict")
    # Not the default device: whatever silently falls back to NumPy, or forgets device=, fails there.
    return xp.asarray(np.array(x), device=xp.Device("device1"))


def _torch(x: np.ndarray) -> Any:
    return pytest.importorskip("torch", reason="torch is not installed: the torch case is skipped").asarray(np.array(x))


_LIBRARIES = {"numpy": np.array, "strict-device1": _strict, "torch": _torch, "read-only": _read_only}


@pytest.fixture(scope="session", params=list(_LIBRARIES))
def xp_case(request: pytest.FixtureRequest) -> ArrayLibrary:
    """NumPy, array-api-strict on its second device, torch, and NumPy arrays that may not be written to."""
    return ArrayLibrary(request.param, _LIBRARIES[request.param])


@pytest.fixture(scope="session", autouse=True)
def sweeps_stay_here() -> Iterator[None]:
    """Sweeps run in the test's own process, where a patched function is the one that runs, however slow the machine is."""
    from sim.execution import execution

    with execution(jobs=1):
        yield

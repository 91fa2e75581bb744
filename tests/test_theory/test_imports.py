"""Light imports: what a package promises not to load, it does not load."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def loaded_by(statement):
    """Top-level modules that a fresh interpreter has after `statement`."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


HEAVY = {"torch", "cupy", "sympy", "matplotlib", "pandas", "sklearn", "scipy", "mlxtend", "mpmath"}


@pytest.mark.parametrize("name", ["theory", "theory.predict", "theory.numeric", "theory.problem", "theory.outcome"])
def test_theory_loads_numpy_and_little_else(name):
    loaded = loaded_by(f"import {name}")
    assert {"numpy", "array_api_compat", "theory"} <= loaded
    assert not loaded & (HEAVY | {"sim", "realnets", "paper_figs"})


def test_predicting_from_numpy_loads_nothing_more():
    loaded = loaded_by("import theory\ntheory.predict(theory.TransferProblem(source=([[1, 2]], [1]), target=([[1, 0]], [1])))")
    assert not loaded & HEAVY


@pytest.mark.skipif(importlib.util.find_spec("sim") is None, reason="sim is not there yet")
def test_sim_loads_no_device_library():
    for statement in ("import sim", "import sim.backend, sim.elementwise, sim.frozen, sim.gram, sim.cuda.launch"):
        assert not loaded_by(statement) & {"torch", "cupy", "matplotlib", "realnets", "paper_figs"}


def test_choosing_a_backend_loads_no_library_but_its_own():
    code = "from sim.backend import resolve_backend\nresolve_backend('numpy')"
    assert not loaded_by(code) & {"torch", "cupy"}
    # Where no GPU driver is, "auto" knows so without asking either library.
    code = "from sim import backend\nbackend._has_driver = lambda: False\nassert backend.resolve_backend('auto').name == 'numpy'"
    assert not loaded_by(code) & {"torch", "cupy"}


def test_the_check_itself_sees_what_is_loaded():
    assert "decimal" in loaded_by("import decimal")
    assert "decimal" not in loaded_by("pass")

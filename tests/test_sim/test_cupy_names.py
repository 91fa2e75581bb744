"""Every array function that the code calls through a namespace is one that CuPy has: known without CuPy and without a GPU.

`cupy_names.txt` is what `array_api_compat.cupy` offers; where CuPy is installed the list is held against it. Write it anew, with CuPy
installed, by: python tests/test_sim/test_cupy_names.py
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("cupy_names.txt")
SUBMODULES = ("linalg", "fft")


def offered():
    """Public names of `array_api_compat.cupy`, those of its submodules with their prefix."""
    xp = importlib.import_module("array_api_compat.cupy")
    names = [n for n in dir(xp) if not n.startswith("_")]
    for module in SUBMODULES:
        names += [f"{module}.{n}" for n in dir(getattr(xp, module)) if not n.startswith("_")]
    return sorted({*names, "__array_namespace_info__", "__name__"})


def is_namespace(node):
    """Whether an expression is an array namespace, by this code's own habit: `xp`, `….xp`, or a call of `namespace`."""
    if isinstance(node, ast.Name):
        return node.id == "xp"
    if isinstance(node, ast.Attribute):
        return node.attr == "xp"
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "namespace"


def used(source):
    """Names that a module takes from an array namespace, with the lines they stand in."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        if is_namespace(node.value):
            name = node.attr
        elif isinstance(node.value, ast.Attribute) and is_namespace(node.value.value) and node.value.attr in SUBMODULES:
            name = f"{node.value.attr}.{node.attr}"
        else:
            continue
        found.setdefault(name, []).append(node.lineno)
    return found


def modules():
    return sorted(p for package in ("theory", "sim") for p in (ROOT / package).rglob("*.py"))


def test_cupy_has_every_name_that_is_used():
    names, missing, seen = set(LIST.read_text().split()), [], set()
    for path in modules():
        for name, lines in used(path.read_text(encoding="utf-8")).items():
            seen.add(name)
            if name not in names:
                missing.append(f"{path.relative_to(ROOT)}:{lines[0]} xp.{name}")
    assert not missing, missing
    # The search does find what there is.
    assert {"where", "matmul", "acos", "linalg.eigh", "astype"} <= seen


def test_a_name_that_cupy_lacks_would_be_seen():
    names = set(LIST.read_text().split())
    source = "def f(x):\n    xp = namespace(x)\n    return xp.heavyside(namespace(x).linalg.polar(x), self.xp.sum(x))"
    assert used(source) == {"linalg": [3], "heavyside": [3], "linalg.polar": [3], "sum": [3]}
    assert set(used(source)) - names == {"heavyside", "linalg.polar"}


def test_the_list_is_what_cupy_offers():
    pytest.importorskip("cupy", reason="CuPy is not installed: its names are the committed list")
    # Every name on the list is there; a newer CuPy may have more.
    assert set(LIST.read_text().split()) <= set(offered())


if __name__ == "__main__":
    LIST.write_text("\n".join(offered()) + "\n")

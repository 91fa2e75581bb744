"""The source that numbers depend on: a module, and all of this project that it imports, directly or not.

Packages that a module merely lies in count with their own text, but not with what they import: their lists of all experiments would make
every number depend on every experiment.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("theory", "sim", "realnets")

STORING = (
    "sim/code.py",
    "sim/records.py",
    "theory/files.py",
    *(f"sim/{name}.py" for name in ("sweep", "execution", "work", "processes", "cluster", "memory")),
)
"""What stores or distributes numbers but computes none: left out, so that a change there does not make old ones worthless."""


@cache
def code_hash(name: str) -> str:
    """SHA-256 over the source of the module called `name` and of what it imports of this project, and NumPy's version."""
    digest = hashlib.sha256(np.__version__.encode())
    for path in computing(name):
        digest.update(path.encode())
        digest.update((_ROOT / path).read_bytes())
    return digest.hexdigest()


@cache
def computing(name: str) -> tuple[str, ...]:
    """Source files of a module and of what it imports, at any depth of their text, as sorted paths from the root."""
    todo, seen, around = {_file(name)}, set(), set()
    while todo:
        path = todo.pop()
        if path is None:
            continue
        seen.add(path)
        around |= {f"{parent.as_posix()}/__init__.py" for parent in Path(path).parents if parent.as_posix() != "."}
        todo |= _imports(path) - seen
    return tuple(sorted((seen | around) - set(STORING)))


@cache
def _imports(path: str) -> frozenset[str | None]:
    found: set[str | None] = set()
    for node in ast.walk(ast.parse((_ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            found.add(_file(name))
    return frozenset(found)


def _file(name: str) -> str | None:
    """The file of a module or package of ours; `None` for anything else, such as a name within one."""
    parts = name.split(".")
    if parts[0] not in _PACKAGES:
        return None
    candidates = ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"]))
    return next((path for path in candidates if (_ROOT / path).exists()), None)

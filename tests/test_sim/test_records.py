"""Records and the cache: whole or not at all, damage seen, and everything a number depends on in its key."""

import ast
import json
from pathlib import Path

import pytest

from sim.records import COMPUTING, SCHEMA, Cache, provenance, read_record, write_json
from theory.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[2]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"new": float("nan")})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("{", "is not a record"),
        ("[]", "schema 'list'"),
        ('{"schema": 0}', f"schema 0; {SCHEMA} is allowed"),
        ("\x00", "is not a record"),
    ],
)
def test_a_record_that_is_not_one_is_refused(tmp_path, content, message):
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        read_record(path)


def test_the_cache_returns_what_was_put_and_nothing_damaged(tmp_path, caplog):
    cache = Cache(tmp_path)
    key = cache.key({"width": 4})
    assert cache.get(key) is None
    cache.put(key, {"x": 0.1})
    assert cache.get(key) == {"x": 0.1}
    (file,) = tmp_path.rglob("*.json")
    sound = file.read_text()
    for bad in (sound.replace("0.1", "0.2"), sound[:-20], "", "[]", "{}", json.dumps({"key": key})):
        file.write_text(bad)
        caplog.clear()
        assert cache.get(key) is None
        assert "damaged" in caplog.text


def test_keys_depend_on_settings_and_code(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    key = cache.key({"width": 4, "seed": 0})
    assert key == cache.key({"seed": 0, "width": 4})
    assert key != cache.key({"width": 4, "seed": 1})
    monkeypatch.setattr("sim.records.code_hash", lambda: "other code")
    assert key != cache.key({"width": 4, "seed": 0})


def test_the_cache_folder_can_be_set(tmp_path, monkeypatch):
    monkeypatch.setenv("PTOQ_CACHE", str(tmp_path / "here"))
    assert Cache().folder == tmp_path / "here"


def imports_of(path: Path) -> set[str]:
    """First-party source files that the module in `path` imports at any depth of its own text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            for candidate in (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py"):
                if name.split(".")[0] in ("theory", "sim") and candidate.exists():
                    found.add(candidate.relative_to(ROOT).as_posix())
    return found


def test_the_list_of_computing_code_is_what_a_replicate_imports():
    """A module left out of the list would let numbers of old code pass for new ones."""
    todo, seen = {"sim/experiments/replicates.py"}, set()
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= imports_of(ROOT / name) - seen
    packages = {f"{p.as_posix()}/__init__.py" for name in seen for p in Path(name).parents if p.as_posix() not in (".", "sim/experiments")}
    assert (seen | packages) - {"sim/records.py", "theory/files.py"} == set(COMPUTING)


def test_provenance_says_what_ran_where():
    p = provenance(backend="numpy")
    assert p["backend"] == "numpy"
    assert {"ptoq", "python", "numpy", "commit", "dirty", "machine"} <= set(p)

"""Records and the cache: whole or not at all, damage seen, and everything a number depends on in its key."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sim import code
from sim.code import STORING, computing
from sim.records import SCHEMA, Cache, provenance, read_record, write_json
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
    key = cache.key({"width": 4}, "sim.training")
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
    key = cache.key({"width": 4, "seed": 0}, "sim.training")
    assert key == cache.key({"seed": 0, "width": 4}, "sim.training")
    assert key != cache.key({"width": 4, "seed": 1}, "sim.training")
    monkeypatch.setattr("sim.records.code_hash", lambda name: "other code")
    assert key != cache.key({"width": 4, "seed": 0}, "sim.training")


def test_the_cache_folder_can_be_set(tmp_path, monkeypatch):
    monkeypatch.setenv("PTOQ_CACHE", str(tmp_path / "here"))
    assert Cache().folder == tmp_path / "here"


@pytest.mark.parametrize("name", ["sim.training", "sim.tasks"])
def test_the_code_of_a_module_is_all_that_python_loads_for_it(name):
    """A module left out would let numbers of old code pass for new ones."""
    script = f"""
import sys, {name}
print(*(m.__file__ for n, m in list(sys.modules.items()) if n.split(".")[0] in ("theory", "sim")))
"""
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
    files = {Path(f).resolve().relative_to(ROOT).as_posix() for f in loaded}
    # Imports inside functions come on top of what is loaded at once; what a package around it loads does not count.
    around = set(computing("theory")) | set(computing("sim"))
    assert files - set(STORING) - around <= set(computing(name))
    assert len(computing(name)) > 5


def test_an_experiment_does_not_depend_on_the_others():
    found = computing("sim.experiments.width_law")
    assert {"sim/experiments/width_law.py", "sim/experiments/replicates.py", "sim/experiments/claims.py", "theory/predict.py"} <= set(found)
    assert not {"sim/experiments/ladder.py", "sim/experiments/registry.py", "sim/records.py"} & set(found)


def test_a_network_depends_on_its_own_package_and_on_the_theory():
    found = computing("realnets.experiments.linearised")
    assert {"realnets/ntk.py", "realnets/models/__init__.py", "theory/numeric/stages.py"} <= set(found)
    assert "realnets/commands.py" not in found


def test_imports_inside_functions_count():
    assert "theory/strategies.py" in computing("theory.inequality")


def test_a_change_of_the_code_changes_the_hash(tmp_path, monkeypatch):
    for path in computing("theory.numeric.stages"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((ROOT / path).read_bytes())
    monkeypatch.setattr(code, "_ROOT", tmp_path)
    hashes = []
    for extra in ("", "# changed\n"):
        with (tmp_path / "theory/numeric/spectrum.py").open("a") as file:
            file.write(extra)
        for function in (code.code_hash, code.computing, code._imports):
            function.cache_clear()
        hashes.append(code.code_hash("theory.numeric.stages"))
    for function in (code.code_hash, code.computing, code._imports):
        function.cache_clear()
    assert hashes[0] != hashes[1]


def test_provenance_says_what_ran_where():
    p = provenance(backend="numpy")
    assert p["backend"] == "numpy"
    assert {"ptoq", "python", "numpy", "commit", "dirty", "machine"} <= set(p)

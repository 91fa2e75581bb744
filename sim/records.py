"""Records of experiments, and the cache that lets a killed run go on.

A record is one small JSON file. While it is in the making, each replicate is kept in a cache folder outside the
repository, under a hash of everything it depends on: its settings, its data and the code that computes it. All files
are written aside and moved into place, so that a kill leaves either the old file or the new one.

A record's provenance says what it took. `wall_seconds` is the time from start to end of the run that wrote it, as on a clock on the wall;
`work_seconds` the sum of its parts' own times, whichever run computed them, so it exceeds the former where several cores worked
or a part came from the cache. `parts` counts those computed by this run and those from the cache. `workers` is how many processes computed
parts at once besides the one that wrote the record (0: it did so itself), and `peak_memory_bytes` the sum of the largest resident sets
that all of these had in this run: no less than they held together at any one moment.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import platformdirs

from sim.code import code_hash
from theory.errors import InvalidInput
from theory.files import write_atomically

SCHEMA = 1
"""Version of the record's layout; a record of another one is refused."""

_log = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parent.parent


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path` as JSON, whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


def read_record(path: Path) -> dict[str, Any]:
    """A record from a file.

    Raises
    ------
    InvalidInput
        If it is missing, damaged, or of another schema.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise InvalidInput(f"cannot read the record {str(path)!r}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"{str(path)!r} is not a record: {error}") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        given = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise InvalidInput(f"{str(path)!r} has schema {given!r}; {SCHEMA} is allowed (run the experiment again)")
    return record


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, which no record does")


def provenance(**known: Any) -> dict[str, Any]:
    """Versions, commit and machine, as a record keeps them, with what the run itself knows."""
    versions = {name: metadata.version(name) for name in ("numpy", "mlxtend", "scikit-learn")}
    commit, dirty = _commit()
    return {
        "ptoq": metadata.version("ptoq"),
        "python": platform.python_version(),
        **versions,
        "commit": commit,
        "dirty": dirty,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **known,
    }


def _commit() -> tuple[str | None, bool | None]:
    try:
        # Of this source tree only: an installed package may lie inside somebody else's repository.
        if not (_ROOT / ".git").exists():
            return None, None
        head = subprocess.run(["git", "-C", str(_ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        # Records and figures under way do not make the code dirty.
        status = subprocess.run(
            ["git", "-C", str(_ROOT), "status", "--porcelain", "--", "*.py", "pyproject.toml"], capture_output=True, text=True, check=True
        ).stdout
        return head, bool(status.strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


class Cache:
    """Finished replicates by content.

    Parameters
    ----------
    folder : Path, optional
        By default `$PTOQ_CACHE`, or the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        default = os.environ.get("PTOQ_CACHE")
        self.folder = folder or (Path(default) if default else platformdirs.user_cache_path("ptoq"))

    def key(self, settings: dict[str, Any], computed_by: str) -> str:
        """Hash of `settings` (JSON-ready), the schema, and the code of the module called `computed_by` with all it imports."""
        text = json.dumps([SCHEMA, code_hash(computed_by), settings], sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, key: str) -> dict[str, Any] | None:
        """What was stored under `key`; `None` if nothing, or nothing sound, is there."""
        path = self._path(key)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["key"] == key and stored["checksum"] == _checksum(stored["result"]):
                return dict(stored["result"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            pass
        _log.warning("the cached replicate %s is damaged; it is computed again", path)
        return None

    def put(self, key: str, result: dict[str, Any]) -> None:
        """Store `result` under `key`."""
        write_json(self._path(key), {"key": key, "checksum": _checksum(result), "result": result})

    def computed(self, settings: dict[str, Any], computed_by: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `compute` returns, and the `"seconds"` it took; from an earlier run where that is here, else computed now and kept."""
        key = self.key(settings, computed_by)
        result = self.get(key)
        if result is None:
            started = perf_counter()
            result = {**compute(), "seconds": perf_counter() - started}
            self.put(key, result)
        return result

    def _path(self, key: str) -> Path:
        return self.folder / f"v{SCHEMA}" / f"{key}.json"


def _checksum(result: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()

"""Virtual environments of the peers, made when first needed, from the pinned lists in `benchmarks/peers`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import ROOT, NotRun

PEERS = Path(__file__).resolve().parent / "peers"


class PeerEnvironments:
    """Interpreters by name: "main" is the one that runs the bench.

    Parameters
    ----------
    folder : Path, optional
        Where the environments live: `.venv-peers` in the checkout by default.
    say : callable
        Takes progress lines.

    An environment is made anew when its list of packages, or Python, has changed. One that cannot be made raises `NotRun` with the
    reason, and is not tried twice.
    """

    def __init__(self, say: Callable[[str], object], folder: Path | None = None) -> None:
        self.folder, self._say = folder or ROOT / ".venv-peers", say
        self._failed: dict[str, str] = {}

    def __call__(self, name: str) -> Path:
        """The interpreter of the environment called `name`."""
        if name == "main":
            return Path(sys.executable)
        if name in self._failed:
            raise NotRun(self._failed[name])
        requirements = PEERS / f"{name}.txt"
        home = self.folder / name
        python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        stamp, wanted = home / "installed.txt", hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
        if python.exists() and stamp.exists() and stamp.read_text() == wanted:
            return python
        self._say(f"  installing {name} into {home}")
        shutil.rmtree(home, ignore_errors=True)
        for step in (
            [sys.executable, "-m", "venv", str(home)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", str(requirements)],
        ):
            try:
                subprocess.run(step, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                self._failed[name] = f"its environment cannot be made: {_reason(error)}"
                raise NotRun(self._failed[name]) from None
        stamp.write_text(wanted)
        return python


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, OSError):
        return str(error)
    lines = (error.stderr or error.stdout or "").strip().splitlines()
    wrong = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
    return wrong[-1][:300] if wrong else f"exit code {error.returncode}"

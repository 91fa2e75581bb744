"""Virtual environments of the peers, made when first needed, from the pinned lists in `benchmarks/peers`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import ROOT, NotRun

PEERS = Path(__file__).resolve().parent / "peers"

INHERITS = "# inherits: main"
"""A list that begins with this line finds what the bench's own environment has, such as torch, and installs only the rest."""


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
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            _run([sys.executable, "-m", "venv", str(home)])
            if requirements.read_text(encoding="utf-8").startswith(INHERITS):
                # After the environment's own packages on the path, so that these win.
                site = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
                (Path(site) / "main.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
            _run([*pip, "--requirement", str(requirements)])
        except (OSError, subprocess.CalledProcessError) as error:
            self._failed[name] = f"its environment cannot be made: {_reason(error)}"
            raise NotRun(self._failed[name]) from None
        stamp.write_text(wanted)
        return python


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, OSError):
        return str(error)
    lines = (error.stderr or error.stdout or "").strip().splitlines()
    wrong = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
    return wrong[-1][:300] if wrong else f"exit code {error.returncode}"

"""The most memory this process has held."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")


def restart_peak() -> None:
    """Forget earlier peaks where the system lets one (Linux); elsewhere `peak_memory` stays that of the process's life."""
    with suppress(OSError):
        # Source: proc(5): 5 in clear_refs resets the high-water mark of the resident set.
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Bytes of the largest resident set of this process since `restart_peak`."""
    with suppress(OSError, StopIteration):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return int(getattr(psutil.Process().memory_info(), "peak_wset", psutil.Process().memory_info().rss))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

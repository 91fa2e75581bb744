"""How much memory this process may still take on the host."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

# Per version of control groups: the folder that controllers of memory hang in, and the files of limit, use and statistics.
_VERSIONS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def free_host_memory() -> int:
    """Bytes that this process may still take: of what is free on the machine, what its control groups and its own limit leave."""
    return min(
        int(psutil.virtual_memory().available), _free_of_groups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")), _free_of_process()
    )


def _free_of_process() -> int:
    """Bytes that `ulimit -v` leaves; without a limit, more than any machine has."""
    try:
        import resource
    except ImportError:
        return sys.maxsize
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return sys.maxsize if most == resource.RLIM_INFINITY else max(0, most - int(psutil.Process().memory_info().vms))


def _free_of_groups(mounted: Path, membership: Path) -> int:
    """Bytes that limits of a container, a session or a batch system leave; without a limit, more than any machine has.

    A limit of a group holds for those within it: all from the process's own one up are asked. What the system keeps of files, and would
    give up, counts as free.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        lines = []
    least = sys.maxsize
    for controller, *names, kept in _VERSIONS:
        own = next((path for _, held, path in lines if controller in held.split(",")), "/")
        for folder in _upwards(mounted / controller, own):
            try:
                most, taken = (int((folder / name).read_text()) for name in names)
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):
                # No such version of control groups here, or the limit is "max".
                continue
            least = min(least, max(0, most - taken + int(stat.get(kept, 0))))
    return least


def _upwards(top: Path, inner: str) -> Iterator[Path]:
    """`top / inner` and the folders above it down to `top`; what is not mounted in a container is not there, and skipped by the reader."""
    parts = [part for part in inner.split("/") if part not in ("", "..")]
    return (top.joinpath(*parts[:length]) for length in range(len(parts), -1, -1))

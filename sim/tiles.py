"""Work over many rows, a tile at a time, in tiles that become smaller where memory runs out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

_log = logging.getLogger(__name__)


def in_tiles(total: int, size: int, visit: Callable[[slice], object]) -> int:
    """Call `visit` on consecutive slices that cover `range(total)`, of `size` or less.

    When a visit runs out of memory the size is halved, which is said as a warning, and the same rows are tried again:
    `visit` must change nothing before its last allocation.

    Returns
    -------
    The size that fitted, to go on with.

    Raises
    ------
    MemoryError (or the library's own error)
        When a single row does not fit.
    """
    start = 0
    while start < total:
        rows = slice(start, min(start + size, total))
        if _fits(visit, rows):
            start = rows.stop
            continue
        size = (rows.stop - rows.start) // 2
        # Past the handler: until then the error's traceback held the arrays of the visit.
        _release()
        _log.warning("out of memory with %d rows at once: going on with %d", 2 * size, size)
    return size


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory, of this machine or of a GPU, is full."""
    # CuPy's is a MemoryError, PyTorch's a RuntimeError: its name tells it without an import of either.
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _fits(visit: Callable[[slice], object], rows: slice) -> bool:
    try:
        visit(rows)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or rows.stop - rows.start == 1:
            raise
        return False
    return True


def _release() -> None:
    """Give back what CuPy's pool holds in pieces of the old size; PyTorch's allocator does that by itself."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and cupy.is_available():
        cupy.get_default_memory_pool().free_all_blocks()

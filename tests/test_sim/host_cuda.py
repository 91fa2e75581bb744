"""The raw kernels without a GPU: their bodies compiled by the host's C compiler, behind as much of CuPy as launching takes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

# tgmath.h picks the float or double function by the argument, as CUDA's overloads do; no contraction, so that digits are the source's.
SHIM = """
#include <math.h>
#include <tgmath.h>
typedef struct { unsigned int x; } dim;
dim blockIdx, blockDim, threadIdx;
#define KERNEL
"""


def compiler() -> str:
    """The host's C compiler; the test is skipped where there is none."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler: the kernels' bodies are not run on the host")
    return found


def build(code: str, options: tuple[str, ...]) -> ctypes.CDLL:
    """`code` as a shared library; options of the CUDA compiler other than definitions are left out."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernel.c"), Path(folder, "kernel.so")
        source.write_text(SHIM + code, encoding="utf-8")
        defined = [o for o in options if o.startswith("-D")]
        command = [compiler(), "-O2", "-Wall", "-Werror", "-ffp-contract=off", "-shared", "-fPIC", *defined]
        done = subprocess.run([*command, "-o", str(library), str(source), "-lm"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(library))


class RawModule:
    """`cupy.RawModule` on the host: each thread of a launch in turn, in an order drawn anew for each launch."""

    def __init__(self, *, code: str, options: tuple[str, ...], backend: str) -> None:
        assert backend == "nvrtc"
        self.library = build(code, options)

    def get_function(self, name: str) -> Any:
        kernel = getattr(self.library, name)
        kernel.restype = None
        block, size, thread = (ctypes.c_uint.in_dll(self.library, v) for v in ("blockIdx", "blockDim", "threadIdx"))

        def launch(grid: tuple[int], threads: tuple[int], arguments: tuple[Any, ...]) -> None:
            passed = [_argument(x) for x in arguments]
            size.value = threads[0]
            for item in np.random.default_rng().permutation(grid[0] * threads[0]).tolist():
                block.value, thread.value = divmod(item, threads[0])
                kernel(*passed)

        return launch


def _argument(x: Any) -> Any:
    """As CuPy passes it: arrays as pointers, NumPy scalars by their type."""
    if isinstance(x, np.ndarray):
        assert x.flags.c_contiguous
        return ctypes.c_void_p(x.ctypes.data)
    return {"int64": ctypes.c_longlong, "int32": ctypes.c_int}[x.dtype.name](int(x))


CUPY = SimpleNamespace(
    RawModule=RawModule,
    ascontiguousarray=np.ascontiguousarray,
    # Filled, so that an item that no thread writes is seen.
    empty=lambda shape, dtype: np.full(shape, np.nan, dtype=dtype),
    empty_like=lambda x: np.full_like(x, np.nan),
    **{name: getattr(np, name) for name in ("float64", "int32", "int64")},
)

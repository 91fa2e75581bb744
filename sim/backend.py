"""Which array library a simulation runs on, and on which device."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from theory.errors import InvalidInput
from theory.host_memory import free_host_memory

BACKENDS = ("auto", "numpy", "cupy", "torch")

# Share of the free GPU memory that CuPy's pool may grow to: the rest is for cuBLAS and cuSOLVER, which allocate beside it.
POOL_SHARE = 0.9

_log = logging.getLogger(__name__)
_preferred: ContextVar[str] = ContextVar("backend", default="auto")


@dataclass(frozen=True)
class Backend:
    """An array library and a device of it.

    Attributes
    ----------
    name : "numpy", "cupy" or "torch"
    xp : array-API namespace
    device : what `xp.asarray(device=…)` takes; `None` for the library's own choice
    """

    name: str
    xp: Any
    device: Any = None

    def describe(self) -> str:
        """The device in words: "cpu", or the GPU's name."""
        if self.name == "cupy":
            cupy = importlib.import_module("cupy")
            return str(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode())
        if self.device == "cuda":
            return str(importlib.import_module("torch").cuda.get_device_name())
        return "cpu"

    def free_memory(self) -> int:
        """Bytes that a run may still take, on the device."""
        if self.name == "cupy":
            cupy = importlib.import_module("cupy")
            pool, (free, _) = cupy.get_default_memory_pool(), cupy.cuda.runtime.memGetInfo()
            # What the pool holds and nobody uses is free too; its limit, if any, binds before the card does.
            available = free + pool.free_bytes()
            return int(min(available, pool.get_limit() - pool.used_bytes()) if pool.get_limit() else available)
        if self.device == "cuda":
            torch = importlib.import_module("torch")
            held = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            return int(torch.cuda.mem_get_info()[0] + held)
        return free_host_memory()

    def guarded(self) -> Any:
        """Context in which a failed factorisation raises `LinAlgError`: CuPy returns nonsense otherwise."""
        if self.name == "cupy":
            return importlib.import_module("cupyx").errstate(linalg="raise")
        return nullcontext()

    def out_of_memory(self) -> tuple[type[BaseException], ...]:
        """Exceptions by which this library says that the device's memory is full."""
        # CuPy's is a MemoryError, PyTorch's a RuntimeError.
        return (MemoryError, importlib.import_module("torch").OutOfMemoryError) if self.name == "torch" else (MemoryError,)


def resolve_backend(name: str) -> Backend:
    """The backend called `name`; `"auto"` takes CuPy, else torch, where there is an NVIDIA GPU, and NumPy where there is none.

    Inside `preferred` the name given there stands for `"auto"`. `"torch"` without a GPU computes on the CPU.

    Raises
    ------
    InvalidInput
        For an unknown name, or a backend that is not there: it says what is missing, and how to get it.
    """
    if name not in BACKENDS:
        raise InvalidInput(f"backend is {name!r}; {', '.join(map(repr, BACKENDS))} are allowed")
    if name == "auto":
        name = _preferred.get()
    if name == "auto":
        return _automatic()
    return {"numpy": _numpy, "cupy": _cupy, "torch": _torch}[name]()


@contextmanager
def preferred(name: str) -> Iterator[Backend]:
    """Let `"auto"` mean `name` inside, so that whoever runs an experiment chooses, and the experiment need not know."""
    backend = resolve_backend(name)
    token = _preferred.set(backend.name)
    try:
        yield backend
    finally:
        _preferred.reset(token)


def preference() -> str:
    """What `"auto"` means here: a name given to `preferred`, or "auto" itself."""
    return _preferred.get()


def _automatic() -> Backend:
    # Without the driver's library no GPU can be used: known in microseconds, where importing torch to ask takes seconds.
    if _has_driver():
        for choose in (_cupy, _torch_gpu):
            try:
                return choose()
            except InvalidInput as reason:
                _log.info("%s", reason)
    return _numpy()


def _has_driver() -> bool:
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _numpy() -> Backend:
    return Backend("numpy", importlib.import_module("array_api_compat.numpy"))


def _cupy() -> Backend:
    cupy = _imported("cupy", "CuPy", "gpu")
    if not cupy.is_available():
        raise InvalidInput("backend is 'cupy', and CuPy finds no NVIDIA GPU (or no driver for one); 'numpy' and 'torch' are allowed here")
    _limit_pool(cupy)
    return Backend("cupy", importlib.import_module("array_api_compat.cupy"))


def _torch() -> Backend:
    torch = _imported("torch", "PyTorch", "real")
    return Backend("torch", importlib.import_module("array_api_compat.torch"), "cuda" if torch.cuda.is_available() else "cpu")


def _torch_gpu() -> Backend:
    backend = _torch()
    if backend.device != "cuda":
        raise InvalidInput("backend is 'torch', and PyTorch finds no GPU; 'numpy' is allowed here")
    return backend


def _imported(module: str, title: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name == module if isinstance(error, ModuleNotFoundError) else False
        state = "is not installed" if missing else f"cannot be imported ({error})"
        raise InvalidInput(f"backend is {module!r}, and {title} {state}; get it with: pip install 'ptoq[{extra}]'") from None


def _limit_pool(cupy: Any) -> None:
    """Keep CuPy's pool from taking the whole card, unless the user has set a limit (`CUPY_GPU_MEMORY_LIMIT`) or one is in force."""
    pool = cupy.get_default_memory_pool()
    if "CUPY_GPU_MEMORY_LIMIT" not in os.environ and not pool.get_limit():
        free, _ = cupy.cuda.runtime.memGetInfo()
        pool.set_limit(size=int(POOL_SHARE * (free + pool.total_bytes())))

"""Which library and device a run gets, and what is said when the one asked for is not there."""

from __future__ import annotations

import importlib
import logging
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from sim import backend as module
from sim.backend import BACKENDS, Backend, preference, preferred, resolve_backend
from sim.tiles import in_tiles, is_out_of_memory
from theory.errors import InvalidInput


@pytest.fixture
def gpu_library(monkeypatch):
    """Put a `cupy` or `torch` of the test's making where imports find it, and a GPU driver beside it; torch is absent at first."""
    monkeypatch.setattr(module, "_has_driver", lambda: True)

    def install(name, **attributes):
        library = ModuleType(name)
        vars(library).update(attributes)
        monkeypatch.setitem(sys.modules, name, library)
        space = ModuleType(f"array_api_compat.{name}")
        monkeypatch.setitem(sys.modules, f"array_api_compat.{name}", space)
        return space

    for name in ("cupy", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    return install


class Pool:
    def __init__(self, limit=0):
        self.limit = limit

    def get_limit(self):
        return self.limit

    def set_limit(self, size):
        self.limit = size

    def total_bytes(self):
        return 20

    def used_bytes(self):
        return 15

    def free_bytes(self):
        return 5


def fake_cupy(install, pool, available=True):
    runtime = SimpleNamespace(memGetInfo=lambda: (80, 100), getDeviceProperties=lambda i: {"name": b"NVIDIA Card"})
    return install(
        "cupy",
        is_available=lambda: available,
        get_default_memory_pool=lambda: pool,
        cuda=SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=0)),
    )


def fake_torch(install, available):
    return install("torch", cuda=SimpleNamespace(is_available=lambda: available, get_device_name=lambda: "Another Card"))


def test_numpy_is_what_there_always_is():
    backend = resolve_backend("numpy")
    assert (backend.name, backend.device, backend.describe()) == ("numpy", None, "cpu")
    assert isinstance(backend.xp.asarray([1.0]), np.ndarray)
    assert backend.free_memory() > 2**20
    with backend.guarded(), pytest.raises(np.linalg.LinAlgError):
        backend.xp.linalg.cholesky(-np.eye(2))


def test_torch_computes_on_the_cpu_where_there_is_no_gpu():
    torch = pytest.importorskip("torch")
    backend = resolve_backend("torch")
    x = backend.xp.asarray([1.0, 2.0], device=backend.device)
    assert isinstance(x, torch.Tensor)
    assert backend.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert backend.free_memory() > 2**20
    with backend.guarded(), pytest.raises(RuntimeError):
        backend.xp.linalg.cholesky(-backend.xp.eye(2))


def test_auto_without_a_driver_is_numpy_and_imports_nothing(monkeypatch):
    monkeypatch.setattr(module, "_has_driver", lambda: False)
    monkeypatch.setattr(module, "_imported", lambda *_: pytest.fail("a GPU library was imported"))
    assert resolve_backend("auto").name == "numpy"


@pytest.mark.parametrize(("cupy", "torch", "chosen"), [(True, True, "cupy"), (False, True, "torch"), (False, False, "numpy")])
def test_auto_prefers_cupy_then_torch_then_numpy(gpu_library, cupy, torch, chosen):
    fake_cupy(gpu_library, Pool(), available=cupy)
    fake_torch(gpu_library, available=torch)
    backend = resolve_backend("auto")
    assert (backend.name, backend.describe()) == (chosen, {"cupy": "NVIDIA Card", "torch": "Another Card", "numpy": "cpu"}[chosen])


def test_auto_survives_a_library_that_is_absent(gpu_library):
    assert resolve_backend("auto").name == "numpy"
    fake_torch(gpu_library, available=True)
    assert resolve_backend("auto").name == "torch"


@pytest.mark.parametrize(("before", "environment", "after"), [(0, None, 90), (40, None, 40), (0, "50%", 0)])
def test_cupy_s_pool_is_limited_unless_the_user_did(gpu_library, monkeypatch, before, environment, after):
    if environment:
        monkeypatch.setenv("CUPY_GPU_MEMORY_LIMIT", environment)
    pool = Pool(before)
    space = fake_cupy(gpu_library, pool)
    backend = resolve_backend("cupy")
    assert backend.xp is space
    assert pool.limit == after
    # 80 free on the card and 5 in the pool, unless the limit leaves less above the 15 in use.
    assert backend.free_memory() == min(85, after - 15 if after else 85)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "backend is 'tpu'; 'auto', 'numpy', 'cupy', 'torch' are allowed"),
        ("cupy", r"CuPy is not installed; get it with: pip install 'ptoq\[gpu\]'"),
        ("torch", r"PyTorch .*pip install 'ptoq\[real\]'"),
    ],
)
def test_what_is_absent_is_named_with_the_way_to_get_it(gpu_library, name, message):
    with pytest.raises(InvalidInput, match=message):
        resolve_backend(name)


def test_cupy_without_a_gpu_is_refused_not_replaced(gpu_library):
    fake_cupy(gpu_library, Pool(), available=False)
    with pytest.raises(InvalidInput, match="no NVIDIA GPU"):
        resolve_backend("cupy")


def test_a_broken_library_says_why(monkeypatch):
    def broken(name):
        raise ImportError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(InvalidInput, match=r"CuPy cannot be imported \(libcublas.so.13.*ptoq\[gpu\]"):
        resolve_backend("cupy")


def test_auto_means_what_is_preferred_and_an_explicit_name_stays(monkeypatch):
    monkeypatch.setattr(module, "_has_driver", lambda: False)
    pytest.importorskip("torch")
    assert preference() == "auto"
    with preferred("torch") as backend:
        assert backend.name == resolve_backend("auto").name == preference() == "torch"
        with preferred("numpy"):
            assert resolve_backend("auto").name == "numpy"
        assert resolve_backend("numpy").name == "numpy"
    assert resolve_backend("auto").name == "numpy"
    with pytest.raises(InvalidInput, match="tpu"), preferred("tpu"):
        pass
    assert preference() == "auto"


def test_every_backend_has_a_way_to_be_made():
    assert BACKENDS == ("auto", "numpy", "cupy", "torch")
    with pytest.raises(AttributeError):
        Backend("numpy", np).name = "other"


# ---- tiles that become smaller


class OutOfMemoryError(RuntimeError):
    """As PyTorch names its own."""


@pytest.mark.parametrize("error", [MemoryError, OutOfMemoryError])
def test_tiles_shrink_until_they_fit_and_cover_everything_once(caplog, error):
    seen = []

    def visit(rows):
        if rows.stop - rows.start > 5:
            raise error("full")
        seen.extend(range(rows.start, rows.stop))

    with caplog.at_level(logging.WARNING):
        in_tiles(23, 16, visit)
    assert seen == list(range(23))
    assert "going on with 8" in caplog.text
    assert "going on with 4" in caplog.text


def test_a_row_that_does_not_fit_is_an_error_and_so_is_any_other():
    def full(rows):
        raise MemoryError

    def wrong(rows):
        raise RuntimeError("shapes differ")

    with pytest.raises(MemoryError):
        in_tiles(7, 4, full)
    with pytest.raises(RuntimeError, match="shapes differ"):
        in_tiles(7, 4, wrong)
    assert not is_out_of_memory(RuntimeError())

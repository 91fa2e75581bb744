"""The raw kernels: compiled by NVRTC, and run on the host against their array-API twins; on a GPU where there is one."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import array_api_compat as compat
import numpy as np
import pytest

import ptoq
import sim.gram
from sim.cuda import launch
from sim.cuda.sources import FILES, OPTIONS, source, type_option
from sim.elementwise import masked, relu_outputs
from sim.frozen import empirical_kernel
from tests.helpers import assert_dtype_close, assert_exact
from tests.test_sim.host_cuda import CUPY
from theory.arrays import to_numpy
from theory.errors import InvalidInput
from theory.numeric import gram

DTYPES = [np.float64, np.float32]
BATCHES = [(), (2,), (2, 3)]


@pytest.fixture
def on_host(monkeypatch):
    """NumPy arrays take the way of CuPy's, with kernels compiled for the host."""
    launch._module.cache_clear()
    monkeypatch.setattr(launch, "_cupy", lambda: CUPY)
    for module in (sim.elementwise, sim.gram):
        monkeypatch.setattr(module, "compat", SimpleNamespace(is_cupy_array=lambda _: True))
    yield
    launch._module.cache_clear()


# ---- compiled


def nvrtc():
    """NVRTC from the wheels that CuPy or torch brought; the test is skipped where neither is."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else [Path(p) for p in spec.submodule_search_locations or ()]
    found = sorted(p for folder in folders for p in folder.glob("*/lib/libnvrtc.so.*"))
    if not found:
        pytest.skip("libnvrtc is not installed (the wheel nvidia-cuda-nvrtc, which torch and ptoq[gpu] bring)")
    # NVRTC opens this one by its bare name, which finds it only where it is loaded already.
    for built_in in found[-1].parent.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(built_in))
    return ctypes.CDLL(str(found[-1]))


def compile_for(architecture, text, options):
    """PTX of a CUDA source; the compiler's errors and warnings as an AssertionError."""
    library, program = nvrtc(), ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None) == 0
    given = [o.encode() for o in (f"--gpu-architecture={architecture}", *options)]
    status = library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
    try:
        log = told(library, "ProgramLog", program)
        assert status == 0 and "warning" not in log, log
        return told(library, "PTX", program)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def told(library, what, program):
    size = ctypes.c_size_t()
    assert getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    buffer = ctypes.create_string_buffer(size.value)
    assert getattr(library, f"nvrtcGet{what}")(program, buffer) == 0
    return buffer.value.decode()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("file", "kernels"), [("elementwise", ("masked", "relu_outputs_partial", "sum_groups")), ("gram", ("relu_gram",))])
def test_nvrtc_compiles_every_kernel_for_an_h100(file, kernels, dtype):
    ptx = compile_for("compute_90", source(file), (*OPTIONS, type_option(dtype)))
    for name in kernels:
        assert f".visible .entry {name}(" in ptx
    if dtype == "float32" and file == "gram":
        assert ".f64" not in ptx  # nothing is computed in double on the quiet


def test_every_source_is_compiled_above():
    assert sorted(FILES) == sorted(p.stem for p in Path(launch.__file__).parent.glob("*.cu")) == ["elementwise", "gram"]


def test_the_compiler_refuses_a_broken_kernel():
    with pytest.raises(AssertionError, match="undefined"):
        compile_for("compute_90", source("gram").replace("REAL gap = 0;", ""), (*OPTIONS, type_option("float64")))


# ---- run on the host


def net(batch, m, n, c, dtype, seed=0):
    rng = np.random.default_rng(seed)
    Z, direction = rng.standard_normal((*batch, m, n)), rng.standard_normal((*batch, n, c))
    Z[..., ::5, 0] = 0  # a neuron exactly at its kink is not active
    return Z.astype(dtype), rng.choice([-1.0, 1.0], size=(*batch, m, c)).astype(dtype), direction


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("c", [1, 3, 4, 9])
def test_masked_step(on_host, batch, c, dtype):
    Z, a, direction = net(batch, 70, 9, c, dtype)
    want = np.where(Z > 0, a @ np.swapaxes(direction.astype(dtype), -1, -2), 0)
    assert_exact(masked(Z, a, direction), want, c + 1, scale=np.abs(direction).sum(-1).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("m", "c"), [(1, 1), (8, 4), (3 * 8 + 7, 1), (2 * 8 + 1, 9), (8 * 3 * 3 + 1, 2)])
def test_outputs(on_host, monkeypatch, batch, m, c, dtype):
    monkeypatch.setattr(launch, "CHUNK", 8)
    monkeypatch.setattr(launch, "GROUP", 3)
    Z, a, _ = net(batch, m, 6, c, dtype)
    relu = np.maximum(Z.astype(float), 0)
    want = np.swapaxes(relu, -1, -2) @ a.astype(float)
    # Whatever the dtype that comes in, the sum is carried in float64.
    assert_exact(relu_outputs(Z, a), want, m + 1, scale=relu.sum(-2).max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_show_a_nan(on_host, dtype):
    Z, a, _ = net((), 70, 6, 5, dtype)
    Z[3, 2] = np.nan
    assert np.array_equal(np.isnan(relu_outputs(Z, a)), np.isnan(Z).any(0)[:, None] * np.ones((1, 5), dtype=bool))


def test_outputs_do_not_depend_on_the_order_of_threads(on_host):
    Z, a, _ = net((), 5 * launch.CHUNK, 4, 2, np.float64)
    assert all(np.array_equal(relu_outputs(Z, a), relu_outputs(Z, a)) for _ in range(3))


def test_kernels_take_any_memory_order_and_write_to_no_input(on_host):
    Z, a, direction = (np.asfortranarray(x) for x in net((), 40, 7, 2, np.float64))
    for x in (Z, a, direction):
        x.flags.writeable = False
    assert np.array_equal(masked(Z, a, direction), masked(*(np.ascontiguousarray(x) for x in (Z, a, direction))))
    assert np.array_equal(relu_outputs(Z, a), relu_outputs(np.ascontiguousarray(Z), np.ascontiguousarray(a)))


def hard_rows(dtype, d=5):
    """Pairs at angles from 1e-16 to π − 1e-16, either side of the switch of formulas, a zero row, norms far apart."""
    rng = np.random.default_rng(1)
    base = rng.standard_normal(d)
    base /= np.linalg.norm(base)
    across = rng.standard_normal(d)
    across -= base * (across @ base)
    across /= np.linalg.norm(across)
    angles = np.concatenate([10.0 ** np.arange(-16, 0), np.arccos([0.81, 0.8, 0.79, 0.0]), [1.5]])
    rows = [
        base,
        -base,
        *(np.cos(t) * base + np.sin(t) * across for t in angles),
        *(-np.cos(t) * base + np.sin(t) * across for t in angles),
    ]
    rows = np.array([*rows, np.zeros(d)])
    # Powers of two: they round nothing, and a scale of 1e±15 is in range in both dtypes.
    return (rows * 2.0 ** rng.integers(-30, 31, size=(len(rows), 1))).astype(dtype)


def half_products(X):
    """`‖x‖‖z‖/2`, above zero also for a row of zeros."""
    norms = np.linalg.norm(X.astype(float), axis=1)
    return norms[:, None] * norms[None, :] / 2 + np.finfo(X.dtype).tiny


@pytest.mark.parametrize("dtype", DTYPES)
def test_gram_function_near_parallel_and_opposite_rows(on_host, dtype):
    X = hard_rows(dtype)
    scale = half_products(X)
    # Both within 4 ulp of the truth beside the inner product's rounding, which either commits: d of them at most.
    for arguments in ((X,), (X[:7], X), (X, X[3:].copy())):
        n = (len(arguments[0]), len(arguments[-1]))
        here = scale[: n[0], -n[1] :]
        assert_exact(sim.gram.relu_gram(*arguments), gram.relu_gram(*arguments), 8 + X.shape[1], scale=here)
    H = sim.gram.relu_gram(X)
    assert np.array_equal(H, H.T)


def test_the_comparison_sees_an_angle_taken_from_the_inner_product(on_host, monkeypatch):
    monkeypatch.setattr(launch, "OPTIONS", ("-DDIRECT=0.9999999",))
    X = hard_rows(np.float64)
    with pytest.raises(AssertionError, match="differ by more than"):
        assert_exact(sim.gram.relu_gram(X), gram.relu_gram(X), 8 + X.shape[1], scale=half_products(X))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gram_function_is_exact_where_its_value_is_a_number(on_host, dtype):
    X = np.array([[1, 0], [0, 2], [1, 1], [-3, 0], [0, 0]], dtype=dtype)
    want = np.array([[0.5, 0, 0.375, 0, 0], [0, 2, 0.75, 0, 0], [0.375, 0.75, 1, -0.375, 0], [0, 0, -0.375, 4.5, 0], [0] * 5], dtype=dtype)
    H = sim.gram.relu_gram(X)
    assert_exact(H, want, 4, scale=half_products(X))
    assert H[0, 3] == H[3, 0] == 0
    assert np.array_equal(np.diagonal(H), np.diagonal(want))


def test_gram_function_at_the_ends_of_the_range(on_host):
    X = np.array([[3.0, 4.0], [4.0, -3.0], [6.0, 8.0]])
    sizes = np.array([1e150, 1e-150, 1.0])
    H, one = sim.gram.relu_gram(X * sizes[:, None]), gram.relu_gram(X)
    assert_exact(H, one * sizes[:, None] * sizes[None, :], 8, scale=50 * sizes[:, None] * sizes[None, :])


@pytest.mark.parametrize(("size", "message"), [(1e200, "overflow float64.*1e\\+200"), (1e-200, "row 0.*below the range")])
def test_gram_function_refuses_what_leaves_the_range(on_host, size, message):
    with pytest.raises(InvalidInput, match=message):
        sim.gram.relu_gram(np.array([[size, 0.0], [1.0, 1.0]]))


def test_without_cupy_the_gram_function_is_the_theory_s():
    X = np.random.default_rng(0).standard_normal((5, 3))
    assert np.array_equal(sim.gram.relu_gram(X), gram.relu_gram(X))


# ---- on a GPU


@pytest.fixture
def cupy():
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not module.is_available():
        pytest.skip("CuPy finds no GPU")
    return module


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("c", [1, 9])
def test_gpu_step_and_outputs(cupy, batch, c, dtype):
    given = net(batch, 1000, 33, c, dtype)
    Z, a, direction = (cupy.asarray(x) for x in given)
    got = masked(Z, a, direction)
    assert compat.is_cupy_array(got)
    assert_exact(to_numpy(got), masked(*given), 2 * c + 2, scale=np.abs(given[2]).sum(-1).max())
    u = relu_outputs(Z, a)
    assert np.array_equal(to_numpy(u), to_numpy(relu_outputs(Z, a)))
    wide = [x.astype(float) for x in given[:2]]
    assert_exact(to_numpy(u), relu_outputs(*wide), 2002, scale=np.maximum(wide[0], 0).sum(-2).max())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_gpu_gram_function(cupy, dtype):
    X = hard_rows(dtype)
    H = sim.gram.relu_gram(cupy.asarray(X))
    assert bool((H.T == H).all())
    assert_exact(to_numpy(H), gram.relu_gram(X), 8 + X.shape[1], scale=half_products(X))


@pytest.mark.gpu
def test_gpu_empirical_kernel(cupy):
    rng = np.random.default_rng(0)
    W, X, a = rng.standard_normal((4096, 5)), rng.standard_normal((40, 5)), rng.choice([-1.0, 1.0], size=(4096, 3))
    got = empirical_kernel(*(cupy.asarray(x) for x in (W, X)), a=cupy.asarray(a))
    assert_dtype_close(to_numpy(got), empirical_kernel(W, X, a=a), 1e-4, scale=1.0)


@pytest.mark.gpu
def test_gpu_simulation_agrees_with_the_cpu(cupy):
    rng = np.random.default_rng(0)
    problem = ptoq.TransferProblem(
        source=(rng.standard_normal((12, 4)), rng.standard_normal(12)), target=(rng.standard_normal((9, 4)), rng.standard_normal(9))
    )
    here, there = (ptoq.simulate(problem, ptoq.Schedule(20, 30), width=512, backend=b) for b in ("numpy", "cupy"))
    for name, value in here.scalars().items():
        if value is not None:
            assert_dtype_close(np.float64(there.scalars()[name]), value, 1e-2, scale=max(abs(value), 1e-3))


@pytest.mark.gpu
def test_gpu_backend_limits_its_pool_and_raises_on_a_failed_factorisation(cupy):
    from sim.backend import resolve_backend

    backend = resolve_backend("auto")
    assert backend.name == "cupy"
    assert backend.describe() not in ("", "cpu")
    assert 0 < cupy.get_default_memory_pool().get_limit() <= cupy.cuda.runtime.memGetInfo()[1]
    assert 0 < backend.free_memory() <= cupy.cuda.runtime.memGetInfo()[1]
    with backend.guarded(), pytest.raises(np.linalg.LinAlgError):
        cupy.linalg.cholesky(-cupy.eye(3))

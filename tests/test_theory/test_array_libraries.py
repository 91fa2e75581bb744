"""One implementation, every array library: same numbers, and out comes the library, dtype and device that went in."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import assert_dtype_close
from theory import GramBlocks, InvalidInput, Schedule, TransferProblem, predict, relu_gram, transformed_labels
from theory.numeric import landscape, spectrum, stages
from theory.numeric.spectrum import GramSpectrum

DTYPES = [np.float64, np.float32]
STEPS = [None, 0, 1, 25]


def data(dtype, c=None):
    """Source, target and test sets, well conditioned."""
    rng = np.random.default_rng(2)
    shape = () if c is None else (c,)
    return {
        name: (rng.normal(size=(n, 6)).astype(dtype), rng.normal(size=(n, *shape)).astype(dtype))
        for name, n in (("P", 5), ("Q", 4), ("T", 3))
    }


def near_parallel(dtype):
    X = np.random.default_rng(1).normal(size=(6, 3))
    return np.concatenate([X, -X[:2], X[:2] * 2 + 1e-6, np.zeros((1, 3))]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_gram(xp_case, dtype):
    X = near_parallel(dtype)
    for arguments in ((X,), (X, X[:4].copy()), (X[:2], X)):
        got = relu_gram(*(xp_case.load(a) for a in arguments))
        assert_dtype_close(got, xp_case.load(relu_gram(*arguments)), 2**-8, scale=np.linalg.norm(X, axis=1).max() ** 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("c", [None, 2])
def test_transformed_labels(xp_case, dtype, steps, c):
    sets = data(dtype, c)
    arguments = (*sets["P"], sets["Q"][0])
    got = transformed_labels(*(xp_case.load(a) for a in arguments), steps=steps)
    assert_dtype_close(got, xp_case.load(transformed_labels(*arguments, steps=steps)), 1, scale=np.linalg.norm(sets["P"][1]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", STEPS)
def test_filters(xp_case, dtype, k):
    values = np.array([0, 1e-9, 0.01, 0.7, 1, 1.9], dtype=dtype)
    for function in (spectrum.residual_filter, spectrum.integral_filter):
        want = function(values, 1.0, k)
        assert want.dtype == dtype
        assert_dtype_close(function(xp_case.load(values), 1.0, k), xp_case.load(want), 2**-8, scale=np.maximum(1, np.abs(want)))
    for function in (spectrum.flow_residual_filter, spectrum.flow_integral_filter):
        assert_dtype_close(function(xp_case.load(values), 3.0), xp_case.load(function(values, 3.0)), 2**-8, scale=3.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [None, 2])
def test_stages_and_landscape(xp_case, dtype, c):
    X, y = data(dtype, c)["P"]
    H = relu_gram(X)
    here, there = GramSpectrum.of(H), GramSpectrum.of(xp_case.load(H))
    loaded, size = xp_case.load(y), float(np.sum(y * y))
    assert (there.rank, there.size) == (here.rank, here.size)
    assert_dtype_close(there.values, xp_case.load(here.values), 2**-8, scale=here.largest)
    for name in ("largest", "smallest"):
        assert isinstance(getattr(there, name), float)
    for k in STEPS:
        for function in (stages.residual, stages.coefficients):
            got = function(there, loaded, 0.2, k)
            assert_dtype_close(got, xp_case.load(function(here, y, 0.2, k)), 1, scale=max(1.0, 0.2 * (k or 100)) * size)
        for function in (stages.displacement, stages.loss):
            assert_float_close(dtype, function(there, loaded, 0.2, k), function(here, y, 0.2, k), size)
    assert_dtype_close(stages.flow_residual(there, loaded, 2.0), xp_case.load(stages.flow_residual(here, y, 2.0)), 1, scale=size)
    assert_dtype_close(stages.mode_energy(there, loaded), xp_case.load(stages.mode_energy(here, y)), 1, scale=size)
    assert stages.steps_to_loss(there, loaded, 0.1 * size, 0.2) == stages.steps_to_loss(here, y, 0.1 * size, 0.2)
    assert_float_close(dtype, stages.inverse_norm_squared(there, loaded), stages.inverse_norm_squared(here, y), size / here.smallest)
    gains = [stages.transfer_gain(s, v, 0.5 * v + 0.1)[0] for s, v in ((there, loaded), (here, y))]
    assert_float_close(dtype, *gains, 1)
    gains = [stages.best_scale_gain(s, v, 0.5 * v + 0.1) for s, v in ((there, loaded), (here, y))]
    assert_float_close(dtype, *gains, 1)
    for function, arguments in [
        (landscape.loss_along_gradient, (0.3,)),
        (landscape.gradient_norm, ()),
        (landscape.gradient_change, (0.3,)),
        (landscape.effective_smoothness, ()),
    ]:
        assert_float_close(dtype, function(there, loaded, *arguments), function(here, y, *arguments), size)
    for got, want in zip(
        landscape.loss_range_along_gradient(there, loaded, 0, 2), landscape.loss_range_along_gradient(here, y, 0, 2), strict=True
    ):
        assert_float_close(dtype, got, want, 4 * size)


def assert_float_close(dtype, got, want, scale):
    """Python floats that were computed in `dtype`."""
    assert isinstance(got, float)
    assert_dtype_close(np.asarray(got, dtype=dtype), np.asarray(want, dtype=dtype), 1, scale=scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [None, 2])
@pytest.mark.parametrize("schedule", [Schedule(), Schedule(9, 12, snapshots=(3,))])
@pytest.mark.parametrize("start", [False, True])
def test_predict(xp_case, dtype, c, schedule, start):
    sets = data(dtype, c)
    names = {"P": "source", "Q": "target", "T": "test"}
    here = TransferProblem(**{names[n]: pair for n, pair in sets.items()})
    there = TransferProblem(**{names[n]: tuple(xp_case.load(a) for a in pair) for n, pair in sets.items()})
    assert here == there
    u = tuple(0.5 * y for _, y in sets.values()) if start else None
    want = predict(here, schedule, initial_outputs=u)
    got = predict(there, schedule, initial_outputs=u and tuple(xp_case.load(v) for v in u))
    for name, value in want.scalars().items():
        if value is None:
            assert got.scalars()[name] is None
        else:
            assert_float_close(dtype, got.scalars()[name], value, max(10, abs(value)))
    for name in ("source_outputs", "target_outputs", "test_outputs", "test_outputs_scratch"):
        assert getattr(want, name).dtype == dtype
        assert_dtype_close(getattr(got, name), xp_case.load(getattr(want, name)), 1, scale=10.0)
    assert got.trajectory.steps == want.trajectory.steps
    assert all(isinstance(v, float) for v in (*got.trajectory.loss, *got.trajectory.displacement))
    assert got.to_dict(arrays=True)["source_rank"] == want.source_rank


def test_interacting_gram_blocks(xp_case):
    sets = data(np.float64, 2)
    names = {"P": "source", "Q": "target", "T": "test"}
    here = TransferProblem(**{names[n]: pair for n, pair in sets.items()})
    blocks = {f: np.kron(getattr(GramBlocks.of(here, relu_gram), f), np.eye(2)) for f in GramBlocks.__dataclass_fields__}
    there = TransferProblem(**{names[n]: tuple(xp_case.load(a) for a in pair) for n, pair in sets.items()})
    got = predict(there, Schedule(3, 3), gram=GramBlocks(**{f: xp_case.load(v) for f, v in blocks.items()}))
    assert_dtype_close(got.test_outputs, xp_case.load(predict(here, Schedule(3, 3)).test_outputs), 1, scale=10.0)


def test_integers_become_float64(xp_case):
    X = np.array([[1, 2], [3, -1]])
    assert_dtype_close(relu_gram(xp_case.load(X)), xp_case.load(relu_gram(X.astype(float))), 2**-8, scale=10.0)


def test_bad_values_are_named_from_every_library(xp_case):
    X = np.ones((3, 2))
    X[1, 1] = np.nan
    with pytest.raises(InvalidInput, match=r"X\[1, 1\] is nan; finite numbers are allowed"):
        relu_gram(xp_case.load(X))
    with pytest.raises(InvalidInput, match=r"complex.*allowed"):
        relu_gram(xp_case.load(np.ones((2, 2), dtype=complex)))
    with pytest.raises(InvalidInput, match=r"source X row 1 is all zeros"):
        TransferProblem(
            source=(xp_case.load(np.array([[1.0], [0.0]])), xp_case.load(np.ones(2))), target=(xp_case.load(np.ones((1, 1))),) * 2
        )


def test_mixed_precision_of_one_library_is_refused_or_kept_wide(xp_case):
    # NumPy promotes; where a library refuses to, the refusal must be ours.
    X = np.random.default_rng(0).normal(size=(3, 2))
    mixed = xp_case.load(X), xp_case.load(X[:2].astype(np.float32))
    H, refusal = result_or_refusal(lambda: relu_gram(*mixed))
    if refusal is None:
        assert_dtype_close(H, xp_case.load(relu_gram(X, X[:2].astype(np.float32).astype(float))), 1, scale=10.0)
    else:
        assert "float32" in refusal


def result_or_refusal(call):
    """What `call` returns and None, or None and the message of its refusal; any other error comes through."""
    try:
        return call(), None
    except InvalidInput as error:
        return None, str(error)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_is_widened_or_refused(name):
    # No LAPACK decomposes it, so it may neither crash later nor come back as it is.
    torch = pytest.importorskip("torch")
    sets = {n: tuple(torch.asarray(a).to(getattr(torch, name)) for a in pair) for n, pair in data(np.float64).items()}
    outcome, refusal = result_or_refusal(lambda: predict(TransferProblem(source=sets["P"], target=sets["Q"])))
    if refusal is None:
        assert outcome.target_outputs.dtype in (torch.float32, torch.float64)
    else:
        assert name in refusal
        assert "allowed" in refusal

"""Solvers for large problems: each held against the eigendecomposition, on its bounds, and where it must refuse."""

from __future__ import annotations

import importlib
import math
import threading
import time

import numpy as np
import pytest

from tests.helpers import assert_dtype_close, assert_exact
from theory import GramBlocks, InvalidInput, NotConverged, Schedule, TransferProblem, UnstableStep, predict, relu_gram
from theory.arrays import to_numpy
from theory.errors import TooLarge
from theory.numeric import gram_tiles
from theory.numeric.kernels import deep, kernel
from theory.numeric.solvers import (
    CholeskyFactor,
    Dense,
    LowRank,
    SingularGram,
    Sizes,
    Tiled,
    assemble,
    choose,
    conjugate_gradients,
    cross_times,
    lanczos,
    lanczos_apply,
    largest_eigenvalue,
    operators,
)
from theory.numeric.solvers.lanczos import descent
from theory.numeric.spectrum import GramSpectrum, integral_filter, residual_filter
from theory.threads import workers

DTYPES = [np.float64, np.float32]
GIB = 2**30


def rows(n, d=6, dtype=np.float64, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, d))
    return (X / np.linalg.norm(X, axis=1)[:, None]).astype(dtype)


def labels(n, c=2, dtype=np.float64, seed=1):
    return np.random.default_rng(seed).normal(size=(n, c)).astype(dtype)


@pytest.fixture(scope="module")
def medium():
    X = rows(300, 8)
    H = relu_gram(X)
    return X, H, labels(300), GramSpectrum.of(H)


# ---- the matrix as an operator


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "erf", "deep"])
def test_tiles_multiply_as_the_matrix_does(xp_case, dtype, name, monkeypatch):
    # 23 rows in tiles of 7 and 9: a rest in every direction.
    monkeypatch.setattr(operators, "TILE", 7)
    monkeypatch.setattr(operators, "_WIDE", 9)
    gram = {"relu": relu_gram, "erf": kernel("erf").gram, "deep": deep(kernel("relu"), 2).gram}[name]
    X, Z, V = xp_case.load(rows(23, dtype=dtype)), xp_case.load(rows(11, dtype=dtype, seed=2)), xp_case.load(labels(23, dtype=dtype))
    tiled, dense = Tiled(gram, X), Dense(gram(X))
    assert_dtype_close(tiled.times(V), dense.times(V), 2**-6, scale=23)
    assert_dtype_close(tiled.diagonal(), dense.diagonal(), 2**-8, scale=1)
    assert_dtype_close(tiled.columns([3, 22]), dense.columns([3, 22]), 2**-8, scale=1)
    assert_dtype_close(assemble(gram, X), dense.H, 2**-8, scale=1)
    assert_dtype_close(cross_times(gram, Z, X, V), gram(Z, X) @ V, 2**-6, scale=23)


def test_the_number_of_threads_changes_no_product(monkeypatch):
    X, V = rows(1000, 5), labels(1000)
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr("theory.threads.available_threads", lambda threads=threads: threads)
        found.append((Tiled(relu_gram, X).times(V), relu_gram(X)))
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_a_tile_rate_is_a_rate():
    assert 0 < Tiled(relu_gram, rows(800, 5)).tile_rate(labels(800), strips=2) < math.inf


# ---- Lanczos


@pytest.mark.parametrize("share", [1.0, 1.7])
@pytest.mark.parametrize("steps", [0, 1, 2, 7, 60, 3000])
def test_lanczos_is_descent_within_its_own_bound(medium, share, steps):
    _, H, Y, spectrum = medium
    lr = share / spectrum.largest
    exact = spectrum.apply(residual_filter(spectrum.values, lr, steps), Y), spectrum.apply(integral_filter(spectrum.values, lr, steps), Y)
    got = lanczos_apply(Dense(H), Y, lr, steps)
    for a, b, size in zip(got, exact, (np.linalg.norm(Y), np.linalg.norm(exact[1])), strict=True):
        assert_dtype_close(a, b, 2**-6, scale=size + np.finfo(float).tiny)
    # Stopped too early the error is large, and the bound must hold: it is no estimate.
    for space, y, rtol in (
        (s, y, r) for r in (1e-1, 1e-2, 1e-4) for s, y in zip(lanczos(Dense(H), Y, lr, steps, rtol=r), Y.T, strict=True)
    ):
        bound, floor = space.residual_error(lr, steps)
        small = space.vectors @ (np.asarray(residual_filter(space.values, lr, steps)) * space.vectors[0])
        error = np.linalg.norm(space.norm * small @ space.basis - spectrum.apply(residual_filter(spectrum.values, lr, steps), y))
        assert error <= bound * (1 + 1e-9) + floor + 300 * np.finfo(float).eps * space.norm
        assert bound <= rtol * space.norm


def test_lanczos_of_k_steps_is_exact_after_k_plus_one(medium):
    _, H, Y, spectrum = medium
    for steps in (1, 3, 10):
        assert max(s.steps for s in lanczos(Dense(H), Y, 1 / spectrum.largest, steps, rtol=0.0)) <= steps + 1


def test_lanczos_stops_in_an_invariant_space():
    H = np.diag([3.0, 3.0, 1.0, 1.0, 0.5])
    (space,) = lanczos(Dense(H), np.array([[1.0], [1.0], [1.0], [0.0], [0.0]]), 0.3, 10**6)
    assert (space.steps, space.beta) == (2, 0.0)
    got = lanczos_apply(Dense(H), np.zeros((5, 1)), 0.3, 50)
    assert np.array_equal(got[0], np.zeros((5, 1)))


def test_lanczos_that_may_not_go_on_says_how_far_it_came(medium):
    _, H, Y, spectrum = medium
    with pytest.raises(NotConverged, match=r"relative error of .* after 5 steps for 3000 steps of descent; .* was asked for"):
        lanczos(Dense(H), Y, 1 / spectrum.largest, 3000, max_steps=5)
    with pytest.raises(InvalidInput, match=r"above 1/λ_max.* at most 2097152 steps"):
        lanczos(Dense(H), Y, 1.5 / spectrum.largest, 10**9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_eigenvalue(xp_case, dtype):
    X = rows(60, dtype=dtype)
    want = GramSpectrum.of(relu_gram(X)).largest
    assert_exact(np.asarray(largest_eigenvalue(Dense(xp_case.load(relu_gram(X)))), dtype=dtype), dtype(want), 64)
    assert largest_eigenvalue(Dense(xp_case.load(np.zeros((4, 4), dtype=dtype)))) == 0
    with pytest.raises(NotConverged, match="2 Lanczos steps"):
        largest_eigenvalue(Dense(xp_case.load(relu_gram(X))), max_steps=2)


# ---- Cholesky


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_cholesky_solves_in_the_memory_of_one_matrix(dtype, order):
    H, Y = relu_gram(rows(300, 8, dtype)), labels(300, dtype=dtype)
    spectrum = GramSpectrum.of(H)
    own = np.array(H, order=order)
    factor = CholeskyFactor.of(own, spectrum.largest)
    assert np.shares_memory(factor.packed, own)
    x, relative = factor.solve(Y)
    # Backward stable: a small multiple of eps, whatever the condition.
    assert relative <= 300 * np.finfo(dtype).eps
    assert_dtype_close(factor.times(Y), H @ Y, 2**-4, scale=spectrum.largest)
    condition = spectrum.largest / spectrum.smallest
    assert np.linalg.norm(H @ x - Y) <= condition * 300 * np.finfo(dtype).eps * np.linalg.norm(Y)
    assert spectrum.smallest * (1 - 1e-3) <= factor.smallest <= 3 * spectrum.smallest


@pytest.mark.parametrize("dtype", DTYPES)
def test_cholesky_of_every_library(xp_case, dtype):
    H, Y = relu_gram(rows(300, 8, dtype)), labels(300, dtype=dtype)
    spectrum = GramSpectrum.of(H)
    loaded = xp_case.load(H)
    if xp_case.name == "read-only":
        loaded = np.array(loaded)
    x, relative = CholeskyFactor.of(loaded, spectrum.largest).solve(xp_case.load(Y))
    assert relative <= 300 * np.finfo(dtype).eps
    want = spectrum.apply(1 / spectrum.values, Y)
    assert_dtype_close(x, xp_case.load(want), 1, scale=np.linalg.norm(want) * (1 if dtype == np.float64 else 8))


@pytest.mark.parametrize("spoil", ["duplicate", "nearly"])
def test_a_singular_matrix_is_told_and_not_solved(xp_case, spoil):
    X = rows(40)
    X[7] = X[3] * 2 + (1e-15 if spoil == "nearly" else 0)
    H = xp_case.load(relu_gram(X))
    with pytest.raises(SingularGram, match=r"40 points is numerically singular .* n·eps·λ_max .* 'conjugate-gradients'"):
        CholeskyFactor.of(np.array(H) if isinstance(H, np.ndarray) else H, GramSpectrum.of(relu_gram(X)).largest)


# ---- conjugate gradients


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [None, 1, 20, 90])
def test_conjugate_gradients_reach_what_they_say(xp_case, dtype, rank):
    X, Y = rows(90, dtype=dtype), labels(90, dtype=dtype)
    Y[:, 1] = 0
    spectrum = GramSpectrum.of(relu_gram(X))
    operator = Tiled(relu_gram, xp_case.load(X))
    preconditioner = None if rank is None else LowRank.of(operator, rank)
    found = conjugate_gradients(operator, xp_case.load(Y), preconditioner=preconditioner)
    true = np.linalg.norm(Y - relu_gram(X) @ to_numpy(found.x), axis=0)
    assert true[0] <= (np.finfo(dtype).eps ** 0.5 / 16) * np.linalg.norm(Y[:, 0]) * (1 + 1e-3) + 90 * np.finfo(dtype).eps * spectrum.largest
    assert true[1] == 0
    assert found.relative_residual <= np.finfo(dtype).eps ** 0.5 / 16
    if rank == 90:
        assert found.iterations <= 6


def test_a_preconditioner_of_all_columns_is_the_matrix():
    X, Y = rows(60), labels(60)
    H = relu_gram(X)
    P = LowRank.of(Dense(H), 60)
    assert sorted(P.pivots) == list(range(60))
    assert_dtype_close(product(P, Y), H @ Y, 2, scale=np.linalg.norm(Y))
    # What rounding leaves outside all 60 directions is divided by `shift`, √eps of the mean eigenvalue, and multiplied by λ_max.
    assert_dtype_close(product(P, P.solve(Y)), Y, 1, scale=P.values.max() / np.mean(np.diagonal(H)) * np.linalg.norm(Y))


def product(P, V):
    """`P V`."""
    inside = P.vectors.T @ V
    return P.vectors @ (P.values[:, None] * inside) + P.shift * (V - P.vectors @ inside)


def test_a_preconditioner_of_a_low_rank_matrix_stops_at_its_rank():
    B = np.random.default_rng(0).normal(size=(50, 4))
    P = LowRank.of(Dense(B @ B.T), 30)
    assert P.rank <= 8
    assert_dtype_close(product(P, np.eye(50)), B @ B.T, 8, scale=np.linalg.norm(B) ** 2 / 50)


def test_a_preconditioner_saves_products(medium):
    _, H, Y, _ = medium
    plain = conjugate_gradients(Dense(H), Y).iterations
    assert conjugate_gradients(Dense(H), Y, preconditioner=LowRank.of(Dense(H), 60)).iterations < 0.7 * plain


def test_conjugate_gradients_that_cannot_arrive_say_where_they_are(medium):
    _, H, Y, _ = medium
    with pytest.raises(NotConverged, match=r"residual of .* after 6 products with a matrix of 300 points; .* was asked for"):
        conjugate_gradients(Dense(H), Y, max_iterations=5)
    X = rows(40)
    X[7] = X[3]
    with pytest.raises(NotConverged, match=r"no longer falls: is Y in the range of H\?"):
        conjugate_gradients(Dense(relu_gram(X)), labels(40))


def test_conjugate_gradients_solve_a_singular_system_that_has_a_solution():
    X = rows(40)
    X[7] = X[3]
    H = relu_gram(X)
    assert conjugate_gradients(Dense(H), H @ labels(40)).relative_residual < 1e-9


# ---- the choice


def test_the_first_solver_that_fits_is_taken():
    def taken(n, free, finite=False, solver="auto", **options):
        return choose(solver, Sizes(source=n, target=n, width=64), finite=finite, plain=True, free=free, **options)

    assert taken(1000, 2 * GIB) == "eigh"
    assert taken(20_000, 8 * GIB) == "cholesky"
    assert taken(20_000, 8 * GIB, finite=True) == "lanczos"
    assert taken(100_000, 8 * GIB) == "conjugate-gradients"
    assert taken(1000, 2 * GIB, solver="lanczos") == "lanczos"
    # Eigendecompositions that would just fit leave no room for anything else.
    need = Sizes(source=1000, target=1000, width=64).need("eigh")
    assert taken(1000, need) == "cholesky"
    assert taken(1000, need, solver="eigh") == "eigh"


def test_what_does_not_fit_is_refused_with_the_numbers():
    for solver in ("auto", "eigh", "cholesky"):
        with pytest.raises(
            TooLarge, match=r"^1000000 source, 500000 target .* GiB by .*; 2.0 GiB are free: about \d+ source and \d+ "
        ) as told:
            choose(solver, Sizes(source=10**6, target=500_000), finite=False, plain=True, free=2 * GIB)
        source, target = (int(word) for word in str(told.value).split("about ")[-1].split() if word.isdigit())
        last = "conjugate-gradients" if solver == "auto" else solver
        assert (
            Sizes(source=source, target=target).need(last) <= 2 * GIB < Sizes(source=int(1.1 * source), target=int(1.1 * target)).need(last)
        )


@pytest.mark.parametrize(
    ("solver", "schedule", "told"),
    [
        ("qr", Schedule(), "solver is 'qr'; one of 'auto', 'eigh'"),
        ("cholesky", Schedule(5), "'lanczos' is allowed for numbers of steps"),
        ("cholesky", Schedule(snapshots=(3,)), "'lanczos' is allowed for numbers of steps"),
        ("lanczos", Schedule(5, 5, momentum=0.5), "'eigh' .* is allowed with momentum"),
        ("conjugate-gradients", Schedule(weight_decay=0.1, anchor="start"), "'eigh' .* is allowed with momentum, weight_decay"),
        ("lanczos", Schedule(5, 5, target_lr=10.0, allow_unstable=True), r"target_lr is 10, above 2/λ_max"),
    ],
)
def test_a_solver_that_cannot_is_refused(solver, schedule, told):
    with pytest.raises(InvalidInput, match=told):
        predict(problem(), schedule, solver=solver)


def test_an_unstable_step_is_an_error_by_every_solver():
    for solver in ("eigh", "lanczos", "conjugate-gradients"):
        with pytest.raises(UnstableStep, match=r"source_lr = 10 diverges"):
            predict(problem(), Schedule(5, 5, source_lr=10.0), solver=solver)


# ---- one problem, every path


def problem(c=None, dtype=np.float64, load=np.array, spoil=False):
    shape = () if c is None else (c,)
    rng = np.random.default_rng(4)
    sets = {name: (rows(n, dtype=dtype, seed=n), rng.normal(size=(n, *shape)).astype(dtype)) for name, n in SETS}
    if spoil:
        X, y = sets["target"]
        X[1], y[1] = X[0], y[0]
    return TransferProblem(**{name: tuple(load(a) for a in pair) for name, pair in sets.items()})


SETS = (("source", 40), ("target", 34), ("test", 9))
SCHEDULES = [Schedule(), Schedule(30, 200), Schedule(None, 30), Schedule(7, None, snapshots=(3, 50)), Schedule(0, 0)]


def assert_same_outcome(got, want, dtype=np.float64):
    """Equal up to √eps times what the source's condition makes of it: 2^6 covers both stages' λ_max/λ_min, of 10² to 10³, by its root."""
    for name, value in want.scalars().items():
        if value is None:
            assert got.scalars()[name] is None
        else:
            assert_dtype_close(np.asarray(got.scalars()[name], dtype=dtype), np.asarray(value, dtype=dtype), 2**6, scale=max(1, abs(value)))
    for name in ("source_outputs", "target_outputs", "pretrained_target_outputs", "test_outputs", "test_outputs_scratch"):
        assert_dtype_close(getattr(got, name), getattr(want, name), 2**6, scale=1.0)
    for side in ("trajectory", "trajectory_scratch"):
        here, there = getattr(got, side), getattr(want, side)
        at = [there.steps.index(k) for k in here.steps]
        for name in ("loss", "displacement", "source_loss"):
            mine, theirs = getattr(here, name), getattr(there, name)
            if theirs is None:
                assert mine is None
            else:
                assert_dtype_close(np.array(mine, dtype=dtype), np.array([theirs[i] for i in at], dtype=dtype), 2**6, scale=max(theirs))
    assert (got.source_steps, got.target_steps, got.stable) == (want.source_steps, want.target_steps, want.stable)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("c", [None, 3])
@pytest.mark.parametrize("given", ["kernel", "blocks"])
def test_every_path_gives_the_same_outcome(schedule, c, given):
    transfer = problem(c)
    options = {"gram": GramBlocks.of(transfer, relu_gram)} if given == "blocks" else {}
    start = tuple(0.3 * np.roll(y, 1, axis=0) for _, y in (transfer.source, transfer.target, transfer.test))
    want = predict(transfer, schedule, initial_outputs=start, **options)
    assert want.solver == "eigh"
    finite = schedule.source_steps is not None or schedule.target_steps is not None or schedule.snapshots
    for solver in ("lanczos", "conjugate-gradients") if finite else ("cholesky", "lanczos", "conjugate-gradients"):
        got = predict(transfer, schedule, initial_outputs=start, solver=solver, **options)
        assert_same_outcome(got, want)
        assert got.solver == solver
        for rank, full in ((got.source_rank, 40), (got.target_rank, 34)):
            assert rank in (None, full)
            assert rank is not None or "rank" in got.solver_reason


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", ["cholesky", "lanczos", "conjugate-gradients"])
def test_every_path_in_every_library(xp_case, dtype, solver):
    schedule = Schedule() if solver == "cholesky" else Schedule(20, 30)
    want = predict(problem(2, dtype, xp_case.load), schedule)
    assert_same_outcome(predict(problem(2, dtype, xp_case.load), schedule, solver=solver), want, dtype)


def test_given_blocks_that_are_not_symmetric_are_refused():
    transfer = problem()
    blocks = GramBlocks.of(transfer, relu_gram)
    blocks.target[3, 5] += 1
    with pytest.raises(InvalidInput, match=r"the target Gram matrix is not symmetric: \|H − Hᵀ\| reaches 1 "):
        predict(transfer, gram=blocks, solver="cholesky")


def test_blocks_of_interacting_outputs():
    transfer = problem(2)
    plain = GramBlocks.of(transfer, relu_gram)
    blocks = GramBlocks(**{f: np.kron(getattr(plain, f), np.eye(2)) for f in GramBlocks.__dataclass_fields__})
    before = np.array(blocks.target)
    assert_same_outcome(predict(transfer, gram=blocks, solver="cholesky"), predict(transfer))
    assert np.array_equal(blocks.target, before)


@pytest.mark.parametrize("fault", ["relu_tile", "strip", "substitution", "filter"])
def test_a_planted_fault_is_seen(fault, monkeypatch):
    """Each path's own arithmetic, wrong in one place by 10⁻³ or one sign: the comparison above must fail."""
    solver = {"relu_tile": "conjugate-gradients", "strip": "conjugate-gradients", "substitution": "cholesky", "filter": "lanczos"}[fault]
    schedule = Schedule(30, 200) if fault == "filter" else Schedule()
    want = predict(problem(), schedule)
    assert_same_outcome(predict(problem(), schedule, solver=solver), want)
    if fault == "relu_tile":
        tile = operators.relu_tile
        monkeypatch.setattr(operators, "relu_tile", lambda *at: tile(*at) * (1 + 1e-3))
    elif fault == "strip":
        strip = Tiled._strip
        monkeypatch.setattr(Tiled, "_strip", lambda self, tile, width, start, V: strip(self, tile, width, start, V) * (1 + 1e-3))
    elif fault == "substitution":
        solve = CholeskyFactor.solve
        monkeypatch.setattr(CholeskyFactor, "solve", lambda self, Y: (solve(self, Y)[0] * (1 + 1e-3), 0.0))
    else:
        # The name of the module is that of a function in its package.
        module = importlib.import_module("theory.numeric.solvers.lanczos")
        monkeypatch.setattr(module, "residual_filter", lambda values, lr, k: residual_filter(values, lr, k + 1))
    with pytest.raises(AssertionError):
        assert_same_outcome(predict(problem(), schedule, solver=solver), want)


def memory_for(solver, monkeypatch):
    free = Sizes(source=40, target=34, test=9, width=6).need(solver)
    monkeypatch.setattr(importlib.import_module("theory.predict"), "free_memory", lambda like: free)


def test_a_singular_target_is_told_by_cholesky_and_auto_goes_on(monkeypatch):
    transfer = problem(spoil=True)
    with pytest.raises(SingularGram, match="the target: the Gram matrix of 34 points is numerically singular"):
        predict(transfer, solver="cholesky")
    # Numbers of steps need no inverse; only the gain does.
    got = predict(transfer, Schedule(5, 9), solver="lanczos")
    assert got.gain is None and "numerically singular" in got.gain_reason and "solver='eigh'" in got.gain_reason
    assert_dtype_close(np.asarray(got.displacement), np.asarray(predict(transfer, Schedule(5, 9)).displacement), 1, scale=1)
    # Memory for all but the eigendecomposition: Cholesky is taken, finds the matrix singular, and the labels are in its range.
    memory_for("cholesky", monkeypatch)
    fallen = predict(transfer)
    assert fallen.solver == "cholesky" and "conjugate gradients in place of Cholesky on the target" in fallen.solver_reason
    monkeypatch.undo()
    assert_same_outcome(fallen, predict(transfer))


def test_labels_outside_the_range_of_a_singular_target_do_not_pass_as_solved(monkeypatch):
    transfer = problem(spoil=True)
    transfer.target[1][1] *= -1
    memory_for("cholesky", monkeypatch)
    with pytest.raises(NotConverged, match="is Y in the range of H"):
        predict(transfer)


def test_progress_is_told_and_stops_a_run():
    seen = []
    predict(problem(), Schedule(50, 50), solver="conjugate-gradients", progress=lambda what, share: seen.append((what, share)))
    names = {what for what, _ in seen}
    assert {"source: Lanczos", "target: preconditioner", "target: conjugate gradients"} <= names
    assert all(0 <= share <= 1 for _, share in seen)

    def stop(what, share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(problem(), Schedule(50, 50), solver="conjugate-gradients", progress=stop)


def test_progress_of_the_largest_eigenvalue_ends_at_its_end():
    seen = []
    largest_eigenvalue(Dense(relu_gram(rows(200))), progress=lambda what, share: seen.append(share))
    assert seen[-1] == 1 and all(0 <= share <= 1 for share in seen)


def test_threads_of_an_interrupted_caller_begin_nothing_more():
    began = []

    def slow(i):
        began.append(i)
        time.sleep(0.01)

    def interrupted():
        with workers(2) as run:
            for _ in run(slow, range(500)):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(began) < 100
    assert not [t for t in threading.enumerate() if "ThreadPool" in t.name]


# ---- singular and indefinite matrices, steps at the edge


@pytest.mark.parametrize("steps", [10, 10**6, 10**9])
def test_labels_in_the_null_space_move_no_weight(steps):
    X = rows(20)
    X[10:] = X[:10]
    y = labels(10, 1)
    # Rounding in the place of a zero eigenvalue, over many steps, would pass for a displacement.
    moved = descent(lanczos(Dense(relu_gram(X)), np.concatenate([y, -y]), 0.1, steps), 0.1, (steps,))
    assert moved.displacement == (0.0,)


@pytest.mark.parametrize("steps", [10**3, 10**9])
def test_long_runs_on_a_singular_matrix_are_those_of_the_eigendecomposition(steps):
    X, Y = rows(20), labels(20, 1)
    X[10:] = X[:10]
    H = relu_gram(X)
    spectrum = GramSpectrum.of(H)
    lr = 1 / spectrum.largest
    phi = integral_filter(spectrum.values, lr, steps)
    want = np.sqrt(np.sum((phi[:, None] * spectrum.project(Y)) ** 2 * spectrum.values[:, None]))
    got = descent(lanczos(Dense(H), Y, lr, steps), lr, (steps,))
    assert_dtype_close(np.asarray(got.displacement[0]), np.asarray(want), 2**4, scale=want)


@pytest.mark.parametrize("solver", ["eigh", "cholesky", "lanczos", "conjugate-gradients"])
def test_an_indefinite_matrix_is_refused_by_every_solver(solver):
    blocks = GramBlocks.of(problem(), relu_gram)
    shifted = GramBlocks(
        **{f: getattr(blocks, f) - (0.4 * np.eye(34) if f == "target" else 0) for f in GramBlocks.__dataclass_fields__},
    )
    with pytest.raises(InvalidInput, match=r"the Gram matrix is indefinite: λ_min .* positive semi-definite is allowed"):
        predict(problem(), Schedule() if solver == "cholesky" else Schedule(5, 5), gram=shifted, solver=solver)


@pytest.mark.parametrize("solver", ["cholesky", "lanczos", "conjugate-gradients"])
def test_a_function_that_is_no_gram_function_is_refused_without_an_eigendecomposition(solver):
    A = np.random.default_rng(0).normal(size=(6, 6))
    with pytest.raises(InvalidInput, match="the source Gram matrix is not symmetric"):
        predict(problem(), kernel=lambda X, Z=None: X @ A @ (X if Z is None else Z).T, solver=solver)
    with pytest.raises(InvalidInput, match=r"indefinite: target point \d+ and source point"):
        predict(problem(), kernel=lambda X, Z=None: relu_gram(X, Z) * (1 if Z is None else 30), solver=solver)


@pytest.mark.parametrize("seed", range(5))
def test_two_over_the_largest_eigenvalue_has_no_limit_by_any_solver(seed):
    X, Z = rows(20, seed=seed), rows(15, seed=seed + 50)
    transfer = TransferProblem(source=(X, labels(20, 1)[:, 0]), target=(Z, labels(15, 1)[:, 0]))
    for share in (-1, 0, 1):
        lr = 2 / GramSpectrum.of(relu_gram(X)).largest * (1 + share * 2.0**-52)
        for solver in ("eigh", "cholesky", "lanczos", "conjugate-gradients"):
            with pytest.raises(UnstableStep, match=r"has no limit to train to|diverges"):
                predict(transfer, Schedule(source_lr=lr), solver=solver)


def test_recorded_steps_take_memory():
    few, many = (Sizes(source=1000, target=1000, outputs=10, recorded=r) for r in (1, 101))
    for solver in ("eigh", "lanczos", "conjugate-gradients"):
        assert many.need(solver) - few.need(solver) == 100 * 10 * 5000 * 8


def test_other_kernels_go_by_every_path():
    want = predict(problem(), Schedule(9, 20), kernel=deep(kernel("erf"), 2))
    got = predict(problem(), Schedule(9, 20), kernel=deep(kernel("erf"), 2), solver="conjugate-gradients")
    assert_same_outcome(got, want)


def test_the_tiles_are_those_of_the_gram_matrix():
    assert operators.TILE == gram_tiles.TILE

"""Certified numbers: every ball holds the number computed another way at many digits, and says so where none is proven."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time

import mpmath
import numpy as np
import pytest
from flint import arb, arb_mat, ctx, fmpq, fmpq_mat
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

import ptoq
from ptoq import InvalidInput, Schedule, TransferProblem, UnstableStep, certify
from theory.certified import digits_lost
from theory.certified.balls import Near, column_matrix, from_rationals, identity, inner, norm, root, to_floats, widened, working_precision
from theory.certified.certificate import decimal
from theory.certified.digits import nearly_parallel_problem
from theory.certified.eigenvalues import _positive_definite, largest_eigenvalue
from theory.certified.filters import Squarings
from theory.certified.inverse import Inverse
from theory.certified.rank import Span
from theory.certified.rows import ExactRows, ball_gram
from theory.numeric.degeneracy import degeneracy
from theory.numeric.generalisation import RademacherBound
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum

_DIGITS = 60
EPS = float(np.finfo(float).eps)


def labelled(rng, n, d, c=None):
    return rng.normal(size=(n, d)), rng.normal(size=n if c is None else (n, c))


def drawn(seed, n_P=4, n_Q=3, d=3, c=None):
    rng = np.random.default_rng(seed)
    return TransferProblem(source=labelled(rng, n_P, d, c), target=labelled(rng, n_Q, d, c))


def holds(ball, value):
    """Whether `ball` holds an mpmath real that is right to 60 digits or so, and is narrow."""
    with working_precision(400):
        near = arb(mpmath.nstr(mpmath.mpf(value), _DIGITS), abs(float(value)) * 1e-45 + 1e-55)
        assert ball.rad() < 1e-20 * (1 + near.abs_upper()), f"{ball} is wide"
        return ball.contains(near.mid()) or ball.overlaps(near)


# ---- the same numbers by another way, at 60 digits: arccos for the angle, literal gradient descent, plain solves


def gram_of(X, Z):
    def entry(x, z):
        x, z = [mp.mpf(float(v)) for v in x], [mp.mpf(float(v)) for v in z]
        dot, size = mp.fdot(x, z), mp.sqrt(mp.fdot(x, x) * mp.fdot(z, z))
        return dot * (mp.pi - mp.acos(max(-1, min(1, dot / size)))) / (2 * mp.pi)

    return mp.matrix([[entry(x, z) for z in Z] for x in X])


def column(y):
    return mp.matrix([[mp.mpf(float(v)) for v in row] for row in np.reshape(y, (len(y), -1))])


def squared(A):
    return mp.fsum(v * v for v in A)


def descended(H, y, lr, steps):
    """Dual coefficients and residual after `steps` literal steps, or in the limit."""
    if steps is None:
        coefficients = mp.matrix([list(mp.lu_solve(H, y[:, j])) for j in range(y.cols)]).T
        return coefficients, y * 0
    coefficients, residual = y * 0, y
    for _ in range(steps):
        coefficients += lr * residual
        residual = y - H * coefficients
    return coefficients, residual


def reference(problem, schedule):
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    H_P, H_Q = gram_of(X_P, X_P), gram_of(X_Q, X_Q)
    spectra = [mp.eigsy(H, eigvals_only=True) for H in (H_P, H_Q)]
    rates = [
        1 / max(values) if lr is None else mp.mpf(lr) for values, lr in zip(spectra, (schedule.source_lr, schedule.target_lr), strict=True)
    ]
    alpha, _ = descended(H_P, column(y_P), rates[0], schedule.source_steps)
    transformed = gram_of(X_Q, X_P) * alpha
    scratch, remaining = column(y_Q), column(y_Q) - transformed
    out = {"source_lambda_min": min(spectra[0]), "source_lambda_max": max(spectra[0])}
    out |= {"lambda_min": min(spectra[1]), "lambda_max": max(spectra[1])}
    for suffix, y in (("_scratch", scratch), ("", remaining)):
        ends, _ = descended(H_Q, y, None, None)
        gamma, left = descended(H_Q, y, rates[1], schedule.target_steps)
        out["gradient_energy" + suffix] = squared(y)
        out["inverse_norm_squared" + suffix] = mp.fsum(a * b for a, b in zip(y, ends, strict=True))
        moved = mp.sqrt(mp.fsum(a * b for a, b in zip(gamma, H_Q * gamma, strict=True)))
        out["displacement" + suffix] = moved
        out["target_loss" + suffix] = squared(left) / 2
        n, B = len(y_Q), max(1, int(mp.ceil(moved)))
        trace = mp.fsum(H_Q[i, i] for i in range(n))
        confidence = 3 * mp.sqrt(mp.log(2 * B * (B + 1) / mp.mpf(0.05)) / (2 * n))
        out["generalisation_bound" + suffix] = mp.sqrt(squared(left) / n) + 2 * B * mp.sqrt(trace) / n + confidence
    out["gain"] = 1 - mp.sqrt(out["inverse_norm_squared"] / out["inverse_norm_squared_scratch"])
    return out, transformed


SCHEDULES = [Schedule(), Schedule(7), Schedule(None, 5), Schedule(12, 3, 0.25, 0.125), Schedule(0, 0), Schedule(1, 1)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("c", [None, 1, 2])
def test_every_ball_holds_its_number(schedule, c):
    problem = drawn(3, c=c)
    certificate = certify(problem, schedule, radius=1e-25)
    with mp.workdps(_DIGITS + 20):
        want, transformed = reference(problem, schedule)
        for name, ball in certificate.balls():
            if c == 2 and name.startswith("generalisation"):
                assert ball is None
                assert certificate.reasons[name] == "not certified, because the bound is for one output, and there are 2"
            else:
                assert holds(ball, want[name]), f"{name}: {ball} does not hold {mpmath.nstr(want[name], 40)}"
        shaped = certificate.transformed_labels
        flat = shaped if c is None else [e for row in shaped for e in row]
        assert np.shape(flat) == (3 * (c or 1),)
        assert all(holds(ball, value) for ball, value in zip(flat, transformed, strict=True))
    assert certificate.status == ("partly certified" if c == 2 else "certified")


def test_the_comparison_itself_sees_a_wrong_number():
    certificate = certify(drawn(3), radius=1e-25)
    with mp.workdps(_DIGITS + 20):
        want, _ = reference(drawn(3), Schedule())
        assert not holds(certificate.gain, want["gain"] * (1 + mp.mpf(10) ** -24))
        assert not holds(certificate.lambda_min, want["lambda_min"] - mp.mpf(10) ** -24)


@pytest.mark.parametrize("radius", [1e-3, 1e-12, 1e-40, 1e-100])
def test_radius_is_reached_and_narrower_balls_lie_within_wider(radius):
    wide, narrow = certify(drawn(1), radius=radius), certify(drawn(1), radius=radius**1.5)
    with working_precision(1000):
        for (name, ball), (_, inside) in zip(wide.balls(), narrow.balls(), strict=True):
            assert ball.rad() <= wide.sizes[name] * radius, name
            assert ball.overlaps(inside), name
    assert wide.status == narrow.status == "certified"
    assert wide.precision <= narrow.precision
    assert narrow.precision > -1.5 * math.log2(radius)


def test_float32_is_taken_at_its_own_value():
    problem = drawn(2)
    single = TransferProblem(**{name: tuple(a.astype(np.float32) for a in getattr(problem, name)) for name in ("source", "target")})
    double = TransferProblem(**{name: tuple(a.astype(np.float64) for a in getattr(single, name)) for name in ("source", "target")})
    assert certify(single) == certify(double) != certify(problem)


def test_any_array_library(xp_case):
    problem = drawn(2)
    loaded = TransferProblem(**{name: tuple(map(xp_case.load, getattr(problem, name))) for name in ("source", "target")})
    assert certify(loaded) == certify(problem)


# ---- float64 against it


finite = st.floats(-3, 3, width=32).filter(lambda v: abs(v) > 1e-3) | st.integers(-2, 2).map(float)


@st.composite
def problems(draw):
    d, c = draw(st.integers(1, 3)), draw(st.sampled_from([None, 1, 2]))

    def pair():
        n = draw(st.integers(1, 5))
        rows = st.lists(finite, min_size=d, max_size=d).filter(any)
        X = draw(st.lists(rows, min_size=n, max_size=n))
        y = draw(st.lists(st.lists(finite, min_size=c or 1, max_size=c or 1), min_size=n, max_size=n))
        return np.array(X), np.array(y)[:, 0] if c is None else np.array(y)

    return TransferProblem(source=pair(), target=pair())


@given(problem=problems(), steps=st.sampled_from([None, 0, 1, 6]))
@settings(max_examples=60)
def test_float64_lies_in_the_ball_widened_by_its_own_error(problem, steps):
    found = digits_lost(problem, Schedule(steps, steps))
    X_P, X_Q = problem.source[0], problem.target[0]
    assert found.exact_ranks == (degeneracy(X_P).rank, degeneracy(X_Q).rank)
    assert found.certificate.reasons.keys() <= {
        "gain", "inverse_norm_squared", "inverse_norm_squared_scratch", "generalisation_bound", "generalisation_bound_scratch"
    }  # fmt: skip
    if found.ranks != found.exact_ranks:
        return
    # Where a matrix is singular the eigenvalues above zero are what counts; float64 knows them well enough.
    conditions = [s.largest / float(s.values[s.values > 0][0]) for s in (GramSpectrum.of(relu_gram(X)) for X in (X_P, X_Q))]
    assert (found.outcome.gain is None) == (found.certificate.gain is None)
    scale = 1.0
    if found.certificate.gain is not None:
        scale += abs(found.outcome.gain) + math.sqrt(found.outcome.gradient_energy / found.outcome.gradient_energy_scratch)
    for name, lost in found.lost.items():
        # A root takes half the digits of a number that should be zero.
        allowed = math.log10(max(conditions)) + 2 + math.log10(scale)
        if name in ("gain", "displacement", "displacement_scratch"):
            allowed = max(allowed, 8 + allowed / 2)
        assert lost is None or name.endswith("lambda_min") or lost <= allowed, (name, lost, allowed)


CONDITIONINGS = range(14)


@pytest.mark.parametrize("exponent", CONDITIONINGS)
def test_digits_lost_follow_the_condition_number(exponent):
    for seed in range(3):
        found = digits_lost(nearly_parallel_problem(10.0**-exponent, seed=seed))
        assert found.certificate.status == "certified"
        assert 3 * 10**exponent < found.condition_target < 30 * 10**exponent
        assert found.exact_ranks == (8, 8)
        assert found.ranks == (8, 8)
        assert found.worst <= found.expected + 1
        if exponent > 1:
            assert found.worst >= found.expected - 2  # the loss is there, so this is not an empty bound


def test_beyond_float64_the_float_path_calls_the_matrix_singular_and_the_certificate_does_not():
    found = digits_lost(nearly_parallel_problem(1e-16))
    assert found.ranks == (7, 7)
    assert found.exact_ranks == (8, 8)
    assert found.outcome.gain is None
    assert found.certificate.status == "certified"
    assert found.condition_target > 1e16
    assert found.lost["gain"] is None


# ---- exact degenerate cases


def test_target_within_the_source_is_learned_completely():
    X, y = labelled(np.random.default_rng(0), 6, 3)
    certificate = certify(TransferProblem(source=(X, y), target=(X[:4], y[:4])))
    assert certificate.status == "certified"
    assert certificate.gain.contains(1)
    assert certificate.gradient_energy.contains(0)
    assert certificate.inverse_norm_squared.contains(0)
    assert certificate.displacement.contains(0)
    assert all(ball.contains(float(label)) for ball, label in zip(certificate.transformed_labels, y[:4], strict=True))


def test_orthogonal_inputs_transfer_nothing_exactly():
    rng = np.random.default_rng(1)
    X, Z = rng.normal(size=(4, 2)), rng.normal(size=(3, 2))
    certificate = certify(TransferProblem(source=(np.hstack([X, 0 * X]), X[:, 0]), target=(np.hstack([0 * Z, Z]), Z[:, 1])))
    assert all(ball == 0 for ball in certificate.transformed_labels)
    assert certificate.gain.contains(0)
    assert certificate.displacement.overlaps(certificate.displacement_scratch)


def test_zero_source_labels_transfer_nothing_exactly():
    X, y = labelled(np.random.default_rng(2), 5, 3)
    for schedule in (None, Schedule(4)):
        certificate = certify(TransferProblem(source=(X, 0 * y), target=(X[:3] + 1, y[:3])), schedule)
        assert all(ball == 0 for ball in certificate.transformed_labels)
        assert certificate.gain.contains(0)
        assert certificate.status == "certified"


def test_zero_target_labels_have_no_gain():
    X, y = labelled(np.random.default_rng(2), 5, 3)
    certificate = certify(TransferProblem(source=(X, y), target=(X[:3], 0 * y[:3])))
    assert certificate.gain is None
    assert certificate.reasons["gain"] == ("not certified, because the target labels are all zero: there is nothing to learn from scratch")
    assert certificate.inverse_norm_squared_scratch == 0
    assert certificate.inverse_norm_squared > 0
    assert certificate.status == "partly certified"


def test_everything_zero_is_exactly_zero():
    X, _ = labelled(np.random.default_rng(2), 5, 3)
    certificate = certify(TransferProblem(source=(X, np.zeros(5)), target=(X[:2] + 1, np.zeros(2))))
    assert certificate.inverse_norm_squared == certificate.displacement == certificate.gradient_energy == 0
    assert certificate.precision == 128


def test_a_problem_by_hand():
    # Orthogonal unit rows: H = I/2 for both.
    certificate = certify(TransferProblem(source=(np.eye(2), np.array([1.0, 0.0])), target=(np.eye(2), np.array([0.5, 0.5]))))
    assert certificate.lambda_min.contains(0.5)
    assert certificate.lambda_max.contains(0.5)
    assert certificate.transformed_labels[0].contains(1)
    assert certificate.transformed_labels[1].contains(0)
    assert certificate.inverse_norm_squared.contains(1)  # 2 (0.25 + 0.25)
    assert certificate.inverse_norm_squared_scratch.contains(1)
    assert certificate.gain.contains(0)
    assert certificate.displacement == 1  # and nothing rounds on the way: B = 1
    assert certificate.notes == ()
    with working_precision(128):
        want = arb(2) * arb(1).sqrt() / 2 + 3 * ((2 * arb(2) / arb(0.05)).log() / 4).sqrt()
    assert certificate.generalisation_bound.overlaps(want)


def test_generalisation_bound_is_the_float_one_on_unit_rows():
    problem = nearly_parallel_problem(1.0, n=20)
    certificate = certify(problem, delta=0.2)
    outcome = ptoq.predict(problem)
    bound = RademacherBound.of(displacement=outcome.displacement, residual_norm=0.0, n=20, delta=0.2)
    assert abs(float(certificate.generalisation_bound) - bound.total) < 20 * EPS * bound.total


# ---- singular matrices


def copies(problem, rows, scales):
    """The problem with rows of the target repeated, inputs and labels scaled."""
    X, y = problem.target
    scales = np.array(scales)
    return TransferProblem(source=problem.source, target=(np.vstack([X, X[rows] * scales[:, None]]), np.concatenate([y, y[rows] * scales])))


def test_consistent_duplicates_change_nothing_but_the_eigenvalues():
    problem = drawn(5)
    plain, repeated = certify(problem), certify(copies(problem, [0, 2, 0], [1.0, 2.0, 0.5]))
    assert repeated.status == "certified"
    assert repeated.target_rank == 3
    assert repeated.lambda_min == 0
    for name in ("gain", "displacement", "displacement_scratch", "inverse_norm_squared", "inverse_norm_squared_scratch"):
        assert getattr(plain, name).overlaps(getattr(repeated, name)), name


def test_conflicting_labels_on_duplicates_leave_the_range():
    problem = drawn(5)
    X, y = problem.target
    conflict = TransferProblem(source=problem.source, target=(np.vstack([X, X[:1]]), np.append(y, y[0] + 1)))
    certificate = certify(conflict)
    assert certificate.status == "partly certified"
    assert certificate.gain is certificate.inverse_norm_squared is certificate.inverse_norm_squared_scratch is None
    for name in ("gain", "inverse_norm_squared", "inverse_norm_squared_scratch"):
        assert "not certified, because the target labels leave the range of H_Q (rank 3 of 4)" in certificate.reasons[name]
        assert "the label of row 3 contradicts" in certificate.reasons[name]
        assert "infinite" in certificate.reasons[name]
    # Training splits the difference: each of the two copies is left ½ off. The rest is certified.
    assert certificate.target_loss.contains(0.25)
    mean = TransferProblem(source=problem.source, target=(X, np.append(y[0] + 0.5, y[1:])))
    assert certificate.displacement.overlaps(certify(mean).displacement)
    assert "contradicts" in str(certificate)


def test_conflicting_source_labels_average():
    problem = drawn(6)
    X, y = problem.source
    conflict = TransferProblem(source=(np.vstack([X, X[:1]]), np.append(y, y[0] + 1)), target=problem.target)
    mean = TransferProblem(source=(X, np.append(y[0] + 0.5, y[1:])), target=problem.target)
    certificate = certify(conflict)
    assert certificate.status == "certified"
    assert certificate.source_lambda_min == 0
    assert certificate.source_rank == 4
    assert certificate.gain.overlaps(certify(mean).gain)
    assert abs(float(certificate.gain) - ptoq.predict(conflict).gain) < 1e-12


def test_dependent_opposite_pairs_are_singular_and_still_certified():
    rng = np.random.default_rng(3)
    half = np.vstack([np.eye(2), [[1.0, 1.0], [2.0, -1.0]]])
    X = np.vstack([half, -half])
    w = rng.normal(size=2)
    y = np.maximum(X @ np.round(w, 2), 0)
    certificate = certify(TransferProblem(source=labelled(rng, 5, 2), target=(X, y)))
    assert certificate.target_rank == degeneracy(X).rank == 6
    assert certificate.lambda_min == 0
    # y of sign pattern φ(x)·v is in the range up to the rounding of its floats, which no longer is: either way, no silent number.
    assert certificate.gain is not None or "range of H_Q (rank 6 of 8)" in certificate.reasons["gain"]
    linear = certify(TransferProblem(source=labelled(rng, 5, 2), target=(X, X[:, 0])))
    assert linear.status == "certified"
    # y = x₁ = x·v(w) averaged over half of all w is fitted by the constant v = 2e₁, and by nothing shorter.
    assert linear.inverse_norm_squared_scratch.contains(4)
    # So the displacement is 2, and its ball reaches across: the larger B is taken, and told.
    assert linear.displacement_scratch.contains(2)
    assert linear.notes == (
        "generalisation_bound_scratch: the displacement's ball reaches across a whole number; B = 3, the larger choice, is valid",
    )
    with working_precision(200):
        trace = arb(float((X**2).sum())) / 2
        want = 2 * arb(3) * trace.sqrt() / 8 + 3 * ((2 * arb(3) * 4 / arb(0.05)).log() / 16).sqrt()
        assert linear.generalisation_bound_scratch.contains(want.mid())


def test_one_opposite_pair_is_regular():
    X = np.array([[1.0, 2.0], [-1.0, -2.0], [0.5, 0.25]])
    certificate = certify(TransferProblem(source=(X, X[:, 0]), target=(X[:2], X[:2, 1])))
    assert certificate.source_rank == 3
    assert certificate.lambda_min.contains(2.5)
    assert certificate.lambda_max.contains(2.5)


whole_rows = st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2).filter(any), min_size=1, max_size=7)


@given(rows=whole_rows, seed=st.integers(0, 99))
@settings(max_examples=40)
def test_the_span_reproduces_the_gram_matrix(rows, seed):
    scales = np.random.default_rng(seed).choice([0.5, 1.0, 3.0], size=len(rows))
    X = np.array(rows) * scales[:, None]
    exact = ExactRows.of(X)
    span = Span.of(exact)
    assert span.rank == degeneracy(X).rank
    with working_precision(128):
        H = ball_gram(exact)
        C = arb_mat([[arb(parts.get(k, fmpq(0))) for k in range(span.rank)] for parts in span.combinations])
        within = arb_mat([[H[i, j] for j in span.basis] for i in span.basis])
        assert (C * within * C.transpose() - H).contains(arb_mat(len(rows), len(rows)))
        assert Inverse.of(within) is not None
    z = [[fmpq(k + 1)] for k in range(span.rank)]
    y = span.spread(z)
    assert span.outside(y) is None
    assert span.projected(y) == z
    if not span.full:
        off = next(i for i in range(len(rows)) if i not in span.basis)
        y[off] = [y[off][0] + 1]
        assert span.outside(y) == off


# ---- the parts


@pytest.mark.parametrize("gap", [1e-1, 1e-5, 1e-10, 1e-15, 1e-17, 0.0])
@pytest.mark.parametrize("place", ["top", "bottom"])
def test_clustered_eigenvalues_are_enclosed(gap, place):
    """A matrix with a known spectrum: rational orthogonal vectors, so nothing is rounded."""
    n = 4
    with working_precision(300):
        v = arb_mat([[1], [2], [-1], [1]])
        Q = identity(n) - v * v.transpose() * (2 / arb(7))
        ends = [arb(3) + arb(gap), arb(3), arb(1), arb(fmpq(1, 10))] if place == "top" else [arb(9), arb(5), arb(1) + arb(gap), arb(1)]
        D = arb_mat([[ends[i] if i == j else 0 for j in range(n)] for i in range(n)])
        A = Q * D * Q.transpose()
    with working_precision(128):
        largest, inverse = largest_eigenvalue(A), Inverse.of(A)
        assert largest.contains(max(ends, key=float)) or largest.overlaps(ends[0])
        assert largest.rad() < 1e-25
        assert inverse.smallest.overlaps(ends[-1])
        assert inverse.smallest.rad() < 1e-25


def test_an_enclosure_is_of_the_largest_not_of_another():
    with working_precision(128):
        A = arb_mat([[2, 0, 0], [0, arb(2) + arb("1e-30"), 0], [0, 0, 1]])
        largest = largest_eigenvalue(A)
        assert largest.upper() >= arb(2) + arb("1e-30")
        wrong = largest_eigenvalue(arb_mat([[2, 0], [0, 1]]))
        assert not wrong.contains(1)


whole_matrices = st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(st.integers(-3, 3), min_size=n, max_size=n), min_size=n, max_size=n))


def exactly_definite(A):
    """Sylvester's criterion in rational arithmetic."""
    table = A.tolist()
    return all(fmpq_mat([row[:k] for row in table[:k]]).det() > 0 for k in range(1, len(table) + 1))


@given(F=whole_matrices, tail=st.sampled_from([0, 30, 90]))
@settings(max_examples=60)
def test_an_enclosure_holds_by_exact_arithmetic(F, tail):
    """For `A = FᵀF` and its enclosure `[a, b]`: `bI − A` is positive semi-definite and `aI − A` not positive definite."""
    F = fmpq_mat([[fmpq(v) for v in row] for row in F])
    one = fmpq_mat([[fmpq(int(i == j)) for j in range(F.nrows())] for i in range(F.nrows())])
    A = F.transpose() * F + one * fmpq(1, 2**tail)
    with working_precision(128):
        balls = from_rationals(A.tolist())
        largest, inverse = largest_eigenvalue(balls), Inverse.of(balls)
        b, a = largest.upper().fmpq(), largest.lower().fmpq()
        assert largest.rel_accuracy_bits() > 60
        assert exactly_definite(one * (b * (1 + fmpq(1, 2**200))) - A)
        assert not exactly_definite(one * a - A)
        if inverse is not None:
            assert exactly_definite(A - one * (inverse.smallest.lower().fmpq() * (1 - fmpq(1, 2**200))))
            assert not exactly_definite(A - one * inverse.smallest.upper().fmpq())
        assert inverse is not None or tail == 90


@given(F=whole_matrices, shift=st.sampled_from([fmpq(0), fmpq(1, 2**40), -fmpq(1, 2**40), -fmpq(1, 2**100)]))
@settings(max_examples=60)
def test_what_is_called_definite_is(F, shift):
    F = fmpq_mat([[fmpq(v) for v in row] for row in F])
    A = F.transpose() * F + fmpq_mat([[shift * int(i == j) for j in range(F.nrows())] for i in range(F.nrows())])
    with working_precision(128):
        assert not _positive_definite(from_rationals(A.tolist())) or exactly_definite(A)


def test_roots_of_balls():
    with working_precision(64):
        assert root(arb(4)) == 2
        assert root(arb(0, 4)).contains(2)
        assert root(arb(0, 4)).contains(0)
        assert root(arb(4, 1)).contains(arb(3).sqrt().mid())
        assert root(arb(-4, 1)) == 0
        assert not root(arb.nan()).is_finite()
        assert not root(arb.pos_inf()).is_finite()


def test_a_matrix_too_close_to_singular_for_the_precision_is_refused():
    rows = ExactRows.of(np.array([[1.0, 0.0], [1.0, 1e-60]]))
    with working_precision(128):
        assert Inverse.of(ball_gram(rows)) is None
    with working_precision(512):
        inverse = Inverse.of(ball_gram(rows))
    # Two features at a small angle: λ_min = 1/2 − (π − θ)/(2π) = θ/2π up to θ².
    assert abs(float(inverse.smallest * 2 * arb.pi() / arb(1e-60)) - 1) < 1e-12


def test_energy_and_solution_hold_what_other_right_sides_give():
    rows = ExactRows.of(np.random.default_rng(7).normal(size=(5, 3)))
    with working_precision(128):
        H = ball_gram(rows)
        inverse = Inverse.of(H)
        x = column_matrix(np.arange(10.0).reshape(5, 2))
        b = H * x
        assert inverse.solve(b).contains(x)
        assert inverse.energy(b).overlaps(inner(x, H * x))
        assert inverse.energy(widened(b, arb(0.125))).contains(inner(x, H * x).mid())
        assert norm(H) >= largest_eigenvalue(H).lower()


def test_a_spoiled_approximation_widens_but_does_not_lie():
    """The proofs use nothing of the approximate inverse: make it worse, and balls grow round the same numbers."""
    rows = ExactRows.of(np.random.default_rng(7).normal(size=(5, 3)))
    with working_precision(128):
        H, b = ball_gram(rows), column_matrix(np.arange(5.0))
        good = Inverse.of(H)
        spoiled = Inverse(H, (good.approximate * (1 + arb(1e-6))).mid(), good.smallest)
        for name in ("solve", "energy"):
            narrow, wide = getattr(good, name)(b), getattr(spoiled, name)(b)
            narrow, wide = ([*m.entries()] if isinstance(m, arb_mat) else [m] for m in (narrow, wide))
            assert all(w.contains(m.mid()) and w.rad() > 1e3 * m.rad() for m, w in zip(narrow, wide, strict=True))


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 64, 1000])
def test_squarings_equal_the_recursion(steps):
    rows = ExactRows.of(np.random.default_rng(8).normal(size=(4, 3)))
    y = np.random.default_rng(9).normal(size=(4, 2))
    with working_precision(200):
        H = ball_gram(rows)
        lr = arb(0.25)
        q, phi = Squarings.of(H, lr, steps).apply(Near.of(column_matrix(y)))
    with working_precision(4000):
        H, residual, total = ball_gram(rows), column_matrix(y), column_matrix(0 * y)
        for _ in range(steps):
            total += residual * lr
            residual -= H * residual * lr
    assert q.error < 1e-40
    assert all(a.contains(b.mid()) for a, b in zip(q.balls().entries(), residual.entries(), strict=True))
    assert all(a.contains(b.mid()) for a, b in zip(phi.balls().entries(), total.entries(), strict=True))


@pytest.mark.parametrize("steps", [1, 3, 64, 1000])
def test_squarings_of_a_matrix_known_within_an_error_hold_those_of_every_such_matrix(steps):
    """Errors that the matrix has from the start double with every squaring: both ends of the ball must stay inside."""
    lr, spread = arb(1), arb(2) ** -30
    with working_precision(128):
        middle = arb_mat([[arb(2) ** -10, 0], [0, arb(0.75)]])
        H, y = widened(middle, spread), column_matrix(np.array([1.0, -2.0]))
        q, phi = Squarings.of(H, lr, steps).apply(Near.of(y))
    assert q.error < 4 * steps * spread * norm(y)
    with working_precision(4000):
        for end in (middle + identity(2) * spread, middle - identity(2) * spread):
            residual, total = y, y * 0
            for _ in range(steps):
                total += residual * lr
                residual -= end * residual * lr
            for held, value in ((q, residual), (phi, total)):
                assert norm(held.mid - value) <= held.error


def test_a_million_steps_are_as_good_as_the_end():
    problem = drawn(4)
    end, long = certify(problem), certify(problem, Schedule(10**6, 10**6))
    assert long.status == "certified"
    for (name, a), (_, b) in zip(end.balls(), long.balls(), strict=True):
        assert abs(float(a - b)) < 1e-12 * max(1, float(end.sizes[name])), name


@pytest.mark.parametrize("scale", [1e-150, 1e-5, 1e100])
def test_rows_of_any_size(scale):
    problem = drawn(4)
    X, y = problem.source
    Z, v = problem.target
    power = 2.0 ** round(math.log2(scale))  # so that nothing rounds
    plain, scaled = certify(problem), certify(TransferProblem(source=(X * power, y), target=(Z * power, v)))
    assert scaled.status == "certified"
    assert scaled.gain.overlaps(plain.gain)
    with working_precision(200):
        assert scaled.lambda_min.overlaps(plain.lambda_min * arb(power) ** 2)


def test_gram_matrix_of_near_and_exact_parallels():
    X = np.array([[1.0, 0.0], [2.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [1.0, 2.0**-60], [-1.0, 2.0**-60]])
    with working_precision(128):
        H = ball_gram(ExactRows.of(X))
        angle = arb.atan2(arb(2) ** -60, arb(1))
        assert H[0, 1] == 1
        assert H[0, 2] == 0
        assert H[0, 3] == 0
        assert H[0, 4].overlaps((arb.pi() - angle) / (2 * arb.pi()))
        assert H[0, 5].overlaps(-angle / (2 * arb.pi()))
        assert H[0, 5].rel_accuracy_bits() > 120
    assert np.abs(to_floats(H) - relu_gram(X)).max() < 1e-15


# ---- what cannot be certified, and bad input


def test_precision_cap_is_told():
    certificate = certify(nearly_parallel_problem(1e-14), max_precision=64)
    assert certificate.precision == 64
    assert certificate.status == "partly certified"
    assert certificate.lambda_min is None or certificate.reasons["lambda_min"].startswith("wider than asked: 64 bits")
    close = np.array([[1.0, 0.0], [1.0, 1e-60]])
    impossible = certify(TransferProblem(source=(close, np.ones(2)), target=(close, np.ones(2))), max_precision=64)
    assert impossible.gain is None
    assert impossible.reasons["gain"] == "not certified, because 64 bits prove nothing of it (max_precision=64)"
    assert impossible.gradient_energy_scratch is not None
    assert json.loads(json.dumps(impossible.to_dict()))["gain"] is None


def test_wider_than_asked_is_told_and_the_ball_still_holds():
    wide, narrow = certify(drawn(1), radius=1e-40, max_precision=96), certify(drawn(1))
    assert wide.status == "partly certified"
    assert wide.reasons["gain"].startswith("wider than asked: 96 bits reach a radius of ")
    assert wide.gain.overlaps(narrow.gain)


def test_an_undecided_step_size_is_told():
    # H = I/2 exactly: η = 4 is 2/λ_max, which no ball of λ_max tells from above it.
    problem = TransferProblem(source=(np.eye(2), np.array([1.0, 2.0])), target=(np.eye(2), np.array([1.0, 0.0])))
    certificate = certify(problem, Schedule(3, None, 4.0), max_precision=256)
    assert certificate.gain is None
    assert certificate.reasons["gain"].startswith("not certified, because 256 bits prove nothing")


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        (Schedule(3, None, 50.0), ["source_lr = 50 diverges", "2/λ_max", "unstable"]),
        (Schedule(None, None, 50.0), ["source_lr = 50"]),
        (Schedule(None, 3, None, 50.0), ["target_lr = 50 diverges"]),
        (Schedule(None, 3, None, 50.0, allow_unstable=True), ["target_lr = 50 diverges", "nothing is certified"]),
    ],
)
def test_unstable_steps_are_refused(schedule, parts):
    with pytest.raises(UnstableStep, match="(?s)" + ".*".join(parts)):
        certify(drawn(1), schedule)


def test_no_limit_at_twice_the_inverse():
    problem = TransferProblem(source=(np.eye(1), np.ones(1)), target=(np.eye(1), np.ones(1)))
    with pytest.raises(UnstableStep, match=r"has no limit to train to|diverges"):
        certify(problem, Schedule(None, None, 4.0 + 1e-9))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"problem": 3}, ["int", "TransferProblem"]),
        ({"schedule": "long"}, ["str", "Schedule"]),
        ({"radius": 0}, ["radius is 0", r"\(0, 1\)"]),
        ({"radius": math.nan}, ["radius is nan", r"\(0, 1\)"]),
        ({"radius": "small"}, ["radius is 'small'", r"\(0, 1\)"]),
        ({"delta": 1.5}, ["delta is 1.5", r"\(0, 1\)"]),
        ({"delta": True}, ["delta is True", r"\(0, 1\)"]),
        ({"schedule": Schedule(momentum=0.5)}, ["momentum is 0.5", "certify is for plain gradient descent"]),
        ({"schedule": Schedule(weight_decay=0.5)}, ["weight_decay is 0.5", "plain gradient descent"]),
        ({"max_precision": 10}, ["max_precision is 10", "at least 64"]),
        ({"max_precision": 2.5}, ["max_precision is 2.5", "allowed"]),
        ({"problem": TransferProblem(source=None, target=(np.eye(2), np.ones(2)))}, ["source=None"]),
    ],
    ids=lambda v: str(v)[:40],
)
def test_bad_input_is_refused(change, parts):
    arguments = {"problem": drawn(1), **change}
    with pytest.raises(InvalidInput, match="(?s)" + ".*".join(parts)):
        certify(arguments.pop("problem"), arguments.pop("schedule", None), **arguments)


def test_pictures_are_refused():
    pictures = TransferProblem(source=(np.ones((2, 1, 2, 2)), np.ones(2)), target=(np.ones((2, 1, 2, 2)), np.ones(2)))
    with pytest.raises(InvalidInput, match=r"\(2, 1, 2, 2\).*\(n, d\) is allowed"):
        certify(pictures)


# ---- the result, and how it is reached


def test_a_certificate_reads_well():
    certificate = certify(drawn(1))
    text = str(certificate)
    assert text.startswith("certified: radius 1e-12, 128 bits, rank 4 of H_P, 3 of H_Q\n")
    assert f"gain                        {float(certificate.gain):.10f}"[:36] in text
    assert text.count(" ± ") >= 12
    fields = certificate.to_dict()
    assert fields["status"] == "certified"
    assert json.loads(json.dumps(fields)) == fields
    with working_precision(200):
        mid, rad = fields["gain"].split(" ± ")
        assert arb(mid, rad).contains(certificate.gain)
    assert len(fields["transformed_labels"]) == 3
    assert certificate == certify(drawn(1))
    assert hash(certificate) == hash(certify(drawn(1)))
    assert certificate != certify(drawn(2))
    assert certificate != 3


def test_decimals_of_balls():
    assert decimal(arb(0.5), 3) == "0.500"
    assert decimal(arb(0), 3) == "0"
    assert decimal(arb(0, "1e-30"), 5).startswith("0 ± ")
    assert decimal(arb(1) / 3, 5).startswith("0.33333 ± ")


def test_precision_of_the_caller_is_left_alone():
    before = ctx.prec
    certify(drawn(1))
    assert ctx.prec == before
    with pytest.raises(UnstableStep):
        certify(drawn(1), Schedule(3, None, 50.0))
    assert ctx.prec == before


def test_flint_is_loaded_only_when_something_is_certified():
    code = "import sys, ptoq; ptoq.certify; import theory.certified; print('flint' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_public_names():
    assert ptoq.certify is certify
    assert {"certify", "Certificate"} <= set(ptoq.__all__)


def test_two_hundred_points_take_seconds():
    rng = np.random.default_rng(0)
    X, Z = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 200, 15)))
    problem = TransferProblem(source=(X, np.sin(3 * X[:, 0])), target=(Z, np.sin(3 * Z[:, 0] + 0.2)))
    started = time.process_time()
    certificate = certify(problem)
    assert time.process_time() - started < 5
    assert certificate.status == "certified"
    assert certificate.gain.rad() < 1e-12
    assert abs(float(certificate.gain) - ptoq.predict(problem).gain) < 1e-12


def test_command_line_prints_what_certify_proves(capsys, tmp_path):
    problem = drawn(1)
    files = []
    for name in ("source", "target"):
        X, y = getattr(problem, name)
        np.savez(tmp_path / f"{name}.npz", X=X, y=y)
        files.append(str(tmp_path / f"{name}.npz"))
    assert ptoq.main(["predict", *files, "--certify", "--source-steps", "3"]) == 0
    assert capsys.readouterr().out.endswith(f"\n{certify(problem, Schedule(3))}\n")
    assert ptoq.main(["predict", *files, "--certify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["certificate"] == certify(problem).to_dict()
    assert ptoq.main(["predict", *files, "--json"]) == 0
    assert "certificate" not in json.loads(capsys.readouterr().out)

"""The sphere: eigenvalues in closed form and by quadrature, teachers by degree, and infinitely many samples."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory import InvalidInput, NotConverged, UnstableStep, relu_gram
from theory.numeric.population import PopulationTransfer, population_error, population_flow_error
from theory.numeric.sphere import (
    ZonalExpansion,
    legendre,
    multiplicity,
    relu_eigenvalues,
    step_eigenvalues,
    tangent_eigenvalues,
    with_constant,
    zonal_expansion,
)

DIMENSIONS = (2, 3, 4, 7, 20)


def step_kernel(t):
    return np.arccos(-t) / (2 * np.pi)


def tangent(t):
    return t * np.arccos(-t) / (2 * np.pi)


def relu_dual(t):
    return (np.sqrt(np.maximum(1 - t * t, 0)) + t * np.arccos(-t)) / (2 * np.pi)


CLOSED = {"step": (step_kernel, step_eigenvalues), "tangent": (tangent, tangent_eigenvalues), "relu": (relu_dual, relu_eigenvalues)}


def uniform(seed, n, d):
    X = np.random.default_rng(seed).normal(size=(n, d))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


# Eigenvalues --------------------------------------------------------------------------------------------------------------------


def test_the_first_eigenvalues_in_three_dimensions():
    known = [1 / 16, 1 / 12, 7 / 256, 0.0, 7 / 3072, 0.0, 43 / 65536]
    assert_exact(tangent_eigenvalues(3, 6), np.array(known), 4)
    assert_exact(step_eigenvalues(2, 9)[1::2], 1 / (np.pi * np.arange(1, 10, 2)) ** 2, 8)


@pytest.mark.parametrize("dimension", [2, 3, 10, 100, 1000, 100_001])
def test_every_odd_degree_from_three_on_vanishes_and_no_other(dimension):
    last = 41 if dimension < 1000 else 9
    for eigenvalues in (tangent_eigenvalues(dimension, last), relu_eigenvalues(dimension, last)):
        assert np.all(eigenvalues[3::2] == 0)
        assert np.all(eigenvalues[[0, 1, *range(2, last + 1, 2)]] > 0)
    assert_exact(tangent_eigenvalues(dimension, 1)[1], 1 / (4 * dimension), 4)


@pytest.mark.parametrize(("dimension", "degree"), [(3, 2001), (50, 301), (1000, 41), (2, 1)])
def test_large_degrees_and_dimensions_keep_their_digits(dimension, degree):
    with mp.workdps(40):
        exact = (mp.beta(mp.mpf(degree) / 2, mp.mpf(dimension) / 2) / (2 * mp.pi)) ** 2
    assert_exact(step_eigenvalues(dimension, degree)[degree], exact, 64)


def test_what_underflows_is_zero_not_an_error():
    values = tangent_eigenvalues(1000, 2000)
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values[2::2]) <= 0)
    assert values[2000] == 0


@pytest.mark.parametrize("dimension", [2, 3, 5, 8])
def test_eigenvalues_decay_like_the_degree_to_minus_the_dimension(dimension):
    degrees = 2 ** np.arange(8, 13)
    for function, rate in ((tangent_eigenvalues, -dimension), (relu_eigenvalues, -dimension - 2)):
        values = function(dimension, int(degrees[-1]))[degrees]
        slopes = np.diff(np.log(values)) / math.log(2)
        assert np.all(np.abs(slopes - rate) < dimension**2 / degrees[:-1])


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("norm", [1.0, 3.0])
def test_all_eigenvalues_together_are_the_trace(dimension, norm):
    """`Σ N_ℓ λ_ℓ = k(1) = r²/2`: the sum of the degrees computed is below by the tail of the power law."""
    last = 600 if dimension < 7 else 120 if dimension == 7 else 40
    counts = np.array([float(multiplicity(dimension, degree)) for degree in range(last + 1)])
    for eigenvalues, power in ((tangent_eigenvalues, 1), (relu_eigenvalues, 3)):
        terms = counts * eigenvalues(dimension, last, norm)
        # N_ℓ ~ ℓ^{d−2}: terms of even degree fall like ℓ^{−1 − power}.
        short = norm**2 / 2 - np.sum(terms)
        tail = terms[last] * last / (2 * power)
        assert short > 0
        assert 0.3 * tail < short < (3 if dimension < 20 else 30) * tail


def test_multiplicities_fill_the_space_of_polynomials():
    for dimension in (2, 3, 5, 9):
        for last in (0, 1, 4, 9):
            # Restricted to the sphere, polynomials up to a degree are the harmonics up to it.
            whole = math.comb(last + dimension - 1, dimension - 1) + (math.comb(last + dimension - 2, dimension - 1) if last else 0)
            assert sum(multiplicity(dimension, degree) for degree in range(last + 1)) == whole
    assert multiplicity(2, 0) == 1
    assert multiplicity(10_000, 500) > 10**600


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize(("dimension", "last"), [(2, 30), (3, 200), (5, 40), (20, 20), (1000, 8)])
def test_quadrature_gives_the_closed_forms_within_its_own_error(name, dimension, last):
    kernel, closed = CLOSED[name]
    found = zonal_expansion(kernel, dimension, last)
    exact = np.sqrt(found.multiplicities) * closed(dimension, last)
    assert np.all(np.abs(found.coefficients - exact) <= found.error)
    assert np.max(found.error) < 1e-12


def test_eigenvalues_are_those_of_large_samples():
    """Means over blocks of `H/n`, extrapolated in `1/n`, with their multiplicities."""
    sizes, counts = [multiplicity(4, degree) for degree in (1, 0, 2)], []
    for seed in range(40):
        X = uniform(seed, 256, 4)
        spectra = [np.linalg.eigvalsh(relu_gram(X[:n]))[::-1] / n for n in (128, 256)]
        edges = np.cumsum([0, *sizes])
        means = [[s[a:b].mean() for a, b in pairwise(edges)] for s in spectra]
        counts.append(2 * np.array(means[1]) - np.array(means[0]))
    for i, degree in enumerate((1, 0, 2)):
        assert_z(np.array(counts)[:, i], tangent_eigenvalues(4, 2)[degree])


# Quadrature ----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(0, 12), st.floats(-0.99, 0.99), st.sampled_from(["kink", "jump", "root"]))
def test_kinks_jumps_and_roots_come_out_within_the_estimated_error(dimension, degree, at, kind):
    """Against mpmath's quadrature, divided where the function is not smooth."""
    functions = {
        "kink": (lambda t: np.maximum(t - at, 0), lambda t: max(t - at, mp.mpf(0))),
        "jump": (lambda t: np.where(t > at, 1.0, 0.0), lambda t: mp.mpf(t > at)),
        "root": (lambda t: np.sqrt(np.abs(t - at)), lambda t: mp.sqrt(abs(t - at))),
    }
    mine, exact = functions[kind]
    found = zonal_expansion(mine, dimension, degree, rtol=1e-10)
    with mp.workdps(25):
        corner = mp.acos(at)

        def weighed(theta):
            t, before, here = mp.cos(theta), mp.mpf(0), mp.mpf(1)
            for l in range(degree):  # noqa: E741
                before, here = here, t if l == 0 else ((2 * l + dimension - 2) * t * here - l * before) / (l + dimension - 2)
            # The side of a corner is told by the angle: at 25 digits the cosine cannot be relied on for it.
            side = at + abs(t - at) if theta < corner else at - abs(t - at)
            return exact(side) * here * mp.sin(theta) ** (dimension - 2)

        whole = mp.quad(weighed, [0, corner / 2, corner, (corner + mp.pi) / 2, mp.pi]) / mp.beta(mp.mpf(1) / 2, mp.mpf(dimension - 1) / 2)
        value = float(whole * mp.sqrt(multiplicity(dimension, degree)))
    assert abs(found.coefficients[degree] - value) <= found.error[degree] + 1e-13
    assert found.error[degree] <= 2e-10 * max(math.sqrt(found.mean_square), 1e-3) + 1e-13


def test_the_ends_of_the_interval_may_be_singular():
    """`(1 − t)^{1/4}`, an infinite slope at 1, in three dimensions: `E = ½∫(1 − t)^{1/4} = 2^{1/4}·4/5`."""
    found = zonal_expansion(lambda t: (1 - t) ** 0.25, 3, 3)
    assert abs(found.coefficients[0] - 2**0.25 * 0.8) <= found.error[0]
    assert abs(found.mean_square - 2**0.5 * 2 / 3) < 1e-10


def test_what_does_not_converge_says_so():
    with pytest.raises(NotConverged, match=r"after \d+ panels of 20000 the error is about .* is wanted; raise most or rtol"):
        zonal_expansion(lambda t: 1 / np.sqrt(np.abs(t - 0.3)), 3, 4)
    with pytest.raises(NotConverged, match="panels of 40"):
        zonal_expansion(lambda t: np.sin(1 / (np.abs(t) + 1e-3)), 3, 4, most=40)


def test_expansions_of_polynomials_are_exact():
    for dimension in DIMENSIONS:
        found = zonal_expansion(lambda t: 1 + 2 * t + t**2, dimension, 4)
        expected = [1 + 1 / dimension, 2 / math.sqrt(dimension), math.sqrt(2 * (dimension - 1) / (dimension**2 * (dimension + 2))), 0, 0]
        assert_dtype_close(found.coefficients, np.array(expected), 1e-6, scale=1.0)
        assert found.beyond < 1e-12


def test_legendre_is_what_the_library_has_in_three_dimensions_and_chebyshev_in_two():
    t = np.linspace(-1, 1, 23)
    for degree, row in enumerate(legendre(3, 9, t)):
        assert_dtype_close(row, np.polynomial.Legendre.basis(degree)(t), 1e-6, scale=1.0)
    for degree, row in enumerate(legendre(2, 9, t)):
        assert_dtype_close(row, np.cos(degree * np.arccos(t)), 1e-6, scale=1.0)
    assert legendre(5, 0, np.zeros((2, 3))).shape == (1, 2, 3)


# Teachers and the floor ----------------------------------------------------------------------------------------------------------


def test_a_sign_teacher_is_a_quarter_out_of_reach_in_three_dimensions():
    found = zonal_expansion(np.sign, 3, 41)
    assert_dtype_close(np.float64(found.energies[1]), 0.75, 1e-5, scale=1.0)
    assert_dtype_close(np.float64(found.mean_square), 1.0, 1e-5, scale=1.0)
    reached = tangent_eigenvalues(3, 41) > 0
    floor = population_error(found.energies, tangent_eigenvalues(3, 41), 1.0, 1.0, None)
    assert np.sum(found.energies[reached]) + floor + found.beyond == pytest.approx(1.0, abs=1e-12)
    assert floor < 0.25 < floor + found.beyond + 1e-12


@pytest.mark.parametrize("dimension", [3, 6])
def test_relu_and_polynomial_teachers_have_no_floor(dimension):
    eigenvalues = tangent_eigenvalues(dimension, 20)
    for teacher in (lambda t: np.maximum(t, 0), lambda t: t, lambda t: t + t**2):
        found = zonal_expansion(teacher, dimension, 20)
        assert population_error(found.energies, eigenvalues, 1.0, 1.0, None) < 1e-24
    tanh = zonal_expansion(lambda t: np.tanh(3 * t), dimension, 20)
    assert population_error(tanh.energies, eigenvalues, 1.0, 1.0, None) > 0.01 * tanh.mean_square


@pytest.mark.parametrize("constant", [0.1, 1.0, -3.0])
def test_a_constant_coordinate_puts_every_degree_in_reach(constant):
    found = zonal_expansion(with_constant(tangent, 1.0, constant), 3, 16)
    assert np.all(found.eigenvalues > 0)
    # Measured: beyond its own error in every degree, though small where the constant is.
    assert np.all(found.coefficients > 100 * found.error)
    X = uniform(0, 6, 3)
    values = with_constant(tangent, 2.0, constant)(np.clip(X @ X.T, -1, 1))
    larger = np.hstack([2 * X, np.full((6, 1), constant)])
    assert_dtype_close(values, relu_gram(larger), 2, scale=4 + constant**2)


def test_without_a_constant_the_kernel_is_only_scaled():
    found = zonal_expansion(with_constant(tangent, 2.0, 0.0), 4, 8)
    assert_dtype_close(found.eigenvalues, tangent_eigenvalues(4, 8, norm=2.0), 1e-5, scale=1.0)


def test_cross_energies_are_mean_products():
    """Of a ReLU and a tanh teacher 0.7 rad apart, against a sample."""
    d, angle = 4, 0.7
    f, g = lambda t: np.maximum(t, 0), lambda t: np.tanh(2 * t)
    F, G = zonal_expansion(f, d, 40), zonal_expansion(g, d, 30)
    cross = F.cross_energies(G, math.cos(angle))
    assert cross.shape == (31,)
    X = uniform(1, 200_000, d)
    assert_z(f(X[:, 0]) * g(X[:, 0] * math.cos(angle) + X[:, 1] * math.sin(angle)), float(cross.sum()))
    assert_dtype_close(F.cross_energies(F, 1.0), F.energies, 1e-6, scale=1.0)


# Infinitely many samples -----------------------------------------------------------------------------------------------------------


def test_the_learning_curve_is_that_of_large_samples():
    """A ReLU teacher in three dimensions, its error on a grid that integrates the sphere; extrapolated in `1/n`."""
    d, k, rate = 3, 6, 0.5
    teacher = zonal_expansion(lambda t: np.maximum(t, 0), d, 30)
    eigenvalues = tangent_eigenvalues(d, 30)
    height, weight = np.polynomial.legendre.leggauss(24)
    turn = 2 * np.pi * np.arange(48) / 48
    out = np.sqrt(1 - height**2)
    grid = np.stack([np.outer(height, np.ones(48)), np.outer(out, np.cos(turn)), np.outer(out, np.sin(turn))], axis=-1).reshape(-1, 3)
    weights = np.repeat(weight, 48) / 96
    errors = []
    for seed in range(30):
        X = uniform(seed, 128, d)
        pair = []
        for n in (64, 128):
            H = relu_gram(X[:n])
            lr, alpha = rate / (n * eigenvalues.max()), np.zeros(n)
            for _ in range(k):
                alpha += lr * (np.maximum(X[:n, 0], 0) - H @ alpha)
            pair.append(weights @ (np.maximum(grid[:, 0], 0) - relu_gram(grid, X[:n]) @ alpha) ** 2)
        errors.append(2 * pair[1] - pair[0])
    assert_z(np.array(errors), population_error(teacher.energies, eigenvalues, 1.0, rate / eigenvalues.max(), k) + teacher.beyond)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.9), st.sampled_from([0, 1, 3, 50, None]))
def test_errors_are_those_of_the_steps_one_by_one(seed, rate, steps):
    rng = np.random.default_rng(seed)
    eigenvalues, energies = np.append(rng.uniform(0.1, 1, 5), 0.0), rng.uniform(0, 1, 6)
    n, lr = 17.0, rate / (17 * eigenvalues.max())
    left = np.ones(6)
    for _ in range(3000 if steps is None else steps):
        left -= lr * n * eigenvalues * left
    assert_dtype_close(np.float64(population_error(energies, eigenvalues, n, lr, steps)), float(energies @ left**2), 1, scale=6.0)
    assert population_error(energies, eigenvalues, n, lr, None) == energies[5]
    slow = population_error(energies, eigenvalues, n, lr / 1000, 1000)
    assert abs(population_flow_error(energies, eigenvalues, n, lr) - slow) < 0.01


def tasks(seed, reached=True):
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(2, 5, 3))
    source, target, cross = (np.sum(a * b, axis=1) for a, b in ((parts[0], parts[0]), (parts[1], parts[1]), (parts[0], parts[1])))
    eigenvalues = rng.uniform(0.05, 1, 5)
    if not reached:
        eigenvalues[2] = 0.0
    return PopulationTransfer(eigenvalues, source, target, cross), parts


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.9), st.sampled_from([0, 1, 4, 60, None]), st.booleans())
def test_curves_are_the_sum_over_eigenspaces(seed, rate, steps, reached):
    task, parts = tasks(seed, reached)
    n, lr = 9.0, rate / (9 * task.eigenvalues.max())
    share = 1 - (1 - lr * n * task.eigenvalues) ** (10**6 if steps is None else steps)
    left = np.sum((parts[1] - share[:, None] * parts[0]) ** 2, axis=1)
    assert_dtype_close(task.remaining(n, lr, steps), left, 1, scale=np.sum(parts**2))
    assert_dtype_close(np.float64(task.curve(n, lr)(steps)), left.sum(), 1, scale=np.sum(parts**2))
    if reached:
        scratch = np.sum(task.target / task.eigenvalues)
        moved = np.sum(left / task.eigenvalues)
        assert_dtype_close(np.float64(task.curve(n, lr, displacement=True)(steps)), moved, 10, scale=np.sum(parts**2) / 0.05)
        gain, reason = task.gain(n, lr, steps)
        assert reason is None
        assert_dtype_close(np.float64(gain), 1 - math.sqrt(moved / scratch), 100, scale=1 + math.sqrt(moved / scratch))
    else:
        gain, reason = task.gain(n, lr, steps)
        assert gain is None
        assert "lies where the kernel's eigenvalue is 0" in reason


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_best_number_of_source_steps_is_the_least_over_steps(seed):
    task, _ = tasks(seed)
    lr = 0.7 / task.eigenvalues.max()
    curve = task.curve(1.0, lr)
    F = np.array([task.remaining(1.0, lr, k).sum() for k in range(400)])
    best = curve.best(399)
    limit = task.remaining(1.0, lr, None).sum()
    assert F[best] <= F.min() + 1e-12 if best is not None else limit <= F.min() + 1e-9
    assert len(curve.turns(399)) <= curve.turn_bound().turns


def test_a_source_teacher_is_best_learnt_in_part_where_it_overshoots():
    """One eigenspace, the target half of the source: half of it is to be learnt."""
    task = PopulationTransfer(np.array([0.5]), np.array([4.0]), np.array([1.0]), np.array([2.0]))
    curve = task.curve(1.0, 0.1)
    best = curve.best(1000)
    assert abs((1 - 0.05) ** best - 0.5) < 0.03
    assert task.gain(1.0, 0.1, best)[0] > 0.9
    assert abs(task.gain(1.0, 0.1, None)[0]) < 1e-12
    with pytest.raises(InvalidInput, match="transfer matrix is zero on every mode"):
        curve.noise_window(10)


def test_no_source_reaches_what_the_kernel_does_not_have():
    """Source and target the same sign teacher in three dimensions: the floor is left at any number of source steps."""
    sign = zonal_expansion(np.sign, 3, 31)
    eigenvalues = tangent_eigenvalues(3, 31)
    task = PopulationTransfer(eigenvalues, sign.energies, sign.energies, sign.energies)
    left = task.remaining(1.0, 1 / eigenvalues.max(), None)
    assert_dtype_close(left[3::2], sign.energies[3::2], 1e-6, scale=1.0)
    assert_dtype_close(left[:3], np.zeros(3), 1e-6, scale=1.0)
    gain, reason = task.gain(1.0, 1 / eigenvalues.max(), None)
    assert gain is None
    assert "no weights fit it" in reason


def test_every_array_library_gives_the_same(xp_case):
    task, _ = tasks(4)
    fields = ("eigenvalues", "source", "target", "cross")
    there = PopulationTransfer(*(xp_case.load(getattr(task, name)) for name in fields))
    lr = 1 / task.eigenvalues.max()
    for steps in (0, 7, None):
        assert_dtype_close(there.remaining(1.0, lr, steps), xp_case.load(task.remaining(1.0, lr, steps)), 1e-3, scale=10.0)
        assert_dtype_close(np.float64(there.gain(1.0, lr, steps)[0]), task.gain(1.0, lr, steps)[0], 1e-3, scale=10.0)
        for displacement in (False, True):
            here = task.curve(1.0, lr, displacement=displacement)(steps)
            assert_dtype_close(np.float64(there.curve(1.0, lr, displacement=displacement)(steps)), here, 1e-3, scale=10.0 + here)
        args = (there.target, there.eigenvalues, 1.0, lr)
        assert_dtype_close(
            np.float64(population_error(*args, steps)), population_error(task.target, task.eigenvalues, 1.0, lr, steps), 1e-3, 10.0
        )
    assert_dtype_close(np.float64(population_flow_error(*args)), population_flow_error(task.target, task.eigenvalues, 1.0, lr), 1e-3, 10.0)


# Bad input ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: multiplicity(1, 3), "dimension is 1; a whole number of at least 2"),
        (lambda: step_eigenvalues(3, -1), "degree is -1; a whole number of at least 0"),
        (lambda: tangent_eigenvalues(3.0, 2), r"dimension is 3\.0"),
        (lambda: relu_eigenvalues(3, 2, norm=0.0), r"norm is 0\.0; a positive finite number"),
        (lambda: with_constant(tangent, 1.0, math.inf), "constant is inf; a finite number"),
        (lambda: zonal_expansion(np.sign, 3, 4, rtol=0.0), r"rtol is 0\.0 and most 20000"),
        (lambda: zonal_expansion(lambda t: t[0], 3, 4), "the function gives shape .* the same shape is needed"),
        (lambda: zonal_expansion(lambda t: np.log(t + 0.5), 3, 4), "the function is not finite at the cosine -0"),
        (lambda: zonal_expansion(np.sign, 1000, 1000), r"degree 1000 in dimension 1000 has multiplicity e\^\d+; at most e\^700"),
        (lambda: population_error(np.ones(2), np.ones(3), 1, 0.1, 1), r"energies has shape \(2,\) and eigenvalues \(3,\)"),
        (lambda: population_error(-np.ones(2), np.ones(2), 1, 0.1, 1), "energies holds -1; 0 or more"),
        (lambda: population_error(np.ones(2), np.ones(2), 0, 0.1, 1), "samples is 0; a number above 0"),
        (lambda: population_error(np.ones(2), np.ones(2), 1, 0.0, 1), r"lr is 0\.0; a number above 0"),
        (lambda: population_error(np.ones(2), np.ones(2), 1, 0.1, -1), "steps is -1; 0 or more, or None"),
        (lambda: population_flow_error(np.ones(2), np.ones(2), 1, -1.0), r"time is -1\.0; 0 or more"),
        (
            lambda: PopulationTransfer(np.ones(1), np.ones(1), np.ones(1), 2 * np.ones(1)),
            r"cross\[0\] is 2; at most √\(source · target\) = 1",
        ),
        (lambda: PopulationTransfer(np.ones(2), np.ones(2), np.ones(2), np.ones(1)), r"cross has shape \(1,\)"),
        (lambda: tasks(0, reached=False)[0].curve(1.0, 0.1, displacement=True), "energy where the eigenvalue is 0, which no weights fit"),
    ],
)
def test_bad_input_is_named(call, message):
    with np.errstate(all="ignore"), pytest.raises(InvalidInput, match=message):
        call()


def test_unstable_steps_and_foreign_teachers_are_refused():
    for steps, rate in ((5, 2.1), (None, 2.0)):
        with pytest.raises(UnstableStep, match=r"lr = .* diverges; at most 2/\(nλ_max\)"):
            population_error(np.ones(1), np.ones(1), 10.0, rate / 10, steps)
    f, g = ZonalExpansion(3, np.ones(2), np.zeros(2), 2.0), ZonalExpansion(4, np.ones(2), np.zeros(2), 2.0)
    with pytest.raises(InvalidInput, match="dimensions 3 and 4"):
        f.cross_energies(g, 0.5)
    with pytest.raises(InvalidInput, match=r"cosine is 1\.5"):
        f.cross_energies(f, 1.5)

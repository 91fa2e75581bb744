"""Estimates: known answers, calibration, and that each can tell what it is meant to tell."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.estimate import Estimate, Exponent, bias_and_spread, estimate, fit_exponent, jackknife, standard_deviation
from tests.helpers import assert_exact
from theory.errors import InvalidInput


def test_mean_and_standard_error_of_known_numbers():
    e = estimate([1.0, 2.0, 3.0, 4.0])
    assert e.mean == 2.5
    assert_exact(np.float64(e.standard_error), math.sqrt(5 / 3 / 4), ulps=2)


def test_z_is_calibrated_for_few_runs():
    """Student's t at 7 degrees of freedom, looked up: P(|t| > 5.408) = 0.001, as P(|z| > 3.2905)."""
    e = Estimate(5.408, 1.0, 8)
    assert abs(e.z(0.0) - 3.2905) < 1e-3
    assert e.z(0.0) == -Estimate(-5.408, 1.0, 8).z(0.0)
    assert abs(Estimate(4.5, 1.0, 10**9).z(0.0) - 4.5) < 1e-6
    assert Estimate(1.0, 0.0, 8).z(1.0) == 0
    assert Estimate(1.0, 0.0, 8).z(2.0) == -math.inf


def test_detectable_is_where_z_meets_its_limit():
    e = Estimate(0.0, 0.3, 8)
    assert abs(Estimate(e.detectable, 0.3, 8).z(0.0) - 4.5) < 1e-6
    slope = Exponent(-0.5, 0.02, 1.0, 1.0, 5.5)
    assert abs(replace(slope, slope=slope.detectable).z(0.0) - 4.5) < 1e-6


def test_standard_deviation_against_its_exact_spread():
    """For Gaussian draws the standard deviation has relative standard error 1/√(2(n − 1))."""
    rng = np.random.default_rng(0)
    values = [standard_deviation(3 + rng.standard_normal(50)) for _ in range(400)]
    scatter = np.std([v.mean for v in values])
    claimed = math.sqrt(np.mean([v.standard_error**2 for v in values]))
    assert abs(scatter * math.sqrt(98) - 1) < 4.5 / math.sqrt(2 * 400)
    assert abs(claimed / scatter - 1) < 0.2


def test_the_jackknife_of_a_mean_is_its_standard_error_and_undefined_values_stay_so():
    values = np.random.default_rng(0).standard_normal((12, 2))
    found, plain = jackknife(values, lambda v: float(v[:, 0].mean())), estimate(values[:, 0].tolist())
    assert_exact(np.float64(found.mean), plain.mean, ulps=4)
    assert_exact(np.float64(found.standard_error), plain.standard_error, ulps=64)
    assert found.n == 12
    # To first order in the spread, that of a ratio of means is what error propagation says.
    near = 1 + 1e-4 * values
    ratio = jackknife(near, lambda v: float(v[:, 1].mean() / v[:, 0].mean()))
    assert ratio.standard_error == pytest.approx(estimate((near[:, 1] - near[:, 0]).tolist()).standard_error, rel=1e-3)
    assert jackknife(values, lambda v: None) is None
    assert jackknife(values, lambda v: None if len(v) < 12 else 1.0) is None
    with pytest.raises(InvalidInput, match="1 runs were given"):
        jackknife(values[:1], lambda v: 0.0)


def test_bias_is_told_from_spread():
    rng = np.random.default_rng(0)
    p, n = 300, 8
    truth = rng.standard_normal(p) * 0.05
    found = [bias_and_spread(truth + rng.standard_normal((n, p)) * 0.1) for _ in range(100)]
    squared = np.array([b.mean**2 for b, _ in found])
    assert abs(squared.mean() - truth @ truth) < 4.5 * squared.std(ddof=1) / 10
    spread = np.array([s.mean**2 for _, s in found])
    assert abs(spread.mean() - p * 0.01) < 4.5 * spread.std(ddof=1) / 10
    # Without a bias the naive length of the mean is p·0.01/n = 0.375 in square; the estimator sees none.
    none = [bias_and_spread(rng.standard_normal((n, p)) * 0.1)[0] for _ in range(100)]
    assert np.mean([b.mean**2 for b in none]) < 0.05


@given(slope=st.floats(-2, 2), prefactor=st.floats(0.01, 100))
def test_a_power_law_is_recovered(slope, prefactor):
    widths = [64, 256, 1024, 4096, 16384]
    fit = fit_exponent(widths, [Estimate(prefactor * m**slope, 0.01 * prefactor * m**slope, 8) for m in widths])
    assert abs(fit.slope - slope) < 1e-9
    assert abs(fit.prefactor / prefactor - 1) < 1e-8
    # Relative errors of 1 % at five equally spaced log-widths.
    assert abs(fit.standard_error - 0.01 / math.sqrt(10) / math.log(4)) < 1e-12


def test_a_true_exponent_is_refused_as_rarely_as_promised():
    """Errors estimated from eight runs: 3,000 fits of a true law stay within 4.5, and within 3 as often as a normal variable."""
    rng = np.random.default_rng(0)
    widths = [2**e for e in range(9, 15)]
    z = np.array(
        [fit_exponent(widths, [estimate(m**-0.5 * (1 + 0.3 * rng.standard_normal(8))) for m in widths]).z(-0.5) for _ in range(3000)]
    )
    assert np.abs(z).max() < 4.5
    assert np.mean(np.abs(z) > 3) < 0.0027 + 4.5 * math.sqrt(0.0027 / 3000)


def test_a_curved_law_widens_the_standard_error():
    widths = [64, 256, 1024, 4096, 16384]
    values = [Estimate(m**-0.5 * (1 + 50 / m), 1e-4 * m**-0.5, 8) for m in widths]
    fit = fit_exponent(widths, values)
    assert fit.chi_square_per_dof > 100
    assert abs(fit.z(-0.5)) < 4.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate([1.0]), "1 runs were given; at least 2"),
        (lambda: standard_deviation([1.0, 2.0]), "2 runs were given; at least 3"),
        (lambda: bias_and_spread(np.ones((2, 3))), "2 runs were given; at least 3"),
        (lambda: fit_exponent([1, 2, 3], [Estimate(1, 1, 2)] * 3), "3 widths were given; a rate needs at least 4"),
        (lambda: fit_exponent([1, 2, 3, 4], [Estimate(0, 1, 2)] * 4), "zero or has no spread"),
    ],
)
def test_too_little_data_is_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()

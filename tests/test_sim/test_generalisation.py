"""The generalisation experiment: its task, its rank correlations, its refits, and claims that can go either way."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptoq
from sim import verdicts
from sim.datasets import pooled
from sim.experiments.claims import frequency_claim, least_claim
from sim.experiments.generalisation import DELTA, _bound_claims, _rank_within, pair_draw
from sim.pairs import PairTask, enlarged
from sim.ranks import Interval, over_draws, rank_correlation
from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory.bounded_loss import ramp
from theory.errors import InvalidInput

# The task --------------------------------------------------------------------------------------------------------------


def test_random_labels_are_random_to_the_share_and_nested():
    tasks = [PairTask(digits=(4, 9), random_share=s, n_target=999) for s in (0.0, 0.3, 0.6, 1.0)]
    labels = [t.target_labels() for t in tasks]
    changed = [y != labels[0] for y in labels]
    for task, wrong in zip(tasks[1:], changed[1:], strict=True):
        assert_z(wrong.astype(float), task.random_share / 2)
    for fewer, more in pairwise(changed):
        assert not (fewer & ~more).any()
    first, last = tasks[0].problem(), tasks[-1].problem()
    for a, b in ((first.source, last.source), (first.test, last.test)):
        assert_exact(a[0], b[0], ulps=0)
        assert_exact(a[1], b[1], ulps=0)
    assert_exact(first.target[0], last.target[0], ulps=0)


def test_points_are_two_classes_without_overlap_in_unit_rows():
    problem = PairTask(digits=(0, 1), n_target=300).problem()
    rows = {row.tobytes() for row in np.concatenate([problem.target[0], problem.test[0]])}
    assert len(rows) == 1000
    assert len(problem.source[0]) == 360
    assert {s[0].shape[1] for s in (problem.source, problem.target, problem.test)} == {784}
    for X, y in (problem.source, problem.target, problem.test):
        assert_dtype_close(np.linalg.norm(X, axis=1), np.ones(len(X)), 1e-6, scale=1.0)
        assert 0.35 < np.mean(y > 0) < 0.65
    assert problem == PairTask(digits=(0, 1), n_target=300).problem()
    assert problem != PairTask(digits=(0, 1), n_target=300, seed=1).problem()


def test_the_two_sets_are_brought_to_one_scale():
    """Trained on the UCI digits alone, most MNIST digits of the two classes are told apart."""
    problem = PairTask(digits=(0, 1)).problem()
    outcome = ptoq.predict(problem, ptoq.Schedule(target_steps=0))
    assert outcome.test_error < 0.1


@given(size=st.sampled_from([8, 16, 20, 24]), margin=st.integers(0, 4), seed=st.integers(0, 99))
def test_enlarging_keeps_sums_and_pooling_undoes_it_where_sizes_divide(size, margin, seed):
    images = np.random.default_rng(seed).random((2, 8, 8))
    large = enlarged(images, size, margin)
    assert large.shape == (2, size + 2 * margin, size + 2 * margin)
    # The mean over the area, times the area.
    assert_dtype_close(large.sum(axis=(1, 2)), images.sum(axis=(1, 2)) * (size / 8) ** 2, 1e-5, scale=1e3)
    if size % 8 == 0:
        assert_dtype_close(pooled(large, 8, margin), images, 1e-6, scale=1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"digits": (3, 3)}, r"digits is \(3, 3\); two different classes"),
        ({"digits": (3, 10)}, r"digits is \(3, 10\)"),
        ({"random_share": 1.5}, r"random_share is 1.5; a number in \[0, 1\]"),
        ({"random_share": float("nan")}, "random_share is nan"),
        ({"n_target": 0}, "n_target is 0"),
        ({"n_target": 1000}, "n_target is 1000; at most 999"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InvalidInput, match=message):
        PairTask(**settings)


# Ranks -----------------------------------------------------------------------------------------------------------------


@given(values=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_rank_correlation_is_spearmans(values):
    from scipy.stats import spearmanr

    a, b = (list(map(float, v)) for v in zip(*values, strict=True))
    if len(set(a)) == 1 or len(set(b)) == 1:
        with pytest.raises(InvalidInput, match="finite values that differ"):
            rank_correlation(a, b)
    else:
        assert_dtype_close(np.float64(rank_correlation(a, b)), float(spearmanr(a, b)[0]), 1e-5, scale=1.0)


def test_rank_correlation_refuses_what_has_no_order():
    for a, b in (([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 2, float("nan")], [1, 2, 3])):
        with pytest.raises(InvalidInput):
            rank_correlation(a, b)


def test_an_interval_holds_the_value_and_narrows():
    values = np.random.default_rng(0).standard_normal(400)
    few, many = (over_draws(lambda chosen: float(values[chosen].mean()), n, "a test") for n in (25, 400))
    assert few.low < few.value < few.high
    assert 3 < (few.high - few.low) / (many.high - many.low) < 5.5
    # ± 1.96 standard errors, for a mean.
    assert 0.85 < (many.high - many.low) / (2 * 1.96 * values.std() / 20) < 1.15
    assert many == over_draws(lambda chosen: float(values[chosen].mean()), 400, "a test")
    with pytest.raises(InvalidInput, match="1 draws were given"):
        over_draws(lambda chosen: 0.0, 1, "a test")


def test_claims_hold_fail_and_abstain():
    made = [least_claim("c", "ranks", "", Interval((a + b) / 2, a, b, 8), 0.95) for a, b in ((0.96, 0.99), (0.9, 0.99), (0.7, 0.9))]
    assert [c.verdict for c in made] == ["held", "undecided", "failed"]
    counts = [frequency_claim("c", "counts", "", *n, 0.1) for n in ((10, 100), (18, 100), (40, 100), (0, 0))]
    assert [c.verdict for c in counts] == ["held", "undecided", "failed", "undecided"]
    claims = [{"experiment": "e", "profile": "smoke", **c.to_dict()} for c in (*made, *counts)]
    # Of the rank correlations, the lowest is the closest to its limit; of the frequencies, the highest.
    text = verdicts.table(claims)
    assert "at least +0.7 (limit 0.95)" in text
    assert "frequency +0.4 (limit 0.1)" in text
    assert "nothing to test" in verdicts.table(claims[-1:])


# The experiment --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def draw():
    return pair_draw(PairTask(digits=(3, 8), n_target=60, seed=5), (0.0, 0.4))


@pytest.mark.parametrize("start", ["from scratch", "pretrained"])
def test_rows_are_what_predict_says(draw, start):
    for row in draw[start]:
        task = PairTask(digits=(3, 8), n_target=60, seed=5, random_share=row["share"])
        outcome = ptoq.predict(task.problem(), ptoq.Schedule(source_steps=0 if start == "from scratch" else None))
        assert_dtype_close(np.float64(row["measure"]), (2 / 60) ** 0.5 * outcome.displacement, 1e-3, scale=1.0)
        assert row["test_error"] == outcome.test_error
        assert_dtype_close(np.float64(row["test_mse_true"]), outcome.test_mse, 1e-3, scale=1.0)
        f, y = outcome.test_outputs, task.problem().test[1]
        share = row["share"] / 2
        assert_dtype_close(np.float64(row["end_loss"]), np.mean((1 - share) * ramp(f, y) + share * ramp(f, -y)), 1e-3, scale=1.0)
        assert row["best_bound"] <= row["end_bound"]
        steps = row["best_steps"]
        stopped = ptoq.predict(task.problem(), ptoq.Schedule(source_steps=0 if start == "from scratch" else None, target_steps=steps))
        f = stopped.test_outputs
        assert_dtype_close(np.float64(row["best_loss"]), np.mean((1 - share) * ramp(f, y) + share * ramp(f, -y)), 1e-3, scale=1.0)
        assert_dtype_close(np.float64(sum(row["best_terms"])), row["best_bound"], 1e-6, scale=1.0)


@pytest.mark.parametrize("start", ["from scratch", "pretrained"])
def test_the_gap_is_that_of_literal_refits(draw, start):
    (row,) = (r for r in draw[start] if r["share"] == 0.4)
    problem = PairTask(digits=(3, 8), n_target=60, seed=5, random_share=0.4).problem()
    (X, y), (X_T, y_T) = problem.target, problem.test
    on_target, on_test = (0 * v for v in (y, y_T))
    if start == "pretrained":
        on_target, on_test = (ptoq.transformed_labels(*problem.source, points) for points in (X, X_T))
    H, H_T, gaps = ptoq.relu_gram(X), ptoq.relu_gram(X_T, X), []
    for i in range(60):
        kept = np.arange(60) != i
        weights = np.linalg.solve(H[np.ix_(kept, kept)], (y - on_target)[kept])
        left_out, f = on_target[i] + H[i, kept] @ weights, on_test + H_T[:, kept] @ weights
        expected = 0.8 * np.mean((f - y_T) ** 2) + 0.2 * np.mean((f + y_T) ** 2)
        gaps.append((left_out - y[i]) ** 2 - expected)
    assert_dtype_close(np.float64(row["leave_one_out_gap"]), np.mean(gaps), 1e-3, scale=1.0)


def test_ranks_see_an_order_that_is_not_there():
    """The claim fails when the measure has nothing to do with the error."""
    rng = np.random.default_rng(0)
    names = ("measure", "test_mse", "cross_validation")
    errors = [[{"test_error": e, **dict.fromkeys(names, 2 * e)} for e in np.arange(11) / 20] for _ in range(8)]
    assert {r["value"] for r in _rank_within(errors, "w")} == {1.0}
    unrelated = [[{**row, "measure": rng.random()} for row in d] for d in errors]
    (rank,) = (r for r in _rank_within(unrelated, "w") if r["way"] == "measure")
    assert rank["high"] < 0.95


def test_a_loss_above_its_bound_is_counted_and_a_vacuous_bound_is_not():
    row = {"end_bound": 0.5, "end_loss": 0.6, "best_bound": 1.2, "best_loss": 0.9}
    end, best = _bound_claims([row] * 50, "w")
    assert (end.verdict, end.measured) == ("failed", 1.0)
    assert "50 of 50 bounds are below 1" in end.at
    assert (best.verdict, best.measured) == ("undecided", None)
    end, _ = _bound_claims([{**row, "end_loss": 0.4}] * 50, "w")
    assert (end.verdict, end.limit) == ("held", DELTA)


def test_every_share_of_a_draw_uses_the_same_points():
    task = PairTask(n_target=40, seed=2)
    alone, both = pair_draw(task, (0.5,)), pair_draw(replace(task, random_share=0.9), (0.0, 0.5))
    assert alone["pretrained"][0] == both["pretrained"][1]

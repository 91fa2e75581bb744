"""A misplaced parenthesis, a wrong sign or a missing factor in any part of an entry turns its check red, and the report names the part."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from theory.checking import check
from theory.definitions import gaussian, hidden, linear_model, pretraining, scalar
from theory.numeric import landscape, spectrum, stages, turning
from theory.predict import predict
from theory.registry import ENTRIES, get
from theory.symbolic import near_parallel
from theory.symbolic.algebra import verify
from theory.symbolic.notation import c, eta, k, lam


@functools.cache
def sound(name):
    """The unplanted entry passes, else a red check would prove nothing."""
    return check(get(name)).passed


# Twins ---------------------------------------------------------------------------------------------------------------


def relu_gram_parenthesis(X, Z):
    cosine = X @ Z.T / (np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Z, axis=1)[None, :])
    return X @ Z.T * (math.pi - np.arccos(np.clip(cosine, -1, 1)) / (2 * math.pi))


def relu_gram_arccos(X, Z):
    cosine = X @ Z.T / (np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Z, axis=1)[None, :])
    return X @ Z.T * (math.pi - np.arccos(np.clip(cosine, -1, 1))) / (2 * math.pi)


def without_zero_mode(values, lr, steps):
    return spectrum.integral_filter(np.where(values > 0, values, 1e-300), lr, steps) * (values > 0)


def one_term_too_many(values, lr, steps):
    return spectrum.integral_filter(values, lr, None if steps is None else steps + 1)


def naive_difference(values, time):
    """Right, but for the cancellation at small tλ."""
    return np.where(values > 0, (1 - np.exp(-time * values)) / np.where(values > 0, values, 1), time)


def no_none(s, y):
    return float(np.sum(np.where(s.values > 0, stages.mode_energy(s, y) / np.where(s.values > 0, s.values, 1), 0)))


def ends_only(s, r, low, high):
    ends = [landscape.loss_along_gradient(s, r, lr) for lr in (low, high)]
    return min(ends), max(ends)


def forgets_with_the_wrong_sign(*args, **options):
    outcome = predict(*args, **options)
    return replace(outcome, source_loss=outcome.source_loss_pretrained, source_loss_pretrained=outcome.source_loss)


def displaced_from_scratch(*args, **options):
    outcome = predict(*args, **options)
    return replace(outcome, displacement=outcome.displacement_scratch)


def doubled_energy(*args, **options):
    outcome = predict(*args, **options)
    return replace(outcome, gradient_energy=outcome.gradient_energy / 2)


def curve_of_shares_left(s, lr, y, start, transfer):
    """`q` in place of `1 − q`."""
    curve = turning.PretrainingCurve.of(s, lr, y, start, transfer)
    return lambda steps: float(np.sum((curve.start - np.tensordot(spectrum.residual_filter(s.values, lr, steps), curve.modes, 1)) ** 2))


def noise_without_the_steps(s, transfer, variance, lr, steps):
    return turning.source_noise_energy(s, transfer, variance, 1 / s.largest, None)


TWINS = {
    "relu_gram": relu_gram_parenthesis,
    "relu_gram_limits": lambda X, Z: relu_gram_arccos(X, Z) * 2,
    "relu_gram_near_parallel": relu_gram_arccos,
    "residual_filter": lambda values, lr, steps: spectrum.residual_filter(values, lr, steps) if steps is None else 1 - lr * values**steps,
    "integral_filter": one_term_too_many,
    "flow_residual_filter": lambda values, time: np.exp(time * values),
    "flow_integral_filter": naive_difference,
    "spectral_filter": lambda s, g, y: s.vectors.T @ ((g * (s.vectors @ y).T).T),
    "mode_energy": lambda s, y: np.abs(stages.mode_energy(s, y)) ** 0.5,
    "stable_step": lambda s, lr, *_: lr <= 1 / s.largest,
    "residual": lambda s, y, lr, steps: y - stages.residual(s, y, lr, steps),
    "flow_residual": lambda s, y, time: stages.flow_residual(s, y, 2 * time),
    "coefficients": lambda s, y, lr, steps: stages.coefficients(s, y, lr, steps) * lr,
    "displacement": lambda s, y, lr, steps: stages.displacement(s, y, lr, steps) ** 2,
    "loss": lambda s, y, lr, steps: 2 * stages.loss(s, y, lr, steps),
    "inverse_norm_squared": no_none,
    "steps_to_loss": lambda s, y, target, lr: None if (n := stages.steps_to_loss(s, y, target, lr)) is None else n + 1,
    "transformed_labels": lambda X_P, y_P, X_Q, steps, lr: -stages.transformed_labels(X_P, y_P, X_Q, steps, lr),
    "gradient_energy": doubled_energy,
    "fine_tuning_displacement": displaced_from_scratch,
    "forgetting": forgets_with_the_wrong_sign,
    "transfer_gain": lambda s, y, left: (1 - stages.inverse_norm_squared(s, left) / stages.inverse_norm_squared(s, y), None),
    "negative_transfer": lambda s, y, left: (
        1 - (stages.inverse_norm_squared(s, y + left) / stages.inverse_norm_squared(s, y)) ** 0.5,
        None,
    ),
    "best_scale_gain": lambda s, y, t: 1 - (1 - stages.best_scale_gain(s, y, t)) ** 2,
    "pretraining_curve": curve_of_shares_left,
    # Right in exact arithmetic: only the digits lost at small η tell.
    "pretraining_initial_slope": lambda curve: curve(1) - curve(0),
    "pretraining_turns": lambda curve, last: [k + 1 for k in turning.PretrainingCurve.turns(curve, last)],
    "pretraining_best": lambda curve, last: min(range(last + 1), key=curve),
    "source_noise_energy": noise_without_the_steps,
    "loss_along_gradient": lambda s, r, lr: landscape.loss_along_gradient(s, r, -lr),
    "loss_range_along_gradient": ends_only,
    "gradient_norm": lambda s, r: landscape.gradient_norm(s, r) ** 2,
    "gradient_change": lambda s, r, lr: landscape.gradient_change(s, r, lr**2),
    "effective_smoothness": lambda s, r: landscape.effective_smoothness(s, r) ** 2,
}


@pytest.mark.parametrize("name", TWINS)
def test_a_fault_in_a_twin_is_found(name):
    assert sound(name)
    entry = get(name)
    result = check(replace(entry, twin=functools.wraps(entry.twin)(TWINS[name])))
    assert not result.passed
    assert result.name == name
    assert {(f.part, f.name) for f in result.failures} == {("twin", entry.twin_name)}


def test_a_lost_zero_mode_is_found():
    result = check(replace(get("integral_filter"), twin=functools.wraps(spectrum.integral_filter)(without_zero_mode)))
    assert {f.part for f in result.failures} == {"twin"}


# Definitions ---------------------------------------------------------------------------------------------------------


def times(factor):
    """The definition with a factor too many."""
    return lambda original: lambda case: [None if v is None else factor * v for v in original(case)]


def with_changed(**changes):
    """The definition of another case."""
    return lambda original: lambda case: original({**case, **{name: change(case) for name, change in changes.items()}})


DEFINITIONS = {
    "relu_gram": (gaussian.gram, lambda _: lambda case: [gaussian.both_active(x, z, case["kappa"]) for x in case["X"] for z in case["Z"]]),
    "residual_filter": (scalar.residual_filter, with_changed(lr=lambda case: case["lr"] / 2)),
    "flow_residual_filter": (scalar.flow_residual_filter, lambda _: lambda case: [mp.exp(v * case["time"]) for v in case["values"]]),
    "mode_energy": (hidden.mode_energy, lambda original: lambda case: original(case)[::-1]),
    "stable_step": (linear_model.stable_step, lambda original: lambda case: [not v for v in original(case)]),
    "residual": (linear_model.residual, with_changed(steps=lambda case: None if case["steps"] is None else case["steps"] + 1)),
    "displacement": (linear_model.displacement, lambda original: lambda case: [v**2 for v in original(case)]),
    "loss": (linear_model.loss, times(2)),
    "transformed_labels": (hidden.transformed_labels, times(-1)),
    "gradient_energy": (hidden.gradient_energy, times(mp.mpf(1) / 2)),
    "fine_tuning": (linear_model.fine_tuning_residual, with_changed(start=lambda case: [[0.0] * len(r) for r in case["start"]])),
    "outputs_anywhere": (
        linear_model.outputs_anywhere,
        with_changed(source_labels=lambda case: [[-v for v in r] for r in case["source_labels"]]),
    ),
    "transfer_gain": (linear_model.transfer_gain, with_changed(remaining=lambda case: case["transformed"])),
    "pretraining_curve": (pretraining.curve, with_changed(source_labels=lambda case: [[-v for v in r] for r in case["source_labels"]])),
    "pretraining_initial_slope": (pretraining.initial_slope, times(-1)),
    "pretraining_turns": (pretraining.turns, with_changed(source_lr=lambda case: case["source_lr"] / 2)),
    "pretraining_best": (pretraining.best, with_changed(last=lambda case: 2)),
    "source_noise_energy": (pretraining.source_noise, with_changed(variance=lambda case: case["variance"] ** 0.5)),
    "loss_range_along_gradient": (linear_model.loss_range_along_gradient, lambda original: lambda case: original(case)[::-1]),
    "gradient_change": (linear_model.gradient_change, with_changed(lr=lambda case: 2 * case["lr"])),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_fault_in_a_definition_is_found(name):
    assert sound(name)
    entry, (original, fault) = get(name), DEFINITIONS[name]
    assert entry.definition is original
    result = check(replace(entry, definition=functools.wraps(original)(fault(original))))
    assert not result.passed
    assert {(f.part, f.name) for f in result.failures} == {("definition", original.__name__)}


# Derivations ---------------------------------------------------------------------------------------------------------


def planted(entry, number, fault):
    """`entry` with a fault in the right side of one step and, consistently, wherever that expression is used afterwards or ends up."""
    chain = entry.derivation()
    old = chain.steps[number - 1].right
    new = fault(old)
    assert new != old
    steps = list(chain.steps)
    steps[number - 1] = replace(steps[number - 1], right=new)
    if number < len(steps) and not steps[number].opens:
        steps[number] = replace(steps[number], left=new)
    results = {name: new if result == old else result for name, result in chain.results.items()}
    return replace(entry, derivation=functools.wraps(entry.derivation)(lambda: replace(chain, steps=tuple(steps), results=results)))


def find(name, rule):
    """Number of the step whose rule holds the text."""
    return next(i for i, s in enumerate(get(name).derivation().steps, start=1) if rule in s.rule)


DERIVATIONS = [
    ("relu_gram", "angular integral", lambda e: (sp.pi + sp.Symbol("theta", positive=True)) / (2 * sp.pi)),
    ("relu_gram", "radial", lambda e: e / sp.Symbol("kappa", positive=True)),
    (
        "relu_gram_near_parallel",
        "1/τ = σ/δ",
        lambda e: e.xreplace({near_parallel.apart: near_parallel.together, near_parallel.together: near_parallel.apart}),
    ),
    ("residual_filter", "k equal factors", lambda e: 1 - eta * lam**k),
    ("integral_filter", "(1 − ηλ) q_k", lambda e: e * lam),
    ("flow_residual_filter", "n → ∞", lambda e: 1 / e),
    ("spectral_filter", "orthonormal", lambda e: -e),
    ("residual", "factor", lambda e: -e),
    ("displacement", "on a mode", lambda e: c**2 * (1 - (1 - eta * lam) ** k) / lam),
    ("loss", "half the squared residual", lambda e: 2 * e),
    ("inverse_norm_squared", "its square", lambda e: c / lam),
    ("transformed_labels", "H_QP", lambda e: -e),
    ("fine_tuning", "q = I − Hφ", lambda e: 2 * e),
    ("outputs_anywhere", "f_0(x)", lambda e: e - e.args[0]),
    ("forgetting", "rise of the loss", lambda e: -e),
    ("transfer_gain", "displacement from W(P)", lambda e: 2 - e),
    ("best_scale_gain", "its value", lambda e: e**2),
    ("pretraining_curve", "what of the source reaches", lambda e: -e),
    ("pretraining_curve", "still leave", lambda e: e * lam),
    ("pretraining_initial_slope", "change of the square", lambda e: -e),
    ("pretraining_turns", "what step k + 1 takes", lambda e: e / lam),
    ("pretraining_best", "two modes", lambda e: e.subs(sp.Symbol("d", real=True), -sp.Symbol("d", real=True))),
    ("source_noise_energy", "on a mode", lambda e: e * lam),
    ("loss_along_gradient", "multiply out", lambda e: e.subs(eta, -eta)),
    ("gradient_change", "squared", lambda e: e / lam),
    ("steps_to_loss", "falls at every step", lambda e: -e),
]


@pytest.mark.parametrize(("name", "rule", "fault"), DERIVATIONS, ids=[f"{d[0]}-{d[1]}" for d in DERIVATIONS])
def test_a_fault_in_a_derivation_is_found(name, rule, fault):
    assert sound(name)
    number = find(name, rule)
    result = check(planted(get(name), number, fault))
    assert not result.passed
    assert {f.part for f in result.failures} == {"derivation"}
    assert any(f.name.startswith(f"step {number} ") for f in result.failures)


@pytest.mark.parametrize("name", [e.name for e in ENTRIES])
def test_a_wrong_result_of_a_derivation_is_found(name):
    """Even if every step holds: a result that is another than the one used in numbers."""
    entry = get(name)
    chain = entry.derivation()
    results = {key: (value + 1 if value == 0 else -2 * value) for key, value in chain.results.items()}
    faulty = replace(entry, derivation=lambda: replace(chain, results=results), domain=replace(entry.domain, cases=3))
    failures = check(faulty).failures
    assert {f.part for f in failures} == {"derivation"}
    assert any(f.name == "closed form" for f in failures), name


@pytest.mark.parametrize("name", [e.name for e in ENTRIES])
def test_every_step_carries_weight(name):
    """No step passes when its right side is changed."""
    chain = get(name).derivation()
    for number, step in enumerate(chain.steps, start=1):
        if step.relation == "≤":
            wrong = step.left - 1
        elif isinstance(step.right, sp.MatrixBase):
            wrong = step.right + sp.ones(*step.right.shape)
        elif step.right.is_commutative:
            wrong = step.right + 1
        else:
            wrong = 2 * step.right
        # Enough to evaluate: the numbers alone must find it.
        alone = replace(chain, steps=(replace(step, right=wrong, opens=True, method="numbers"),), results={})
        failures = verify(alone, name)
        assert any("side" in f.message or "cannot" in f.message for f in failures), f"step {number} of {name}"

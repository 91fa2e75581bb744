"""A misplaced parenthesis, a wrong sign or a missing factor in any part of an entry turns its check red, and the report names the part."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from types import SimpleNamespace

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from theory.average import phase_diagram
from theory.chain import predict_chain
from theory.checking import check
from theory.definitions import average_case as averaged
from theory.definitions import chains as chained
from theory.definitions import cross_entropy as literal_cross_entropy
from theory.definitions import drift as drifting
from theory.definitions import gates, gaussian, hidden, linear_methods, linear_model, pretraining, random_start, rank, relu_net, scalar
from theory.definitions import generalisation as literally
from theory.definitions import kernels as expected
from theory.definitions import ruled_out as excluded
from theory.definitions import similarity as compared
from theory.definitions import sphere as sphere_literal
from theory.definitions import stage_theory as stage_literal
from theory.numeric import (
    average_case,
    chains,
    cross_entropy,
    degeneracy,
    drift,
    generalisation,
    gram_fluctuation,
    initialisation,
    joint,
    landscape,
    minibatch,
    optimisers,
    penalties,
    population,
    ruled_out,
    similarity,
    source_size,
    spectrum,
    sphere,
    stability,
    stages,
    turning,
    vector_labels,
)
from theory.numeric.kernels import deep, kernel
from theory.numeric.kernels.quadrature import gaussian_product
from theory.numeric.turn_bound import TurnBound
from theory.predict import predict
from theory.registry import BOUNDS, ENTRIES, get
from theory.symbolic import deep_kernel, near_parallel
from theory.symbolic.algebra import verify
from theory.symbolic.notation import c, eta, k, kappa, lam, theta


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


def union_over_one_radius(*args):
    bound = generalisation.rademacher_bound(*args)
    n = args[0].size
    return replace(bound, confidence=3 * math.sqrt(math.log(2 / bound.delta) / (2 * n)))


def slowest_mode_at_the_end(s, y, lr, steps):
    """What the ratio at k steps tends to, in place of its value at the end."""
    return generalisation.generalised_cross_validation(s, y, lr, 10**6 if steps is None else steps)


def fitted_points_only(s, y):
    """The formula for a regular Gram matrix, used for every one."""
    inverse = np.where(s.values > 0, 1 / np.where(s.values > 0, s.values, 1), 0)
    divisor = (s.vectors**2) @ inverse
    return s.apply(inverse, y) / (divisor if y.ndim == 1 else divisor[:, None])


def forgets_earlier_stages(spectra, cross, labels, order, lr, steps):
    """Every stage starts from `W(0)`."""
    results = chains.run_chain(spectra, cross, labels, order, lr, steps)
    return [replace(r, remaining=labels[s]) for s, r in zip(order, results, strict=True)]


def stages_at_right_angles(spectra, cross, order, coefficients):
    """Cross terms left out."""
    return sum(chains.total_displacement(spectra, cross, order[i : i + 1], coefficients[i : i + 1]) ** 2 for i in range(len(order))) ** 0.5


def without_the_first_stage(*args, **options):
    outcome = predict_chain(*args, **options)
    return replace(outcome, test_outputs=tuple(u - outcome.test_outputs[0] for u in outcome.test_outputs))


def all_at_once(H, sizes, lr, steps):
    """Jacobi's sweep in place of Gauss and Seidel's: no set sees what the others have changed."""
    starts = np.cumsum([0, *sizes])
    E = np.eye(len(H))
    for i, (size, rate, count) in enumerate(zip(sizes, lr, steps, strict=True)):
        rows = slice(starts[i], starts[i] + size)
        s = spectrum.GramSpectrum.of(H[rows, rows])
        E -= H[:, rows] @ s.apply(spectrum.integral_filter(s.values, rate, count), np.eye(len(H))[rows])
    return E


def joint_without_the_source(P, Q, H_QP, y_P, y_Q):
    found = joint.sequential_and_joint(P, Q, H_QP, y_P, y_Q)
    return replace(found, joint=found.joint + found.source)


def two_half_spaces(X_P, coefficients, X_Q):
    """Gates of the source points taken as independent of each other and of the target's: probabilities multiplied."""
    z = np.asarray(coefficients).reshape(len(X_P), -1)[:, :, None] * (X_P @ X_Q.T)[:, None, :]
    return np.sum(np.sum(z, axis=0) ** 2, axis=0) / 8


def buffer_kept_full(values, lr, steps, momentum):
    """As if the buffer already held a steady gradient: p_1 = 1 − ηλ/(1 − μ)."""
    left, before = np.ones_like(values), np.ones_like(values)
    if steps is None:
        return optimisers.heavy_ball_residual_filter(values, lr, steps, momentum)
    for step in range(steps):
        left, before = (1 + momentum - lr * values) * left - momentum * before - (step == 0) * lr * values * momentum, left
    return left


def direct_difference(values, decay, lr, steps, momentum):
    """Right, but for the cancellation at small λ."""
    p = [optimisers.heavy_ball_residual_filter(values * s + decay, lr, steps, momentum) for s in (0, 1)]
    return (p[0] - p[1]) / values


def naive_displacement(s, y, lr, steps, *, decay, momentum, carried=None, distance=0.0):
    """`√(yᵀ(H + β)⁻¹y)`-like: one factor of `λ/(λ + β)` forgotten."""
    right = penalties.displacement(s, y, lr, steps, decay=decay, momentum=momentum, carried=carried, distance=distance)
    if carried is not None or steps is not None:
        return right
    return float(np.sqrt(np.sum(stages.mode_energy(s, y) / (s.values + decay))))


def pretraining_never_forgotten(problem, schedule, **options):
    return predict(problem, replace(schedule, anchor="start"), **options)


def shrinks_nothing(problem, schedule, **options):
    return predict(problem, replace(schedule, anchor="initial"), **options)


def forgets_on_the_way(problem, schedule, **options):
    return predict(problem, replace(schedule, anchor="initial"), **options)


def batches_backwards(H, y, batches, lr):
    return minibatch.descend(H, y, batches[::-1], lr)


def wrong_side_of_one(outputs, labels):
    return cross_entropy.loss(outputs, labels) + float(np.log(2))


def mean_over_points(H, labels, lr, steps, **options):
    return cross_entropy.descend(H, labels, lr / len(labels), steps, **options)


def triples_as_pairs(X):
    """Three independent events in place of three that share a neuron."""
    H = gram_fluctuation.relu_gram(X)
    G = X @ X.T
    return G @ H / 2 - H @ H


def without_the_cross_blocks(X, c, width, *, readouts, antisymmetric):
    one = vector_labels.expected_vector_gram_error(X, 1, width, readouts=readouts, antisymmetric=antisymmetric)
    return c * one


def opposites_count_as_duplicates(X):
    found = degeneracy.degeneracy(X)
    return replace(found, span=0)


def uncrossed(source, target_source, target, transfer):
    return target + transfer @ source @ transfer.T


def gaussian_at_every_width(remaining, covariance, **options):
    return initialisation.start_moments(remaining, covariance, init_scale=options["init_scale"])


def start_without_the_label_term(remaining, covariance, **options):
    moments = initialisation.start_moments(remaining, covariance, **options)
    quadratic = initialisation.start_moments(0 * remaining, covariance, **options)
    return replace(moments, variance=quadratic.variance)


def gates_that_never_close(norms, labels, lr, steps, **options):
    """Training with the kernel frozen."""
    return drift.orthogonal_run(norms, labels, lr, steps, **{**options, "init_scale": 1e9})


def drift_of_the_flow(norms, labels, lr, **options):
    """Steps so small that their size is forgotten."""
    return drift.relative_drift(norms, labels, 1e-9 * lr, **options)


def first_eigenvector_only(s, y, left):
    """Repeated eigenvalues taken one by one."""
    return similarity.mode_suppression(s, y, left, tolerance=0.0)


def columns_one_by_one(s, y, t):
    T = t if t.ndim == 2 else t[:, None]
    return max(similarity.best_linear_gain(s, y, T[:, k]) for k in range(T.shape[1]))


def linear_in_scale(scalars, kappa):
    return {name: value * kappa for name, value in scalars.items()}


def other_points(*args, **options):
    outcome = predict(*args, **options)
    return replace(outcome, gradient_energy=2 * outcome.target_loss_scratch)


def half_transferred(problem, schedule):
    outcome = predict(problem, schedule)
    return replace(outcome, displacement=outcome.displacement / 2)


def step_of_the_angle(name, init_scale):
    """`θ` for `π − θ`."""
    return SimpleNamespace(dual=lambda X, Z: 0.5 - kernel(name).dual(X, Z))


def squared_as_cho_and_saul(name, init_scale):
    """Their kernels are twice the duals."""
    k = kernel(name, init_scale=init_scale)
    return SimpleNamespace(dual=lambda X, Z: 2 * k.dual(X, Z), derivative_dual=k.derivative_dual)


def monomial_of_one_pairing(name, init_scale, power):
    k = kernel(name, init_scale=init_scale, power=power)
    return SimpleNamespace(dual=lambda X, Z: (init_scale**2 * X @ Z.T) ** power, derivative_dual=k.derivative_dual)


def readout_as_if_homogeneous(k):
    """`H + κ²Σ` with `Σ` at `κ = 1`: right for a ReLU only."""
    return lambda X, Z: k(X, Z) + k.init_scale**2 * replace(k, init_scale=1.0).dual(X, Z)


def bound_of_all_terms(curve):
    """Descartes' rule on the coefficients, where Laguerre's takes partial sums."""
    signs = np.sign(curve._slope_terms().coefficients)
    return TurnBound(int(np.sum(signs[1:] != signs[:-1])), curve.turn_bound().turns)


def window_without_the_end(curve, last):
    return 0.0, curve.noise_window(last)[1]


def changes_alone(curve, steps):
    """What each mode changes if it is the only one learnt: cross terms left out."""
    parts = curve.contributions(steps)
    modes, start = curve.modes.reshape(len(parts.shares), -1), curve.start.ravel()
    alone = -parts.shares * (modes @ (2 * start)) + parts.shares**2 * np.sum(modes**2, axis=1)
    return replace(parts, changes=alone)


def with_odd_degrees(dimension, last, norm):
    """The step kernel's own eigenvalues where the tangent kernel has none."""
    values = sphere.tangent_eigenvalues(dimension, last, norm)
    return np.where(values == 0, norm**2 * sphere.step_eigenvalues(dimension, last), values)


def transfer_without_the_cross_energy(task, samples, lr, steps):
    return replace(task, cross=0 * task.cross).remaining(samples, lr, steps)


def curve_of_the_source_alone(task, samples, lr, displacement=False):
    return replace(task, target=task.source, cross=task.source).curve(samples, lr, displacement=displacement)


TWINS = {
    "pretraining_turn_bound": bound_of_all_terms,
    "pretraining_late_trend": lambda curve: -curve.late_trend(),
    "pretraining_turn_is_certain": lambda curve: curve.late_trend() > 0 and curve.initial_slope() > 0,
    "pretraining_mean_curve": lambda curve, variance: curve.with_source_noise(variance**2),
    "pretraining_noise_window": window_without_the_end,
    "pretraining_contributions": changes_alone,
    "explained_by_source_points": lambda *blocks: np.diff(source_size.explained_by_source_points(*blocks), prepend=0.0),
    "noise_by_source_points": source_size.explained_by_source_points,
    "sphere_multiplicity": lambda dimension, degree: math.comb(degree + dimension - 1, dimension - 1),
    "sphere_legendre": lambda dimension, last, t: sphere.legendre(dimension + 1, last, t),
    "sphere_step_eigenvalues": lambda dimension, last: np.sqrt(sphere.step_eigenvalues(dimension, last)),
    "sphere_tangent_eigenvalues": with_odd_degrees,
    "sphere_trace": lambda dimension, last, norm: norm**2 / 2 - float(np.sum(sphere.tangent_eigenvalues(dimension, last, norm))),
    "sign_floor": lambda dimension: sphere.sign_floor(dimension + 1),
    "sphere_relu_eigenvalues": lambda dimension, last, norm: sphere.relu_eigenvalues(dimension, last, norm) / dimension,
    "sphere_constant_coordinate": lambda kernel, norm, constant: sphere.with_constant(kernel, norm, 2 * constant),
    "zonal_expansion": lambda function, dimension, last: sphere.zonal_expansion(function, dimension + 1, last),
    "population_error": lambda e, values, n, lr, steps: population.population_error(e, values, n, lr, None if steps is None else 2 * steps),
    "population_flow_error": lambda e, values, n, time: population.population_flow_error(e, values, n, time / 2),
    "population_remaining": transfer_without_the_cross_energy,
    "population_gain": lambda task, *run: (None if (g := task.gain(*run)[0]) is None else 1 - (1 - g) ** 2, None),
    "population_curve": curve_of_the_source_alone,
    "leaky_relu_kernel": lambda name, init_scale, slope: kernel(name, init_scale=init_scale, slope=slope**2),
    "step_kernel": step_of_the_angle,
    "squared_relu_kernel": squared_as_cho_and_saul,
    "monomial_kernel": monomial_of_one_pairing,
    "erf_kernel": lambda name, init_scale: kernel(name),
    "gelu_kernel": lambda name, init_scale: kernel("relu", init_scale=init_scale),
    "dual_derivative": lambda k, X, Z: k.init_scale**2 * k.derivative_dual(X, Z),
    "both_layers_kernel": readout_as_if_homogeneous,
    "deep_kernel": lambda k, depth, weight_variance: deep(k, depth),
    "gaussian_quadrature": lambda function, pair: gaussian_product(function, pair.opposite),
    "chain_recursion": forgets_earlier_stages,
    "chain_displacement": stages_at_right_angles,
    "chain_outputs": without_the_first_stage,
    "sweep_matrix": all_at_once,
    "canonical_correlations": lambda P, Q, H_QP: joint.squared_canonical_correlations(P, Q, H_QP) ** 0.5,
    "alternating_rate": lambda P, Q, H_QP: chains.alternating_rate(P, Q, H_QP) ** 2,
    "sequential_joint": joint_without_the_source,
    "average_squares": lambda average, angle, variance: average_case.TeacherAverage.mean(average, angle, variance**0.5),
    "average_variance": lambda average, angle, variance: average_case.TeacherAverage.variance(average, angle, variance) / 2,
    "sixty_degree_law": lambda average, angle, variance: average_case.TeacherAverage.ratio(average, math.pi - angle, variance),
    "threshold_angle": lambda average, variance: average_case.TeacherAverage.threshold_angle(average, 2 * variance) and math.pi / 3,
    "threshold_noise": lambda average, angle: (v := average_case.TeacherAverage.threshold_noise(average, angle)) and v**0.5,
    "expected_displacement": lambda P, Q, H_QP, angle, variance: average_case.expected_displacement(P, Q, H_QP, 0.0, variance),
    "phase_diagram": lambda X, Z, similarities, angles, variance: phase_diagram(X, Z, [c / 2 for c in similarities], angles, variance),
    "fresh_head": two_half_spaces,
    "equal_flatness": lambda W, a, X: ruled_out.hessian_eigenvalues(W, a, X) * len(W) ** 0.5,
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
    "acceleration": lambda s, y, left, target, lr: stages.acceleration(s, left, y, target, lr),
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
    "output_kernel": lambda X, Z: initialisation.output_kernel(X, Z) - gram_fluctuation.relu_gram(X, Z),
    "gram_entry_variance": lambda X: gram_fluctuation.relu_gram(X) * (X @ X.T),
    "expected_gram_error": lambda X, width, pairs: gram_fluctuation.expected_gram_error(X, width, False),
    "gram_matrix_variance": triples_as_pairs,
    "expected_vector_gram_error": without_the_cross_blocks,
    "readout_energy_variance": lambda E, width, **options: 2 * vector_labels.readout_energy_variance(E, width, **options),
    "degeneracy": opposites_count_as_duplicates,
    "start_covariance": uncrossed,
    "start_moments": start_without_the_label_term,
    "start_moments_at_width": gaussian_at_every_width,
    "orthogonal_run": gates_that_never_close,
    "relative_drift": drift_of_the_flow,
    "mode_suppression": first_eigenvector_only,
    "best_linear_gain": columns_one_by_one,
    "at_scale": linear_in_scale,
    "target_inside_source": other_points,
    "nothing_transfers": half_transferred,
    "complexity_measure": lambda s, y, lr, steps: generalisation.complexity_measure(s, y, lr, steps) / math.sqrt(2),
    "rademacher_complexity": lambda s, radius: radius / math.sqrt(s.size),
    "rademacher_bound": union_over_one_radius,
    "leave_one_out": fitted_points_only,
    "generalised_cross_validation": slowest_mode_at_the_end,
    "heavy_ball_residual_filter": buffer_kept_full,
    "heavy_ball_integral_filter": lambda v, lr, steps, mu: (
        np.where(v > 0, 1 - optimisers.heavy_ball_residual_filter(v, lr, steps, mu), 0) / np.where(v > 0, v, 1)
    ),
    "difference_filter": direct_difference,
    "varying_residual_filter": lambda values, rates: np.prod([1 - lr * values for lr in rates[1:]], axis=0) * np.ones_like(values),
    "varying_integral_filter": lambda values, rates: optimisers.varying_integral_filter(values, rates[::-1][:-1]),
    "stable_momentum_step": lambda s, momentum, decay: 2 * (1 + momentum) / s.largest,
    "minibatch": batches_backwards,
    "decayed_residual_filter": lambda v, lr, steps, decay, mu: optimisers.heavy_ball_residual_filter(v + decay, lr, steps, mu),
    "decayed_integral_filter": lambda v, lr, steps, decay, mu: optimisers.heavy_ball_integral_filter(v, lr, steps, mu),
    "remembered": lambda lr, steps, decay, mu: (1 - lr * decay) ** steps if steps is not None else float(decay == 0),
    "penalised_coefficients": lambda *args, carried=None, **options: penalties.coefficients(*args, **options),
    "penalised_residual": lambda *args, carried=None, **options: penalties.residual(*args, **options),
    "penalised_loss": lambda *args, **options: 2 * penalties.loss(*args, **options),
    "penalised_displacement": naive_displacement,
    "decay_towards_own_start": forgets_on_the_way,
    "decay_towards_initial": pretraining_never_forgotten,
    "decay_towards_zero": shrinks_nothing,
    "cross_entropy_loss": wrong_side_of_one,
    "cross_entropy_gradient": lambda outputs, labels: cross_entropy.gradient(-outputs, labels),
    "cross_entropy_descent": mean_over_points,
    "stable_cross_entropy_step": lambda s, *, outputs, **options: stability.largest_stable_step(s, outputs=2, **options),
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
    "pretraining_turn_bound": (
        stage_literal.turn_bound,
        with_changed(source_labels=lambda case: [[v / 4 for v in r] for r in case["source_labels"]]),
    ),
    "pretraining_late_trend": (stage_literal.late_trend, times(-1)),
    "pretraining_noise_window": (stage_literal.noise_window, with_changed(last=lambda case: 1)),
    "pretraining_contributions": (stage_literal.contributions, lambda original: lambda case: original(case)[::-1]),
    "explained_by_source_points": (stage_literal.explained, times(2)),
    "sphere_tangent_eigenvalues": (sphere_literal.tangent_eigenvalues, with_changed(dimension=lambda case: case["dimension"] + 1)),
    "sphere_trace": (sphere_literal.trace_beyond, times(2)),
    "sign_floor": (sphere_literal.sign_floor, with_changed(dimension=lambda case: case["dimension"] + 1)),
    "zonal_expansion": (sphere_literal.zonal_eigenvalues, with_changed(powers=lambda case: case["powers"][::-1])),
    "population_error": (sphere_literal.population_error, with_changed(samples=lambda case: 2 * case["samples"])),
    "population_remaining": (sphere_literal.population_remaining, with_changed(source=lambda case: case["target"])),
    "leaky_relu_kernel": (expected.leaky, with_changed(slope=lambda case: 2 * case["slope"])),
    "monomial_kernel": (expected.monomial, times(2)),
    "gelu_kernel": (expected.gelu, with_changed(init_scale=lambda case: 2 * case["init_scale"])),
    "dual_derivative": (expected.erf_change, times(-1)),
    "deep_kernel": (expected.deep, with_changed(weight_variance=lambda case: 2 * case["weight_variance"])),
    "chain_recursion": (chained.recursion, with_changed(lr=lambda case: [v / 2 for v in case["lr"]])),
    "sequential_joint": (chained.joint, lambda original: lambda case: [v for v in original(case)[:2] for _ in range(2)]),
    "average_squares": (averaged.mean, with_changed(angle=lambda case: 3.1 - case["angle"])),
    "sixty_degree_law": (
        averaged.ratio,
        with_changed(source_steps=lambda case: 1 if case["source_steps"] is None else case["source_steps"] + 1),
    ),
    "expected_displacement": (averaged.displacement_to_the_end, times(mp.mpf(1) / 2)),
    "fresh_head": (excluded.fresh_head, times(2)),
    "equal_flatness": (excluded.hessian, with_changed(readouts=lambda case: [[2 * v for v in r] for r in case["readouts"]])),
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
    "output_kernel": (random_start.output_covariance, with_changed(kappa=lambda case: 2 * case["kappa"])),
    "expected_gram_error": (gates.gram_error, with_changed(antisymmetric=lambda case: False)),
    "gram_matrix_variance": (gates.matrix_variance, lambda _: lambda case: gates.entry_variance(case)),
    "expected_vector_gram_error": (gates.vector_gram_error, times(2)),
    "degeneracy": (rank.of_gram, with_changed(X=lambda case: case["X"][1:])),
    "start_moments": (random_start.outcomes, with_changed(kappa=lambda case: 2 * case["kappa"])),
    "start_moments_at_width": (random_start.finite_width, with_changed(width=lambda case: case["width"] + 1)),
    "orthogonal_run": (drifting.run, with_changed(init_scale=lambda case: 2 * case["init_scale"])),
    "best_linear_gain": (compared.best_linear_gain, with_changed(transformed=lambda case: case["transformed"][::-1])),
    "at_scale": (relu_net.at_scale, with_changed(kappa=lambda case: case["kappa"] ** 2)),
    "nothing_transfers": (
        relu_net.nothing_transfers,
        with_changed(target_labels=lambda case: [[2 * v for v in r] for r in case["target_labels"]]),
    ),
    "rademacher_complexity": (literally.rademacher_complexity, times(mp.sqrt(2))),
    "rademacher_bound": (literally.rademacher_bound, with_changed(delta=lambda case: case["delta"] / 2)),
    "leave_one_out": (literally.leave_one_out, times(-1)),
    "generalised_cross_validation": (literally.generalised_cross_validation, with_changed(labels=lambda case: case["labels"][::-1])),
    "heavy_ball_residual_filter": (
        linear_methods.heavy_ball_residual_filter,
        with_changed(lr=lambda case: case["lr"] * (1 - case["momentum"])),
    ),
    "difference_filter": (linear_methods.difference_filter, with_changed(decay=lambda case: 2 * case["decay"])),
    "minibatch": (linear_methods.minibatch, with_changed(lr=lambda case: case["lr"] / 2)),
    "penalised_coefficients": (linear_methods.penalised_coefficients, with_changed(anchor=lambda case: case["start"])),
    "penalised_displacement": (linear_methods.penalised_displacement, with_changed(decay=lambda case: 2 * case["decay"])),
    "decay_towards_own_start": (linear_methods.penalised_transfer, with_changed(anchor=lambda case: "initial")),
    "decay_towards_initial": (linear_methods.penalised_transfer, with_changed(anchor=lambda case: "zero")),
    "decay_towards_zero": (linear_methods.penalised_transfer, with_changed(anchor=lambda case: "start")),
    "cross_entropy_descent": (literal_cross_entropy.descent, with_changed(lr=lambda case: case["lr"] / 2)),
    "stable_cross_entropy_step": (literal_cross_entropy.stable_step, times(2)),
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
    ("pretraining_turn_bound", "base q_1²", lambda e: -e),
    ("pretraining_turn_bound", "summation by parts", lambda e: -e),
    ("pretraining_late_trend", "base q_1: at", lambda e: -e),
    ("pretraining_noise_window", "begins to beat", lambda e: -e),
    ("pretraining_contributions", "mean over both orders", lambda e: 2 * e),
    ("explained_by_source_points", "what it explains", lambda e: e**2),
    ("sphere_multiplicity", "Laplacian", lambda e: 2 * e),
    ("sphere_step_eigenvalues", "the square of that", lambda e: e**2),
    ("sphere_trace", "an even one", lambda e: 2 * e),
    ("sign_floor", "E|t|", lambda e: 2 * e),
    ("sphere_relu_eigenvalues", "times a uniform direction", lambda e: e * lam),
    ("zonal_expansion", "products of gamma functions", lambda e: 2 * e),
    ("population_error", "orthonormal eigenfunction", lambda e: e / c),
    ("population_remaining", "in energies", lambda e: -e),
    ("leaky_relu_kernel", "σ(u) σ(v) multiplied out", lambda e: -e),
    ("squared_relu_kernel", "angular integral", lambda e: 2 * e),
    ("monomial_kernel", "E[u^3 v^3]", lambda e: e.subs(9, 6)),
    ("erf_kernel", "Price's theorem", lambda e: e / 2),
    ("gelu_kernel", "= p E₂ + c (A + E₃)", lambda e: -e),
    ("deep_kernel", "the next tangent kernel", lambda e: e / deep_kernel.gain),
    ("chain_recursion", "what is left on the set of stage s", lambda e: -e),
    ("chain_displacement", "sum over all pairs", lambda e: e / 2),
    ("sweep_matrix", "leaves", lambda e: -e),
    ("alternating_rate", "the factor is ρ²", lambda e: e.subs(sp.Symbol("rho", real=True), 2 * sp.Symbol("rho", real=True))),
    ("sequential_joint", "any regular Z", lambda e: 2 * e),
    ("sequential_joint", "not less, equal only", lambda e: e / (1 + sp.Symbol("mu", positive=True)) - 1),
    ("average_squares", "the three are independent", lambda e: -e),
    ("average_variance", "fourth moments", lambda e: e / 2),
    ("sixty_degree_law", "Hφ = I − q", lambda e: -e),
    ("threshold_angle", "solved for cos φ", lambda e: 2 * e),
    ("threshold_noise", "solved for σ²", lambda e: 2 * e),
    ("expected_displacement", "its trace is", lambda e: 2 * e),
    ("fresh_head", "with p = (π − θ)/(2π)", lambda e: 2 * e),
    ("fresh_head", "neurons alike", lambda e: e / sp.Symbol("m", positive=True)),
    ("equal_flatness", "no residual is left", lambda e: 2 * e),
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
    ("output_kernel", "angular integral", lambda e: e.subs(theta, sp.pi - theta)),
    ("gram_entry_variance", "variance", lambda e: e * 2),
    ("gram_matrix_variance", "P(all three)", lambda e: e + sp.Rational(1, 4)),
    ("expected_vector_gram_error", "between outputs, independent signs: mean", lambda e: e + 1),
    ("degeneracy", "so what vanishes", lambda e: e + 1),
    ("start_covariance", "multiplied out", lambda e: 2 * e),
    ("start_moments", "its mean square", lambda e: e / 2),
    ("start_moments_at_width", "two pairs", lambda e: e / 2),
    ("orthogonal_run", "the others down", lambda e: -e),
    ("relative_drift", "its root", lambda e: e / 2),
    ("mode_suppression", "rotation", lambda e: 1 / e),
    ("best_linear_gain", "what is left there", lambda e: -e),
    ("at_scale", "losses and energies", lambda e: e / kappa),
    ("target_inside_source", "choosing the rows", lambda e: 2 * e),
    ("nothing_transfers", "orthogonal inputs", lambda e: -e),
    ("rademacher_complexity", "grows by its own", lambda e: e / 2),
    ("rademacher_bound", "together of probability", lambda e: e + 1),
    ("rademacher_bound", "telescope", lambda e: 2 * e),
    ("leave_one_out", "over 1 − S", lambda e: -e),
    ("generalised_cross_validation", "rotated leave-one-out", lambda e: e / 2),
    ("generalised_cross_validation", "only the slowest mode", lambda e: e / 2),
    ("heavy_ball_residual_filter", "sum of positive terms", lambda e: e * lam),
    ("heavy_ball_residual_filter", "double root", lambda e: e / (1 + k)),
    ("heavy_ball_integral_filter", "so on a mode", lambda e: -e),
    ("difference_filter", "the filter is", lambda e: -e),
    ("stable_momentum_step", "largest stable step", lambda e: e / 2),
    ("minibatch", "residual: all points", lambda e: -e),
    ("penalised_coefficients", "the coefficient is", lambda e: -e),
    ("penalised_residual", "1 − λφ", lambda e: e - e.args[0]),
    ("penalised_displacement", "cross terms", lambda e: -e),
    ("decay_towards_own_start", "nothing is carried", lambda e: e - e.args[0]),
    ("decay_towards_initial", "is carried", lambda e: 2 * e),
    ("decay_towards_zero", "all outputs there", lambda e: -e),
    ("cross_entropy_loss", "log of a quotient", lambda e: -e),
    ("cross_entropy_gradient", "softmax f − Y", lambda e: -e),
    ("cross_entropy_descent", "coefficients", lambda e: -e),
    ("stable_cross_entropy_step", "softmax: L", lambda e: e / 2),
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


@pytest.mark.parametrize("name", [e.name for e in (*ENTRIES, *BOUNDS)])
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

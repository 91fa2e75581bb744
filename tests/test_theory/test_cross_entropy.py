"""Cross-entropy in output space: literal training of linear models, where it descends, why no flow will do, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from tests.helpers import assert_dtype_close, assert_exact
from theory import GramBlocks, InvalidInput, Schedule, TransferProblem, UnstableStep, predict
from theory.numeric import cross_entropy
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stability import largest_stable_step

seeds = st.integers(0, 2**32 - 1)
ANCHORS = ("zero", "initial", "start")


def class_labels(rng, n, c):
    return rng.choice([-1.0, 1.0], size=n) if c is None else np.eye(c)[rng.integers(c, size=n)]


def transfer(c, seed=0, n_P=7, n_Q=5, p=9):
    """Linear models with class labels: the problem (placeholder inputs), Gram blocks, features, initial weights and outputs."""
    rng = np.random.default_rng(seed)
    F = {"source": rng.normal(size=(n_P, p)), "target": rng.normal(size=(n_Q, p)), "test": rng.normal(size=(3, p))}
    sets = {name: (np.ones((len(f), 1)), class_labels(rng, len(f), c)) for name, f in F.items()}
    W = 0.3 * rng.normal(size=(p,) if c is None else (p, c))
    blocks = GramBlocks(
        source=F["source"] @ F["source"].T,
        target=F["target"] @ F["target"].T,
        target_source=F["target"] @ F["source"].T,
        test_source=F["test"] @ F["source"].T,
        test_target=F["test"] @ F["target"].T,
    )
    return TransferProblem(**sets), blocks, F, W, tuple(f @ W for f in F.values())


def slope(f, y):
    if y.ndim == 1:
        return 1 / (1 + np.exp(-f)) - (1 + y) / 2
    powers = np.exp(f)
    return powers / powers.sum(axis=1, keepdims=True) - y


def loss(f, y):
    if y.ndim == 1:
        return np.sum(np.log1p(np.exp(-y * f)))
    return -np.sum(y * np.log(np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)))


def descend(F, y, W, anchor, lr, steps, decay=0.0, momentum=0.0):
    velocity = np.zeros_like(W)
    for _ in range(steps):
        velocity = momentum * velocity + F.T @ slope(F @ W, y) + decay * (W - anchor)
        W = W - lr * velocity
    return W


# ---- both stages


@pytest.mark.parametrize("c", [None, 2, 4])
@pytest.mark.parametrize(("decay", "momentum"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.6)])
@pytest.mark.parametrize("anchor", ANCHORS)
def test_prediction_is_descent_on_a_linear_model(c, decay, momentum, anchor):
    p, blocks, F, W_0, outputs = transfer(c)
    size = {name: np.linalg.eigvalsh(getattr(blocks, name))[-1] for name in ("source", "target")}
    lr = {name: 1.9 * (1 - momentum) / (v / (4 if c is None else 2) + decay) for name, v in size.items()}
    schedule = Schedule(
        23, 31, lr["source"], lr["target"], momentum=momentum, weight_decay=decay, anchor=anchor, loss="cross-entropy", snapshots=(9,)
    )
    outcome = predict(p, schedule, gram=blocks, initial_outputs=outputs, initial_norm=float(np.linalg.norm(W_0)))

    def towards(start):
        return {"zero": 0 * W_0, "initial": W_0, "start": start}[anchor]

    (_, y_P), (_, y_Q) = p.source, p.target
    W_P = descend(F["source"], y_P, W_0, towards(W_0), lr["source"], 23, decay, momentum)
    W_Q = descend(F["target"], y_Q, W_P, towards(W_P), lr["target"], 31, decay, momentum)
    half = descend(F["target"], y_Q, W_P, towards(W_P), lr["target"], 9, decay, momentum)
    scratch = descend(F["target"], y_Q, W_0, towards(W_0), lr["target"], 31, decay, momentum)
    scale = np.linalg.norm(W_Q) + np.linalg.norm(W_P)
    for name in F:
        assert_dtype_close(getattr(outcome, f"{name}_outputs"), F[name] @ W_Q, 1, scale=scale)
    assert_dtype_close(outcome.test_outputs_scratch, F["test"] @ scratch, 1, scale=scale)
    assert_dtype_close(outcome.displacement, np.linalg.norm(W_Q - W_P), 1, scale=scale)
    assert_dtype_close(outcome.displacement_scratch, np.linalg.norm(scratch - W_0), 1, scale=scale)
    assert_dtype_close(outcome.target_loss, loss(F["target"] @ W_Q, y_Q), 1, scale=scale)
    assert_dtype_close(outcome.trajectory.loss, [loss(F["target"] @ W, y_Q) for W in (W_P, half, W_Q)], 1, scale=scale)
    assert_dtype_close(outcome.trajectory.displacement, [np.linalg.norm(W - W_P) for W in (W_P, half, W_Q)], 1, scale=scale)
    assert_dtype_close(outcome.trajectory.source_loss, [loss(F["source"] @ W, y_P) for W in (W_P, half, W_Q)], 1, scale=scale)
    assert_dtype_close(outcome.pretrained_target_outputs, F["target"] @ W_P, 1, scale=scale)
    assert_dtype_close(outcome.forgetting, loss(F["source"] @ W_Q, y_P) - loss(F["source"] @ W_P, y_P), 1, scale=scale)
    assert_dtype_close(outcome.gradient_energy, np.sum(slope(F["target"] @ W_P, y_Q) ** 2), 1, scale=scale)
    assert outcome.gain is None
    assert "cross-entropy" in outcome.gain_reason
    assert outcome.measured_gain == 1 - outcome.displacement / outcome.displacement_scratch
    assert outcome.stable


def test_decay_towards_zero_without_a_norm_has_outputs_only():
    p, blocks, _, _, _ = transfer(3)
    outcome = predict(p, Schedule(5, 6, weight_decay=0.2, loss="cross-entropy"), gram=blocks)
    initial = predict(p, Schedule(5, 6, weight_decay=0.2, anchor="initial", loss="cross-entropy"), gram=blocks)
    assert outcome.displacement is None
    assert outcome.trajectory.displacement[0] == 0
    assert set(outcome.trajectory.displacement[1:]) == {None}
    assert_exact(outcome.test_outputs, initial.test_outputs, 256, scale=1.0)


def test_outputs_that_interact():
    p, blocks, _, _, outputs = transfer(3)
    coupled = GramBlocks(**{name: np.kron(getattr(blocks, name), np.eye(3)) for name in GramBlocks.__dataclass_fields__})
    for anchor in ANCHORS:
        schedule = Schedule(5, 6, weight_decay=0.4, anchor=anchor, loss="cross-entropy")
        apart = predict(p, schedule, gram=blocks, initial_outputs=outputs, initial_norm=2.0)
        together = predict(p, schedule, gram=coupled, initial_outputs=outputs, initial_norm=2.0)
        assert_exact(together.test_outputs, apart.test_outputs, 2**8, scale=10.0)
        assert_exact(together.displacement, apart.displacement, 2**8)
        assert_exact(together.gradient_energy, apart.gradient_energy, 2**8)


# ---- where it descends


@given(seeds, st.sampled_from([None, 2, 3]), st.floats(0.0, 0.9), st.floats(0, 2), st.floats(0.05, 1.0))
def test_loss_and_penalty_never_rise_up_to_the_largest_stable_step(seed, c, momentum, decay, share):
    """With momentum: plus `μ/(2η)` times the square of the last step."""
    rng = np.random.default_rng(seed)
    F, y = rng.normal(size=(4, 3)), class_labels(rng, 4, c)
    spectrum = GramSpectrum.of(F @ F.T)
    lr = share * largest_stable_step(spectrum, momentum=momentum, decay=decay, loss="cross-entropy", outputs=c or 1)
    W = before = rng.normal(size=(3,) if c is None else (3, c))
    velocity = np.zeros_like(W)
    energies = []
    for _ in range(40):
        energies.append(loss(F @ W, y) + decay / 2 * np.sum(W * W) + momentum / (2 * lr) * np.sum((W - before) ** 2))
        velocity = momentum * velocity + F.T @ slope(F @ W, y) + decay * W
        W, before = W - lr * velocity, W
    for a, b in pairwise(energies):
        assert b <= a * (1 + 1e-12)


@pytest.mark.parametrize("c", [None, 2])
def test_the_largest_stable_step_is_attained(c):
    """Two conflicting labels of one point: the best outputs are undecided, where the curvature is the bound."""
    H = np.ones((2, 2))
    y = np.array([1.0, -1.0]) if c is None else np.eye(2)
    bound = largest_stable_step(GramSpectrum.of(H), loss="cross-entropy", outputs=c or 1)
    assert_exact(bound, (8 if c is None else 4) / 2, 16)
    start = np.full(2, 1e-3) if c is None else np.array([[5e-4, -5e-4]] * 2)
    for factor, settles in ((0.999, True), (1.01, False)):
        found = cross_entropy.descend(H, y, factor * bound, [0, 20_000], start=start, allow_unstable=True)
        assert (found.loss[1] < found.loss[0]) is settles


def test_beyond_it_the_step_is_refused_unless_allowed():
    p, blocks, _, _, _ = transfer(3)
    largest = np.linalg.eigvalsh(blocks.target)[-1]
    bound = 2 / (largest / 2)
    assert predict(p, Schedule(5, 5, target_lr=bound * (1 - 1e-9), loss="cross-entropy"), gram=blocks).stable
    schedule = Schedule(5, 5, target_lr=bound * 1.01, loss="cross-entropy")
    with pytest.raises(UnstableStep, match=r"target_lr = .*not sure to descend; at most 2/\(λ_max/2\) = .* is allowed for cross-entropy"):
        predict(p, schedule, gram=blocks)
    assert not predict(p, Schedule(5, 5, target_lr=bound * 1.01, loss="cross-entropy", allow_unstable=True), gram=blocks).stable
    with pytest.raises(UnstableStep, match=r"lr = .*not sure to descend"):
        cross_entropy.descend(blocks.target, p.target[1], bound * 1.01, [3])
    binary, blocks, _, _, _ = transfer(None)
    for momentum, decay, text in ((0.5, 0.0, r"2\(1 − momentum\)/\(λ_max/4\)"), (0.0, 1.0, r"2/\(λ_max/4 \+ weight_decay\)")):
        schedule = Schedule(5, 5, 1e-3, 10.0, momentum=momentum, weight_decay=decay, loss="cross-entropy")
        with pytest.raises(UnstableStep, match=text):
            predict(binary, schedule, gram=blocks)


def test_the_flow_is_a_poor_stand_in_at_large_steps():
    """Three steps of the largest stable size: the differential equation is off by more than a tenth, the recursion by rounding."""
    p, blocks, F, _, _ = transfer(3)
    H, y = blocks.target, p.target[1]
    lr = largest_stable_step(GramSpectrum.of(H), loss="cross-entropy", outputs=3)
    W = descend(F["target"], y, np.zeros((9, 3)), 0, lr, 3)

    def flow(_, gamma):
        return -slope(H @ gamma.reshape(y.shape), y).ravel()

    def gap(lr, steps):
        """Distance of flow and recursion, against the size of the outputs."""
        found = cross_entropy.descend(H, y, lr, [steps]).outputs
        solved = solve_ivp(flow, (0, lr * steps), np.zeros(y.size), rtol=1e-10, atol=1e-12).y[:, -1]
        return np.linalg.norm(H @ solved.reshape(y.shape) - found) / np.linalg.norm(found)

    exact = cross_entropy.descend(H, y, lr, [3]).outputs
    assert_exact(exact, F["target"] @ W, 2**10, scale=np.abs(exact).max())
    assert gap(lr, 3) > 0.15
    # The flow is the limit of small steps: halving them halves its error.
    errors = [gap(lr / n, 3 * n) for n in (64, 128, 256)]
    for a, b in pairwise(errors):
        assert 1.8 < a / b < 2.2


# ---- the loss and its gradient


def test_a_loss_near_zero_keeps_its_digits_and_a_large_one_does_not_overflow():
    for margin in (1.0, 40.0, 300.0, 700.0):
        with mp.workdps(400):
            want = mp.log1p(mp.exp(-mp.mpf(margin)))
            right, wrong = float(want), float(want + margin)
        assert_exact(cross_entropy.loss(np.array([margin]), np.ones(1)), right, 2)
        assert_exact(cross_entropy.loss(np.array([-margin]), np.ones(1)), wrong, 2)
        assert_exact(cross_entropy.loss(np.array([[0.0, margin]]), np.array([[0.0, 1.0]])), right, 2)
        assert_exact(cross_entropy.loss(np.array([[0.0, margin]]), np.array([[1.0, 0.0]])), wrong, 2)
        assert_exact(cross_entropy.gradient(np.array([margin]), np.ones(1))[0], -float(1 / (1 + mp.exp(margin))), 4)
    huge = np.array([[1e300, -1e300, 0.0]])
    assert cross_entropy.loss(huge, np.array([[1.0, 0, 0]])) == 0
    assert np.all(np.isfinite(cross_entropy.gradient(huge, np.array([[0.0, 1, 0]]))))


def test_ties_are_counted_once():
    assert_exact(cross_entropy.loss(np.zeros((2, 3)), np.eye(3)[:2]), 2 * np.log(3), 2)
    assert_exact(cross_entropy.loss(np.zeros(2), np.ones(2)), 2 * np.log(2), 2)


def test_the_sign_convention_is_two_outputs_of_half_each():
    rng = np.random.default_rng(3)
    f, y = rng.normal(size=5), rng.choice([-1.0, 1.0], size=5)
    two, labels = np.stack([f / 2, -f / 2], axis=1), np.stack([(1 + y) / 2, (1 - y) / 2], axis=1)
    assert_exact(cross_entropy.loss(f, y), cross_entropy.loss(two, labels), 8)
    assert_exact(cross_entropy.gradient(f, y), cross_entropy.gradient(two, labels) @ np.array([0.5, -0.5]), 8, scale=1.0)


def test_on_separable_data_outputs_grow_without_end_and_decay_stops_them():
    p, blocks, _, _, _ = transfer(None)
    H, y = blocks.target, p.target[1]
    grown = [np.abs(cross_entropy.descend(H, y, 0.1, [k]).outputs).min() for k in (100, 1000, 10_000)]
    assert grown[0] + 1.5 < grown[1]
    assert grown[1] + 1.5 < grown[2]
    held = [cross_entropy.descend(H, y, 0.1, [k], decay=0.1).outputs for k in (2000, 4000)]
    assert_exact(held[0], held[1], 256)
    # There the penalised gradient vanishes: βγ = −slope, outputs Hγ.
    assert_exact(H @ -slope(held[1], y) / 0.1, held[1], 2**12, scale=np.abs(held[1]).max())


# ---- refusals


@pytest.mark.parametrize("stage", ["source", "target"])
@pytest.mark.parametrize(("decay", "why"), [(0.0, "has no limit without weight_decay"), (0.1, "limit has no closed form")])
def test_there_is_no_end(stage, decay, why):
    p, blocks, _, _, _ = transfer(3)
    steps = {"source_steps": 3, "target_steps": 3, f"{stage}_steps": None}
    with pytest.raises(InvalidInput, match=rf"{stage}_steps is None; a whole number is allowed for cross-entropy, .*{why}"):
        predict(p, Schedule(**steps, weight_decay=decay, loss="cross-entropy"), gram=blocks)


def test_too_many_steps_are_refused():
    p, blocks, _, _, _ = transfer(3)
    with pytest.raises(InvalidInput, match=r"target_steps is 100000000; at most 10000000 is allowed for cross-entropy"):
        predict(p, Schedule(3, 10**8, loss="cross-entropy"), gram=blocks)


BAD_LABELS = [
    (np.array([1.0, -1, 0.5, 1, 1]), r"target y\[2\] is 0.5; ±1 is allowed for cross-entropy of one output"),
    (np.array([[0.5, 0.5], [1, 0], [0.7, 0.7], [0, 1], [0, 1]]), r"target y row 2 is no probability vector"),
    (np.array([[1.5, -0.5], [1, 0], [0, 1], [0, 1], [0, 1]]), r"target y row 0 is no probability vector"),
    (np.ones((5, 1)), r"target y have shape \(5, 1\); \(n,\) of ±1, or \(n, c\) with c ≥ 2"),
]


@pytest.mark.parametrize(("y", "message"), BAD_LABELS)
def test_labels_that_are_no_classes_are_refused(y, message):
    p, blocks, _, _, _ = transfer(None if y.ndim == 1 else 2)
    source = (p.source[0], np.ones((7, 1))) if y.shape[1:] == (1,) else p.source
    if y.shape[1:] == (1,):
        message = message.replace("target", "source").replace(r"\(5, 1\)", r"\(7, 1\)")
    changed = TransferProblem(source=source, target=(p.target[0], y))
    with pytest.raises(InvalidInput, match=message):
        predict(changed, Schedule(3, 3, loss="cross-entropy"), gram=blocks)


@pytest.mark.parametrize("steps", [[], [3, 2], [-1], [1.5], [10**8]])
def test_bad_steps(steps):
    with pytest.raises(InvalidInput, match=r"steps are .*allowed for cross-entropy"):
        cross_entropy.descend(np.eye(2), np.ones(2), 0.1, steps)


def test_a_gram_matrix_that_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match=r"\(3, 3\); \(2, 2\) is needed for labels \(2,\)"):
        cross_entropy.descend(np.eye(3), np.ones(2), 0.1, [1])


def test_unknown_losses_have_no_largest_step():
    with pytest.raises(InvalidInput, match="loss is 'hinge'; 'squared' or 'cross-entropy' is allowed"):
        largest_stable_step(GramSpectrum.of(np.eye(2)), loss="hinge")


# ---- every array library


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("c", [None, 3])
def test_predict_in_every_library(xp_case, dtype, c):
    rng = np.random.default_rng(2)
    sets = {
        n: (rng.normal(size=(k, 6)).astype(dtype), class_labels(rng, k, c).astype(dtype))
        for n, k in (("source", 5), ("target", 4), ("test", 3))
    }
    here = TransferProblem(**sets)
    there = TransferProblem(**{n: tuple(xp_case.load(a) for a in pair) for n, pair in sets.items()})
    schedule = Schedule(9, 12, momentum=0.2, weight_decay=0.1, anchor="initial", loss="cross-entropy", snapshots=(3,))
    want, got = predict(here, schedule), predict(there, schedule)
    for name, value in want.scalars().items():
        if value is None:
            assert got.scalars()[name] is None
        else:
            assert_dtype_close(np.asarray(got.scalars()[name], dtype), np.asarray(value, dtype), 1, scale=max(10.0, abs(value)))
    for name in ("source_outputs", "target_outputs", "test_outputs"):
        assert getattr(want, name).dtype == dtype
        assert_dtype_close(getattr(got, name), xp_case.load(getattr(want, name)), 1, scale=10.0)
    assert got.test_error == want.test_error

"""Weight decay towards each anchor: literal training of linear models, the end, what is erased and what is not, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact
from theory import GramBlocks, InvalidInput, Schedule, TransferProblem, UnstableStep, predict
from theory.numeric import penalties, stages
from theory.numeric.kernels.named import both_layers, deep, kernel
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stability import largest_stable_step

seeds = st.integers(0, 2**32 - 1)
ANCHORS = ("zero", "initial", "start")


def transfer(seed=0, c=None, n_P=7, n_Q=5, p=9, scale=0.3):
    """Linear models: the problem (placeholder inputs), its Gram blocks, features, initial weights and initial outputs."""
    rng = np.random.default_rng(seed)
    F = {"source": rng.normal(size=(n_P, p)), "target": rng.normal(size=(n_Q, p)), "test": rng.normal(size=(3, p))}
    shape = () if c is None else (c,)
    sets = {name: (np.ones((len(f), 1)), rng.normal(size=(len(f), *shape))) for name, f in F.items()}
    W = scale * rng.normal(size=(p, *shape))
    blocks = GramBlocks(
        source=F["source"] @ F["source"].T,
        target=F["target"] @ F["target"].T,
        target_source=F["target"] @ F["source"].T,
        test_source=F["test"] @ F["source"].T,
        test_target=F["test"] @ F["target"].T,
    )
    return TransferProblem(**sets), blocks, F, W, tuple(f @ W for f in F.values())


def descend(F, y, W, anchor, lr, steps, decay, momentum=0.0):
    velocity = np.zeros_like(W)
    for _ in range(steps):
        velocity = momentum * velocity + F.T @ (F @ W - y) + decay * (W - anchor)
        W = W - lr * velocity
    return W


def minimum(F, y, anchor, decay):
    """Where the penalised loss ends: one linear system."""
    return np.linalg.solve(F.T @ F + decay * np.eye(F.shape[1]), F.T @ y + decay * anchor)


def rates(blocks, decay, share=0.7):
    return {f"{name}_lr": share * 2 / (np.linalg.eigvalsh(getattr(blocks, name))[-1] + decay) for name in ("source", "target")}


# ---- both stages


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("c", [None, 2])
@pytest.mark.parametrize("steps", [(13, 9), (1, 0), (0, 30)])
def test_prediction_is_decay_on_a_linear_model(anchor, momentum, c, steps):
    p, blocks, F, W_0, outputs = transfer(c=c)
    decay = 0.7
    schedule = Schedule(*steps, momentum=momentum, weight_decay=decay, anchor=anchor, **rates(blocks, decay))
    outcome = predict(p, schedule, gram=blocks, initial_outputs=outputs, initial_norm=float(np.linalg.norm(W_0)))

    def towards(start):
        return {"zero": 0 * W_0, "initial": W_0, "start": start}[anchor]

    W_P = descend(F["source"], p.source[1], W_0, towards(W_0), schedule.source_lr, steps[0], decay, momentum)
    W_Q = descend(F["target"], p.target[1], W_P, towards(W_P), schedule.target_lr, steps[1], decay, momentum)
    scratch = descend(F["target"], p.target[1], W_0, towards(W_0), schedule.target_lr, steps[1], decay, momentum)
    size = np.linalg.norm(W_Q) + np.linalg.norm(W_P)
    for name in F:
        assert_dtype_close(getattr(outcome, f"{name}_outputs"), F[name] @ W_Q, 1, scale=size)
    assert_dtype_close(outcome.test_outputs_scratch, F["test"] @ scratch, 1, scale=size)
    assert_dtype_close(outcome.displacement, np.linalg.norm(W_Q - W_P), 1, scale=size)
    assert_dtype_close(outcome.displacement_scratch, np.linalg.norm(scratch - W_0), 1, scale=size)
    losses = {name: np.sum((F[name] @ W - getattr(p, name)[1]) ** 2) / 2 for name, W in (("source", W_Q), ("target", W_Q))}
    assert_dtype_close(outcome.source_loss, losses["source"], 1, scale=size**2)
    assert_dtype_close(outcome.target_loss, losses["target"], 1, scale=size**2)
    before = np.sum((F["source"] @ W_P - p.source[1]) ** 2) / 2
    assert_dtype_close(outcome.forgetting, losses["source"] - before, 1, scale=size**2)
    assert_dtype_close(outcome.gradient_energy, np.sum((F["target"] @ W_P - p.target[1]) ** 2), 1, scale=size**2)
    if outcome.measured_gain is not None:
        assert outcome.measured_gain == 1 - outcome.displacement / outcome.displacement_scratch
    # The gain is that of the plain kernel, for what this pretraining leaves.
    plain = stages.transfer_gain(GramSpectrum.of(blocks.target), p.target[1] - outputs[1], p.target[1] - F["target"] @ W_P)[0]
    assert_dtype_close(outcome.gain, plain, 1, scale=10.0)


@pytest.mark.parametrize("anchor", ANCHORS)
def test_the_trajectory_is_the_run_at_its_steps(anchor):
    p, blocks, _, W_0, outputs = transfer()
    schedule = Schedule(4, 40, weight_decay=0.7, anchor=anchor, snapshots=(0, 1, 7, 40), **rates(blocks, 0.7))
    options = {"gram": blocks, "initial_outputs": outputs, "initial_norm": float(np.linalg.norm(W_0))}
    whole = predict(p, schedule, **options)
    assert whole.trajectory.steps == (0, 1, 7, 40)
    for i, k in enumerate(whole.trajectory.steps):
        alone = predict(p, replace(schedule, target_steps=int(k), snapshots=()), **options)
        assert whole.trajectory.loss[i] == alone.target_loss
        assert whole.trajectory.displacement[i] == alone.displacement
        assert whole.trajectory.source_loss[i] == alone.source_loss


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_to_the_end_it_is_the_minimum_of_the_penalised_loss(anchor, momentum):
    p, blocks, F, W_0, outputs = transfer()
    decay = 0.4
    schedule = Schedule(momentum=momentum, weight_decay=decay, anchor=anchor)
    outcome = predict(p, schedule, gram=blocks, initial_outputs=outputs, initial_norm=float(np.linalg.norm(W_0)))
    W_P = minimum(F["source"], p.source[1], {"zero": 0 * W_0}.get(anchor, W_0), decay)
    W_Q = minimum(F["target"], p.target[1], {"zero": 0 * W_0, "initial": W_0, "start": W_P}[anchor], decay)
    assert_exact(outcome.target_outputs, F["target"] @ W_Q, 2**12, scale=1.0)
    assert_exact(outcome.test_outputs, F["test"] @ W_Q, 2**12, scale=1.0)
    assert_exact(outcome.displacement, np.linalg.norm(W_Q - W_P), 2**12)
    late = predict(
        p,
        replace(schedule, source_steps=10**5, target_steps=10**5),
        gram=blocks,
        initial_outputs=outputs,
        initial_norm=float(np.linalg.norm(W_0)),
    )
    assert_exact(late.test_outputs, outcome.test_outputs, 2**12, scale=1.0)
    assert_exact(late.displacement, outcome.displacement, 2**12)


def test_to_the_end_decay_towards_the_initial_weights_erases_pretraining_and_l2_sp_does_not():
    p, blocks, _, _, outputs = transfer()
    for anchor in ("initial", "zero"):
        erased = predict(p, Schedule(weight_decay=0.5, anchor=anchor), gram=blocks, initial_outputs=outputs)
        assert_exact(erased.test_outputs, erased.test_outputs_scratch, 64, scale=1.0)
    kept = predict(p, Schedule(weight_decay=0.5, anchor="start"), gram=blocks, initial_outputs=outputs)
    assert np.abs(kept.test_outputs - kept.test_outputs_scratch).max() > 0.1


def test_the_displacement_to_the_end_is_not_the_penalised_norm():
    """`γᵀHγ` and not `ỹᵀ(H + β)⁻¹ỹ`, held against the weights of a linear model."""
    p, blocks, F, _, _ = transfer(seed=3)
    decay = 1.0
    outcome = predict(p, Schedule(weight_decay=decay, anchor="start"), gram=blocks)
    W_P = minimum(F["source"], p.source[1], np.zeros(9), decay)
    left = p.target[1] - F["target"] @ W_P
    W_Q = minimum(F["target"], p.target[1], W_P, decay)
    naive = left @ np.linalg.solve(blocks.target + decay * np.eye(5), left)
    assert_exact(outcome.displacement**2, np.sum((W_Q - W_P) ** 2), 2**10)
    assert naive > 1.1 * outcome.displacement**2


def test_without_decay_the_anchor_does_not_matter():
    p, blocks, _, _, outputs = transfer()
    for schedule in (Schedule(5, 7), Schedule(5, 7, momentum=0.5), Schedule()):
        plain = predict(p, schedule, gram=blocks, initial_outputs=outputs)
        for anchor in ANCHORS:
            assert predict(p, replace(schedule, anchor=anchor), gram=blocks, initial_outputs=outputs) == plain


# To the end any decay wins over what is carried: only where nothing is, is the limit of small decay that of none.
@pytest.mark.parametrize(
    ("anchor", "steps"),
    [*((a, (5, 7)) for a in ANCHORS), *((a, (10**4, 3)) for a in ANCHORS), ("start", (None, None)), ("start", (7, None))],
)
def test_vanishing_decay_is_continuous(anchor, steps):
    p, blocks, _, W_0, outputs = transfer()
    options = {"gram": blocks, "initial_outputs": outputs, "initial_norm": float(np.linalg.norm(W_0))}
    plain, tiny = predict(p, Schedule(*steps), **options), predict(p, Schedule(*steps, weight_decay=1e-13, anchor=anchor), **options)
    assert_dtype_close(tiny.test_outputs, plain.test_outputs, 1, scale=1.0)
    assert_dtype_close(tiny.displacement, plain.displacement, 1, scale=1.0)


# ---- decay towards zero


def test_decay_towards_zero_has_outputs_at_infinite_width_and_no_displacement():
    p, blocks, _, _, _ = transfer()
    schedule = Schedule(6, 8, weight_decay=0.5)
    zero = predict(p, schedule, gram=blocks)
    initial = predict(p, replace(schedule, anchor="initial"), gram=blocks)
    # Initial outputs of zero: the same function, up to rounding.
    for name in ("source_outputs", "target_outputs", "test_outputs", "test_outputs_scratch"):
        assert_exact(getattr(zero, name), getattr(initial, name), 64, scale=1.0)
    assert zero.displacement is None
    assert zero.displacement_scratch is None
    assert zero.measured_gain is None
    assert "initial_norm" in zero.displacement_reason
    assert zero.trajectory.displacement[0] == 0
    assert set(zero.trajectory.displacement[1:]) == {None}
    assert zero.to_dict()["displacement"] is None
    assert (zero - initial).absolute["displacement"] is None
    assert initial.displacement_reason is None
    # One more step of the same kind: what W(0) loses comes on top, in quadrature where it is orthogonal.
    known = predict(p, schedule, gram=blocks, initial_norm=100.0)
    kept_P, kept_Q = ((1 - lr * 0.5) ** k for lr, k in ((known.source_lr, 6), (known.target_lr, 8)))
    assert_exact(known.displacement**2, initial.displacement**2 + ((1 - kept_Q) * kept_P * 100.0) ** 2, 2**10)
    assert_exact(known.displacement_scratch**2, initial.displacement_scratch**2 + ((1 - kept_Q) * 100.0) ** 2, 2**10)


@pytest.mark.parametrize("name", ["erf", "gelu", "monomial", "arccos2", both_layers(kernel("relu")), deep(kernel("relu"), 2)])
def test_decay_towards_zero_needs_a_kernel_that_the_scale_of_the_weights_does_not_change(name):
    rng = np.random.default_rng(0)
    p = TransferProblem(**{n: (rng.normal(size=(4, 3)), rng.normal(size=4)) for n in ("source", "target")})
    with pytest.raises(InvalidInput, match=r"anchor is 'zero' with weight_decay.*'initial' or 'start' is allowed"):
        predict(p, Schedule(5, 6, weight_decay=0.01), kernel=name)
    for allowed in (Schedule(5, 6, weight_decay=0.01, anchor="initial"), Schedule(5, 6, anchor="zero")):
        assert predict(p, allowed, kernel=name).displacement > 0
    for same in ("relu", "arccos1", kernel("leaky_relu", slope=0.2)):
        assert predict(p, Schedule(5, 6, weight_decay=0.01), kernel=same).displacement is None


def test_no_step_moves_nothing_whatever_the_norm():
    p, blocks, _, _, _ = transfer()
    outcome = predict(p, Schedule(6, 0, weight_decay=0.5), gram=blocks)
    assert outcome.displacement == 0
    assert outcome.displacement_reason is None


@pytest.mark.parametrize("norm", [-1.0, np.nan, np.inf, "3"])
def test_bad_norms(norm):
    p, blocks, _, _, _ = transfer()
    with pytest.raises(InvalidInput, match=r"initial_norm is .*a finite number ≥ 0"):
        predict(p, Schedule(weight_decay=0.5), gram=blocks, initial_norm=norm)


# ---- one stage


@given(seeds, st.floats(1e-3, 3), st.integers(0, 200))
def test_decay_never_fits_better_nor_moves_farther_to_the_end(seed, decay, steps):
    rng = np.random.default_rng(seed)
    F, y = rng.normal(size=(5, 7)), rng.normal(size=5)
    spectrum = GramSpectrum.of(F @ F.T)
    lr = 0.9 / (spectrum.largest + decay)
    ends = [penalties.displacement(spectrum, y, lr, None, decay=b) for b in (0.0, decay, 2 * decay)]
    assert ends[0] >= ends[1] >= ends[2]
    losses = [penalties.loss(spectrum, y, lr, k, decay=decay) for k in (steps, steps + 1, None)]
    # With every 1 − η(λ + β) positive the loss falls to its end.
    assert losses[0] * (1 + 1e-12) >= losses[1] >= losses[2] * (1 - 1e-12)


def test_a_stage_continued_is_one_stage():
    """Decay towards the same anchor: the second half starts off the anchor, and carries what the first has learned."""
    rng = np.random.default_rng(5)
    F, y = rng.normal(size=(5, 7)), rng.normal(size=5)
    H = F @ F.T
    spectrum, decay = GramSpectrum.of(H), 0.3
    lr = 1.2 / (spectrum.largest + decay)
    first = penalties.coefficients(spectrum, y, lr, 11, decay=decay)
    second = penalties.coefficients(spectrum, y, lr, 6, decay=decay, carried=H @ first)
    kept = penalties.remembered(lr, 6, decay)
    assert_exact(kept * first + second, penalties.coefficients(spectrum, y, lr, 17, decay=decay), 2**10, scale=1.0)
    left = penalties.residual(spectrum, y, lr, 6, decay=decay, carried=H @ first)
    assert_exact(left, penalties.residual(spectrum, y, lr, 17, decay=decay), 2**10, scale=1.0)
    moved = penalties.displacement(spectrum, y, lr, 6, decay=decay, carried=H @ first, distance=float(np.sqrt(first @ H @ first)))
    W = (F.T @ (kept * first + second)) - F.T @ first
    assert_dtype_close(moved, np.linalg.norm(W), 1, scale=1.0)


def test_plain_functions_are_those_of_the_stage():
    rng = np.random.default_rng(6)
    F, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    spectrum = GramSpectrum.of(F @ F.T)
    for k in (0, 3, 10**6, None):
        for name in ("coefficients", "residual"):
            assert np.array_equal(getattr(penalties, name)(spectrum, y, 0.03, k), getattr(stages, name)(spectrum, y, 0.03, k))
        for name in ("displacement", "loss"):
            assert getattr(penalties, name)(spectrum, y, 0.03, k) == getattr(stages, name)(spectrum, y, 0.03, k)


def test_a_singular_matrix_has_an_end():
    rng = np.random.default_rng(7)
    F, y = rng.normal(size=(6, 3)), rng.normal(size=6)
    spectrum, decay = GramSpectrum.of(F @ F.T), 0.5
    assert spectrum.rank == 3
    W = minimum(F, y, np.zeros(3), decay)
    assert_exact(penalties.residual(spectrum, y, 0.01, None, decay=decay), y - F @ W, 2**8, scale=1.0)
    assert_exact(penalties.displacement(spectrum, y, 0.01, None, decay=decay), np.linalg.norm(W), 2**8)


# ---- refusals


@pytest.mark.parametrize("decay", [-0.1, np.nan, np.inf, "0.1", True])
def test_bad_decay(decay):
    spectrum, y = GramSpectrum.of(np.eye(2)), np.ones(2)
    for call in (
        lambda: penalties.coefficients(spectrum, y, 0.1, 3, decay=decay),
        lambda: penalties.residual(spectrum, y, 0.1, 3, decay=decay),
        lambda: penalties.residual(spectrum, y, 0.1, 3, decay=decay, carried=y),
        lambda: penalties.loss(spectrum, y, 0.1, 3, decay=decay),
        lambda: penalties.displacement(spectrum, y, 0.1, 3, decay=decay),
        lambda: penalties.remembered(0.1, 3, decay),
        lambda: largest_stable_step(spectrum, decay=decay),
    ):
        with pytest.raises(InvalidInput, match=r"weight_decay is .*a finite number ≥ 0 is allowed"):
            call()


def test_a_decay_above_the_curvature_makes_the_default_step_unstable_and_says_what_is_allowed():
    p, blocks, _, _, _ = transfer()
    largest = np.linalg.eigvalsh(blocks.source)[-1]
    schedule = Schedule(5, 5, weight_decay=float(1.5 * largest), anchor="start")
    with pytest.raises(UnstableStep, match=r"source_lr = .*at most 2/\(λ_max \+ weight_decay\) = .* is allowed"):
        predict(p, schedule, gram=blocks)
    assert not predict(p, replace(schedule, allow_unstable=True), gram=blocks).stable
    lr = 2 / (largest * 2.5)
    with pytest.raises(UnstableStep, match="no limit"):
        predict(
            p, Schedule(None, 5, source_lr=lr * 1.1, weight_decay=float(1.5 * largest), anchor="start", allow_unstable=True), gram=blocks
        )


# ---- every array library


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("c", [None, 2])
def test_predict_in_every_library(xp_case, dtype, anchor, c):
    rng = np.random.default_rng(2)
    shape = () if c is None else (c,)
    sets = {
        n: (rng.normal(size=(k, 6)).astype(dtype), rng.normal(size=(k, *shape)).astype(dtype))
        for n, k in (("source", 5), ("target", 4), ("test", 3))
    }
    here = TransferProblem(**sets)
    there = TransferProblem(**{n: tuple(xp_case.load(a) for a in pair) for n, pair in sets.items()})
    schedule = Schedule(9, 12, momentum=0.5, weight_decay=0.1, anchor=anchor, snapshots=(3,))
    start = tuple(0.5 * y for _, y in sets.values())
    want = predict(here, schedule, initial_outputs=start, initial_norm=3.0)
    got = predict(there, schedule, initial_outputs=tuple(xp_case.load(u) for u in start), initial_norm=3.0)
    for name, value in want.scalars().items():
        if value is None:
            assert got.scalars()[name] is None
        else:
            assert isinstance(got.scalars()[name], float)
            assert_dtype_close(np.asarray(got.scalars()[name], dtype), np.asarray(value, dtype), 1, scale=max(10.0, abs(value)))
    for name in ("source_outputs", "target_outputs", "test_outputs", "test_outputs_scratch"):
        assert getattr(want, name).dtype == dtype
        assert_dtype_close(getattr(got, name), xp_case.load(getattr(want, name)), 1, scale=10.0)


def test_outputs_that_interact():
    """A kernel on flattened outputs is the kernel of each output, with decay and momentum too."""
    p, blocks, _, _, outputs = transfer(c=2)
    coupled = GramBlocks(**{name: np.kron(getattr(blocks, name), np.eye(2)) for name in GramBlocks.__dataclass_fields__})
    for anchor in ANCHORS:
        schedule = Schedule(5, 6, momentum=0.3, weight_decay=0.4, anchor=anchor)
        apart = predict(p, schedule, gram=blocks, initial_outputs=outputs, initial_norm=2.0)
        together = predict(p, schedule, gram=coupled, initial_outputs=outputs, initial_norm=2.0)
        assert_exact(together.test_outputs, apart.test_outputs, 2**8, scale=10.0)
        assert_exact(together.displacement, apart.displacement, 2**8)

"""`predict` against gradient descent literally run on explicit features, and against the cases known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact
from theory import GramBlocks, Schedule, TransferProblem, predict, relu_gram, transformed_labels
from theory.numeric import stages
from theory.numeric.spectrum import GramSpectrum


def make_problem(seed=0, n=(9, 7, 5), d=4, c=None, labels="real"):
    """Random source, target and test sets."""
    rng = np.random.default_rng(seed)
    sets = []
    for size in n:
        y = rng.normal(size=size if c is None else (size, c))
        if labels == "sign":
            y = np.sign(y)
        if labels == "one-hot":
            y = np.eye(c)[rng.integers(0, c, size)]
        sets.append((rng.normal(size=(size, d)), y))
    return TransferProblem(source=sets[0], target=sets[1], test=sets[2])


class Features:
    """Both stages as gradient descent on the weights of a linear model whose features have the given Gram matrix."""

    def __init__(self, problem, gram=None, start=None):
        sets = problem.source, problem.target, problem.test
        H = relu_gram(np.concatenate([X for X, _ in sets])) if gram is None else gram
        values, vectors = np.linalg.eigh(H)
        cuts = np.cumsum([len(y) for _, y in sets])[:2] * (len(H) // sum(len(y) for _, y in sets))
        self.phi = dict(zip("PQT", np.split(vectors * np.sqrt(np.maximum(values, 0)), cuts), strict=True))
        self.y = dict(zip("PQT", (y for _, y in sets), strict=True))
        self.f0 = dict(zip("PQT", start or (0 * y for _, y in sets), strict=True))
        self.coupled = len(H) > sum(len(y) for _, y in sets)
        columns = () if self.coupled or problem.target[1].ndim == 1 else problem.target[1].shape[1:]
        self.w0 = np.zeros((len(H), *columns))

    def outputs(self, w, name):
        return self.f0[name] + (self.phi[name] @ w).reshape(self.y[name].shape)

    def descend(self, w, name, lr, steps):
        seen = [w]
        for _ in range(steps):
            r = self.outputs(w, name) - self.y[name]
            w = w - lr * (self.phi[name].T @ (r.ravel() if self.coupled else r))
            seen.append(w)
        return seen

    def loss(self, w, name):
        return float(np.sum((self.outputs(w, name) - self.y[name]) ** 2) / 2)


def assert_is_what_training_does(problem, schedule, outcome, model):
    """Every field of the outcome, from the weights of `model`."""
    w0 = model.w0
    w_P = model.descend(w0, "P", outcome.source_lr, schedule.source_steps)[-1]
    path = model.descend(w_P, "Q", outcome.target_lr, schedule.target_steps)
    scratch = model.descend(w0, "Q", outcome.target_lr, schedule.target_steps)
    size = float(sum(np.sum(y**2) for y in model.y.values()))
    error = {
        "sign": lambda f, y: float(np.mean(np.sign(f) != y)),
        "one-hot": lambda f, y: float(np.mean(f.argmax(1) != y.argmax(1))),
        "real": lambda f, y: None,
    }[problem.label_kind]
    test, test_scratch = model.outputs(path[-1], "T"), model.outputs(scratch[-1], "T")
    wanted = {
        "gradient_energy": 2 * model.loss(w_P, "Q"),
        "gradient_energy_scratch": 2 * model.loss(w0, "Q"),
        "displacement": np.linalg.norm(path[-1] - w_P),
        "displacement_scratch": np.linalg.norm(scratch[-1] - w0),
        "target_loss": model.loss(path[-1], "Q"),
        "target_loss_scratch": model.loss(scratch[-1], "Q"),
        "source_loss_pretrained": model.loss(w_P, "P"),
        "source_loss": model.loss(path[-1], "P"),
        "forgetting": model.loss(path[-1], "P") - model.loss(w_P, "P"),
        "test_mse": np.mean(np.sum(((test - model.y["T"]) ** 2).reshape(len(test), -1), axis=1)),
        "test_mse_scratch": np.mean(np.sum(((test_scratch - model.y["T"]) ** 2).reshape(len(test), -1), axis=1)),
    }
    if schedule.target_steps:
        wanted["measured_gain"] = 1 - np.linalg.norm(path[-1] - w_P) / np.linalg.norm(scratch[-1] - w0)
    else:
        assert outcome.measured_gain is None
    for name, value in wanted.items():
        assert isinstance(getattr(outcome, name), float), name
        assert_dtype_close(getattr(outcome, name), float(value), 1, scale=size)
    assert outcome.test_error == error(test, model.y["T"])
    assert outcome.test_error_scratch == error(test_scratch, model.y["T"])
    for value, output in [
        (outcome.source_outputs, model.outputs(path[-1], "P")),
        (outcome.target_outputs, model.outputs(path[-1], "Q")),
        (outcome.test_outputs, test),
        (outcome.test_outputs_scratch, test_scratch),
        (outcome.pretrained_target_outputs, model.outputs(w_P, "Q")),
    ]:
        assert_dtype_close(value, output, 1, scale=size)
    for seen, weights in [(outcome.trajectory, path), (outcome.trajectory_scratch, scratch)]:
        assert seen.steps[-1] == schedule.target_steps
        assert_dtype_close(np.array(seen.loss), np.array([model.loss(weights[int(k)], "Q") for k in seen.steps]), 1, scale=size)
        forgetting = None if weights is scratch else np.array([model.loss(weights[int(k)], "P") for k in seen.steps])
        assert (seen.source_loss is None) == (forgetting is None)
        if forgetting is not None:
            assert_dtype_close(np.array(seen.source_loss), forgetting, 1, scale=size)
        moved = [float(np.linalg.norm(weights[int(k)] - weights[0])) for k in seen.steps]
        assert_dtype_close(np.array(seen.displacement), np.array(moved), 1, scale=size)
    left = (model.y["Q"] - model.outputs(w_P, "Q")).ravel(), (model.y["Q"] - model.f0["Q"]).ravel()
    H = model.phi["Q"] @ model.phi["Q"].T
    H = H if len(H) == len(left[0]) else np.kron(H, np.eye(len(left[0]) // len(H)))
    metric = [r @ np.linalg.solve(H, r) for r in left]
    assert_dtype_close(outcome.gain, 1 - float(metric[0] / metric[1]) ** 0.5, 1, scale=size)


def assert_same_numbers(one, other):
    for name, value in other.scalars().items():
        if value is None:
            assert one.scalars()[name] is None
        else:
            assert_dtype_close(one.scalars()[name], value, 1, scale=max(1, abs(value)))


SHAPES = [(None, "real"), (None, "sign"), (1, "real"), (3, "real"), (3, "one-hot")]


@pytest.mark.parametrize(("c", "labels"), SHAPES)
@pytest.mark.parametrize(("k_P", "k_Q"), [(7, 13), (0, 5), (25, 0), (1, 1)])
@pytest.mark.parametrize("start", [False, True])
def test_outcome_is_what_training_does(c, labels, k_P, k_Q, start):
    problem = make_problem(1, c=c, labels=labels)
    schedule = Schedule(k_P, k_Q, source_lr=None, target_lr=0.3, snapshots=tuple(k for k in (1, 2, 5, 8, 13) if k <= k_Q))
    u = tuple(np.random.default_rng(8 + i).normal(size=y.shape) for i, (_, y) in enumerate((problem.source, problem.target, problem.test)))
    outcome = predict(problem, schedule, initial_outputs=u if start else None)
    assert outcome.source_lr == 1 / GramSpectrum.of(relu_gram(problem.source[0])).largest
    assert outcome.target_lr == 0.3
    assert outcome.trajectory.steps == (0.0, *sorted({float(k) for k in schedule.snapshots} | {float(k_Q)} - {0.0}))
    assert_is_what_training_does(problem, schedule, outcome, Features(problem, start=u if start else None))


def random_gram(problem, seed=5):
    """A positive definite Gram matrix over all outputs of all points, outputs interacting, and its blocks."""
    sizes = [y.size for _, y in (problem.source, problem.target, problem.test)]
    A = np.random.default_rng(seed).normal(size=(sum(sizes), sum(sizes) + 5)) / sum(sizes) ** 0.5
    return A @ A.T, blocks(A @ A.T, sizes)


def blocks(H, sizes):
    P, Q, T = np.split(np.arange(len(H)), np.cumsum(sizes)[:2])
    keys = {"source": (P, P), "target": (Q, Q), "target_source": (Q, P), "test_source": (T, P), "test_target": (T, Q)}
    return GramBlocks(**{name: H[np.ix_(*ij)] for name, ij in keys.items()})


@pytest.mark.parametrize("c", [None, 1, 3])
def test_outcome_for_a_given_gram_matrix_with_interacting_outputs(c):
    problem = make_problem(2, c=c)
    H, gram = random_gram(problem)
    start = tuple(0.5 * y + 1 for _, y in (problem.source, problem.target, problem.test))
    schedule = Schedule(6, 9, 0.2, 0.25)
    outcome = predict(problem, schedule, gram=gram, initial_outputs=start, rung="frozen")
    assert outcome.rung == "frozen"
    assert_is_what_training_does(problem, schedule, outcome, Features(problem, gram=H, start=start))


def test_interacting_blocks_that_do_not_interact_are_the_shared_kernel():
    problem = make_problem(3, c=3)
    shared = GramBlocks.of(problem, relu_gram)
    names = ("source", "target", "target_source", "test_source", "test_target")
    coupled = GramBlocks(**{name: np.kron(getattr(shared, name), np.eye(3)) for name in names})
    schedule = Schedule(8, 12)
    one, other = predict(problem, schedule, gram=shared), predict(problem, schedule, gram=coupled)
    assert_same_numbers(other, one)
    for name in ("source_outputs", "target_outputs", "test_outputs", "test_outputs_scratch"):
        assert_dtype_close(getattr(other, name), getattr(one, name), 1, scale=10.0)
    assert (other.source_rank, other.target_rank) == (3 * one.source_rank, 3 * one.target_rank)


def test_vector_labels_are_their_columns():
    problem = make_problem(4, c=3)
    whole = predict(problem, Schedule(5, 6))
    apart = [
        predict(
            TransferProblem(**{s: (getattr(problem, s)[0], getattr(problem, s)[1][:, j]) for s in ("source", "target", "test")}),
            Schedule(5, 6),
        )
        for j in range(3)
    ]
    assert_dtype_close(whole.test_outputs, np.stack([o.test_outputs for o in apart], axis=1), 1, scale=10.0)
    for name in ("gradient_energy", "target_loss", "source_loss", "test_mse"):
        total = sum(getattr(o, name) for o in apart)
        assert_dtype_close(getattr(whole, name), total, 1, scale=total)
    assert_dtype_close(whole.displacement**2, sum(o.displacement**2 for o in apart), 1, scale=whole.displacement**2)


def test_to_the_end_is_the_limit_of_many_steps():
    problem = make_problem(5, n=(6, 5, 4), d=5)
    end, late = predict(problem), predict(problem, Schedule(10**6, 10**6))
    assert (end.source_steps, end.target_steps, end.trajectory.steps[-1]) == (None, None, math.inf)
    assert end.target_loss == end.target_loss_scratch == end.source_loss_pretrained == 0
    assert_same_numbers(late, end)
    assert_dtype_close(late.test_outputs, end.test_outputs, 1, scale=10.0)
    # Trained to the end, displacement is the predicted one: then predicted and measured gain agree.
    assert_dtype_close(end.measured_gain, end.gain, 1, scale=1.0)


# ---- the cases known exactly


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 2]))
def test_target_inside_source_with_equal_labels_is_a_gain_of_one(seed, c):
    problem = make_problem(seed, c=c)
    X, y = problem.source
    outcome = predict(TransferProblem(source=(X, y), target=(X[2:6], y[2:6])))
    assert_dtype_close(outcome.gain, 1.0, 1, scale=1.0)
    assert_dtype_close(outcome.gradient_energy, 0.0, 1, scale=outcome.gradient_energy_scratch)
    assert_dtype_close(outcome.displacement, 0.0, 1, scale=outcome.displacement_scratch)


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.0, 0.7])
def test_target_inside_source_with_duplicates_is_a_gain_of_one(scale):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(12, 5)), rng.normal(size=12)
    X, y = np.concatenate([X, scale * X[:4]]), np.concatenate([y, scale * y[:4]])
    target = np.array([0, 1, 2, 3, 5, 12, 13, 14, 15])
    outcome = predict(TransferProblem(source=(X, y), target=(X[target], y[target])))
    assert outcome.source_rank == 12
    assert outcome.target_rank == 5
    assert outcome.gain is not None, outcome.gain_reason
    assert_dtype_close(outcome.gain, 1.0, 1, scale=1.0)


@given(st.integers(0, 2**32 - 1), st.one_of(st.none(), st.integers(0, 50)))
def test_orthogonal_inputs_transfer_nothing(seed, k):
    rng = np.random.default_rng(seed)
    X_P, X_Q = np.zeros((6, 7)), np.zeros((5, 7))
    X_P[:, :3], X_Q[:, 3:] = rng.normal(size=(6, 3)), rng.normal(size=(5, 4))
    y_P, y_Q = rng.normal(size=6), rng.normal(size=5)
    assert not relu_gram(X_Q, X_P).any()
    outcome = predict(TransferProblem(source=(X_P, y_P), target=(X_Q, y_Q)), Schedule(source_steps=k, target_steps=k))
    assert outcome.gain == 0
    assert outcome.gradient_energy == outcome.gradient_energy_scratch
    assert outcome.displacement == outcome.displacement_scratch
    assert outcome.forgetting == 0


@given(st.integers(0, 2**32 - 1), st.one_of(st.none(), st.integers(0, 50)))
def test_zero_source_labels_transfer_nothing(seed, k):
    problem = make_problem(seed)
    outcome = predict(TransferProblem(source=(problem.source[0], np.zeros(9)), target=problem.target), Schedule(source_steps=k))
    assert outcome.gain == 0
    assert outcome.measured_gain == 0
    assert outcome.displacement == outcome.displacement_scratch


@given(st.integers(0, 2**32 - 1), st.integers(-30, 30), st.integers(0, 20))
def test_common_label_scale_is_exact(seed, power, k):
    problem, s = make_problem(seed), 2.0**power
    scaled = TransferProblem(**{n: (getattr(problem, n)[0], s * getattr(problem, n)[1]) for n in ("source", "target", "test")})
    one, other = predict(problem, Schedule(k, k)), predict(scaled, Schedule(k, k))
    assert other.gain == one.gain
    assert other.displacement == s * one.displacement
    assert other.gradient_energy == s * s * one.gradient_energy
    assert np.array_equal(other.test_outputs, s * one.test_outputs)


@given(st.integers(0, 2**32 - 1))
def test_input_scale_only_rescales_the_step(seed):
    problem = make_problem(seed)
    scaled = TransferProblem(**{n: (4 * getattr(problem, n)[0], getattr(problem, n)[1]) for n in ("source", "target", "test")})
    one, other = predict(problem, Schedule(7, 8, 0.01, 0.02)), predict(scaled, Schedule(7, 8, 0.01 / 16, 0.02 / 16))
    assert_dtype_close(other.test_outputs, one.test_outputs, 1, scale=10.0)
    assert_dtype_close(other.displacement * 4, one.displacement, 1, scale=one.displacement)


def test_order_of_samples_does_not_matter():
    problem = make_problem(6)
    orders = [np.random.default_rng(i).permutation(len(getattr(problem, n)[1])) for i, n in enumerate(("source", "target", "test"))]
    shuffled = TransferProblem(
        **{n: (getattr(problem, n)[0][o], getattr(problem, n)[1][o]) for n, o in zip(("source", "target", "test"), orders, strict=True)}
    )
    one, other = predict(problem, Schedule(9, 9)), predict(shuffled, Schedule(9, 9))
    for name in ("gain", "displacement", "source_loss", "test_mse"):
        assert_dtype_close(getattr(other, name), getattr(one, name), 1, scale=10.0)
    assert_dtype_close(other.source_outputs, one.source_outputs[orders[0]], 1, scale=10.0)
    assert_dtype_close(other.test_outputs, one.test_outputs[orders[2]], 1, scale=10.0)


def test_forgetting_can_be_negative_before_the_source_is_learned():
    problem = make_problem(7)
    same = TransferProblem(source=problem.source, target=problem.source)
    assert predict(same, Schedule(3, 3)).forgetting < 0
    apart = predict(make_problem(7), Schedule(None, None))
    assert apart.source_loss_pretrained == 0
    assert apart.forgetting > 0


def test_parts_agree_with_the_functions_they_are_made_of():
    problem = make_problem(8)
    (X_P, y_P), (X_Q, y_Q) = problem.source, problem.target
    outcome = predict(problem, Schedule(source_steps=11))
    left = y_Q - transformed_labels(X_P, y_P, X_Q, steps=11)
    assert_exact(outcome.gradient_energy, float(left @ left), 16)
    Q = GramSpectrum.of(relu_gram(X_Q))
    assert_exact(outcome.gain, stages.transfer_gain(Q, y_Q, left)[0], 64, scale=1.0)


def test_conflicting_labels_leave_the_gain_undefined_with_its_reason():
    problem = make_problem(9)
    X, y = problem.target
    target = np.concatenate([X, X[:1]]), np.concatenate([y, y[:1] + 2])
    outcome = predict(TransferProblem(source=problem.source, target=target, test=problem.test))
    assert outcome.gain is None
    assert "rank 7 of 8" in outcome.gain_reason
    assert outcome.target_rank == 7
    assert_dtype_close(outcome.target_loss, 1.0, 1, scale=1.0)  # labels y and y + 2: y + 1 is learned, ½(1 + 1) is left
    assert_dtype_close(outcome.target_outputs[[0, 7]], np.full(2, y[0] + 1), 1, scale=1.0)
    assert outcome.measured_gain is not None

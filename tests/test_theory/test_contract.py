"""What problems, schedules and outcomes promise: semantics, equality, and a clear refusal of everything else."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from tests.helpers import assert_exact
from theory import (
    GramBlocks,
    InvalidInput,
    OutcomeGap,
    Schedule,
    TransferProblem,
    UnstableStep,
    predict,
    relu_gram,
    transformed_labels,
)
from theory.pretraining import pretraining_curves
from theory.problem import check_kinds

RNG = np.random.default_rng(0)
X_P, y_P, X_Q, y_Q, X_T, y_T = (RNG.normal(size=s) for s in ((6, 3), (6,), (5, 3), (5,), (4, 3), (4,)))


def problem(**change):
    return TransferProblem(**{"source": (X_P, y_P), "target": (X_Q, y_Q), "test": (X_T, y_T), **change})


def refused(call, *parts):
    """`call` raises a ValueError of the project whose message has every part, in this order."""
    with pytest.raises(InvalidInput, match="(?s)" + ".*".join(parts)) as caught:
        call()
    assert isinstance(caught.value, ValueError)


# ---- problems


def with_value(X, value, at):
    X = X.copy()
    X[at] = value
    return X


BAD_PAIRS = [
    ((with_value(X_P, np.nan, (2, 1)), y_P), ["X", r"\[2, 1\]", "nan", "finite numbers are allowed"]),
    ((with_value(X_P, np.inf, (0, 0)), y_P), ["X", r"\[0, 0\]", "inf", "allowed"]),
    ((X_P, with_value(y_P, -np.inf, 3)), ["y", r"\[3\]", "-inf", "allowed"]),
    ((X_P, y_P[:5]), ["6 inputs and 5 labels", "equal"]),
    ((X_P, y_P[:0]), ["y", r"\(0,\)", "allowed"]),
    ((X_P[:0], y_P[:0]), ["X", r"\(0, 3\)", "allowed"]),
    ((X_P[:, :0], y_P), ["X", r"\(6, 0\)", "allowed"]),
    ((X_P, np.zeros((6, 0))), ["y", r"\(6, 0\)", "allowed"]),
    ((with_value(X_P, 0, 4), y_P), ["X row 4 is all zeros", "non-zero rows are allowed"]),
    ((X_P[:, 0], y_P), ["X", r"\(6,\)", "allowed"]),
    ((np.float64(1), y_P), ["X", r"\(\)", "allowed"]),
    ((X_P, np.float64(1)), ["y", r"\(\)", "allowed"]),
    ((X_P, 1.5), ["y", r"\(\)", "allowed"]),
    ((X_P, np.zeros((6, 2, 2))), ["y", r"\(6, 2, 2\)", "allowed"]),
    ((X_P.astype(complex), y_P), ["X", "complex128", "allowed"]),
    ((X_P, y_P.astype(complex)), ["y", "complex128", "allowed"]),
    ((X_P.astype(str), y_P), ["X", "<U", "allowed"]),
    ((X_P, ["a"] * 6), ["y", "<U1", "allowed"]),
    ((X_P.astype(object), y_P), ["X", "object", "allowed"]),
    ((X_P, [1, None, 1, 1, 1, 1]), ["y", "object", "allowed"]),
    (([[1.0, 2.0], [3.0]], [1.0, 2.0]), ["X", "rectangular"]),
    ((X_P, None), ["y", "NoneType", "allowed"]),
    (X_P, ["ndarray", r"pair \(X, y\) is allowed"]),
    ((X_P, y_P, y_P), ["tuple", "pair"]),
    ((X_P,), ["tuple", "pair"]),
    ("ab", ["str", "pair"]),
    ((X_P, np.array(["2020-01-01"] * 6, dtype="M8[D]")), ["y", "datetime64", "allowed"]),
]


@pytest.mark.parametrize("name", ["source", "target", "test"])
@pytest.mark.parametrize(("pair", "message"), BAD_PAIRS)
def test_bad_sets_are_refused_by_name(name, pair, message):
    refused(lambda: problem(**{name: pair}), name, *message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": (X_P[:, :2], y_P)}, ["source", r"\(n, 2\)", r"\(n, 3\)", "equal"]),
        ({"test": (X_T[:, :2], y_T)}, ["test", r"\(n, 2\)", r"\(n, 3\)", "equal"]),
        ({"source": (X_P, np.stack([y_P, y_P], 1))}, ["source", r"\(6, 2\)", r"\(5,\)", "equal"]),
        ({"source": (X_P, y_P[:, None])}, ["source", r"\(6, 1\)", r"\(5,\)", "equal"]),
        ({"test": (X_T, np.stack([y_T, y_T], 1))}, ["test", r"\(4, 2\)", r"\(5,\)", "equal"]),
        ({"source": (X_P.astype(np.float32), y_P)}, ["source", "float32", "float64", "one dtype is allowed"]),
        ({"target": None}, ["target", "NoneType", "pair"]),
    ],
)
def test_sets_that_do_not_fit_together_are_refused(change, message):
    refused(lambda: problem(**change), *message)


def test_arrays_of_two_libraries_are_refused():
    strict = pytest.importorskip("array_api_strict")
    refused(lambda: problem(source=(strict.asarray(X_P), y_P)), "source", "allowed")
    refused(lambda: problem(source=(strict.asarray(X_P), strict.asarray(y_P))), "source", "allowed")
    refused(lambda: relu_gram(X_P, strict.asarray(X_Q)), "allowed")
    refused(lambda: transformed_labels(X_P, y_P, strict.asarray(X_Q)), "allowed")


def test_labels_that_overflow_the_precision_of_the_inputs_are_refused():
    pairs = {n: (X.astype(np.float32), y * 1e300) for n, X, y in (("source", X_P, y_P), ("target", X_Q, y_Q))}
    refused(lambda: TransferProblem(**pairs), "target y", r"e\+300", "allowed", "float32")


def test_a_loss_that_overflows_is_refused():
    refused(lambda: predict(problem(source=(X_P, y_P * 1e200), target=(X_Q, y_Q * 1e200))), "allowed")


def test_integers_booleans_and_lists_are_numbers():
    assert TransferProblem(source=([[1, 2]], [True]), target=(np.array([[3, 4]], dtype=np.uint8), [-1])) == TransferProblem(
        source=(np.array([[1.0, 2.0]]), np.array([1.0])), target=(np.array([[3.0, 4.0]]), np.array([-1.0]))
    )


def test_rows_are_never_normalised():
    p = problem()
    assert np.array_equal(p.source[0], X_P)
    assert predict(p).displacement != predict(problem(source=(2 * X_P, y_P), target=(3 * X_Q, y_Q))).displacement


def test_equality_is_by_content():
    one, same = problem(), problem(source=(X_P.copy(), y_P.copy()))
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same}) == 1
    assert len(one.content_hash) == 64
    assert one != "problem"
    others = [
        problem(source=(with_value(X_P, 9, (0, 0)), y_P)),
        problem(source=(X_P, with_value(y_P, 9, 0))),
        problem(test=None),
        problem(source=None),
        problem(source=(X_Q, y_Q), target=(X_P, y_P)),
        problem(**{n: (X.astype(np.float32), y) for n, X, y in (("source", X_P, y_P), ("target", X_Q, y_Q), ("test", X_T, y_T))}),
        problem(**{n: (X, y[:, None]) for n, X, y in (("source", X_P, y_P), ("target", X_Q, y_Q), ("test", X_T, y_T))}),
    ]
    assert len({one.content_hash, *(o.content_hash for o in others)}) == len(others) + 1
    assert one == problem(source=(np.asfortranarray(X_P), y_P))
    assert "(6, 3)" in repr(one)


def test_outcomes_and_gram_blocks_compare_by_content_too():
    assert predict(problem()) == predict(problem())
    assert predict(problem()) != predict(problem(), Schedule(1))
    assert GramBlocks.of(problem(), relu_gram) == GramBlocks.of(problem(), relu_gram)
    assert GramBlocks.of(problem(), relu_gram) != GramBlocks.of(problem(test=None), relu_gram)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        ([1.0, -1, 1, 1, -1], "sign"),
        ([1.0, 0, 1, 1, 0], "real"),
        (np.eye(3)[[0, 1, 2, 0, 1]], "one-hot"),
        (np.eye(3)[[0, 1, 2, 0, 1]] * 2, "real"),
        (np.ones((5, 2)), "real"),
    ],
)
def test_label_kind(y, kind):
    y = np.asarray(y)
    sets = {"source": (X_P, np.zeros((6, *y.shape[1:]))), "target": (X_Q, y), "test": None}
    assert problem(**sets).label_kind == kind
    assert problem(**{**sets, "test": (X_T, 0.5 * y[:4])}).label_kind == "real"
    assert problem(**sets).n_outputs == (1 if y.ndim == 1 else y.shape[1])


def test_problems_schedules_and_outcomes_are_frozen():
    for value, name in [(problem(), "target"), (Schedule(), "target_steps"), (predict(problem()), "gain")]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)


# ---- schedules


@pytest.mark.parametrize("name", ["source_steps", "target_steps"])
@pytest.mark.parametrize(
    "steps", [-1, -(10**30), 1.0, 2.5, math.nan, math.inf, True, np.True_, "3", [3], np.array(2.5), np.array([1, 2]), np.float64(3)]
)
def test_steps_are_whole_numbers(name, steps):
    refused(lambda: Schedule(**{name: steps}), name, "allowed")


def test_steps_that_no_float_can_hold_are_refused():
    refused(lambda: predict(problem(), Schedule(target_steps=10**400)), "target_steps", "allowed")


def test_message_holds_the_value():
    refused(lambda: Schedule(target_steps=-7), "target_steps is -7; a whole number ≥ 0 is allowed")
    refused(lambda: Schedule(target_lr=-0.25), r"target_lr is -0\.25")
    refused(lambda: transformed_labels(X_P, y_P, X_Q, steps=-5), "-5", "allowed")
    refused(lambda: transformed_labels(X_P, y_P, X_Q, steps=1.5), r"1\.5", "allowed")


@pytest.mark.parametrize("name", ["source_lr", "target_lr"])
@pytest.mark.parametrize("lr", [0, -1, math.nan, math.inf, -math.inf, True, "0.1", [0.1], 1j])
def test_rates_are_positive_numbers(name, lr):
    refused(lambda: Schedule(**{name: lr}), name, "allowed")


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(2), 1])
def test_numpy_numbers_are_numbers(number):
    assert Schedule(target_lr=number).target_lr == float(number)
    assert Schedule(target_steps=np.int32(4), snapshots=(np.int64(2),)) == Schedule(target_steps=4, snapshots=(2,))


@pytest.mark.parametrize("snapshots", [(11,), (3, 99), (-1,), (1.5,), (True,), ("a",), "ab", 5, None])
def test_bad_snapshots(snapshots):
    refused(lambda: Schedule(target_steps=10, snapshots=snapshots), "snapshot", "allowed")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("momentum", 1.0, r"\[0, 1\)"),
        ("momentum", -0.1, r"\[0, 1\)"),
        ("momentum", math.nan, r"\[0, 1\)"),
        ("momentum", True, r"\[0, 1\)"),
        ("momentum", "0.9", r"\[0, 1\)"),
        ("weight_decay", -1e-4, "≥ 0"),
        ("weight_decay", math.inf, "≥ 0"),
        ("weight_decay", math.nan, "≥ 0"),
        ("anchor", "source", "'zero', 'initial', 'start'"),
        ("anchor", None, "'zero', 'initial', 'start'"),
        ("loss", "hinge", "'squared', 'cross-entropy'"),
    ],
)
def test_methods_that_are_not_there_are_refused(name, value, allowed):
    refused(lambda: Schedule(**{name: value}), name, str(value), allowed, "allowed")


@pytest.mark.parametrize("change", [{"momentum": 0.9}, {"weight_decay": 0.1, "anchor": "start"}, {"loss": "cross-entropy"}])
def test_what_is_for_plain_descent_only_says_so(change):
    name = next(iter(change))
    for what in ("pretraining_curves", "this"):
        call = pretraining_curves if what == "pretraining_curves" else check_kinds
        refused(
            lambda call=call: call(problem(), Schedule(3, 3, **change)), name, str(change[name]), what, "plain gradient descent", "allowed"
        )


def test_recorded_steps():
    assert Schedule(target_steps=0).recorded_steps() == ()
    assert Schedule(target_steps=30).recorded_steps() == (0, 1, 2, 5, 10, 20)
    assert Schedule(target_steps=10, snapshots=(7, 3, 3, 10)).recorded_steps() == (0, 3, 7)
    assert Schedule(snapshots=(10**6,)).recorded_steps() == (0, 10**6)
    for schedule in (Schedule(target_steps=30), Schedule(target_steps=10, snapshots=(7, 3, 10)), Schedule(), Schedule(target_steps=0)):
        seen = predict(problem(), schedule).trajectory
        end = math.inf if schedule.target_steps is None else schedule.target_steps
        assert seen.steps == (*schedule.recorded_steps(), end)
        assert len(seen.loss) == len(seen.displacement) == len(seen.steps)
        assert seen.displacement[0] == 0


# ---- prediction


def test_default_rates_and_stability():
    p = problem()
    largest = {n: np.linalg.eigvalsh(relu_gram(getattr(p, n)[0]))[-1] for n in ("source", "target")}
    outcome = predict(p)
    for name, value in largest.items():
        assert_exact(getattr(outcome, f"{name}_lr"), 1 / value, 64)
    bound = 2 / largest["target"]
    assert predict(p, Schedule(target_steps=5, target_lr=bound * (1 - 1e-9))).stable
    refused(
        lambda: predict(p, Schedule(target_steps=5, target_lr=1.01 * bound)), "target_lr", f"{1.01 * bound:.6g}", "at most", f"{bound:.6g}"
    )
    refused(lambda: predict(p, Schedule(5, 5, source_lr=3 / largest["source"])), "source_lr", "allowed")
    refused(lambda: transformed_labels(X_P, y_P, X_Q, 5, 3 / largest["source"]), f"{3 / largest['source']:.6g}", "allowed")
    assert predict(p, Schedule(5, 5)).stable
    for change in ({"target_lr": 1.01 * bound}, {"source_lr": 3 / largest["source"]}):
        assert predict(p, Schedule(5, 5, allow_unstable=True, **change)).stable is False


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("stage", ["source", "target"])
def test_no_end_at_two_over_lambda_max(stage, allow):
    # Powers of two throughout, so that 2/λ_max is the same number to everybody.
    eye = (np.eye(4), np.arange(1.0, 5))
    p = TransferProblem(source=eye, target=eye)
    assert predict(p, Schedule(5, 5, **{f"{stage}_lr": 4.0})).stable
    with pytest.raises(UnstableStep, match=rf"{stage}_lr = 4 .*below 2/λ_max = 4"):
        predict(p, Schedule(allow_unstable=allow, **{f"{stage}_lr": 4.0}))


def test_a_diverged_run_is_an_error_not_a_number():
    refused(lambda: predict(problem(), Schedule(target_steps=10**6, target_lr=100.0, allow_unstable=True)), "target_lr", "100", "allowed")


@pytest.mark.parametrize("kernel", ["rbf", None, 3, "RELU"])
def test_unknown_kernel(kernel):
    refused(lambda: predict(problem(), kernel=kernel), repr(kernel), "'relu'.*allowed")


@pytest.mark.parametrize("gram", [False, True])
def test_a_missing_source_is_refused(gram):
    blocks = GramBlocks.of(problem(), relu_gram) if gram else None
    refused(lambda: predict(problem(source=None), gram=blocks), "source=None", r"pair \(X, y\)")


def test_images_need_a_kernel_of_their_own():
    p = TransferProblem(source=(X_P[:, :, None], y_P), target=(X_Q[:, :, None], y_Q))
    refused(lambda: predict(p), r"\(5, 3, 1\)", r"\(n, d\) is allowed")
    flat = TransferProblem(source=(X_P, y_P), target=(X_Q, y_Q))
    assert predict(p, gram=GramBlocks.of(flat, relu_gram)) == predict(flat)


@pytest.mark.parametrize("name", ["source", "target", "target_source", "test_source", "test_target"])
def test_wrong_gram_blocks(name):
    p, blocks = problem(), GramBlocks.of(problem(), relu_gram)
    shape = getattr(blocks, name).shape
    for bad in (np.ones((9, 9)), getattr(blocks, name)[0], np.float64(1)):
        change = dataclasses.replace(blocks, **{name: bad})
        refused(lambda change=change: predict(p, gram=change), f"block {name}", *(f"{s}" for s in shape))
    refused(
        lambda: predict(p, gram=dataclasses.replace(blocks, **{name: with_value(getattr(blocks, name), np.nan, (0, 1))})),
        "(?i)nan",
        "allowed",
    )


def test_arguments_of_another_type_are_converted_or_refused():
    p, blocks = problem(), GramBlocks.of(problem(), relu_gram)
    assert predict(p, gram=dataclasses.replace(blocks, source=blocks.source.tolist())) == predict(p)
    assert predict(p, initial_outputs=[[0] * 6, [0] * 5, [0] * 4]) == predict(p)
    refused(lambda: predict(p, gram=relu_gram(X_P)), "ndarray", "GramBlocks")
    refused(lambda: predict((1, 2)), "tuple", "TransferProblem")
    refused(lambda: predict(p, 10), "10", "Schedule")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ((y_P, y_Q), ["2 initial outputs", "3"]),
        ((y_P, y_Q, y_T, y_T), ["4 initial outputs", "3"]),
        ((y_P, y_Q, y_T[:3]), [r"\(3,\)", r"\(4,\)"]),
        ((y_P[:, None], y_Q, y_T), [r"\(6, 1\)", r"\(6,\)"]),
        ((y_P, with_value(y_Q, np.nan, 2), y_T), ["initial", r"\[2\]", "nan", "allowed"]),
        ((y_P, y_Q, with_value(y_T, np.inf, 0)), ["initial", "inf", "allowed"]),
        ((y_P, y_Q, y_T.astype(str)), ["initial", "<U", "allowed"]),
        (7, ["7", "allowed"]),
    ],
)
def test_wrong_initial_outputs(start, message):
    refused(lambda: predict(problem(), initial_outputs=start), *message)


# ---- outcomes


def test_subtraction():
    one, other = predict(problem()), predict(problem(), Schedule(3))
    gap = one - other
    assert isinstance(gap, OutcomeGap)
    assert set(gap.absolute) == set(one.scalars())
    for name, value in one.scalars().items():
        if value is None:
            assert gap.absolute[name] is None
        else:
            assert gap.absolute[name] == value - other.scalars()[name]
    assert gap.relative("displacement") == (one.displacement - other.displacement) / abs(other.displacement)
    assert gap.relative("test_error") is None  # real labels have no error rate
    assert (one - one).relative("source_loss_pretrained") is None  # nothing to be relative to
    assert one.gain is not None
    assert (one - dataclasses.replace(other, gain=None)).absolute["gain"] is None
    with pytest.raises(TypeError):
        one - 1.0


def test_derived_numbers():
    outcome = predict(problem(), Schedule(5, 5))
    assert outcome.measured_gain == 1 - outcome.displacement / outcome.displacement_scratch
    assert outcome.forgetting == outcome.source_loss - outcome.source_loss_pretrained
    assert dataclasses.replace(outcome, source_loss=None).forgetting is None
    assert dataclasses.replace(outcome, displacement_scratch=0.0).measured_gain is None


@pytest.mark.parametrize("arrays", [False, True])
def test_a_dictionary_of_an_outcome_is_json(arrays):
    outcome = dataclasses.replace(predict(problem(), Schedule(5)), frozen=predict(problem()))
    back = json.loads(json.dumps(outcome.to_dict(arrays), allow_nan=False))  # RFC 8259 has no Infinity
    assert back["displacement"] == outcome.displacement
    assert back["frozen"]["gain"] == outcome.frozen.gain
    assert back["measured_gain"] == outcome.measured_gain
    assert (back.get("test_outputs") == outcome.test_outputs.tolist()) is arrays
    assert len(back["trajectory"]["loss"]) == len(outcome.trajectory.loss)


def test_error_rates():
    signs = {n: (X, np.sign(y)) for n, X, y in (("source", X_P, y_P), ("target", X_Q, y_Q), ("test", X_T, y_T))}
    outcome = predict(TransferProblem(**signs))
    assert outcome.test_error == np.mean(np.sign(outcome.test_outputs) != signs["test"][1])
    assert predict(problem()).test_error is None
    nothing = predict(TransferProblem(**{**signs, "source": (X_P, 0 * y_P)}), Schedule(target_steps=0))
    assert nothing.test_error == 1  # an output of exactly 0 decides nothing, and counts as wrong
    assert predict(TransferProblem(source=signs["source"], target=signs["target"])).test_outputs is None


def test_inputs_are_never_modified():
    arrays = [X_P, y_P, X_Q, y_Q, X_T, y_T]
    before = [a.copy() for a in arrays]
    start = (y_P * 0.1, y_Q * 0.2, y_T * 0.3)
    blocks = GramBlocks.of(problem(), relu_gram)
    kept = {f.name: getattr(blocks, f.name).copy() for f in dataclasses.fields(blocks)}
    predict(problem(), Schedule(4, 4), gram=blocks, initial_outputs=start)
    predict(problem())
    transformed_labels(X_P, y_P, X_Q, 3)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))
    assert all(np.array_equal(getattr(blocks, name), value) for name, value in kept.items())
    assert all(np.array_equal(u, s * y) for u, s, y in zip(start, (0.1, 0.2, 0.3), (y_P, y_Q, y_T), strict=True))

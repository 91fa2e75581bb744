"""Predict a chain of stages before it is trained: source₁ → source₂ → … → target, or the same sets over and over."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

from theory.arrays import Array, as_float, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric import chains, stages
from theory.numeric.kernels.named import GramFunction, gram_function
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.outcome import mean_squared_error
from theory.problem import LabelledSet, labelled_set, rate, whole


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of a chain: gradient descent on a labelled set.

    Parameters
    ----------
    X, y : (n, d), (n,) or (n, c) arrays
        A set that is met again is given by the same arrays: it is then one set, whose residual the chain carries on.
    steps : int ≥ 0, optional
        `None` trains to the end.
    lr : float > 0, optional
        `None` takes `1/λ_max` of the set's Gram matrix.

    Raises
    ------
    InvalidInput
        For a value outside these ranges, or malformed data.
    """

    X: Array
    y: Array
    steps: Steps = None
    lr: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None:
            object.__setattr__(self, "steps", whole(self.steps, "steps"))
        if self.lr is not None:
            if isinstance(self.lr, bool) or not isinstance(self.lr, numbers.Real) or not 0 < float(self.lr) < math.inf:
                raise InvalidInput(f"lr is {self.lr!r}; a finite number above 0, or None for 1/λ_max, is allowed")
            object.__setattr__(self, "lr", float(self.lr))


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainGram:
    """Gram matrix between the sets of a chain, block by block, sets in the order in which they are first met.

    Attributes
    ----------
    within : tuple of (n_a, n_a) arrays
    cross : tuple of tuples
        `cross[a][b]`, `b < a`, is `(n_a, n_b)`.
    test : tuple of (n_T, n_a) arrays, optional
        Needed when there are test points.
    """

    within: tuple[Array, ...]
    cross: tuple[tuple[Array, ...], ...]
    test: tuple[Array, ...] | None = None

    @classmethod
    def of(cls, inputs: Sequence[Array], test: Array | None, kernel: GramFunction) -> ChainGram:
        """Evaluate `kernel` between sets of inputs."""
        return cls(
            within=tuple(kernel(X) for X in inputs),
            cross=tuple(tuple(kernel(X, Z) for Z in inputs[:a]) for a, X in enumerate(inputs)),
            test=None if test is None else tuple(kernel(test, X) for X in inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainOutcome:
    """The result of a chain, stage by stage; "its set" is the set that a stage trains on.

    Attributes
    ----------
    order : tuple of int
        The set of each stage, sets numbered as they are first met.
    remaining : tuple of arrays
        `ỹ_s`: what the stages before leave to learn of each stage's labels.
    displacement : tuple of float
        `‖W_s − W_{s−1}‖_F` of each stage.
    total_displacement : tuple of float
        `‖W_s − W_0‖_F` after each stage.
    losses : tuple of tuples of float
        `losses[s][a]`: `½‖u − y‖²` on set `a` after `s` stages; row 0 is before all training.
    outputs : tuple of arrays
        Outputs on every set at the end, initial outputs taken as zero.
    coefficients : tuple of arrays
        `γ_s`: the outputs at `x` are `Σ_s h_s(x)ᵀγ_s`.
    test_outputs : tuple of arrays, or None
        Outputs on the test points after each stage.
    test_mse : tuple of float, or None
        Mean over test points of `‖f(x) − y‖²` after each stage.
    steps, lr : tuples
        As taken.
    ranks : tuple of int
        Numerical ranks of the sets' Gram matrices.
    """

    order: tuple[int, ...]
    remaining: tuple[Array, ...]
    displacement: tuple[float, ...]
    total_displacement: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    outputs: tuple[Array, ...]
    coefficients: tuple[Array, ...]
    test_outputs: tuple[Array, ...] | None
    test_mse: tuple[float, ...] | None
    steps: tuple[Steps, ...]
    lr: tuple[float, ...]
    ranks: tuple[int, ...]

    @property
    def gradient_energy(self) -> tuple[float, ...]:
        """`‖∂L/∂X¹‖_F² = ‖ỹ_s‖²` at the start of each stage."""
        return tuple(_energy(r) for r in self.remaining)

    def forgetting(self, stage: int) -> tuple[float, ...]:
        """Rise of the loss on the set of stage `stage` (from 0) since its end, after each later stage; negative where they help it.

        Raises
        ------
        InvalidInput
            For a stage that the chain does not have.
        """
        if isinstance(stage, bool) or not isinstance(stage, numbers.Integral) or not 0 <= stage < len(self.order):
            raise InvalidInput(f"stage is {stage!r}; a whole number from 0 to {len(self.order) - 1} is allowed")
        own = [row[self.order[stage]] for row in self.losses[stage + 1 :]]
        return tuple(loss - own[0] for loss in own[1:])


def predict_chain(
    stages: Sequence[Stage | LabelledSet],
    test: LabelledSet | None = None,
    *,
    kernel: str | GramFunction = "relu",
    gram: ChainGram | None = None,
) -> ChainOutcome:
    """Outcome of training on one set after the other in the kernel regime, exact at every step.

    Parameters
    ----------
    stages : sequence of Stage, or of pairs (X, y) that are trained to the end
        Two of them are what `predict` does; a set may come again, and cycling to the end converges to joint training.
    test : pair of arrays, optional
        `(X_T, y_T)`.
    kernel : str, Kernel or callable
        As for `predict`; ignored when `gram` is given.
    gram : ChainGram, optional
        Gram blocks computed elsewhere, for outputs that share them. Initial outputs are taken as zero: give labels less them.

    Raises
    ------
    InvalidInput, UnstableStep
        For malformed data, sets that do not match, an unknown kernel, mismatched blocks, or a step size above `2/λ_max`.

    Source: `ỹ_s = y_s − Σ_{j<s} H_sj γ_j`, `γ_s = φ_k(H_s) ỹ_s`: each stage is the geometric series of `r ← (I − ηH) r`.
    """
    plan = [_stage(s, i) for i, s in enumerate(_listed(stages))]
    sets, order = _distinct(plan)
    checked = [labelled_set((s.X, s.y), f"stage {order.index(a)}") for a, s in enumerate(sets)]
    points = None if test is None else labelled_set(test, "test")
    _check_alike(checked, points, [f"stage {order.index(a)}" for a in range(len(sets))])
    if gram is None:
        gram = _evaluated(checked, points, kernel)
    _check_blocks(gram, checked, points)
    spectra = [GramSpectrum.of(H) for H in gram.within]
    lr = [rate(s.lr, spectra[a]) for s, a in zip(plan, order, strict=True)]
    for i, (s, a) in enumerate(zip(plan, order, strict=True)):
        spectra[a].check_step(lr[i], s.steps, f"lr of stage {i}")
    labels = [y for _, y in checked]
    steps = [s.steps for s in plan]
    results = chains.run_chain(spectra, gram.cross, labels, order, lr, steps)
    return _outcome(results, spectra, gram, labels, points, order, lr, steps)


def _listed(given: object) -> list:
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) == 0:
        raise InvalidInput(f"stages is {given!r}; a list of at least one Stage, or pair (X, y), is allowed")
    return list(given)


def _stage(given: object, index: int) -> Stage:
    if isinstance(given, Stage):
        return given
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InvalidInput(f"stage {index} is {type(given).__name__}; a Stage or a pair (X, y) is allowed")
    return Stage(given[0], given[1])


def _distinct(plan: Sequence[Stage]) -> tuple[list[Stage], list[int]]:
    """The first stage on each set, and each stage's set; the same arrays are the same set."""
    sets: list[Stage] = []
    order = []
    for stage in plan:
        known = next((a for a, s in enumerate(sets) if s.X is stage.X and s.y is stage.y), None)
        if known is None:
            known = len(sets)
            sets.append(stage)
        order.append(known)
    return sets, order


def _check_alike(sets: Sequence[LabelledSet], test: LabelledSet | None, names: Sequence[str]) -> None:
    X_0, y_0 = sets[0]
    others = [*zip(names, sets, strict=True)] + ([] if test is None else [("test", test)])
    for name, (X, y) in others[1:]:
        if X.shape[1:] != X_0.shape[1:] or y.shape[1:] != y_0.shape[1:]:
            raise InvalidInput(
                f"{name} has rows of shape {tuple(X.shape[1:])} and labels of shape {tuple(y.shape[1:])}, {names[0]} "
                f"{tuple(X_0.shape[1:])} and {tuple(y_0.shape[1:])}; they must be equal"
            )
        namespace(X, X_0)
        if X.dtype != X_0.dtype:
            raise InvalidInput(f"{name} inputs are {X.dtype} and those of {names[0]} {X_0.dtype}; one dtype is allowed")


def _evaluated(sets: Sequence[LabelledSet], test: LabelledSet | None, kernel: str | GramFunction) -> ChainGram:
    function = gram_function(kernel)
    if sets[0][0].ndim != 2:
        raise InvalidInput(f"inputs have shape {tuple(sets[0][0].shape)}; (n, d) is allowed here")
    return ChainGram.of([X for X, _ in sets], None if test is None else test[0], function)


def _check_blocks(gram: object, sets: Sequence[LabelledSet], test: LabelledSet | None) -> None:
    if not isinstance(gram, ChainGram):
        raise InvalidInput(f"gram is a {type(gram).__name__}; a ChainGram or None is allowed")
    sizes = [X.shape[0] for X, _ in sets]
    n_T = None if test is None else test[0].shape[0]
    expected = {f"within[{a}]": (n, n) for a, n in enumerate(sizes)}
    given = {f"within[{a}]": H for a, H in enumerate(gram.within)}
    expected |= {f"cross[{a}][{b}]": (n, sizes[b]) for a, n in enumerate(sizes) for b in range(a)}
    given |= {f"cross[{a}][{b}]": H for a, row in enumerate(gram.cross) for b, H in enumerate(row)}
    if n_T is not None:
        expected |= {f"test[{a}]": (n_T, n) for a, n in enumerate(sizes)}
        given |= {f"test[{a}]": H for a, H in enumerate(gram.test or ())}
    for name in expected | given:
        shape = tuple(as_float(given[name], f"the Gram block {name}").shape) if name in given else None
        if shape != expected.get(name) and (n_T is not None or not name.startswith("test")):
            raise InvalidInput(f"the Gram block {name} has shape {shape}; {expected.get(name)} is needed for these stages")


def _outcome(
    results: Sequence[chains.StageResult],
    spectra: Sequence[GramSpectrum],
    gram: ChainGram,
    labels: Sequence[Array],
    test: LabelledSet | None,
    order: Sequence[int],
    lr: Sequence[float],
    steps: Sequence[Steps],
) -> ChainOutcome:
    gammas = [r.coefficients for r in results]
    moved = [stages.displacement(spectra[a], r.remaining, eta, k) for a, r, eta, k in zip(order, results, lr, steps, strict=True)]
    test_outputs: list[Array] = []
    if test is not None:
        assert gram.test is not None
        for a, gamma in zip(order, gammas, strict=True):
            step = gram.test[a] @ gamma
            test_outputs.append(test_outputs[-1] + step if test_outputs else step)
    return ChainOutcome(
        order=tuple(order),
        remaining=tuple(r.remaining for r in results),
        displacement=tuple(moved),
        total_displacement=tuple(
            chains.total_displacement(spectra, gram.cross, order[: s + 1], gammas[: s + 1]) for s in range(len(order))
        ),
        losses=tuple(tuple(_energy(r) / 2 for r in left) for left in [labels, *(result.residuals for result in results)]),
        outputs=tuple(y - r for y, r in zip(labels, results[-1].residuals, strict=True)),
        coefficients=tuple(gammas),
        test_outputs=None if test is None else tuple(test_outputs),
        test_mse=None if test is None else tuple(mean_squared_error(u, test[1]) for u in test_outputs),
        steps=tuple(steps),
        lr=tuple(lr),
        ranks=tuple(s.rank for s in spectra),
    )


def _energy(r: Array) -> float:
    return scalar(namespace(r).sum(r * r))

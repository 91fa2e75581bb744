"""How far a trained ReLU net is from its frozen kernel, to first order in `1/(κ√m)`, for any data: computed, not fitted.

Only neurons within `O(1/√m)` of a hyperplane `w·xⱼ = 0` change a gate, a share `∝ 1/(κ√m)` of all. Near the hyperplane their density is
`1/(√(2π) κ‖xⱼ‖)`, their other gates are those of a random direction in it, and one number tells their state: `s = √m w·xⱼ`, which a
gradient step moves by `±η(v + 1{s > 0} rⱼ‖xⱼ‖²)`, `v` the pull of the other points. What these neurons add to outputs and displacement
beyond frozen gates is integrated over `s` and averaged over directions; the residual then answers through the frozen kernel.

The same neurons give what the gradient `g = ∂L/∂W` changes by over a step beyond frozen gates. With `p = ηr` the pull of a point, `c` what
the change of all other pulls does to the output there, and dashes after the step, a neuron adds `2c(d − d₀) + ‖x‖²(d² − d₀²)` to
`η²‖g' − g‖²`, where `d = p'1{s' > 0} − p1{s > 0}` and `d₀ = (p' − p)1{s(0) > 0}`. A neuron that switches during the step adds its whole
pull, of order `p`, where the frozen kernel has only `p' − p`. Once the steep modes are learnt `p' − p` is far less than `p`, and switches
are most of the change at any width that trains. In the first step, where `s` still has its first density, the part `p'²‖x‖²` amounts to
`η r'²‖x‖/(2√(2πm)κ) · E(|v| + |v + r‖x‖²|)` of `‖g' − g‖²`, `v` the pull of the others over `η`: the density at zero times the length of
the step, half of the neurons with each sign.

Fluctuations from net to net, `∝ m^{-3/4}`, and terms in `1/m` are left out. For orthogonal inputs `theory.numeric.drift` has the closed
form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from theory.arrays import Array, as_float, to_numpy
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum

# Points of the integral over s: a grid for each direction, with an offset of its own, so that what gates do between two points is no
# bias, and part of the standard error.
_POINTS = 64

_BATCHES = 8


@dataclass(frozen=True, eq=False)
class FirstOrderDrift:
    """What to add to the frozen kernel's numbers, times `√m`; each the mean over batches of directions.

    Attributes
    ----------
    displacement : float
        Of `D/D_frozen − 1` after the last step.
    displacement_error : float
        Its standard error from the sampling of directions.
    residual, residual_error : (n,) arrays
        Of the residual `y − u` after the last step, and its standard error.
    gradient_change, gradient_change_error : (steps,) arrays
        Of `‖g(k+1) − g(k)‖_F²`, `g = ∂L/∂W`, for each step, and its standard error.
    frozen_gradient_change : (steps,) array
        What that adds to, `η² rᵀH³r` with the residual before each step; no `√m` in it.
    """

    displacement: float
    displacement_error: float
    residual: np.ndarray
    residual_error: np.ndarray
    gradient_change: np.ndarray
    gradient_change_error: np.ndarray
    frozen_gradient_change: np.ndarray


def first_order_drift(
    X: Array, y: Array, lr: float, steps: int, *, init_scale: float = 1.0, directions: int = 256, seed: int = 0
) -> FirstOrderDrift:
    """The deterministic drift of a net trained on one set from zero outputs, to first order in `1/(κ√m)`.

    Parameters
    ----------
    X, y : (n, d), (n,) arrays
        Non-zero rows, labels.
    lr : float
        Step size, at most `2/λ_max`.
    steps : int ≥ 1
    init_scale : float > 0
        `κ`.
    directions : int ≥ 8
        Random directions in each hyperplane, in opposite pairs.
    seed : int ≥ 0
        Of the directions.

    Returns
    -------
    FirstOrderDrift

    Raises
    ------
    InvalidInput, UnstableStep
        For arguments out of range, or labels that move nothing.
    """
    points, labels = (to_numpy(as_float(a, name)).astype(np.float64) for a, name in ((X, "X"), (y, "y")))
    if points.ndim != 2 or labels.shape != points.shape[:1]:
        raise InvalidInput(f"X and y have shapes {points.shape} and {labels.shape}; (n, d) and (n,) are allowed")
    for name, value, least in (("steps", steps, 1), ("directions", directions, _BATCHES), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise InvalidInput(f"{name} is {value!r}; a whole number ≥ {least} is allowed")
    for name, number in (("lr", lr), ("init_scale", init_scale)):
        if isinstance(number, bool) or not isinstance(number, Real) or not 0 < number < math.inf:
            raise InvalidInput(f"{name} is {number!r}; a finite number above 0 is allowed")
    zero = np.flatnonzero(~points.any(axis=1))
    if len(zero):
        raise InvalidInput(f"X row {zero[0]} is all zeros; non-zero rows are allowed")
    if not labels.any():
        raise InvalidInput("all labels are zero; a label that is not is needed, or nothing moves")
    H = relu_gram(points)
    GramSpectrum.of(H).check_step(lr, steps, "lr")
    stage = _Stage(points, labels, float(lr), int(steps), H)
    found = [stage.drift(np.random.default_rng([seed, batch]), directions // _BATCHES) for batch in range(_BATCHES)]
    moved, shifts, changes = (np.array(values) / init_scale for values in zip(*found, strict=True))
    errors = [values.std(axis=0, ddof=1) / math.sqrt(_BATCHES) for values in (moved, shifts, changes)]
    return FirstOrderDrift(
        displacement=float(moved.mean()),
        displacement_error=float(errors[0]),
        residual=shifts.mean(axis=0),
        residual_error=errors[1],
        gradient_change=changes.mean(axis=0),
        gradient_change_error=errors[2],
        frozen_gradient_change=stage.changed(stage.falls),
    )


class _Stage:
    """One run of the frozen kernel, and what neurons near each hyperplane make of it, at `κ = 1`."""

    def __init__(self, X: np.ndarray, y: np.ndarray, lr: float, steps: int, H: np.ndarray) -> None:
        self.X, self.lr, self.steps, self.H, self.G = X, lr, steps, H, X @ X.T
        # One more than there are steps: the last step's gradient changes to that after it.
        self.pulls = np.empty((steps + 1, len(y)))
        left = y.copy()
        for k in range(steps + 1):
            self.pulls[k] = lr * left
            left = left - lr * (H @ left)
        self.falls = np.diff(self.pulls, axis=0)
        self.coefficients = self.pulls[:steps].sum(axis=0)

    def changed(self, more: np.ndarray) -> np.ndarray:
        """Product of the gradient's change in each step, as with frozen gates, with that for other changes of pulls: (steps,)."""
        return np.asarray(np.sum(self.falls * (more @ self.H), axis=1)) / self.lr**2

    def drift(self, rng: np.random.Generator, directions: int) -> tuple[float, np.ndarray, np.ndarray]:
        """`√m` times the drifts, from one sample of directions.

        Returns
        -------
        float
            Relative, of the displacement.
        (n,) array
            Of the residual.
        (steps,) array
            Of the squared change of the gradient.
        """
        n = len(self.X)
        outputs, energy, changes = np.zeros((self.steps + 1, n)), 0.0, np.zeros(self.steps)
        for j in range(n):
            more, moved, changed = self._near(j, rng, directions)
            outputs += more
            energy += moved
            changes += changed
        # The residual's answer, through the frozen kernel.
        answer, lefts = np.zeros(n), np.zeros((self.steps + 1, n))
        for k in range(self.steps + 1):
            lefts[k] = -self.H @ answer - outputs[k]
            if k < self.steps:
                answer = answer + self.lr * lefts[k]
        frozen = self.H @ self.coefficients
        moved = float((2 * frozen @ answer + energy) / (2 * frozen @ self.coefficients))
        return moved, lefts[-1], 2 * self.changed(self.lr * np.diff(lefts, axis=0)) + changes / self.lr**2

    def _near(self, j: int, rng: np.random.Generator, directions: int) -> tuple[np.ndarray, float, np.ndarray]:
        """What neurons near the hyperplane of point `j` add to outputs after every step, and to the squared displacement at last.

        The third is what they add to `η²` times the squared change of the gradient in every step.
        """
        norm = float(np.linalg.norm(self.X[j]))
        unit = self.X[j] / norm
        w = rng.standard_normal((max(1, directions // 2), self.X.shape[1]))
        w -= np.outer(w @ unit, unit)
        gates = (np.concatenate([w, -w]) @ self.X.T > 0).astype(np.float64)
        gates[:, j] = 0.0
        across, own = (gates * self.G[j]) @ self.pulls.T, self.pulls[:, j] * norm**2
        # In the last of these steps no neuron moves any more.
        reach = float(np.max(np.sum(np.abs(across[:, :-1]) + np.abs(own[:-1]), axis=1))) * (1 + 1e-9)
        width = 2 * reach / (_POINTS - 1)
        start = -reach + width * (np.arange(_POINTS) - rng.random((len(gates), 1)))
        open_at_first = (start > 0).astype(np.float64)
        # Both signs of a, half of the neurons each; the weight of a point; the density on the hyperplane.
        weight = width / (2 * math.sqrt(2 * math.pi) * norm)
        outputs, energy, changes = np.zeros((self.steps + 1, len(self.X))), 0.0, np.zeros(self.steps)
        ones = np.ones(_POINTS)
        for sign in (1.0, -1.0):
            s, linear, felt, felt_frozen = start.copy(), start.copy(), np.zeros_like(start), 0.0
            gate = open_at_first
            begun = opened = gate @ ones
            for k in range(self.steps):
                felt += self.pulls[k, j] * gate
                felt_frozen += float(self.pulls[k, j])
                s += sign * (across[:, k : k + 1] + own[k] * gate)
                linear += sign * (across[:, k : k + 1] + own[k] * open_at_first)
                gap = sign * (np.maximum(s, 0) - np.maximum(start, 0) - open_at_first * (linear - start))
                outputs[k + 1, j] += weight * float(gap.sum(axis=1).mean())
                # What the others feel of this point's pull, beyond a frozen gate.
                beyond = (felt - felt_frozen * open_at_first).sum(axis=1)
                outputs[k + 1] += weight * self.G[j] * (gates * beyond[:, None]).mean(axis=0)
                after = (s > 0).astype(np.float64)
                kept, ended = np.einsum("ij,ij->i", gate, after), after @ ones
                before, then, fall = self.pulls[k, j], self.pulls[k + 1, j], self.falls[k, j]
                # Sums over s of d − d₀ and of d² − d₀²: only how many gates are open matters.
                first = then * ended - before * begun - fall * opened
                second = then**2 * ended - 2 * then * before * kept + before**2 * begun - fall**2 * opened
                changes[k] += weight * float((2 * (across[:, k + 1] - across[:, k]) * first + norm**2 * second).mean())
                gate, begun = after, ended
            others = (gates * self.G[j]) @ self.coefficients
            change = 2 * (felt - felt_frozen * open_at_first) * others[:, None] + (felt**2 - felt_frozen**2 * open_at_first) * norm**2
            energy += weight * float(change.sum(axis=1).mean())
        return outputs, energy, changes

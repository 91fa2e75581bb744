"""One mode of gradient descent, step by step, and of gradient flow, as a differential equation."""

from __future__ import annotations

from typing import Any

import mpmath as mp

from theory.definitions.linear_model import to_the_end
from theory.formula import Case, Values


def descend(lam: float, lr: float, steps: int | None) -> tuple[Any, Any]:
    """What `steps` steps leave of a unit error, and `η` times the sum of what was left before each."""
    step = mp.mpf(lr)
    if steps is None:
        if lam == 0:
            # The sum grows without bound; the project's convention is the pseudo-inverse, 0.
            return mp.mpf(1), mp.mpf(0)
        state = to_the_end(mp.matrix([[1 - step * lam, 0], [step, 1]]), mp.matrix([0, 0]), mp.matrix([1, 0]))
        return state[0], state[1]
    left, total = mp.mpf(1), mp.mpf(0)
    for _ in range(steps):
        total += step * left
        left -= step * (lam * left)
    return left, total


def residual_filter(case: Case) -> Values:
    """The recursion c ← c − η λ c, run for k steps from c = 1 (by repeated squaring of the step until it stands still, to the end)."""
    return [descend(lam, case["lr"], case["steps"])[0] for lam in case["values"]]


def integral_filter(case: Case) -> Values:
    """The sum Σ_{j<k} η c_j over the run of c ← c − η λ c from c = 1; to the end 0 where λ = 0, by convention."""
    return [descend(lam, case["lr"], case["steps"])[1] for lam in case["values"]]


def flow_residual_filter(case: Case) -> Values:
    """dc/dt = −λ c from c = 1, integrated to time t by Taylor series of high order."""
    return [flow([[lam]], [1], case["time"])[0] for lam in case["values"]]


def flow_integral_filter(case: Case) -> Values:
    """ds/dt = c beside dc/dt = −λ c, from s = 0 and c = 1, integrated to time t by Taylor series of high order."""
    return [_solve([[-mp.mpf(lam), 0], [1, 0]], [1, 0], case["time"])[1] for lam in case["values"]]


def flow(H: Any, start: list[Any], time: float) -> list[Any]:
    """Solution at `time` of `dr/dt = −H r`."""
    return _solve([[-entry for entry in row] for row in H], start, time)


def _solve(A: Any, start: list[Any], time: float) -> list[Any]:
    matrix, state = mp.matrix(A), mp.matrix(start)
    pieces = int(mp.ceil(time * mp.mnorm(matrix))) or 1
    width = mp.mpf(time) / pieces
    for _ in range(pieces):
        # Taylor coefficients from the equation itself: the (j + 1)-th is A times the j-th over j + 1.
        term, order = state, 0
        while mp.mnorm(term) > mp.mpf(10) ** (-mp.mp.dps - 5) * mp.mnorm(state):
            order += 1
            term = matrix * term * (width / order)
            state += term
    return list(state)

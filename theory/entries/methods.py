"""Momentum and decay at 50 digits by their derivations, and the scales of their tolerances."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp

from theory.definitions.cases import eigenvalues
from theory.definitions.linear_model import matrix
from theory.entries import modes, scales
from theory.formula import Case, Chain
from theory.symbolic import heavy_ball as s
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import eta, k, lam


def left(chain: Chain, value: Any, lr: float, steps: int | None, momentum: float) -> Any:
    """`p_k(λ)` by the chain of `heavy_ball.residual`, whose roots may be equal or complex."""
    if value == 0:
        return evaluate(chain.results["zero mode"], {})
    if steps is None:
        return evaluate(chain.results["end"], {})
    mu = mp.mpf(momentum)
    middle = 1 + mu - mp.mpf(lr) * value
    discriminant = middle * middle - 4 * mu
    if discriminant == 0:
        return evaluate(chain.results["double root"], {s.z: middle / 2, k: steps})
    gap = mp.sqrt(discriminant)
    return mp.re(evaluate(chain.results["mode"], {s.z: (middle + gap) / 2, s.w: (middle - gap) / 2, k: steps}))


def moved(chain: Chain, value: Any, lr: float, steps: int | None, momentum: float) -> Any:
    """`(1 − p_k(λ))/λ` by the chain of `heavy_ball.integral`; to the end 0 on a zero mode, by convention."""
    if value == 0:
        if steps is None:
            return mp.mpf(0)
        return evaluate(chain.results["zero mode"], {s.w: mp.mpf(momentum), eta: mp.mpf(lr), k: steps})
    if steps is None:
        return evaluate(chain.results["end"], {lam: mp.mpf(value)})
    return evaluate(chain.results["mode"], {s.left: left(s.residual(), value, lr, steps, momentum), lam: mp.mpf(value)})


def of_stage(case: Case) -> list[dict[Any, Any]]:
    """For each mode of a stage with decay, ascending: values of `λ`, `β`, `p` and `ω`."""
    values, _ = modes.decomposed(matrix(case["features"]))
    return [on_mode(value, case["decay"], case["lr"], case["steps"], case["momentum"]) for value in values]


def on_mode(value: Any, decay: float, lr: float, steps: int | None, momentum: float) -> dict[Any, Any]:
    """Values of `λ`, `β`, `p = p_k(λ + β)` and `ω = p_k(β)` on one mode."""
    beta = mp.mpf(decay)
    return {
        lam: mp.mpf(value),
        s.beta: beta,
        s.left: left(s.residual(), value + beta, lr, steps, momentum),
        s.alone: left(s.residual(), beta, lr, steps, momentum),
    }


# Scales ---------------------------------------------------------------------------------------------------------------------------


def start_of_motion(lr: float, steps: int, momentum: float) -> float:
    """`η(k − μ(1 − μ^k)/(1 − μ))/(1 − μ)`: how far `k` steps, at least one, move a mode that does not resist."""
    return lr / (1 - momentum) * (max(steps, 1) - momentum * (1 - momentum ** max(steps, 1)) / (1 - momentum))


def left_scale(value: float, lr: float, steps: int | None, momentum: float) -> float:
    """`ϱ^k (1 + k)(1 + ηλ min(k, 1/gap))`, `ϱ` the larger root in size: what an eps of error in `ηλ` does to a double root, or a gap."""
    if steps is None:
        return 1.0
    x = lr * value
    discriminant = (1 + momentum - x) ** 2 - 4 * momentum
    gap = math.sqrt(abs(discriminant))
    size = (abs(1 + momentum - x) + gap) / 2 if discriminant > 0 else math.sqrt(momentum)
    bend = min(steps, 1 / gap) if gap else steps
    return size**steps * (1 + steps) * (1 + x * bend)


def moved_scale(value: float, lr: float, steps: int | None, momentum: float) -> float:
    """That of `(1 − p)/λ`: the whole value for a mode that has hardly moved."""
    if steps is None:
        return 1 / value if value else 1.0
    first = start_of_motion(lr, steps, momentum)
    if steps * lr * value < max(1 - momentum, 1 / max(steps, 1)):
        return first
    return (1 + left_scale(value, lr, steps, momentum)) / value


def overshoot(momentum: float) -> float:
    """`1 + 2/(1 − μ)`: a bound on `1 + |p_k|` at any stable step."""
    return 1 + 2 / (1 - momentum)


def reach(case: Case) -> float:
    """Largest coefficient of a unit label over the spectrum of a stage with decay."""
    smallest = eigenvalues(case["features"])[0] + case["decay"]
    if case["steps"] is None:
        return 1 / smallest
    return min(start_of_motion(case["lr"], case["steps"], case["momentum"]), overshoot(case["momentum"]) / smallest)


def condition(case: Case) -> float:
    """`(1 + (λ_max + β) φ)(1 + 2/(1 − μ))`."""
    return (1 + (eigenvalues(case["features"])[-1] + case["decay"]) * reach(case)) * overshoot(case["momentum"])


def size(case: Case) -> float:
    """Norms of labels and of what is carried."""
    return scales.norm(case["labels"]) + scales.norm(case["carried"])

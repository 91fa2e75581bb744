"""A small two-layer ReLU net trained literally: `u(x) = m^{-1/2} Σ_r a_r max(w_r·x, 0)`, gradient descent on `½‖u − y‖²`, gates and all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mpmath as mp

from theory.definitions.gaussian import dot
from theory.formula import Case, Values

Weights = list[list[Any]]


def _outputs(W: Weights, signs: Sequence[int], X: Sequence[Sequence[float]]) -> list[Any]:
    root = mp.sqrt(len(W))
    return [mp.fsum(a * max(dot(w, x), mp.mpf(0)) for w, a in zip(W, signs, strict=True)) / root for x in X]


def _trained(W: Weights, signs: Sequence[int], X: Sequence[Sequence[float]], y: Sequence[Any], lr: float, steps: int) -> Weights:
    root = mp.sqrt(len(W))
    for _ in range(steps):
        left = [u - label for u, label in zip(_outputs(W, signs, X), y, strict=True)]
        moved = []
        for w, a in zip(W, signs, strict=True):
            pull = [mp.mpf(lr) * a / root * r if dot(w, x) > 0 else mp.mpf(0) for r, x in zip(left, X, strict=True)]
            moved.append([v - mp.fsum(p * x[k] for p, x in zip(pull, X, strict=True)) for k, v in enumerate(w)])
        W = moved
    return W


def _distance(A: Weights, B: Weights) -> Any:
    return mp.sqrt(mp.fsum((a - b) ** 2 for u, v in zip(A, B, strict=True) for a, b in zip(u, v, strict=True)))


def _run(case: Case, kappa: Any) -> dict[str, Any]:
    """Both stages at scale `kappa`, labels times it as well, and the target from scratch: the numbers of a transfer by name."""
    signs = case["signs"]
    start = [[kappa * mp.mpf(v) for v in w] for w in case["weights"]]
    y_P, y_Q = ([kappa * mp.mpf(row[0]) for row in case[f"{name}_labels"]] for name in ("source", "target"))
    X_P, X_Q = case["source_inputs"], case["target_inputs"]
    pretrained = _trained(start, signs, X_P, y_P, case["source_lr"], case["source_steps"])
    tuned = _trained(pretrained, signs, X_Q, y_Q, case["target_lr"], case["target_steps"])
    scratch = _trained(start, signs, X_Q, y_Q, case["target_lr"], case["target_steps"])
    moved, moved_scratch = _distance(tuned, pretrained), _distance(scratch, start)
    return {
        "gradient_energy": _energy(pretrained, signs, X_Q, y_Q),
        "displacement": moved,
        "displacement_scratch": moved_scratch,
        "measured_gain": 1 - moved / moved_scratch,
        "target_loss": _energy(tuned, signs, X_Q, y_Q) / 2,
        "source_loss": _energy(tuned, signs, X_P, y_P) / 2,
    }


def _energy(W: Weights, signs: Sequence[int], X: Sequence[Sequence[float]], y: Sequence[Any]) -> Any:
    return mp.fsum((u - label) ** 2 for u, label in zip(_outputs(W, signs, X), y, strict=True))


def at_unit_scale(case: Case) -> dict[str, Any]:
    """The run at scale 1."""
    return _run(case, mp.mpf(1))


def at_scale(case: Case) -> Values:
    """Numbers of a transfer of a small ReLU net from its weights times κ with labels times κ: gradient steps on both stages, every gate
    decided anew at every step.
    """
    return list(_run(case, mp.mpf(case["kappa"])).values())


def nothing_transfers(case: Case) -> Values:
    """Gradient energy after pretraining and measured gain of a small antisymmetric ReLU net, both stages trained literally."""
    run = _run(case, mp.mpf(1))
    return [run["gradient_energy"], run["measured_gain"]]

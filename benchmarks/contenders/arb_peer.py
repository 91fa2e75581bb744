"""Arb's own solver and eigenvalues, through python-flint: what they prove of the same transfer, in processor seconds."""

from __future__ import annotations

import time
from typing import Any

import flint
import numpy as np
from serve import Work, serve, timed


def ball_gram(X: np.ndarray, Z: np.ndarray) -> flint.arb_mat:
    """`x·z (π − θ)/(2π)` in balls at the precision in force."""
    A = flint.arb_mat([[flint.arb(v) for v in row] for row in X.tolist()])
    B = flint.arb_mat([[flint.arb(v) for v in row] for row in Z.tolist()])
    squares = [[sum((flint.arb(v) ** 2 for v in row), flint.arb(0)) for row in S.tolist()] for S in (X, Z)]
    inner = A * B.transpose()
    rows = []
    for i in range(len(X)):
        row = []
        for j in range(len(Z)):
            dot = inner[i, j]
            beyond = flint.arb.atan2((squares[0][i] * squares[1][j] - dot * dot).nonnegative_part().sqrt(), -dot)
            row.append(dot * beyond / (2 * flint.arb.pi()))
        rows.append(row)
    return flint.arb_mat(rows)


def gain(data: dict[str, np.ndarray], radius: float) -> flint.arb:
    """The gain alone, by `arb_mat.solve` at the first precision, by doubling, that gives the radius."""
    X_P, X_Q = data["X_P"], data["X_Q"]
    precision = 64
    while True:
        flint.ctx.prec = precision
        try:
            labels = [flint.arb_mat([[flint.arb(v)] for v in data[key].tolist()]) for key in ("y_P", "y_Q")]
            H_Q = ball_gram(X_Q, X_Q)
            left = labels[1] - ball_gram(X_Q, X_P) * ball_gram(X_P, X_P).solve(labels[0])
            energies = [(v.transpose() * H_Q.solve(v))[0, 0] for v in (left, labels[1])]
            value = 1 - (energies[0] / energies[1]).sqrt()
            if float(value.rad()) <= radius:
                return value
        except ZeroDivisionError:
            pass
        precision *= 2


def eigenvalues(data: dict[str, np.ndarray]) -> list[Any]:
    """All eigenvalues of `H_Q`, at the first precision, by doubling, at which `acb_mat.eig` isolates them."""
    precision = 64
    while True:
        flint.ctx.prec = precision
        try:
            return list(flint.acb_mat(ball_gram(data["X_Q"], data["X_Q"])).eig())
        except ValueError:
            precision *= 2


def certify(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    if setting["variant"] == "gain":
        return Work(
            measure=lambda: timed(lambda: gain(data, setting["radius"]), clock=time.process_time),
            check=lambda: {"gain": np.array([float(gain(data, setting["radius"]).mid())])},
        )
    # The better part of a minute: the run that is checked is the one that is timed.
    seconds: list[float] = []

    def check() -> dict[str, Any]:
        found: list[Any] = []
        seconds.append(timed(lambda: found.extend(eigenvalues(data)), clock=time.process_time))
        return {"lambda_min": np.array([min(float(value.real.mid()) for value in found)])}

    return Work(measure=lambda: seconds[-1], check=check)


if __name__ == "__main__":
    serve({"certify": certify}, lambda: {"python-flint": flint.__version__})

"""Certified gain and extreme eigenvalues of 200 + 200 points against Arb's own solver and eigenvalues, in one run.

d = 15, gain to a radius of 1e-12. `ptoq.certify` proves the gain, the extreme eigenvalues of both Gram matrices and the rest of its
certificate. The first peer proves the gain alone: the same Gram matrices in balls, `arb_mat.solve` at the least precision, by doubling,
that gives the radius. The second proves the eigenvalues of one Gram matrix: `acb_mat.eig` at the least precision that isolates them.
Processor seconds, medians over rounds.

    python benchmarks/certify.py [--points 200] [--rounds 3] [--eig] [--out benchmarks/results/certify.json]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import flint
import numpy as np

import ptoq
from sim.records import provenance, write_json

D, RADIUS = 15, 1e-12


def problem(points: int) -> ptoq.TransferProblem:
    rng = np.random.default_rng(0)
    X_P, X_Q = rng.standard_normal((points, D)), rng.standard_normal((points, D))
    return ptoq.TransferProblem(source=(X_P, np.sin(X_P[:, 0])), target=(X_Q, np.sin(X_Q[:, 0] + 0.3 * X_Q[:, 1])))


def gram(X: np.ndarray, Z: np.ndarray) -> flint.arb_mat:
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


def arb_gain(task: ptoq.TransferProblem) -> float:
    """Radius of the gain's ball at the first precision that is enough."""
    (X_P, y_P), (X_Q, y_Q) = task.source, task.target
    precision = 64
    while True:
        flint.ctx.prec = precision
        try:
            labels = [flint.arb_mat([[flint.arb(v)] for v in y.tolist()]) for y in (y_P, y_Q)]
            H_Q = gram(X_Q, X_Q)
            left = labels[1] - gram(X_Q, X_P) * gram(X_P, X_P).solve(labels[0])
            energies = [(v.transpose() * H_Q.solve(v))[0, 0] for v in (left, labels[1])]
            gain = 1 - (energies[0] / energies[1]).sqrt()
            if float(gain.rad()) <= RADIUS:
                return float(gain.rad())
        except ZeroDivisionError:
            pass
        precision *= 2


def arb_eigenvalues(task: ptoq.TransferProblem) -> int:
    """Number of eigenvalues of `H_Q`, each in a ball of its own."""
    X_Q = task.target[0]
    precision = 64
    while True:
        flint.ctx.prec = precision
        try:
            return len(flint.acb_mat(gram(X_Q, X_Q)).eig())
        except ValueError:
            precision *= 2


def timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eig", action="store_true", help="with Arb's eigenvalues, once; the better part of a minute at 200 points")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/certify.json"))
    options = parser.parse_args()
    task = problem(options.points)
    certificate = ptoq.certify(task, radius=RADIUS)
    assert certificate.gain is not None and float(certificate.gain.rad()) <= RADIUS
    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(timed(lambda: ptoq.certify(task, radius=RADIUS)))
        theirs.append(timed(lambda: arb_gain(task)))
    ratios = [t / o for o, t in zip(ours, theirs, strict=True)]
    rows = {
        "ptoq.certify": {"seconds": {"median": statistics.median(ours), "min": min(ours), "max": max(ours)}},
        "arb_mat.solve, gain alone": {
            "seconds": {"median": statistics.median(theirs), "min": min(theirs), "max": max(theirs)},
            "times_slower_than_ptoq": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        },
    }
    if options.eig:
        seconds = timed(lambda: arb_eigenvalues(task))
        rows["acb_mat.eig, one matrix"] = {
            "seconds": {"median": seconds, "min": seconds, "max": seconds},
            "times_slower_than_ptoq": {"median": seconds / statistics.median(ours)},
        }
    for name, row in rows.items():
        ratio = row.get("times_slower_than_ptoq", {}).get("median")
        print(f"{name:28s} {row['seconds']['median']:8.2f} s" + (f"  × {ratio:.2f}" if ratio else ""))
    setting = {"points": options.points, "d": D, "radius": RADIUS, "rounds": options.rounds, "python-flint": flint.__version__}
    write_json(options.out, {"benchmark": "certify", "setting": setting, "results": rows, "provenance": provenance()})


if __name__ == "__main__":
    main()

"""One net against what its own kernel, measured along the run, implies of it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from sim.condensed import measured_run
from theory.arrays import to_numpy
from theory.bounds.transfer import ErrorBounds, KernelErrors, PerturbedTransfer
from theory.definitions import network
from theory.numeric.gram import relu_gram
from theory.predict import predict
from theory.problem import Schedule, TransferProblem

KINDS = {"norm": "from the kernel's norms", "residual": "from the kernel along the residuals"}
"""How the kernel is measured."""

BANDS = ("displacement", "gradient_energy", "target_loss", "source_loss")
"""Numbers that lie in a band, by field of `ErrorBounds`."""

DISTANCES = ("target_outputs", "source_outputs", "test_outputs")
"""Outputs whose distance from the predicted ones is bounded, by field of `ErrorBounds`; those on test points where there are any."""


def measured_bounds(problem: TransferProblem, schedule: Schedule, width: int, seed: int) -> dict[str, Any]:
    """One net trained in both stages: what it did, its kernel's errors of both kinds and what they imply.

    Parameters
    ----------
    problem : TransferProblem with a source and scalar labels
    schedule : Schedule with whole numbers of steps
    width : int, even
    seed : int

    Returns
    -------
    dict of the `BANDS` by name; `DISTANCES`; `farthest` neuron; `apart`, the displacement from that on `H`; `initial`,
    `‖H(W(0)) − H‖` on all points of training; and for each of `KINDS` the `errors`, `bands` and `distances` that it implies.
    """
    prepared = PerturbedTransfer(problem, schedule)
    W, a = network.initial(width, problem.target[0].shape[1], 1.0, seed)
    net, both, counts = measured_run(prepared, W, a)
    assert problem.source is not None
    outputs = {"target": net.target_outputs, "source": net.source_outputs, "test": net.test_outputs}
    left_Q, left_P = net.target_outputs - problem.target[1], net.source_outputs - problem.source[1]
    X = np.concatenate([problem.source[0], problem.target[0]])
    at_start = counts[: len(X), : len(X)] / width * (X @ X.T) - relu_gram(X)
    return {
        "displacement": net.displacement,
        "gradient_energy": net.gradient_energy,
        "target_loss": float(left_Q @ left_Q) / 2,
        "source_loss": float(left_P @ left_P) / 2,
        "farthest": net.farthest,
        "apart": abs(net.displacement - prepared.decay_Q.ideal),
        "initial": float(np.linalg.norm(at_start, ord=2)),
        "distances": _distances(problem, prepared.schedule, outputs),
        "kinds": {kind: _implied(errors, prepared.bounds(errors)) for kind, errors in zip(KINDS, both, strict=True)},
    }


def _distances(problem: TransferProblem, schedule: Schedule, outputs: dict[str, np.ndarray | None]) -> dict[str, float]:
    predicted = predict(problem, schedule)
    found = {}
    for name, u in outputs.items():
        theirs = getattr(predicted, f"{name}_outputs")
        if u is not None and theirs is not None:
            found[f"{name}_outputs"] = float(np.linalg.norm(u - to_numpy(theirs)))
    return found


def _implied(errors: KernelErrors, bounds: ErrorBounds) -> dict[str, Any]:
    return {
        "errors": {name: value for name, value in asdict(errors).items() if math.isfinite(value)},
        "bands": bands(bounds),
        "distances": {name: value for name in DISTANCES if math.isfinite(value := getattr(bounds, name))},
    }


def bands(bounds: ErrorBounds) -> dict[str, list[float]]:
    """Ends of each of `BANDS`."""
    return {name: [getattr(bounds, name).low, getattr(bounds, name).high] for name in BANDS}


def half(band: list[float]) -> float:
    """Half the width of a band."""
    return (band[1] - band[0]) / 2


def inside(value: float, band: list[float]) -> bool:
    """Whether a measured number is in its band."""
    # Losses near zero are squares of rounding errors.
    return band[0] - 1e-25 <= value <= band[1] + 1e-25


def outside(net: dict[str, Any], kind: str) -> bool:
    """Whether anything that a net did is outside what follows from its kernel."""
    implied = net["kinds"][kind]
    if not all(inside(net[name], band) for name, band in implied["bands"].items()):
        return True
    # Outputs of a net trained to its end agree to rounding.
    return any(net["distances"][name] > bound + 1e-12 for name, bound in implied["distances"].items())

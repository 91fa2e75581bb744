"""Entries of the drift of a trained ReLU net from its frozen kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from theory.definitions import drift as definition
from theory.formula import Case, Chain, Domain, Entry, Evidence, Tolerance, Values
from theory.numeric import drift
from theory.symbolic import drift as chains
from theory.symbolic.algebra import evaluate
from theory.symbolic.notation import kappa, lam, m

_SOURCE = "Three-way split: net − infinite width = (linearised at W(0) − infinite width) + (net − linearised), the second gap"


def _arguments(case: Case) -> tuple[np.ndarray, np.ndarray, float]:
    return np.array(case["norms"]), np.array(case["labels"]), case["lr"]


def _call_run(twin: Callable[..., Any], case: Case) -> Values:
    found = twin(*_arguments(case), case["steps"], width=case["width"], init_scale=case["init_scale"])
    return [*found.outputs, found.displacement]


def _closed_run(chain: Chain, case: Case) -> Values:
    outputs, squared = [], mp.mpf(0)
    for norm, label in zip(case["norms"], case["labels"], strict=True):
        given = {chains.norm: mp.mpf(norm), m: mp.mpf(case["width"]), kappa: mp.mpf(case["init_scale"])}
        unit, moved, output = given[kappa] * given[chains.norm], mp.mpf(0), mp.mpf(0)
        for _ in range(case["steps"]):
            before = moved
            moved += mp.mpf(case["lr"]) * given[chains.norm] ** 2 * (abs(label) - output) / (mp.sqrt(given[m]) * unit)
            output = evaluate(chain.results["output"], {**given, chains.moved: moved})
            squared += evaluate(chain.results["switched"], {**given, chains.before: before, chains.after: moved})
        squared += evaluate(chain.results["active"], {**given, chains.moved: moved})
        outputs.append(mp.sign(label) * output)
    return [*outputs, mp.sqrt(squared)]


def _run_scale(case: Case) -> list[float]:
    # Outputs and moves carry an eps of their own size at each step; ‖W‖ of a frozen kernel is √2 |y|/‖x‖.
    steps = case["steps"] + 1
    moved = float(np.linalg.norm(np.array(case["labels"]) / np.array(case["norms"]))) * 2**0.5
    return [*(abs(y) * steps for y in case["labels"]), moved * steps]


def _call_leading(twin: Callable[..., Any], case: Case) -> Values:
    return [twin(*_arguments(case), width=case["width"], init_scale=case["init_scale"])]


def _closed_leading(chain: Chain, case: Case) -> Values:
    total, weight = mp.mpf(0), mp.mpf(0)
    for norm, label in zip(case["norms"], case["labels"], strict=True):
        rate = mp.mpf(norm) ** 2 / 2
        given = {
            chains.norm: mp.mpf(norm),
            chains.label: abs(mp.mpf(label)),
            chains.learnt: 1 - mp.mpf(case["lr"]) * rate,
            kappa: mp.mpf(case["init_scale"]),
            m: mp.mpf(case["width"]),
            lam: rate,
        }
        share = evaluate(chain.results["weight"], given)
        total += share * evaluate(chain.results["drift"], given)
        weight += share
    return [total / weight]


ENTRIES = (
    Entry(
        name="orthogonal_run",
        title="A ReLU net trained on orthogonal inputs",
        statement="With ε the way of an active neuron over κ‖x‖: u = ½κ‖x‖√m (φ(0) − φ(ε) + ε(½ + Q(ε))), so the kernel falls to "
        "half of ‖x‖²/2; ‖ΔW‖² = ½mκ² Σ_x [ε²(½ + Q(ε)) + Σ_j ε_j²(Q(ε_{j−1}) − Q(ε_j))]: the mean over neurons, at any κ√m.",
        derivation=chains.run,
        closed_form=_closed_run,
        twin=drift.orthogonal_run,
        call=_call_run,
        definition=definition.run,
        tolerance=Tolerance(
            kind="dtype", multiple=16, scale=_run_scale, scale_text="|y| (k + 1); √(Σ y²/‖x‖²) (k + 1) for the displacement"
        ),
        domain=Domain(description="orthogonal inputs, u(0) = 0, 0 < η ≤ 1/λ_max", draw=definition.draw, cases=3),
        evidence=Evidence(kind="monte-carlo", detail="displacement of trained nets over their frozen kernel's, by its z"),
        source=_SOURCE,
    ),
    Entry(
        name="relative_drift",
        title="Drift of the displacement, orthogonal inputs",
        statement="D/D_frozen − 1 = S(1 − ηλ)/√(2π) · |y|/(κ‖x‖√m) + O(1/(κ²m)) to the end, S(q) = 1 − 2q/(1 + q) + q²/(1 + q + q²): "
        "S = 1/3 for gradient flow and 1 at η = 1/λ; inputs weighted by y²/‖x‖².",
        derivation=chains.leading,
        closed_form=_closed_leading,
        twin=drift.relative_drift,
        call=_call_leading,
        definition=definition.relative_drift,
        tolerance=Tolerance(kind="exact", multiple=32),
        domain=Domain(description="orthogonal inputs, u(0) = 0, 0 < η ≤ 1/λ_max", draw=definition.draw, cases=2),
        evidence=Evidence(kind="rate", detail="drift of the displacement of trained nets against width, −1/2"),
        source=_SOURCE,
    ),
)
"""In the order they are shown and checked."""

"""Enclosures behind certified numbers: what proves them, each held against the number at 60 digits."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import mpmath as mp
import numpy as np
from flint import arb, arb_mat

from theory.certified import eigenvalues, filters, inverse
from theory.certified.balls import Near, column_matrix, working_precision
from theory.definitions import cases
from theory.formula import Bound, Case, Domain, Evidence
from theory.symbolic import enclosures

Pairs = list[tuple[float, float]]

_BITS = 128
_DIGITS = 60
_RESOLVED = mp.mpf(10) ** -50
"""What the 60 digits may be wrong by, as a share: the width that an exact ball is granted."""

_ALWAYS = Evidence(kind="exact", detail="every case is computed at 60 digits by another algorithm; approximations are spoiled on purpose")


def _draw(rng: Random, index: int) -> Case:
    """A Gram matrix of dyadic numbers, exact; an error of an approximate inverse, along the mode where it does most harm or at random."""
    n = 1 + index % 4
    F = cases.rows(rng, n, n)
    # Something on the diagonal: regular whatever is drawn.
    H = [[value + (i == j) / 16 for j, value in enumerate(row)] for i, row in enumerate(cases.gram_of(F))]
    return {
        "H": H,
        "b": [cases.dyadic(rng) for _ in range(n)],
        "spoiled": rng.choice((0.0, 1e-12, 1e-3, 0.1)),
        "along": rng.choice(("smallest mode", "random")),
        "direction": [cases.dyadic(rng) for _ in range(n)],
    }


def _draw_steps(rng: Random, index: int) -> Case:
    case = _draw(rng, index)
    top = float(np.linalg.eigvalsh(np.array(case["H"]))[-1])
    spread = rng.choice((0.0, 1e-6, 1e-3))
    return {**case, "steps": (0, 1, 2, 3, 7, 16)[index % 6], "lr": rng.uniform(0.1, 1.9) / top / (1 + spread), "spread": spread}


def _mp(x: arb) -> Any:
    """The exact midpoint of a ball as an mpmath number."""
    mantissa, power = x.mid().man_exp()
    return mp.ldexp(mp.mpf(int(mantissa)), int(power))


def _inside(ball: arb, value: Any) -> Pairs:
    """How far `value` is from both ends of `ball`, against its width."""
    low, high = _mp(ball.lower()), _mp(ball.upper())
    room = high - low + _RESOLVED * (1 + abs(value))
    return [(float((value - low) / room), 1.0), (float((high - value) / room), 1.0)]


def _missed() -> Pairs:
    return [(float("inf"), 1.0)]


def _spoiled(case: Case) -> inverse.Inverse:
    """An inverse whose approximation is off by a share of `1/λ_min`."""
    H = arb_mat(case["H"])
    good = inverse.Inverse.of(H)
    assert good is not None
    v = np.linalg.eigh(np.array(case["H"]))[1][:, 0] if case["along"] == "smallest mode" else np.array(case["direction"])
    v = v / np.linalg.norm(v)
    error = case["spoiled"] / float(good.smallest) * np.outer(v, v)
    return inverse.Inverse(H, (good.approximate + arb_mat(error.tolist())).mid(), good.smallest)


def _solution(case: Case) -> tuple[Any, Any]:
    H, b = mp.matrix(case["H"]), mp.matrix(case["b"])
    return b, mp.lu_solve(H, b)


def _energy(twin: Callable[..., arb], case: Case) -> Pairs:
    """`bᵀA⁻¹b` by a plain solve at 60 digits, between the ends of the ball that an inverse spoiled on purpose gives."""
    with working_precision(_BITS), mp.workdps(_DIGITS):
        b, s = _solution(case)
        return _inside(twin(_spoiled(case), column_matrix(np.array(case["b"]))), mp.fdot(b, s))


def _solve(twin: Callable[..., arb_mat], case: Case) -> Pairs:
    """Distance of `A⁻¹b`, by a plain solve at 60 digits, from the midpoints, against the radius."""
    with working_precision(_BITS), mp.workdps(_DIGITS):
        _, s = _solution(case)
        balls = twin(_spoiled(case), column_matrix(np.array(case["b"]))).entries()
        distance = mp.norm(mp.matrix([value - _mp(ball) for value, ball in zip(s, balls, strict=True)]))
        radius = max(_mp(ball.rad()) for ball in balls) + _RESOLVED * mp.norm(s)
        return [(float(distance / radius), 1.0)]


def _smallest(twin: Callable[..., inverse.Inverse | None], case: Case) -> Pairs:
    """`λ_min` by mpmath's eigenvalues at 60 digits, between the ends of the ball of the inverse of a matrix of balls round `H`."""
    with working_precision(_BITS), mp.workdps(_DIGITS):
        truth = min(mp.eigsy(mp.matrix(case["H"]), eigvals_only=True))
        # Every matrix of the balls must be covered: the drawn one is at the end of its balls, all entries shifted alike on the diagonal.
        shift = arb(case["spoiled"] / 16) * float(truth)
        n = len(case["H"])
        H = arb_mat([[arb(case["H"][i][j]) + (shift + arb(0, shift) if i == j else 0) for j in range(n)] for i in range(n)])
        found = twin(H)
        return _missed() if found is None else _inside(found.smallest, truth)


def _largest(twin: Callable[..., arb | None], case: Case) -> Pairs:
    """`λ_max` by mpmath's eigenvalues at 60 digits, between the ends of the ball."""
    with working_precision(_BITS), mp.workdps(_DIGITS):
        truth = max(mp.eigsy(mp.matrix(case["H"]), eigvals_only=True))
        found = twin(arb_mat(case["H"]))
        return _missed() if found is None else _inside(found, truth)


def _squarings(twin: Callable[..., tuple[Near, Near]], case: Case) -> Pairs:
    """Distances of `q_k y` and `φ_k y`, by literal steps at 60 digits with a step size at the end of its ball, from the midpoints."""
    with working_precision(_BITS), mp.workdps(_DIGITS):
        lr, spread, H = case["lr"], case["spread"], mp.matrix(case["H"])
        eta = mp.mpf(lr) * (1 + mp.mpf(spread))
        ball = arb(lr) + arb(0, arb(lr) * arb(spread))
        found = twin(filters.Squarings.of(arb_mat(case["H"]), ball, case["steps"]), Near.of(column_matrix(np.array(case["b"]))))
        residual = mp.matrix(case["b"])
        total = residual * 0
        for _ in range(case["steps"]):
            total += eta * residual
            residual -= eta * (H * residual)
        pairs = []
        for near, truth in zip(found, (residual, total), strict=True):
            distance = mp.norm(mp.matrix([value - _mp(mid) for value, mid in zip(truth, near.mid.entries(), strict=True)]))
            pairs.append((float(distance), float(near.error) + float(_RESOLVED) * len(case["b"])))
        return pairs


_REGULAR = "A symmetric positive definite, any approximation R of its inverse, any b"

BOUNDS = (
    Bound(
        name="energy_enclosure",
        title="A quadratic form in the inverse, from an approximate solution",
        statement="For x any vector: 0 ≤ bᵀA⁻¹b − (2bᵀx − xᵀAx) ≤ ‖b − Ax‖²/λ_min(A). The error of x enters squared.",
        derivation=enclosures.energy,
        twin=inverse.Inverse.energy,
        pairs=_energy,
        domain=Domain(description=_REGULAR, draw=_draw, cases=24),
        evidence=_ALWAYS,
        source="the principle of least energy",
    ),
    Bound(
        name="solution_enclosure",
        title="The distance of an approximate solution",
        statement="For x any vector: ‖A⁻¹b − x‖ ≤ ‖b − Ax‖/λ_min(A).",
        derivation=enclosures.solve,
        twin=inverse.Inverse.solve,
        pairs=_solve,
        domain=Domain(description=_REGULAR, draw=_draw, cases=24),
        evidence=_ALWAYS,
        source="Rump 2010 (Acta Numerica 19), section 10",
    ),
    Bound(
        name="inverse_enclosure",
        title="The least eigenvalue, from an approximate inverse",
        statement="For R any matrix with ‖I − RA‖ = ε < 1: A is regular, ‖A⁻¹ − R‖ ≤ ε‖R‖/(1 − ε), and 1/λ_min(A) is within that of the "
        "largest eigenvalue of the symmetric part of R.",
        derivation=enclosures.inverse,
        twin=inverse.Inverse.of,
        pairs=_smallest,
        domain=Domain(description="a ball round a symmetric positive definite matrix", draw=_draw, cases=24),
        evidence=_ALWAYS,
        source="Rump 2010 (Acta Numerica 19), section 10; Weyl's inequality",
    ),
    Bound(
        name="largest_eigenvalue_enclosure",
        title="The largest eigenvalue from both sides",
        statement="vᵀMv/vᵀv ≤ λ_max(M) for every v; and λ_max(M) < s if Vᵀ(sI − M)V for some V, scaled to unit diagonal, is I + F with "
        "|F|t < t for some t > 0.",
        derivation=enclosures.largest,
        twin=eigenvalues.largest_eigenvalue,
        pairs=_largest,
        domain=Domain(description="M symmetric with a positive eigenvalue", draw=_draw, cases=24),
        evidence=_ALWAYS,
        source="Rayleigh and Ritz; Ostrowski for the criterion of H-matrices; Collatz and Wielandt",
    ),
    Bound(
        name="squaring_error",
        title="Powers by squaring, with the norm of the error",
        statement="If ‖Y − P‖ ≤ e and ‖P‖ ≤ 1 then ‖Y² − P²‖ ≤ e(2 + e): so (I − ηH)^(2^j) is known within a multiple of 2^j, and q_k y "
        "and φ_k y over the binary digits of k.",
        derivation=enclosures.squaring,
        twin=filters.Squarings.apply,
        pairs=_squarings,
        domain=Domain(description="H positive semi-definite, a ball of η with ηλ_max ≤ 2, k = 0, 1, 2, …", draw=_draw_steps, cases=24),
        evidence=_ALWAYS,
        source="the triangle inequality",
    ),
)
"""In the order they are used."""

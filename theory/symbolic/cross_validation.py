"""Cross-validation without refits: leave-one-out, its generalised form, and what becomes of both at the end of training."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic import filters
from theory.symbolic.notation import at, between, c, k, lam, line

# One weight: a feature f with its label, a further feature z, a penalty.
feature, further, label, w = sp.symbols("f z y w", real=True)
beta = sp.Symbol("beta", positive=True)
# Prediction without the point, what the other labels add to the fit at it, and the weight of its own label there.
predicted, others = sp.symbols("u a", real=True)
own = sp.Symbol("S_ii", positive=True)
left_out = sp.Symbol("u_(-i)", real=True)

# Two modes at one point: entries of their eigenvectors, coefficients of the labels, eigenvalues.
v_1, v_2, c_1, c_2 = sp.symbols("v_1 v_2 c_1 c_2", positive=True)
lam_1, lam_2 = sp.symbols("lambda_1 lambda_2", positive=True)
q_1, q_2 = sp.symbols("q_1 q_2", positive=True)
ratio = sp.Symbol("r", positive=True)

gamma, omega, free, leverage = sp.symbols("gamma omega p P_ii", positive=True)
n, energy, trace = sp.symbols("n E T", positive=True)

RANGES = {
    **dict.fromkeys((feature, further, label, w, others), between(-2, 2)),
    **dict.fromkeys((v_1, v_2, c_1, c_2, lam_1, lam_2, q_1, q_2, n, energy, trace), between(Fraction(1, 5), 2)),
    beta: between(Fraction(1, 10), 1),
    own: between(Fraction(1, 10), Fraction(9, 10)),
    ratio: between(Fraction(1, 10), Fraction(9, 10)),
    **filters.SHRINK_RANGE,
}

_ROTATION = sp.ImmutableMatrix([[1, 1], [1, -1]]) / sp.sqrt(2)
"""The discrete Fourier basis of two points: rotated by it, all points have equal leverage."""


def _ridge(value: sp.Expr) -> sp.Expr:
    """What ridge regression leaves of a mode."""
    return beta / (value + beta)


@cache
def leave_one_out() -> Chain:
    """A point whose label is what the others predict changes nothing; solved for that prediction; penalty to zero."""
    fitted = feature * label / (feature**2 + beta)
    objective = ((feature * w - label) ** 2 + beta * w**2 + (further * w - further * fitted) ** 2) / 2
    residual = c_1 * v_1 * _ridge(lam_1) + c_2 * v_2 * _ridge(lam_2)
    weight = v_1**2 * _ridge(lam_1) + v_2**2 * _ridge(lam_2)
    with_zero_mode = (residual / weight).subs(lam_1, 0)
    return Chain(
        title="Leave-one-out errors",
        steps=(
            *line(
                at(sp.Derivative(objective, w), w, fitted),
                (
                    "ridge fit without a point z: with z added, its label its own prediction, the gradient there is still zero",
                    sp.Integer(0),
                    "evaluate",
                ),
            ),
            *line(
                others + own * left_out - left_out,
                ("so that prediction u = a + S u, with S the point's own weight and a what the others add: u = a/(1 − S)", sp.Integer(0)),
            ),
            *line(label - left_out, ("label less prediction: the residual over 1 − S", (label - (others + own * label)) / (1 - own))),
            *line(
                sp.Limit(residual / weight, beta, 0, "+"),
                (
                    "on modes 1 − S is Σ v²β/(λ + β); for a vanishing penalty",
                    (c_1 * v_1 / lam_1 + c_2 * v_2 / lam_2) / (v_1**2 / lam_1 + v_2**2 / lam_2),
                    "evaluate",
                ),
                ("γ = (H⁻¹y)ᵢ, ω = (H⁻¹)ᵢᵢ", gamma / omega),
            ),
            *line(
                sp.Limit(with_zero_mode, beta, 0, "+"),
                ("with a zero mode that the point is part of, only that mode counts", c_1 * v_1 / v_1**2, "evaluate"),
                ("p = (Py)ᵢ, P the projection on the null space", free / leverage),
            ),
        ),
        results={"regular": gamma / omega, "zero mode": free / leverage},
        where={
            left_out: others / (1 - own),
            gamma: c_1 * v_1 / lam_1 + c_2 * v_2 / lam_2,
            omega: v_1**2 / lam_1 + v_2**2 / lam_2,
            free: c_1 * v_1,
            leverage: v_1**2,
        },
        ranges=RANGES,
    )


@cache
def generalised() -> Chain:
    """Leave-one-out after a rotation that makes all points alike; its limits, which depend on the way there."""
    rotated = sp.ImmutableMatrix(_ROTATION * sp.diag(q_1, q_2) * _ROTATION.T)
    mean = trace / 2
    residual = sp.ImmutableMatrix(_ROTATION * sp.Matrix([q_1 * c_1, q_2 * c_2]))
    score = n * energy / trace**2
    two = 2 * (q_1**2 * c_1**2 + q_2**2 * c_2**2) / (q_1 + q_2) ** 2

    def limit(value: sp.Expr) -> sp.Expr:
        return two.subs({q_1: _ridge(value), q_2: _ridge(lam_2)}, simultaneous=True)

    return Chain(
        title="Generalised cross-validation",
        steps=(
            *line(
                sp.ImmutableMatrix([rotated[0, 0], rotated[1, 1]]),
                ("rotated by the Fourier basis of two points, each has leverage T/2, T = tr q", sp.ImmutableMatrix([mean, mean])),
            ),
            *line(
                ((residual[0] / mean) ** 2 + (residual[1] / mean) ** 2) / 2,
                ("mean square of the rotated leave-one-out errors, residual over leverage", two),
                ("E = ‖qy‖² = Σ (q c)²", score.subs(n, 2)),
            ),
            *line((energy / n) / (trace / n) ** 2, ("for n points: (‖qy‖²/n)/(tr q/n)²", score)),
            *line(c * filters.factors, ("gradient descent, k steps: what is left of a mode", filters.q * c, "evaluate")),
            *line(filters.factors, ("and its part of tr q", filters.q, "evaluate")),
            *line(at(filters.q, lam, 0), ("zero mode: stays whole", sp.Integer(1), "evaluate")),
            *line(at(c * filters.q, lam, 0), ("and leaves all of c", c, "evaluate")),
            *line(
                sp.Limit(limit(lam_1), beta, 0, "+"),
                (
                    "to the end, as the limit of ridge regression for a vanishing penalty: q in the ratio 1/λ",
                    two.subs({q_1: 1 / lam_1, q_2: 1 / lam_2}, simultaneous=True),
                    "evaluate",
                ),
            ),
            *line(c * sp.Limit(_ridge(lam) / beta, beta, 0, "+"), ("so a mode leaves c/λ of ‖qy‖", c / lam, "evaluate")),
            *line(sp.Limit(_ridge(lam) / beta, beta, 0, "+"), ("and 1/λ of tr q", 1 / lam, "evaluate")),
            *line(
                sp.Limit(limit(sp.Integer(0)), beta, 0, "+"),
                ("with zero modes only they count", 2 * c_1**2, "evaluate"),
            ),
            *line(
                sp.Limit(two.subs({q_1: 1, q_2: filters.shrink**k}, simultaneous=True), k, sp.oo),
                ("gradient descent for ever has another limit: only the slowest mode, n c₁²", 2 * c_1**2, "evaluate"),
            ),
        ),
        results={
            "score": score,
            "residual": filters.q * c,
            "trace": filters.q,
            "zero residual": c,
            "zero trace": sp.Integer(1),
            "end residual": c / lam,
            "end trace": 1 / lam,
        },
        where={energy: q_1**2 * c_1**2 + q_2**2 * c_2**2, trace: q_1 + q_2},
        ranges=RANGES,
    )

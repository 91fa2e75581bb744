"""Quantities that need more than a linear model: a hidden layer, a spectrum without eigenvectors, a net at infinite width."""

from __future__ import annotations

from typing import Any

import mpmath as mp

from theory.definitions import linear_model
from theory.definitions.gaussian import gram_matrix
from theory.definitions.scalar import flow
from theory.formula import Case, Values


def gradient_energy(case: Case) -> Values:
    """Sum of squared numerical derivatives of ½‖u − y‖² by every hidden activation of a net u = X a/√m whose outputs on the target
    are those of a linear model after gradient steps on the source.
    """
    _, pretrained, _ = linear_model.two_stages({**case, "target_steps": 0})
    u = linear_model.matrix(case["target_features"]) * pretrained
    y, signs = linear_model.matrix(case["target_labels"]), case["signs"]
    m = len(signs)
    total = mp.mpf(0)
    weights = [mp.mpf(r + 1) for r in range(m)]
    for output, label in zip(u, y, strict=True):
        # Activations that give this output: any do, these share it out unevenly.
        X = [output * mp.sqrt(m) * a * w / mp.fsum(weights) for a, w in zip(signs, weights, strict=True)]
        total += mp.fsum(_slope(X, r, signs, label) ** 2 for r in range(m))
    return [total]


def _slope(X: list[Any], r: int, signs: list[int], label: Any) -> Any:
    def loss(value: Any) -> Any:
        activations = [value if k == r else x for k, x in enumerate(X)]
        output = mp.fsum(a * x for a, x in zip(signs, activations, strict=True)) / mp.sqrt(len(signs))
        return (output - label) ** 2 / 2

    # The loss is a parabola in one activation: its central difference is exact at any width.
    return (loss(X[r] + 1) - loss(X[r] - 1)) / 2


def flow_residual(case: Case) -> Values:
    """dr/dt = −H r from the labels, integrated to time t by Taylor series of high order, column by column."""
    F, Y = linear_model.matrix(case["features"]), linear_model.matrix(case["labels"])
    H = (F * F.T).tolist()
    columns = [flow(H, list(Y[:, k]), case["time"]) for k in range(Y.cols)]
    return [column[i] for i in range(Y.rows) for column in columns]


def eigenvalues(H: Any) -> list[Any]:
    """Ascending roots of the characteristic polynomial, its coefficients by the Faddeev-LeVerrier recursion."""
    n = H.rows
    coefficients, M = [mp.mpf(1)], mp.zeros(n)
    for k in range(1, n + 1):
        M = H * M + coefficients[-1] * mp.eye(n)
        product = H * M
        coefficients.append(-mp.fsum(product[i, i] for i in range(n)) / k)
    return sorted(mp.re(root) for root in mp.polyroots(coefficients, maxsteps=500, extraprec=300))


def projectors(H: Any) -> list[tuple[Any, Any]]:
    """Distinct eigenvalues with the projectors on their eigenvectors, as polynomials in `H` (Sylvester's formula)."""
    values = eigenvalues(H)
    pairs = []
    for i, value in enumerate(values):
        P = mp.eye(H.rows)
        for k, other in enumerate(values):
            if k != i:
                P = P * (H - other * mp.eye(H.rows)) / (value - other)
        pairs.append((value, P))
    return pairs


def spectral_filter(case: Case) -> Values:
    """Σ_i g_i P_i y with the projectors P_i on eigenvectors as polynomials in H (Sylvester), its eigenvalues as polynomial roots."""
    F, Y = linear_model.matrix(case["features"]), linear_model.matrix(case["labels"])
    total = mp.zeros(Y.rows, Y.cols)
    for g, (_, P) in zip(case["filter"], projectors(F * F.T), strict=True):
        total += mp.mpf(g) * (P * Y)
    return linear_model.flat(total)


def mode_energy(case: Case) -> Values:
    """yᵀ P_i y with the projectors P_i on eigenvectors as polynomials in H (Sylvester), summed over label columns."""
    F, Y = linear_model.matrix(case["features"]), linear_model.matrix(case["labels"])
    return [mp.fsum((Y.T * P * Y)[k, k] for k in range(Y.cols)) for _, P in projectors(F * F.T)]


def transformed_labels(case: Case) -> Values:
    """Outputs on the target of a linear model after gradient steps on the source; its features are a Cholesky factor of the ReLU Gram
    matrix over both sets, every entry of which is a Gaussian expectation by quadrature.
    """
    n = len(case["source_inputs"])
    features = mp.cholesky(gram_matrix([*case["source_inputs"], *case["target_inputs"]]))
    Y = linear_model.matrix(case["source_labels"])
    F_P = features[0:n, :]
    W = linear_model.train(F_P, Y, linear_model.zeros(F_P, Y), case["lr"], case["steps"])
    return linear_model.flat(features[n : features.rows, :] * W)

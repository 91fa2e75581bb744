"""Rank of a Gram matrix whose entries are averages over random weights."""

from __future__ import annotations

import mpmath as mp

from theory.definitions import gates
from theory.definitions.gaussian import gram_matrix
from theory.formula import Case, Values


def of_gram(case: Case) -> Values:
    """Number of eigenvalues of the Gram matrix that are not zero in 50 digits; its entries averaged over the patterns of a neuron's gates
    in the plane, by quadrature of their Gaussian expectation in more dimensions.
    """
    rows = [row for row in case["X"] if any(row)]
    if not rows:
        return [0]
    values = mp.eigsy(gates.mean(rows) if len(rows[0]) == 2 else gram_matrix(rows), eigvals_only=True)
    return [sum(1 for v in values if v > mp.mpf(10) ** (-mp.mp.dps // 2) * max(values))]

"""Which neurons are active where: the patterns of a random neuron's gates with their probabilities, and averages over them.

In two dimensions a pattern holds on arcs of the circle of directions; in three, for three inputs, on one spherical triangle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import mpmath as mp

from theory.definitions.gaussian import dot
from theory.formula import Case, Values

Row = Sequence[float]
Pattern = tuple[int, ...]


def patterns(rows: Sequence[Row]) -> list[tuple[Any, Pattern]]:
    """Every pattern `(1{w·x ≥ 0})` over the rows that has a positive probability, with that probability."""
    return _octants(rows) if len(rows[0]) == 3 else [(length / (2 * mp.pi), gates) for _, length, gates in arcs(rows)]


def arcs(rows: Sequence[Row]) -> list[tuple[Any, Any, Pattern]]:
    """Arcs of directions of a two-dimensional `w` between the lines `w·x = 0`: start, length, and the gates there."""
    edges = sorted({(mp.atan2(x[1], x[0]) + turn * mp.pi / 2) % (2 * mp.pi) for x in rows for turn in (1, -1)})
    # Equal edges of parallel rows differ by rounding.
    edges = [e for i, e in enumerate(edges) if i == 0 or e - edges[i - 1] > mp.mpf(10) ** (-mp.mp.dps // 2)]
    ends = [*edges[1:], edges[0] + 2 * mp.pi]
    found = []
    for low, high in zip(edges, ends, strict=True):
        w = mp.cos((low + high) / 2), mp.sin((low + high) / 2)
        found.append((low, high - low, tuple(int(x[0] * w[0] + x[1] * w[1] > 0) for x in rows)))
    return found


def _octants(rows: Sequence[Row]) -> list[tuple[Any, Pattern]]:
    """Solid angle of `{w : ±w·xᵢ ≥ 0}` for three rows in three dimensions, as a share of the sphere (Van Oosterom and Strackee 1983)."""
    found = []
    for gates in product((0, 1), repeat=3):
        x, y, z = ([mp.mpf(v) * (2 * g - 1) for v in row] for row, g in zip(rows, gates, strict=True))
        # The edges of the cone are where two of the conditions are equalities and the third holds.
        edges = []
        for a, b, other in ((y, z, x), (z, x, y), (x, y, z)):
            edge = _cross(a, b)
            size = mp.sqrt(dot(edge, edge)) * mp.sign(dot(edge, other))
            edges.append([v / size for v in edge])
        u, v, w = edges
        volume = abs(dot(u, _cross(v, w)))
        angle = 2 * mp.atan2(volume, 1 + dot(u, v) + dot(v, w) + dot(w, u))
        found.append((angle / (4 * mp.pi), gates))
    return found


def contribution(rows: Sequence[Row], gates: Pattern) -> Any:
    """One neuron's part of the Gram matrix: inner products of the rows it is active on."""
    n = len(rows)
    return mp.matrix([[dot(rows[i], rows[j]) * gates[i] * gates[j] for j in range(n)] for i in range(n)])


def mean(rows: Sequence[Row]) -> Any:
    """The Gram matrix: one neuron's part, averaged over the patterns of its gates."""
    total = mp.zeros(len(rows))
    for probability, gates in patterns(rows):
        total += probability * contribution(rows, gates)
    return total


def entry_variance(case: Case) -> Values:
    """Variance of one neuron's part of every entry of the Gram matrix, summed over all patterns of its gates and their probabilities."""
    rows = case["X"]
    H = mean(rows)
    total = [mp.mpf(0)] * len(rows) ** 2
    for probability, gates in patterns(rows):
        total = [t + probability * v**2 for t, v in zip(total, contribution(rows, gates) - H, strict=True)]
    return total


def matrix_variance(case: Case) -> Values:
    """Mean of (A − H)² as a product of matrices, A one neuron's part of the Gram matrix, over all patterns of its gates."""
    rows = case["X"]
    H, total = mean(rows), mp.zeros(len(rows))
    for probability, gates in patterns(rows):
        A = contribution(rows, gates)
        total += probability * ((A - H) * (A - H))
    return list(total)


def nets(rows: Sequence[Row], width: int, antisymmetric: bool) -> Iterator[tuple[Any, list[Pattern]]]:
    """Every net of `width` neurons by the gates of its neurons, with its probability; paired neurons share their gates."""
    independent = width // 2 if antisymmetric else width
    for chosen in product(patterns(rows), repeat=independent):
        gates = [g for _, g in chosen]
        yield mp.fprod(p for p, _ in chosen), gates * 2 if antisymmetric else gates


def gram_error(case: Case) -> Values:
    """Mean squared Frobenius distance of the Gram matrix of a net of m neurons from its mean, summed over all patterns of all gates;
    antisymmetric nets hold every neuron twice.
    """
    rows, width = case["X"], case["width"]
    H, total = mean(rows), mp.mpf(0)
    for probability, gates in nets(rows, width, case["antisymmetric"]):
        K = sum((contribution(rows, g) for g in gates), mp.zeros(len(rows))) / width
        total += probability * mp.fsum(v * v for v in K - H)
    return [total]


def readout_matrices(case: Case) -> list[list[tuple[int, ...]]]:
    """Every matrix of readouts of ±1 that the case allows, all equally likely; one row a neuron."""
    width, c = case["width"], case["n_outputs"]
    pairs = case["antisymmetric"]
    independent = width // 2 if pairs else width
    if case["readouts"] == "independent":
        rows = product(product((-1, 1), repeat=c), repeat=independent)
        found = [list(r) for r in rows]
    else:
        # Columns of the Hadamard matrix of order 2 or 4, each row with a sign of its own.
        order = {1: 1, 2: 2, 3: 4, 4: 4}[c]
        block = [[(-1) ** bin(i & j).count("1") for j in range(order)] for i in range(order)]
        found = []
        for signs in product((-1, 1), repeat=independent):
            found.append([tuple(s * block[r % order][p] for p in range(c)) for r, s in enumerate(signs)])
    return [[*a, *(tuple(-v for v in r) for r in a)] if pairs else a for a in found]


def vector_gram_error(case: Case) -> Values:
    """Mean squared Frobenius distance from I ⊗ H of the Gram matrix of a net with several outputs, summed over all patterns of its
    neurons' gates and all its readouts.
    """
    rows, m, c = case["X"], case["width"], case["n_outputs"]
    H, total = mean(rows), mp.mpf(0)
    readouts = readout_matrices(case)
    for probability, gates in nets(rows, m, case["antisymmetric"]):
        parts = [contribution(rows, g) for g in gates]
        for a in readouts:
            for p, q in product(range(c), repeat=2):
                block = sum((a[r][p] * a[r][q] * parts[r] for r in range(m)), mp.zeros(len(rows))) / m
                gap = block - H if p == q else block
                total += probability / len(readouts) * mp.fsum(v * v for v in gap)
    return [total]


def readout_energy_variance(case: Case) -> Values:
    """Variance over all readouts of the squared norm of the gradient of the loss by the hidden activations, the residual held fixed."""
    E, m = case["residual"], case["width"]
    energies = []
    for a in readout_matrices({**case, "n_outputs": len(E[0])}):
        slopes = [mp.fsum(mp.mpf(e) * s for e, s in zip(row, neuron, strict=True)) / mp.sqrt(m) for row in E for neuron in a]
        energies.append(mp.fsum(s * s for s in slopes))
    mean = mp.fsum(energies) / len(energies)
    return [mp.fsum((e - mean) ** 2 for e in energies) / len(energies)]


def directional_mean(rows: Sequence[Row], function: Callable[[list[Any]], Any]) -> Any:
    """Mean over directions `ω` in the plane of `function` of the activations `σ(ω·x)`, arc by arc by Gauss-Legendre quadrature."""

    def at(angle: Any, gates: Pattern) -> Any:
        c, s = mp.cos(angle), mp.sin(angle)
        return function([(x[0] * c + x[1] * s) * g for x, g in zip(rows, gates, strict=True)])

    parts = [
        mp.quad(lambda angle, gates=gates: at(angle, gates), [low, low + length], method="gauss-legendre")
        for low, length, gates in arcs(rows)
    ]
    return mp.fsum(parts) / (2 * mp.pi)


def _cross(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]

"""Finite nets with several outputs: how far their Gram matrix is from `I_c ⊗ H`, and what readouts of ±1 do to the gradient energy.

`K[(i,p),(j,q)] = xᵢ·xⱼ (1/m) Σ_r a_rp a_rq 1{w_r·xᵢ ≥ 0} 1{w_r·xⱼ ≥ 0}` couples outputs `p ≠ q` through `a_rp a_rq`, of mean zero.
"""

from __future__ import annotations

from numbers import Integral

import array_api_compat as compat

from theory.arrays import Array, as_float, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.gram_fluctuation import gram_entry_variance, independent_neurons, inner_products

READOUTS = ("orthogonal", "independent")


def expected_vector_gram_error(X: Array, n_outputs: int, width: int, *, readouts: str = "orthogonal", antisymmetric: bool = False) -> float:
    """`E‖K − I_c ⊗ H‖_F²` for `c` outputs whose readouts are ±1.

    Independent signs: `(1/m) Σᵢⱼ Gᵢⱼ² [c p(1 − p) + c(c − 1) p]`. Columns with `aᵀa = m I` exactly: `(1/m) Σᵢⱼ Gᵢⱼ² c² p(1 − p)`, since
    what a block between outputs would have in common for all neurons then cancels.

    Parameters
    ----------
    X : (n, d) array
    n_outputs : int ≥ 1
    width : int
        Number `m` of neurons, all counted.
    readouts : "orthogonal" or "independent"
    antisymmetric : bool
        Whether neurons come in pairs with opposite readouts: `m/2` in place of `m`.

    Raises
    ------
    InvalidInput
        For other readouts, a number of outputs below 1, or a width that does not fit.
    """
    if readouts not in READOUTS:
        raise InvalidInput(f"readouts is {readouts!r}; one of {', '.join(map(repr, READOUTS))} is allowed")
    c, neurons = _outputs(n_outputs), independent_neurons(width, antisymmetric)
    within = gram_entry_variance(X)
    across = within if readouts == "orthogonal" else relu_gram(X) * inner_products(X)
    xp = namespace(within)
    return (c * scalar(xp.sum(within)) + c * (c - 1) * scalar(xp.sum(across))) / neurons


def readout_energy_variance(residual: Array, width: int, *, readouts: str = "orthogonal", antisymmetric: bool = False) -> float:
    """Variance of `‖∂L/∂X¹‖_F²` over the readouts, whose mean is `‖U − Y‖_F²`, the residual held fixed.

    0 for orthogonal columns, `(2/m) Σ_{p≠q} (EᵀE)_pq²` with `E = U − Y` for independent signs (twice that when antisymmetric).

    Parameters
    ----------
    residual : (n,) or (n, c) array
        `E`.
    width, readouts, antisymmetric
        As for `expected_vector_gram_error`.

    Raises
    ------
    InvalidInput
        As `expected_vector_gram_error`.
    """
    if readouts not in READOUTS:
        raise InvalidInput(f"readouts is {readouts!r}; one of {', '.join(map(repr, READOUTS))} is allowed")
    neurons = independent_neurons(width, antisymmetric)
    E = as_float(residual, "residual")
    if E.ndim == 1 or readouts == "orthogonal":
        return 0.0
    xp = namespace(E)
    M = E.T @ E
    off = M * (1 - xp.eye(M.shape[0], dtype=M.dtype, device=compat.device(M)))
    return 2 * scalar(xp.sum(off * off)) / neurons


def _outputs(n_outputs: int) -> int:
    if isinstance(n_outputs, bool) or not isinstance(n_outputs, Integral) or n_outputs < 1:
        raise InvalidInput(f"n_outputs is {n_outputs!r}; a whole number ≥ 1 is allowed")
    return int(n_outputs)

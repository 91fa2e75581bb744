"""Initial weights of the two-layer ReLU net `f_W(x) = m^{-1/2} Σ_r a_r relu(w_r·x)`, of which only `W` is trained."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from sim.rng import generator
from theory.errors import InvalidInput


def check_width(width: int, n_outputs: int, antisymmetric: bool) -> None:
    """Raise `InvalidInput` unless `width` neurons can be laid out as asked.

    Antisymmetric nets pair their neurons; `c` orthogonal readouts of ±1 need blocks of the next power of two.
    """
    block = _block(n_outputs) * (2 if antisymmetric else 1)
    if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 1 or width % block:
        why = [f"{n_outputs} orthogonal readouts"] if n_outputs > 1 else []
        why += ["antisymmetric pairs"] if antisymmetric else []
        raise InvalidInput(f"width is {width!r}; a positive multiple of {block} is allowed{' for ' + ' and '.join(why) if why else ''}")


def initial_net(
    width: int, dimension: int, n_outputs: int, *, init_scale: float = 1.0, antisymmetric: bool = True, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Weights `W(0)` and readouts `a`.

    `w_r ~ N(0, κ²I)` with `κ = init_scale`; the `c` columns of `a` are ±1 and orthogonal, `aᵀa = m I` exactly, from
    a Sylvester-Hadamard matrix whose columns are chosen, and whose rows signed, at random. Antisymmetric nets
    hold each neuron twice with opposite readouts, so that every initial output is zero; they then have `m/2`
    independent neurons.

    Returns
    -------
    W : (m, d) float64
    a : (m, c) float64

    Raises
    ------
    InvalidInput
        For a width that does not fit (`check_width`) or an `init_scale` that is not positive and finite.
    """
    check_width(width, n_outputs, antisymmetric)
    if not isinstance(init_scale, Real) or not 0 < init_scale < math.inf:
        raise InvalidInput(f"init_scale is {init_scale!r}; a finite number above 0 is allowed")
    independent = width // 2 if antisymmetric else width
    # Weights and signs have streams of their own: more outputs leave the first layer as it is. The width is part of the key:
    # were narrow nets the first neurons of wide ones, gaps at different widths would not be independent.
    weights, signs = generator("initial weights", width, seed), generator("readouts", width, seed)
    W = weights.standard_normal((independent, dimension))
    W *= float(init_scale)
    block = _block(n_outputs)
    columns = signs.permutation(block)[:n_outputs]
    a = np.tile(_hadamard(block)[:, columns], (independent // block, 1)) * signs.choice([-1.0, 1.0], size=(independent, 1))
    if antisymmetric:
        W, a = np.concatenate([W, W]), np.concatenate([a, -a])
    return W, a


def _block(n_outputs: int) -> int:
    return 1 << (n_outputs - 1).bit_length()


def _hadamard(order: int) -> np.ndarray:
    H = np.ones((1, 1))
    while H.shape[0] < order:
        H = np.block([[H, H], [H, -H]])
    return H

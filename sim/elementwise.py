"""What a gradient step does to each neuron and sample, in one pass where the library can be given a kernel of its own."""

from __future__ import annotations

import array_api_compat as compat

from theory.arrays import Array, namespace


def relu_outputs(Z: Array, a: Array) -> Array:
    """Outputs `aᵀ relu(Z)`, without the `1/√m`.

    Parameters
    ----------
    Z : (…, m, n) array
        Pre-activations of `m` neurons on `n` samples.
    a : (…, m, c) array
        Readouts, same library, dtype and leading axes.

    Returns
    -------
    (…, n, c) float64 array.

    Notes
    -----
    A CuPy array is summed in float64, in an order that depends on nothing but the shape. The matrix product of the other
    libraries sums in the dtype of `Z`: whoever sums over blocks of neurons does that in float64.
    """
    xp = namespace(Z, a)
    if compat.is_cupy_array(Z):
        from sim.cuda import launch

        return launch.relu_outputs(Z, a)
    # Not `Z > 0`: an overflow that has become NaN must be seen.
    relu = xp.where(Z < 0, xp.zeros_like(Z), Z)
    return xp.astype(xp.matmul(xp.matrix_transpose(relu), a), xp.float64)


def masked(Z: Array, a: Array, direction: Array) -> Array:
    """The direction as each active neuron sees it: `1{Z > 0} (a directionᵀ)`.

    Times the inputs it is minus the gradient of the first layer, where `direction` is minus the residual.

    Parameters
    ----------
    Z : (…, m, n) array
        Pre-activations.
    a : (…, m, c) array
        Readouts, same library, dtype and leading axes.
    direction : (…, n, c) array
        In the space of outputs; any floating dtype.

    Returns
    -------
    (…, m, n) array of the dtype of `Z`.
    """
    xp = namespace(Z, a, direction)
    direction = xp.astype(direction, Z.dtype)
    if compat.is_cupy_array(Z):
        from sim.cuda import launch

        return launch.masked(Z, a, direction)
    return xp.where(Z > 0, xp.matmul(a, xp.matrix_transpose(direction)), xp.zeros_like(Z))

"""Which way to solve: memory estimated beforehand, and the path chosen that fits, or the problem refused with the numbers."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

import array_api_compat as compat

from theory.arrays import Array
from theory.errors import InvalidInput, TooLarge
from theory.host_memory import free_host_memory
from theory.numeric.solvers.cholesky import BLOCK as CHOLESKY_BLOCK

SOLVERS = ("auto", "eigh", "cholesky", "lanczos", "conjugate-gradients")
"""What `solver=` takes: `auto` takes the first of the others that fits and can do what is asked."""

# Share of the free memory up to which the eigendecomposition is taken: it leaves room for what else the process does.
_COMFORTABLE = 0.8

# Lanczos vectors a column that the estimate reckons with: descent of 10⁶ steps took below 100 on every kernel tried.
_LANCZOS_VECTORS = 200


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the memory of a prediction depends on.

    Attributes
    ----------
    source, target, test : int
        Numbers of points, times outputs where these interact.
    outputs : int
        Columns of labels, `c`.
    width : int
        Input dimension.
    itemsize : int
        Bytes a number.
    recorded : int
        Steps of the target stage at which coefficients are kept.
    host : bool
        Whether the arrays are NumPy's, whose Cholesky works in place.
    """

    source: int
    target: int
    test: int = 0
    outputs: int = 1
    width: int = 0
    itemsize: int = 8
    recorded: int = 1
    host: bool = True

    def need(self, solver: str) -> int:
        """Bytes that `solver` takes, about."""
        n_P, n_Q, n_T, c = self.source, self.target, self.test, self.outputs
        largest = max(n_P, n_Q)
        # Starts on the target: what pretraining leaves, and all labels.
        vectors = 8 * 2 * c * (n_P + n_Q + n_T) + self.width * 4 * (n_P + n_Q + n_T)
        # Coefficients of both runs, those of one side by side, and what they make of the source.
        path = self.recorded * c * (3 * n_Q + 2 * n_P)
        vectors += path
        basis = 2 * c * _LANCZOS_VECTORS * largest
        if solver == "eigh":
            # Each symmetric block with its eigenvectors and two workspaces; the kernel's temporaries on the largest block.
            return self.itemsize * (4 * n_P**2 + 4 * n_Q**2 + n_Q * n_P + n_T * (n_P + n_Q) + 4 * max(largest, n_T) * largest + path)
        # One stage at a time.
        matrix = largest**2 * (1 if self.host else 3)
        # Cholesky's products and substitutions below a block of columns; Lanczos ends in Cholesky for the gain.
        matrix += 3 * min(CHOLESKY_BLOCK, largest) * largest
        if solver == "cholesky":
            return self.itemsize * (matrix + vectors)
        if solver == "lanczos":
            return self.itemsize * (matrix + vectors + basis)
        tiles = 1 << 22 if self.host else 1 << 26
        # The factor, its orthonormal basis and that basis turned.
        return self.itemsize * (largest * preconditioner_rank(largest) * 3 + vectors + basis + tiles)


def preconditioner_rank(n: int) -> int:
    """Columns of the preconditioner for `n` points, `4√n`: made in the time of a few products, it saves most of them on real data.

    Measured on MNIST, n = 5,000, to a residual of 4e-10: 531 products without, 152 with 2√n columns, 72 with 8√n.
    """
    return min(n, max(16, round(4 * math.sqrt(n))))


def free_memory(like: Array) -> int:
    """Bytes free where `like` lives."""
    if compat.is_torch_array(like) and like.device.type == "cuda":
        return int(sys.modules["torch"].cuda.mem_get_info(like.device)[0])
    if compat.is_cupy_array(like):
        return int(sys.modules["cupy"].cuda.runtime.memGetInfo()[0])
    return free_host_memory()


def choose(solver: str, sizes: Sizes, *, finite: bool, plain: bool, free: int) -> str:
    """The path to take.

    Parameters
    ----------
    solver : one of `SOLVERS`
    sizes : Sizes
    finite : bool
        Whether a finite number of steps is asked for, in a stage or a snapshot.
    plain : bool
        Whether this is plain gradient descent on the squared loss; all else needs the eigendecomposition.
    free : int
        Bytes.

    Raises
    ------
    InvalidInput
        For an unknown solver, or one that cannot do what is asked.
    TooLarge
        For a problem that does not fit, with the numbers.
    """
    if solver not in SOLVERS:
        raise InvalidInput(f"solver is {solver!r}; one of {', '.join(map(repr, SOLVERS))} is allowed")
    if solver not in ("auto", "eigh") and not plain:
        raise InvalidInput(
            f"solver is {solver!r}; 'eigh' (or 'auto') is allowed with momentum, weight_decay, cross-entropy or a step size above the "
            "largest stable one"
        )
    if solver == "cholesky" and finite:
        raise InvalidInput("solver is 'cholesky', which trains to the end; 'lanczos' is allowed for numbers of steps and snapshots")
    if solver == "auto":
        order = ["eigh"] if not plain else ["eigh", "lanczos" if finite else "cholesky", "conjugate-gradients"]
    else:
        order = [solver]
    for name in order:
        share = _COMFORTABLE if name == "eigh" and len(order) > 1 else 1.0
        if sizes.need(name) <= share * free:
            return name
    needs = ", ".join(f"{sizes.need(name) / 2**30:.1f} GiB by {name}" for name in order)
    # All estimates grow as some power of the size: the share of points that would fit, by the last and least of them.
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _scaled(sizes, middle).need(order[-1]) <= free else (low, middle)
    raise TooLarge(
        f"{sizes.source} source, {sizes.target} target and {sizes.test} test points need about {needs}; {free / 2**30:.1f} GiB are free: "
        f"about {math.floor(low * sizes.source)} source and {math.floor(low * sizes.target)} target points would fit"
    )


def _scaled(sizes: Sizes, share: float) -> Sizes:
    return replace(sizes, source=int(share * sizes.source), target=int(share * sizes.target), test=int(share * sizes.test))

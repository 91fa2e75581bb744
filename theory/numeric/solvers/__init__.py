"""Ways to solve with a Gram matrix, from one that fits in memory to one that is never formed."""

from theory.numeric.solvers.cholesky import CholeskyFactor, SingularGram
from theory.numeric.solvers.conjugate_gradients import Solution, conjugate_gradients
from theory.numeric.solvers.lanczos import Krylov, lanczos, lanczos_apply, largest_eigenvalue
from theory.numeric.solvers.operators import Dense, Operator, Progress, Tiled, assemble, cross_times
from theory.numeric.solvers.plan import SOLVERS, Sizes, choose
from theory.numeric.solvers.preconditioner import LowRank

__all__ = [
    # the matrix: held, or made tile by tile
    "Operator",
    "Dense",
    "Tiled",
    "assemble",
    "cross_times",
    "Progress",
    # solving with it
    "CholeskyFactor",
    "SingularGram",
    "Krylov",
    "lanczos",
    "lanczos_apply",
    "largest_eigenvalue",
    "LowRank",
    "Solution",
    "conjugate_gradients",
    # choosing
    "SOLVERS",
    "Sizes",
    "choose",
]

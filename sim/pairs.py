"""Two digits of MNIST with a share of random labels, pretrained on the same two of the UCI digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sim.datasets import digits_images, mnist_images, unit_rows
from sim.rng import generator
from theory.errors import InvalidInput
from theory.problem import TransferProblem
from theory.ranges import check_count, check_number


@dataclass(frozen=True, kw_only=True)
class PairTask:
    """UCI digits → MNIST-5k, two classes with labels ±1; all 28 × 28 pixels as they are, unit rows.

    The source is every UCI digit of the two classes, brought to MNIST's size, with its true labels. Target points are drawn from
    the thousand MNIST digits of the two classes, test points are all the others.

    Parameters
    ----------
    digits : two different classes
        The first has label +1.
    random_share : float in [0, 1]
        Share of target labels replaced by fair coin flips; half of them change. Test labels are the true ones.
    n_target : int, 1 to 999
    seed : int ≥ 0
        Of the draw of points, of the labels replaced and of the coins.

    Raises
    ------
    InvalidInput
        For a value outside these ranges.

    Source: Arora et al. 2019 (arXiv 1901.08584), section 6, for the shares of random labels.
    """

    name: str = "pair"
    digits: tuple[int, int] = (3, 8)
    random_share: float = 0.0
    n_target: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("seed", self.seed, 0)
        check_count("n_target", self.n_target, 1)
        if len(self.digits) != 2 or self.digits[0] == self.digits[1] or not all(d in range(10) for d in self.digits):
            raise InvalidInput(f"digits is {self.digits!r}; two different classes from 0 to 9 are allowed")
        if self.n_target > 999:
            raise InvalidInput(f"n_target is {self.n_target}; at most 999 of the 1,000 digits of two classes is allowed")
        check_number("random_share", self.random_share, 0, 1)

    def problem(self) -> TransferProblem:
        """The problem these settings describe; the same settings give the same problem."""
        (X_P, y_P), (X, y) = _two_classes(self.digits)
        chosen, rest = self._order()
        return TransferProblem(source=(X_P, y_P), target=(X[chosen], self.target_labels()), test=(X[rest], y[rest]))

    def target_labels(self) -> np.ndarray:
        """Labels of the target points; all else of the problem does not depend on the share of random ones."""
        y = _two_classes(self.digits)[1][1][self._order()[0]]
        draws = generator("pair labels", self.seed)
        # Both draws are made for every point, so that a larger share only adds to the labels that change.
        replaced, coins = draws.random(self.n_target) < self.random_share, draws.integers(2, size=self.n_target)
        return np.where(replaced, 2.0 * coins - 1.0, y)

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        order = generator("pair target", self.seed).permutation(len(_two_classes(self.digits)[1][1]))
        return order[: self.n_target], order[self.n_target :]


@lru_cache(maxsize=8)
def _two_classes(digits: tuple[int, int]) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Inputs and labels ±1 of the two classes, of the UCI digits and of MNIST."""
    sets = []
    for images, classes in (digits_images(), mnist_images()):
        wanted = np.flatnonzero((classes == digits[0]) | (classes == digits[1]))
        chosen = images[wanted] if images.shape[1] == 28 else enlarged(images[wanted])
        sets.append((unit_rows(chosen.reshape(len(wanted), -1)), np.where(classes[wanted] == digits[0], 1.0, -1.0)))
    return sets[0], sets[1]


def enlarged(images: np.ndarray, size: int = 20, margin: int = 4) -> np.ndarray:
    """Images brought to `size` × `size` pixels, each spread over the area it covers, in a blank frame; the reverse of `datasets.pooled`.

    Parameters
    ----------
    images : (n, s, s) array

    Returns
    -------
    (n, size + 2·margin, size + 2·margin) array.
    """
    old = images.shape[1]
    edges = np.arange(old + 1) * size / old
    pixels = np.arange(size)
    # Overlap of source cell a with new pixel i, as a share of the pixel.
    overlap = np.clip(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0, None)
    inner = np.einsum("ai,nab,bj->nij", overlap, images, overlap, optimize=True)
    return np.pad(inner, ((0, 0), (margin, margin), (margin, margin)))

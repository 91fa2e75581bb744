"""Sequences of sets to train on one after the other, with dials: spheres in different subspaces, and pairs of digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sim.datasets import bundled
from sim.rng import generator
from sim.tasks import SphereTask
from theory.errors import InvalidInput
from theory.ranges import check_count

Sets = tuple[tuple[np.ndarray, np.ndarray], ...]


@dataclass(frozen=True, kw_only=True)
class SphereSets:
    """Sets on spheres of subspaces at different angles, each with a teacher of its own.

    Parameters
    ----------
    similarities : tuple of float in [0, 1]
        Cosine between each set's subspace and the first axis' one: sources of `SphereTask`.
    points : int ≥ 1
        Of each set.
    dimension : int ≥ 3
        Of each subspace.
    noise : float ≥ 0
        Standard deviation of the noise on labels.
    """

    name: str = "sphere"
    similarities: tuple[float, ...] = (0.2, 0.6, 0.9, 1.0)
    points: int = 24
    dimension: int = 8
    noise: float = 0.1

    @property
    def label(self) -> str:
        """In words."""
        return "sphere"

    def names(self) -> tuple[str, ...]:
        """Of each set."""
        return tuple(f"cos {c:g}" for c in self.similarities)

    def sets(self) -> Sets:
        """Inputs (n, 2·dimension) and labels (n,) of each."""
        tasks = [
            SphereTask(dimension=self.dimension, n_source=self.points, input_similarity=c, label_noise=self.noise, seed=i)
            for i, c in enumerate(self.similarities)
        ]
        sources = [task.problem().source for task in tasks]
        return tuple(pair for pair in sources if pair is not None)


@dataclass(frozen=True, kw_only=True)
class DigitSets:
    """Pairs of classes met one after the other, all with 64 pixels and labels ±1.

    Parameters
    ----------
    parts : tuple of (data set, class for +1, class for −1)
        The data set is "digits" or "mnist".
    points : int ≥ 1
        Of each set, drawn without replacement.
    seed : int ≥ 0
        Of the draw.

    Raises
    ------
    InvalidInput
        For an unknown data set, or equal classes.
    """

    name: str = "digits"
    parts: tuple[tuple[str, int, int], ...] = (("digits", 0, 1), ("digits", 2, 3), ("digits", 4, 5), ("mnist", 0, 1))
    points: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("points", self.points, 1)
        check_count("seed", self.seed, 0)
        for source, one, other in self.parts:
            if source not in ("digits", "mnist") or one == other:
                raise InvalidInput(f"a part is {(source, one, other)!r}; 'digits' or 'mnist' and two different classes are allowed")

    @property
    def label(self) -> str:
        """In words."""
        return "digits → MNIST" if any(source == "mnist" for source, _, _ in self.parts) else "digits"

    def names(self) -> tuple[str, ...]:
        """Of each set."""
        return tuple(f"{'MNIST' if source == 'mnist' else 'UCI'} {one}/{other}" for source, one, other in self.parts)

    def sets(self) -> Sets:
        """Inputs (n, 64) and labels (n,) of each."""
        found = []
        for source, one, other in self.parts:
            X, one_hot = bundled(source)
            classes = one_hot.argmax(axis=1)
            among = np.flatnonzero((classes == one) | (classes == other))
            if self.points > len(among):
                raise InvalidInput(f"points is {self.points}; {source} has {len(among)} of classes {one} and {other}")
            chosen = generator(f"{source} {one} {other}", self.seed).permutation(among)[: self.points]
            found.append((X[chosen], np.where(classes[chosen] == one, 1.0, -1.0)))
        return tuple(found)


ChainedTask = SphereSets | DigitSets


@lru_cache(maxsize=16)
def sets_of(task: ChainedTask) -> Sets:
    """`task.sets()`, made once: the same arrays, which is how a chain knows a set that it meets again."""
    return task.sets()

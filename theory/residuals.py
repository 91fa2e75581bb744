"""What each point set of a problem leaves to learn: labels less initial outputs, flat where outputs interact."""

from __future__ import annotations

from dataclasses import dataclass

from theory.arrays import Array, as_float, namespace, scalar
from theory.errors import InvalidInput
from theory.problem import TransferProblem


@dataclass(frozen=True, eq=False)
class Residuals:
    """Labels and outputs at `W(0)` of source, target and, where there are any, test points.

    Attributes
    ----------
    rest, start, given : tuples of arrays
        Labels less initial outputs, initial outputs, and labels: of each set `(n,)`, `(n, c)`, or `(n·c,)` where outputs interact.
    coupled : bool
        Whether they do.
    n_outputs : int, `c`
    """

    rest: tuple[Array, ...]
    start: tuple[Array, ...]
    given: tuple[Array, ...]
    coupled: bool
    n_outputs: int

    @classmethod
    def of(cls, problem: TransferProblem, initial_outputs: tuple[Array, ...] | None, coupled: bool) -> Residuals:
        """Those of a problem with a source, initial outputs zero by default.

        Raises
        ------
        InvalidInput
            For initial outputs of another number or shape than the labels, or differences whose squares overflow.
        """
        assert problem.source is not None
        sets = [problem.source, problem.target] + ([problem.test] if problem.test is not None else [])
        if not isinstance(initial_outputs, tuple | list | None):
            raise InvalidInput(f"initial_outputs is {initial_outputs!r}; a tuple of arrays is allowed")
        starts: list[Array | None] = [None] * len(sets) if initial_outputs is None else list(initial_outputs)
        if len(starts) != len(sets):
            raise InvalidInput(f"{len(starts)} initial outputs were given; one for each of the {len(sets)} point sets is needed")

        def flat(y: Array) -> Array:
            return namespace(y).reshape(y, (-1,)) if coupled else y

        labels, start, given = [], [], []
        for (_, y), u in zip(sets, starts, strict=True):
            if u is None:
                u = namespace(y).zeros_like(y)
            elif (u := as_float(u, "initial outputs")).shape != y.shape:
                raise InvalidInput(f"initial outputs have shape {tuple(u.shape)} and labels {tuple(y.shape)}; they must be equal")
            rest = flat(y - u)
            xp = namespace(rest)
            largest, most = scalar(xp.max(xp.abs(rest))), (float(xp.finfo(rest.dtype).max) / 1e6 / rest.shape[0]) ** 0.5
            if largest > most:
                raise InvalidInput(f"labels less initial outputs reach {largest:.3g}; at most {most:.3g} is allowed, or a loss overflows")
            labels.append(rest)
            start.append(flat(u))
            given.append(flat(y))
        return cls(tuple(labels), tuple(start), tuple(given), coupled, problem.n_outputs)

    @property
    def y_P(self) -> Array:
        """What the source asks for, less what is there."""
        return self.rest[0]

    @property
    def y_Q(self) -> Array:
        """The same of the target."""
        return self.rest[1]

    def like_labels(self, u: Array) -> Array:
        """Outputs in the shape of the labels."""
        return namespace(u).reshape(u, (-1, self.n_outputs)) if self.coupled else u

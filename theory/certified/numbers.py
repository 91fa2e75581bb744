"""All numbers of a certificate at one working precision."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from flint import arb, arb_mat

from theory.certified.balls import inner, root
from theory.certified.stage import ExactSet, Stage
from theory.problem import Schedule


@dataclass
class Numbers:
    """Balls by the names of `Certificate`, as far as the working precision proves them.

    Attributes
    ----------
    balls : mapping of names to balls, `None` where nothing is proven
    sizes : what each radius is relative to
    transformed : `y_{P→Q}`, (n_Q, c)
    undefined : reasons for what no precision gives
    notes : what else a reader must know
    """

    balls: dict[str, arb | None] = field(default_factory=dict)
    sizes: dict[str, arb] = field(default_factory=dict)
    transformed: arb_mat | None = None
    undefined: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: ExactSet, target: ExactSet, schedule: Schedule, delta: float) -> Numbers:
        """Compute them.

        Raises
        ------
        UnstableStep
            If a step size is proven to be above `2/λ_max`.
        """
        P = Stage(source, schedule.source_steps, schedule.source_lr, "source_lr")
        Q = Stage(target, schedule.target_steps, schedule.target_lr, "target_lr")
        numbers = cls(transformed=P.transfer(target.rows))
        for name, ball in (
            ("source_lambda_min", P.smallest),
            ("source_lambda_max", P.largest),
            ("lambda_min", Q.smallest),
            ("lambda_max", Q.largest),
        ):
            numbers._add(name, ball)
        numbers._transfer(P, Q)
        numbers._bounds(P, Q, delta)
        return numbers

    def too_wide(self, radius: float) -> dict[str, float | None]:
        """Names of balls that are missing though defined (`None`) or wider than `radius`, with the radius reached."""
        found: dict[str, float | None] = {}
        for name, ball in self.balls.items():
            if ball is None:
                if name not in self.undefined:
                    found[name] = None
            elif not ball.rad() <= self.sizes[name] * radius:
                found[name] = _reached(ball.rad(), self.sizes[name])
        if self.transformed is None:
            found["transformed_labels"] = None
        else:
            widest = max(e.rad() for e in self.transformed.entries())
            if not widest <= self.sizes["transformed_labels"] * radius:
                found["transformed_labels"] = _reached(widest, self.sizes["transformed_labels"])
        return found

    def _add(self, name: str, ball: arb | None, *others: arb | None) -> None:
        """A ball; its size is that of the largest lower bound of a magnitude among its own and `others`."""
        ball = ball if ball is not None and ball.is_finite() else None
        self.balls[name] = ball
        self.sizes[name] = max([b.abs_lower() for b in (ball, *others) if b is not None], default=arb(0))

    def _transfer(self, P: Stage, Q: Stage) -> None:
        """What is left to learn, in every metric, and the gain."""
        t, y = self.transformed, Q.data.y
        source_labels = max(e.abs_lower() for e in P.data.y.entries())
        transformed = [] if t is None else [e.abs_lower() for e in t.entries()]
        self.sizes["transformed_labels"] = max([source_labels, *transformed])

        scratch = inner(y, y)
        remaining = None if t is None else y - t
        self._add("gradient_energy_scratch", scratch)
        self._add("gradient_energy", None if remaining is None else inner(remaining, remaining), scratch, inner(P.data.y, P.data.y))

        energy_scratch, energy, energy_source = Q.energy(None), None if t is None else Q.energy(t), P.energy(None)
        outside = Q.data.span.outside(Q.data.labels)
        if outside is not None:
            reason = (
                f"the target labels leave the range of H_Q (rank {Q.data.span.rank} of {len(Q.data.rows)}): "
                f"the label of row {outside} contradicts those of the rows it depends on, and the value is infinite"
            )
            for name in ("inverse_norm_squared_scratch", "inverse_norm_squared"):
                self._add(name, None)
                self.undefined[name] = reason
            self.undefined["gain"] = reason.replace("the value is", "yᵀH_Q⁻¹y is")
        else:
            self._add("inverse_norm_squared_scratch", energy_scratch)
            self._add("inverse_norm_squared", energy, energy_scratch, energy_source)
        if all(v == 0 for row in Q.data.labels for v in row):
            self.undefined["gain"] = "the target labels are all zero: there is nothing to learn from scratch"
        gain = None
        if "gain" not in self.undefined and energy is not None and energy_scratch is not None and energy_scratch > 0:
            gain = 1 - root(energy / energy_scratch)
        self._add("gain", gain, arb(1))

    def _bounds(self, P: Stage, Q: Stage, delta: float) -> None:
        """How far the weights move, what is left of the loss, and the bound on the expected loss, from both starts."""
        # The transformed labels, as weights, are no longer than the source's.
        source_energy = P.energy(None)
        from_source = None if source_energy is None else root(source_energy)
        moved_scratch = None
        for suffix, t in (("_scratch", None), ("", self.transformed)):
            moved, left = (None, None) if not suffix and t is None else Q.trained(t)
            moved_scratch = moved if suffix else moved_scratch
            start = self.balls["gradient_energy" + suffix]
            self._add("displacement" + suffix, moved, moved_scratch, from_source)
            self._add("target_loss" + suffix, None if left is None else left * left / 2, start, self.sizes["gradient_energy"])
            name = "generalisation_bound" + suffix
            if Q.data.y.ncols() > 1:
                self._add(name, None)
                self.undefined[name] = f"the bound is for one output, and there are {Q.data.y.ncols()}"
            else:
                self._add(name, None if moved is None or left is None else self._generalisation(Q, moved, left, delta, name))

    def _generalisation(self, Q: Stage, moved: arb, left: arb, delta: float, name: str) -> arb | None:
        """`‖qỹ‖/√n + 2B√(tr H)/n + 3√(log(2B(B + 1)/δ)/(2n))`."""
        n = len(Q.data.rows)
        whole = moved.ceil().unique_fmpz()
        if whole is None:
            whole = moved.upper().ceil().unique_fmpz()
            if whole is None:  # not a finite number
                return None
            self.notes += (f"{name}: the displacement's ball reaches across a whole number; B = {whole}, the larger choice, is valid",)
        B = arb(max(1, int(whole)))
        confidence = ((2 * B * (B + 1) / arb(delta)).log() / (2 * n)).sqrt()
        return left / arb(n).sqrt() + 2 * B * arb(Q.data.rows.trace).sqrt() / n + 3 * confidence


def _reached(radius: arb, size: arb) -> float:
    """Relative radius, for a message."""
    return float((radius / size).abs_upper()) if size > 0 else math.inf

"""Whether a simulation fits into memory, and which way of keeping the activity does: decided before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

from sim.backend import Backend
from sim.blocks import sample_space_pays
from theory.errors import InvalidInput
from theory.problem import TransferProblem

MEMORY_MODES = ("byte", "bit", "recompute")

# Share of the free memory to plan for: Gram matrices, working arrays and other programs take the rest.
SHARE = 0.75


def check_memory(memory: str | None) -> None:
    """Raise `InvalidInput` unless `memory` is a mode, or `None`."""
    if memory is not None and memory not in MEMORY_MODES:
        raise InvalidInput(f"memory is {memory!r}; one of {', '.join(map(repr, MEMORY_MODES))} is allowed")


@dataclass(frozen=True)
class Plan:
    """How the activity of neurons is kept between steps.

    Attributes
    ----------
    memory : "byte", "bit" or "recompute"
        In weight space; on a device the first two keep pre-activations.
    sample_space : bool or None
        `False` where its arrays do not fit, `None` for what is cheaper.
    need : int
        Bytes of weights and activity.
    """

    memory: str
    sample_space: bool | None
    need: int


def plan(problem: TransferProblem, width: int, seeds: int, itemsize: int, memory: str | None, backend: Backend) -> Plan:
    """The fastest way that takes at most `SHARE` of the memory that is free now; the least one must fit at all.

    Raises
    ------
    InvalidInput
        With the bytes needed, those that are free, and the width that would fit.
    """
    assert problem.source is not None
    samples = [len(problem.source[0]), len(problem.target[0])]
    d, c = problem.target[0].shape[1], problem.n_outputs
    # W(0), the net trained on the source and its fork, which of some of several nets keeps its own start. Drawing takes no more:
    # one net at a time in float64, before there is anything else.
    weights = (3 if seeds == 1 else 4) * itemsize * d + (8 + itemsize) * c
    host = backend.name == "numpy"
    per_sample = {"byte": 1, "bit": 1 / 8, "recompute": 0} if host else {"byte": itemsize, "recompute": 0}
    inside = any(sample_space_pays(n, d) for n in samples) if host else any(n <= d for n in samples)
    free = backend.free_memory()
    ways = [Plan(mode, False, int(width * seeds * (weights + size * sum(samples)))) for mode, size in per_sample.items()]
    if inside:
        # Pre-activations and coefficients.
        ways.insert(0, Plan("byte", None, int(width * seeds * (weights + 2 * itemsize * sum(samples)))))
    if memory is not None:
        ways = [way for way in ways if way.memory == (memory if host or memory == "recompute" else "byte")]
    chosen = next((way for way in ways if way.need <= SHARE * free), ways[-1])
    if chosen.need > free:
        each = chosen.need // (width * seeds)
        what = f"{seeds} nets of width {width}: their weights" if seeds > 1 else f"width is {width}: its weights"
        activity = " and activity" if each > weights else ""
        raise InvalidInput(
            f"{what}{activity} take about {chosen.need / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free, enough for a width of about "
            f"{free // (each * seeds)}"
        )
    return chosen

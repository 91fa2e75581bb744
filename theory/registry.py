"""Every formula and every bound of the theory, with its derivation, definition, twin, source, domain and evidence.

`sim` and `realnets` supply evidence by an entry's name, as tables `{name: Supplied(kind, where)}`; `evidence_complaints` holds them
against what the entries declare.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from theory.entries import (
    average,
    bounds_chance,
    bounds_metric,
    bounds_outcome,
    bounds_run,
    chains,
    cross_entropy,
    drift,
    enclosures,
    filters,
    generalisation,
    initialisation,
    kernel,
    kernels,
    landscape,
    optimisers,
    penalised_transfer,
    penalties,
    population,
    pretraining,
    random_start,
    ruled_out,
    similarity,
    sphere,
    stage,
    stage_theory,
    symmetries,
    transfer,
)
from theory.errors import InvalidInput
from theory.formula import Bound, Entry, Supplied

ENTRIES: tuple[Entry, ...] = (
    *kernel.ENTRIES,
    *kernels.ENTRIES,
    *filters.ENTRIES,
    *stage.ENTRIES,
    *transfer.ENTRIES,
    *similarity.ENTRIES,
    *symmetries.ENTRIES,
    *pretraining.ENTRIES,
    *stage_theory.ENTRIES,
    *sphere.ENTRIES,
    *population.ENTRIES,
    *landscape.ENTRIES,
    *optimisers.ENTRIES,
    *penalties.ENTRIES,
    *penalised_transfer.ENTRIES,
    *cross_entropy.ENTRIES,
    *generalisation.ENTRIES,
    *chains.ENTRIES,
    *average.ENTRIES,
    *initialisation.ENTRIES,
    *random_start.ENTRIES,
    *drift.ENTRIES,
    *ruled_out.ENTRIES,
)
"""Formulas, in the order they build on each other."""

BOUNDS: tuple[Bound, ...] = (*bounds_metric.BOUNDS, *bounds_run.BOUNDS, *bounds_chance.BOUNDS, *bounds_outcome.BOUNDS, *enclosures.BOUNDS)
"""Inequalities, in the order they build on each other."""

ALL: tuple[Entry | Bound, ...] = (*ENTRIES, *BOUNDS)
"""Formulas before bounds."""

_BY_NAME: Mapping[str, Entry | Bound] = {entry.name: entry for entry in ALL}


def names() -> tuple[str, ...]:
    """Names of all entries, formulas before bounds."""
    return tuple(_BY_NAME)


def get(name: str) -> Entry | Bound:
    """The entry called `name`.

    Raises
    ------
    InvalidInput
        For an unknown name; the message holds the nearest names, or all of them.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(str(name), _BY_NAME, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise InvalidInput(f"no entry is called {name!r}; {hint}allowed are {', '.join(_BY_NAME)}")


def select(wanted: Sequence[str]) -> tuple[Entry | Bound, ...]:
    """The entries called `wanted`, each once, in the order given; all of them when none is named.

    Raises
    ------
    InvalidInput
        For an unknown name.
    """
    return tuple(get(name) for name in dict.fromkeys(wanted)) or ALL


def evidence_complaints(*tables: Mapping[str, Supplied], entries: Iterable[Entry | Bound] = ALL) -> list[str]:
    """What is wrong between declared and supplied evidence, one sentence each; empty when all that is declared is there.

    Parameters
    ----------
    tables : mappings of an entry's name to `Supplied`
        One from each package that supplies evidence. Evidence of kind `exact` needs none: the check is it.
    """
    declared = {entry.name: entry.evidence for entry in entries}
    complaints = []
    supplied: dict[str, list[Supplied]] = {}
    for table in tables:
        for name, item in table.items():
            if name not in declared:
                complaints.append(f"{item.where} supplies evidence for {name!r}, which is no entry")
            else:
                supplied.setdefault(name, []).append(item)
    for name, evidence in declared.items():
        kinds = [item.kind for item in supplied.get(name, [])]
        if evidence.from_outside and evidence.kind not in kinds:
            complaints.append(f"{name} declares {evidence.kind} evidence ({evidence.detail}); supplied is {', '.join(kinds) or 'none'}")
    return complaints

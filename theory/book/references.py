"""What an entry builds on, read off its derivation, and the works that entries cite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sympy as sp

from theory.book.works import KNOWN, Work, alphabetical
from theory.formula import Chain, Expression

_LEAST_OPERATIONS = 3
"""A result with fewer operations, such as `ηk` or `c/λ`, occurs everywhere and points nowhere."""


def uses(chains: Mapping[str, Chain], declared: Mapping[str, Sequence[str]], texts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """For each name, the names it builds on, in the order of `chains`.

    An entry builds on another one if it declares so, or if its text names it, in backticks or by a name with an underscore; or if the
    other comes before it and it repeats a line of the other's derivation whose sides differ, or one of the other's named results occurs
    in its own lines or abbreviations. A result belongs to the first entry that ends in it, and the largest result that is met counts:
    what it is made of does not.

    Parameters
    ----------
    chains : mapping of name to its derivation, in the order in which they build on each other
    declared : mapping of name to the names it says it uses
    texts : mapping of name to its statement and rules
    """
    owners: dict[Expression, str] = {}
    lines: dict[tuple[Expression, Expression], str] = {}
    for name, chain in chains.items():
        for result in chain.results.values():
            if sp.count_ops(result) >= _LEAST_OPERATIONS:
                owners.setdefault(_key(result), name)
        for step in chain.steps:
            if step.left != step.right:
                lines.setdefault((_key(step.left), _key(step.right)), name)
    order = {name: number for number, name in enumerate(chains)}
    found: dict[str, tuple[str, ...]] = {}
    for name, chain in chains.items():
        named = re.findall(r"`([^`]+)`|\b([a-z]+(?:_[a-z]+)+)\b", texts.get(name, ""))
        said = {*declared.get(name, ()), *(quoted or bare for quoted, bare in named)} & chains.keys()
        met = {lines[_key(step.left), _key(step.right)] for step in chain.steps if step.left != step.right}
        for expression in (*(side for step in chain.steps for side in (step.left, step.right)), *chain.where.values()):
            met |= set(_owners_met(_key(expression), owners))
        used = said | {other for other in met if order[other] < order[name]}
        found[name] = tuple(sorted(used - {name}, key=order.__getitem__))
    return found


def _key(expression: Expression) -> Expression:
    return expression.as_immutable() if isinstance(expression, sp.MatrixBase) else expression


def _owners_met(expression: Any, owners: Mapping[Expression, str]) -> Iterable[str]:
    if expression in owners:
        yield owners[expression]
        return
    for part in getattr(expression, "args", ()):
        yield from _owners_met(part, owners)


_ARXIV = re.compile(r"arXiv[:\s]\s*(\d{4}\.\d{4,5})")
_AUTHORS = re.compile(
    r"((?:[A-ZÀ-Þ][\w’'-]+)(?:(?:, | and | & )[A-ZÀ-Þ][\w’'-]+)*(?: et al\.)?)(?:,[^;]*?)?,? \(?((?:19|20)\d\d)[a-z]?\b",
)


def cited(source: str) -> tuple[tuple[str, str], ...]:
    """The pieces of a source, each with the key of the work it cites; the key is empty for what cites none.

    Pieces are separated by `; `; the key is `authors year`, or that of a known work with the same arXiv number.
    """
    return tuple((piece, _work_key(piece)) for piece in source.split("; "))


def _work_key(piece: str) -> str:
    arxiv = _ARXIV.search(piece)
    if arxiv and (known := next((w for w in KNOWN if w.arxiv == arxiv[1]), None)):
        return known.key
    match = _AUTHORS.match(piece)
    if match is None:
        return f"arXiv {arxiv[1]}" if arxiv else ""
    key = f"{match[1]} {match[2]}"
    # The same authors in the same year: another work than the known one of that key.
    return f"{key}, arXiv {arxiv[1]}" if arxiv and any(w.key == key for w in KNOWN) else key


def bibliography(sources: Iterable[str]) -> tuple[Work, ...]:
    """Every work that the sources cite, once, by its key in alphabetical order."""
    works: dict[str, Work] = {}
    for source in sources:
        for piece, key in cited(source):
            if key and key not in works:
                known = next((w for w in KNOWN if w.key == key), None)
                arxiv = _ARXIV.search(piece)
                works[key] = known or Work(key=key, authors=key, arxiv=arxiv[1] if arxiv else "")
    return tuple(works[key] for key in sorted(works, key=alphabetical))

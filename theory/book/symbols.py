"""The symbols that derivations use: what they stand for, what values they take, and what they abbreviate."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from theory.formula import Chain, Expression
from theory.symbolic import notation


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """One symbol of a derivation.

    Attributes
    ----------
    symbol : expression
    meaning : str
        In words, for the symbols that derivations share; else empty.
    kind : str
        The values it takes: "real", "positive", "whole, not negative", "matrix", "column", "row".
    value : expression or None
        What it abbreviates.
    """

    symbol: Expression
    meaning: str
    kind: str
    value: Expression | None


def symbols_of(chain: Chain, module: str) -> tuple[Symbol, ...]:
    """Symbols of a derivation, abbreviations among them, sorted by name; a transpose counts as the matrix itself.

    Parameters
    ----------
    module : str
        Where the derivation is written. A shared symbol's meaning holds there if the module, or one that it takes from, imports it:
        another module may use the same letter for something else.
    """
    free: set[Expression] = set().union(*(step.left.free_symbols | step.right.free_symbols for step in chain.steps))
    for _ in range(3):
        free |= set().union(*(chain.where[s].free_symbols for s in free if s in chain.where))
    free = {notation.TRANSPOSES.get(s, s) for s in free}
    imported = _imported(module)
    return tuple(
        Symbol(symbol=s, meaning=notation.MEANINGS[s] if s in imported else "", kind=kind(s), value=chain.where.get(s))
        for s in sorted(free, key=lambda s: (s.name.casefold(), s.name, str(s.assumptions0)))
    )


def kind(symbol: Expression) -> str:
    """The values a symbol takes, in words."""
    if not symbol.is_commutative:
        rows, columns = notation.SHAPES.get(symbol, (2, 2))
        return "column" if columns == 1 else "row" if rows == 1 else "matrix"
    words = "whole" if symbol.is_integer else "real" if symbol.is_real else ""
    if symbol.is_positive:
        return f"{words}, positive" if symbol.is_integer else "positive"
    if symbol.is_nonnegative:
        return f"{words}, not negative" if words == "whole" else "not negative"
    return words


def shared_symbols(used: Iterable[Iterable[Symbol]]) -> tuple[Symbol, ...]:
    """The symbols with a meaning, each once, in the order in which `theory.symbolic.notation` introduces them."""
    met = {s.symbol for symbols in used for s in symbols if s.meaning}
    return tuple(
        Symbol(symbol=s, meaning=meaning, kind=kind(s), value=notation.GRAM_BLOCKS.get(s))
        for s, meaning in notation.MEANINGS.items()
        if s in met
    )


def _imported(module: str) -> set[Expression]:
    names = {name: value for name, value in vars(notation).items() if not name.startswith("_") and _is_shared(value)}
    home = sys.modules.get(module)
    homes = [] if home is None else [home]
    for value in vars(home).values() if home is not None else ():
        source = value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
        if source is not None and source is not notation and source.__name__.startswith("theory.symbolic."):
            homes.append(source)
    return {value for name, value in names.items() if any(vars(h).get(name) is value for h in homes)}


def _is_shared(value: object) -> bool:
    try:
        return value in notation.MEANINGS
    except TypeError:  # what cannot be hashed is no symbol
        return False

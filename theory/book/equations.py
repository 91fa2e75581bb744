"""The displayed lines of a derivation, the same for every format: a step's sides and relation, broken to a width."""

from __future__ import annotations

from theory.book.expressions import draw
from theory.book.layout import fit
from theory.book.nodes import Node, relation, row
from theory.book.symbols import Symbol
from theory.formula import Expression, Step


def step_line(step: Step, width: float) -> Node:
    """`left = right`, or `= right` where the step goes on from the one before; once what stands on both sides."""
    if step.opens and step.left == step.right:
        return fit(draw(step.right), width)
    right = row(relation(step.relation), draw(step.right))
    return fit(row(draw(step.left), right) if step.opens else right, width)


def result_line(result: Expression, width: float) -> Node:
    """A named result."""
    return fit(draw(result), width)


def symbol_line(symbol: Symbol, width: float) -> Node:
    """The symbol alone, or what it abbreviates: `H = F Fᵀ`."""
    name = draw(symbol.symbol)
    return name if symbol.value is None else fit(row(name, relation("="), draw(symbol.value)), width)

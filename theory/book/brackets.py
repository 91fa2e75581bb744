"""Which parts of a SymPy expression need brackets, which are negative, and how fractions stand in a script."""

from __future__ import annotations

from typing import Any

import sympy as sp

from theory.book.nodes import Fenced, Fraction, Node, Operator, Row, Scripts, row

ADD, MUL, POW, ATOM = range(4)
"""How tightly an expression holds together."""

OPERATORS = (sp.Sum, sp.Product, sp.Integral, sp.Limit, sp.Derivative)
"""What reaches over all that stands to its right."""


def tightness(expr: Any) -> int:
    """How tightly an expression holds together as it is drawn: `ADD`, `MUL`, `POW` or `ATOM`."""
    if isinstance(expr, sp.Piecewise):
        return ADD
    if expr.is_Add or isinstance(expr, (sp.MatAdd, sp.core.relational.Relational)) or is_negative(expr):
        return ADD
    if isinstance(expr, OPERATORS):
        return MUL
    if expr.is_Mul or isinstance(expr, sp.MatMul) or (isinstance(expr, sp.Rational) and expr.q != 1):
        return MUL
    if expr.is_Pow or isinstance(expr, (sp.MatPow, sp.factorial)):
        return POW
    if isinstance(expr, (sp.exp, sp.Function)) and not isinstance(expr, (sp.Abs, sp.floor, sp.ceiling, sp.binomial)):
        return POW
    return ATOM


def is_negative(expr: Any) -> bool:
    """Whether an expression is drawn with a minus in front."""
    if isinstance(expr, (sp.Integer, sp.Rational, sp.Float, sp.core.numbers.NegativeInfinity)):
        return bool(expr < 0)
    if isinstance(expr, (sp.Mul, sp.MatMul)):
        first = expr.args[0]
        return bool(first.is_Number and first < 0)
    return False


def edge(node: Node, side: int) -> Node:
    """The leaf at the left (0) or right (−1) end."""
    if isinstance(node, Row):
        return edge(node.parts[side], side)
    return edge(node.base, side) if isinstance(node, Scripts) else node


def on_one_line(node: Node) -> Node:
    """Fractions in a script are written with a slash."""
    match node:
        case Fraction(over, under, True):
            parts = [on_one_line(part) for part in (over, under)]
            top, bottom = (Fenced("(", p, ")") if isinstance(p, Row) and (i or _has_sum(p)) else p for i, p in enumerate(parts))
            return row(top, Operator("/", "product"), bottom)
        case Row(inner):
            return row(*map(on_one_line, inner))
        case Fenced(left, inside, right):
            return Fenced(left, on_one_line(inside), right)
        case _:
            return node


def _has_sum(node: Row) -> bool:
    return any(isinstance(p, Operator) and p.role == "sum" for p in node.parts)

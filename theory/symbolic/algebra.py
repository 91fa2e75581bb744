"""Show and evaluate the steps of a derivation.

Evaluation is by mpmath at the precision in force. Limits and derivatives are evaluated as what they mean: at a distance of
`10^-80` (or `10^80`) from the limit point, and by a central difference of that width, with digits to spare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any

import mpmath as mp
import sympy as sp

from theory.formula import Chain, Expression, Failure, Method, Step
from theory.symbolic.notation import RANGES, SHAPES, TRANSPOSES

DIGITS = 50
"""Digits to which both sides of a step must agree."""

_NEAR = sp.Rational(1, 10**80)
_DRAWS = 2


def verify(chain: Chain, seed: str) -> list[Failure]:
    """Every step of `chain` that does not hold, does not follow on the one before, or ends in no stated result."""
    failures = []
    previous: Step | None = None
    for number, step in enumerate(chain.steps, start=1):
        name = f"step {number} ({step.rule})"
        if not step.opens and (previous is None or not same(previous.right, step.left)):
            failures.append(Failure(part="derivation", name=name, message="its left side is not the right side of the step before"))
        previous = step
        failures += [Failure(part="derivation", name=name, message=message) for message in _broken(step, chain, f"{seed}/{number}")]
    for name, result in chain.results.items():
        if not any(same(result, step.right) for step in chain.steps):
            failures.append(Failure(part="derivation", name=f"result {name!r}", message="no step ends in it"))
    return failures


def _broken(step: Step, chain: Chain, seed: str) -> list[str]:
    messages = []
    try:
        if step.method != "numbers" and not shown(step, chain.where):
            messages.append(f"not shown by {step.method!r}: {step.left} {step.relation} {step.right}")
        for draw in range(_DRAWS):
            with mp.workdps(DIGITS + 15):
                values = draw_values(step, chain, Random(f"{seed}/{draw}"))
                left, right = evaluate(step.left, values), evaluate(step.right, values)
                gap, size = _distance(left, right) if step.relation == "=" else (left - right, max(abs(left), abs(right)))
                if not gap <= mp.mpf(10) ** -DIGITS * max(size, 1):
                    given = ", ".join(f"{s} = {mp.nstr(v, 6)}" for s, v in values.items() if s.is_commutative)
                    wrong = "the sides differ by" if step.relation == "=" else "the left side is larger by"
                    messages.append(f"at 50 digits {wrong} {mp.nstr(gap, 3)} ({given or 'random matrices'})")
                    break
    except Exception as error:  # a fault may make a side meaningless; that is a finding, not a crash
        messages.append(f"cannot be evaluated: {type(error).__name__}: {error}")
    return messages


def same(a: Expression, b: Expression) -> bool:
    """Whether two expressions are structurally equal."""
    return bool(a == b)


_METHODS: dict[Method, Callable[[Expression], Expression]] = {
    "identity": lambda e: e,
    "expand": sp.expand,
    "simplify": lambda e: sp.simplify(sp.expand(e, power_exp=True)),
    "evaluate": lambda e: sp.simplify(e.doit()),
}


def shown(step: Step, where: Mapping[Expression, Expression]) -> bool:
    """Whether the step's method turns the difference of its sides into zero; for `≤`, into what SymPy knows is not negative."""
    left, right = _written_out(step.left, where), _written_out(step.right, where)
    return _vanishes(left, right, step.method) if step.relation == "=" else _not_negative(right - left, step.method)


@cache
def _not_negative(difference: Expression, method: Method) -> bool:
    left = _METHODS[method](difference)
    return any(form(left).is_nonnegative is True for form in (lambda e: e, sp.factor))


@cache
def _vanishes(left: Expression, right: Expression, method: Method) -> bool:
    if isinstance(left, sp.MatrixBase):
        if left.shape != right.shape:
            return False
        return all(_vanishes(a, b, method) for a, b in zip(left, right, strict=True))
    return bool(_METHODS[method](left - right) == 0)


def _written_out(expr: Expression, where: Mapping[Expression, Expression]) -> Expression:
    if isinstance(expr, sp.MatrixBase):
        expr = expr.as_immutable()
    # Abbreviations may use each other; none is nested deeper than this.
    for _ in range(3):
        expr = expr.xreplace(dict(where))
    return expr


def draw_values(step: Step, chain: Chain, rng: Random) -> dict[Expression, Any]:
    """Admissible values at the working precision for every symbol of a step, abbreviations included."""
    symbols = step.left.free_symbols | step.right.free_symbols
    for _ in range(3):
        symbols = symbols.union(*(chain.where[s].free_symbols for s in symbols if s in chain.where))
    symbols |= {TRANSPOSES[s] for s in symbols if s in TRANSPOSES}
    values: dict[Expression, Any] = {}
    ordered = sorted(symbols, key=lambda s: s.name)
    for symbol in ordered:
        if symbol in chain.where or symbol in TRANSPOSES:
            continue
        values[symbol] = _drawn(symbol, chain, rng)
    for symbol in ordered:
        if symbol in TRANSPOSES:
            values[symbol] = values[TRANSPOSES[symbol]].T
    for symbol in ordered:
        if symbol in chain.where:
            values[symbol] = evaluate(_written_out(chain.where[symbol], chain.where), values)
    return values


def _drawn(symbol: Expression, chain: Chain, rng: Random) -> Any:
    if symbol in SHAPES:
        rows, columns = SHAPES[symbol]
        return mp.matrix([[mp.mpf(rng.getrandbits(60)) / 2**59 - 1 for _ in range(columns)] for _ in range(rows)])
    value = (chain.ranges.get(symbol) or RANGES[symbol])(rng)
    # Whole numbers stay whole, so that they can count the terms of a sum.
    return value if isinstance(value, int) else mp.mpf(value.numerator) / value.denominator


def evaluate(expr: Expression, values: Mapping[Expression, Any]) -> Any:
    """The number, or matrix, that `expr` is when its symbols have the given values."""
    if isinstance(expr, sp.MatrixBase):
        return mp.matrix([[evaluate(expr[i, k], values) for k in range(expr.cols)] for i in range(expr.rows)])
    if any(not s.is_commutative for s in expr.free_symbols):
        return _matrix_value(expr, values)
    expr = expr.replace(sp.Subs, _substituted)
    if expr.has(sp.Product):
        whole = {s: sp.Integer(v) for s, v in values.items() if isinstance(v, int)}
        expr = expr.replace(sp.Product, lambda factor, limits: _multiplied(factor, limits, whole))
    if expr.has(sp.Limit, sp.Derivative):
        # Twice the width must still be resolved after the difference of two close values is divided by it.
        with mp.workdps(mp.mp.dps + 260):
            value = _scalar_value(expr.replace(sp.Limit, _near).replace(sp.Derivative, _difference), values)
        return +value
    return _scalar_value(expr, values)


def _scalar_value(expr: Expression, values: Mapping[Expression, Any]) -> Any:
    symbols = sorted(expr.free_symbols, key=lambda s: s.name)
    # Python divides whole numbers in double precision; only the limits of sums need them as they are.
    exact = [v if expr.has(sp.Sum) or type(v) is not int else mp.mpf(v) for v in (values[s] for s in symbols)]
    value = _compiled(expr, tuple(symbols))(*exact)
    return mp.mpf(value) if not isinstance(value, (bool, mp.mpc)) else value


@cache
def _compiled(expr: Expression, symbols: tuple[Expression, ...]) -> Callable[..., Any]:
    return sp.lambdify(symbols, expr, modules="mpmath")


def _substituted(expr: Expression, variables: Expression, point: Expression) -> Expression:
    return expr.subs(list(zip(variables, point, strict=True)))


def _multiplied(factor: Expression, limits: Expression, whole: Mapping[Expression, Any]) -> Expression:
    index, low, high = limits
    product = sp.Integer(1)
    for i in range(int(low.subs(whole)), int(high.subs(whole)) + 1):
        product = product * factor.subs(index, i)
    return product


def _near(expr: Expression, variable: Expression, point: Expression, *direction: Expression) -> Expression:
    if point is sp.oo:
        return expr.subs(variable, 1 / _NEAR)
    sign = -1 if direction and str(direction[0]) == "-" else 1
    return expr.subs(variable, point + sign * _NEAR)


def _difference(expr: Expression, *variables: Expression) -> Expression:
    for variable, order in variables:
        for _ in range(int(order)):
            expr = (expr.subs(variable, variable + _NEAR) - expr.subs(variable, variable - _NEAR)) / (2 * _NEAR)
    return expr


def _matrix_value(expr: Expression, values: Mapping[Expression, Any]) -> Any:
    """Value of an expression in matrix symbols, where a number added to a square matrix means that multiple of the identity."""
    if expr in values:
        return values[expr]
    parts = [evaluate(a, values) for a in expr.args]
    if expr.is_Mul:
        product = parts[0]
        for part in parts[1:]:
            product = product * part
        return product
    if expr.is_Add:
        size = next(p.rows for p in parts if isinstance(p, mp.matrix))
        total = None
        for part in parts:
            term = part if isinstance(part, mp.matrix) else mp.eye(size) * part
            total = term if total is None else total + term
        return total
    if expr.is_Pow and expr.exp.is_commutative:
        base = evaluate(expr.base, values)
        return base ** int(evaluate(expr.exp, values))
    raise TypeError(f"no matrix value for {type(expr).__name__} {expr}")


def _distance(left: Any, right: Any) -> tuple[Any, Any]:
    """Largest difference of the entries, and the largest entry."""
    a = list(left) if isinstance(left, mp.matrix) else [left]
    b = list(right) if isinstance(right, mp.matrix) else [right]
    if len(a) != len(b):
        return mp.inf, mp.mpf(0)
    return max(abs(x - y) for x, y in zip(a, b, strict=True)), max(abs(x) for x in a + b)

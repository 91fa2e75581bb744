"""Turn SymPy expressions into trees of `theory.book.nodes`, matrices in the order in which they are multiplied.

SymPy's own printers sort terms, know symbols by spelt-out names only, and write one long line; here `F_P^T` is a transpose, and what
comes out can be broken.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.printer import Printer

from theory.book import formulas, names
from theory.book.brackets import ATOM, MUL, OPERATORS, POW, edge, is_negative, on_one_line, tightness
from theory.book.nodes import (
    APPLY,
    THIN,
    TIMES,
    Fenced,
    Fraction,
    Letter,
    Node,
    Number,
    Operator,
    Root,
    Row,
    Scripts,
    Table,
    Words,
    relation,
    row,
)
from theory.formula import Expression

_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "acosh": "arcosh", "asinh": "arsinh", "atanh": "artanh", "loggamma": "log Γ",
    "gamma": "Γ", "LambertW": "W", "re": "Re", "im": "Im", "sign": "sgn", "Heaviside": "Θ", "DiracDelta": "δ", "beta": "B",
    "Trace": "tr", "Determinant": "det", "Max": "max", "Min": "min", "zeta": "ζ",
}  # fmt: skip

_BARE = {"sin", "cos", "tan", "atan", "log"}
"""Functions that need no brackets round one symbol."""

_RELATIONS = {"==": "=", "!=": "≠", "<": "<", ">": ">", "<=": "≤", ">=": "≥"}


class _Drawer(Printer):  # type: ignore[misc]  # SymPy has no types
    printmethod = "_ptoq_node"

    def __init__(self) -> None:
        super().__init__()

    def emptyPrinter(self, expr: Any) -> Node:
        """Anything without a method of its own: its class's name and its arguments."""
        if isinstance(expr, sp.Basic) and expr.args:
            return self._applied(type(expr).__name__, expr.args)
        return formulas.read_formula(str(expr))

    def wrapped(self, expr: Any, level: int) -> Node:
        """In brackets if it holds together less tightly than `level`."""
        node: Node = self._print(expr)
        return Fenced("(", node, ")") if tightness(expr) < level else node

    # Numbers and symbols

    def _print_Symbol(self, expr: Any) -> Node:
        return names.name(expr.name)

    _print_Dummy = _print_Wild = _print_MatrixSymbol = _print_Symbol

    def _print_Integer(self, expr: Any) -> Node:
        digits = Number(str(abs(int(expr))))
        return row(Operator("−", "prefix"), digits) if expr < 0 else digits

    def _print_int(self, expr: int) -> Node:
        return self._print_Integer(sp.Integer(expr))

    def _print_Rational(self, expr: Any) -> Node:
        fraction = Fraction(Number(str(abs(expr.p))), Number(str(expr.q)))
        return row(Operator("−", "prefix"), fraction) if expr < 0 else fraction

    def _print_Float(self, expr: Any) -> Node:
        return formulas.read_formula(str(expr).replace("-", "−"))

    def _print_Pi(self, expr: Any) -> Node:
        return Letter("π")

    def _print_Exp1(self, expr: Any) -> Node:
        return Letter("e", upright=True)

    def _print_ImaginaryUnit(self, expr: Any) -> Node:
        return Letter("i", upright=True)

    def _print_EulerGamma(self, expr: Any) -> Node:
        return Letter("γ")

    def _print_Infinity(self, expr: Any) -> Node:
        return Letter("∞", upright=True)

    def _print_NegativeInfinity(self, expr: Any) -> Node:
        return row(Operator("−", "prefix"), Letter("∞", upright=True))

    def _print_BooleanTrue(self, expr: Any) -> Node:
        return Words("true")

    def _print_BooleanFalse(self, expr: Any) -> Node:
        return Words("false")

    def _print_Identity(self, expr: Any) -> Node:
        return Letter("I")

    def _print_str(self, expr: str) -> Node:
        return formulas.read_formula(expr)

    # Sums, products, powers

    def _print_Add(self, expr: Any) -> Node:
        terms = list(expr.as_ordered_terms()) if isinstance(expr, sp.Add) else list(expr.args)
        if not expr.is_commutative:
            # A number among matrices is that multiple of the identity.
            terms = [t if not t.is_commutative else sp.Mul(t, _IDENTITY) for t in terms]
        elif not all(t.is_integer for t in terms):
            # Numbers stand first, 1 − ηλ, but in counts: k + 1.
            terms.sort(key=lambda t: not t.is_number)
        # A sum does not open with a minus if it need not: y − Fw, not −Fw + y.
        if is_negative(terms[0]):
            first = next((t for t in terms if not is_negative(t)), None)
            if first is not None:
                terms.remove(first)
                terms.insert(0, first)
        parts: list[Node] = [self._print(terms[0])]
        for term in terms[1:]:
            negative = is_negative(term)
            node = self.wrapped(-term if negative else term, MUL)
            parts += [Operator("−" if negative else "+", "sum"), node]
        return row(*parts)

    _print_MatAdd = _print_Add

    def _print_Mul(self, expr: Any) -> Node:
        if is_negative(expr):
            positive = -expr
            return row(Operator("−", "prefix"), self.wrapped(positive, MUL))
        over: list[Any] = []
        under: list[Any] = []
        matrices: list[Any] = []
        for factor in expr.as_ordered_factors():
            if not factor.is_commutative:
                matrices.append(factor)
            elif isinstance(factor, sp.Rational):
                over += [sp.Integer(factor.p)] if factor.p != 1 else []
                under += [sp.Integer(factor.q)] if factor.q != 1 else []
            elif factor.is_Pow and factor.base is not sp.E and is_negative(factor.exp):
                under.append(sp.Pow(factor.base, -factor.exp, evaluate=False) if factor.exp != -1 else factor.base)
            else:
                over.append(factor)
        # Integrals and limits last: what stands after them would seem to belong to them.
        over.sort(key=lambda f: isinstance(f, OPERATORS))
        if under:
            top, bottom = self._product(over) if over else Number("1"), self._product(under)
            fraction = Fraction(top, bottom)
            return row(fraction, TIMES, self._product(matrices)) if matrices else fraction
        return self._product([*over, *matrices])

    def _print_MatMul(self, expr: Any) -> Node:
        return self._product(list(expr.args))

    def _product(self, factors: list[Any]) -> Node:
        if len(factors) == 1:
            node: Node = self._print(factors[0])
            return node
        parts: list[Node] = []
        for number, factor in enumerate(factors):
            last = number == len(factors) - 1
            node = self._print(factor) if last and isinstance(factor, OPERATORS) else self.wrapped(factor, POW if number else MUL + 1)
            if parts:
                both_digits = isinstance(edge(node, 0), Number) and isinstance(edge(parts[-1], -1), Number)
                parts.append(Operator("·", "dot") if both_digits else TIMES)
            parts.append(node)
        return row(*parts)

    def _print_Pow(self, expr: Any) -> Node:
        base, exponent = expr.base, expr.exp
        if base is sp.E:
            return self._applied("exp", (exponent,))
        if exponent.is_Rational and exponent.p == 1 and exponent.q > 1:
            return Root(self._print(base), None if exponent.q == 2 else Number(str(exponent.q)))
        if base.is_commutative and is_negative(exponent):
            inverse = sp.Pow(base, -exponent, evaluate=False) if exponent != -1 else base
            return Fraction(Number("1"), self._print(inverse))
        if isinstance(base, sp.Function) and exponent.is_Integer and exponent > 0 and len(base.args) == 1:
            return self._applied(type(base).__name__, base.args, self._print(exponent))
        node = self.wrapped(base, ATOM)
        if isinstance(node, Scripts) and node.sup is not None:
            node = Fenced("(", node, ")")
        if isinstance(node, Scripts):
            return Scripts(node.base, node.sub, on_one_line(self._print(exponent)))
        return Scripts(node, sup=on_one_line(self._print(exponent)))

    _print_MatPow = _print_Pow

    def _print_Transpose(self, expr: Any) -> Node:
        return Scripts(self.wrapped(expr.arg, ATOM), sup=Letter("⊤", upright=True))

    def _print_Inverse(self, expr: Any) -> Node:
        return Scripts(self.wrapped(expr.arg, ATOM), sup=row(Operator("−", "prefix"), Number("1")))

    # Functions

    def _print_Function(self, expr: Any) -> Node:
        name = expr.func.__name__
        if isinstance(expr, AppliedUndef):
            return self._called(names.name(name), expr.args)
        return self._applied(name, expr.args)

    def _print_ExpBase(self, expr: Any) -> Node:
        return self._applied("exp", expr.args)

    def _print_Max(self, expr: Any) -> Node:
        # SymPy keeps these arguments in a set: sorted, or two runs would differ.
        return self._applied(type(expr).__name__, sorted(expr.args, key=sp.default_sort_key))

    _print_Min = _print_Max

    def _print_Abs(self, expr: Any) -> Node:
        return Fenced("|", self._print(expr.args[0]), "|")

    def _print_floor(self, expr: Any) -> Node:
        return Fenced("⌊", self._print(expr.args[0]), "⌋")

    def _print_ceiling(self, expr: Any) -> Node:
        return Fenced("⌈", self._print(expr.args[0]), "⌉")

    def _print_Heaviside(self, expr: Any) -> Node:
        return self._applied("Heaviside", expr.args[:1])

    def _print_factorial(self, expr: Any) -> Node:
        return row(self.wrapped(expr.args[0], ATOM), Letter("!", upright=True))

    def _print_factorial2(self, expr: Any) -> Node:
        return row(self.wrapped(expr.args[0], ATOM), Letter("!!", upright=True))

    def _print_binomial(self, expr: Any) -> Node:
        return Fenced("(", Fraction(self._print(expr.args[0]), self._print(expr.args[1]), bar=False), ")")

    def _print_KroneckerDelta(self, expr: Any) -> Node:
        return Scripts(Letter("δ"), sub=row(*(self._print(a) for a in expr.args[:2])))

    def _print_conjugate(self, expr: Any) -> Node:
        return Scripts(self.wrapped(expr.args[0], ATOM), sup=Letter("∗", upright=True))

    def _applied(self, name: str, arguments: Any, power: Node | None = None) -> Node:
        shown: Node = Letter(_NAMES.get(name, name), upright=True)
        if power is not None:
            shown = Scripts(shown, sup=power)
        if name in _BARE and len(arguments) == 1 and isinstance(arguments[0], sp.Symbol):
            return row(shown, Operator(APPLY, "product"), self._print(arguments[0]))
        return self._called(shown, arguments)

    def _called(self, name: Node, arguments: Any) -> Node:
        return row(name, Fenced("(", self._list(arguments), ")"))

    def _list(self, items: Any) -> Node:
        parts: list[Node] = []
        for item in items:
            parts += [Operator(",", "comma")] * bool(parts) + [self._print(item)]
        return row(*parts)

    def _print_Indexed(self, expr: Any) -> Node:
        return Scripts(self._print(expr.base.label), sub=self._list(expr.indices))

    def _print_MatrixElement(self, expr: Any) -> Node:
        return Scripts(self.wrapped(expr.parent, ATOM), sub=self._list((expr.i + 1, expr.j + 1)))

    # Sums, integrals, limits, derivatives

    def _print_Sum(self, expr: Any) -> Node:
        return self._big("∑", expr)

    def _print_Product(self, expr: Any) -> Node:
        return self._big("∏", expr)

    def _big(self, sign: str, expr: Any) -> Node:
        signs: list[Node] = []
        for index, low, high in expr.limits[::-1]:
            below = row(self._print(index), relation("="), self._print(low))
            signs.append(Scripts(Operator(sign, "prefix"), sub=below, sup=self._print(high), limits=True))
        return row(*signs, self.wrapped(expr.function, MUL))

    def _print_Integral(self, expr: Any) -> Node:
        signs: list[Node] = []
        ends: list[Node] = []
        for limit in expr.limits:
            bounds = [on_one_line(self._print(b)) for b in limit[1:]]
            # Two ends, or the upper one alone, or none.
            sub, sup = (None, *bounds)[-2:] if bounds else (None, None)
            signs.insert(0, Scripts(Operator("∫", "prefix"), sub=sub, sup=sup) if bounds else Operator("∫", "prefix"))
            ends.append(row(THIN, Letter("d", upright=True), self._print(limit[0])))
        return row(*signs, self.wrapped(expr.function, MUL), *ends)

    def _print_Limit(self, expr: Any) -> Node:
        inside, variable, point, direction = expr.args
        target = self._print(point)
        if point is not sp.oo and point is not -sp.oo and str(direction) in "+-":
            sign = Operator({"+": "+", "-": "−"}[str(direction)], "prefix")
            # The side is set beside the point as a word of its own where the point has scripts or is a sum.
            target = Scripts(target if not isinstance(target, Row | Scripts) else Fenced("(", target, ")"), sup=sign)
        name = Scripts(Letter("lim", upright=True), sub=row(self._print(variable), relation("→"), target), limits=True)
        return row(name, Operator(APPLY, "product"), self.wrapped(inside, MUL))

    def _print_Derivative(self, expr: Any) -> Node:
        sign = Letter("∂" if len(expr.expr.free_symbols) > 1 else "d", upright=True)
        order = sum(int(count) for _, count in expr.variable_count)
        below: list[Node] = []
        for variable, count in expr.variable_count[::-1]:
            name = self._print(variable)
            below += [sign, name if count == 1 else Scripts(name, sup=self._print(count))]
        above: Node = sign if order == 1 else Scripts(sign, sup=Number(str(order)))
        return row(Fraction(above, row(*below)), TIMES, self.wrapped(expr.expr, MUL + 1))

    def _print_Subs(self, expr: Any) -> Node:
        places: list[Node] = []
        for variable, value in zip(expr.variables, expr.point, strict=True):
            places += [Operator(",", "comma")] * bool(places) + [self._print(variable), relation("="), on_one_line(self._print(value))]
        return Scripts(Fenced("", self._print(expr.expr), "|"), sub=row(*places))

    # Matrices, cases, conditions, tuples

    def _print_MatrixBase(self, expr: Any) -> Node:
        cells = tuple(tuple(self._print(expr[i, j]) for j in range(expr.cols)) for i in range(expr.rows))
        return Fenced("(", Table(cells), ")")

    def _print_Piecewise(self, expr: Any) -> Node:
        rows: list[tuple[Node, Node]] = []
        for value, condition in expr.args:
            when: Node = Words("otherwise") if condition == sp.true else row(Words("if "), self._print(condition))
            rows.append((self._print(value), when))
        return Fenced("{", Table(tuple(rows), align="left"), "")

    def _print_Relational(self, expr: Any) -> Node:
        return row(self._print(expr.lhs), relation(_RELATIONS.get(expr.rel_op, expr.rel_op)), self._print(expr.rhs))

    def _print_And(self, expr: Any) -> Node:
        parts: list[Node] = []
        for item in sorted(expr.args, key=sp.default_sort_key):
            parts += [Words(" and " if isinstance(expr, sp.And) else " or ")] * bool(parts) + [self._print(item)]
        return row(*parts)

    _print_Or = _print_And

    def _print_Not(self, expr: Any) -> Node:
        return row(Words("not "), self._print(expr.args[0]))

    def _print_Tuple(self, expr: Any) -> Node:
        return Fenced("(", self._list(expr), ")")

    _print_tuple = _print_Tuple

    def _print_list(self, expr: Any) -> Node:
        return Fenced("[", self._list(expr), "]")


_IDENTITY = sp.Symbol("I", commutative=False)

_drawer = _Drawer()


@cache
def draw(expr: Expression) -> Node:
    """The tree of a SymPy expression or explicit matrix."""
    node: Node = _drawer._print(expr.as_immutable() if isinstance(expr, sp.MatrixBase) else expr)
    return node

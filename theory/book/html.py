"""The book as one self-contained HTML page: MathML, no script, nothing loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from theory.book import equations, mathml
from theory.book.expressions import draw
from theory.book.formulas import Code, Prose, Span, read
from theory.book.nodes import Node, Operator, Row, row
from theory.book.structure import Book, how
from theory.book.symbols import Symbol
from theory.formula import Expression, Step

_WIDTH = 38.0
"""Ems of a line; wider equations are broken, and what cannot be scrolls in its box."""

_LONG = 9.0
"""An inline formula wider than this may be broken between lines at its relations and sums."""


def write(book: Book) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("theory.book", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "prose": prose,
        "how": how,
        "spans": spans,
        "step": step,
        "result": result,
        "symbol": symbol,
        "name": name,
        "linked": linked,
        "code": code,
    }
    return environment.get_template("book.html.jinja").render(book=book) + "\n"


def prose(text: str) -> Markup:
    """Plain text with its formulas set."""
    return spans(read(text))


def spans(parts: Iterable[Span]) -> Markup:
    """Prose, code and formulas; punctuation stays on the line of the formula it follows."""
    written: list[Markup] = []
    for part in parts:
        if isinstance(part, Prose):
            stop = re.match(r"[,.;:)!?’]*", part.text) if written and written[-1].endswith("</math>") else None
            if stop is not None and stop[0]:
                written[-1] = Markup('<span class="nowrap">{}{}</span>').format(written[-1], stop[0])
                written.append(escape(part.text[stop.end() :]))
            else:
                written.append(escape(part.text))
        elif isinstance(part, Code):
            written.append(code(part.text))
        else:
            # A browser breaks no line inside a formula, but between two.
            for number, piece in enumerate(_pieces(part)):
                written += [Markup("<wbr>")] * bool(number) + [Markup(mathml.inline(piece))]
    return Markup("").join(written)


def code(text: str) -> Markup:
    """A name of the program, which may be broken after a dot or an underscore."""
    return Markup("<code>{}</code>").format(Markup("<wbr>").join(re.findall(r"[^._]*[._]*", text)[:-1]))


def _pieces(node: Node) -> list[Node]:
    if node.width <= _LONG or not isinstance(node, Row):
        return [node]
    pieces: list[list[Node]] = [[]]
    for part in node.parts:
        if isinstance(part, Operator) and part.role in ("relation", "sum", "dot") and pieces[-1]:
            pieces.append([])
        pieces[-1].append(part)
    return [row(*parts) for parts in pieces]


def step(line: Step) -> Markup:
    """A step's displayed line."""
    return Markup(mathml.display(equations.step_line(line, _WIDTH)))


def result(expression: Expression) -> Markup:
    """A result's displayed line."""
    return Markup(mathml.display(equations.result_line(expression, _WIDTH)))


def symbol(item: Symbol) -> Markup:
    """A symbol, with what it abbreviates."""
    return Markup(mathml.inline(equations.symbol_line(item, _WIDTH)))


def name(item: Symbol) -> Markup:
    """A symbol alone."""
    return Markup(mathml.inline(draw(item.symbol)))


def linked(text: str) -> Markup:
    """Plain text with its formulas set and its arXiv numbers linked."""
    pieces = re.split(r"(arXiv[: ]\d{4}\.\d{4,5})", text)
    return Markup("").join(
        Markup('<a href="https://arxiv.org/abs/{}">{}</a>').format(piece[6:], piece) if number % 2 else prose(piece)
        for number, piece in enumerate(pieces)
    )

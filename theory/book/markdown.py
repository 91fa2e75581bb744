"""The book as GitHub-flavoured Markdown with `$…$` and `$$…$$` mathematics."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jinja2 import Environment, PackageLoader, StrictUndefined

from theory.book import equations, tex
from theory.book.expressions import draw
from theory.book.formulas import Code, Prose, Span, read
from theory.book.nodes import Node
from theory.book.structure import Book, how
from theory.book.symbols import Symbol
from theory.formula import Expression, Step

_WIDTH = 40.0
"""Ems of a line."""


def write(book: Book) -> str:
    """The file."""
    environment = Environment(
        loader=PackageLoader("theory.book", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters |= {
        "prose": prose, "how": how, "spans": spans, "step": step, "result": result, "symbol": symbol, "name": name, "linked": linked,
        "plain": plain, "cell": cell,
    }  # fmt: skip
    page = environment.get_template("book.md.jinja").render(book=book)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def plain(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", text)


def prose(text: str) -> str:
    """Plain text with its formulas set."""
    return spans(read(text))


def spans(parts: Iterable[Span]) -> str:
    """Prose, code and formulas."""
    return "".join(map(_span, parts))


def _span(part: Span) -> str:
    if isinstance(part, Prose):
        return plain(part.text)
    return f"`{part.text}`" if isinstance(part, Code) else f"${_formula(part)}$"


def _formula(node: Node) -> str:
    return tex.formula(node, newline=r"\cr")


def cell(text: str) -> str:
    """What is set, inside a table: a bar would end the cell."""
    return text.replace("|", r"\|")


def step(line: Step) -> str:
    """A step's displayed line."""
    return _formula(equations.step_line(line, _WIDTH))


def result(expression: Expression) -> str:
    """A result's displayed line."""
    return _formula(equations.result_line(expression, _WIDTH))


def symbol(item: Symbol) -> str:
    """A symbol, with what it abbreviates."""
    return f"${_formula(equations.symbol_line(item, _WIDTH))}$"


def name(item: Symbol) -> str:
    """A symbol alone."""
    return f"${_formula(draw(item.symbol))}$"


def linked(text: str) -> str:
    """Plain text with its formulas set and its arXiv numbers linked."""
    pieces = re.split(r"(arXiv[: ]\d{4}\.\d{4,5})", text)
    return "".join(f"[{piece}](https://arxiv.org/abs/{piece[6:]})" if number % 2 else prose(piece) for number, piece in enumerate(pieces))

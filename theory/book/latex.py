"""The book as one LaTeX file in plain ASCII, for pdfLaTeX, XeLaTeX or LuaLaTeX alike, with amsmath, hyperref and longtable."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from jinja2 import Environment, PackageLoader, StrictUndefined

from theory.book import equations, tex
from theory.book.expressions import draw
from theory.book.formulas import Code, Prose, Span, read
from theory.book.nodes import Table
from theory.book.structure import Book, how
from theory.book.symbols import Symbol
from theory.formula import Expression, Step

_WIDTH = 41.0
"""Ems of a line at 10 points on A4."""


def write(book: Book) -> str:
    """The file."""
    environment = Environment(
        loader=PackageLoader("theory.book", "."),
        undefined=StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters |= {
        "prose": prose, "how": how, "spans": spans, "step": step, "result": result, "symbol": symbol, "name": name, "linked": linked,
        "plain": tex.text, "code": code, "bookmark": bookmark,
    }  # fmt: skip
    return environment.get_template("book.tex.jinja").render(book=book) + "\n"


def prose(text: str) -> str:
    """Plain text with its formulas set."""
    return spans(read(text))


def spans(parts: Iterable[Span]) -> str:
    """Prose, code and formulas."""
    return "".join(map(_span, parts))


def _span(part: Span) -> str:
    if isinstance(part, Prose):
        return tex.text(part.text)
    return code(part.text) if isinstance(part, Code) else f"${tex.formula(part)}$"


def code(text: str) -> str:
    """A name of the program, which may be broken after a dot or an underscore."""
    broken = re.sub(r"(\.|\\_)", r"\1\\allowbreak{}", tex.text(text).replace("--", "-{}-"))
    return rf"\texttt{{{broken}}}"


def bookmark(text: str) -> str:
    """A heading as a viewer's outline shows it: ASCII, what has no such spelling left out."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return tex.text(" ".join(ascii_only.split()))


def step(line: Step) -> list[str]:
    """A step's displayed lines, between which a page may end."""
    node = equations.step_line(line, _WIDTH)
    rows = node.rows if isinstance(node, Table) and node.align == "left" else ((node,),)
    return [tex.formula(cells[0]) for cells in rows]


def result(expression: Expression) -> str:
    """A result's displayed line."""
    return tex.formula(equations.result_line(expression, _WIDTH - 8))


def symbol(item: Symbol) -> str:
    """A symbol, with what it abbreviates."""
    return f"${tex.formula(equations.symbol_line(item, _WIDTH - 4))}$"


def name(item: Symbol) -> str:
    """A symbol alone."""
    return f"${tex.formula(draw(item.symbol))}$"


def linked(text: str) -> str:
    """Plain text with its formulas set and its arXiv numbers linked."""
    pieces = re.split(r"(arXiv[: ]\d{4}\.\d{4,5})", text)
    return "".join(
        rf"\href{{https://arxiv.org/abs/{piece[6:]}}}{{{piece}}}" if number % 2 else prose(piece) for number, piece in enumerate(pieces)
    )

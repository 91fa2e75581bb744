"""Read plain text with formulas in it, as statements and rules are written: `y − u(k) = (I − ηH)^k y for the squared loss ½‖u − y‖²`.

What is prose stays prose, what is a formula becomes a tree of `theory.book.nodes`. A run of two letters or more is prose unless it is the
name of a function or sticks to something that is no prose: the `Hr` of `rᵀHr` is a product.
"""

from __future__ import annotations

from functools import cache

from theory.book.nodes import Fenced, Node, Number, Operator
from theory.book.reader import Code, Prose, Reader, Span, formula_in, formula_of
from theory.book.tokens import is_code

__all__ = ["Code", "Prose", "Span", "is_code", "read", "read_formula"]


@cache
def read_formula(text: str) -> Node:
    """A text that is one formula, whatever words it holds."""
    return formula_in(text)


@cache
def read(text: str) -> tuple[Span, ...]:
    """A text as prose, code and formulas; neighbouring parts of a formula joined, spaces kept between prose and formulas."""
    out: list[Span] = []
    run: list[Span | None] = []

    def close() -> None:
        trailing = bool(run) and run[-1] is None
        content = run[: len(run) - trailing]
        if content:
            node = formula_of(content)
            plain = _plain(node)
            out.append(Prose(plain) if plain is not None else node)
        if trailing:
            out.append(Prose(" "))
        run.clear()

    for span in Reader(text).spans():
        if isinstance(span, (Prose, Code)):
            close()
            out.append(span)
        elif span is None and not run:
            out.append(Prose(" "))
        elif not (span is None and run[-1] is None):
            run.append(span)
    close()
    return tuple(_joined(out))


def _plain(node: Node) -> str | None:
    """Text for what is no formula: a year, an arrow between words."""
    if isinstance(node, Number):
        return node.text
    if isinstance(node, Fenced) and isinstance(node.inside, Number) and node.left == "(":
        return f"({node.inside.text})"
    return node.text if isinstance(node, Operator) and node.text in "→←·/+−=" else None


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and isinstance(span, Prose) and isinstance(joined[-1], Prose):
            joined[-1] = Prose(joined[-1].text + span.text)
        else:
            joined.append(span)
    return joined

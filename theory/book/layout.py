"""Break what is too wide for a line: before relations first, then before sums, then between factors, then inside brackets."""

from __future__ import annotations

from dataclasses import replace

from theory.book.nodes import Fenced, Fraction, Letter, Node, Operator, Role, Root, Row, Scripts, Table, lines, row

INDENT = 2.0
"""Ems by which every line but the first is moved in."""

QUAD = Letter("\u2003", upright=True)

_LEVELS: tuple[Role, ...] = ("relation", "sum", "product")


def fit(node: Node, width: float) -> Node:
    """`node`, as lines of at most about `width` ems where it can be broken at all."""
    if node.width <= width or width < 4:
        return node
    match node:
        case Row():
            return _broken(node, width, 0)
        case Fenced(left, inside, right):
            return Fenced(left, fit(inside, width - 1), right)
        case Fraction(over, under):
            return replace(node, over=fit(over, width - 1), under=fit(under, width - 1))
        case Root(inside):
            return replace(node, inside=fit(inside, width - 1))
        case Scripts(base, sub, sup, limits) if not limits:
            return replace(node, base=fit(base, width - max(s.width for s in (sub, sup) if s is not None)))
        case Table(rows) if node.align == "center":
            each = width / len(rows[0]) - 1
            return replace(node, rows=tuple(tuple(fit(cell, each) for cell in cells) for cells in rows))
        case _:
            return node


def _broken(node: Row, width: float, level: int) -> Node:
    """Pieces between operators of this level, packed into lines; a piece that is too wide is broken at the next level."""
    if level == len(_LEVELS):
        return row(*_fit_widest(list(node.parts), width))
    pieces = _pieces(node, _LEVELS[level])
    if len(pieces) == 1:
        return _broken(node, width, level + 1)
    packed: list[list[Node]] = []
    room = 0.0
    for piece in pieces:
        size = sum(p.width for p in piece)
        if packed and size <= room:
            packed[-1].extend(piece)
            room -= size
        else:
            packed.append(list(piece))
            room = width - (INDENT if len(packed) > 1 else 0.0) - size
    rows = []
    for number, parts in enumerate(packed):
        line: Node = row(*parts)
        available = width - (INDENT if number else 0.0)
        if line.width > available:
            line = _broken(line, available, level + 1) if isinstance(line, Row) else fit(line, available)
        rows.append(row(QUAD, line) if number else line)
    return lines(*rows)


def _pieces(node: Row, role: Role) -> list[list[Node]]:
    """Parts of a row, cut before each operator of a role; an operator that opens the row belongs to the first piece."""
    pieces: list[list[Node]] = [[]]
    for part in node.parts:
        if isinstance(part, Operator) and part.role == role and pieces[-1]:
            pieces.append([])
        pieces[-1].append(part)
    return pieces


def _fit_widest(parts: list[Node], width: float) -> list[Node]:
    """No operator is left to break at: the widest part is broken inside."""
    total = sum(p.width for p in parts)
    widest = max(range(len(parts)), key=lambda i: parts[i].width)
    parts[widest] = fit(parts[widest], width - (total - parts[widest].width))
    return parts

"""The conventions page, `theory/CONVENTIONS.md`, as blocks: its tables are the book's, so that no list is kept twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from theory.book import formulas
from theory.book.formulas import Code, Prose, Span

Cell: TypeAlias = tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A heading, a paragraph, or a table with its heads; the other two are empty."""

    heading: str = ""
    paragraph: Cell = ()
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()

    @property
    def shares(self) -> tuple[float, ...]:
        """Of a table's width, what each column should have: by the root of the size of its cells, and room for its widest formula."""
        columns = tuple(zip(*self.rows, strict=True))
        roots = [sum(map(_size, column)) ** 0.5 for column in columns]
        least = [max((_widest(cell) for cell in column), default=0.0) / _LINE for column in columns]
        wanted = [max(root / sum(roots), room) for root, room in zip(roots, least, strict=True)]
        return tuple(share / sum(wanted) for share in wanted)


_LINE = 46.0
"""Ems of a table's width."""


def conventions() -> tuple[Block, ...]:
    """The page without its title."""
    text = (Path(__file__).parent.parent / "CONVENTIONS.md").read_text(encoding="utf-8")
    blocks: list[Block] = []
    for part in re.split(r"\n\s*\n", text):
        lines = part.strip().split("\n")
        if lines[0].startswith("# "):
            continue
        if lines[0].startswith("## "):
            blocks.append(Block(heading=lines[0].removeprefix("## ")))
        elif lines[0].startswith("|"):
            heads, _, *rows = ([cell.strip() for cell in _cells(line)] for line in lines)
            blocks.append(Block(heads=tuple(heads), rows=tuple(tuple(read(cell) for cell in row) for row in rows)))
        else:
            blocks.append(Block(paragraph=read(" ".join(lines))))
    return tuple(blocks)


def _size(cell: Cell) -> float:
    """Of a cell, in ems."""
    return 1 + sum(len(span.text) / 2 if isinstance(span, (Prose, Code)) else span.width for span in cell)


def _widest(cell: Cell) -> float:
    """Of a cell's formulas, in ems; one may be broken at its relations and sums, which is left out of account."""
    return max((span.width for span in cell if not isinstance(span, (Prose, Code))), default=0.0)


def _cells(line: str) -> list[str]:
    """Cells of a table's line; a bar inside backticks, or after a backslash, is a norm's."""
    cells = re.findall(r"((?:`[^`]*`|\\\||[^`|])*)\|", line.strip().removeprefix("|"))
    return [cell.replace(r"\|", "|") for cell in cells]


def read(markdown: str) -> Cell:
    """Text whose backticks hold formulas or names of the program."""
    spans: list[Span] = []
    for number, piece in enumerate(markdown.split("`")):
        if number % 2 and formulas.is_code(piece):
            spans.append(Code(piece))
        elif number % 2:
            spans.append(formulas.read_formula(piece))
        elif piece:
            spans.extend(formulas.read(re.sub(r"\[([^]]*)\]\([^)]*\)|\*\*", r"\1", piece)))
    return tuple(spans)

"""Mathematics as a tree that every format can be written from: what stands where, not how a format spells it.

`theory.book.expressions` builds trees from SymPy, `theory.book.formulas` from the plain-text formulas of statements;
`theory.book.mathml` and `theory.book.tex` write them. Widths are rough, in ems, and serve to break long lines alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

SCRIPT = 0.72
"""Size of a sub- or superscript beside its base."""

Role = Literal["relation", "sum", "product", "prefix", "comma", "dot"]
"""What an operator does, which decides the space round it and whether a line may break before it (after it, for `comma`)."""

_SPACE: dict[Role, float] = {"relation": 0.56, "sum": 0.45, "product": 0.0, "prefix": 0.0, "comma": 0.17, "dot": 0.3}


@dataclass(frozen=True)
class Letter:
    """A symbol of one or more letters; `upright` for names such as `exp` and for units of text."""

    text: str
    upright: bool = False

    @property
    def width(self) -> float:
        """Ems."""
        return sum(0.85 if c.isupper() or c in "mwωΩ" else 0.5 for c in self.text)


@dataclass(frozen=True)
class Number:
    """Digits, with a decimal point where there is one."""

    text: str

    @property
    def width(self) -> float:
        """Ems."""
        return 0.5 * len(self.text)


@dataclass(frozen=True)
class Operator:
    """An operator, relation or separator; its text may be empty for a product that is not written."""

    text: str
    role: Role

    @property
    def width(self) -> float:
        """Ems, with the space on both sides."""
        return (0.6 if self.text else 0.1) * max(1, len(self.text)) + _SPACE[self.role]


@dataclass(frozen=True)
class Words:
    """Upright text inside a formula."""

    text: str

    @property
    def width(self) -> float:
        """Ems."""
        return 0.5 * len(self.text)


@dataclass(frozen=True)
class Row:
    """Parts side by side."""

    parts: tuple[Node, ...]

    @property
    def width(self) -> float:
        """Ems."""
        return sum(p.width for p in self.parts)


@dataclass(frozen=True)
class Scripts:
    """A base with a subscript, a superscript or both; `limits` puts them below and above."""

    base: Node
    sub: Node | None = None
    sup: Node | None = None
    limits: bool = False

    @property
    def width(self) -> float:
        """Ems."""
        scripts = max((SCRIPT * s.width for s in (self.sub, self.sup) if s is not None), default=0.0)
        return max(self.base.width, scripts) if self.limits else self.base.width + scripts


@dataclass(frozen=True)
class Accent:
    """A base with a mark above: `mark` is "tilde", "hat" or "bar"."""

    base: Node
    mark: Literal["tilde", "hat", "bar"]

    @property
    def width(self) -> float:
        """Ems."""
        return self.base.width


@dataclass(frozen=True)
class Fraction:
    """A numerator over a denominator."""

    over: Node
    under: Node
    bar: bool = True

    @property
    def width(self) -> float:
        """Ems."""
        return max(self.over.width, self.under.width) + 0.3


@dataclass(frozen=True)
class Root:
    """A root; the square root where `degree` is absent."""

    inside: Node
    degree: Node | None = None

    @property
    def width(self) -> float:
        """Ems."""
        return self.inside.width + 0.9


@dataclass(frozen=True)
class Fenced:
    """Something between brackets that grow with it; an empty `left` or `right` is not written."""

    left: str
    inside: Node
    right: str

    @property
    def width(self) -> float:
        """Ems."""
        return self.inside.width + 0.4 * (bool(self.left) + bool(self.right))


@dataclass(frozen=True)
class Table:
    """Cells in rows, without brackets; `align` is "center" for matrices and "left" for cases and broken lines."""

    rows: tuple[tuple[Node, ...], ...]
    align: Literal["center", "left"] = "center"

    @property
    def width(self) -> float:
        """Ems."""
        columns = zip(*self.rows, strict=True)
        return sum(max(c.width for c in column) for column in columns) + 1.0 * (len(self.rows[0]) - 1)


Node: TypeAlias = Letter | Number | Operator | Words | Row | Scripts | Accent | Fraction | Root | Fenced | Table

APPLY = "\u2061"
"""Text of the operator that applies a function without brackets, as in `cos θ`."""

TIMES = Operator("", "product")
"""A product that is not written."""

THIN = Letter("\u2009", upright=True)
"""A thin space."""

RELATIONS = "=≠<>≤≥≈∼≡∝∈∉⊂⊆→←↦⟶⪯⪰≪≫≺≻⇔⇒"
SUMS = "+−±∓∪∩"


def tall(node: Node) -> bool:
    """Whether brackets round a node have to grow with it."""
    match node:
        case Row(parts):
            return any(map(tall, parts))
        case Fenced(_, inside, _) | Root(inside):
            return tall(inside)
        case Scripts(base, sub, sup, limits):
            return limits or tall(base) or any(s is not None and tall(s) for s in (sub, sup))
        case Fraction() | Table():
            return True
        case _:
            return False


def row(*parts: Node) -> Node:
    """The parts side by side, rows among them opened; the part itself if there is one."""
    flat: list[Node] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Row) else (part,))
    return flat[0] if len(flat) == 1 else Row(tuple(flat))


def relation(text: str) -> Operator:
    """A relation such as `=` or `≤`."""
    return Operator(text, "relation")


def lines(*rows: Node) -> Node:
    """Rows one below the other, flush left; the row itself if there is one."""
    return rows[0] if len(rows) == 1 else Table(tuple((r,) for r in rows), align="left")

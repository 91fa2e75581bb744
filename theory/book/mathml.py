"""Write mathematics as MathML Core, which browsers draw without a script."""

from __future__ import annotations

from html import escape

from theory.book.nodes import APPLY, TIMES, Accent, Fenced, Fraction, Letter, Node, Number, Operator, Root, Row, Scripts, Table, Words, tall

_SPACES = {text: f'<mspace width="{width}"></mspace>' for text, width in (("\u2003", "2em"), ("\u2009", "0.17em"))}
_NO_BREAK = "\u00a0"
_MARKS = {"tilde": "~", "hat": "^", "bar": "¯"}


def inline(node: Node) -> str:
    """A formula in running text."""
    return f"<math>{_write(node)}</math>"


def display(node: Node) -> str:
    """A formula on a line of its own."""
    return f'<math display="block">{_write(node)}</math>'


def _write(node: Node) -> str:
    match node:
        case Letter(text, upright):
            # Several letters are upright as they are; one is slanted unless told otherwise, and Greek capitals are upright as in LaTeX.
            variant = ' mathvariant="normal"' if len(text) == 1 and (upright or "Α" <= text <= "Ω") else ""
            return _SPACES.get(text) or f"<mi{variant}>{escape(text)}</mi>"
        case Number(text):
            return f"<mn>{escape(text)}</mn>"
        case Words(text):
            # Spaces at either end would be dropped.
            return f"<mtext>{escape(text.replace(' ', _NO_BREAK))}</mtext>"
        case Operator():
            return _operator(node)
        case Row(parts):
            return f"<mrow>{''.join(_spaced(parts))}</mrow>"
        case Scripts():
            return _scripts(node)
        case Accent(base, mark):
            return f'<mover accent="true">{_write(base)}<mo stretchy="false">{_MARKS[mark]}</mo></mover>'
        case Fraction(over, under, bar):
            thickness = "" if bar else ' linethickness="0"'
            return f"<mfrac{thickness}>{_write(over)}{_write(under)}</mfrac>"
        case Root(inside, degree):
            return f"<msqrt>{_write(inside)}</msqrt>" if degree is None else f"<mroot>{_write(inside)}{_write(degree)}</mroot>"
        case Fenced(left, inside, right):
            stretchy = tall(inside) or bool(left) != bool(right)
            return f"<mrow>{_fence(left, 'prefix', stretchy)}{_write(inside)}{_fence(right, 'postfix', stretchy)}</mrow>"
        case Table(rows, align):
            kind = ' class="lines"' if align == "left" else ""
            body = "".join(f"<mtr>{''.join(f'<mtd>{_write(cell)}</mtd>' for cell in cells)}</mtr>" for cells in rows)
            return f"<mtable{kind}>{body}</mtable>"


def _spaced(parts: tuple[Node, ...]) -> list[str]:
    """Parts of a row, with a thin space before the name of a function that follows a factor."""
    written: list[str] = []
    for number, part in enumerate(parts):
        base = part.base if isinstance(part, Scripts) else part
        before = parts[number - 1] if number else None
        factor = before is not None and (not isinstance(before, Operator) or before == TIMES)
        if factor and isinstance(base, Letter) and len(base.text) > 1:
            written.append(_SPACES["\u2009"])
        written.append(_write(part))
    return written


def _operator(node: Operator) -> str:
    if node.role == "product":
        # The invisible times, so that a reader who listens hears a product.
        if node.text == APPLY:
            return f'<mo>{APPLY}</mo><mspace width="0.17em"></mspace>'
        return f'<mo lspace="0.05em" rspace="0.05em">{escape(node.text)}</mo>' if node.text else "<mo>\u2062</mo>"
    if node.role == "prefix":
        gap = "0.17em" if node.text in "∑∏∫" else "0"
        return f'<mo form="prefix" lspace="0" rspace="{gap}">{escape(node.text)}</mo>'
    if node.role == "comma":
        return f"<mo>{escape(node.text)}</mo>"
    space = {"relation": "0.28em", "sum": "0.22em", "dot": "0.15em"}[node.role]
    return f'<mo form="infix" lspace="{space}" rspace="{space}">{escape(node.text)}</mo>'


def _scripts(node: Scripts) -> str:
    base, sub, sup = _write(node.base), node.sub, node.sup
    below, above, both = ("munder", "mover", "munderover") if node.limits else ("msub", "msup", "msubsup")
    if sub is not None and sup is not None:
        return f"<{both}>{base}{_write(sub)}{_write(sup)}</{both}>"
    if sub is not None:
        return f"<{below}>{base}{_write(sub)}</{below}>"
    return base if sup is None else f"<{above}>{base}{_write(sup)}</{above}>"


def _fence(text: str, form: str, stretchy: bool) -> str:
    if not text:
        return ""
    return f'<mo form="{form}" fence="true" stretchy="{str(stretchy).lower()}" lspace="0" rspace="0">{escape(text)}</mo>'

"""Write mathematics as LaTeX that amsmath, and MathJax in Markdown, understand; only ASCII comes out.

No backslash stands before a punctuation mark: Markdown would take it for an escape before MathJax sees it.
"""

from __future__ import annotations

import re
import unicodedata

from theory.book.nodes import APPLY, TIMES, Accent, Fenced, Fraction, Letter, Node, Number, Operator, Root, Row, Scripts, Table, Words, tall
from theory.errors import InvalidInput

# Letters are called in LaTeX as in Unicode, but for these; φ and ε are the rounder ones.
_SPELT = {
    "λ": "lambda",
    "Λ": "Lambda",
    "ε": "varepsilon",
    "φ": "varphi",
    "ϕ": "phi",
    "ϵ": "epsilon",
    "ϑ": "vartheta",
    "ς": "varsigma",
    "ϱ": "varrho",
    "ϖ": "varpi",
}
_GREEK = {
    letter: _SPELT.get(letter) or (str.lower if letter.islower() else str.capitalize)(unicodedata.name(letter).split()[-1])
    for letter in "αβγδεζηθικλμνξπρστυφχψωϕϵϑςϱϖΓΔΘΛΞΠΣΥΦΨΩ"
}

_SIGNS = {
    **{c: rf"\{name}" for c, name in _GREEK.items()},
    "−": "-", "·": r"\cdot", "×": r"\times", "±": r"\pm", "∓": r"\mp", "∂": r"\partial", "∇": r"\nabla", "∞": r"\infty", "…": r"\dots",
    "⋯": r"\cdots", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "≈": r"\approx", "∼": r"\sim", "≡": r"\equiv", "∝": r"\propto", "<": r"\lt",
    ">": r"\gt", "∈": r"\in", "∉": r"\notin", "⊂": r"\subset", "⊆": r"\subseteq", "→": r"\to", "←": r"\leftarrow", "↦": r"\mapsto",
    "⟶": r"\longrightarrow", "⪯": r"\preceq", "⪰": r"\succeq", "≪": r"\ll", "≫": r"\gg", "≺": r"\prec", "≻": r"\succ", "⇔": r"\iff",
    "⇒": r"\implies", "∪": r"\cup", "∩": r"\cap", "∖": r"\setminus", "∘": r"\circ", "⊗": r"\otimes", "⊕": r"\oplus", "⊙": r"\odot",
    "∗": r"\ast", "*": r"\ast", "∑": r"\sum", "∏": r"\prod", "∫": r"\int", "∀": r"\forall", "∃": r"\exists", "∧": r"\wedge",
    "∨": r"\vee", "¬": r"\neg", "∅": r"\varnothing", "ℓ": r"\ell", "⊤": r"\top", "⊥": r"\perp", "′": r"\prime", "†": r"\dagger",
    "ℝ": r"\mathbb{R}", "ℕ": r"\mathbb{N}", "𝔼": r"\mathbb{E}", "‖": r"\Vert", "|": r"\vert", "⟨": r"\langle", "⟩": r"\rangle",
    "{": r"\lbrace", "}": r"\rbrace", "⌊": r"\lfloor", "⌋": r"\rfloor", "⌈": r"\lceil", "⌉": r"\rceil", "\u2003": r"\qquad ",
    "%": r"\%", "#": r"\#", "&": r"\&", "_": r"\_", "°": r"^{\circ}", "\u2009": r"\thinspace ", "~": r"\sim",
    "⁺": "+", "⁻": "-", "◦": r"\circ", "∥": r"\parallel", "√": r"\surd",
    "½": r"\tfrac{1}{2}", "¼": r"\tfrac{1}{4}", "¾": r"\tfrac{3}{4}",
}  # fmt: skip

_NAMED = {"exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "max", "min", "sup", "inf", "lim", "det"}

_LETTERS = {
    "ß": r"{\ss}", "ø": r"{\o}", "Ø": r"{\O}", "ł": r"{\l}", "Ł": r"{\L}", "æ": r"{\ae}", "Æ": r"{\AE}", "œ": r"{\oe}", "å": r"{\aa}",
    "\u200b": "{}", "ı": r"{\i}", "“": "``", "”": "''", "‘": "`", "’": "'", "–": "--", "—": "---", "\u00a0": "~", "§": r"\S{}",
    "†": r"\dag{}",
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "#": r"\#", "&": r"\&", "_": r"\_", "$": r"\$",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}  # fmt: skip

_COMBINING = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u030a": "r", "\u030b": "H",
    "\u030c": "v", "\u0327": "c", "\u0328": "k", "\u0306": "u", "\u0307": ".",
}  # fmt: skip


def text(plain: str) -> str:
    r"""Plain text as LaTeX: what LaTeX would read as a command is escaped, letters with accents are spelt out.

    Raises
    ------
    InvalidInput
        For a character that has no spelling here.
    """
    return "".join(map(_character, re.findall(r".[\u0300-\u036f]?", unicodedata.normalize("NFC", plain), re.DOTALL)))


def _character(c: str) -> str:
    if c in _LETTERS:
        return _LETTERS[c]
    if c.isascii():
        return c
    if c in _SIGNS:
        return rf"\ensuremath{{{_SIGNS[c]}}}"
    base, *marks = list(unicodedata.normalize("NFD", c))
    if base.isascii() and len(marks) == 1 and marks[0] in _COMBINING:
        return rf"\{_COMBINING[marks[0]]}{{{base}}}"
    # ₁ and ² where no letter is before them to carry them.
    kind, *rest = unicodedata.decomposition(c).split() or [""]
    if kind in ("<sub>", "<super>") and len(rest) == 1:
        return rf"\text{kind.strip('<>')}script{{{_character(chr(int(rest[0], 16)))}}}"
    raise InvalidInput(f"{c!r} (U+{ord(c):04X}) has no spelling in LaTeX here; allowed are ASCII, accented letters and {''.join(_SIGNS)}")


def formula(node: Node, newline: str = r"\\") -> str:
    r"""A formula, without the marks that make it inline or displayed; `newline` ends a row (in Markdown `\cr`)."""
    return _Writer(newline).write(node)


class _Writer:
    def __init__(self, newline: str) -> None:
        self.newline = newline

    def write(self, node: Node) -> str:
        match node:
            case Letter(name, upright):
                return _letter(name, upright)
            case Number(digits):
                return digits
            case Words(words):
                return rf"\text{{{text(words)}}}"
            case Operator():
                return _operator(node)
            case Row(parts):
                return self._row(parts)
            case Scripts():
                return self._scripts(node)
            case Accent(base, mark):
                return rf"\{mark}{{{self.write(base)}}}"
            case Fraction(over, under, bar):
                command = r"\frac" if bar else r"\genfrac{}{}{0pt}{}"
                if isinstance(over, Number) and isinstance(under, Number) and len(over.text + under.text) == 2:
                    command = r"\tfrac"
                return f"{command}{{{self.write(over)}}}{{{self.write(under)}}}"
            case Root(inside, degree):
                return rf"\sqrt{'' if degree is None else f'[{self.write(degree)}]'}{{{self.write(inside)}}}"
            case Fenced(left, inside, right):
                if left and right and not tall(inside):
                    # Plain brackets: a line may break inside them.
                    return f"{_fence(left, 'l')}{self.write(inside)}{_fence(right, 'r')}"
                return rf"\left{_fence(left, 'l')} {self.write(inside)} \right{_fence(right, 'r')}"
            case Table(rows, align):
                # Lines and cases have no space beside them, matrices do.
                columns = r"@{}l" + "l" * (len(rows[0]) - 1) + "@{}" if align == "left" else "c" * len(rows[0])
                # Displayed size, which an array would otherwise not have.
                lead = r"\displaystyle " if align == "left" else ""
                # Fractions one below the other would touch; Markdown's row end takes no space.
                end = f" {self.newline}[3pt] " if self.newline == r"\\" else f" {self.newline} "
                body = end.join(" & ".join(lead + self.write(cell) for cell in cells) for cells in rows)
                return rf"\begin{{array}}{{{columns}}} {body} \end{{array}}"

    def _row(self, parts: tuple[Node, ...]) -> str:
        """Parts side by side, with the thin space that a function's name wants and LaTeX puts round its own names alone."""
        written: list[str] = []
        for number, part in enumerate(parts):
            before = parts[number - 1] if number else None
            if part == _APPLIED:
                written.append(r"\thinspace" if _is_foreign_name(before) else "")
            else:
                factor = before is not None and (not isinstance(before, Operator) or before == TIMES)
                written.append(r"\thinspace " * (factor and _is_foreign_name(part)) + self.write(part))
        return " ".join(filter(None, written))

    def _scripts(self, node: Scripts) -> str:
        base = self.write(node.base)
        if node.limits:
            base = rf"\mathop{{{base}}}\limits" if not isinstance(node.base, Operator | Letter) else rf"{base}\limits"
        elif isinstance(node.base, Row | Scripts | Fraction | Accent):
            base = f"{{{base}}}"
        sub = "" if node.sub is None else f"_{{{self.write(node.sub)}}}"
        return base + sub + ("" if node.sup is None else f"^{{{self.write(node.sup)}}}")


_APPLIED = Operator(APPLY, "product")


def _is_foreign_name(node: Node | None) -> bool:
    base = node.base if isinstance(node, Scripts) else node
    return isinstance(base, Letter) and len(base.text) > 1 and base.text not in _NAMED


def _letter(name: str, upright: bool) -> str:
    if len(name) == 1:
        if name in _SIGNS:
            return _SIGNS[name]
        if name.isascii():
            return rf"\mathrm{{{name}}}" if upright else name
    if name in _NAMED:
        return rf"\{name}"
    if upright or len(name) > 1:
        return rf"\mathrm{{{text(name)}}}"
    return rf"\text{{{text(name)}}}"


def _operator(node: Operator) -> str:
    if not node.text:
        return ""
    spelt = "".join(_SIGNS.get(c, c) for c in node.text)
    return f"{{{spelt}}}" if node.role == "prefix" and node.text not in "∑∏∫" else spelt


def _fence(bracket: str, side: str) -> str:
    if not bracket:
        return "."
    if bracket in "‖|":
        return rf"\{side}{'Vert' if bracket == '‖' else 'vert'} "
    return _SIGNS.get(bracket, bracket) + " " * (bracket in _SIGNS)

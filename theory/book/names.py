"""Set the names of SymPy symbols: `gamma_k`, `F_P^T`, `y~_Q`, `dSigma`, `|x|`."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from theory.book.formulas import read_formula
from theory.book.nodes import Accent, Letter, Node, Number, Operator, Scripts, row

_GREEK_NAMES = {
    unicodedata.name(c).split()[-1].lower(): c for c in "αβγδεζηθικλμνξοπρστυφχψω"
} | {"lambda": "λ", "lamda": "λ"}  # fmt: skip
_GREEK_NAMES |= {"ell": "ℓ", "varphi": "ϕ", "vartheta": "ϑ", "varepsilon": "ϵ", "varrho": "ϱ"}
_GREEK_NAMES |= {name.capitalize(): c.upper() for name, c in _GREEK_NAMES.items()}

_NAME = re.compile(
    r"(?P<d>d?)(?P<base>[A-Za-z]+)(?P<tilde>~?)(?P<digits>\d*)(?:_(?P<sub>[A-Za-z0-9]+[-+]?|[-+]))?(?:\^(?P<sup>[A-Za-z0-9]+))?"
)


@cache
def name(text: str) -> Node:
    """A symbol's name as it is set; what has another form is read as a formula."""
    match = _NAME.fullmatch(text)
    if match is None:
        return read_formula(text)
    base, differential = match["d"] + match["base"], ""
    if match["d"] and match["base"] in _GREEK_NAMES:
        base, differential = match["base"], "d"
    letter: Node = Letter(_GREEK_NAMES[base]) if base in _GREEK_NAMES else Letter(base, upright=len(base) > 1)
    if match["tilde"]:
        letter = Accent(letter, "tilde")
    sub = match["sub"] or match["digits"]
    if sub or match["sup"]:
        letter = Scripts(letter, sub=_index(sub) if sub else None, sup=_power(match["sup"]) if match["sup"] else None)
    return row(Letter(differential, upright=True), letter) if differential else letter


def _power(text: str) -> Node:
    """A superscript; `T` is a transpose, which as a subscript is a set of points."""
    return Letter("⊤", upright=True) if text == "T" else _index(text)


def _index(text: str) -> Node:
    """A sub- or superscript of a symbol's name."""
    if text in _GREEK_NAMES:
        return Letter(_GREEK_NAMES[text])
    if text[-1] in "+-":
        sign = Operator(text[-1].replace("-", "−"), "prefix")
        return row(_index(text[:-1]), sign) if len(text) > 1 else sign
    if text.isdigit():
        return Number(text)
    if len(text) > 1 and text.isalpha() and not text.isupper() and len(text) != 2:
        return Letter(text, upright=True)
    return row(*map(Letter, text))

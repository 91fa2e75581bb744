"""Words and signs of plain text that may hold formulas, and which words are prose, names of functions, or short enough to be products."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

FUNCTIONS = {
    "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "log2": "log2", "log10": "log10", "sin": "sin", "cos": "cos",
    "tan": "tan", "arcsin": "arcsin", "asin": "arcsin", "arccos": "arccos", "acos": "arccos", "arctan": "arctan", "atan": "arctan",
    "atan2": "atan2", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "erf": "erf", "erfc": "erfc", "sgn": "sgn", "softmax": "softmax",
    "tr": "tr", "det": "det", "diag": "diag", "cond": "cond", "Var": "Var", "Cov": "Cov",
}  # fmt: skip
"""Names that are functions wherever they stand, and how they are set."""

AMBIGUOUS = {"min", "max", "sup", "inf", "sign", "rank", "mean", "gap", "eps", "dim", "lim", "median", "span", "argmin", "argmax"}
"""Functions when a formula follows, prose otherwise."""

AFTER_LETTERS = {
    "after", "and", "are", "as", "at", "before", "by", "for", "from", "has", "in", "is", "of", "on", "or", "to", "with",
}  # fmt: skip
"""Words that follow a letter, never the article: `a before, a − b after`."""

SHORT_WORDS = {
    "al", "am", "an", "as", "at", "be", "by", "do", "du", "et", "go", "he", "if", "in", "is", "it", "me", "my", "no", "of", "on", "or",
    "so", "to", "up", "us", "vs", "we",
}  # fmt: skip
"""Words of two letters; two other letters beside a formula are a product."""

Kind = Literal["space", "code", "word", "letter", "number", "sub", "sup", "sign", "punct"]


@dataclass(frozen=True)
class Token:
    """One piece of a text; small letters and digits come as a run, as the plain ones they stand for."""

    kind: Kind
    text: str


_PATTERN = re.compile(
    r"""(?P<space>\s+)
    |(?P<code>`[^`]+`|\b[a-z]+(?:\.[a-z_]\w*){2,}|\b(?:[a-z]{2,}_[a-z]{4,}|[a-z]_[a-z]{6,})\w*(?:\(\))?|\b[a-z]+(?:_[a-z]+){2,})
    |(?P<abbreviation>\bi\.i\.d\.|\be\.g\.|\bi\.e\.|\barXiv\s\d{4}\.\d{4,5}|\b\d{4}\.\d{4,5}|[A-Z]\.(?=\s[A-Z]))
    |(?P<hyphened>(?<=\w)-(?=[^\W\d_]{2}|\d)[^\s,;:.()]*|'s\b|’s\b)
    |(?P<number>\d+(?:\.\d+)?(?:e[-−]?\d+\b)?)
    |(?P<function>atan2|log10|log2|log1p|expm1)
    |(?P<word>[A-Za-zÀ-ɏ]{2,}(?![\u0300-\u0308])(?:[-'’][A-Za-zÀ-ɏ0-9]+)*)
    |(?P<vulgar>[½¼¾⅓⅔⅛])
    |(?P<letter>[^\W\d_][\u0300-\u0308]?)
    |(?P<sign>\S)""",
    re.VERBOSE,
)


# Groups of the pattern that are read as a kind of another name.
_KINDS = {"abbreviation": "punct", "hyphened": "punct", "function": "word", "vulgar": "sign"}


def tokens(text: str) -> list[Token]:
    """The text in pieces, none lost."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        script = _script(text[position])
        if script:
            end = position
            while end < len(text) and _script(text[end]) == script:
                end += 1
            plain = "".join(unicodedata.normalize("NFKD", c) for c in text[position:end])
            found.append(Token(script, plain))
            position = end
            continue
        match = _PATTERN.match(text, position)
        assert match is not None
        kind, piece = match.lastgroup, match.group()
        position = match.end()
        if kind == "sign" and piece in ',;:.?!“”‘’"':
            kind = "punct"
        found.append(Token(_KINDS.get(kind or "", kind), piece))  # type: ignore[arg-type]
    return found


def _script(c: str) -> Literal["sub", "sup", ""]:
    decomposition = unicodedata.decomposition(c)
    if decomposition.startswith("<sub>"):
        return "sub"
    return "sup" if decomposition.startswith("<super>") and c not in "™ªº" else ""


def is_code(text: str) -> bool:
    """Whether what stands in backticks is a name of the program or a command; else it is a formula."""
    if re.fullmatch(r"[a-z]_[a-z]{6,}\w*", text):
        return True
    name = re.fullmatch(r"\.?([A-Za-z]{2}[\w.]*)(=\w+)?", text, re.ASCII) or re.fullmatch(
        r"([A-Za-z]{3}[\w.]*)\(.*\)[\w.]*", text, re.ASCII
    )
    return text.startswith(("ptoq ", "--")) or (name is not None and name[1] not in FUNCTIONS.keys() | AMBIGUOUS)

"""Read plain text with formulas in it, as statements and rules are written: `y − u(k) = (I − ηH)^k y for the squared loss ½‖u − y‖²`.

What is prose stays prose, what is a formula becomes a tree of `theory.book.nodes`. A run of two letters or more is prose unless it is the
name of a function or sticks to something that is no prose: the `Hr` of `rᵀHr` is a product.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from theory.book.nodes import (
    APPLY,
    RELATIONS,
    SUMS,
    THIN,
    TIMES,
    Accent,
    Fenced,
    Fraction,
    Letter,
    Node,
    Number,
    Operator,
    Root,
    Scripts,
    Words,
    relation,
    row,
)


@dataclass(frozen=True)
class Prose:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Code:
    """A name from the program."""

    text: str


Span: TypeAlias = Prose | Code | Node

FUNCTIONS = {
    **{
        name: name
        for name in (
            "exp",
            "log",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "erf",
            "erfc",
            "tr",
            "det",
            "diag",
            "sgn",
            "softmax",
            "atan2",
            "Var",
            "Cov",
        )
    },
    **{"arccos": "arccos", "acos": "arccos", "arcsin": "arcsin", "asin": "arcsin", "arctan": "arctan", "atan": "arctan"},
}
"""Names that are functions wherever they stand, and how they are set."""

_AMBIGUOUS = {"min", "max", "sup", "inf", "sign", "rank", "mean", "gap", "eps", "dim", "lim", "median", "span", "argmin", "argmax"}
"""Functions when a formula follows, prose otherwise."""

_AFTER_LETTERS = {
    "after", "and", "are", "as", "at", "before", "by", "for", "from", "has", "in", "is", "of", "on", "or", "to", "with",
}  # fmt: skip
"""Words that follow a letter, never the article: `a before, a − b after`."""

_SHORT_WORDS = {
    "al", "am", "an", "as", "at", "be", "by", "do", "du", "et", "go", "he", "if", "in", "is", "it", "me", "my", "no", "of", "on", "or",
    "so", "to", "up", "us", "vs", "we",
}  # fmt: skip
"""Words of two letters; two other letters beside a formula are a product."""

_GREEK_NAMES = {
    unicodedata.name(c).split()[-1].lower(): c for c in "αβγδεζηθικλμνξοπρστυφχψω"
} | {"lambda": "λ", "lamda": "λ"}  # fmt: skip
_GREEK_NAMES |= {"varphi": "ϕ", "vartheta": "ϑ", "varepsilon": "ϵ", "varrho": "ϱ"}
_GREEK_NAMES |= {name.capitalize(): c.upper() for name, c in _GREEK_NAMES.items()}

_VULGAR = {"½": ("1", "2"), "¼": ("1", "4"), "¾": ("3", "4"), "⅓": ("1", "3"), "⅔": ("2", "3"), "⅛": ("1", "8")}
_OPEN = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⌊": "⌋", "⌈": "⌉"}
_DOTS = "·×∘⊗⊙⊕"
_STANDS_ALONE = "∂∇∞…⋯∅ℓ⊤⊥′†∀∃"

Kind = Literal["space", "code", "word", "letter", "number", "sub", "sup", "sign", "punct"]


@dataclass(frozen=True)
class _Token:
    kind: Kind
    text: str


_PATTERN = re.compile(
    r"""(?P<space>\s+)
    |(?P<code>`[^`]+`|\b[a-z]+(?:\.[a-z_]\w*){2,}|\b[a-z]{2,}_[a-z]{4,}\w*(?:\(\))?|\b[a-z]+(?:_[a-z]+){2,})
    |(?P<abbreviation>\bi\.i\.d\.|\be\.g\.|\bi\.e\.|\barXiv\s\d{4}\.\d{4,5}|\b\d{4}\.\d{4,5}|[A-Z]\.(?=\s[A-Z]))
    |(?P<hyphened>(?<=\w)-(?=[^\W\d_]{2}|\d)[^\s,;:.()]*|'s\b|’s\b)
    |(?P<number>\d+(?:\.\d+)?(?:e[-−]?\d+\b)?)
    |(?P<function>atan2)
    |(?P<word>[A-Za-zÀ-ɏ]{2,}(?![\u0300-\u0308])(?:[-'’][A-Za-zÀ-ɏ0-9]+)*)
    |(?P<vulgar>[½¼¾⅓⅔⅛])
    |(?P<letter>[^\W\d_][\u0300-\u0308]?)
    |(?P<sign>\S)""",
    re.VERBOSE,
)


# Groups of the pattern that are read as a kind of another name.
_KINDS = {"abbreviation": "punct", "hyphened": "punct", "function": "word", "vulgar": "sign"}


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        script = _script(text[position])
        if script:
            end = position
            while end < len(text) and _script(text[end]) == script:
                end += 1
            plain = "".join(unicodedata.normalize("NFKD", c) for c in text[position:end])
            tokens.append(_Token(script, plain))
            position = end
            continue
        match = _PATTERN.match(text, position)
        assert match is not None
        kind, found = match.lastgroup, match.group()
        position = match.end()
        if kind == "sign" and found in ',;:.?!“”‘’"':
            kind = "punct"
        tokens.append(_Token(_KINDS.get(kind or "", kind), found))  # type: ignore[arg-type]
    return tokens


def _script(c: str) -> Literal["sub", "sup", ""]:
    decomposition = unicodedata.decomposition(c)
    if decomposition.startswith("<sub>"):
        return "sub"
    return "sup" if decomposition.startswith("<super>") and c not in "™ªº" else ""


def _is_prose(word: str) -> bool:
    return word not in FUNCTIONS


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0

    # What is read

    def spans(self, closing: str = "") -> list[Span | None]:
        """Everything up to `closing` or the end; `None` stands for a space."""
        out: list[Span | None] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if closing and token.kind == "sign" and token.text == closing:
                break
            out.extend(self.one(out, bool(closing)))
        return out

    def one(self, before: list[Span | None], inside: bool) -> list[Span | None]:
        token = self.tokens[self.at]
        match token.kind:
            case "space":
                self.at += 1
                return [None]
            case "code":
                self.at += 1
                text = token.text.strip("`")
                return [Code(text) if is_code(text) or "`" not in token.text else read_formula(text)]
            case "punct":
                self.at += 1
                if inside and token.text in ",;:":
                    return [Operator(token.text, "relation" if token.text == ":" else "comma")]
                return [Prose(token.text)]
            case "word" if not self.word_is_formula(before):
                self.at += 1
                return [Prose(token.text)]
            case "letter" if token.text in ("a", "A") and self.is_article(before):
                self.at += 1
                return [Prose(token.text)]
            case "sign" if token.text in _OPEN:
                return self.bracketed(before)
            case _:
                return self.part(before)

    def word_is_formula(self, before: list[Span | None]) -> bool:
        word, after = self.tokens[self.at].text, self.peek(1)
        if word in FUNCTIONS:
            return True
        next_is_script = after is not None and (after.kind in ("sub", "sup") or after.text in ("_", "^"))
        if word in _AMBIGUOUS:
            if next_is_script or (after is not None and after.text in ("(", "{", "|", "‖", "[")):
                return True
            if before and not isinstance(before[-1], (Prose, Code)) and before[-1] is not None:
                return True
            return word == "eps" or (self.is_formula_after_space() and word not in ("mean", "gap", "sign"))
        if len(word) == 2 and word.lower() not in _SHORT_WORDS and self.is_beside_formula(before):
            return True
        if len(word) > 4 or "-" in word or "'" in word or "’" in word:
            return False
        attached = bool(before) and isinstance(before[-1], Node) and not _is_fence_or_comma(before[-1])
        slash = after is not None and after.text == "/"
        other = self.peek(2) if slash else None
        if before and isinstance(before[-1], Operator) and before[-1].text == "/":
            return attached and len(word) <= 3
        if slash and other is not None:
            differentials = word[0] == "d" and other.kind == "word" and other.text[0] == "d" and len(word) <= 3
            return differentials or (len(word) <= 2 and other.kind not in ("word", "punct", "space"))
        if next_is_script:
            return after is not None and (after.kind != "sign" or len(word) <= 2)
        next_is_letter = after is not None and after.kind == "letter" and not after.text.isascii()
        return len(word) <= 3 and (attached or next_is_letter)

    def is_article(self, before: list[Span | None]) -> bool:
        after, second = self.peek(1), self.peek(2)
        if after is None or after.kind != "space" or second is None or (before and isinstance(before[-1], Node)):
            return False
        if second.kind in ("code", "number"):
            return not before or isinstance(next((s for s in reversed(before) if s is not None), None), Prose)
        if second.text in _AFTER_LETTERS:
            return False
        third = self.peek(3)
        follows_word = next((s for s in reversed(before) if s is not None), None)
        if second.kind == "letter" and third is not None and third.kind == "punct" and third.text.startswith("-"):
            return True
        return second.kind == "word" and _is_prose(second.text) and (follows_word is None or not isinstance(follows_word, Operator))

    def is_beside_formula(self, before: list[Span | None]) -> bool:
        last = next((s for s in reversed(before) if s is not None), None)
        if isinstance(last, Node) and not (isinstance(last, Operator) and last.role == "comma"):
            return True
        after, second = self.peek(1), self.peek(2)
        alone = not before and self.at > 0 and self.tokens[self.at - 1].text in "([{‖|" and after is not None and after.text in ")]}‖|"
        return alone or (second is not None and second.kind == "sign" and second.text in RELATIONS + SUMS)

    def is_formula_after_space(self) -> bool:
        after, second = self.peek(1), self.peek(2)
        if after is None or after.kind != "space" or second is None:
            return False
        return second.kind in ("letter", "number") or (second.kind == "sign" and second.text in "(‖|Σ√λ")

    def bracketed(self, before: list[Span | None]) -> list[Span | None]:
        left = self.tokens[self.at].text
        start = self.at
        self.at += 1
        inside = self.spans(_OPEN[left])
        if self.at == len(self.tokens):
            # Never closed (an interval such as [0, 1) closes otherwise): the sign alone.
            if left in "([" and any(t.kind == "sign" and t.text in ")]" for t in self.tokens[start:]):
                self.at = start + 1
                inside = self.spans(")" if left == "[" else "]")
                if self.at < len(self.tokens):
                    self.at += 1
                    return [Fenced(left, _formula(inside), ")" if left == "[" else "]")]
            self.at = start + 1
            return [Prose(left)]
        if left in "([" and any(isinstance(s, (Prose, Code)) for s in inside):
            self.at += 1
            right = _OPEN[left]
            return [Prose(left), *_as_prose(inside), Prose(right)]
        self.at += 1
        return [self.scripted(Fenced(left, _formula(inside), _OPEN[left]))]

    def part(self, before: list[Span | None]) -> list[Span | None]:
        """One letter, number, operator, root or norm with its scripts; several letters for a product such as `Hr`."""
        token = self.tokens[self.at]
        self.at += 1
        match token.kind:
            case "number":
                return [self.scripted(_number(token.text))]
            case "letter":
                return [self.scripted(_letter(token.text) if token.text not in "ΣΠ" else self.sum_or_letter(token.text))]
            case "word":
                return self.letters(token.text)
            case "sub" | "sup":
                # The script of a word, displacement², or of brackets round prose.
                base = Words(before.pop().text) if before and isinstance(before[-1], Prose) else Words("\u200b")  # type: ignore[union-attr]
                script = _script_content(token.text)
                return [Scripts(base, sub=script) if token.kind == "sub" else Scripts(base, sup=script)]
        return self.sign(token.text, before)

    def letters(self, word: str) -> list[Span | None]:
        if word in FUNCTIONS or word in _AMBIGUOUS:
            name = self.scripted(Letter(FUNCTIONS.get(word, word), upright=True))
            after = self.peek(0)
            if after is not None and after.kind == "space" and word != "eps" and self.starts_atom(self.peek(1)):
                self.at += 1
                return [name, Operator(APPLY, "product")]
            return [name]
        return [*map(_letter, word[:-1]), self.scripted(_letter(word[-1]))]

    def sum_or_letter(self, sign: str) -> Node:
        after, second = self.peek(0), self.peek(1)
        if after is None or after.text == "(" or after.kind == "punct":
            return Letter(sign)
        if after.text == "_" and second is not None and second.text[0] in "PQTXS":
            return Letter(sign)
        return Operator("∑" if sign == "Σ" else "∏", "prefix")

    def sign(self, sign: str, before: list[Span | None]) -> list[Span | None]:
        last = next((s for s in reversed(before) if s is not None), None)
        follows_atom = isinstance(last, Node) and not isinstance(last, Operator)
        if sign in _VULGAR:
            over, under = _VULGAR[sign]
            return [Fraction(Number(over), Number(under))]
        if sign == "√":
            return [self.root()]
        if sign in "‖|":
            return self.norm(sign, before)
        if sign in "∑∏∫":
            return [self.scripted(Operator(sign, "prefix"))]
        if sign in SUMS:
            after = self.peek(0)
            spaced = after is None or after.kind == "space"
            # A sign that hugs what follows, after a space or at the start, belongs to it alone.
            prefix = last is None or (isinstance(last, Operator) and last.role != "prefix") or (before[-1] is None and not spaced)
            return [Operator(sign, "prefix" if prefix else "sum")]
        if sign in RELATIONS or sign == "~":
            return [relation(sign.replace("~", "∼"))]
        if sign in _DOTS:
            return [Operator(sign, "dot")]
        if sign == "/":
            return [Operator("/", "product")] if follows_atom or not before else [Prose("/")]
        if sign in _STANDS_ALONE:
            return [self.scripted(Letter(sign, upright=True))]
        if sign == "*" or sign == "∗":
            return [Operator("∗", "dot")]
        if sign == "!" and follows_atom:
            return [Letter("!", upright=True)]
        if sign == "-" and self.is_minus(before, last):
            return self.sign("−", before)
        return [Prose(sign)]

    def is_minus(self, before: list[Span | None], last: Span | None) -> bool:
        """Whether a hyphen is a minus: between formulas with space on both sides, or before a number at the start of a group."""
        after = self.peek(0)
        if after is None or isinstance(last, (Prose, Code)):
            return False
        if after.kind == "space":
            return last is not None and before[-1] is None
        return (last is None or isinstance(last, Operator)) and after.kind in ("number", "letter")

    def root(self) -> Node:
        after = self.peek(0)
        if after is None:
            return Letter("√")
        if after.text == "(":
            self.at += 1
            inside = self.spans(")")
            self.at += 1
            return Root(_formula(inside))
        inside = self.one([], inside=True)
        following = self.peek(0)
        if after.kind == "letter" and following is not None and following.text == "(":
            # `√κ(H)` is the root of a value, `√κ (1 + s)` a product.
            inside += self.bracketed([])
        return Root(_formula(inside))

    def norm(self, sign: str, before: list[Span | None]) -> list[Span | None]:
        """`‖…‖` or `|…|`; a bar with space on both sides is the "given" of a probability."""
        after = self.peek(0)
        given = sign == "|" and before and before[-1] is None and after is not None and after.kind == "space"
        start = self.at
        if not given:
            inside = self.spans(sign)
            if self.at < len(self.tokens) and inside:
                self.at += 1
                return [self.scripted(Fenced(sign, _formula(inside), sign))]
        self.at = start
        return [Operator(sign, "relation")]

    # Scripts

    def scripted(self, base: Node) -> Node:
        below: list[Node] = []
        above: list[Node] = []
        while (token := self.peek(0)) is not None:
            if token.kind == "sub":
                below.append(_script_content(token.text))
            elif token.kind == "sup":
                above.append(_script_content(token.text))
            elif token.text == "'" or token.text == "′":
                above.append(Letter("′", upright=True))
            elif token.text in ("*", "∗") and not self.starts_atom(self.peek(1)) and not isinstance(base, Number):
                above.append(Letter("∗", upright=True))
            elif token.text in ("_", "^") and self.peek(1) is not None:
                self.at += 1
                (below if token.text == "_" else above).append(self.argument())
                continue
            else:
                break
            self.at += 1
        if not below and not above:
            return base
        return Scripts(base, row(*below) if below else None, row(*above) if above else None)

    def argument(self) -> Node:
        """What stands after `_` or `^`: a group in braces or brackets, a word, or one sign with its own scripts."""
        token = self.tokens[self.at]
        if token.text in "{(":
            self.at += 1
            inside = self.spans(_OPEN[token.text])
            self.at += 1
            return _formula(inside)
        self.at += 1
        if token.kind == "word":
            short = len(token.text) == 2 and token.text not in ("op",)
            return row(*map(_letter, token.text)) if short or token.text.isupper() else Letter(token.text, upright=True)
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "letter":
            transposed = token.text == "T" and self.tokens[self.at - 2].text == "^"
            return Letter("⊤", upright=True) if transposed else _letter(token.text)
        if token.text in "−-+" and self.peek(0) is not None:
            return row(Operator("−" if token.text == "-" else token.text, "prefix"), self.argument())
        return Letter(token.text, upright=True)

    @staticmethod
    def starts_atom(token: _Token | None) -> bool:
        return token is not None and (token.kind in ("letter", "number") or token.text in FUNCTIONS or token.text in "(‖|√∑")

    def peek(self, ahead: int) -> _Token | None:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else None


def _is_fence_or_comma(node: Span | None) -> bool:
    return isinstance(node, Operator) and node.role in ("comma", "relation", "sum")


def _letter(text: str) -> Node:
    decomposed = unicodedata.normalize("NFD", text)
    if len(decomposed) == 2 and decomposed[1] in "\u0303\u0302\u0304":
        mark: Literal["tilde", "hat", "bar"] = {"\u0303": "tilde", "\u0302": "hat", "\u0304": "bar"}[decomposed[1]]  # type: ignore[assignment]
        return Accent(Letter(decomposed[0]), mark)
    return Letter(text)


def _script_content(plain: str) -> Node:
    """What a run of Unicode's small letters and digits says: `ᵢⱼ` is two indices, `ᵀ` a transpose."""
    if plain == "T":
        return Letter("⊤", upright=True)
    return row(*map(_letter, plain)) if plain.isalpha() else read_formula(plain)


def _number(text: str) -> Node:
    if "e" not in text:
        return Number(text)
    digits, exponent = text.split("e")
    sign = [Operator("−", "prefix")] if exponent[0] in "-−" else []
    power = Scripts(Number("10"), sup=row(*sign, Number(exponent.lstrip("-−"))))
    return power if digits == "1" else row(Number(digits), Operator("·", "dot"), power)


def _as_prose(spans: list[Span | None]) -> list[Span | None]:
    """Inside brackets that hold prose, commas are prose."""
    return [Prose(s.text) if isinstance(s, Operator) and s.role == "comma" else s for s in spans]


def _formula(spans: list[Span | None]) -> Node:
    """All of the spans as one formula."""
    parts: list[Node] = []
    space = False
    for span in spans:
        if span is None:
            space = True
            continue
        if isinstance(span, Prose) and span.text in (",", ";"):
            parts.append(Operator(span.text, "comma"))
            space = False
            continue
        node: Node = Words((" " if space and parts else "") + span.text) if isinstance(span, (Prose, Code)) else span
        if parts and not isinstance(parts[-1], Operator) and not isinstance(node, (Operator, Words)) and space:
            # `x·z 1{x > 0}`: a number would stick to what it multiplies.
            parts.append(THIN if isinstance(node, Number) else TIMES)
        if isinstance(node, Words) or (parts and isinstance(parts[-1], Words) and space):
            node = node if isinstance(node, Words) else row(Words(" "), node)
        parts.append(node)
        space = False
    return row(*parts) if parts else Words("")


def is_code(text: str) -> bool:
    """Whether what stands in backticks is a name of the program or a command; else it is a formula."""
    call = re.fullmatch(r"\.?([A-Za-z]{2}[\w.]*)(=\w+)?(\([\w, =.]*\))?", text, re.ASCII)
    return text.startswith(("ptoq ", "--")) or (call is not None and call[1] not in FUNCTIONS)


@cache
def read_formula(text: str) -> Node:
    """A text that is one formula, whatever words it holds."""
    return _formula(_Reader(_tokens(text)).spans())


@cache
def read(text: str) -> tuple[Span, ...]:
    """A text as prose, code and formulas; neighbouring parts of a formula joined, spaces kept between prose and formulas."""
    out: list[Span] = []
    run: list[Span | None] = []

    def close() -> None:
        trailing = bool(run) and run[-1] is None
        content = run[: len(run) - trailing]
        if content:
            node = _formula(content)
            plain = _plain(node)
            out.append(Prose(plain) if plain is not None else node)
        if trailing:
            out.append(Prose(" "))
        run.clear()

    for span in _Reader(_tokens(text)).spans():
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


_NAME = re.compile(r"(?P<d>d?)(?P<base>[A-Za-z]+)(?P<tilde>~?)(?P<digits>\d*)(?:_(?P<sub>[A-Za-z0-9]+|[-+]))?(?:\^(?P<sup>[A-Za-z0-9]+))?")


@cache
def name(text: str) -> Node:
    """The name of a SymPy symbol: `gamma_k`, `F_P^T`, `y~_Q`, `dSigma`, `|x|`."""
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
        letter = Scripts(letter, sub=_index(sub) if sub else None, sup=_index(match["sup"]) if match["sup"] else None)
    return row(Letter(differential, upright=True), letter) if differential else letter


def _index(text: str) -> Node:
    """A sub- or superscript of a symbol's name."""
    if text in _GREEK_NAMES:
        return Letter(_GREEK_NAMES[text])
    if text in "+-":
        return Operator(text.replace("-", "−"), "prefix")
    if text.isdigit():
        return Number(text)
    if len(text) > 1 and text.isalpha() and not text.isupper() and len(text) != 2:
        return Letter(text, upright=True)
    return Letter("⊤", upright=True) if text == "T" else row(*map(_letter, text))

"""Recursive descent over plain text with formulas in it; `theory.book.formulas` is what others call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from theory.book.atoms import letter, number
from theory.book.nodes import (
    APPLY,
    RELATIONS,
    SUMS,
    THIN,
    TIMES,
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
from theory.book.tokens import AFTER_LETTERS, AMBIGUOUS, FUNCTIONS, SHORT_WORDS, Token, is_code, tokens


@dataclass(frozen=True)
class Prose:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Code:
    """A name from the program."""

    text: str


Span: TypeAlias = Prose | Code | Node

_VULGAR = {"½": ("1", "2"), "¼": ("1", "4"), "¾": ("3", "4"), "⅓": ("1", "3"), "⅔": ("2", "3"), "⅛": ("1", "8")}
_OPEN = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⌊": "⌋", "⌈": "⌉"}
_DOTS = "·×∘⊗⊙⊕"
_STANDS_ALONE = "∂∇∞…⋯∅ℓ⊤⊥′†∀∃"


class Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.at = 0

    # What is read

    def spans(self, closing: str = "") -> list[Span | None]:
        """Everything up to `closing` or the end; `None` stands for a space."""
        out: list[Span | None] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if closing and token.kind == "sign" and token.text == closing:
                break
            out.extend(self._one(out, bool(closing)))
        return out

    def _one(self, before: list[Span | None], inside: bool) -> list[Span | None]:
        token = self.tokens[self.at]
        match token.kind:
            case "space":
                self.at += 1
                return [None]
            case "code":
                self.at += 1
                text = token.text.strip("`")
                return [Code(text) if is_code(text) or "`" not in token.text else formula_in(text)]
            case "punct":
                self.at += 1
                if inside and token.text in ",;:":
                    return [Operator(token.text, "relation" if token.text == ":" else "comma")]
                return [Prose(token.text)]
            case "word" if not self._word_is_formula(before):
                self.at += 1
                return [Prose(token.text)]
            case "letter" if token.text in ("a", "A") and self._is_article(before):
                self.at += 1
                return [Prose(token.text)]
            case "sign" if token.text in _OPEN:
                return self._bracketed(before)
            case _:
                return self._part(before)

    def _word_is_formula(self, before: list[Span | None]) -> bool:
        """Whether the letters ahead are a function's name or a product, not a word: `diag(λ)`, the `Hr` of `rᵀHr`, `dr/dt`."""
        word, after = self.tokens[self.at].text, self._peek(1)
        if word in FUNCTIONS:
            return True
        next_is_script = after is not None and (after.kind in ("sub", "sup") or after.text in ("_", "^"))
        if word in AMBIGUOUS:
            if next_is_script or (after is not None and after.text in ("(", "{", "|", "‖", "[")):
                return True
            if before and not isinstance(before[-1], (Prose, Code)) and before[-1] is not None:
                return True
            return word == "eps" or (self._is_formula_after_space() and word not in ("mean", "gap", "sign"))
        if len(word) == 2 and word.lower() not in SHORT_WORDS and self._is_beside_formula(before):
            return True
        if len(word) > 4 or "-" in word or "'" in word or "’" in word:
            return False
        attached = bool(before) and isinstance(before[-1], Node) and not _is_fence_or_comma(before[-1])
        slash = after is not None and after.text == "/"
        other = self._peek(2) if slash else None
        if before and isinstance(before[-1], Operator) and before[-1].text == "/":
            return attached and len(word) <= 3
        if slash and other is not None:
            differentials = word[0] == "d" and other.kind == "word" and other.text[0] == "d" and len(word) <= 3
            return differentials or (len(word) <= 2 and other.kind not in ("word", "punct", "space"))
        if next_is_script:
            return after is not None and (after.kind != "sign" or len(word) <= 2)
        next_is_letter = after is not None and after.kind == "letter" and not after.text.isascii()
        return len(word) <= 3 and (attached or next_is_letter)

    def _is_article(self, before: list[Span | None]) -> bool:
        """Whether the `a` ahead is the article: a word follows, and none that follows letters alone."""
        after, second = self._peek(1), self._peek(2)
        if after is None or after.kind != "space" or second is None or (before and isinstance(before[-1], Node)):
            return False
        if second.kind in ("code", "number"):
            return not before or isinstance(next((s for s in reversed(before) if s is not None), None), Prose)
        if second.text in AFTER_LETTERS:
            return False
        third = self._peek(3)
        follows_word = next((s for s in reversed(before) if s is not None), None)
        if second.kind == "letter" and third is not None and third.kind == "punct" and third.text.startswith("-"):
            return True
        return second.kind == "word" and second.text not in FUNCTIONS and (follows_word is None or not isinstance(follows_word, Operator))

    def _is_beside_formula(self, before: list[Span | None]) -> bool:
        """Whether the two letters ahead follow a formula, stand before a relation or sum, or stand alone between brackets."""
        last = next((s for s in reversed(before) if s is not None), None)
        if isinstance(last, Node) and not (isinstance(last, Operator) and last.role == "comma"):
            return True
        after, second = self._peek(1), self._peek(2)
        alone = not before and self.at > 0 and self.tokens[self.at - 1].text in "([{‖|" and after is not None and after.text in ")]}‖|"
        return alone or (second is not None and second.kind == "sign" and second.text in RELATIONS + SUMS)

    def _is_formula_after_space(self) -> bool:
        after, second = self._peek(1), self._peek(2)
        if after is None or after.kind != "space" or second is None:
            return False
        return second.kind in ("letter", "number") or (second.kind == "sign" and second.text in "(‖|Σ√λ")

    def _bracketed(self, before: list[Span | None]) -> list[Span | None]:
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
                    return [Fenced(left, formula_of(inside), ")" if left == "[" else "]")]
            self.at = start + 1
            return [Prose(left)]
        if left in "([" and any(isinstance(s, (Prose, Code)) for s in inside):
            self.at += 1
            right = _OPEN[left]
            return [Prose(left), *_as_prose(inside), Prose(right)]
        self.at += 1
        return [self._scripted(Fenced(left, formula_of(inside), _OPEN[left]))]

    def _part(self, before: list[Span | None]) -> list[Span | None]:
        """One letter, number, operator, root or norm with its scripts; several letters for a product such as `Hr`."""
        token = self.tokens[self.at]
        self.at += 1
        match token.kind:
            case "number":
                return [self._scripted(number(token.text))]
            case "letter":
                return [self._scripted(letter(token.text) if token.text not in "ΣΠ" else self._sum_orletter(token.text))]
            case "word":
                return self._letters(token.text)
            case "sub" | "sup":
                # The script of a word, displacement², or of brackets round prose.
                base = Words(before.pop().text) if before and isinstance(before[-1], Prose) else Words("\u200b")  # type: ignore[union-attr]
                script = _script_content(token.text)
                return [Scripts(base, sub=script) if token.kind == "sub" else Scripts(base, sup=script)]
        return self._sign(token.text, before)

    def _letters(self, word: str) -> list[Span | None]:
        if word in FUNCTIONS or word in AMBIGUOUS:
            name = self._scripted(Letter(FUNCTIONS.get(word, word), upright=True))
            after = self._peek(0)
            if after is not None and after.kind == "space" and word != "eps" and self._starts_atom(self._peek(1)):
                self.at += 1
                return [name, Operator(APPLY, "product")]
            return [name]
        return [*map(letter, word[:-1]), self._scripted(letter(word[-1]))]

    def _sum_orletter(self, sign: str) -> Node:
        """A sum stands before what is summed, bare or with a running index; else Σ is a matrix's or a function's name."""
        ahead = 0
        after, second = self._peek(0), self._peek(1)
        if after is not None and after.text == "_" and second is not None:
            if second.text[0] in "PQTXS" or second.text.isdigit():
                return Letter(sign)
            return Operator("∑" if sign == "Σ" else "∏", "prefix")
        if after is not None and after.kind == "sub" and not after.text.isdigit():
            return Operator("∑" if sign == "Σ" else "∏", "prefix")
        if after is not None and after.kind == "space":
            ahead = 1
        summed = self._peek(ahead)
        atom = summed is not None and (summed.kind in ("letter", "number") or summed.text in "‖|√½¼" or summed.text in FUNCTIONS)
        atom = atom or (ahead == 1 and summed is not None and summed.text in "([")
        return Operator("∑" if sign == "Σ" else "∏", "prefix") if atom else Letter(sign)

    def _sign(self, sign: str, before: list[Span | None]) -> list[Span | None]:
        last = next((s for s in reversed(before) if s is not None), None)
        follows_atom = isinstance(last, Node) and not isinstance(last, Operator)
        if sign in _VULGAR:
            over, under = _VULGAR[sign]
            return [Fraction(Number(over), Number(under))]
        if sign == "√":
            return [self._root()]
        if sign in "‖|":
            return self._norm(sign, before)
        if sign in "∑∏∫":
            return [self._scripted(Operator(sign, "prefix"))]
        if sign in SUMS:
            after = self._peek(0)
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
            return [self._scripted(Letter(sign, upright=True))]
        if sign == "*" or sign == "∗":
            return [Operator("∗", "dot")]
        if sign == "!" and follows_atom:
            return [Letter("!", upright=True)]
        if sign == "-" and self._is_minus(before, last):
            return self._sign("−", before)
        return [Prose(sign)]

    def _is_minus(self, before: list[Span | None], last: Span | None) -> bool:
        """Whether a hyphen is a minus: between formulas with space on both sides, or before a number at the start of a group."""
        after = self._peek(0)
        if after is None or isinstance(last, (Prose, Code)):
            return False
        if after.kind == "space":
            return last is not None and before[-1] is None
        return (last is None or isinstance(last, Operator)) and after.kind in ("number", "letter")

    def _root(self) -> Node:
        after = self._peek(0)
        if after is None:
            return Letter("√")
        if after.text == "(":
            self.at += 1
            inside = self.spans(")")
            self.at += 1
            return Root(formula_of(inside))
        inside = self._one([], inside=True)
        following = self._peek(0)
        if after.kind == "letter" and following is not None and following.text == "(":
            # `√κ(H)` is the root of a value, `√κ (1 + s)` a product.
            inside += self._bracketed([])
        return Root(formula_of(inside))

    def _norm(self, sign: str, before: list[Span | None]) -> list[Span | None]:
        """`‖…‖` or `|…|`; a bar with space on both sides is the "given" of a probability."""
        after = self._peek(0)
        given = sign == "|" and before and before[-1] is None and after is not None and after.kind == "space"
        start = self.at
        if not given:
            inside = self.spans(sign)
            if self.at < len(self.tokens) and inside:
                self.at += 1
                return [self._scripted(Fenced(sign, formula_of(inside), sign))]
        self.at = start
        return [Operator(sign, "relation")]

    # Scripts

    def _scripted(self, base: Node) -> Node:
        below: list[Node] = []
        above: list[Node] = []
        while (token := self._peek(0)) is not None:
            if token.kind == "sub":
                below.append(_script_content(token.text))
            elif token.kind == "sup":
                above.append(_script_content(token.text))
            elif token.text == "'" or token.text == "′":
                above.append(Letter("′", upright=True))
            elif token.text in ("*", "∗") and not self._starts_atom(self._peek(1)) and not isinstance(base, Number):
                above.append(Letter("∗", upright=True))
            elif token.text in ("_", "^") and self._peek(1) is not None:
                self.at += 1
                (below if token.text == "_" else above).append(self._argument())
                continue
            else:
                break
            self.at += 1
        if not below and not above:
            return base
        return Scripts(base, row(*below) if below else None, row(*above) if above else None)

    def _argument(self) -> Node:
        """What stands after `_` or `^`: a group in braces or brackets, a word, or one sign with its own scripts."""
        token = self.tokens[self.at]
        if token.text in "{(":
            self.at += 1
            inside = self.spans(_OPEN[token.text])
            self.at += 1
            return formula_of(inside)
        self.at += 1
        if token.kind == "word":
            short = len(token.text) == 2 and token.text not in ("op",)
            return row(*map(letter, token.text)) if short or token.text.isupper() else Letter(token.text, upright=True)
        if token.kind == "number":
            return number(token.text)
        if token.kind == "letter":
            transposed = token.text == "T" and self.tokens[self.at - 2].text == "^"
            return Letter("⊤", upright=True) if transposed else letter(token.text)
        if token.text in "−-+" and self._peek(0) is not None:
            return row(Operator("−" if token.text == "-" else token.text, "prefix"), self._argument())
        return Letter(token.text, upright=True)

    @staticmethod
    def _starts_atom(token: Token | None) -> bool:
        return token is not None and (token.kind in ("letter", "number") or token.text in FUNCTIONS or token.text in "(‖|√∑")

    def _peek(self, ahead: int) -> Token | None:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else None


def _is_fence_or_comma(node: Span | None) -> bool:
    return isinstance(node, Operator) and node.role in ("comma", "relation", "sum")


def _script_content(plain: str) -> Node:
    """What a run of Unicode's small letters and digits says: `ᵢⱼ` is two indices, `ᵀ` a transpose."""
    if plain == "T":
        return Letter("⊤", upright=True)
    return row(*map(letter, plain)) if plain.isalpha() else formula_in(plain)


def _as_prose(spans: list[Span | None]) -> list[Span | None]:
    """Inside brackets that hold prose, commas are prose."""
    return [Prose(s.text) if isinstance(s, Operator) and s.role == "comma" else s for s in spans]


def formula_of(spans: list[Span | None]) -> Node:
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


def formula_in(text: str) -> Node:
    """A text that is one formula, whatever words it holds."""
    return formula_of(Reader(text).spans())

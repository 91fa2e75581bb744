"""Letters, with the accent they may carry, and numbers, as nodes."""

from __future__ import annotations

import unicodedata
from typing import Literal

from theory.book.nodes import Accent, Letter, Node, Number, Operator, Scripts, row


def letter(text: str) -> Node:
    """One letter, its tilde, hat or bar set above it."""
    decomposed = unicodedata.normalize("NFD", text)
    if len(decomposed) == 2 and decomposed[1] in "\u0303\u0302\u0304":
        mark: Literal["tilde", "hat", "bar"] = {"\u0303": "tilde", "\u0302": "hat", "\u0304": "bar"}[decomposed[1]]  # type: ignore[assignment]
        return Accent(Letter(decomposed[0]), mark)
    return Letter(text)


def number(text: str) -> Node:
    """A number; `1e-9` is a power of ten."""
    if "e" not in text:
        return Number(text)
    digits, exponent = text.split("e")
    sign = [Operator("−", "prefix")] if exponent[0] in "-−" else []
    power = Scripts(Number("10"), sup=row(*sign, Number(exponent.lstrip("-−"))))
    return power if digits == "1" else row(Number(digits), Operator("·", "dot"), power)

"""Checks of single numbers, with the value received and the range allowed."""

from __future__ import annotations

import math

from theory.errors import InvalidInput


def check_count(name: str, value: int, least: int) -> None:
    """Raise `InvalidInput` unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} is {value!r}; a whole number ≥ {least} is allowed")


def check_number(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Raise `InvalidInput` unless `value` is a finite number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most or not math.isfinite(value):
        allowed = f"in [{least:g}, {most:g}]" if math.isfinite(most) else f"≥ {least:g}"
        raise InvalidInput(f"{name} is {value!r}; a number {allowed} is allowed")

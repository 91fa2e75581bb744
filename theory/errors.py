"""What can go wrong, as types a caller can tell apart."""

from __future__ import annotations


class InvalidInput(ValueError):
    """An argument outside what is allowed; the message holds the value given and the range allowed."""


class UnstableStep(InvalidInput):
    """A step size at which gradient descent on the given Gram matrix diverges."""


class TooLarge(InvalidInput):
    """A problem that does not fit in the free memory; the message says what it needs, what is free and what would fit."""


class NotConverged(RuntimeError):
    """An iteration that stopped before it reached what was asked of it."""


class DoesNotApply(InvalidInput):
    """A theorem's conditions are not met; the message says which, and what would meet them."""

"""Which array library a simulation runs on."""

from __future__ import annotations

from theory.errors import InvalidInput

BACKENDS = ("auto", "numpy")


def resolve_backend(name: str) -> str:
    """The backend to use; `"auto"` is NumPy in this version.

    Raises
    ------
    InvalidInput
        For a backend this version does not have.
    """
    if name not in BACKENDS:
        raise InvalidInput(f"backend is {name!r}; {', '.join(map(repr, BACKENDS))} are allowed in this version")
    return "numpy"

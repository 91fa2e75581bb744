"""The kernels' source text and how it is compiled, by CuPy at run time and by the tests without a GPU."""

from __future__ import annotations

from pathlib import Path

from theory.numeric.pairs import DIRECT

FILES = ("elementwise", "gram")

# No fast mathematics: a flushed subnormal or an approximate square root would be seen at small angles.
OPTIONS = ("--std=c++17", f"-DDIRECT={DIRECT}")

_TYPES = {"float64": "double", "float32": "float"}


def source(file: str) -> str:
    """Text of `file`.cu."""
    return (Path(__file__).parent / f"{file}.cu").read_text(encoding="utf-8")


def type_option(dtype: str) -> str:
    """The compiler's option that makes `REAL` a "float64" or "float32"."""
    return f"-DREAL={_TYPES[dtype]}"

"""Write the book to a file, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from theory.book import html, latex, markdown, structure
from theory.book.structure import Book
from theory.errors import InvalidInput
from theory.files import write_atomically
from theory.formula import Bound, CheckResult

Format = Literal["html", "latex", "md"]

SUFFIXES: dict[Format, str] = {"html": ".html", "latex": ".tex", "md": ".md"}
"""How the files of each format end."""

_WRITERS: dict[Format, Callable[[Book], str]] = {"html": html.write, "latex": latex.write, "md": markdown.write}

OUT = Path("ptoq-out")
"""The folder in which the book is put by default."""


def write_book(
    out: Path | None = None,
    format: Format = "html",
    names: Sequence[str] = (),
    check: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Path, Book]:
    """Write the derivations of the named entries, of all when none is named.

    The same registry gives the same bytes.

    Parameters
    ----------
    out : path of a file or a folder, optional
        What is a folder, ends in a slash, or has no extension, gets the file `theory.html`, `theory.tex` or `theory.md`.
    format : "html", "latex" or "md"
    check : bool
        Also check every entry, and say in the book what was found.
    progress : function of a line of text
        Told what is being checked.

    Returns
    -------
    Where the book is, and what it holds.

    Raises
    ------
    InvalidInput
        For an unknown format or name, before anything is written.
    """
    if format not in get_args(Format):
        raise InvalidInput(f"format is {format!r}; one of {', '.join(get_args(Format))} is allowed")
    checks = _checked(names, progress) if check else None
    book = structure.build(names, checks)
    path = destination(out, format)
    write_atomically(path, _WRITERS[format](book).encode())
    return path, book


def destination(out: Path | None, format: Format) -> Path:
    """The file that `out` stands for."""
    if out is None:
        out = OUT
    elif not out.is_dir() and out.suffix and not str(out).endswith(os.sep):
        return out
    return out / f"theory{SUFFIXES[format]}"


def _checked(names: Sequence[str], progress: Callable[[str], None]) -> dict[str, CheckResult]:
    from theory.checking import check
    from theory.inequality import check_bound

    items = structure.chosen(names)
    results = {}
    for number, item in enumerate(items, start=1):
        progress(f"{number}/{len(items)} {item.name}")
        results[item.name] = check_bound(item) if isinstance(item, Bound) else check(item)
    return results

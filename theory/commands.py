"""The command line's `ptoq theory list | show | check | derive`: print to standard output, return the exit code.

The registry brings SymPy with it, so it is imported when a command runs.
"""

from __future__ import annotations

import json as _json
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, subcommand

from theory.errors import InvalidInput

if TYPE_CHECKING:
    from theory.formula import Bound, Chain, CheckResult, Entry, Step

_WIDTH = 100


def list_entries(json: bool) -> int:
    """Print every entry: its name, kind of evidence and title."""
    from theory import registry

    entries = registry.select(())
    if json:
        _print_json([{"name": e.name, "title": e.title, "evidence": e.evidence.kind, "twin": e.twin_name} for e in entries])
        return 0
    width = max(len(e.name) for e in entries)
    kinds = max(len(e.evidence.kind) for e in entries)
    for entry in entries:
        print(f"{entry.name:<{width}}  {entry.evidence.kind:<{kinds}}  {entry.title}")
    return 0


def show(name: str, json: bool) -> int:
    """Print one entry: statement, derivation step by step, definition, twin, tolerance, source, domain, evidence.

    Raises
    ------
    InvalidInput
        For an unknown name.
    """
    from theory import registry

    entry = registry.get(name)
    chain = entry.derivation()
    if json:
        _print_json(_as_dictionary(entry, chain))
        return 0
    print(f"{entry.title}  ({entry.name})\n")
    print(_wrapped(entry.statement, "  "))
    _show_derivation(entry, chain)
    print()
    parts = {
        "Definition": entry.definition_text,
        "Twin": entry.twin_name,
        **_precision(entry),
        "Domain": entry.domain.description,
        "Source": entry.source,
        "Evidence": f"{entry.evidence.kind}: {entry.evidence.detail}",
    }
    for label, text in parts.items():
        print(_wrapped(text, f"{label + ':':<12}", hanging=12))
    return 0


def check(names: Sequence[str], json: bool, bounds: bool = False, examples: int = 100) -> int:
    """Check the named entries, all when none is named; one line each as it is done. 0 if all pass, else 1.

    With `bounds` only bounds are checked, on `examples` cases each that Hypothesis drives towards the tightest. With `json`,
    standard output holds one JSON document, and what broke is told on standard error.

    Raises
    ------
    InvalidInput
        For an unknown name, a formula's name with `bounds`, or fewer than one example, before anything is checked.
    """
    from theory import registry
    from theory.formula import Bound
    from theory.inequality import check_entry, explore

    entries = registry.select(names)
    if bounds:
        others = [e.name for e in entries if not isinstance(e, Bound)]
        if names and others:
            raise InvalidInput(f"{', '.join(others)} is no bound; with --bounds, {', '.join(b.name for b in registry.BOUNDS)} are allowed")
        if examples < 1:
            raise InvalidInput(f"examples is {examples}; at least 1 is allowed")
        entries = tuple(e for e in entries if isinstance(e, Bound))

    width = max(len(e.name) for e in entries)
    results = []
    for number, entry in enumerate(entries, start=1):
        if json and sys.stderr.isatty():
            print(f"\r\x1b[K{number}/{len(entries)} {entry.name}", end="", file=sys.stderr, flush=True)
        result = explore(entry, examples) if bounds and isinstance(entry, Bound) else check_entry(entry)
        results.append(result)
        if not json:
            print(_result_line(result, width), flush=True)
        for failure in result.failures:
            text = _wrapped(f"{entry.name}: {failure}" if json else str(failure), "       ")
            print(text, file=sys.stderr if json else sys.stdout, flush=True)
    if json and sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    passed = all(r.passed for r in results)
    if json:
        _print_json({"passed": passed, "results": [_result_dictionary(r) for r in results]})
    else:
        failed = [r.name for r in results if not r.passed]
        seconds = sum(r.seconds for r in results)
        verdict = f"all {len(results)} agree" if passed else f"{len(failed)} of {len(results)} broke: {', '.join(failed)}"
        print(f"{verdict}; {sum(r.steps for r in results)} derivation steps, {sum(r.cases for r in results)} cases, {seconds:.1f} s")
    return 0 if passed else 1


def derive(format: Literal["html", "latex", "md"], out: Path | None, names: Sequence[str], check: bool) -> int:
    """Write the book of derivations and print its path. 0, or 1 if `check` is asked for and something broke.

    Raises
    ------
    InvalidInput
        For an unknown format or name, before anything is written.
    """
    from theory.book.writing import write_book

    def progress(line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    path, book = write_book(out, format, names, check, progress)
    if check:
        progress("")
        for name in book.broken:
            for failure in book.by_name[name].failures:
                print(_wrapped(f"{name}: {failure}", "       "), file=sys.stderr)
    print(path)
    return 1 if book.broken else 0


def _result_line(result: CheckResult, width: int) -> str:
    verdict = "ok    " if result.passed else "BROKEN"
    counts = f"{result.steps:>2} steps {result.cases:>4} cases"
    error = f"error {result.max_error:<8.2g}" if result.slack is None else f"slack {100 * result.slack:<6.2g} %"
    exceeded = f"  exceeded {result.exceeded}" if result.exceeded else ""
    return f"{verdict} {result.name:<{width}}  {counts}  {error}  {result.evidence:<11}  {result.seconds:.2f} s{exceeded}"


def _result_dictionary(result: CheckResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "passed": result.passed,
        "evidence": result.evidence,
        "max_error": _finite(result.max_error),
        "seconds": round(result.seconds, 4),
        **({} if result.slack is None else {"cases": result.cases, "least_slack": _finite(result.slack), "exceeded": result.exceeded}),
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _precision(entry: Entry | Bound) -> dict[str, str]:
    """To what precision a formula is held, or with what probability a bound."""
    if not hasattr(entry, "delta"):
        return {"Tolerance": str(entry.tolerance)}
    return {"Holds": "always" if entry.delta is None else f"with probability at least {1 - entry.delta:g} in the cases checked"}


def _show_derivation(entry: Entry | Bound, chain: Chain) -> None:
    print(f"\nDerivation  ({entry.derivation.__module__}; in brackets how a step is shown, besides its value at 50 digits)")
    if chain.where:
        used = set().union(*(step.left.free_symbols | step.right.free_symbols for step in chain.steps))
        defined = [f"{_one_line(symbol)} = {_one_line(value)}" for symbol, value in chain.where.items() if symbol in used]
        if defined:
            print(_wrapped("; ".join(defined), "  with ", hanging=7))
    for number, step in enumerate(chain.steps, start=1):
        print("\n" + _wrapped(f"{step.rule}  [{_method(step)}]", f"  {number:>2}. ", hanging=6))
        if step.opens:
            print(_pretty(step.left))
        print(_pretty(step.right, f"      {step.relation} "))
    for name, result in chain.results.items():
        print(f"\n  Result, {name}:\n{_pretty(result)}")


def _method(step: Step) -> str:
    return "checked at 50 digits only" if step.method == "numbers" else step.method


def _pretty(expression: Any, lead: str = " " * 8) -> str:
    """An expression over as many lines as it needs, with `lead` before its main line."""
    from sympy.printing.pretty.pretty import PrettyPrinter
    from sympy.printing.pretty.pretty_symbology import pretty_use_unicode

    # Standard output may be a pipe whose encoding SymPy cannot see.
    before = pretty_use_unicode(True)
    try:
        form = PrettyPrinter({"order": "none", "use_unicode": True, "wrap_line": False})._print(expression)
    finally:
        pretty_use_unicode(before)
    lines = str(form).split("\n")
    if len(lines) == 1:
        # The transpose's name, F^T, is drawn as F__T; shortening it would shift the lines of a taller block.
        lines = [lines[0].replace("__T", "ᵀ")]
    return "\n".join(((lead if i == form.baseline else " " * len(lead)) + line).rstrip() for i, line in enumerate(lines))


def _one_line(expression: Any) -> str:
    text = _pretty(expression, "")
    return text if "\n" not in text else str(expression)


def _wrapped(text: str, lead: str, hanging: int | None = None) -> str:
    indent = " " * (len(lead) if hanging is None else hanging)
    return textwrap.fill(text, _WIDTH, initial_indent=lead, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _as_dictionary(entry: Entry | Bound, chain: Chain) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "statement": entry.statement,
        "derivation": [
            {
                "rule": s.rule,
                "left": str(s.left),
                "relation": s.relation,
                "right": str(s.right),
                "method": s.method,
                "continues": not s.opens,
            }
            for s in chain.steps
        ],
        "where": {str(symbol): str(value) for symbol, value in chain.where.items()},
        "results": {name: str(result) for name, result in chain.results.items()},
        "definition": entry.definition_text,
        "twin": entry.twin_name,
        **{label.lower(): text for label, text in _precision(entry).items()},
        "domain": entry.domain.description,
        "source": entry.source,
        "evidence": {"kind": entry.evidence.kind, "detail": entry.evidence.detail},
    }


def _print_json(value: Any) -> None:
    print(_json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


@dataclass(frozen=True, kw_only=True)
class TheoryList:
    """List the formulas of the theory."""

    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Print them."""
        return list_entries(self.json)


@dataclass(frozen=True, kw_only=True)
class TheoryShow:
    """Show one formula: its statement, every step of its derivation, its definition, domain and evidence."""

    name: Positional[str]
    """Name of the formula; see: ptoq theory list."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Print it."""
        return show(self.name, self.json)


@dataclass(frozen=True, kw_only=True)
class TheoryCheck:
    """Check formulas, each derivation step and the float64 code against the definition at 50 digits, and bounds."""

    names: Positional[tuple[str, ...]] = ()
    """Names of formulas and bounds; all when none is given."""
    bounds: bool = False
    """Only bounds, on cases that Hypothesis drives towards the tightest; needs the extra `testing`."""
    examples: int = 100
    """With --bounds: cases for each."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Check them; exit code 1 if one broke."""
        return check(self.names, self.json, self.bounds, self.examples)


@dataclass(frozen=True, kw_only=True)
class TheoryDerive:
    """Write all derivations as a book: statements, every step, definitions, sources, symbols and an index."""

    names: Positional[tuple[str, ...]] = ()
    """Names of formulas and bounds; all when none is given."""
    format: Literal["html", "latex", "md"] = "html"
    """One self-contained page, a LaTeX file, or Markdown with mathematics as GitHub sets it."""
    out: Path | None = None
    """A file, or a folder for theory.html, theory.tex or theory.md; by default the folder ptoq-out."""
    check: bool = False
    """Check every formula and bound too, and say in the book what was found; takes as long as ptoq theory check."""

    def run(self) -> int:
        """Write the book and print where it is; exit code 1 if a check broke."""
        return derive(self.format, self.out, self.names, self.check)


@dataclass(frozen=True)
class Theory:
    """The theory's formulas: list them, show one with its derivation, check them, write all derivations as a book."""

    action: (
        Annotated[TheoryList, subcommand("list")]
        | Annotated[TheoryShow, subcommand("show")]
        | Annotated[TheoryCheck, subcommand("check")]
        | Annotated[TheoryDerive, subcommand("derive")]
    )

    def run(self) -> int:
        """Pass on to the action."""
        return self.action.run()

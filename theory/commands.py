"""The command line's `ptoq theory list | show | check`: print to standard output, return the exit code.

The registry brings SymPy with it, so it is imported when a command runs.
"""

from __future__ import annotations

import json as _json
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, subcommand

if TYPE_CHECKING:
    from theory.formula import Chain, CheckResult, Entry, Step

_WIDTH = 100


def list_entries(json: bool) -> int:
    """Print every entry: its name, kind of evidence and title."""
    from theory import registry

    if json:
        _print_json([{"name": e.name, "title": e.title, "evidence": e.evidence.kind, "twin": e.twin_name} for e in registry.ENTRIES])
        return 0
    width = max(len(e.name) for e in registry.ENTRIES)
    kinds = max(len(e.evidence.kind) for e in registry.ENTRIES)
    for entry in registry.ENTRIES:
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
        "Tolerance": str(entry.tolerance),
        "Domain": entry.domain.description,
        "Source": entry.source,
        "Evidence": f"{entry.evidence.kind}: {entry.evidence.detail}",
    }
    for label, text in parts.items():
        print(_wrapped(text, f"{label + ':':<12}", hanging=12))
    return 0


def check(names: Sequence[str], json: bool) -> int:
    """Check the named entries, all when none is named; one line each as it is done. 0 if all pass, else 1.

    With `json`, standard output holds one JSON document, and what broke is told on standard error.

    Raises
    ------
    InvalidInput
        For an unknown name, before anything is checked.
    """
    from theory import registry
    from theory.checking import check as check_entry

    entries = registry.select(names)
    width = max(len(e.name) for e in entries)
    results = []
    for number, entry in enumerate(entries, start=1):
        if json and sys.stderr.isatty():
            print(f"\r\x1b[K{number}/{len(entries)} {entry.name}", end="", file=sys.stderr, flush=True)
        result = check_entry(entry)
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


def _result_line(result: CheckResult, width: int) -> str:
    verdict = "ok    " if result.passed else "BROKEN"
    counts = f"{result.steps:>2} steps  {result.cases:>2} cases"
    return f"{verdict} {result.name:<{width}}  {counts}  error {result.max_error:<8.2g}  {result.evidence:<11}  {result.seconds:.2f} s"


def _result_dictionary(result: CheckResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "passed": result.passed,
        "evidence": result.evidence,
        # JSON has no infinity.
        "max_error": result.max_error if math.isfinite(result.max_error) else None,
        "seconds": round(result.seconds, 4),
    }


def _show_derivation(entry: Entry, chain: Chain) -> None:
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


def _as_dictionary(entry: Entry, chain: Chain) -> dict[str, Any]:
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
        "tolerance": str(entry.tolerance),
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
    """Check formulas: each derivation step, and the float64 code against the definition at 50 digits."""

    names: Positional[tuple[str, ...]] = ()
    """Names of formulas; all when none is given."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Check them; exit code 1 if one broke."""
        return check(self.names, self.json)


@dataclass(frozen=True)
class Theory:
    """The theory's formulas: list them, show one with its derivation, check them."""

    action: (
        Annotated[TheoryList, subcommand("list")] | Annotated[TheoryShow, subcommand("show")] | Annotated[TheoryCheck, subcommand("check")]
    )

    def run(self) -> int:
        """Pass on to the action."""
        return self.action.run()

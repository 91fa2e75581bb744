"""The verdict table: what was claimed, what was measured, and whether it held."""

from __future__ import annotations

from typing import Any

HEADERS = ("claim", "at", "predicted", "measured", "decided by", "verdict")


def claims_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every claim of the records, each with its experiment and profile."""
    return [{"experiment": r["experiment"], "profile": r["profile"], **claim} for r in records for claim in r["claims"]]


def summary(claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One claim for each wording and place: the one closest to its limit, with the numbers of points held and tried.

    A group fails if one of its claims does, and is undecided if none failed and one is.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for claim in claims:
        groups.setdefault((claim["experiment"], claim["claim"], claim["where"]), []).append(claim)
    rows = []
    for group in groups.values():
        order = {"failed": 2, "undecided": 1, "held": 0}
        worst = max(group, key=lambda c: (order[c["verdict"]], _strain(c)))
        rows.append({**worst, "tried": len(group), "n_held": sum(c["verdict"] == "held" for c in group)})
    return rows


def counts(claims: list[dict[str, Any]]) -> dict[str, int]:
    """Numbers of claims by verdict."""
    return {verdict: sum(c["verdict"] == verdict for c in claims) for verdict in ("held", "failed", "undecided")}


def table(claims: list[dict[str, Any]]) -> str:
    """The summary as text for a terminal, a block for each experiment and place, its last line the counts over all claims."""
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for row in summary(claims):
        blocks.setdefault(f"{row['experiment']}: {row['where']}", []).append(_cells(row))
    cells = [HEADERS, *(r for rows in blocks.values() for r in rows)]
    widths = [max(len(r[i]) for r in cells) for i in range(len(HEADERS))]
    lines = []
    for heading, rows in blocks.items():
        lines += ["", heading]
        lines += ["  " + "  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip() for r in [HEADERS, *rows]]
    n = counts(claims)
    total = f"{len(claims)} claims: {n['held']} held, {n['failed']} failed, {n['undecided']} undecided"
    lines += ["", f"{total} (of several at one place, the one closest to its limit is shown)"]
    return "\n".join(lines).lstrip("\n")


def _strain(claim: dict[str, Any]) -> float:
    """How close a claim came to its limit, 1 being there."""
    value, limit, statistic = claim["value"], claim["limit"], claim["statistic"]
    if value is None:
        return -1.0
    if isinstance(value, str):
        return 0.0 if statistic == "z from 0" else float("inf")
    if statistic == "z from 0":
        return limit / abs(value) if value else float("inf")
    if statistic == "at least":
        return limit / value if value > 0 else float("inf")
    if limit == 0:
        # What may never happen: at its limit while it has not.
        return float("inf") if value else 0.0
    return abs(value) / limit


def number_cells(claim: dict[str, Any]) -> tuple[str, str, str]:
    """Predicted value, measured value with its standard error, and what decided, as text."""
    predicted = f"{claim['predicted']:.4g}"
    if claim["measured"] is None:
        return predicted, "none", "nothing to test" if claim["statistic"] == "frequency" else "nothing to fit"
    error = claim["standard_error"]
    measured = f"{claim['measured']:.4g}" + ("" if error is None else f" ± {error:.1g}")
    value = claim["value"] if isinstance(claim["value"], str) else _statistic(claim["statistic"], claim["value"])
    limit = f"limit {_statistic(claim['statistic'], claim['limit']).lstrip('+')}"
    # The power of the test: the least gap it would have seen half of the time.
    power = "" if claim.get("detectable") is None else f", sees {claim['detectable']:.2g}"
    return predicted, measured, f"{claim['statistic']} {value} ({limit}{power})"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    verdict = row["verdict"] if row["tried"] == 1 else f"{row['verdict']}, {row['n_held']} of {row['tried']}"
    return row["claim"], row["at"], *number_cells(row), verdict


def _statistic(kind: str, value: float) -> str:
    if kind.startswith("relative gap"):
        return f"{100 * value:+.2f} %"
    if kind.endswith("z") or kind.startswith("z"):
        return f"{value:+.1f}"
    return f"{value:+.3g}"

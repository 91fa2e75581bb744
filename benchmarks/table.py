"""The Markdown table, all of it from `bench.json`: no number in it is written by hand.

python -m benchmarks.table benchmarks/results/bench.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def markdown(report: dict[str, Any]) -> str:
    """The whole page."""
    parts = ["# Benchmarks", "Written by `make bench` from `bench.json` beside this page.", _machine(report["machine"]), _gpu(report)]
    for comparison in report["comparisons"]:
        parts += [f"## {comparison['title']}", *_comparison(comparison)]
    if report["sizes"]:
        parts += ["## Sizes that must be reachable", _sizes(report["sizes"])]
    if report["cost"]:
        parts += ["## Cost", _cost(report["cost"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _gpu(report: dict[str, Any]) -> str:
    if report["on_a_gpu"]:
        return ""
    why = "no GPU" if report["machine"]["gpu"] is None else "give `--gpu`"
    return f"On a GPU: not run ({why})."


def targets(report: dict[str, Any]) -> tuple[int, int, int]:
    """How many targets were met, missed, and not measured."""
    found = [_verdict(c) for comparison in report["comparisons"] for c in comparison["contenders"] if c["target"] is not None]
    return found.count("met"), found.count("missed"), found.count("not measured")


def _machine(machine: dict[str, Any]) -> str:
    facts = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB",
        machine["gpu"] or "no GPU",
        f"{machine['gflops']:.0f} GFLOP/s in float32 matrix products",
        *machine["blas"],
        f"Python {machine['python']}",
        f"ptoq {machine['ptoq']} at {(machine['commit'] or 'no commit')[:12]}{' with local changes' if machine['dirty'] else ''}",
    ]
    if machine["load_before"] is not None:
        facts.append(f"load before the run {machine['load_before']:.2f}")
    return f"Machine: {'; '.join(facts)}. Rounds are interleaved; times are medians with quartiles, ratios are taken round by round."


def _comparison(comparison: dict[str, Any]) -> list[str]:
    rows = []
    errors = comparison.get("largest_error")
    for c in comparison["contenders"]:
        versions = ", ".join(f"{name} {version}" for name, version in c.get("versions", {}).items())
        if c["status"] != "ran":
            row = [c["name"], f"{c['status']}: {c['reason']}", "", "", _target(c), versions]
        else:
            row = [c["name"], *_times(c["seconds"]), _ratio(c), _target(c), versions]
        if errors:
            found = errors.get(c["name"], {})
            row += [f"{found[place]:.1e}" if place in found else "" for place in _places(errors)]
        rows.append(row)
    head = ["contender", "median", "quartiles", "times slower than ptoq", "target", "versions"]
    rounds = comparison["setting"]["rounds"]
    few = [f"{c['name']}: {c['seconds']['n']}" for c in comparison["contenders"] if c["status"] == "ran" and c["seconds"]["n"] != rounds]
    notes = [f"{rounds} rounds{' (' + '; '.join(few) + ')' if few else ''}.", comparison["note"], *_remarks(comparison["contenders"])]
    if errors:
        head += [f"{comparison.get('error_name', 'largest error')}, {place}" for place in _places(errors)]
        notes.append(comparison.get("error_note", "Errors are against exact values, relative to ‖x‖‖z‖/2."))
    return [" ".join(note for note in notes if note), _table(head, rows)]


def _remarks(contenders: Iterable[dict[str, Any]]) -> list[str]:
    return [
        f"{c['name']}: {', '.join(f'{name} {_plain(value)}' for name, value in c['notes'].items())}." for c in contenders if c.get("notes")
    ]


def _places(errors: dict[str, dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(place for found in errors.values() for place in found))


def _times(seconds: dict[str, float]) -> tuple[str, str]:
    unit, factor, digits = ("ms", 1e3, 1) if seconds["median"] < 1 else ("s", 1.0, 2)
    low, median, high = (factor * seconds[key] for key in ("quartile_1", "median", "quartile_3"))
    return f"{median:.{digits}f} {unit}", f"{low:.{digits}f} to {high:.{digits}f}"


def _ratio(contender: dict[str, Any]) -> str:
    times = contender.get("times_slower")
    return "" if times is None else f"{times['median']:.2f} ({times['min']:.2f} to {times['max']:.2f})"


def _verdict(contender: dict[str, Any]) -> str:
    if "times_slower" not in contender:
        return "not measured"
    return "met" if contender["times_slower"]["median"] >= contender["target"] else "missed"


def _target(contender: dict[str, Any]) -> str:
    return "" if contender["target"] is None else f"≥ {contender['target']:g}: {_verdict(contender)}"


def _sizes(sizes: list[dict[str, Any]]) -> str:
    rows = []
    for size in sizes:
        limit = "" if size["limit_bytes"] is None else f"{size['limit_bytes'] / 2**30:.0f} GiB"
        if size["status"] != "ran":
            rows.append([size["title"], f"{size['status']}: {size['reason']}", "", limit, ""])
            continue
        notes = "; ".join(f"{name}: {_plain(value)}" for name, value in size["notes"].items())
        peak = f"{size['peak_bytes'] / 2**30:.2f} GiB"
        if size["limit_bytes"] is not None:
            limit += ": met" if size["peak_bytes"] <= size["limit_bytes"] else ": missed"
        rows.append([size["title"], f"{size['seconds']:.1f} s", peak, limit, notes])
    return _table(["size", "time", "peak memory", "limit", "beside"], rows)


def _cost(cost: list[dict[str, Any]]) -> str:
    rows = []
    for axis in cost:
        fixed = ", ".join(f"{name} = {value:,}" for name, value in axis["fixed"].items())
        if axis["status"] != "ran":
            rows.append([axis["name"], fixed, axis["order"], f"{axis['stated_exponent']:g}", f"{axis['status']}: {axis['reason']}", ""])
            continue
        fit, points = axis["exponent"], axis["points"]
        grid = f"{axis['vary']} = {points[0]['size']:,} to {points[-1]['size']:,}"
        found = f"{fit['median']:.2f} ({fit['min']:.2f} to {fit['max']:.2f})"
        rows.append(
            [
                axis["name"],
                f"{grid}; {fixed}",
                axis["order"],
                f"{axis['stated_exponent']:g}",
                found,
                " ".join(_times(points[-1]["seconds"])[:1]),
            ]
        )
    return _table(["what grows", "sizes", "stated order", "stated exponent", "exponent over the largest sizes", "at the largest"], rows)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " → ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(markdown(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))

"""The report: one self-contained page with verdicts, figures, formulas and provenance."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from paper_figs.figures import modules
from sim import verdicts
from sim.estimate import Z_LIMIT
from theory.files import write_atomically


def write_report(
    path: Path, records: list[dict[str, Any]], drawn: list[tuple[str, Path, list[Path]]], formulas: list[dict[str, Any]] | None = None
) -> None:
    """Write the page to `path`.

    Parameters
    ----------
    records : list of records, whose claims the table holds
    drawn : list of (figure name, record used, files written), from `draw_figures`
    formulas : list of dicts with `name`, `title`, `evidence`, `passed`, optional
        The result of checking the theory.

    Everything that comes from a record is escaped.
    """
    claims = verdicts.claims_of(records)
    counts = verdicts.counts(claims)
    titles = {r["experiment"]: r["title"] for r in records}
    blocks: dict[str, dict[str, Any]] = {}
    for row in verdicts.summary(claims):
        block = blocks.setdefault(row["experiment"], {"experiment": row["experiment"], "title": titles[row["experiment"]], "places": {}})
        block["places"].setdefault(row["where"], []).append(_cells(row))
    known = modules()
    figures = [
        {
            "experiment": known[name].NEEDS,
            "title": known[name].TITLE,
            "caption": known[name].CAPTION,
            "record": record.name,
            "png": base64.b64encode(next(f for f in files if f.suffix == ".png").read_bytes()).decode(),
        }
        for name, record, files in drawn
    ]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html.jinja").render(
        profile=", ".join(dict.fromkeys(r["profile"] for r in records)),
        version=records[0]["provenance"]["ptoq"],
        counts={"total": len(claims), **counts},
        open_claims=[_cells(c) for verdict in ("failed", "undecided") for c in claims if c["verdict"] == verdict],
        blocks=list(blocks.values()),
        claims=[_cells(c) for c in claims],
        figures=figures,
        formulas=formulas or [],
        records=records,
        z_limit=Z_LIMIT,
    )
    write_atomically(path, page.encode())


def _cells(claim: dict[str, Any]) -> dict[str, Any]:
    """A claim with its numbers as text."""
    predicted, measured, decided = verdicts.number_cells(claim)
    return {**claim, "predicted": predicted, "measured": measured, "decided": decided}

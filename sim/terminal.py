"""What commands print: results on standard output, progress and errors beside it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sim import verdicts

Profile = Literal["smoke", "quick", "standard", "full"]
Backend = Literal["auto", "numpy", "cupy", "torch"]
Device = Literal["auto", "cpu", "cuda"]

OUT = Path("ptoq-out")
"""Where commands write by default, in subfolders records/ and figures/."""


def say(text: str) -> None:
    """Progress, for people: results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar that is told what is done and what share of it, one after the other; it vanishes off a terminal."""
    from tqdm import tqdm

    with tqdm(total=1.0, disable=None, leave=False, bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}") as bar:
        shown = ""

        def tell(what: str, share: float) -> None:
            nonlocal shown
            if bar.disable:
                return
            if what != shown:
                shown = what
                bar.reset()
                bar.set_description_str(what)
            bar.update(max(0.0, share - bar.n))

        yield tell


def print_json(content: Any) -> None:
    """Print `content` as JSON; infinity, which JSON lacks, as a string."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: finite(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [finite(v) for v in value]
        return str(value) if isinstance(value, float) and math.isinf(value) else value

    print(json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False))


def list_titles(titles: dict[str, str], as_json: bool) -> None:
    """Print experiments with their titles, as a table or as JSON."""
    if as_json:
        print_json(titles)
        return
    width = max(map(len, titles))
    print("\n".join(f"{name:{width}s}  {title}" for name, title in titles.items()))


def report(claims: list[dict[str, Any]], as_json: bool, *, findings: bool = False) -> int:
    """Print claims, as a table or as JSON, and return the exit code: 1 if one failed.

    With `findings` one of the paper's that failed is a finding, and said, but not an error.
    """
    if as_json:
        print_json({"counts": verdicts.counts(claims), "claims": claims})
    else:
        print(verdicts.table(claims))
    failed = [c for c in claims if c["verdict"] == "failed"]
    refuted = [c for c in failed if findings and c.get("origin") == "paper"]
    if refuted:
        say(f"{len(refuted)} claims of the paper failed on the networks measured here; the report and the records say which")
    return 1 if len(failed) > len(refuted) else 0

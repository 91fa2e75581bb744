"""The report: one whole page, everything in it, nothing of a record taken for markup."""

import re
from html.parser import HTMLParser

import pytest

from paper_figs.figures import draw_figures
from paper_figs.report import write_report
from sim.experiments import run_experiment
from sim.records import Cache


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    record = run_experiment("width_law", "smoke", folder / "records", cache=Cache(folder / "cache"))
    return record, draw_figures([], folder / "records", folder / "figures", only=["width_law"])


class Page(HTMLParser):
    """Collects tags, and refuses a page whose tags do not match."""

    VOID = frozenset({"meta", "img", "col"})

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.sources, self.anchors, self.links = [], [], [], set(), []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.sources += [v for k, v in attrs.items() if k in ("src", "href")]
        self.anchors |= {attrs["id"]} if "id" in attrs else set()
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(parts, tmp_path):
    record, drawn = parts
    write_report(tmp_path / "r.html", [record], drawn, [{"name": "f", "title": "t", "evidence": "exact", "passed": False}])
    text = (tmp_path / "r.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.tags.count("img") == 1
    for source in page.sources:
        assert source.startswith(("data:image/png;base64,", "#"))
        if source.startswith("#"):
            assert source[1:] in page.anchors
    assert "script" not in page.tags
    rows = len(re.findall("<tr[ >]", text))
    # Every claim twice (its block, the full list), four heads, two places, a formula and a record.
    assert rows == 2 * len(record["claims"]) + 4 + 2 + 2
    for place in {claim["where"] for claim in record["claims"]}:
        assert text.count(f'<tr class="place"><th colspan="6">{place}</th></tr>') == 1
    assert ">broke<" in text


def test_text_of_a_record_is_escaped(parts, tmp_path):
    record, drawn = parts
    bad = "<script>alert(1)</script>"
    poisoned = {
        **record,
        "title": bad,
        "profile": bad,
        "claims": [{**record["claims"][0], "claim": bad, "where": bad, "verdict": "failed"}],
    }
    write_report(tmp_path / "r.html", [poisoned], drawn, [{"name": bad, "title": bad, "evidence": bad, "passed": True}])
    text = (tmp_path / "r.html").read_text()
    assert bad not in text
    assert "&lt;script&gt;" in text

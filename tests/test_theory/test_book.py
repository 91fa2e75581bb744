"""The book of derivations: all of the registry in three formats, set as mathematics, linked, escaped, whole or not there."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import sympy as sp

import ptoq
from theory import registry
from theory.book import conventions, html, latex, markdown, references, structure, symbols, tex, works
from theory.book.formulas import Code, Prose
from theory.book.writing import destination, write_book
from theory.errors import InvalidInput
from theory.formula import CheckResult, Failure
from theory.symbolic import notation

NAMES = registry.names()
PART = ("relu_gram", "spectral_filter", "loss_range_along_gradient")


@pytest.fixture(scope="module")
def book():
    return structure.build()


@pytest.fixture(scope="module")
def pages(book):
    return {"html": html.write(book), "latex": latex.write(book), "md": markdown.write(book)}


class Page(HTMLParser):
    """Anchors, links, and the text outside styles and code."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.text, self.code, self.open = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        if tag not in ("meta", "wbr", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "code"} & set(self.open):
            self.text.append(data)


# All of the registry


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_in_every_format(pages, book, name):
    section = book.by_name[name]
    assert f'<h3 id="{name}">' in pages["html"]
    assert rf"\label{{sec:{name}}}" in pages["latex"]
    assert f'<a id="{name}"></a>' in pages["md"]
    for write, page in ((html.prose, "html"), (latex.prose, "latex"), (markdown.prose, "md")):
        assert str(write(section.statement)) in pages[page]
        for step in section.steps:
            assert str(write(step.rule)) in pages[page]
    for step in section.steps:
        assert html.step(step) in pages["html"] and markdown.step(step) in pages["md"]
        assert all(line in pages["latex"] for line in latex.step(step))


def test_chapter_titles_are_declared_or_read_off_the_module():
    listing = {name.rpartition(".")[2] for name, module in sys.modules.items() if name.startswith("theory.entries.")}
    assert set(structure.CHAPTERS) <= listing
    module = ModuleType("theory.entries.new", "Entries of the new things: a, b; and c.")
    assert structure._chapter_title(module) == "The new things"
    assert structure._chapter_title(None) == "Further results"


def test_sections_keep_the_order_of_the_registry_within_chapters(book):
    position = {name: number for number, name in enumerate(NAMES)}
    for chapter in book.chapters:
        places = [position[section.name] for section in chapter.sections]
        assert places == sorted(places)
    assert sorted(position) == sorted(section.name for section in book.sections)


def test_chapters_are_the_modules_that_list_the_entries(book):
    by_chapter = {chapter.title: [s.name for s in chapter.sections] for chapter in book.chapters}
    assert by_chapter["The ReLU Gram function"][0] == "relu_gram"
    assert "Further results" not in by_chapter


def test_html_is_well_formed_and_every_link_resolves(pages):
    page = Page(pages["html"])
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else link.startswith("https://arxiv.org/abs/"), link


def test_html_loads_nothing_and_runs_nothing(pages):
    assert not re.search(r"<(script|link|img|iframe|object)\b|\bsrc=|@import|url\(", pages["html"])


def test_every_formula_is_well_formed_mathml(pages):
    found = re.findall(r"<math.*?</math>", pages["html"], re.DOTALL)
    assert len(found) > 10 * len(NAMES)
    fixed = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3, "munderover": 3}
    for formula in set(found):
        for element in ElementTree.fromstring(formula).iter():
            assert len(element) == fixed.get(element.tag, len(element)), formula
            if element.tag in ("mi", "mn", "mo", "mtext"):
                assert element.text


def test_no_raw_symbol_names_leak_into_typeset_text(pages):
    text = "\n".join(Page(pages["html"]).text)
    assert not (found := re.search(r".*[A-Za-z)](_|\^)[A-Za-z0-9{(].*", text)), found
    spelt = (
        r"alpha|beta|gamma|delta|epsilon|eta|theta|kappa|lambda|mu|rho|sigma|phi|omega|Sum|Product|Integral|Subs|Derivative|Matrix|Limit"
    )
    for word in set(re.findall(r"<m[io][^>]*>([^<]*)<", pages["html"])):
        assert not re.fullmatch(rf".*_.*|.+\^.*|{spelt}", word), word


def test_latex_and_markdown_links_resolve(pages):
    labels = set(re.findall(r"\\label\{([^}]*)\}", pages["latex"]))
    assert set(re.findall(r"\\(?:ref\*?|pageref|hyperref)(?:\{|\[)([^]}]*)[]}]", pages["latex"])) <= labels
    targets = set(re.findall(r"\\hypertarget\{([^}]*)\}", pages["latex"]))
    assert set(re.findall(r"\\hyperlink\{([^}]*)\}", pages["latex"])) <= targets
    anchors = set(re.findall(r'<a id="([^"]*)">', pages["md"]))
    links = re.findall(r"\]\(([^)]*)\)", pages["md"])
    assert len(links) > 5 * len(NAMES)
    assert all(link[1:] in anchors or link.startswith("https://arxiv.org/abs/") for link in links)


def test_latex_is_ascii_with_balanced_braces_and_environments(pages):
    assert pages["latex"].isascii()
    bare = re.sub(r"\\[{}\\]", "", pages["latex"])
    assert bare.count("{") == bare.count("}")
    opened = re.findall(r"\\begin\{(\w+)\}", pages["latex"])
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", pages["latex"]))
    assert pages["latex"].count(r"\left") - pages["latex"].count(r"\leftarrow") == len(re.findall(r"\\right(?!arrow)", pages["latex"]))


def test_markdown_mathematics_has_no_escapes_that_markdown_would_eat(pages):
    formulas_found = re.findall(r"\$\$(.*?)\$\$|(?<![\\$])\$([^$]+?)\$", pages["md"])
    assert len(formulas_found) > 10 * len(NAMES)
    for formula in (a or b for a, b in formulas_found):
        assert not re.search(r"\\[^A-Za-z]|[<>]|\n", formula), formula


def test_dollars_enclose_formulas_in_pairs(pages):
    for line in pages["md"].split("\n"):
        assert len(re.findall(r"(?<!\\)\$", line)) % 2 == 0, line


@pytest.mark.parametrize("program", ["pdflatex", "xelatex"])
def test_latex_compiles(pages, tmp_path, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: the LaTeX book is not compiled with it")
    (tmp_path / "book.tex").write_text(pages["latex"], encoding="ascii")
    for _ in range(2):
        done = subprocess.run(
            [program, "-interaction=nonstopmode", "-halt-on-error", "book.tex"], cwd=tmp_path, capture_output=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "book.pdf").stat().st_size > 50_000
    log = (tmp_path / "book.log").read_text(encoding="utf-8", errors="replace")
    assert "Missing character" not in log
    # What sticks out of the margin by more than two ems was not broken.
    assert [width for width in map(float, re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)) if width > 20] == []


def test_the_book_is_the_same_bytes_in_every_process(tmp_path):
    """Whatever the order in which Python hashes strings and SymPy meets its symbols."""
    code = "from theory.book.writing import write_book; [write_book(None, format) for format in ('html', 'latex', 'md')]"
    digests = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(ptoq.__file__).parent)}
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env=environment)
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "ptoq-out").iterdir()})
    assert digests[0] == digests[1]
    assert sorted(digests[0]) == ["theory.html", "theory.md", "theory.tex"]


# What a section says


def test_a_section_holds_the_parts_of_its_entry(book):
    section = book.by_name["fine_tuning_displacement"]
    entry = registry.get("fine_tuning_displacement")
    assert section.twin == entry.twin_name
    assert section.definition == entry.definition_text
    assert section.tolerance == str(entry.tolerance)
    assert section.evidence.startswith(entry.evidence.kind)
    assert section.source[0] == ("arXiv 1909.12031, weights stay close", "Liu et al. 2019")
    assert not section.bound


@pytest.mark.skipif(not registry.BOUNDS, reason="the registry holds no bound")
def test_bounds_are_told_from_formulas(book, pages):
    bound = registry.BOUNDS[0]
    section = book.by_name[bound.name]
    assert section.bound and section.tolerance == "" and section.definition == bound.definition_text
    assert f"{len(registry.ENTRIES)} formulas and {len(registry.BOUNDS)} bounds" in pages["html"]
    with_delta = [b for b in registry.BOUNDS if b.delta is not None]
    assert [book.by_name[b.name].probability for b in with_delta] == [f"at least {1 - b.delta:g} for each case" for b in with_delta]


def test_an_entry_without_some_parts_is_written_without_them(monkeypatch):
    class Bare:
        name, title, statement = "bare", "Bare", "a = b"
        derivation = staticmethod(registry.get("residual").derivation)

    monkeypatch.setattr(structure, "chosen", lambda names: (Bare(),))
    monkeypatch.setattr(references, "bibliography", lambda sources: ())
    page = html.write(structure.build())
    assert '<h3 id="bare">' in page
    for absent in ("In float64", "<dt>Domain", "<dt>Evidence", "<dt>Source", "<dt>Definition"):
        assert absent not in page


def test_steps_say_how_they_were_shown(book, pages):
    steps = [step for section in book.sections for step in section.steps]
    for words in (*structure.METHODS.values(), structure.STATED):
        assert pages["html"].count(f">{words}</span>") == [structure.how(step) for step in steps].count(words)
    only_numbers = sum(step.method == "numbers" and step.left != step.right for step in steps)
    stated = sum(step.left == step.right for step in steps)
    assert f"{len(steps) - only_numbers - stated} are shown symbolically" in book.introduction
    assert f"{only_numbers} are checked at 50 digits only, and {stated} state their rule alone" in book.introduction


def test_what_stands_on_both_sides_is_written_once():
    step = notation.line(notation.c, ("by definition", notation.c))[0]
    assert structure.how(step) == structure.STATED
    assert latex.step(step) == ["c"]


def test_inequalities_are_written_as_such():
    x = sp.Symbol("x", nonnegative=True)
    step = notation.line(x, ("more", x + 1, "expand", "≤"))[0]
    assert "≤" in str(html.step(step))
    assert latex.step(step) == [r"x \le 1 + x"]


def test_the_verdict_of_a_check_is_in_the_book():
    def result(name, failures=()):
        return CheckResult(name=name, evidence="exact", max_error=0.0, steps=3, cases=4, seconds=0.1, failures=failures)

    checks = {name: result(name) for name in PART}
    checks["relu_gram"] = result("relu_gram", (Failure(part="twin", name="f", message="differs by 1 < 2 & more"),))
    checked = structure.build(PART, checks)
    assert checked.broken == ("relu_gram",)
    assert "2 of 3 passed" in checked.verdict
    page = html.write(checked)
    assert "differs by 1 &lt; 2 &amp; more" in page and "passed: 3 steps, 4 cases" in page
    assert "twin f: differs by" in latex.write(checked).replace("$", "") and "differs by $1 \\lt 2$" in markdown.write(checked)
    assert "ptoq theory check" in structure.build(PART).verdict


# References


def test_entries_build_on_the_results_that_occur_in_them(book):
    assert "residual_filter" in book.by_name["residual"].uses
    assert "residual" in book.by_name["residual_filter"].used_by
    assert "relu_gram" in book.by_name["relu_gram_near_parallel"].uses
    position = {name: number for number, name in enumerate(NAMES)}
    for section in book.sections:
        assert section.name not in section.uses
        assert all(section.name in book.by_name[other].used_by for other in section.uses)
        assert list(section.uses) == sorted(section.uses, key=position.__getitem__)


def test_declared_and_named_uses_count_even_forwards():
    chains = {name: registry.get(name).derivation() for name in ("stable_step", "transfer_gain", "negative_transfer")}
    plain = references.uses(chains, {}, {})
    assert plain["stable_step"] == () and plain["negative_transfer"] == ()
    declared = references.uses(
        chains,
        {"stable_step": ("negative_transfer", "no_entry")},
        {"negative_transfer": "see `transfer_gain`", "transfer_gain": "as stable_step"},
    )
    assert declared["stable_step"] == ("negative_transfer",)
    assert declared["negative_transfer"] == ("transfer_gain",)
    assert declared["transfer_gain"] == ("stable_step",)


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("Cho and Saul 2009, degree 0; Du et al. 2018 (arXiv 1810.02054), eq. (3)", ["Cho and Saul 2009", "Du et al. 2018"]),
        ("Kahan, How futile are mindless assessments of roundoff, 2006, section 12", ["Kahan 2006"]),
        ("arXiv 1909.12031, weights stay close", ["Liu et al. 2019"]),
        ("arXiv 2001.00001, a work not listed", ["arXiv 2001.00001"]),
        ("Arora et al. 2019 (arXiv 1904.11955)", ["Arora, Du, Hu, Li, Salakhutdinov and Wang 2019"]),
        ("Arora et al. 2019 (arXiv 1904.00001)", ["Arora et al. 2019, arXiv 1904.00001"]),
        ("Golub, Heath and Wahba 1979", ["Golub, Heath and Wahba 1979"]),
        ("The sum of the steps' residuals; |1 − ηλ| ≤ 1", ["", ""]),
    ],
)
def test_sources_name_works(source, keys):
    assert [key for _, key in references.cited(source)] == keys
    assert "; ".join(piece for piece, _ in references.cited(source)) == source


def test_the_bibliography_holds_each_cited_work_once(book):
    keys = [work.key for work in book.works]
    assert keys == sorted(set(keys), key=works.alphabetical)
    assert set(keys) == {key for section in book.sections for _, key in section.source if key}
    assert all(book.cites(key) for key in keys)


def test_known_works_are_in_order_and_cited(book):
    keys = [work.key for work in works.KNOWN]
    assert keys == sorted(keys, key=works.alphabetical)
    assert set(keys) <= {work.key for work in book.works}


def test_the_index_leads_from_words_names_and_works_to_sections(book):
    terms = {(entry.term, entry.code): entry.names for entry in book.index}
    assert terms["residual", False][0] == "residual_filter"
    assert terms["fine_tuning", True] == ("fine_tuning",)
    assert "residual" in terms["Arora et al. 2019", False]
    assert {name for names in terms.values() for name in names} == set(NAMES)
    order = [works.alphabetical(entry.term) for entry in book.index]
    assert order == sorted(order)


# Symbols


def test_every_shared_symbol_has_a_meaning_and_stands_in_the_table(book):
    shared = {value for name, value in vars(notation).items() if isinstance(value, sp.Symbol) and value not in notation.TRANSPOSES}
    assert shared == set(notation.MEANINGS)
    used = {s.symbol for section in book.sections for s in section.symbols if s.meaning}
    assert [s.symbol for s in book.symbols] == [s for s in notation.MEANINGS if s in used]


def test_a_section_lists_each_symbol_of_its_derivation(book):
    for section in book.sections:
        listed = {s.symbol for s in section.symbols}
        for step in section.steps:
            for symbol in step.left.free_symbols | step.right.free_symbols:
                assert notation.TRANSPOSES.get(symbol, symbol) in listed


def test_a_meaning_holds_only_where_the_symbol_was_imported(book):
    # The r of the polar coordinates is not the r of a residual.
    meanings = {name: {s.symbol.name: s.meaning for s in book.by_name[name].symbols} for name in ("relu_gram", "gradient_energy")}
    assert meanings["relu_gram"]["r"] == notation.MEANINGS[notation.radius]
    assert meanings["gradient_energy"]["r"] == ""


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        (sp.Symbol("a", real=True), "real"),
        (sp.Symbol("a", positive=True), "positive"),
        (sp.Symbol("a", nonnegative=True), "not negative"),
        (sp.Symbol("n", integer=True, positive=True), "whole, positive"),
        (notation.k, "whole, not negative"),
        (notation.F_P, "matrix"),
        (notation.l_P, "column"),
        (notation.h_P, "row"),
    ],
)
def test_kinds_of_symbols(symbol, words):
    assert symbols.kind(symbol) == words


def test_a_table_may_hold_norms():
    assert conventions._cells(r"| `|η|√x` | a \| b | `c_\|d\|` |") == [" `|η|√x` ", " a | b ", " `c_|d|` "]
    assert conventions.read("`relu_gram` of `a_posteriori`, `1/√m`")[:3] == (Code("relu_gram"), Prose(" of "), Code("a_posteriori"))


def test_conventions_are_the_page_itself(book):
    text = (Path(notation.__file__).parent.parent / "CONVENTIONS.md").read_text(encoding="utf-8")
    tables = [block for block in book.conventions if block.heads]
    assert sum(len(table.rows) for table in tables) == len(re.findall(r"^\|", text, re.MULTILINE)) - 2 * len(tables)
    assert all(len(cells) == len(table.heads) for table in tables for cells in table.rows)
    assert [block.heading for block in book.conventions if block.heading] == re.findall(r"^## (.*)$", text, re.MULTILINE)


# Escaping


HOSTILE = 'f < g & 5 % of $3 #1 {a} a\\b ~ "q" it\'s <script>alert(1)</script>'


def test_html_escapes():
    assert "<script>" not in html.prose(HOSTILE)
    assert "&lt;" in html.prose(HOSTILE) and "&amp;" in html.prose(HOSTILE)
    assert "<b>" not in html.prose("`<b>`") and "<b>" not in html.linked("arXiv 1909.12031 <b>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % & #1_a", r"50 \% \& \#1\_a"),
        ("{x}$", r"\{x\}\$"),
        ("a\\b^~", r"a\textbackslash{}b\textasciicircum{}\textasciitilde{}"),
        ("<>|", r"\textless{}\textgreater{}\textbar{}"),
        ("Póczos, Mądry", r"P\'{o}czos, M\k{a}dry"),
        ("‖ỹ‖ ≤ η", r"\ensuremath{\Vert}\~{y}\ensuremath{\Vert} \ensuremath{\le} \ensuremath{\eta}"),
    ],
)
def test_latex_escapes(text, expected):
    assert tex.text(text) == expected


def test_latex_refuses_a_letter_it_cannot_spell():
    with pytest.raises(InvalidInput, match=r"'字' \(U\+5B57\) has no spelling in LaTeX here; allowed are"):
        tex.text("字")


def test_markdown_escapes():
    assert markdown.plain("a_b*c <i> [d] `e` $5 # | \\") == r"a\_b\*c \<i\> \[d\] \`e\` \$5 \# \| \\"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed: hostile text is not compiled")
def test_hostile_text_compiles(tmp_path):
    page = latex.write(structure.build(("residual",)))
    page = page.replace(r"\statement{", r"\statement{" + latex.prose(HOSTILE) + " " + latex.code(HOSTILE), 1)
    (tmp_path / "book.tex").write_text(page, encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "book.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=120).returncode == 0


# Files and the command line


def call(capsys, *arguments):
    try:
        code = ptoq.main(["theory", "derive", *arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("out", "format", "expected"),
    [
        (None, "html", "ptoq-out/theory.html"),
        ("book.html", "html", "book.html"),
        ("docs/book.latex", "latex", "docs/book.latex"),
        ("docs", "md", "docs/theory.md"),
        ("v1.2", "latex", "v1.2/theory.tex"),
    ],
)
def test_where_the_book_goes(tmp_path, monkeypatch, out, format, expected):
    monkeypatch.chdir(tmp_path)
    Path("v1.2").mkdir()
    assert destination(None if out is None else Path(out), format) == Path(expected)


def test_a_book_of_some_entries(tmp_path, capsys):
    code, out, err = call(capsys, *PART, "--format", "md", "--out", str(tmp_path / "part.md"))
    assert (code, out, err) == (0, f"{tmp_path / 'part.md'}\n", "")
    text = (tmp_path / "part.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f'<a id="{name}"></a>' in text] == [name for name in NAMES if name in PART]
    anchors = set(re.findall(r'<a id="([^"]*)">', text))
    assert all(link in anchors for link in re.findall(r"\]\(#([^)]*)\)", text))


def test_help_names_formats_and_places(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert all(word in out for word in ("html", "latex", "md", "--out", "--check", "ptoq-out"))


def test_checked_when_asked(tmp_path, capsys):
    code, _, _ = call(capsys, "stable_step", registry.BOUNDS[0].name, "--check", "--out", str(tmp_path))
    assert code == 0
    assert "2 of 2 passed" in (tmp_path / "theory.html").read_text(encoding="utf-8")


def test_a_broken_check_is_told_and_written(tmp_path, capsys, monkeypatch):
    from theory import checking

    failure = Failure(part="twin", name="f", message="differs")
    passed = checking.check(registry.get("stable_step"))
    monkeypatch.setattr(checking, "check", lambda entry: replace(passed, failures=(failure,)))
    code, out, err = call(capsys, "stable_step", "--check", "--out", str(tmp_path))
    assert code == 1
    assert out == f"{tmp_path / 'theory.html'}\n"
    assert "stable_step: twin f: differs" in err
    assert "Broken" in (tmp_path / "theory.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [("--format", "pdf"), ("relu_gran",)])
def test_bad_arguments_write_nothing(tmp_path, capsys, arguments):
    code, out, err = call(capsys, *arguments, "--out", str(tmp_path / "new" / "book.html"))
    assert code == 2
    assert ("html" in out + err) if arguments[0] == "--format" else ("relu_gran" in err and "did you mean relu_gram" in err)
    assert list(tmp_path.iterdir()) == []


def test_a_format_is_checked_for_callers_too(tmp_path):
    with pytest.raises(InvalidInput, match="format is 'pdf'; one of html, latex, md is allowed"):
        write_book(tmp_path, "pdf")


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = call(capsys, "residual", "--out", str(tmp_path / "file" / "book.html"))
    assert code == 2
    assert str(tmp_path / "file") in err


def test_the_old_book_survives_a_fault_while_writing(tmp_path, monkeypatch):
    path, _ = write_book(tmp_path, "md", ("residual",))
    before = path.read_bytes()

    def broken(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("theory.files.os.replace", broken)
    with pytest.raises(OSError, match="No space left"):
        write_book(tmp_path, "md", ("loss",))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_command_line_end_to_end(tmp_path):
    command = [sys.executable, "-m", "ptoq", "theory", "derive", "residual", "--format", "latex"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(ptoq.__file__).parent)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ptoq-out/theory.tex\n", "")
    text = (tmp_path / "ptoq-out" / "theory.tex").read_text(encoding="ascii")
    assert text.startswith("% Written by ptoq") and text.endswith("\\end{document}\n")

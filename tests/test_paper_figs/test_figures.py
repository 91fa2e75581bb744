"""Figures: what is plotted is what the record holds, and the same record gives the same bytes."""

import csv

import pytest
from matplotlib import pyplot as plt

from paper_figs import figures, generalisation, ladder, width_law
from paper_figs.figures import draw_figures, find_record
from sim.experiments import names, run_experiment
from sim.records import Cache
from theory.errors import InvalidInput


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Records of the simulations at smoke size; those of real networks are the package's own, drawn as they are."""
    folder = tmp_path_factory.mktemp("records")
    cache = Cache(tmp_path_factory.mktemp("cache"))
    for name in names():
        run_experiment(name, "smoke", folder, cache=cache)
    return folder


def test_every_experiment_has_a_figure_and_the_reverse():
    from realnets.experiments import names as realnets_names

    assert {module.NEEDS for module in figures.modules().values()} == {*names(), *realnets_names()}


def test_all_figures_are_written_and_byte_stable(records, tmp_path):
    first, second = (draw_figures([], records, tmp_path / part) for part in ("a", "b"))
    assert [name for name, _, _ in first] == list(figures.modules())
    for (_, _, one), (_, _, two) in zip(first, second, strict=True):
        assert [p.suffix for p in one] == [".png", ".svg", ".csv"]
        for a, b in zip(one, two, strict=True):
            assert a.read_bytes() == b.read_bytes()
            assert a.stat().st_size > 500


def drawn(module, record, folder, monkeypatch):
    """The axes of a figure, kept from being closed."""
    kept = []
    monkeypatch.setattr("paper_figs.drawing.plt.close", kept.append)
    files = module.draw(record, folder)
    (figure,) = kept
    return figure, files


def test_the_ladder_plots_every_cell(records, tmp_path, monkeypatch):
    record, _ = find_record("ladder", records)
    figure, files = drawn(ladder, record, tmp_path, monkeypatch)
    with files[2].open() as file:
        rows = list(csv.DictReader(file))
    shown = [
        c
        for c in record["results"]["cells"]
        if c["quantity"] != "source_loss" and not (c["quantity"] == "test_mse" and "digits" in c["task"])
    ]
    assert len(rows) == len(shown)
    for row in rows:
        (cell,) = (c for c in shown if all(str(c[k]) == row[k] for k in ("task", "quantity", "source_steps")))
        assert float(row["predicted"]) == cell["predicted"]
        assert float(row["trained_mean"]) == cell["trained"]["mean"]
    top = figure.axes[0]
    (theory,) = (line for line in top.lines if line.get_label().startswith("theory"))
    curve = record["results"]["curves"]["sphere"]
    assert list(theory.get_ydata()) == curve["gradient_energy"]
    plotted = [list(container.lines[0].get_ydata()) for container in top.containers]
    cells = sorted((c for c in shown if c["task"] == "sphere" and c["quantity"] == "gradient_energy"), key=lambda c: c["source_steps"])
    assert plotted == [[c[rung]["mean"] for c in cells] for rung in ("frozen", "trained")]
    plt.close("all")


def test_the_width_law_draws_the_claimed_power(records, tmp_path, monkeypatch):
    import math

    record, _ = find_record("width_law", records)
    figure, _ = drawn(width_law, record, tmp_path, monkeypatch)
    claimed = sorted(f["claimed"] for f in record["results"]["fits"] if f["task"] == "sphere")
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_marker() == "None"]
    slopes = sorted(math.log(y[1] / y[0]) / math.log(x[1] / x[0]) for x, y in ((line.get_xdata(), line.get_ydata()) for line in lines))
    assert len(slopes) == len(claimed)
    assert all(abs(a - b) < 1e-9 for a, b in zip(slopes, claimed, strict=True))
    plt.close("all")


def test_generalisation_plots_every_share_and_shades_what_says_nothing(records, tmp_path, monkeypatch):
    record, _ = find_record("generalisation", records)
    figure, files = drawn(generalisation, record, tmp_path, monkeypatch)
    results = record["results"]
    scratch = [c for c in results["pairs"] if c["start"] == "from scratch"]
    first = figure.axes[0].containers[0].lines[0]
    assert list(first.get_ydata()) == [c["measure"]["mean"] for c in scratch]
    assert list(first.get_xdata()) == [100 * c["test_error"]["mean"] for c in scratch]
    bound = figure.axes[3].containers[0].lines[0]
    assert list(bound.get_ydata()) == [c["best_bound"]["mean"] for c in scratch]
    assert [t.get_text() for axes in figure.axes for t in axes.texts].count("vacuous") == 2
    with files[2].open() as file:
        parts = [row["part"] for row in csv.DictReader(file)]
    assert {part: parts.count(part) for part in ("pairs", "digits", "sizes")} == {p: len(results[p]) for p in ("pairs", "digits", "sizes")}
    plt.close("all")


def test_unknown_figures_and_missing_or_foreign_records_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InvalidInput, match=r"there is no figure 'moon'; ladder, width_law, .*are allowed"):
        draw_figures(["ladder", "moon"], tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(figures, "REFERENCE", (tmp_path / "none",))
    with pytest.raises(InvalidInput, match=r"there is no record of 'ladder' .* ptoq sim run ladder"):
        draw_figures(["ladder"], tmp_path, tmp_path / "out")
    (tmp_path / "ladder.json").write_text('{"schema": 99}')
    with pytest.raises(InvalidInput, match="schema 99; 1 is allowed"):
        draw_figures(["ladder"], tmp_path, tmp_path / "out")


def test_records_of_the_user_go_before_those_of_the_package(records):
    _, path = find_record("ladder", records)
    assert path.parent == records

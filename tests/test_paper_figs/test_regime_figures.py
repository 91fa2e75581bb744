"""Figures of the borders of the kernel regime: what is plotted is what the record holds."""

import csv

import pytest
from matplotlib import pyplot as plt

from paper_figs import best_scale, breakdown, phase_diagram, scale_plane
from sim.experiments import run_experiment
from sim.records import Cache

MODULES = (best_scale, breakdown, phase_diagram, scale_plane)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder, cache = tmp_path_factory.mktemp("records"), Cache(tmp_path_factory.mktemp("cache"))
    return {module.NAME: run_experiment(module.NEEDS, "smoke", folder, cache=cache) for module in MODULES}


@pytest.fixture
def drawn(records, tmp_path, monkeypatch):
    """The record, the figure, kept from being closed, and the rows of the plotted numbers."""

    def draw(module):
        kept = []
        monkeypatch.setattr("paper_figs.drawing.plt.close", kept.append)
        files = module.draw(records[module.NAME], tmp_path)
        with files[2].open() as file:
            return records[module.NAME], kept[0], list(csv.DictReader(file))

    yield draw
    monkeypatch.undo()
    plt.close("all")


def means(container):
    return list(container.lines[0].get_ydata())


def test_the_scale_plane_plots_every_drift_that_is_sure_and_the_first_order_line(drawn):
    record, figure, rows = drawn(scale_plane)
    cells, theory = record["results"]["cells"], record["results"]["theory"][0]
    panel = figure.axes[1]
    (line,) = (each for each in panel.lines if each.get_color() == "black")
    assert list(line.get_ydata()) == [abs(theory["displacement"]) / s for s in line.get_xdata()]
    for container, width in zip(panel.containers, record["config"]["widths"], strict=True):
        here = [c["drift"] for c in cells if c["task"] == theory["task"] and c["quantity"] == "displacement" and c["width"] == width]
        assert means(container) == [d["mean"] for d in here if d["mean"] > 2 * d["standard_error"]]
    assert len(rows) == len(cells)


def test_the_best_scale_plots_gaps_with_the_theorys_curve(drawn):
    record, figure, rows = drawn(best_scale)
    results, panel = record["results"], figure.axes[0]
    theory = results["theory"][0]
    for container, line, width in zip(
        panel.containers, [each for each in panel.lines if len(each.get_xdata()) == 50], record["config"]["widths"], strict=True
    ):
        here = [c for c in results["cells"] if c["task"] == theory["task"] and c["width"] == width]
        assert means(container) == [c["square"]["mean"] for c in here]
        assert line.get_ydata()[0] == pytest.approx(here[0]["predicted"], rel=1e-9)
        assert line.get_ydata()[-1] == pytest.approx(here[-1]["predicted"], rel=1e-9)
    assert sum(row["series"] == "gap" for row in rows) == len(results["cells"])


def test_the_breakdown_plots_errors_predictions_and_the_places_where_levels_are_passed(drawn):
    record, figure, rows = drawn(breakdown)
    curves = record["results"]["curves"]
    first = [c for c in curves if c["task"] == curves[0]["task"] and c["sweep"] == "width"]
    panel = figure.axes[0]
    plotted = [list(line.get_ydata()) for line in panel.lines if line.get_label() in {c["quantity"] for c in first}]
    assert plotted == [[e for e in c["error"] if e > breakdown.LEAST] for c in first]
    places = [(t["place"]["mean"], t["level"]) for c in first for t in c["thresholds"] if t["place"] is not None]
    marked = [(container.lines[0].get_xdata()[0], container.lines[0].get_ydata()[0]) for container in panel.containers]
    assert marked == places
    (line,) = (each for each in panel.lines if each.get_label() == "first-order drift")
    assert list(line.get_ydata()) == [abs(p) for p in first[2]["predicted"]]
    assert len(rows) == sum(len(c["x"]) for c in curves)


def test_the_phase_diagram_plots_the_map_and_every_net(drawn):
    record, figure, rows = drawn(phase_diagram)
    results = record["results"]
    panel, shown = figure.axes[0], results["maps"][0]
    mesh, *nets = panel.collections
    assert mesh.get_array().tolist() == shown["values"]
    cells = [c for c in results["cells"] if c["task"] == shown["task"]]
    points = [each for each in nets if len(each.get_offsets()) == 1 and each.get_array() is not None]
    assert [float(each.get_array()[0]) for each in points] == [c["trained"]["mean"] for c in cells]
    assert [tuple(each.get_offsets()[0]) for each in points] == [(c["angle"], c["similarity"]) for c in cells]
    assert len(rows) == len(results["cells"])

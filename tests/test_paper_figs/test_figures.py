"""Figures: what is plotted is what the record holds, and the same record gives the same bytes."""

import csv

import pytest
from matplotlib import pyplot as plt

from paper_figs import (
    along_gradient,
    drift_size,
    figures,
    fresh_head,
    generalisation,
    gram_concentration,
    guarantees,
    initialisation,
    ladder,
    orthogonal_drift,
    population,
    suppression,
    theorem_1,
    theorem_2,
    width_law,
)
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


def table(files):
    """The rows of the plotted-numbers file."""
    with files[2].open() as file:
        return list(csv.DictReader(file))


def means(container):
    """What an errorbar plots."""
    return list(container.lines[0].get_ydata())


def black(axes, style="-"):
    """The theory's lines."""
    return [line for line in axes.lines if line.get_color() in ("#000000", "black") and line.get_linestyle() == style]


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


def test_initialisation_plots_both_curves_and_every_mean(records, tmp_path, monkeypatch):
    record, _ = find_record("initialisation", records)
    figure, files = drawn(initialisation, record, tmp_path, monkeypatch)
    starts, ratios = figure.axes
    claims = [c for c in record["claims"] if c["statistic"] == "z"]
    for number, start in enumerate(record["results"]["starts"]):
        assert list(black(starts)[number].get_ydata()) == start["curve"]["energy"]
        energy, deviation = starts.containers[2 * number : 2 * number + 2]
        assert means(energy) == [c["energy"]["mean"] for c in start["cells"]]
        assert [y**2 for y in means(deviation)] == pytest.approx([c["variance"]["mean"] for c in start["cells"]], rel=1e-12)
        (own,) = (c for c in start["cells"] if c["scale"] == record["config"]["init_scale"])
        (claim,) = (
            c for c in claims if c["claim"] == "mean over random starts: gradient energy ‖r̃‖²" and c["where"].startswith(start["task"])
        )
        assert own["energy"]["mean"] == pytest.approx(claim["measured"], rel=1e-12)
    assert len(ratios.containers) == len(claims)
    plotted = sorted(float(c.lines[0].get_xdata()[0]) for c in ratios.containers)
    assert plotted == pytest.approx(sorted(c["measured"] / c["predicted"] if c["predicted"] else 1 + c["measured"] for c in claims))
    assert sorted({row["part"] for row in table(files)}) == sorted({"energy", "variance", *(c["claim"] for c in claims)})
    plt.close("all")


def test_gram_concentration_draws_every_mean_and_every_bound(records, tmp_path, monkeypatch):
    record, _ = find_record("gram_concentration", records)
    figure, files = drawn(gram_concentration, record, tmp_path, monkeypatch)
    distances, norms, least = figure.axes
    cells, widths = record["results"]["cells"], record["config"]["widths"]
    groups = [cells[i : i + len(widths)] for i in range(0, len(cells), len(widths))]
    kinds = [(group, kind) for group in groups for kind in ("plain", "pairs")]
    for (group, kind), line, points in zip(kinds, black(distances), distances.containers, strict=True):
        assert [y**2 for y in line.get_ydata()] == pytest.approx([c[kind]["expected"] for c in group], rel=1e-12)
        assert [y**2 for y in means(points)] == pytest.approx([c[kind]["measured"]["mean"] for c in group], rel=1e-12)
    assert [list(line.get_ydata()) for line in norms.lines[1::2]] == [[c["bounds"]["operator"] for c in group] for group in groups]
    promised = [[c["bounds"]["least"] / c["smallest"] for c in group if c["bounds"]["least"]] for group in groups]
    bounds = [list(line.get_ydata()) for line in least.lines if line.get_label().endswith("bound")]
    assert bounds == [values for values in promised if values]
    assert len(table(files)) == len(cells)
    plt.close("all")


def test_theorem_1_draws_every_scale_with_its_theory(records, tmp_path, monkeypatch):
    record, _ = find_record("theorem_1", records)
    figure, files = drawn(theorem_1, record, tmp_path, monkeypatch)
    results, scales = record["results"], record["config"]["scales"]
    curve = results["curves"][0]
    energy = figure.axes[0]
    assert list(black(energy, "--")[0].get_ydata()) == curve["energy"][0]["mean"]
    cells = [c for c in results["cells"] if c["task"] == curve["task"] and c["quantity"] == "energy"]
    expected = [[c[rung]["mean"] for c in cells if c["scale"] == s] for s in scales for rung in ("frozen", "trained")]
    assert [means(c) for c in energy.containers] == expected
    for cell in cells:
        (line,) = (each for each in curve["energy"] if each["scale"] == cell["scale"])
        assert line["mean"][curve["source_steps"].index(cell["source_steps"])] == pytest.approx(cell["predicted"], rel=1e-12)
    drifts = sum(len(d["places"]) for d in results["drifts"])
    assert len(table(files)) == len(results["cells"]) + drifts
    plt.close("all")


def test_theorem_2_draws_every_task_and_every_bound(records, tmp_path, monkeypatch):
    record, _ = find_record("theorem_2", records)
    figure, files = drawn(theorem_2, record, tmp_path, monkeypatch)
    scatter, bounds = figure.axes
    results = record["results"]
    families = [[c for c in results["cells"] if c["task"] == fit["task"]] for fit in results["fits"]]
    assert [means(c) for c in scatter.containers] == [[c["trained"]["mean"] for c in family] for family in families]
    assert [list(c.lines[0].get_xdata()) for c in scatter.containers] == [[c["predicted"] for c in family] for family in families]
    (diagonal,) = black(scatter)
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    small = list(dict.fromkeys(b["task"] for b in results["bounds"]))
    expected = [[100 * (b["bound"]["mean"] - 1) for b in results["bounds"] if b["task"] == task] for task in small]
    assert [list(line.get_ydata()) for line in bounds.lines if line.get_label().endswith("bound, mean")] == expected
    assert len(table(files)) == len(results["cells"]) + len(results["bounds"])
    plt.close("all")


def test_suppression_draws_every_eigenspace(records, tmp_path, monkeypatch):
    record, _ = find_record("suppression", records)
    figure, files = drawn(suppression, record, tmp_path, monkeypatch)
    cells = record["results"]["cells"]
    tasks = list(dict.fromkeys(c["task"] for c in cells))
    for axes, task in zip(figure.axes, tasks, strict=True):
        for number, steps in enumerate(record["config"]["source_steps"]):
            here = [c for c in cells if c["task"] == task and c["source_steps"] == steps]
            pair = axes.containers[2 * number : 2 * number + 2]
            assert [means(c) for c in pair] == [[c[rung]["mean"] for c in here] for rung in ("frozen", "trained")]
            theory = [segment[0][1] for segment in axes.collections[3 * number].get_segments()]
            assert theory == [c["predicted"] for c in here]
    assert len(table(files)) == len(cells)
    plt.close("all")


def test_along_gradient_draws_lines_smoothness_and_excess(records, tmp_path, monkeypatch):
    record, _ = find_record("along_gradient", records)
    figure, files = drawn(along_gradient, record, tmp_path, monkeypatch)
    results, config = record["results"], record["config"]
    lines, smoothness, excess = figure.axes[:3]
    task = results["cells"][0]["task"]
    curves = [c for c in results["curves"] if c["task"] == task and c["step"] == config["steps"][0]]
    assert [list(line.get_ydata()) for line in black(lines)] == [c["predicted"] for c in curves]
    assert [means(c) for c in lines.containers] == [[e["mean"] for e in c["trained"][::4]] for c in curves]
    cells = [[c for c in results["cells"] if c["task"] == task and c["start"] == start] for start in ("pretrained", "scratch")]
    assert [means(c) for c in smoothness.containers] == [[c["smoothness"]["trained"]["mean"] for c in group] for group in cells]
    drifts = [d for d in results["drifts"] if d["task"] == task]
    shown = [[100 * s["mean"] for s in d["sizes"] if s["mean"] > 0] for d in drifts]
    assert [means(c) for c in excess.containers] == [values for values in shown if values]
    parts = [row["part"] for row in table(files)]
    assert parts.count("smoothness") == len(results["cells"])
    plt.close("all")


def test_drift_on_orthogonal_inputs_is_drawn_against_its_exact_size(records, tmp_path, monkeypatch):
    record, _ = find_record("orthogonal_drift", records)
    figure, files = drawn(orthogonal_drift, record, tmp_path, monkeypatch)
    left, right = figure.axes
    for rate, exact, leading, points, ratio in zip(
        record["config"]["rates"], black(left), black(left, "--"), left.containers, right.containers, strict=True
    ):
        cells = [c for c in record["results"]["cells"] if c["rate"] == rate]
        assert list(exact.get_ydata()) == [c["exact"] for c in cells]
        assert list(leading.get_ydata()) == [c["leading"] for c in cells]
        assert means(points) == [c["drift"]["mean"] for c in cells]
        assert means(ratio) == [c["drift"]["mean"] / c["exact"] for c in cells]
    assert len(table(files)) == len(record["results"]["cells"])
    plt.close("all")


def test_the_size_of_the_drift_is_drawn_with_its_prediction(records, tmp_path, monkeypatch):
    record, _ = find_record("drift_size", records)
    figure, files = drawn(drift_size, record, tmp_path, monkeypatch)
    *panels, ratios = figure.axes
    for panel, curve in zip(panels, record["results"]["curves"], strict=True):
        (theory,) = black(panel)
        assert list(theory.get_ydata()) == [100 * p for p in curve["predicted"]]
        assert means(panel.containers[0]) == [100 * m["mean"] for m in curve["measured"]]
        for cell in (c for c in record["results"]["cells"] if c["task"] == curve["task"]):
            at = curve["steps"].index(cell["steps"])
            assert (curve["predicted"][at], curve["measured"][at]["mean"]) == (cell["predicted"], cell["measured"]["mean"])
    claims = [c for c in record["claims"] if c["statistic"] == "z"]
    assert [float(c.lines[0].get_xdata()[0]) for c in ratios.containers] == [c["measured"] / c["predicted"] for c in claims]
    assert len(table(files)) == sum(len(c["steps"]) for c in record["results"]["curves"]) + len(claims)
    plt.close("all")


def test_a_fresh_head_is_drawn_against_the_size_that_theory_gives(records, tmp_path, monkeypatch):
    record, _ = find_record("fresh_head", records)
    figure, files = drawn(fresh_head, record, tmp_path, monkeypatch)
    head, kernel, flatness = figure.axes[:3]
    (theory,) = record["results"]["theory"]
    widths = record["config"]["widths"]
    (line,) = black(head)
    assert list(line.get_xdata()) == [widths[0], widths[-1]]
    assert [y**2 * m for m, y in zip(*line.get_data(), strict=True)] == pytest.approx([theory["width_times_energy"]] * 2, rel=1e-12)
    assert list(black(head, "--")[0].get_ydata()) == [theory["old_head"]] * 2
    sizes = {
        q: [c["size"]["mean"] for c in record["results"]["cells"] if c["quantity"] == q] for q in (*fresh_head._HEAD, *fresh_head._KERNEL)
    }
    assert [float(means(c)[0]) for c in head.containers] == [m for q in fresh_head._HEAD for m in sizes[q]]
    assert [float(means(c)[0]) for c in kernel.containers] == [m for q in fresh_head._KERNEL for m in sizes[q] if m]
    apart = record["results"]["flatness"]
    assert means(flatness.containers[0]) == [100 * f["apart"]["mean"] for f in apart]
    (claim,) = (c for c in record["claims"] if c["claim"].startswith("largest Hessian eigenvalue"))
    assert apart[-1]["apart"]["mean"] == claim["measured"]
    assert len(table(files)) == len(record["results"]["cells"]) + len(apart)
    plt.close("all")


def test_bounds_and_nets_are_drawn_as_shares_of_the_prediction(records, tmp_path, monkeypatch):
    record, _ = find_record("guarantees", records)
    figure, files = drawn(guarantees, record, tmp_path, monkeypatch)
    results = record["results"]
    predicted, cells = results["predicted"]["displacement"], results["cells"]
    left, right = figure.axes
    norm = [100 * c["measured"]["norm"]["bands"]["displacement"]["mean"] / predicted for c in cells]
    assert list(left.lines[1].get_ydata()) == norm
    assert list(left.lines[0].get_xdata()) == [c["width"] for c in cells if c["guaranteed"]]
    assert means(left.containers[0]) == [100 * c["values"]["apart"]["mean"] / predicted for c in cells]
    factors = {s["what"]: s["bound"] / s["measured"] for s in results["slack"]}
    assert sorted(bar.get_width() + 1 for bar in right.patches) == pytest.approx(sorted(factors.values()), rel=1e-12)
    whole = cells[-1]["guaranteed"]["bands"]["displacement"] / cells[-1]["values"]["apart"]["mean"]
    assert f"together × {whole:.3g}" in right.texts[0].get_text()
    assert {row["series"] for row in table(files)} == {"guaranteed", "norm", "residual", "apart", *factors}
    plt.close("all")


def test_population_plots_every_size_its_bias_and_its_eigenvalues(records, tmp_path, monkeypatch):
    record, _ = find_record("population", records)
    figure, files = drawn(population, record, tmp_path, monkeypatch)
    results = record["results"]
    columns = len(results["floors"])
    errors, bias, eigenvalues = (figure.axes[row * columns] for row in range(3))
    task, sizes, steps = results["floors"][0]["task"], record["config"]["sizes"], record["config"]["steps"]
    cells = {(c["n"], c["steps"]): c for c in results["cells"] if c["task"] == task}
    assert list(black(errors)[0].get_ydata()) == [cells[sizes[0], k]["predicted"] for k in steps]
    assert [means(c) for c in errors.containers] == [[cells[n, k]["error"]["mean"] for k in steps] for n in sizes]
    expected = [[cells[n, k]["error"]["mean"] - cells[n, k]["predicted"] for n in sizes] for k in steps]
    assert [means(c) for c in bias.containers] == expected
    found = [[m["mean"] / e["predicted"] for m in e["measured"]] for e in results["eigenvalues"] if e["task"] == task]
    assert [means(c) for c in eigenvalues.containers] == found
    shown = [[t.get_text() for t in axes.texts if "floor" in t.get_text()] for axes in figure.axes[:columns]]
    assert [len(words) for words in shown] == [1, 1, 0]
    assert len(table(files)) == len(results["cells"]) + len(results["eigenvalues"]) * len(sizes)
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

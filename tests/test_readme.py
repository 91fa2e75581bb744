"""The README keeps its word: its Python runs, its commands exist, its files are there, its numbers are those of the records."""

import json
import re
import shlex
from pathlib import Path

import pytest

import ptoq
from paper_figs.figures import REFERENCE, modules
from sim import verdicts
from sim.records import read_record

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
COMMANDS += re.findall(r"`(ptoq [^`|]+)`", TEXT)


def records():
    return [read_record(path) for folder in REFERENCE for path in sorted(folder.glob("*.json"))]


def test_the_python_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(code.replace("width=8192", "width=256"), "README.md", "exec"), {})
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3
    assert all(0 < abs(float(number)) < 100 for number in out[0].split())


@pytest.mark.parametrize("command", sorted({c for c in COMMANDS if c.startswith("ptoq ")}))
def test_every_command_is_one(command, capsys):
    """Parsed with --help at the end: an unknown command, option or value is refused before that."""
    words = shlex.split(command)[1:]
    with pytest.raises(SystemExit) as stop:
        ptoq.main([*words, "--help"])
    assert stop.value.code == 0
    if words[:2] == ["theory", "show"]:
        from theory import registry

        assert words[2] in registry.names()
    if words[0] == "figures" and len(words) > 1:
        assert words[1] in modules()


def test_every_file_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_counts_are_those_of_the_records():
    simulated, real = (
        verdicts.counts(verdicts.claims_of([read_record(path) for path in sorted(folder.glob("*.json"))])) for folder in REFERENCE
    )
    told = "{} claims, of which {} held, none failed and\n{} were undecided"
    assert told.format(sum(simulated.values()), simulated["held"], simulated["undecided"]) in TEXT
    assert simulated["failed"] == 0
    told = "{} claims, nearly all of them the paper's: {} held, {} were undecided, {} failed"
    assert told.format(sum(real.values()), real["held"], real["undecided"], real["failed"]) in TEXT


def test_the_numbers_are_those_of_the_records():
    by_name = {r["experiment"]: r for r in records()}
    cells = by_name["ladder"]["results"]["cells"]
    for quantity, form in (("displacement", "{:.2f}"), ("gradient_energy", "{:.1f}")):
        (cell,) = (c for c in cells if c["quantity"] == quantity and "parity" in c["task"] and c["source_steps"] == 100)
        mean, error, predicted = (form.format(v) for v in (cell["trained"]["mean"], cell["trained"]["standard_error"], cell["predicted"]))
        assert f"{mean} ± {error} for {predicted}" in TEXT
    fits = {(f["task"][:6], f["quantity"], f["gap"], f["part"]): f["fit"] for f in by_name["width_law"]["results"]["fits"]}
    for task in ("digits", "sphere"):
        for part, form in (("bias", "{:.2f}"), ("spread", "{:.3f}")):
            fit = fits[task, "test_outputs", "drift", part]
            assert f"{form.format(fit['slope'])} ± {form.format(fit['standard_error'])}".replace("-", "−") in TEXT
    for summary in by_name["sample_size"]["results"]["summary"]:
        if summary["n_train"] == 600:
            accuracy = summary["test_accuracy"]
            assert f"{100 * accuracy['mean']:.1f} ± {100 * accuracy['standard_error']:.1f} %" in TEXT
    assert json.dumps(by_name["kernel_prediction"]["results"]["summary"][0]["valid_to"]) == "[5, 24, 8]"


def test_the_numbers_on_switching_and_scales_are_those_of_the_records():
    claims = {
        name: [c for r in records() if r["experiment"] == name for c in r["claims"]]
        for name in ("along_gradient", "best_scale", "scale_plane")
    }
    chosen = (
        [(c, "{:.0f}") for c in claims["along_gradient"] if "at large width" in c["claim"] and "40 steps" in c["where"]]
        + [(c, "{:.3f}") for c in claims["best_scale"] if c["claim"] == "best initial scale"]
        + [(c, "{:.2f}") for c in claims["scale_plane"] if c["claim"].startswith("exponent in κ√m: drift of the displacement")]
    )
    assert len(chosen) == 6
    for claim, form in chosen:
        assert f"{form.format(claim['measured'])} ± {form.format(claim['standard_error'])}".replace("-", "−") in TEXT
        if not claim["claim"].startswith("exponent"):
            assert form.format(claim["predicted"]) in TEXT


def test_the_seconds_are_those_of_the_records():
    simulations = [read_record(path)["provenance"] for path in REFERENCE[0].glob("*.json")]
    minutes, memory = sum(p["wall_seconds"] for p in simulations) / 60, max(p["peak_memory_bytes"] for p in simulations) / 2**30
    assert f"(they take {minutes:.0f} minutes on 2 cores" in TEXT
    assert f"at most {memory:.1f} GiB" in TEXT


def test_the_speeds_are_those_of_the_benchmarks():
    report = json.loads((ROOT / "benchmarks" / "results" / "bench.json").read_text(encoding="utf-8"))
    times = {
        (c["name"], peer["name"].split(",")[0]): peer["times_slower"]
        for c in report["comparisons"]
        # The best of a peer's ways comes last here, and stays.
        for peer in sorted(c["contenders"], key=lambda each: -each.get("times_slower", {}).get("median", 0))
        if "times_slower" in peer
    }

    def ratio(*which, digits=1):
        return f"{times[which]['median']:.{digits}f}"

    step = "gradient_step_d32"
    assert (
        "torch autograd {} ×, torch.compile {} ×, JAX {} ×".format(*(ratio(step, p) for p in ("torch autograd", "torch.compile", "JAX")))
        in TEXT
    )
    shares = [100 * times[f"gradient_step_{d}", "float32 matrix products of as many flops"]["median"] for d in ("d128", "d256")]
    assert "{:.0f} % and {:.0f} %".format(*shares) in TEXT
    assert f"plain NumPy {ratio('gram', 'plain NumPy')} ×, neural-tangents {ratio('gram', 'neural-tangents')} ×" in TEXT
    kernel = times["empirical_kernel", "torch.func Jacobians"]["median"]
    assert f"neural-tangents {ratio('empirical_kernel', 'neural-tangents')} × at its best, torch.func {kernel:.0f} ×" in TEXT
    assert f"Arb's own solver {ratio('certify', 'arb_mat.solve')} ×" in TEXT
    net, exact, products = report["sizes"]
    assert f"trains within {net['peak_bytes'] / 2**30:.1f} GiB" in TEXT
    assert f"| {exact['seconds']:.0f} s, {exact['peak_bytes'] / 2**30:.1f} GiB |" in TEXT
    rate, hours = products["notes"]["million entries a second, measured at full size"], products["notes"]["hours to solve, extrapolated"]
    assert f"{rate:.0f} million entries a second; {hours:.1f} hours to solve, extrapolated" in TEXT


def percent(value, digits):
    return f"{100 * value:.{digits}f}".replace("-", "−")


def test_the_numbers_on_bounds_are_those_of_the_record():
    (record,) = (r for r in records() if r["experiment"] == "guarantees")
    results = record["results"]
    predicted, last = results["predicted"]["displacement"], results["cells"][-1]
    assert f"a width of {results['least_width']:,} guarantees the displacement\n  within 10 % with probability 95 %" in TEXT
    assert (record["config"]["tolerance"], record["config"]["delta"], last["width"]) == (0.1, 0.05, results["least_width"])
    assert f"stay within {percent(last['values']['apart']['mean'] / predicted, 2)} % on average" in TEXT
    assert f"implies {percent(last['measured']['norm']['bands']['displacement']['mean'] / predicted, 1)} % without" in TEXT
    assert f"only {results['slack'][0]['bound'] / results['slack'][0]['measured']:.2f} times the farthest" in TEXT
    (end,) = (row for row in results["digits"] if row["steps"] is None)
    width, power_law = (f"{end[key]:.1e}".replace("+", "") for key in ("width", "power_law"))
    assert f"a width of {width}, where the power law n⁶/(λ⁴δ³) asks for {power_law}" in TEXT


def test_the_numbers_on_drift_ranks_and_heads_are_those_of_the_records():
    claims = {
        name: [c for r in records() if r["experiment"] == name for c in r["claims"]]
        for name in ("drift_size", "generalisation", "fresh_head")
    }
    drift = {
        c["at"]: c for c in claims["drift_size"] if c["claim"] == "displacement over the frozen kernel's, less 1" and "digits" in c["where"]
    }
    for at, words in (
        ("50 steps", "{} ± {} %\n  in displacement after 50 steps for {} % computed"),
        ("5 steps", "{} ± {} % after 5 for {} %"),
    ):
        assert words.format(*(percent(drift[at][key], 3) for key in ("measured", "standard_error", "predicted"))) in TEXT
    found = [c for c in claims["generalisation"] if c["statistic"] == "at least" and " / " in c["where"]]
    pairs = {way: [c["measured"] for c in found if c["claim"].startswith(way)] for way in ("complexity", "generalised")}
    for way, words in (
        ("complexity", "rank correlations of {:.3f} to {:.3f}"),
        ("generalised", "from training data alone {:.3f} to {:.3f}"),
    ):
        assert words.format(min(pairs[way]), max(pairs[way])) in TEXT
    heads = [c for c in claims["fresh_head"] if "fresh head, root mean square" in c["claim"]]
    for claim in heads:
        assert f"{claim['measured']:.3f} ± {claim['standard_error']:.3f}".replace("-", "−") in TEXT
    assert len(heads) == 2


def test_the_numbers_on_real_networks_are_those_of_the_records():
    found = {r["experiment"]: r for r in records()}

    def points(claim, digits=1):
        return "{} ± {}".format(*(f"{100 * claim[key]:.{digits}f}".replace("-", "−") for key in ("measured", "standard_error")))

    sources = [c for c in found["source_target"]["claims"] if c["claim"].startswith("rank correlation")]
    assert "are −{:.2f}, −{:.2f} and −{:.2f} on three targets".format(*(c["measured"] for c in sources)) in TEXT
    nearest = [c for c in found["source_target"]["claims"] if "target mnist" in c["where"]]
    gained, shuffled, inverted = (
        next(c for c in nearest if words in c["claim"] + c["at"]) for words in ("random start", "shuffled", "inverted")
    )
    permuted = next(c for c in nearest if "permuted" in c["claim"])
    assert f"gains {points(gained)} points" in TEXT
    assert (
        f"inverted pictures cost {points(inverted)} of them, shuffled labels {points(shuffled)}, permuted class names {points(permuted)}"
        in TEXT
    )
    accuracy = {
        (row["noise"], row["epoch"]): f"{100 * row['accuracy']['mean']:.1f}" for row in found["pretraining_epochs"]["results"]["summary"]
    }
    assert f"({accuracy[0.0, 0]} → {accuracy[0.0, 40]} %)" in TEXT
    assert f"fell to {accuracy[0.9, 13]} % after 13 epochs and came back to {accuracy[0.9, 40]} % after 40" in TEXT

    def ratio(name, words, at, digits, model="small-cnn"):
        """Of the first claim that begins so."""
        claim = next(
            c for c in found[name]["claims"] if c["claim"].startswith(words) and c["at"].startswith(at) and c["where"].startswith(model)
        )
        return f"{claim['measured']:.{digits}f} ± {claim['standard_error']:.{digits}f}"

    assert f"trace of the Hessian {ratio('flatness', 'trace', '', 2)}" in TEXT
    assert f"which rescaling cannot change, {ratio('flatness', 'curvature', '', 1)}" in TEXT
    large = "efficientnet-lite0"
    emoji, digits = (
        next(c for c in found["sample_size"]["claims"] if c["claim"].startswith("displacement") and f", {data}," in c["where"])
        for data in ("openmoji", "mnist")
    )
    assert f"displacement {emoji['measured']:.2f} ± {emoji['standard_error']:.2f} of the random start's" in TEXT
    assert f"digits {digits['measured']:.2f} ± {digits['standard_error']:.2f}." in TEXT
    one, other = (ratio("smoothness", "effective", "", 2, model) for model in ("small-cnn", large))
    assert f"effective smoothness {one} of the random start's in the small CNN, {other} in EfficientNet-Lite0" in TEXT
    assert f"({ratio('smoothness', 'range', '', 2)}, {ratio('smoothness', 'range', '', 1, large)})" in TEXT

    def both(words):
        digits = {"small-cnn": 2, large: 2 if words.startswith("share") else 3}
        return " and ".join(ratio("gradient_spectrum", words, "at the start", d, model) for model, d in digits.items())

    assert f"norms {both('gradient at')} of the random start's" in TEXT
    assert f"singular vectors {both('principal component of the gradient at')}" in " ".join(TEXT.split())
    assert f"As a share it is {both('share of the principal component, at')} times" in TEXT

"""The experiment on the Gram matrix at the start: theory holds, and a wrong formula or too small a bound fails."""

from dataclasses import replace

import pytest

from sim.experiments import gram_concentration, initial_grams
from sim.experiments.initial_grams import GramSpec, concentrated, least_share
from sim.records import Cache
from sim.tasks import SphereTask
from theory.bounds.initial_kernel import entrywise_deviation, initial_deviation, least_eigenvalue_width
from theory.numeric import gram_fluctuation, vector_labels

TASK = SphereTask(n_source=8, n_target=4, n_test=4, dimension=3)
SMALL = replace(gram_concentration.Config.profile("smoke"), tasks=(TASK,), widths=(16, 32, 64, 128), seeds=256)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


def verdicts(cache):
    claims = gram_concentration.run(SMALL, cache)["claims"]
    return {(c["claim"], c["at"]): c["verdict"] for c in claims}


def test_theory_holds(cache):
    found = verdicts(cache)
    assert len(found) >= 4 * 4 + 3 + 1
    assert set(found.values()) == {"held"}


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("expected_gram_error", lambda X, m, antisymmetric=False: gram_fluctuation.expected_gram_error(X, m), "antisymmetric pairs"),
        ("gram_matrix_variance", lambda X: 2 * gram_fluctuation.gram_matrix_variance(X), "along its largest matrix variance"),
        (
            "expected_vector_gram_error",
            lambda X, c, m, readouts="orthogonal": vector_labels.expected_vector_gram_error(X, c, m),
            "independent readouts",
        ),
    ],
)
def test_a_wrong_formula_fails(name, fault, words, cache, monkeypatch):
    monkeypatch.setattr(gram_concentration, name, fault)
    assert any(verdict == "failed" for (claim, _), verdict in verdicts(cache).items() if words in claim)


@pytest.mark.parametrize(
    ("name", "fault", "bound"),
    [
        ("entrywise_deviation", lambda *args: entrywise_deviation(*args) / 2, "entries"),
        ("initial_deviation", lambda *args: initial_deviation(*args) / 4, "operator"),
        ("least_share", lambda *_: 0.01, "least"),
    ],
)
def test_a_bound_that_is_too_small_fails_at_the_quick_number_of_nets(name, fault, bound, monkeypatch):
    quick = gram_concentration.Config.profile("quick")
    spec = GramSpec(task=SphereTask(n_target=12, n_test=4), width=512, nets=quick.seeds, delta=quick.delta)
    words = f"nets with {gram_concentration.BOUNDS[bound]}"

    def verdict():
        claims, _ = gram_concentration._at_width(spec, concentrated(spec))
        return {c.claim: c.verdict for c in claims}[words]

    assert verdict() == "held"
    monkeypatch.setattr(initial_grams, name, fault)
    assert verdict() == "failed"


def test_the_least_share_inverts_the_width():
    share = least_share(0.1, 2.0, 20, 1000, 0.05)
    assert least_eigenvalue_width(0.1, 2.0, 20, share, 0.05) <= 1000 < least_eigenvalue_width(0.1, 2.0, 20, share - 1e-4, 0.05)
    assert least_share(0.1, 2.0, 20, 100, 0.05) is None

"""What the theory's entries declare as evidence is there, and is of the kind declared."""

import importlib

from sim.experiments.evidence import EVIDENCE
from sim.records import Cache
from theory import registry
from theory.formula import Supplied

STATISTICS = {"monte-carlo": "z", "rate": "exponent z", "frequency": "frequency"}


def test_all_declared_evidence_is_supplied():
    assert registry.evidence_complaints(EVIDENCE) == []


def test_missing_or_surplus_evidence_is_complained_of():
    """The test above can fail."""
    less = {k: v for k, v in EVIDENCE.items() if k != "gradient_energy"}
    assert any("gradient_energy" in c for c in registry.evidence_complaints(less))
    more = {**EVIDENCE, "gravity": Supplied(kind="rate", where="nowhere")}
    assert any("gravity" in c for c in registry.evidence_complaints(more))


def test_what_supplies_it_makes_claims_of_that_kind(tmp_path):
    for supplied in EVIDENCE.values():
        module = importlib.import_module(supplied.where)
        claims = module.run(module.Config.profile("smoke"), Cache(tmp_path))["claims"]
        assert STATISTICS[supplied.kind] in {c["statistic"] for c in claims}

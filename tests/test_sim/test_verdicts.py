"""The verdict table: what it counts, and which of several claims it shows."""

import pytest

from sim import verdicts
from sim.estimate import Estimate
from sim.experiments.claims import exponent_claim, gap_claim, z_claim


def claims(*made):
    return [{"experiment": "e", "profile": "smoke", **c.to_dict()} for c in made]


HELD = z_claim("a", "w", "1 step", Estimate(1.1, 0.1, 1000), 1.0)
CLOSER = z_claim("a", "w", "2 steps", Estimate(1.4, 0.1, 1000), 1.0)
FAILED = gap_claim("b", "w", "", Estimate(2.0, 0.01, 8), 1.0, 0.02)
UNDECIDED = exponent_claim("c", "v", None, -0.5)


def test_of_several_points_the_closest_to_its_limit_is_shown():
    (row,) = verdicts.summary(claims(HELD, CLOSER))
    assert row["at"] == "2 steps"
    assert (row["tried"], row["n_held"], row["verdict"]) == (2, 2, "held")


def test_a_failure_outweighs_everything_at_its_place():
    worse = z_claim("a", "w", "3 steps", Estimate(9.0, 0.1, 1000), 1.0)
    (row,) = verdicts.summary(claims(HELD, worse, CLOSER))
    assert row["verdict"] == "failed"
    assert row["at"] == "3 steps"


def test_counts_and_the_last_line_agree():
    all_claims = claims(HELD, CLOSER, FAILED, UNDECIDED)
    assert verdicts.counts(all_claims) == {"held": 2, "failed": 1, "undecided": 1}
    text = verdicts.table(all_claims)
    assert "4 claims: 2 held, 1 failed, 1 undecided" in text.splitlines()[-1]
    for words in ("e: w", "e: v", "+100.00 %", "held, 2 of 2", "nothing to fit"):
        assert words in text


@pytest.mark.parametrize(("made", "code"), [((HELD, UNDECIDED), 0), ((HELD, FAILED), 1)])
def test_only_a_failed_claim_makes_the_exit_code_1(made, code, capsys):
    from sim.terminal import report

    assert report(claims(*made), as_json=False) == code
    assert "claims" in capsys.readouterr().out

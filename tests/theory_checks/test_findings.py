"""What the trials of a claim come to: the verdict, and the trials that a report names."""

import pytest

from theory_checks import CLAIMS, Evidence
from theory_checks.laws import Case
from theory_checks.report import Report
from theory_checks.trial import Finding, Trial, Verdict

TRUE, NEAR, FALSE = Evidence(0.0, 0.0, 1.0), Evidence(0.9, 0.0, 1.0), Evidence(9.0, 0.0, 1.0)
HARDLY_FALSE = Evidence(1.1, 0.0, 1.0)


def finding(*trials: tuple[Evidence | None, Evidence | None], name: str = "lloyd_descends") -> Finding:
    return Finding(CLAIMS[name], tuple(_trial(seed, *both) for seed, both in enumerate(trials)))


def _trial(seed: int, evidence: Evidence | None, control: Evidence | None) -> Trial:
    return Trial(Case("lattice", 1, 11, 2, seed), evidence, control, None if evidence else "RuntimeError: lost")


@pytest.mark.parametrize(
    ("trials", "verdict"),
    [
        ([(TRUE, FALSE), (NEAR, FALSE)], Verdict.HOLDS),
        ([(TRUE, FALSE), (FALSE, FALSE)], Verdict.FAILS),
        ([(TRUE, FALSE), (TRUE, NEAR)], Verdict.CONTROL_HELD),
        ([(TRUE, FALSE), (FALSE, TRUE)], Verdict.FAILS),
        ([(TRUE, FALSE), (None, None)], Verdict.ERROR),
        ([(FALSE, FALSE), (None, None)], Verdict.ERROR),
    ],
)
def test_one_trial_is_enough_to_refuse(trials: list[tuple[Evidence | None, Evidence | None]], verdict: Verdict) -> None:
    found = finding(*trials)
    assert found.verdict is verdict
    assert finding(*reversed(trials)).verdict is verdict
    assert Report("quick", 0, (finding((TRUE, FALSE)), found)).holds is (verdict is Verdict.HOLDS)


def test_the_trials_that_are_named_are_those_nearest_to_changing_the_verdict() -> None:
    found = finding((TRUE, FALSE), (NEAR, FALSE), (TRUE, HARDLY_FALSE))
    assert found.worst is found.trials[1]
    assert found.weakest_control is found.trials[2]
    held = finding((NEAR, HARDLY_FALSE), (TRUE, TRUE))
    assert held.weakest_control is held.trials[1]
    lost = finding((FALSE, FALSE), (None, None))
    assert lost.worst is lost.weakest_control is lost.trials[1]


def test_a_report_counts_the_trials_that_chance_can_refuse() -> None:
    by_chance, exact = finding(*[(TRUE, FALSE)] * 3, name="codes_do_no_worse_together"), finding((TRUE, FALSE))
    assert Report("quick", 0, (exact,)).false_alarms == 0
    assert Report("quick", 0, (by_chance, exact)).false_alarms == pytest.approx(3 * 6.795e-6, rel=1e-3)

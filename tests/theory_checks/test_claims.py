"""Every claim as a property of generated laws, and every false variant rejected."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory_checks import CLAIMS, Claim, Evidence, claim, laws
from theory_checks.chance import FALSE_ALARMS, false_alarms
from theory_checks.claim import PROFILES
from theory_checks.laws import FINITE, Case, Family

FAMILIES = [family for family in vars(laws).values() if isinstance(family, Family)]
EVERY_CLAIM = pytest.mark.parametrize("stated", CLAIMS.values(), ids=CLAIMS.keys())


def property_of(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def cases(family: Family[Any]) -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        kind=st.sampled_from(list(family.kinds)),
        dim=st.sampled_from(family.dims),
        size=st.sampled_from(family.sizes),
        k=st.sampled_from(family.codes),
        seed=st.integers(0, 2**31 - 1),
    )


@EVERY_CLAIM
def test_the_claim_holds_and_its_false_variant_is_rejected(stated: Claim[Any]) -> None:
    @property_of(stated.effort.tests)
    @given(case=cases(stated.laws))
    def holds(case: Case) -> None:
        evidence, control = stated.observe_both(case)
        assert evidence.holds, evidence
        assert control is not None
        assert not control.holds, control

    holds()


@EVERY_CLAIM
def test_every_claim_is_stated_explained_and_controlled(stated: Claim[Any]) -> None:
    assert stated.controlled
    assert stated.statement
    assert stated.__doc__ is not None
    assert "Slack:" in stated.__doc__


def test_all_comparisons_that_chance_can_refuse_fit_the_budget() -> None:
    for profile in PROFILES:
        assert 0 < false_alarms(c.effort.cases(profile) for c in CLAIMS.values() if c.random) <= FALSE_ALARMS


def test_equal_cases_give_equal_evidence() -> None:
    lloyd = CLAIMS["lloyd_descends"]
    case = Case("overlapping mixture", 3, 23, 4, 5)
    assert lloyd.observe(case) == lloyd.observe(case) == lloyd(lloyd.laws.law(case), case.k, case.seed)


@EVERY_CLAIM
def test_a_claim_has_other_cases_for_another_seed_and_more_in_a_longer_profile(stated: Claim[Any]) -> None:
    quick, again, other, full = (
        list(stated.cases(profile, seed)) for profile, seed in (("quick", 0), ("quick", 0), ("quick", 1), ("full", 0))
    )
    assert quick == again
    assert {c.seed for c in quick}.isdisjoint(c.seed for c in other)
    assert stated.effort.tests <= len(quick) == stated.effort.quick < len(full) == stated.effort.full


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.words)
def test_cases_are_equal_for_equal_seeds_and_try_every_kind(family: Family[Any]) -> None:
    import numpy as np

    count = 2 * len(family.kinds)
    first, second, other = (list(family.cases(np.random.default_rng(seed), count)) for seed in (3, 3, 4))
    assert first == second != other
    assert set(Counter(c.kind for c in first).values()) == {2}
    times = Counter(c.dim for c in first)
    assert max(times.values()) - min(times[dim] for dim in family.dims) <= 1
    assert all(c.dim in family.dims and c.size in family.sizes and c.k in family.codes for c in first)


@property_of(40)
@given(case=cases(FINITE))
def test_finite_laws_are_equal_for_equal_cases_and_of_the_size_asked_for(case: Case) -> None:
    first, second = FINITE.law(case), FINITE.law(case)
    assert (first.dim, first.size) == (case.dim, case.size)
    assert (first.points == second.points).all()
    assert (first.weights == second.weights).all()
    if case.kind != "lattice":  # which has the same points again now and then
        assert (first.points != FINITE.law(replace(case, seed=case.seed + 1)).points).any()


@pytest.mark.usefixtures("registry")
def test_registering_twice_is_refused() -> None:
    def trivial(law: Any, k: int, seed: int) -> Evidence:
        return Evidence(0.0, 0.0, 0.0)

    register = claim(statement="$0 = 0$", reference="graf2000", laws=FINITE)
    made = register(trivial)
    assert not made.controlled
    with pytest.raises(LookupError, match=r"@trivial\.control"):
        made.observe_control(Case("lattice", 1, 11, 2, 0))
    with pytest.raises(ValueError, match="trivial already"):
        register(trivial)
    made.control(trivial)
    with pytest.raises(ValueError, match="negative control already"):
        made.control(trivial)


def test_importing_loads_neither_torch_nor_the_pipeline_nor_what_only_a_run_needs() -> None:
    unwanted = ("torch", "diffusers", "distill", "sklearn", "matplotlib", "rich", "hypothesis", "ot")
    script = f"import sys, theory_checks; print(*[name for name in {unwanted} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []

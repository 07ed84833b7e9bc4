"""Every claim as a property of generated laws, and every false variant rejected."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory_checks import CLAIMS, Claim, Evidence, claim
from theory_checks.laws import CODES, FINITE, MIXTURES, UNIFORM_GRID, Case, Family

PROPERTY = settings(max_examples=20, deadline=None, derandomize=True, database=None)
EVERY_CLAIM = pytest.mark.parametrize("stated", CLAIMS.values(), ids=CLAIMS.keys())


def cases(family: Family[Any]) -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        kind=st.sampled_from(list(family.kinds)),
        dim=st.sampled_from(family.dims),
        size=st.sampled_from(family.sizes),
        k=st.sampled_from(CODES),
        seed=st.integers(0, 2**31 - 1),
    )


@EVERY_CLAIM
@PROPERTY
@given(data=st.data())
def test_the_claim_holds(stated: Claim[Any], data: st.DataObject) -> None:
    evidence = stated.observe(data.draw(cases(stated.laws)))
    assert evidence.holds, evidence


@EVERY_CLAIM
@PROPERTY
@given(data=st.data())
def test_its_false_variant_is_rejected(stated: Claim[Any], data: st.DataObject) -> None:
    evidence = stated.observe_control(data.draw(cases(stated.laws)))
    assert not evidence.holds, evidence


@EVERY_CLAIM
def test_every_claim_is_stated_explained_and_controlled(stated: Claim[Any]) -> None:
    assert stated.controlled
    assert "$" in stated.statement
    assert stated.__doc__ is not None
    assert "Slack:" in stated.__doc__


def test_equal_cases_give_equal_evidence() -> None:
    lloyd = CLAIMS["lloyd_descends"]
    case = Case("overlapping mixture", 3, 23, 4, 5)
    assert lloyd.observe(case) == lloyd.observe(case) == lloyd(lloyd.laws.law(case), case.k, case.seed)


@pytest.mark.parametrize("family", [FINITE, MIXTURES, UNIFORM_GRID], ids=lambda family: family.words)
@PROPERTY
@given(data=st.data())
def test_laws_are_equal_for_equal_cases_and_of_the_size_asked_for(family: Family[Any], data: st.DataObject) -> None:
    case = data.draw(cases(family))
    first, second = family.law(case), family.law(case)
    assert first.dim == case.dim
    assert (first.weights == second.weights).all()
    assert family is MIXTURES or first.size == case.size


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

"""Whatever is cited is in the bibliography."""

import re
from pathlib import Path

import pytest

import theory_checks
from theory_checks import CLAIMS

ENTRIES = re.findall(r"^@\w+\{([^,\s]+),", (Path(__file__).parents[2] / "docs" / "references.bib").read_text(), re.MULTILINE)


def test_keys_are_unique_and_sorted() -> None:
    assert sorted(set(ENTRIES)) == ENTRIES


@pytest.mark.parametrize("stated", CLAIMS.values(), ids=CLAIMS.keys())
def test_every_claim_cites_an_entry(stated: theory_checks.Claim[object]) -> None:
    assert stated.reference in ENTRIES


def test_every_docstring_cites_an_entry() -> None:
    for path in Path(theory_checks.__file__).parent.rglob("*.py"):
        for sources in re.findall(r"Source: ([a-z0-9]+(?:, [a-z0-9]+)*)\.", path.read_text()):
            assert set(sources.split(", ")) <= set(ENTRIES), path

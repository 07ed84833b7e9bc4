"""Shared by the tests of this room."""

from collections.abc import Iterator
from typing import Any

import pytest

from theory_checks import CLAIMS, Claim


@pytest.fixture
def registry() -> Iterator[dict[str, Claim[Any]]]:
    """The claims, to add to: what a test registers is gone after it."""
    before = dict(CLAIMS)
    yield CLAIMS
    CLAIMS.clear()
    CLAIMS.update(before)

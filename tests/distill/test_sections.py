"""Sections whose keys depend on their ``source``."""

from typing import Annotated, Literal

import pytest
from pydantic import ValidationError

from distill.recipe import Section, keys
from distill.recipe.reading import _sentences
from distill.recipe.section import by_source, tag


class Made(Section):
    source: Literal["made"]
    steps: int


class Bought(Section):
    source: Literal["bought"]
    shop: str


class Whole(Section):
    thing: Annotated[Annotated[Made, tag("made")] | Annotated[Bought, tag("bought")], by_source("made", "bought")]


def refused(value):
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"thing": value})
    return list(_sentences(caught.value))


def test_each_source_has_its_own_keys():
    assert Whole.model_validate({"thing": {"source": "bought", "shop": "x"}}).thing == Bought(source="bought", shop="x")
    assert list(keys(Whole)) == ["thing.source", "thing.steps", "thing.shop"]
    again = Whole(thing=Made(source="made", steps=3))
    assert Whole.model_validate(again.model_dump()) == again


@pytest.mark.parametrize(
    ("value", "sentences"),
    [
        ({"source": "bought"}, ["the recipe lacks thing.shop"]),
        ({"steps": 3}, ["the recipe lacks thing.source"]),
        ({"source": "found", "steps": 3}, ["thing.source: must be one of made, bought; received 'found'"]),
        ({"source": "made", "steps": "3"}, ["thing.steps: input should be a valid integer; received '3' (str)"]),
        (3, ["thing: input should be a valid dictionary or instance of Made; received 3 (int)"]),
    ],
)
def test_what_is_wrong_is_said_without_the_names_of_types(value, sentences):
    assert refused(value) == sentences


def test_a_key_of_another_source_is_unknown_here():
    assert refused({"source": "made", "steps": 3, "shop": "x"})[0].startswith("unknown key thing.shop")

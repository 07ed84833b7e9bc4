"""What the command lists of a recipe is all of it, and every option is explained."""

import re

import pytest

from distill.__main__ import main
from distill.recipe import keys, listing


def test_every_option_is_listed():
    listed = {
        option.name if each.name == "recipe" else f"{each.name}.{option.name}" for each in listing() for option in each.options
    }
    assert listed == {key for key in keys() if not key.endswith(".source")}


@pytest.mark.parametrize("section", listing(), ids=lambda each: "-".join([each.name, *each.sources]))
def test_every_option_is_explained(section):
    for option in section.options:
        for word in option.name.split("."):
            assert re.search(rf"\b{word}\b", section.meaning), option.name
        assert option.takes


def test_the_command_shows_what_an_option_takes_and_its_default(capsys):
    assert main(["schema", "decode"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^strength +number ≥ 0, ≤ 1 +0.7 *$", out, re.MULTILINE)
    assert re.search(r"^scheduler +ddim \| dpm-solver \| euler \| ddpm +\"ddim\" *$", out, re.MULTILINE)
    assert main(["schema", "data"]) == 0
    out = capsys.readouterr().out
    assert '[data]  source = "folder"' in out
    assert re.search(r"^path +text +must be given *$", out, re.MULTILINE)
    assert re.search(r"^subset +text or list of text +not set *$", out, re.MULTILINE)

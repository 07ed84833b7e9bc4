import json
import re
import tomllib
from importlib import resources

import pytest

from distill.methods import BASES
from distill.recipe import Recipe, RecipeError, check, embedded, keys, read
from distill.runs.folder import folder_of

TEXT = (resources.files("distill") / "recipes" / "digits.toml").read_text(encoding="utf-8")


@pytest.fixture
def table():
    return tomllib.loads(TEXT)


def refused(source, *changes):
    """The message with which a recipe is refused."""
    with pytest.raises(RecipeError) as caught:
        read(source, changes)
    return str(caught.value)


def test_every_embedded_recipe_is_valid_and_bears_its_name():
    assert "digits" in embedded()
    for name in embedded():
        assert read(name, ["data.path=DIR"] if name == "photos" else []).name == name


def test_digits_compares_the_main_methods():
    recipe = read("digits")
    assert set(recipe.methods) == {"ddoq", "uniform", "random", "nearest", "full"}
    assert recipe.select.budgets == [1, 5, 10]
    assert len(recipe.seeds) >= 2


def test_name_file_mapping_and_json_give_the_same_recipe(tmp_path, table):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT, encoding="utf-8")
    expected = read("digits")
    for source in (path, str(path), table, json.loads(json.dumps(expected.model_dump()))):
        assert read(source) == expected


def test_a_recipe_cannot_be_changed_and_reading_leaves_the_mapping_alone(table):
    before = json.dumps(table)
    recipe = read(table, ["select.k=7"])
    assert recipe.select.budgets == [7]
    assert json.dumps(table) == before
    with pytest.raises(ValueError, match="frozen"):
        recipe.select.k = 3  # type: ignore[misc]


def test_keys_are_full_paths():
    assert {"name", "seeds", "select.k", "train.learning_rate"} <= set(keys())
    assert "select" not in set(keys())


@pytest.mark.parametrize("section", [None, "select", "train"])
def test_an_unknown_key_is_named_by_its_path_with_the_nearest(table, section):
    known = {"select": "k", "train": "learning_rate", None: "seeds"}[section]
    (table if section is None else table[section])[known + "k"] = 3
    path = known if section is None else f"{section}.{known}"
    assert refused(table) == f"unknown key {path}k; did you mean {path}?"


def test_an_unknown_key_on_the_command_line_is_named_alike():
    assert refused("digits", "select.kk=3") == "unknown key select.kk; did you mean select.k?"
    assert refused("digits", "seed=3") == "unknown key seed; did you mean seeds?"
    assert refused("digits", "selct.k=3") == "unknown key selct; did you mean select?"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("select.steps=3", "select.steps is called select.max_iter now"),
        ("select.restarts=3", "select.restarts is called select.n_init now"),
        ("given.path=x", "given is called external now"),
        ("methods=ddoq,closest", "methods: 'closest' is called 'nearest' now"),
        ("methods=['given']", "methods: 'given' is called 'external' now"),
        ("train.labels=image", "train.labels: 'image' is called 'fixed' now"),
    ],
)
def test_an_earlier_name_is_answered_by_the_present_one(change, said):
    assert refused("digits", change) == said


def test_an_option_of_another_source_is_said_to_be_one():
    message = refused("digits", "teacher.source=timm", "teacher.model=resnet18")
    assert "teacher.width does not go with the recipe's teacher.source" in message


@pytest.mark.parametrize("change", ["selct.k=3", "selct.x.y=3"])
def test_an_unknown_section_is_named(change):
    assert refused("digits", change).startswith("unknown key selct")


def test_a_key_below_an_option_is_unknown():
    assert refused("digits", "select.k.first=3") == "unknown key select.k.first; did you mean select.k?"


def test_an_unknown_key_that_is_no_identifier_is_named_too(table):
    table["train"]["learning-rate"] = 1e-2
    table["train"]["batch size"] = 3
    message = refused(table)
    assert "unknown key train.learning-rate; did you mean train.learning_rate?" in message
    assert "unknown key train.batch size; did you mean train.batch?" in message


@pytest.mark.parametrize(
    ("key", "value", "type_name"),
    [
        ("select.k", "10", "str"),
        ("select.k", True, "bool"),
        ("select.k", 3.0, "float"),
        ("select.batch", "32", "str"),
        ("select.batch", True, "bool"),
        ("data.size", 16.0, "float"),
        ("decode.strength", "0.5", "str"),
        ("decode.strength", True, "bool"),
        ("teacher.learning_rate", None, "NoneType"),
        ("seeds", 3, "int"),
        ("seeds", "01", "str"),
        ("methods", "ddoq", "str"),
        ("name", 3, "int"),
        ("select", 3, "int"),
        ("codec.channels", 8, "int"),
    ],
)
def test_a_wrong_type_names_path_value_and_type(table, key, value, type_name):
    *sections, last = key.split(".")
    (table[sections[0]] if sections else table)[last] = value
    assert re.fullmatch(rf"{re.escape(key)}: .*; received {re.escape(repr(value))} \({type_name}\)", refused(table))


@pytest.mark.parametrize(
    ("key", "entries"), [("seeds", [0, "1"]), ("seeds", [0, True]), ("codec.channels", [4, 8.0]), ("methods", ["ddoq", 3])]
)
def test_a_wrong_type_in_a_list_is_named_by_its_place(table, key, entries):
    *sections, last = key.split(".")
    (table[sections[0]] if sections else table)[last] = entries
    assert f"{key}.1: " in refused(table)


def test_an_integer_is_a_number():
    assert read("digits", ["decode.strength=1", "decode.guidance=2"]).decode.strength == 1.0


@pytest.mark.parametrize("key", ["select", "select.k", "data.size", "name", "train.protocol"])
def test_a_missing_key_is_named(table, key):
    *sections, last = key.split(".")
    del (table[sections[0]] if sections else table)[last]
    assert refused(table) == f"the recipe lacks {key}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("select.k", 0),
        ("select.k", -1),
        ("select.k", [1, 0]),
        ("select.k", []),
        ("select.batch", 0),
        ("seeds", []),
        ("seeds", [-1]),
        ("methods", []),
        ("data.size", 12),
        ("data.size", 0),
        ("data.test_fraction", 0),
        ("data.test_fraction", 1),
        ("data.validation_fraction", 1),
        ("data.seed", -1),
        ("data.source", "mnist"),
        ("codec.channels", []),
        ("codec.channels", [6]),
        ("codec.learning_rate", 0),
        ("codec.learning_rate", 1.5),
        ("codec.kl_weight", -1e-9),
        ("prior.label_dropout", 1),
        ("prior.head_width", 10),
        ("teacher.shift", -1),
        ("decode.strength", -0.1),
        ("decode.strength", 1.1),
        ("decode.steps", 0),
        ("decode.guidance", -1),
        ("train.steps", 0),
        ("train.temperature", 0),
        ("train.weight_decay", -1),
        ("train.evaluations", 0),
        ("select.solver", "magic"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_was_received(table, key, value):
    *sections, last = key.split(".")
    (table[sections[0]] if sections else table)[last] = value
    message = refused(table)
    assert message.startswith(key)
    assert "received" in message


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
@pytest.mark.parametrize("key", ["decode.guidance", "train.weight_decay", "train.temperature", "codec.kl_weight"])
def test_a_number_that_is_not_finite_is_refused(key, value):
    assert refused("digits", f"{key}={value}").startswith(key)


@pytest.mark.parametrize("key", ["seeds", "select.k"])
def test_repeated_entries_are_refused_in_those_words(key):
    message = refused("digits", f"{key}=[1, 2, 1]")
    assert message == f"{key}: must not repeat an entry; received [1, 2, 1] (list)"


def test_an_empty_list_of_budgets_is_refused_as_empty():
    assert "integer" not in refused("digits", "select.k=[]")


def test_an_unknown_or_repeated_method_is_refused():
    message = refused("digits", "methods=['ddoq', 'magic']")
    assert message.startswith("methods: names no method 'magic'")
    assert all(name in message for name in BASES)
    assert "must not repeat" in refused("digits", "methods=['ddoq', 'ddoq']")
    for one, other in (("ddoq-power(0.25)", "ddoq-power(.25)"), ("uniform", "ddoq-power(0)"), ("ddoq-sqrt", "ddoq-power(0.5)")):
        assert f"{other!r} is {one!r} by another name" in refused("digits", f"methods={[one, other]}")


def test_latents_that_the_transformer_cannot_cut_into_patches_are_refused():
    """Latents of size/2^(levels − 1) a side are cut into patches of 2: checked before anything is trained."""
    assert read("digits", ["data.size=16", "codec.channels=[4, 4, 4, 4]"]).codec.channels == [4, 4, 4, 4]  # a side of 2
    assert "codec.channels" in refused("digits", "data.size=8", "codec.channels=[4, 4, 4, 4]")  # a side of 1
    assert "codec.channels" in refused("digits", "data.size=24", "codec.channels=[4, 4, 4, 4]")  # a side of 3


@pytest.mark.parametrize("name", ["a/b", "/etc", "..", "../x", ".hidden", "", "a b", "A", "a\\b", "a\nb", "a\n"])
def test_a_name_that_is_no_folder_name_is_refused(table, name):
    table["name"] = name
    assert refused(table).startswith("name: ")


def test_all_errors_are_reported_together():
    lines = refused("digits", "select.k=0", "seeds=[-1]", "train.foo=3", "data.source='x'").splitlines()
    assert len(lines) == 4
    for start in ("select.k: ", "seeds.0: ", "unknown key train.foo", "data.source: "):
        assert sum(line.startswith(start) for line in lines) == 1, lines


def test_bad_toml_says_where(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("name = \n[select\n")
    assert re.search(rf"{re.escape(str(path))} is not valid TOML: .*line 1", refused(path))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b"name = '\xff\xfe'")
    assert str(path) in refused(path)


def test_a_missing_file_and_an_unknown_name_list_the_embedded(tmp_path):
    path = tmp_path / "none.toml"
    for source in (path, str(path), tmp_path.with_suffix(".toml")):
        message = refused(source)
        assert str(source) in message
        assert "digits" in message
    message = refused("digts")
    assert "'digts'" in message
    assert "digits" in message
    assert ".toml" in message


def test_a_folder_is_no_recipe_file(tmp_path):
    (tmp_path / "x.toml").mkdir()
    assert "no recipe file" in refused(tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("change", "get", "value"),
    [
        ("select.k=50", lambda recipe: recipe.select.k, 50),
        ("select.k=[1,5,10]", lambda recipe: recipe.select.k, [1, 5, 10]),
        (" select.k = [1, 5] ", lambda recipe: recipe.select.k, [1, 5]),
        ("seeds=[3]", lambda recipe: recipe.seeds, [3]),
        ("decode.strength=0.25", lambda recipe: recipe.decode.strength, 0.25),
        ("train.learning_rate=1e-3", lambda recipe: recipe.train.learning_rate, 1e-3),
        ("select.solver=lloyd", lambda recipe: recipe.select.solver, "lloyd"),
        ("select.solver='lloyd'", lambda recipe: recipe.select.solver, "lloyd"),
        ('name="other"', lambda recipe: recipe.name, "other"),
        ("methods=['ddoq']", lambda recipe: recipe.methods, ["ddoq"]),
    ],
)
def test_changes_are_toml_values_or_bare_words(change, get, value):
    assert get(read("digits", [change])) == value


def test_of_two_changes_of_a_key_the_later_holds():
    assert read("digits", ["select.k=3", "select.k=4"]).select.k == 4


@pytest.mark.parametrize("change", ["select.k", "", "=3", "select..k=3", ".k=3", "select.=3", "sel ect.k=3"])
def test_a_malformed_change_shows_how_one_is_written(change):
    message = refused("digits", change)
    assert "select.k=50" in message
    assert repr(change) in message


@pytest.mark.parametrize("table", [[], None, 3, "digits"])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(RecipeError):
        check(table)


def test_a_recipe_survives_the_journey_through_json():
    recipe = read("digits", ["decode.strength=1"])
    assert check(json.loads(json.dumps(recipe.model_dump()))) == recipe
    assert isinstance(recipe, Recipe)


def test_a_strength_of_less_than_one_step_is_refused():
    """It would be the images of another strength under its own name."""
    with pytest.raises(RecipeError, match=r"strength = 0\.005 of 50 steps is less than one step, which is a strength of 0\.02"):
        read("digits", ["decode.strength=0.005", "decode.steps=50"])
    assert read("digits", ["decode.strength=0.02", "decode.steps=50"])
    assert read("digits", ["decode.strength=0", "decode.steps=50"])


def test_paths_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = read("imagenet1k-dit-ipc10", ["data.path=~/a", "codec.path=~/b", "prior.path=~/c", "teacher.weights=~/d.pth"])
    assert [recipe.data.path, recipe.codec.path, recipe.prior.path] == [str(tmp_path / name) for name in "abc"]
    assert recipe.teacher.weights == str(tmp_path / "d.pth")
    assert folder_of(recipe, "~/out") == tmp_path / "out"


def test_lists_are_given_without_brackets_too():
    recipe = read("digits", ["methods=ddoq, random", "seeds=0,1", "select.k=5", "teacher.crop=0.5,1.0", "teacher.shift=0"])
    assert (recipe.methods, recipe.seeds, recipe.select.k) == (["ddoq", "random"], [0, 1], 5)
    assert recipe.teacher.crop == [0.5, 1.0]
    assert read("digits", ["methods=full"]).methods == ["full"]
    assert read("digits", ["select.k=1,3"]).select.k == [1, 3]
    assert read("imagenette64", ["data.subset=a,b"]).data.subset == ["a", "b"]
    assert read("imagenette64", ["data.subset=imagewoof"]).data.subset == "imagewoof"
    with pytest.raises(RecipeError, match="names no method 'x'"):
        read("digits", ["methods=ddoq,x"])

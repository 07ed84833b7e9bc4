"""A run's record of its graph: what it answers for, what it does not, and how it is mended."""

import json

import pytest

import distill
from distill.graph import build
from distill.images import Images
from distill.pipeline.format import numbered
from distill.runs.folder import plan, recipe_of
from distill.runs.garbage_collection import leftovers
from distill.runs.graph_snapshot import keep

WHOLE = ("recipe.json", "finished.json")


def test_what_was_finished_is_read_though_the_data_are_others_by_now(copied, monkeypatch):
    """Neither does load look for what the data would give now, nor does clean offer to remove what load reads."""
    before = distill.load(copied)
    monkeypatch.setattr(Images, "fingerprint", "other")
    assert sum(each.done for each in plan(copied)) == 0
    assert distill.load(copied).images.equal(before.images)
    assert leftovers(copied) == []


def test_a_run_that_was_begun_with_other_data_does_not_take_the_finished_ones_record(copied, tiny, monkeypatch):
    before = distill.load(copied)
    with monkeypatch.context() as other:
        other.setattr(Images, "fingerprint", "other")
        keep(copied, build(tiny), "recipe.json")  # as a run does that is stopped right away
    assert distill.load(copied).images.equal(before.images)
    assert all(each.done == each.parts for each in plan(copied))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "[" * 100_000,
        "[]",
        json.dumps(numbered({name: [] for name in WHOLE})),
        json.dumps(numbered({name: {"recipe": 3, "graph": {}} for name in WHOLE})),
        json.dumps(numbered({"recipe.json": "x"})),
        json.dumps({"recipe.json": "x"}),
        json.dumps({"format": 99}),
    ],
)
def test_a_record_that_is_none_is_passed_over_and_mended(copied, tiny, content):
    whole = json.loads((copied / "graphs.json").read_bytes())
    (copied / "graphs.json").write_text(content)
    distill.load(copied)
    assert leftovers(copied) == []
    distill.run(tiny, out=copied, workers=1)
    assert json.loads((copied / "graphs.json").read_bytes()) == whole


@pytest.mark.parametrize("harm", [{"stages": [["a", "b", "c", "d", [None]]]}, {"sets": []}, {"sets": {"ddoq": ["..", None]}}])
def test_a_record_of_another_shape_is_none(copied, harm):
    written = json.loads((copied / "graphs.json").read_bytes())
    for entry in (written[name] for name in WHOLE):
        entry["graph"] |= harm
    (copied / "graphs.json").write_text(json.dumps(written))
    before = distill.load(copied)
    assert len(before) == 30
    assert recipe_of(copied) is not None

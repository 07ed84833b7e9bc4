import pytest

from distill.graph import build
from distill.recipe import RecipeError, read
from distill.stages.train import TrainStage

METHODS = ["ddoq", "uniform", "random", "closest", "full"]


def stages_of(*changes):
    return build(read("digits", ["data.size=8", *changes]))


def digests(*changes):
    """Digests by title."""
    found = {stage.title: stage.digest for stage in stages_of(*changes)}
    assert len(found) == len(stages_of(*changes)), "titles tell stages apart"
    return found


def changed(*changes):
    before, after = digests(), digests(*changes)
    assert before.keys() == after.keys()
    return {title for title in before if before[title] != after[title]}


@pytest.fixture(scope="module")
def graph():
    return stages_of()


@pytest.fixture(scope="module")
def trains(graph):
    return {stage.method: stage for stage in graph if isinstance(stage, TrainStage)}


def test_every_stage_comes_once_and_after_its_parents(graph):
    assert len({id(stage) for stage in graph}) == len(graph)
    for i, stage in enumerate(graph):
        assert all(parent in graph[:i] for parent in stage.parents)
    assert graph[-1].name == "report"
    assert [stage for stage in graph if stage.name == "train"] == [
        stage for method in METHODS for stage in graph if isinstance(stage, TrainStage) and stage.method == method
    ]


def test_folders_are_distinct(graph):
    assert len({stage.folder_name for stage in graph}) == len(graph)


def test_parts_are_distinct_and_safe(graph):
    for stage in graph:
        parts = stage.parts()
        assert parts
        assert len(set(parts)) == len(parts)
        assert all("/" not in part and not part.startswith(".") for part in parts)


def test_ddoq_and_uniform_share_all_but_the_training(trains):
    ddoq, uniform = trains["ddoq"], trains["uniform"]
    assert (ddoq.select, ddoq.images, ddoq.labels) == (uniform.select, uniform.images, uniform.labels)
    assert ddoq.digest != uniform.digest


def test_everyone_shares_the_encoding_and_the_teacher(graph):
    for name in ("codec", "encode", "teacher", "prior", "evaluate", "report"):
        assert sum(stage.name == name for stage in graph) == 1


def test_a_method_shares_what_it_needs_and_no_more():
    names = {stage.title for stage in stages_of("methods=['full']")}
    assert names == {"codec", "encode", "teacher", "select all", "images all", "label all", "train full", "evaluate", "report"}
    assert "prior" not in {stage.name for stage in stages_of("methods=['closest', 'random']")}


def test_what_methods_share_does_not_depend_on_who_else_takes_part():
    alone, together = digests("methods=['ddoq']"), digests()
    assert all(alone[title] == together[title] for title in alone if title not in ("evaluate", "report"))


def test_changing_k_leaves_what_comes_before_alone():
    after = changed("select.k=7")
    assert not after & {"codec", "encode", "prior", "teacher", "select all", "images all", "label all", "train full"}
    assert {"select quantize", "decode diffusion", "label diffusion", "train ddoq", "select random", "evaluate"} <= after


def test_changing_the_training_changes_it_and_what_follows():
    assert changed("train.steps=7") == {f"train {method}" for method in METHODS} | {"evaluate", "report"}


def test_changing_the_decoding_leaves_the_selection_and_real_images_alone():
    expected = {"decode diffusion", "label diffusion", "train ddoq", "train uniform", "evaluate", "report"}
    assert changed("decode.strength=0.75") == expected


def test_changing_the_teacher_changes_labels_alone_of_what_comes_before_training():
    after = changed("teacher.steps=7")
    assert {title for title in after if title.startswith("label")} == {
        f"label {x}" for x in ("diffusion", "random", "closest", "all")
    }
    assert not after & {"codec", "encode", "prior", "select quantize", "decode diffusion", "images random"}


def test_changing_the_prior_leaves_the_codes_alone():
    after = changed("prior.steps=7")
    assert {"prior", "decode diffusion"} <= after
    assert not after & {"codec", "encode", "select quantize", "select closest", "teacher"}


@pytest.mark.parametrize("change", ["codec.steps=7", "data.seed=1", "data.size=16"])
def test_changing_codec_or_data_changes_every_latent(change):
    assert changed(change) >= {"encode", "prior", "select quantize", "select closest", "decode diffusion", "train ddoq"}


def test_changing_the_data_changes_teacher_and_students():
    assert changed("data.seed=1") >= {"codec", "teacher"} | {f"train {method}" for method in METHODS}


def test_changing_the_name_changes_the_report_alone():
    assert changed("name=other") <= {"report"}


def test_more_codes_than_a_class_has_images_is_refused_before_any_work():
    with pytest.raises(RecipeError, match=r"select\.k = 500 asks for more .* than the 1\d\d .*lower select\.k"):
        stages_of("select.k=[1, 500]")
    assert stages_of("select.k=[1, 500]", "methods=['full']")

import pytest

from distill.graph import build
from distill.recipe import RecipeError, read
from distill.stages.train import TrainStage

METHODS = ["ddoq", "uniform", "random", "nearest", "full"]


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
    assert names == {
        *("validate", "codec", "encode", "teacher", "select all", "images all", "label all", "train full"),
        *("distances full", "evaluate", "report"),
    }
    assert "prior" not in {stage.name for stage in stages_of("methods=['nearest', 'random']")}


def test_what_methods_share_does_not_depend_on_who_else_takes_part():
    alone, together = digests("methods=['ddoq']"), digests()
    assert all(alone[title] == together[title] for title in alone if title not in ("evaluate", "report"))


def test_changing_k_leaves_what_comes_before_alone():
    after = changed("select.k=7")
    assert not after & {"codec", "encode", "prior", "teacher", "select all", "images all", "label all", "train full"}
    assert {"select quantize", "decode diffusion", "label diffusion", "train ddoq", "select random", "evaluate"} <= after


def test_changing_the_training_changes_it_and_what_follows():
    assert changed("train.steps=7") == {f"train {method}" for method in METHODS} | {"evaluate", "report"}


def test_how_weights_go_through_cutmix_changes_methods_of_equal_weights_in_nothing():
    assert changed("train.weighting=systematic") == {"train ddoq", "evaluate", "report"}


def test_changing_the_decoding_leaves_the_selection_and_real_images_alone():
    of_both = {f"{name} {method}" for name in ("train", "distances") for method in ("ddoq", "uniform")}
    assert changed("decode.strength=0.75") == {"decode diffusion", "label diffusion", *of_both, "evaluate", "report"}


def test_changing_the_teacher_changes_labels_alone_of_what_comes_before_training():
    after = changed("teacher.steps=7")
    assert {title for title in after if title.startswith("label")} == {
        f"label {x}" for x in ("diffusion", "random", "nearest", "all")
    }
    assert not after & {"codec", "encode", "prior", "select quantize", "decode diffusion", "images random"}


def test_changing_the_prior_leaves_the_codes_alone():
    after = changed("prior.steps=7")
    assert {"prior", "decode diffusion"} <= after
    assert not after & {"codec", "encode", "select quantize", "select nearest", "teacher"}


@pytest.mark.parametrize("change", ["codec.steps=7", "data.seed=1", "data.size=16"])
def test_changing_codec_or_data_changes_every_latent(change):
    assert changed(change) >= {"encode", "prior", "select quantize", "select nearest", "decode diffusion", "train ddoq"}


def test_changing_the_data_changes_teacher_and_students():
    assert changed("data.seed=1") >= {"codec", "teacher"} | {f"train {method}" for method in METHODS}


def test_changing_the_name_changes_the_report_alone():
    assert changed("name=other") <= {"report"}


def test_more_codes_than_a_class_has_images_are_as_many_as_it_has():
    from distill.stages.draw import size_of

    recipe = read("digits", ["select.k=[1, 500]", "select.shares={three=2.0, four=0.001}"])
    assert [size_of(recipe, "zero", 142, k) for k in (1, 500)] == [1, 142]
    assert [size_of(recipe, "three", 142, k) for k in (1, 500)] == [2, 142]
    assert [size_of(recipe, "four", 142, k) for k in (1, 500)] == [1, 1]
    assert build(recipe)


def test_a_share_of_no_class_is_refused():
    with pytest.raises(RecipeError, match=r"select\.shares names 'eleven'"):
        stages_of("select.shares={eleven=2.0}")


def test_noise_space_puts_the_inversion_before_the_selection():
    assert not {stage.name for stage in stages_of()} & {"invert"}
    inverted = stages_of("select.space=noise")
    at = {stage.title: i for i, stage in enumerate(inverted)}
    assert at["encode"] < at["prior"] < at["invert"] < at["select quantize"]


def test_without_a_prior_there_is_no_prior():
    assert "prior" not in {stage.name for stage in build(read(no_prior()))}


def no_prior():
    table = read("digits").model_dump()
    table["prior"] = {"source": "none"}
    return table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("select.space=noise", "needs a prior"),
        ("decode.start=inverted", "needs a prior"),
    ],
)
def test_inverting_without_a_prior_is_refused(change, words):
    with pytest.raises(RecipeError, match=words):
        read(no_prior(), [change])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["decode.start=inverted", "decode.scheduler=euler"], "inverts DDIM"),
        (["select.space=noise", "decode.strength=0"], "which is 0"),
        (["select.streaming=true", "select.solver=lloyd"], "is for select.solver = clvq"),
        (["select.streaming=true", "select.solver=clvq", "select.medoids=true"], "leave out select.streaming or select.medoids"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, words):
    with pytest.raises(RecipeError, match=words):
        read("digits", changes)


def students(*changes):
    """The students of each method and regime: names of parts, by title."""
    return {stage.title: stage.parts() for stage in stages_of(*changes) if isinstance(stage, TrainStage)}


def test_regimes_of_labels_share_images_and_nothing_else():
    found = stages_of("train.labels=hard,fixed,online", "methods=ddoq,uniform,random")
    by_title = {stage.title: stage for stage in found}
    assert len(by_title) == len(found)
    trains = [stage for stage in found if isinstance(stage, TrainStage)]
    assert len(trains) == 9
    assert len({stage.images for stage in trains}) == 2
    assert [stage.title for stage in found if stage.name == "label"] == ["label diffusion, fixed", "label random, fixed"]
    assert by_title["train ddoq, fixed"].labels is by_title["train uniform, fixed"].labels
    assert by_title["train ddoq, hard"].labels is None
    assert by_title["train ddoq, online"].labels is by_title["teacher"]
    assert {stage.rules.labels for stage in trains} == {"hard", "fixed", "online"}
    for regime in ("hard", "fixed", "online"):
        alone = {stage.title: stage.digest for stage in stages_of(f"train.labels={regime}", "methods=ddoq,uniform,random")}
        assert alone["train ddoq"] == by_title[f"train ddoq, {regime}"].digest, "a regime does not depend on the others"


def test_a_regime_may_be_for_some_budgets_and_methods():
    changes = ["train.labels=hard,online", "methods=ddoq,random,full", "seeds=0,1", "select.k=1,5"]
    everything = [f"k{k}.seed{seed}" for k in (1, 5) for seed in (0, 1)]
    found = students(*changes, "train.only.online.k=[5]", "train.only.online.methods=random,full")
    assert found == {
        "train ddoq, hard": everything,
        "train random, hard": everything,
        "train random, online": ["k5.seed0", "k5.seed1"],
        "train full, hard": ["all.seed0", "all.seed1"],
        "train full, online": ["all.seed0", "all.seed1"],
    }
    assert students(*changes[1:]) == students(*changes[1:], 'train.labels=["fixed"]')


def test_stored_labels_are_made_for_their_own_budgets_alone():
    changes = ["train.protocol=fkd", "train.labels=stored,hard", "methods=random", "seeds=[0]", "select.k=1,5"]
    stored = next(stage for stage in stages_of(*changes, "train.only.stored.k=[5]") if stage.name == "label")
    assert list(stored.all_runs) == ["k5.seed0"]


def test_hard_labels_have_temperature_1_beside_soft_ones():
    def temperatures(*changes):
        train = read("digits", list(changes)).train
        return {labels: train.rules_for(labels).temperature for labels in train.regimes}

    assert temperatures("train.labels=hard,fixed", "train.temperature=3") == {"hard": 1.0, "fixed": 3.0}
    assert temperatures("train.labels=hard", "train.temperature=3") == {"hard": 3.0}
    assert temperatures("train.labels=hard") == {"hard": 1.0}
    assert temperatures() == {"fixed": 4.0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["train.labels=hard,soft"], "train.labels.1: input should be 'online'"),
        (["train.labels=hard,hard"], "train.labels: must not repeat an entry"),
        (["train.labels=hard,stored"], "labels are stored by epoch: give epochs, not steps"),
        (["train.only.onlin.k=[5]"], "unknown key train.only.onlin; did you mean train.only.online?"),
        (["train.only.hard.kk=5"], "unknown key train.only.hard.kk; did you mean train.only.hard.k?"),
        (["train.only.hard.k=[5]"], "only.hard restricts labels that are not asked for; labels are fixed"),
        (["train.only.fixed.k=[7]"], "train.only.fixed.k names 7; it takes some of the recipe's, 1, 5, 10"),
        (
            ["train.only.fixed.methods=ddoq-sqrt"],
            "train.only.fixed.methods names 'ddoq-sqrt'; it takes some of the recipe's, ddoq",
        ),
        (["train.only.fixed.k=[5]"], "train.only leaves select.k = 1 without students"),
        (["train.only.fixed.methods=ddoq"], "train.only leaves the method 'uniform' without students"),
    ],
)
def test_regimes_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(RecipeError) as caught:
        read("digits", changes)
    assert words in str(caught.value)

"""Teachers that others trained: weights from a file or the library, their preprocessing, the outputs that are the classes."""

import re
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from distill.graph import build
from distill.images.names import imagenet_classes
from distill.models import fetching
from distill.models.networks import new_student
from distill.models.pretrained import Pretrained
from distill.models.recognition import recognition
from distill.models.teachers import pretrained, rebuilt, state_in
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.runs.planning import planned
from distill.runs.run import run
from distill.stages.pretrained_teacher import imagenet_outputs
from distill.stages.teacher import TeacherStage

TINY = "test_resnet.r160_in1k"  # timm's own network for tests


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "teacher.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), path)
    return path


def test_a_file_makes_the_network_that_it_was_saved_from(weights):
    network, made = pretrained("timm", "test_resnet", str(weights), None)
    teacher = rebuilt(made, network.state_dict(), None)
    config = timm.data.resolve_model_data_config(network)
    assert (made["classes"], made["size"]) == (10, config["input_size"][-1])
    pixels = torch.rand(3, 3, made["size"], made["size"])
    mean, std = (torch.tensor(config[name]).view(-1, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        assert torch.equal(teacher(pixels), network((pixels - mean) / std))


def test_images_of_another_size_are_resized_and_grey_ones_made_three(weights):
    network, made = pretrained("timm", "test_resnet", str(weights), 64)
    teacher = rebuilt(made, network.state_dict(), [3, 1])
    grey = torch.rand(2, 1, 32, 32)
    resized = torch.nn.functional.interpolate(grey, size=(64, 64), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(teacher(grey), teacher(resized))
        assert teacher(grey).shape == (2, 2)


def test_weights_that_timm_holds_are_asked_of_timm(monkeypatch, weights):
    asked = []
    create = timm.create_model

    def offline(name, pretrained=False, **options):
        asked.append((name, pretrained))
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    _, made = pretrained("timm", TINY, "pretrained", None)
    assert asked == [(TINY, True)]
    assert made["classes"] == 1000
    assert made["licence"] == timm.get_pretrained_cfg(TINY).license


def test_torchvisions_weights_are_read_without_unpickling(monkeypatch):
    entries = torchvision.models.get_model_weights("shufflenet_v2_x0_5")
    state = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None).state_dict()
    asked = []

    def offline(self, **options):
        asked.append(options)
        return state

    monkeypatch.setattr(entries, "get_state_dict", offline)
    network, made = pretrained("torchvision", "shufflenet_v2_x0_5", "pretrained", None)
    assert asked == [{"progress": False, "check_hash": True, "weights_only": True}]
    assert (made["size"], made["mean"]) == (224, [0.485, 0.456, 0.406])
    teacher = rebuilt(made, network.state_dict(), [5])
    with torch.no_grad():
        assert teacher(torch.rand(1, 3, 224, 224)).shape == (1, 1)


class Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_torchs_files_give_tensors_alone(tmp_path, weights, capsys):
    state = state_in(weights)
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, tmp_path / "a.pth")
    again = state_in(tmp_path / "a.pth")
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        state_in(tmp_path / "evil.pth")
    assert "unpickled" not in capsys.readouterr().out


def test_classes_that_are_wordnet_ids_are_imagenets_outputs():
    every = imagenet_classes()
    assert imagenet_outputs(("n01440764", "n03888257"), 1000) == [every.index("n01440764"), every.index("n03888257")]
    with pytest.raises(ValueError, match="'cat' is no WordNet id"):
        imagenet_outputs(("n01440764", "cat"), 1000)
    with pytest.raises(ValueError, match=r"teacher\.outputs"):
        imagenet_outputs(("n01440764",), 21)


def teacher_of(weights, *changes):
    table = read("digits").model_dump()
    table["teacher"] = {"source": "timm", "model": "test_resnet", "weights": str(weights), "size": 32}
    return next(stage for stage in build(read(table, changes)) if isinstance(stage, TeacherStage))


def test_a_teacher_of_others_becomes_part_of_the_run(weights, tmp_path, record):
    stage = teacher_of(weights)
    store = Store(tmp_path)
    (validated,) = stage.parents
    for part in validated.parts():
        store.write(validated, part, validated.make(part, store, lambda fraction: None), record)
    store.write(stage, "teacher", stage.make("teacher", store, lambda fraction: None), record)
    about = store.values(stage, "teacher")
    assert about["trained"] is False
    assert 0 <= about["top1"] < 0.3
    assert "where chance has 0.1" in about["warning"]  # its weights are random
    assert about["likely_outputs"] is None
    network, made = pretrained("timm", "test_resnet", str(weights), 32)
    pixels = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(stage.load(store)(pixels), rebuilt(made, network.state_dict(), None)(pixels))


def confusions(order, right=90, wrong=1):
    """Of a network that knows ten classes, and whose output ``order[c]`` is the class c."""
    found = np.full((10, 10), wrong)
    found[np.arange(10), order] = right
    return found


def test_outputs_in_another_order_are_named():
    order = np.random.default_rng(0).permutation(10)
    while (order == np.arange(10)).any():
        order = np.random.default_rng(order).permutation(10)
    known = recognition(confusions(order), None)
    assert known["top1"] == pytest.approx(1 / 99)
    assert known["likely_outputs"] == order.tolist()
    assert f"and {90 / 99:.4f} were its outputs in another order: teacher.outputs = {order.tolist()}" in known["warning"]
    # The outputs that stand for the classes are the network's own numbers.
    assert recognition(confusions(order), list(range(100, 110)))["likely_outputs"] == (100 + order).tolist()


def test_a_teacher_that_knows_the_classes_is_not_warned_of():
    assert recognition(confusions(np.arange(10)), None) == {"top1": 90 / 99, "warning": None, "likely_outputs": None}
    two = np.array([[80, 20], [10, 90]])
    assert recognition(two, None)["warning"] is None
    assert recognition(np.array([[100]]), None) == {"top1": 1.0, "warning": None, "likely_outputs": None}


@pytest.mark.parametrize("share", [0.0, 0.29, 0.31])
def test_below_three_times_chance_a_teacher_is_warned_of(share):
    """Ten classes of 1,000 images, ``share`` of them known and the others taken for any other class alike."""
    known = recognition(confusions(np.arange(10), round(1000 * share), round(1000 * (1 - share) / 9)), None)
    assert (known["warning"] is not None) == (share < 0.3)
    assert known["likely_outputs"] is None


def test_a_runs_own_teacher_is_given_to_another(weights, tmp_path, record):
    """With the mean, the deviation and the size that it was fed with."""
    stage, store = teacher_of(weights), Store(tmp_path)
    (validated,) = stage.parents
    for part in validated.parts():
        store.write(validated, part, validated.make(part, store, lambda fraction: None), record)
    product = dict(stage.make("teacher", store, lambda fraction: None))
    product["teacher.json"] = product["teacher.json"] | {"mean": [0.1, 0.2, 0.3]}
    store.write(stage, "teacher", product, record)
    file = store.folder(stage) / "teacher.safetensors"
    _, made = pretrained("timm", "test_resnet", str(file), None)
    assert (made["mean"], made["size"]) == ([0.1, 0.2, 0.3], 32)
    with pytest.raises(ValueError, match=r"holds a test_resnet, not the teacher\.model = 'test_vit'"):
        pretrained("timm", "test_vit", str(file), None)
    network = new_student("resnet18", channels=3, size=32, classes=10)  # as a run trains one
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, tmp_path / "own.safetensors")
    again, _ = pretrained("timm", "resnet18", str(tmp_path / "own.safetensors"), None)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in network.network.state_dict().items())


@pytest.mark.parametrize(("source", "model"), [("torchvision", "resnet18"), ("timm", "resnet18.tv_in1k")])
def test_what_can_not_be_fetched_is_said_before_any_work_and_in_a_plan(source, model, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(fetching, "urlopen", no_network)
    table = read("digits").model_dump() | {"teacher": {"source": source, "model": model}}
    recipe = read(table)
    words = rf"teacher\.model = '{model}': its weights are not here, and can't be fetched: .*no route.*teacher\.weights"
    for refused in (lambda: list(planned(recipe, tmp_path / "run")), lambda: run(recipe, out=tmp_path / "run", workers=1)):
        with pytest.raises(RecipeError, match=words):
            refused()
    assert not (tmp_path / "run").exists()
    assert list(planned(recipe, tmp_path / "run", until="select")), "nothing of it is needed so far"
    if source == "torchvision":
        name = torchvision.models.get_model_weights(model).DEFAULT.url.rpartition("/")[2]
        (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
        (tmp_path / "torch" / "hub" / "checkpoints" / name).touch()
    else:
        monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path))
    assert fetching.why_no_teacher(source, model) is None


def no_network(*_, **__):
    raise URLError("no route to host")


def test_a_model_of_a_hub_that_is_not_whole_here_is_asked_for_at_the_start(tmp_path, monkeypatch):
    """Its configuration alone was fetched, as a plan does."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    source = Pretrained("prior", "some/model", ("unet",), "c0ffee")
    assert re.search(r"prior\.path = 'some/model' is not whole .*no route to host", source.unobtainable())
    save_file({"x": torch.zeros(1)}, tmp_path / "unet" / "model.safetensors")
    assert source.unobtainable() is None


def test_the_digest_follows_the_weights_content(weights, tmp_path):
    same, other = tmp_path / "same.safetensors", tmp_path / "other.safetensors"
    same.write_bytes(weights.read_bytes())
    state = state_in(weights)
    save_file({name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}, other)
    digests = [teacher_of(path).digest for path in (weights, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_file_that_is_not_there_and_names_that_are_none_are_refused_before_work(tmp_path):
    with pytest.raises(RecipeError, match=r"teacher\.weights: there is no file"):
        teacher_of(tmp_path / "none.safetensors")
    with pytest.raises(RecipeError, match=r"train\.student: timm has no model 'resnet81'; did you mean"):
        build(read("digits", ["train.student=resnet81"]))
    with pytest.raises(RecipeError, match=r"teacher\.model: timm has no model"):
        build(read("digits", ["teacher.model=resnet81"]))


def test_networks_that_take_means_over_a_batch_are_not_given_one_image():
    for changes, words in (
        (["train.student=resnet18", "train.batch=1"], r"train\.batch.*batches of 1.*resnet18 takes means over a batch"),
        (["train.student=resnet18", "train.batch=6", "train.processes=4"], r"train\.processes.*batches of 6"),
        (["teacher.model=resnet18", "teacher.batch=1"], r"teacher\.batch: batches of 1"),
    ):
        with pytest.raises(RecipeError, match=words):
            build(read("digits", changes))
    assert build(read("digits", ["train.batch=1", "teacher.batch=1"]))
    assert build(read("digits", ["train.student=vit_tiny_patch16_224", "train.batch=1"]))


def test_a_trained_teacher_may_be_one_of_timms(tmp_path):
    stage = next(s for s in build(read("digits", ["teacher.model=resnet18", "teacher.small_stem=true"])) if s.name == "teacher")
    assert np.prod(stage.untrained().network.conv1.weight.shape) == 64 * 9

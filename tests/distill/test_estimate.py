"""What a run will take, said before it is spent."""

import shutil
import time
from collections import namedtuple
from functools import partial

import pytest
import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from distill import estimate as estimating
from distill.costs import Microbenchmark, Repeated, cost, disk_bytes, host_memory_bytes, measure
from distill.costs.inference import of_teacher
from distill.costs.measure import counted, peak, timed
from distill.costs.networks import autoencoding, classifier, prediction, weight_bytes
from distill.engines.worker import make_part
from distill.estimate import check_disk, estimate, size
from distill.graph import build
from distill.models.diffusion import untrained
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read


@pytest.fixture
def recipe(table):
    return table | {"methods": ["ddoq", "random"]}


@pytest.fixture
def digits():
    return read("digits")


@pytest.fixture
def stages(recipe):
    return {stage.title: stage for stage in build(read(recipe))}


def test_bytes_are_those_of_the_tensors_to_be_written(stages, tmp_path):
    store = Store(tmp_path)
    for title in ("validate", "codec", "encode", "select quantize", "select random", "images random"):
        for part in stages[title].parts():
            make_part(store, stages[title], part, lambda fraction: None)
    for title, beside in (("encode", 0), ("select quantize", 0), ("images random", 8 * 6)):
        tensors = [tensor for part in stages[title].parts() for tensor in store.tensors(stages[title], part).values()]
        # Images carry their weights, eight bytes each of six.
        assert disk_bytes(stages[title]).value == sum(t.numel() * t.element_size() for t in tensors) - beside
    left = estimate(stages["encode"], store)
    assert (left.disk, left.hours, left.done) == (0, 0, 3)
    assert left.memory > 0


def test_networks_that_are_trained_weigh_what_their_files_do(digits):
    """And a checkpoint of four times as much while they are."""
    stages = {stage.name: stage for stage in build(digits)}
    for name, make in (
        ("codec", stages["codec"].untrained),
        ("prior", stages["prior"].untrained),
        ("teacher", stages["teacher"].untrained),
    ):
        state = make().state_dict()
        assert disk_bytes(stages[name]).value == 5 * sum(tensor.numel() * 4 for tensor in state.values()), name


def test_finished_parts_tell_what_the_others_take(stages, tmp_path):
    store = Store(tmp_path)
    for title in ("validate", "codec"):
        for part in stages[title].parts():
            make_part(store, stages[title], part, lambda fraction: None)
    encode = stages["encode"]
    counted = estimate(encode, store)
    assert counted.done == 0
    assert "15 images" in counted.ground
    make_part(store, encode, encode.parts()[0], lambda fraction: None)
    seal = store.seal(encode, encode.parts()[0])
    found = estimate(encode, store)
    assert found.hours == 2 * (seal["ended"] - seal["began"]) / 3600
    assert found.disk == 2 * next(iter(seal["files"].values()))["size"]
    assert "1 finished parts" in found.ground


def operations(run, *, learns=False):
    with torch.set_grad_enabled(learns), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_operations_are_those_of_the_real_models(stable_diffusion, dit):
    vae = AutoencoderKL.from_pretrained(stable_diffusion / "vae", low_cpu_mem_usage=False)
    unet = UNet2DConditionModel.from_pretrained(stable_diffusion / "unet", low_cpu_mem_usage=False)
    model = DiTTransformer2DModel.from_pretrained(dit / "transformer", low_cpu_mem_usage=False)
    latents, time, batch = torch.zeros(3, 4, 16, 16), torch.zeros(3, dtype=torch.long), 3
    make = partial(untrained, "AutoencoderKL", dict(vae.config))
    encoder, decoder = (
        autoencoding("vae", make, "encoder", (3, 32, 32), batch),
        autoencoding("vae", make, "decoder", (4, 16, 16), batch),
    )
    of_text = prediction("unet", partial(untrained, "UNet2DConditionModel", dict(unet.config)), (4, 16, 16), batch, text=16)
    of_class = prediction("dit", partial(untrained, "DiTTransformer2DModel", dict(model.config)), (4, 16, 16), batch)
    assert batch * counted(encoder).operations == operations(lambda: vae.encode(torch.zeros(3, 3, 32, 32)))
    assert batch * counted(decoder).operations == operations(lambda: vae.decode(latents))
    assert batch * counted(of_text).operations == operations(
        lambda: unet(latents, time, encoder_hidden_states=torch.zeros(3, 77, 16))
    )
    assert batch * counted(of_class).operations == operations(lambda: model(latents, timestep=time, class_labels=time))


def test_what_is_counted_is_what_is_timed(stages):
    """A microbenchmark on a device does the operations that were counted without one, its gradient's among them."""
    for title in ("encode", "decode diffusion", "teacher", "train ddoq"):
        for work in cost(stages[title]):
            run = work.microbenchmark.on("cpu")
            assert counted(work.microbenchmark).operations * work.microbenchmark.batch == operations(
                run, learns=work.microbenchmark.learns
            )
            found = timed(work.microbenchmark, "cpu")
            assert found.operations == counted(work.microbenchmark).operations
            assert found.seconds > 0
            assert found.memory is None


def test_a_gradient_costs_twice_its_network(stages):
    """Of a network of products, without the gradient of the images themselves."""
    work, _ = cost(stages["teacher"])
    forward = of_teacher(stages["teacher"], work.microbenchmark.batch)
    assert 2 < counted(work.microbenchmark).operations / counted(forward).operations <= 3


def test_the_slow_run_once_and_the_fast_often_enough():
    calls = []

    def waiting(seconds):
        def on(device):
            def run():
                calls.append(device)
                time.sleep(seconds if device != "meta" else 0)

            return run

        return Microbenchmark(f"waits {seconds}", 2, on)

    slow = timed(waiting(measure._LONG), "cpu")
    assert calls == ["meta", "cpu"]
    assert 2 * slow.seconds >= measure._LONG
    timed(waiting(0.001), "cpu")
    assert len(calls) == 2 + 2 + measure._RUNS
    timed(waiting(0.001), "cpu")
    assert len(calls) == 2 + 2 + measure._RUNS, "alike ones run once"


def test_a_batch_that_does_not_fit_is_said_and_counted(stages, tmp_path, monkeypatch):
    def on(device):
        def run():
            if device != "meta":
                raise torch.OutOfMemoryError

        return run

    encode = stages["encode"]
    monkeypatch.setattr("distill.costs.cost", lambda stage: [Repeated(7, "7 images", Microbenchmark("too large", 64, on))])
    assert "memory ran out at 64 at once" in estimate(encode, Store(tmp_path)).ground


def test_without_its_device_the_operations_are_counted(recipe, tmp_path):
    (encode,) = (stage for stage in build(read(recipe, ["compute.device=cuda"])) if stage.title == "encode")
    if torch.cuda.is_available():
        pytest.skip("its device is here")
    (work,), found = cost(encode), estimate(encode, Store(tmp_path))
    assert found.hours == pytest.approx(15 * counted(work.microbenchmark).operations / estimating.SPEED / 3600)
    assert "as no GPU is here" in found.ground


def test_without_its_device_the_memory_is_counted(recipe, tmp_path):
    """Of what needs most of it, beside what lies on the device meanwhile: moments, images, a teacher at work."""
    if torch.cuda.is_available():
        pytest.skip("its device is here")
    table = {**recipe, "train": {"protocol": "rd3", "epochs": 3}}
    stages = {stage.title: stage for stage in build(read(table, ["compute.device=cuda"]))}
    (encode,), found = cost(stages["encode"]), estimate(stages["encode"], Store(tmp_path))
    assert found.memory == peak(encode.microbenchmark)
    assert "counted as no GPU is here; not the workspaces" in found.ground
    teacher, student = stages["teacher"], stages["train ddoq"]
    most = max(peak(work.microbenchmark) + work.device_bytes for work in cost(student))
    assert estimate(student, Store(tmp_path)).memory == most
    learning, labelling, _ = cost(student)
    assert learning.device_bytes == weight_bytes(student.untrained, 2).value + peak(labelling.microbenchmark)
    assert {work.device_bytes for work in cost(teacher)} == {weight_bytes(teacher.untrained, 2).value}


@pytest.mark.parametrize(("train", "copies"), [({"processes": 1}, 1), ({"processes": 2}, 2)])
def test_momentum_is_one_number_a_weight_and_gathered_gradients_another(recipe, train, copies):
    table = {**recipe, "train": {"protocol": "rd3", "optimizer": "sgd", "labels": "hard", "epochs": 3, **train}}
    student = next(stage for stage in build(read(table)) if stage.title == "train ddoq")
    assert cost(student)[0].device_bytes == weight_bytes(student.untrained, copies).value


def test_what_is_trained_here_keeps_its_data_beside_it(digits):
    stages = {stage.name: stage for stage in build(digits)}
    data, codec, prior = stages["validate"].data, stages["codec"], stages["prior"]
    images, latents = data.train.images.nbytes, 4 * len(data.train) * stages["encode"].entries
    assert cost(codec)[0].device_bytes == weight_bytes(codec.untrained, 2).value + images
    assert cost(prior)[0].device_bytes == weight_bytes(prior.untrained, 2 + (digits.prior.ema > 0)).value + latents


def test_data_that_workers_hold_are_those_that_they_read(digits, tmp_path):
    """Pixels of the test split and of what is learnt from, 256 bytes an image: what is read whole, to the last byte."""
    stages = {stage.title: stage for stage in build(digits)}
    data = stages["validate"].data
    tests, trained = data.test.images.nbytes, data.train.images.nbytes
    assert host_memory_bytes(stages["teacher"]).value == tests + trained
    assert host_memory_bytes(stages["codec"]).value == trained
    assert host_memory_bytes(stages["train ddoq"]).value == tests + 2 * 10 * 10 * 256
    assert host_memory_bytes(stages["train full"]).value == tests + 2 * trained
    assert host_memory_bytes(stages["encode"]) is None
    found = estimate(stages["train full"], Store(tmp_path))
    assert found.host == tests + 2 * trained
    said = "2,874 images of a student, each twice while they are joined, and 360 test images × 256 bytes in each worker"
    assert f"host memory: {size(found.host)}, {said}" in found.ground


def test_hours_are_those_of_the_microbenchmark(stages, tmp_path):
    decode = stages["decode diffusion"]
    seconds = [work.times * timed(work.microbenchmark, "cpu").seconds for work in cost(decode)]
    assert estimate(decode, Store(tmp_path)).hours == pytest.approx(sum(seconds) / 3600)


def test_gradients_of_grouped_convolutions_count_as_their_groups():
    """Both gradients of a convolution take as many operations as it does; torch counts all channels with all."""

    def make():
        return torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, groups=8), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5))

    looks, learns = (counted(classifier("grouped", make, (8, 8, 8), 2, learns=learns)).operations for learns in (False, True))
    convolution, last = 2 * 8 * 9 * 36, 2 * 8 * 36 * 5
    assert looks == convolution + last
    assert learns == 3 * looks - convolution  # nothing asks for the images' gradient


def test_guidance_doubles_the_predictions(stages):
    # Half of 4 steps, with and without the text, for 3 × 2 codes.
    assert [work.times for work in cost(stages["decode diffusion"])] == [6 * 2 * 2, 6, 6]


def test_codes_of_noise_space_are_not_inverted_again(recipe):
    inverted = ("decode.start=inverted", "decode.inversion_guidance=2.0")
    latent, noise = (
        {stage.title: stage for stage in build(read(recipe, [*inverted, f"select.space={space}"]))}
        for space in ("latent", "noise")
    )
    assert cost(latent["decode diffusion"])[0].times - cost(noise["decode diffusion"])[0].times == 6 * 2 * 2
    assert cost(noise["invert"])[0].times == 15 * 2 * 2


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        (("train.protocol=small", "train.steps=7", "train.batch=5"), 2 * 7 * 5),
        (("train.protocol=rd3", "train.epochs=3"), 2 * 3 * 6),
        (("train.protocol=rd3", "train.epochs=3", "select.k=[1, 2]"), 2 * 3 * (3 + 6)),
    ],
)
def test_students_see_what_their_protocol_says(recipe, settings, seen):
    table = {**recipe, "train": {}}
    found = {stage.title: stage for stage in build(read(table, [*settings, "seeds=[0, 1]"]))}
    assert sum(work.times for work in cost(found["train ddoq"]) if work.microbenchmark.learns) == seen


def test_looks_at_the_test_images_are_counted(recipe):
    table = {**recipe, "train": {"protocol": "rd3", "epochs": 3, "evaluations": 4, "processes": 2}}
    found = {stage.title: stage for stage in build(read(table))}
    tests = len(build(read(table))[0].data.test.labels)
    assert [work.times for work in cost(found["train ddoq"]) if "test images" in work.what] == [2 * 4 * tests]
    assert {work.microbenchmark.batch for work in cost(found["train ddoq"]) if work.microbenchmark.learns} == {3}, (
        "a share of six"
    )


@pytest.mark.parametrize("size", [None, 256])
def test_a_teacher_of_one_size_is_measured_at_another(recipe, tmp_path, size):
    table = {**recipe, "teacher": {"source": "timm", "model": "swin_tiny_patch4_window7_224", **({"size": size} if size else {})}}
    teacher = next(stage for stage in build(read(table)) if stage.title == "teacher")
    per_image = counted(of_teacher(teacher, 2)).operations
    # 4.5 G multiply-adds at 224 pixels. At 256 its stages are 64, 32, 16 and 8 a side, not 56, 28, 14 and 7, padded to windows
    # of 7: at least (8/7)² of that, and at most 2², as in the last.
    assert (0.9 < per_image / 9e9 < 1.1) if size is None else ((8 / 7) ** 2 < per_image / 9e9 < 4)


def test_what_can_not_run_is_said_and_the_plan_goes_on(stages, tmp_path, monkeypatch):
    def fails(stage):
        raise AssertionError("Input height (256) doesn't match model (224)")

    encode = stages["encode"]
    monkeypatch.setattr("distill.costs.cost", fails)
    found = estimate(encode, Store(tmp_path))
    assert found.hours is None
    assert found.disk > 0
    assert "no microbenchmark can run: Input height (256)" in found.ground


def test_microbenchmarks_of_other_shapes_are_others(recipe):
    small, large = (
        next(stage for stage in build(read(recipe, [f"data.size={size}"])) if stage.title == "encode") for size in (32, 64)
    )
    assert small.codec.digest == large.codec.digest
    (first,), (second,) = cost(small), cost(large)
    assert counted(second.microbenchmark).operations > 3 * counted(first.microbenchmark).operations


def test_a_disk_too_small_is_refused_before_anything_is_written(stages, tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 20_000))
    assert estimating.shutil is shutil
    store = Store(tmp_path / "run")
    with pytest.raises(RecipeError, match=r"the run needs .* more on disk, and .* has 20 kB; the most, .*, is for"):
        check_disk([estimate(stage, store, timed=False) for stage in stages.values()], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (8.4e10, "84 GB"), (3e12, "3 TB")])
def test_sizes_are_for_people(count, text):
    assert size(count) == text

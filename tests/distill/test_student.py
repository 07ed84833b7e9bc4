"""A student's training: what it sees is a function of its seed, and it may be cut off anywhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from distill.models import student
from distill.models.networks import Normalized, new_student, why_not
from distill.models.soft_labels import bytes_an_image, compressed, restored
from distill.models.student import Passes, hard_targets, image_targets, online_targets, train_student
from distill.pipeline.checkpoint import EVERY, Checkpoint
from distill.pipeline.process_group import ProcessGroup
from distill.pipeline.store import write_whole
from distill.protocols import PRESETS, Augmentation, Protocol
from distill.protocols.protocol import batches_of

CPU = torch.device("cpu")
N, CLASSES = 23, 4
IMAGES = torch.randint(256, (N, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(N) % CLASSES
WEIGHTS = torch.rand(N, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5
WEIGHTS /= WEIGHTS.mean()

MIXING = Augmentation(patches=2, crop=(0.5, 1.0), flip=True, cutmix=1.0)
RULES = {
    "fkd": Protocol("mine", epochs=3, batch=8, augmentation=MIXING),
    "hard": Protocol(
        "mine", epochs=3, batch=8, optimizer="sgd", temperature=1.0, schedule="steps", augmentation=MIXING, labels="hard"
    ),
    "small": Protocol("mine", steps=9, batch=10, schedule="cycle", augmentation=Augmentation(shift=2), weighting="systematic"),
}


class Net(nn.Module):
    """All that has state: batch norm, and dropout from the global generator."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(32, 4),
        )

    def forward(self, x):
        return self.layers(x)


class Counted(TorchDispatchMode):
    """How many operations torch is asked for."""

    operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        return func(*args, **(kwargs or {}))


def passes(rules, seed=0, weights=WEIGHTS, size=16):
    return Passes(IMAGES, weights, rules, size, seed, CPU)


def trained(rules, *, checkpoint=None, stop=None, precision="float32", targets=None, seed=0, layout=torch.contiguous_format):
    torch.manual_seed(seed)
    model = Net().to(memory_format=layout)
    targets = targets or hard_targets(LABELS, CLASSES, CPU)

    def progress(fraction):
        if stop is not None and fraction >= stop:
            raise KeyboardInterrupt

    look = lambda model: {"top1": float(model(IMAGES / 255).detach().abs().mean()), "top5": 1.0}  # noqa: E731
    options = {"student": "net", "ipc": 5, "precision": precision, "checkpoint": checkpoint}
    return model, train_student(model, passes(rules, seed), WEIGHTS, rules, targets, look, progress, **options)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", RULES)
def test_a_student_is_a_function_of_its_seed(name):
    (first, looks), (again, same_looks), (other, _) = (trained(RULES[name], seed=seed) for seed in (0, 0, 1))
    assert same(first, again)
    assert looks == same_looks
    assert not same(first, other)
    assert looks[-1]["step"] == RULES[name].steps_at(5, N)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", RULES)
def test_cut_off_and_taken_up_again_twice_it_ends_in_the_same_bits(name, layout, tmp_path, monkeypatch):
    monkeypatch.setenv(EVERY, "0")
    expected, looks = trained(RULES[name], layout=layout)
    for stop in (0.3, 0.6):
        with pytest.raises(KeyboardInterrupt):
            trained(RULES[name], checkpoint=Checkpoint(tmp_path, "part", write_whole), stop=stop, layout=layout)
    found = Checkpoint(tmp_path, "part", write_whole).load()
    assert found is not None
    assert 0 < found[1]["done"] < looks[-1]["step"]
    model, seen = trained(RULES[name], checkpoint=Checkpoint(tmp_path, "part", write_whole), layout=layout)
    assert same(model, expected)
    assert seen == looks


class Thin(nn.Module):
    """Batch norm of one number an image and channel, which takes two images at least."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4))

    def forward(self, x):
        return self.layers(x)


def test_no_batch_is_of_one_image():
    """9 images in batches of 4: 4 and 5. Batch norm can't learn from one alone."""
    rules = Protocol("mine", epochs=2, batch=4, labels="hard")
    few = Passes(IMAGES[:9], torch.ones(9), rules, 16, 0, CPU)
    model = Thin()
    arguments = (few, torch.ones(9), rules, hard_targets(LABELS[:9], CLASSES, CPU), lambda model: {"top1": 0.0})
    looks = train_student(model, *arguments, lambda fraction: None, student="thin", ipc=9)
    assert looks[-1]["step"] == 4 == rules.steps_at(9, 9)
    batches = [few.batch(step, 4, whole=False) for step in range(4)]
    assert [len(batch.pixels) for batch in batches] == [4, 5] * 2
    assert [batch.epoch.unique().tolist() for batch in batches] == [[0], [0], [1], [1]]
    for some in (batches[:2], batches[2:]):
        assert sorted(torch.cat([batch.first for batch in some]).tolist()) == list(range(9))


@pytest.mark.parametrize(("n", "size"), [(n, size) for n in range(2, 14) for size in range(2, 8)])
@pytest.mark.parametrize("processes", [1, 3])
def test_a_pass_is_cut_into_batches_of_which_every_process_gets_two_images_where_it_can(n, size, processes):
    count = batches_of(n, size, processes)
    sizes = [size] * (count - 1) + [n - size * (count - 1)]
    assert all(each > 0 for each in sizes)
    assert max(sizes) < size + 2 * processes
    if min(n, size) >= 2 * processes:
        for each in sizes:
            assert all(len(range(each)[ProcessGroup(rank, processes).share(each)]) >= 2 for rank in range(processes))


def test_every_epoch_shows_every_image_once_and_its_last_batch_is_what_is_left():
    rules = RULES["fkd"]
    batches = [passes(rules).batch(step, 8, whole=False) for step in range(6)]
    assert [len(batch.pixels) for batch in batches] == [8, 8, 7] * 2
    for epoch in range(2):
        some = batches[3 * epoch : 3 * epoch + 3]
        assert sorted(torch.cat([batch.first for batch in some]).tolist()) == list(range(N))
        assert sorted(torch.cat([batch.second for batch in some]).tolist()) == list(range(N))
        assert all((batch.epoch == epoch).all() for batch in some)


def test_whole_batches_lay_passes_end_to_end():
    rules = Protocol("mine", steps=23, batch=10)
    seen = torch.cat([passes(rules).batch(step, 10, whole=True).first for step in range(23)])
    assert torch.bincount(seen, minlength=N).tolist() == [10] * N


def test_what_a_place_shows_does_not_depend_on_the_batch():
    whole = passes(RULES["fkd"]).mixed(1, torch.arange(N))
    for size in (5, 23):
        steps = -(-N // size)
        some = [passes(RULES["fkd"]).batch(steps + i, size, whole=False) for i in range(steps)]
        assert torch.equal(torch.cat([batch.first for batch in some]), whole.first)
        assert torch.equal(torch.cat([batch.second for batch in some]), whole.second)
        # Another batch may take another kernel of the product: rounding of sums of 16 terms, twice, of values up to 1.
        torch.testing.assert_close(torch.cat([b.pixels for b in some]), whole.pixels, rtol=0, atol=64 * 2**-24)


@pytest.mark.parametrize("source", [(16, 16), (20, 16)])
@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(shift=2), Augmentation(patches=2, flip=True), Augmentation(shift=1, cutmix=1.0), MIXING],
)
def test_how_many_passes_are_drawn_and_moved_at_once_changes_no_bit(augmentation, source, monkeypatch):
    rules = Protocol("mine", steps=9, batch=10, augmentation=augmentation)
    images = torch.randint(256, (N, 3, *source), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))

    def shown():
        some = Passes(images, WEIGHTS, rules, 16, 7, CPU)
        batches = [some.batch(step, 10, whole=True) for step in range(30)] + [some.mixed(5, torch.tensor([3, 22, 3]))]
        batches += [some.batch(step, 10, whole=False, group=ProcessGroup(rank, 3)) for step in range(7) for rank in range(3)]
        return [vars(batch) for batch in batches]

    at_once = []
    for length in (student._AT_ONCE, 2 * images.nbytes, 0):
        monkeypatch.setattr(student, "_AT_ONCE", length)
        at_once.append(shown())
    for other in at_once[1:]:
        for expected, found in zip(at_once[0], other, strict=True):
            assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_small_students_step_asks_for_few_operations_beside_the_model():
    """Each takes about as long as the next while images are small: rows of five tensors, of what is mixed long before."""
    rules, images = replace(PRESETS["small"], batch=10), IMAGES[:, :1]
    some = Passes(images, WEIGHTS, rules, 16, 0, CPU)
    some.batch(0, 10, whole=True)
    with Counted() as counted:
        for step in range(1, 5):  # across ends of passes of 23
            batch = some.batch(step, 10, whole=True)
    assert counted.operations <= 4 * 5
    with Counted() as counted:
        image_targets(torch.zeros(N, CLASSES), 4.0, CPU)(batch)
    assert counted.operations <= 4  # of which two are the teacher's, made once


def test_uniform_pairs_do_not_depend_on_the_weights_and_draws_by_weight_follow_them():
    light = torch.ones(N, dtype=torch.float64)
    assert torch.equal(passes(RULES["fkd"]).draws(2).image, passes(RULES["fkd"], weights=light).draws(2).image)
    heavy = torch.full((N,), 1e-9, dtype=torch.float64)
    heavy[5] = 1.0
    assert (passes(RULES["small"], weights=heavy).draws(0).image == 5).all()


def test_targets_are_blended_by_the_share_that_is_left():
    batch = passes(RULES["fkd"]).mixed(0, torch.arange(N))
    hard = hard_targets(LABELS, CLASSES, CPU)(batch)
    for i in range(N):
        expected = np.zeros(CLASSES)
        expected[LABELS[batch.first[i]]] += float(batch.share[i])
        expected[LABELS[batch.second[i]]] += 1 - float(batch.share[i])
        np.testing.assert_allclose(hard[i].numpy(), expected, atol=2**-23)
    logits = torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(3))
    soft = image_targets(logits, 4.0, CPU)(batch)
    first, second = ((logits / 4).softmax(1)[rows] for rows in (batch.first, batch.second))
    torch.testing.assert_close(soft, batch.share[:, None] * first + (1 - batch.share[:, None]) * second)
    alone = passes(RULES["small"]).mixed(0, torch.arange(N))
    assert torch.equal(image_targets(logits, 4.0, CPU)(alone), (logits / 4).softmax(1)[alone.first])


def test_a_teacher_online_sees_what_the_student_sees():
    teacher = Normalized(new_student("convnet", channels=3, size=16, classes=CLASSES, width=4), (0.5,) * 3, (0.5,) * 3).eval()
    batch = passes(RULES["fkd"]).mixed(0, torch.arange(5))
    with torch.no_grad():
        expected = (teacher(batch.pixels) / 20).softmax(1)
    assert torch.equal(online_targets(teacher, 20.0, CPU, "float32")(batch), expected)


def test_lower_precision_leaves_the_weights_in_float32():
    model, _ = trained(RULES["fkd"], precision="bfloat16")
    exact, _ = trained(RULES["fkd"])
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in model.parameters())
    assert not same(model, exact)


LOGITS = 3 * torch.randn(50, 30, generator=torch.Generator().manual_seed(5)) + 4


def bytes_of(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def test_labels_stored_whole_come_back_as_fp16():
    stored = compressed(LOGITS, None, 20.0)
    assert torch.equal(restored(stored, 30), LOGITS.half().float())
    assert bytes_of(stored) == 50 * bytes_an_image(30, None) == 50 * 60


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("top", [1, 5, 29])
def test_compressed_labels_keep_the_top_probabilities_and_the_sum_of_the_rest(top, temperature):
    stored = compressed(LOGITS, top, temperature)
    back, exact = (restored(stored, 30) / temperature).softmax(1), (LOGITS / temperature).softmax(1)
    indices = LOGITS.topk(top).indices
    # A logit z ≤ 0 is rounded to fp16 by at most |z| 2^-11 (plus 2^-25 near zero), so a logarithm of a probability, numerator
    # and denominator, by at most twice that over T.
    slack = 2 * float(LOGITS.amax() - LOGITS.amin()) * 2**-11 / temperature + 1e-6
    torch.testing.assert_close(back.gather(1, indices), exact.gather(1, indices), rtol=slack, atol=1e-6)
    torch.testing.assert_close(
        1 - back.gather(1, indices).sum(1), 1 - exact.gather(1, indices).sum(1), rtol=slack, atol=1e-6 + slack * (1 / top)
    )
    assert bytes_of(stored) == 50 * bytes_an_image(30, top) == 50 * (3 * top + 2)


def test_the_bytes_are_those_of_the_table():
    """METHOD: 5.7, 28, 57 and 113 GB (of 2^30 bytes, to the digits printed) for 300 epochs of ImageNet-1K, uncompressed."""
    for ipc, expected in ((10, 5.7), (50, 28), (100, 57), (200, 113)):
        found = 300 * ipc * 1000 * bytes_an_image(1000, None) / 2**30
        assert abs(found - expected) < 0.06 * expected
    assert bytes_an_image(1000, 100) == 100 * 4 + 2


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "efficientnet_b0", "swin_tiny_patch4_window7_224"])
def test_students_go_by_timms_names_at_any_size(name):
    model = new_student(name, channels=3, size=64, classes=7)
    assert model.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 7)
    assert why_not(name, small_stem=False) is None


def test_a_small_stem_keeps_the_resolution():
    model = new_student("resnet18", channels=1, size=32, classes=7, small_stem=True)
    features = model.network.forward_features(torch.rand(2, 1, 32, 32))
    assert features.shape == (2, 512, 4, 4)


@pytest.mark.parametrize(
    ("name", "stem", "words"),
    [("resnet81", False, "did you mean"), ("swin_tiny_patch4_window7_224", True, "small_stem"), ("convnet", True, "small_stem")],
)
def test_students_that_are_none_are_named(name, stem, words):
    assert words in (why_not(name, small_stem=stem) or "")


def test_the_presets_train():
    """Each of the field's protocols, cut to one epoch and a small batch, on a small network."""
    for name in ("fkd", "rded", "rd3", "hard"):
        model, looks = trained(replace(PRESETS[name], epochs=1, batch=16, evaluations=1))
        assert looks[-1]["step"] == 2
        assert all(torch.isfinite(p).all() for p in model.parameters())

import dataclasses
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

from distill.images import Held, Images, load
from distill.recipe.images import DigitsData


def options(**changes):
    return DigitsData(**{"source": "digits", "size": 8, "test_fraction": 0.2, "seed": 0, **changes})


@pytest.fixture(scope="module")
def images():
    return load(options())


def rows(*splits):
    """Images with their labels as sorted rows, so that sets of them compare."""
    return sorted(
        (int(label), image.tobytes()) for split in splits for image, label in zip(split.images, split.labels, strict=True)
    )


def test_shapes_and_types(images):
    for split in (images.train, images.test):
        assert split.images.dtype == np.uint8
        assert split.images.shape[1:] == (1, 8, 8)
        assert split.labels.dtype == np.int64
        assert len(split.images) == len(split.labels)
    assert images.channels == 1
    assert len(images.classes) == 10


def test_the_whole_range_of_pixels_is_used(images):
    assert images.train.images.min() == 0
    assert images.train.images.max() == 255


def test_nothing_is_lost_and_nothing_is_in_both(images):
    pixels, labels = load_digits(return_X_y=True)
    whole = Held(np.round(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8), labels)
    assert rows(images.train, images.test) == rows(whole)
    # The source holds no image twice, so a shared image would be a shared row.
    assert len({image for _, image in rows(whole)}) == len(labels)
    assert not set(rows(images.train)) & set(rows(images.test))


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_every_class_is_split_in_the_same_shares(fraction):
    data = load(options(test_fraction=fraction))
    for index in range(10):
        n, held = len(data.train.of_class(index)), int((data.test.labels == index).sum())
        # Shares are whole images: the split rounds each class up or down.
        assert abs(held - fraction * (n + held)) <= 1


def test_validation_is_taken_from_the_training_images_alone():
    plain, chosen = load(options()), load(options(validation_fraction=0.25))
    assert not set(rows(plain.test)) & set(rows(chosen.train, chosen.test))
    assert rows(plain.train) == rows(chosen.train, chosen.test)
    for index in range(10):
        n, held = len(chosen.train.of_class(index)), int((chosen.test.labels == index).sum())
        assert abs(held - 0.25 * (n + held)) <= 1


def test_positions_of_a_class_are_all_of_it_in_order(images):
    found = [images.train.of_class(index) for index in range(10)]
    assert sorted(np.concatenate(found).tolist()) == list(range(len(images.train.labels)))
    assert all((np.diff(each) > 0).all() for each in found)


def test_fingerprints_follow_the_content(images):
    assert load(options()).fingerprint == images.fingerprint
    others = [
        load(options(size=16)),
        load(options(seed=1)),
        load(options(test_fraction=0.25)),
        load(options(validation_fraction=0.1)),
    ]
    others.append(dataclasses.replace(images, classes=(*images.classes[:-1], "Neun")))
    assert len({images.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_one_pixel_or_label_changes_the_fingerprint(images):
    pixels = images.train.images.copy()
    pixels[-1, 0, 0, 0] ^= 1
    labels = images.test.labels.copy()
    labels[0] = (labels[0] + 1) % 10
    changed = [
        dataclasses.replace(images, train=Held(pixels, images.train.labels)),
        dataclasses.replace(images, test=Held(images.test.images, labels)),
    ]
    assert len({images.fingerprint, *(other.fingerprint for other in changed)}) == 3


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("zero", "zero"),
        ("Golden Retriever", "golden-retriever"),
        ("n01440764/../tench", "n01440764-tench"),
        ("../../etc/passwd", "etc-passwd"),
        ("日本", "class"),
        ("", "class"),
        ("a\x00b\n", "a-b"),
        ("x" * 300, "x" * 40),
    ],
)
def test_part_names_are_safe_as_files_whatever_the_class_is_called(images, name, slug):
    part = dataclasses.replace(images, classes=(*images.classes[:3], name)).part_name(3)
    assert part == f"0003-{slug}"
    assert re.fullmatch(r"[a-z0-9-]+", part)


def test_part_names_differ_even_if_classes_look_alike():
    empty = Held(np.zeros((0, 1, 8, 8), np.uint8), np.zeros(0, np.int64))
    names = Images(empty, empty, ("A b", "a-b", "a_b", "日本", "中国"), 1, 8).part_names
    assert len(set(names)) == 5
    assert [int(name.split("-")[0]) for name in names] == list(range(5))

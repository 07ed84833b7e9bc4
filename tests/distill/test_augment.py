"""Augmentation in batches: each image as torchvision moves it alone, and draws that follow their laws."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resized_crop

from distill.models.augment import _matrix, cutmix, draw, looked_up, mixing_share, warp
from distill.protocols import Augmentation

EPS = float(np.finfo(np.float32).eps)


def images(n=6, channels=3, height=20, width=20, seed=0):
    return torch.randint(256, (n, channels, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def drawn(augmentation, n=6, source=(20, 20), size=20, seed=1, weights=None, pairing="product"):
    return draw(augmentation, np.ones(n) if weights is None else weights, source, size, pairing, seed)


def test_nothing_to_do_is_the_image_itself():
    x = images()
    draws = drawn(Augmentation())
    assert torch.equal(warp(x, draws, 20), x.float() / 255)
    assert (mixing_share(draws, 20) == 1).all()
    assert torch.equal(cutmix(x.float(), 0 * x.float(), draws), x.float())


@pytest.mark.parametrize(("source", "size"), [((20, 20), 20), ((20, 20), 31), ((40, 40), 16), ((24, 36), 20)])
def test_crops_are_those_of_torchvision(source, size):
    """An independent computation: torchvision's antialiased bilinear resize of each crop."""
    x = images(8, 3, *source)
    draws = drawn(Augmentation(crop=(0.08, 1.0)), 8, source, size)
    found = warp(x, draws, size)
    for image, box, one in zip(x, draws.crop.tolist(), found, strict=True):
        expected = resized_crop(image.float() / 255, *box, [size, size], InterpolationMode.BILINEAR, antialias=True)
        # Two products with rows of averages, rounded in float32, on either side; positions are rounded too: 2^-24 of at most 40
        # pixels, times the greatest difference of neighbours, 1.
        torch.testing.assert_close(one, expected, rtol=0, atol=40 * 8 * EPS)


def test_flips_shuffles_and_shifts_are_those_of_a_loop():
    x = images(40, 2, 9, 9)
    for augmentation in (
        Augmentation(flip=True),
        Augmentation(patches=2, flip=True),
        Augmentation(patches=3),
        Augmentation(shift=3),
    ):
        draws = drawn(augmentation, 40, (9, 9), 9)
        found = warp(x, draws, 9)
        for i, image in enumerate(x.float() / 255):
            expected = image
            if augmentation.patches > 1:
                for axis, strips in zip((1, 2), draws.strips[i].tolist(), strict=True):
                    width = 9 // augmentation.patches
                    ends = [*(width * j for j in range(augmentation.patches)), 9]
                    pieces = [expected.narrow(axis, ends[s], ends[s + 1] - ends[s]) for s in strips]
                    expected = torch.cat(pieces, axis)
            if augmentation.shift:
                down, right = draws.shift[i].tolist()
                dark = torch.zeros(2, 15, 15)
                dark[:, 3 + down : 12 + down, 3 + right : 12 + right] = expected
                expected = dark[:, 3:12, 3:12]
            if augmentation.flip and draws.flip[i]:
                expected = expected.flip(2)
            assert torch.equal(found[i], expected), (augmentation, i)


@pytest.mark.parametrize(
    "augmentation", [Augmentation(), Augmentation(shift=30), Augmentation(shift=4, flip=True), Augmentation(patches=3, flip=True)]
)
def test_pixels_that_move_whole_are_looked_up_to_the_bits_of_the_products(augmentation):
    """The matrices serve where images are resized along one axis; theirs hold a one a row at most here, so sums are exact."""
    x, draws = images(40), drawn(augmentation, 40)
    rows, columns = (_matrix(20, 20, draws.shift[:, i], draws.strips[:, i], draws.crop[:, i::2]) for i in (0, 1))
    if draws.flip.shape[1]:
        columns = torch.where(draws.flip[:, :, None], columns.flip(1), columns)
    expected = torch.einsum("bij,bcjk,blk->bcil", rows, x.float() / 255, columns)
    assert torch.equal(warp(x, draws, 20), expected)
    assert torch.equal(looked_up(x, draws).float() / 255, expected)


def test_every_shift_occurs_and_equally_often():
    x = torch.zeros(4000, 1, 5, 5, dtype=torch.uint8)
    x[:, 0, 2, 2] = 255
    where = warp(x, drawn(Augmentation(shift=1), 4000, (5, 5), 5), 5).flatten(1).argmax(1)
    counts = torch.bincount(where, minlength=25).reshape(5, 5)[1:4, 1:4]
    assert counts.sum() == 4000
    # Binomial(4000, 1/9): six standard deviations for nine counts leave a chance of 2e-8 to fail.
    assert (counts - 4000 / 9).abs().max() < 6 * (4000 / 9 * 8 / 9) ** 0.5


def test_a_shift_wider_than_the_image_leaves_it_dark_or_partly_seen():
    found = warp(images(50, 1, 4, 4), drawn(Augmentation(shift=6), 50, (4, 4), 4), 4)
    assert found.shape == (50, 1, 4, 4)
    assert (found.flatten(1) == 0).all(1).any()


def test_patches_are_shuffled_before_the_crop():
    x = images(5)
    draws = drawn(Augmentation(patches=2, crop=(0.3, 0.6)), 5)
    whole = drawn(Augmentation(patches=2), 5)
    shuffled = warp(x, type(draws)(**{**whole.__dict__, "strips": draws.strips}), 20)
    again = warp(
        (shuffled * 255).round().byte(), type(draws)(**{**draws.__dict__, "strips": drawn(Augmentation(), 5).strips}), 20
    )
    torch.testing.assert_close(warp(x, draws, 20), again, rtol=0, atol=64 * EPS)


def test_a_crop_has_an_area_and_an_aspect_in_range():
    draws = drawn(Augmentation(crop=(0.5, 1.0)), 20_000, (100, 100), 100)
    top, left, height, width = draws.crop.unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 100).all()
    assert (left + width <= 100).all()
    # Sides are rounded to whole pixels: each moves by half a pixel of at least 60.
    share = (height * width) / 100**2
    assert share.min() >= 0.5 * (1 - 1 / 60) ** 2
    aspect = width / height
    assert aspect.min() >= 3 / 4 * (1 - 1 / 60)
    assert aspect.max() <= 4 / 3 * (1 + 1 / 60)
    # The mean of uniform shares is ¾ where none is refused; those near 1 are refused more often, so it lies below.
    assert 0.65 < float(share.mean()) < 0.76


def test_boxes_leave_the_share_that_is_counted():
    draws = drawn(Augmentation(cutmix=1.0), 400, size=16)
    first, second = torch.zeros(400, 1, 16, 16), torch.ones(400, 1, 16, 16)
    assert torch.equal(cutmix(first, second, draws).mean((1, 2, 3)), 1 - mixing_share(draws, 16))
    lam = mixing_share(draws, 16)
    assert lam.min() >= 0
    assert lam.max() == 1
    assert 0.4 < float(lam.mean()) < 0.8


def test_draws_follow_their_seed_alone_and_rows_do_not_depend_on_the_batch():
    augmentation = Augmentation(patches=2, crop=(0.3, 1.0), flip=True, cutmix=1.0)
    one, two, other = (drawn(augmentation, 50, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in one.__dict__)
    assert not torch.equal(one.crop, other.crop)
    x = images(50)
    whole = warp(x, one, 20)
    for places in (torch.arange(7), torch.tensor([49, 3])):
        part = warp(x[places], one.at(places), 20)
        # Another batch may take another kernel of the product: rounding of sums of 20 terms, twice.
        torch.testing.assert_close(part, whole[places], rtol=0, atol=80 * EPS)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"shift": 1, "crop": (0.5, 1.0)}, "shift = 1"), ({"crop": (0.0, 1.0)}, "crop"), ({"crop": (0.9, 0.5)}, "crop")],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(**options)

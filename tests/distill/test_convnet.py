import numpy as np
import pytest
import torch

from distill.models.convnet import ConvNet, logits_of, scaled, shifted


def images(n=5, channels=2, height=8, width=8):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_pixels_are_scaled_to_the_unit_interval_both_ways():
    every = scaled(torch.arange(256, dtype=torch.uint8))
    assert every.dtype == torch.float32
    assert every[0] == -1
    assert every[-1] == 1
    assert (every.diff() > 0).all()
    # Equal steps of 2/255, up to the rounding of a quotient below 2 and of a difference below 1.
    np.testing.assert_allclose(every.diff().numpy(), 2 / 255, atol=2 * np.finfo(np.float32).eps)


def test_no_shift_is_the_identity():
    x = images()
    assert torch.equal(shifted(x, 0, seeded()), x)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 8, 8), (2, 6, 10)])
@pytest.mark.parametrize("pixels", [1, 3])
def test_shifts_are_those_of_a_loop_over_pixels(channels, height, width, pixels):
    x = images(7, channels, height, width)
    rows, columns = torch.randint(2 * pixels + 1, (2, 7, 1), generator=seeded(5))
    expected = np.full_like(x.numpy(), -1.0)
    for i, image in enumerate(x.numpy()):
        down, right = int(rows[i]) - pixels, int(columns[i]) - pixels
        for row in range(height):
            for column in range(width):
                if 0 <= row + down < height and 0 <= column + right < width:
                    expected[i, :, row, column] = image[:, row + down, column + right]
    np.testing.assert_array_equal(shifted(x, pixels, seeded(5)).numpy(), expected)


def test_every_shift_occurs_and_equally_often():
    x = torch.full((4000, 1, 5, 5), -1.0)
    x[:, 0, 2, 2] = 1.0
    where = shifted(x, 1, seeded()).flatten(1).argmax(1)
    counts = torch.bincount(where, minlength=25).reshape(5, 5)[1:4, 1:4]
    assert counts.sum() == 4000
    # Binomial(4000, 1/9): six standard deviations for nine counts leave a chance of 2e-8 to fail.
    assert (counts - 4000 / 9).abs().max() < 6 * (4000 / 9 * 8 / 9) ** 0.5


def test_a_shift_wider_than_the_image_leaves_it_dark_or_partly_seen():
    moved = shifted(images(50, 1, 4, 4), 6, seeded())
    assert moved.shape == (50, 1, 4, 4)
    assert (moved.flatten(1) == -1).all(1).any()


def test_shifts_leave_the_images_alone():
    x = images()
    before = x.clone()
    shifted(x, 2, seeded())
    assert torch.equal(x, before)


@pytest.mark.parametrize(("channels", "size", "classes", "width"), [(1, 8, 10, 4), (3, 16, 7, 8), (1, 24, 2, 4)])
def test_shapes(channels, size, classes, width):
    model = ConvNet(channels, size, classes, width)
    assert model(torch.zeros(3, channels, size, size)).shape == (3, classes)


def test_the_configuration_makes_the_same_network():
    torch.manual_seed(0)
    model = ConvNet(1, 8, 10, 4)
    again = ConvNet(**model.config)
    again.load_state_dict(model.state_dict())
    x = images(3, 1)
    assert torch.equal(again(x), model(x))


def test_depth_is_counted_in_blocks():
    model = ConvNet(1, 8, 10, 4, depth=2)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in model.features) == 2
    assert model.head.in_features == 4 * 2 * 2


def test_logits_do_not_depend_on_the_batch_and_take_bytes():
    torch.manual_seed(0)
    model, x = ConvNet(1, 8, 10, 4), (255 * images(9, 1)).byte()
    whole = logits_of(model, x)
    assert whole.shape == (9, 10)
    assert not whole.requires_grad
    # Other batch sizes may take other kernels: float32 sums of at most 36 + 64 terms a layer over logits of order one.
    torch.testing.assert_close(logits_of(model, x, batch=2), whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(whole, model(scaled(x)).detach(), rtol=0, atol=1e-4)

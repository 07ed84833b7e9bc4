import numpy as np
import pytest
import torch

from distill.models.convnet import ConvNet, scaled


def images(n=5, channels=2, height=8, width=8):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


def test_pixels_are_scaled_to_the_unit_interval_both_ways():
    every = scaled(torch.arange(256, dtype=torch.uint8))
    assert every.dtype == torch.float32
    assert every[0] == -1
    assert every[-1] == 1
    assert (every.diff() > 0).all()
    # Equal steps of 2/255, up to the rounding of a quotient below 2 and of a difference below 1.
    np.testing.assert_allclose(every.diff().numpy(), 2 / 255, atol=2 * np.finfo(np.float32).eps)


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

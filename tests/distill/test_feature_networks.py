"""Features of a network: which layer they come from, how maps become rows, what is refused."""

import weakref

import pytest
import torch
from torch import nn

from distill.models.convnet import ConvNet
from distill.models.features import FeatureNetwork, inputs_off, width
from distill.models.networks import Normalized


def small():
    torch.manual_seed(0)
    return Normalized(ConvNet(1, 8, 3, width=4, depth=2), (0.5,), (0.5,))


def test_features_are_what_the_last_linear_layer_is_given():
    network, images = small(), torch.rand(5, 1, 8, 8)
    features = FeatureNetwork(network, "", "mean")(images)
    assert features.shape == (5, 16)
    torch.testing.assert_close(network.network.head(features), network(images), rtol=0, atol=0)


@pytest.mark.parametrize(("pooling", "expected"), [("mean", 4), ("none", 4 * 16)])
def test_a_layer_by_name_gives_its_map_pooled_or_whole(pooling, expected):
    network, images = small(), torch.rand(5, 1, 8, 8)
    features = FeatureNetwork(network, "features.3", pooling)(images)
    with torch.no_grad():
        layer = network.network.features[:4]((images - 0.5) / 0.5)
    torch.testing.assert_close(features, layer.mean((2, 3)) if pooling == "mean" else layer.flatten(1), rtol=0, atol=0)
    assert features.shape[1] == expected == width(small, (1, 8, 8), "features.3", pooling)


def test_a_map_with_channels_last_is_pooled_over_places():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.Identity()

        def forward(self, images):
            return self.maps(images.expand(-1, 5, -1, -1).permute(0, 2, 3, 1))

    images = torch.rand(2, 1, 4, 4)
    expected = images.mean((1, 2, 3))[:, None].expand(-1, 5)
    torch.testing.assert_close(FeatureNetwork(Last(), "maps", "mean")(images), expected)


def test_a_layer_that_is_not_there_is_said_with_names_near_it():
    with pytest.raises(ValueError, match=r"features.layer = 'features.33' is no layer of the network; it has features.3,"):
        FeatureNetwork(small(), "features.33", "mean")
    with pytest.raises(ValueError, match="no linear layer"):
        FeatureNetwork(nn.Conv2d(1, 1, 1), "", "mean")


def test_a_layers_name_is_its_whole_name():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential()
            self.block.add_module("last", nn.Conv2d(1, 2, 1))
            self.last = nn.Conv2d(2, 5, 1)

        def forward(self, images):
            return self.last(self.block(images))

    network = Nested()
    for wrapped in (network, Normalized(network, (0.5,), (0.5,)), Normalized(Normalized(network, (0.5,), (0.5,)), (0,), (1,))):
        assert FeatureNetwork(wrapped, "last", "mean")(torch.rand(1, 1, 4, 4)).shape == (1, 5)
        assert FeatureNetwork(wrapped, "block.last", "mean")(torch.rand(1, 1, 4, 4)).shape == (1, 2)


def test_a_network_that_others_ask_too_keeps_nothing_for_the_features():
    network, images = small(), torch.rand(5, 1, 8, 8)
    features = FeatureNetwork(network, "", "mean")
    features(images)
    made = []
    network.network.head.register_forward_hook(lambda module, given, output: made.append(weakref.ref(given[0])))
    with torch.no_grad():
        network(images)
    assert [each() for each in made] == [None]


@pytest.mark.parametrize(("outputs", "said"), [(2, "has 2 outputs for a batch"), (0, "has 0 outputs"), (None, "has no tensor")])
def test_a_layer_without_one_tensor_is_said(outputs, said):
    class Layer(nn.Module):
        def forward(self, images):
            return (images, images) if outputs is None else images

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Layer()

        def forward(self, images):
            for _ in range(1 if outputs is None else outputs):
                self.layer(images)
            return images

    with pytest.raises(ValueError, match=f"features.layer = 'layer' {said}"):
        width(Network, (1, 4, 4), "layer", "mean")


def test_inputs_are_off_by_the_deviations_that_the_network_has_kept():
    torch.manual_seed(0)
    images, norm = torch.rand(7, 3, 4, 4), nn.BatchNorm2d(3)
    norm.running_mean, norm.running_var = (
        torch.tensor([0.1, -0.2, 0.0]),
        torch.tensor([0.5, 2.0, 0.0]),
    )  # the last: a dead channel
    network = Normalized(nn.Sequential(norm, nn.Flatten(), nn.Linear(48, 2)), (0.5, 0.4, 0.3), (0.25, 0.5, 1.0)).eval()
    means = [(images[:, 0].mean() - 0.5) / 0.25, (images[:, 1].mean() - 0.4) / 0.5]
    expected = (((means[0] - 0.1) ** 2 / 0.5 + (means[1] + 0.2) ** 2 / 2.0) / 2) ** 0.5
    assert inputs_off(network, images) == pytest.approx(float(expected), rel=1e-5)
    assert not norm._forward_pre_hooks
    assert inputs_off(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), images) is None


def test_a_network_fed_as_in_its_training_is_not_off_and_one_fed_otherwise_is():
    torch.manual_seed(0)
    photographs = torch.rand(64, 3, 1, 1) * 0.3 + 0.3 + 0.2 * torch.rand(64, 3, 8, 8)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=None), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    fed = Normalized(layers, (0.5,) * 3, (0.5,) * 3)
    fed.train()(photographs)  # which keeps its statistics
    assert inputs_off(fed.eval(), photographs) < 1e-4
    assert inputs_off(Normalized(layers, (0.0,) * 3, (1.0,) * 3).eval(), photographs) > 0.5  # from 0 to 1, not −1 to 1
    assert inputs_off(fed, 255 * photographs) > 50


def test_the_first_batch_normalization_that_is_come_to_tells_of_rows_too():
    torch.manual_seed(0)
    images, norm = torch.rand(70, 1, 2, 2), nn.BatchNorm1d(4)
    norm.running_mean, norm.running_var = torch.zeros(4), torch.full((4,), 0.25)

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.auxiliary, self.norm, self.last = nn.BatchNorm2d(1), norm, nn.Linear(4, 2)

        def forward(self, images):
            return self.last(self.norm(images.flatten(1)))

    network = Rows().eval()  # whose first in the list of modules is never called
    expected = float((images.flatten(1).mean(0).square() / 0.25).mean().sqrt())
    assert inputs_off(network, images) == pytest.approx(expected, rel=1e-5)  # of 70 images, 32 at a time
    assert not norm._forward_pre_hooks

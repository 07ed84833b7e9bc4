"""Students by name: the field's ConvNet, and whatever timm can build, each with its optimizer. Pixels go in from 0 to 1."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from distill.methods.entry_points import load, registered
from distill.models.convnet import ConvNet
from distill.protocols.protocol import Protocol

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalized(nn.Module):
    """A network that takes pixels from 0 to 1 and standardizes them by the mean and deviation (channels,) it was made for."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def new_student(
    name: str, *, channels: int, size: int, classes: int, width: int = 128, depth: int = 3, small_stem: bool = False
) -> Normalized:
    """A student with random weights from the global generator.

    name: ``convnet`` (``width`` and ``depth`` are its), what a package registers (given pixels from 0 to 1), or a model of
    timm's. small_stem: a ResNet for images of 32 or 64 pixels, its first convolution 3×3 at stride 1 and no pooling after it.
    timm's networks keep their weights channels last, in which convolutions are fastest.
    """
    if name == "convnet":
        return Normalized(ConvNet(channels, size, classes, width, depth), (0.5,) * channels, (0.5,) * channels)
    if name in registered("students"):
        return Normalized(load("students", name)(channels=channels, size=size, classes=classes), (0.0,), (1.0,))
    network = timm_model(name, channels=channels, size=size, classes=classes)
    if small_stem:
        network.conv1 = nn.Conv2d(channels, network.conv1.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,) * channels, (0.5,) * channels)
    return Normalized(network.to(memory_format=torch.channels_last), mean, std)


def timm_model(name: str, *, channels: int, size: int, classes: int) -> Any:
    """A network of timm's with random weights, at another size where it has one of its own."""
    timm: Any = import_module("timm")
    fixed = (timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()).fixed_input_size
    return timm.create_model(name, num_classes=classes, in_chans=channels, **({"img_size": size} if fixed else {}))


def why_not(name: str, *, small_stem: bool) -> str | None:
    """What is wrong with a student's name, in a sentence, without building it."""
    if name == "convnet":
        return "small_stem is for ResNets; leave it out for a convnet" if small_stem else None
    if name in registered("students"):
        return f"small_stem is for ResNets; leave it out for {name}" if small_stem else None
    timm: Any = import_module("timm")
    if not timm.is_model(name):
        near = import_module("difflib").get_close_matches(name, timm.list_models(), n=3)
        return f"timm has no model {name!r}" + (f"; did you mean {', '.join(near)}?" if near else "; or take convnet")
    if small_stem and not name.startswith(("resnet", "resnext", "wide_resnet")):
        return f"small_stem is for ResNets; leave it out for {name}"
    return None


def normalizes_batches(make: Callable[[], nn.Module]) -> bool:
    """Whether a network takes means over a batch while it learns, so that one image alone can't be learned from."""
    with torch.device("meta"):
        return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in make().modules())


def optimizer_for(model: nn.Module, protocol: Protocol, student: str, device: torch.device) -> torch.optim.Optimizer:
    """The protocol's optimizer; parameters of one dimension (biases, norms) do not decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": protocol.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = protocol.rate_of(student)
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(groups, rate, momentum=protocol.momentum)
    return torch.optim.AdamW(groups, rate, fused=True)

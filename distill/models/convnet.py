"""ConvNet, this field's network for small images, as student and teacher, with what goes before it."""

from typing import Any

import torch
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Blocks of 3×3 convolution, instance norm, ReLU and 2×2 average pooling: (n, C, H, W) in [-1, 1] → logits (n, classes).

    width: channels of every block. depth: blocks; H and W are multiples of 2^depth.
    """

    def __init__(self, channels: int, size: int, classes: int, width: int, depth: int = 3) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"channels": channels, "size": size, "classes": classes, "width": width, "depth": depth}
        blocks: list[nn.Module] = []
        for block in range(depth):
            blocks += [
                nn.Conv2d(channels if block == 0 else width, width, 3, padding=1),
                nn.GroupNorm(width, width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
        self.features = nn.Sequential(*blocks, nn.Flatten())
        self.head = nn.Linear(width * (size // 2**depth) ** 2, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor, batch: int = 512) -> Tensor:
    """The model's logits (n, classes) of uint8 images, without augmentation."""
    model.eval()
    return torch.cat([model(scaled(part)) for part in images.split(batch)])


def scaled(images: Tensor) -> Tensor:
    """uint8 in 0..255 → float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def shifted(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to ``pixels`` along both axes at random, edges filled with the darkest value -1."""
    if pixels == 0:
        return images
    n, _, height, width = images.shape
    padded = nn.functional.pad(images, (pixels,) * 4, value=-1.0)
    rows, columns = torch.randint(2 * pixels + 1, (2, n, 1), generator=generator)
    at_rows, at_columns = rows + torch.arange(height), columns + torch.arange(width)
    return padded[torch.arange(n)[:, None, None], :, at_rows[:, :, None], at_columns[:, None, :]].permute(0, 3, 1, 2)

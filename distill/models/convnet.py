"""ConvNet, this field's network for small images, as student and teacher."""

from typing import Any

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


def scaled(images: Tensor) -> Tensor:
    """uint8 in 0..255 → float32 in [-1, 1]."""
    return images.float() / 127.5 - 1

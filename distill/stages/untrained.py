"""What stages share that train a classifier."""

from typing import Any

from distill.images import Images
from distill.recipe.students import Network


def network(name: str, options: Network, data: Images) -> Any:
    """A network with random weights, for a section that asks for one to be trained on the data."""
    from distill.models.networks import new_student

    shape = {"channels": data.channels, "size": data.size, "classes": len(data.classes)}
    return new_student(name, **shape, width=options.width, depth=options.depth, small_stem=options.small_stem)


def held(images: Any, device: Any) -> Any:
    """Images where they are augmented, if they leave half of the device's free memory to the training; else where they are."""
    import torch

    if device.type != "cuda":
        return images
    free, _ = torch.cuda.mem_get_info(device)
    return images.to(device) if images.numel() < free / 2 else images

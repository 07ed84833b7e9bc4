r"""Soft labels on disk: logits in fp16, the k largest of each image, and one number for all the others.

The number is the logit r that the others would share, $(C - k)\, e^{r/T} = \sum_{c \notin \text{top}} e^{z_c/T}$: at temperature
T the probabilities of the top classes, and of the rest together, come back as they were, up to the rounding of fp16.
"""

import torch
from torch import Tensor


def compressed(logits: Tensor, top: int | None, temperature: float) -> dict[str, Tensor]:
    """Logits (..., classes) as tensors to store: ``values`` in fp16, and for the ``top`` alone ``indices`` and ``rest``."""
    classes = logits.shape[-1]
    if top is None or top >= classes:
        return {"values": logits.half()}
    # Shifted so that the largest is zero: probabilities do not change, and fp16 is finest near zero.
    logits = logits.float() - logits.float().amax(-1, keepdim=True)
    values, indices = logits.topk(top)
    others = logits.scatter(-1, indices, -torch.inf)
    rest = temperature * ((others / temperature).logsumexp(-1) - torch.log(torch.tensor(float(classes - top))))
    return {"values": values.half(), "indices": indices.to(_index_type(classes)), "rest": rest.half()}


def restored(stored: dict[str, Tensor], classes: int) -> Tensor:
    """The logits (..., classes) that a student learns from, in float32."""
    if "indices" not in stored:
        return stored["values"].float()
    values = stored["values"].float()
    whole = stored["rest"].float()[..., None].expand(*values.shape[:-1], classes).clone()
    return whole.scatter_(-1, stored["indices"].long(), values)


def bytes_an_image(classes: int, top: int | None) -> int:
    """What one image's label takes in one epoch."""
    if top is None or top >= classes:
        return 2 * classes
    return top * (2 + torch.empty(0, dtype=_index_type(classes)).element_size()) + 2


def _index_type(classes: int) -> torch.dtype:
    return torch.uint8 if classes <= 2**8 else torch.int16 if classes <= 2**15 else torch.int32

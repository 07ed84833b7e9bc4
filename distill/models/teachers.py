"""Teachers that others trained: timm's and torchvision's models, with pretrained or local weights and their own preprocessing."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.models.networks import Normalized


class Teacher(nn.Module):
    """Pixels (n, C, H, W) from 0 to 1 → logits (n, classes) over the data's classes.

    Images are resized to ``size``, the side its network was made for, where they differ; grey ones become three equal channels.
    outputs: the network's outputs that are the classes, in their order; all of them where it is None.
    """

    def __init__(self, network: Normalized, size: int | None, outputs: list[int] | None, channels: int) -> None:
        super().__init__()
        self.network, self._size, self._channels = network, size, channels
        self._outputs = outputs

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] < self._channels:
            images = images.expand(-1, self._channels, -1, -1)
        if self._size is not None and images.shape[-1] != self._size:
            images = nn.functional.interpolate(images, size=(self._size, self._size), mode="bilinear", antialias=True)
        logits = self.network(images)
        return logits if self._outputs is None else logits[:, self._outputs]


def pretrained(library: str, name: str, weights: str, size: int | None) -> tuple[nn.Module, dict[str, Any]]:
    """A network with its weights, and what it takes to make it again and to feed it: JSON values.

    weights: ``pretrained`` (downloaded once by the library, which also checks it), or a file of the user's.
    """
    told = _told(Path(weights), name)
    if library == "timm":
        network, made = _from_timm(name, weights)
    else:
        network, made = _from_torchvision(name, weights)
    made |= told
    return network.eval(), {**made, "library": library, "model": name, "size": size or made["size"], "weights": weights}


def _told(weights: Path, name: str) -> dict[str, Any]:
    """How a network is fed, where its weights are a run's own and lie beside what that run says of them."""
    beside = weights.with_name("teacher.json")
    if weights.name != "teacher.safetensors" or not beside.is_file():
        return {}
    about = json.loads(beside.read_bytes())
    if about["model"] != name:
        raise ValueError(f"{weights} holds a {about['model']}, not the teacher.model = {name!r}")
    return {key: about[key] for key in ("size", "mean", "std", "channels", "licence") if key in about}


def rebuilt(made: dict[str, Any], state: dict[str, Tensor], outputs: list[int] | None) -> Teacher:
    """The teacher of a description that :func:`pretrained` gave, with its weights."""
    if made["library"] == "timm":
        network = import_module("timm").create_model(
            made["model"].partition(".")[0], num_classes=made["classes"], **sized(made["model"], made["size"])
        )
    else:
        network = import_module("torchvision.models").get_model(made["model"], weights=None, num_classes=made["classes"])
    network.load_state_dict(state)
    return Teacher(Normalized(network, tuple(made["mean"]), tuple(made["std"])), made["size"], outputs, made["channels"]).eval()


def blank(library: str, name: str, size: int | None) -> tuple[Callable[[], nn.Module], tuple[int, int, int]]:
    """What makes a network of this name with random weights, and the shape of the images it is fed; ``size``: a side of them."""
    if library == "timm":
        timm: Any = import_module("timm")
        kind = name.partition(".")[0]
        channels, own, _ = (timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()).input_size
        side = size or own
        return lambda: timm.create_model(kind, **sized(name, side)), (channels, side, side)
    models: Any = import_module("torchvision.models")
    feed = models.get_model_weights(name).DEFAULT.transforms()
    side = size or feed.crop_size[0]
    return lambda: models.get_model(name, weights=None), (len(feed.mean), side, side)


def state_in(path: Path) -> dict[str, Tensor]:
    """The weights in a file: safetensors, or torch's own format, of which nothing but tensors is taken."""
    if path.suffix == ".safetensors":
        return _bare(import_module("safetensors.torch").load_file(path))
    content = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    return _bare({name.removeprefix("module."): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)})


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the ``network.`` that a teacher trained in a run has before each."""
    own = all(name.startswith("network.") for name in state)
    return {name.removeprefix("network."): tensor for name, tensor in state.items()} if own else state


def _from_timm(name: str, weights: str) -> tuple[nn.Module, dict[str, Any]]:
    timm: Any = import_module("timm")
    if weights == "pretrained":
        network = timm.create_model(name, pretrained=True)
    else:
        state = state_in(Path(weights))
        kind = timm.create_model(name.partition(".")[0])
        network = timm.create_model(name.partition(".")[0], num_classes=_classes(kind, kind.num_classes, state, weights))
        network.load_state_dict(state)
    config = import_module("timm.data").resolve_model_data_config(network)
    return network, {
        "classes": network.num_classes,
        "channels": config["input_size"][0],
        "size": config["input_size"][-1],
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "licence": network.pretrained_cfg.get("license") if weights == "pretrained" else None,
    }


def _from_torchvision(name: str, weights: str) -> tuple[nn.Module, dict[str, Any]]:
    models: Any = import_module("torchvision.models")
    entries = models.get_model_weights(name)
    entry = entries.DEFAULT
    if weights == "pretrained" or weights in entries.__members__:
        entry = entry if weights == "pretrained" else entries[weights]
        state = entry.get_state_dict(progress=False, check_hash=True, weights_only=True)
    else:
        state = state_in(Path(weights))
    known = len(entry.meta["categories"])
    classes = _classes(models.get_model(name, weights=None, num_classes=known), known, state, weights)
    network = models.get_model(name, weights=None, num_classes=classes)
    network.load_state_dict(state)
    feed = entry.transforms()
    return network, {
        "classes": classes,
        "channels": len(feed.mean),
        "size": feed.crop_size[0],
        "mean": list(feed.mean),
        "std": list(feed.std),
        "licence": None,
    }


def _classes(network: nn.Module, held: int, state: dict[str, Tensor], weights: str) -> int:
    """How many outputs weights have, from the last layer of a network of the kind that has ``held``."""
    for name, module in reversed(list(network.named_modules())):
        layer = getattr(module, "weight", None)
        if isinstance(layer, Tensor) and layer.ndim > 1 and len(layer) == held:
            if f"{name}.weight" not in state:
                raise ValueError(f"{weights} holds no {name}.weight: these are not the weights of such a network")
            return len(state[f"{name}.weight"])
    raise ValueError(f"a network of this kind has no last layer of {held} outputs")


def sized(name: str, size: int) -> dict[str, int]:
    """What a network of timm's is to be told of the size of its images."""
    config = import_module("timm").get_pretrained_cfg(name.partition(".")[0])
    return {"img_size": size} if config is not None and config.fixed_input_size else {}

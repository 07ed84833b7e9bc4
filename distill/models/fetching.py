"""What must be fetched to be used: whether it is here, or to be had now. Asked before any work, not hours into it."""

from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

_PATIENCE = 10.0  # seconds for an answer


def why_no_teacher(library: str, name: str) -> str | None:
    """Why the weights of a model of timm's or torchvision's are not to be had; None where they are here or can be fetched."""
    if library == "torchvision":
        models: Any = import_module("torchvision.models")
        return _why_no_url(models.get_model_weights(name).DEFAULT.url)
    config = import_module("timm").get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url or config.file):
        return f"timm has no weights of {name!r}"
    if config.hf_hub_id:
        names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
        cached = import_module("huggingface_hub").try_to_load_from_cache
        if any(isinstance(cached(config.hf_hub_id, name), str) for name in names):
            return None
        return why_no_hub(config.hf_hub_id, None)
    return None if config.file else _why_no_url(config.url)


def why_no_hub(name: str, revision: str | None) -> str | None:
    """Why a hub does not hand out a model; None where it would."""
    hub: Any = import_module("huggingface_hub")
    try:
        hub.HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
    except Exception as error:  # of whatever library talks to the network underneath
        return _said(error)
    return None


def _why_no_url(address: str) -> str | None:
    """Why a file of weights is not to be had; None where torch keeps it already, or its server would hand it out."""
    kept = Path(import_module("torch.hub").get_dir()) / "checkpoints" / address.rpartition("/")[2]
    if kept.is_file():
        return None
    try:
        with urlopen(Request(address, method="HEAD"), timeout=_PATIENCE):
            return None
    except (URLError, OSError) as error:
        return _said(error)


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

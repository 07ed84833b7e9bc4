"""How many floating-point operations a model takes, counted on tensors without content: no weights are loaded."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch


def autoencoder_flops(kind: str, config: dict[str, Any], half: str, size: int, channels: int, side: int) -> float:
    """Of the ``encoder`` or the ``decoder`` of an autoencoder of diffusers, for one image."""
    diffusers = import_module("diffusers")
    kinds = {"AutoencoderKL": diffusers.AutoencoderKL, "AutoencoderTiny": diffusers.AutoencoderTiny}

    def run(model: Any) -> None:
        if half == "encoder":
            model.encode(torch.empty(1, config["in_channels"], size, size))
        else:
            model.decode(torch.empty(1, channels, side, side))

    return _counted(kinds[kind], config, run)


def prior_flops(kind: str, config: dict[str, Any], shape: tuple[int, int, int]) -> float:
    """Of one prediction of a UNet (77 tokens of text) or a DiT, for one image."""
    diffusers = import_module("diffusers")

    def run(model: Any) -> None:
        latents, time = torch.empty(1, *shape), torch.zeros(1, dtype=torch.long)
        if kind == "UNet2DConditionModel":
            model(latents, time, encoder_hidden_states=torch.empty(1, 77, config["cross_attention_dim"]))
        else:
            model(latents, timestep=time, class_labels=torch.zeros(1, dtype=torch.long))

    kinds = {"UNet2DConditionModel": diffusers.UNet2DConditionModel, "DiTTransformer2DModel": diffusers.DiTTransformer2DModel}
    return _counted(kinds[kind], config, run)


def _counted(kind: Any, config: dict[str, Any], run: Callable[[Any], None]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        model = kind.from_config(config).eval()
        with FlopCounterMode(display=False) as counter:
            run(model)
    return float(counter.get_total_flops())

"""The one door to diffusers: autoencoder, class-conditional transformer and scheduler, made new or loaded, and their files."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any


def new_autoencoder(*, channels: int, size: int, latent_channels: int, widths: tuple[int, ...]) -> Any:
    """A KL autoencoder: one residual block a level, each level but the last halving the side."""
    levels = len(widths)
    return import_module("diffusers").AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        latent_channels=latent_channels,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=size,
        mid_block_add_attention=False,
    )


def new_transformer(*, channels: int, size: int, classes: int, layers: int, heads: int, head_width: int) -> Any:
    """A diffusion transformer (DiT) on latents (channels, size, size) in patches of 2; the null class is index ``classes``."""
    return import_module("diffusers").DiTTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=head_width,
        in_channels=channels,
        num_layers=layers,
        sample_size=size,
        patch_size=2,
        num_embeds_ada_norm=classes,
    )


def new_scheduler() -> Any:
    r"""DDIM on a cosine schedule of 1000 times, for models that predict $v = \alpha_t \varepsilon - \sigma_t z$."""
    return import_module("diffusers").DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
    )


def untrained(kind: str, config: dict[str, Any]) -> Any:
    """A model of diffusers with random weights, of a configuration."""
    made = getattr(import_module("diffusers"), kind)
    with _unknown_entries_left_out():
        return made.from_config(config)


def load_autoencoder(kind: str, folder: Path, *, subfolder: str = "", dtype: str = "float32") -> Any:
    """The ``AutoencoderKL`` or ``AutoencoderTiny`` in a folder, for inference."""
    diffusers = import_module("diffusers")
    kinds = {"AutoencoderKL": diffusers.AutoencoderKL, "AutoencoderTiny": diffusers.AutoencoderTiny}
    return _loaded(kinds[kind], folder, subfolder, dtype)


def load_transformer(folder: Path, *, subfolder: str = "", dtype: str = "float32") -> Any:
    """The class-conditional transformer in a folder, for inference."""
    return _loaded(import_module("diffusers").DiTTransformer2DModel, folder, subfolder, dtype)


def load_unet(folder: Path, *, subfolder: str = "unet", dtype: str = "float32") -> Any:
    """The text-conditional UNet in a folder, for inference."""
    return _loaded(import_module("diffusers").UNet2DConditionModel, folder, subfolder, dtype)


def load_scheduler(folder: Path, kind: str = "ddim", *, subfolder: str = "") -> Any:
    """A scheduler of some kind, on the schedule whose configuration lies in a folder."""
    diffusers = import_module("diffusers")
    kinds = {
        "ddim": diffusers.DDIMScheduler,
        "dpm-solver": diffusers.DPMSolverMultistepScheduler,
        "euler": diffusers.EulerDiscreteScheduler,
        "ddpm": diffusers.DDPMScheduler,
    }
    # Latents have no range to be clipped to, which the configurations of other schedulers may leave unsaid.
    unclipped = {"clip_sample": False} if kind in ("ddim", "ddpm") else {}
    return kinds[kind].from_pretrained(folder, subfolder=subfolder or None, local_files_only=True, **unclipped)


def inverse_of(scheduler: Any) -> Any:
    """DDIM backwards on the schedule of a DDIM scheduler."""
    return import_module("diffusers").DDIMInverseScheduler.from_config(scheduler.config)


def files(model: Any) -> dict[str, Any]:
    """A model as the files that ``from_pretrained`` reads."""
    return {"config.json": json.loads(model.to_json_string()), "diffusion_pytorch_model.safetensors": model.state_dict()}


def scheduler_files(scheduler: Any) -> dict[str, Any]:
    """A scheduler as the file that ``from_pretrained`` reads."""
    return {"scheduler_config.json": json.loads(scheduler.to_json_string())}


def _loaded(kind: Any, folder: Path, subfolder: str, dtype: str) -> Any:
    """A model for inference. Weights are read from safetensors alone, and nothing is fetched: it has been before."""
    safely = {"low_cpu_mem_usage": False, "local_files_only": True, "use_safetensors": True}
    precision = getattr(import_module("torch"), dtype)
    with _unknown_entries_left_out():
        return kind.from_pretrained(folder, subfolder=subfolder or None, torch_dtype=precision, **safely).eval()


@contextmanager
def _unknown_entries_left_out() -> Iterator[None]:
    """Without a warning for each entry of a configuration that this version of diffusers does not know: published autoencoders
    have some, and nobody who runs a recipe can mend that.
    """
    log = logging.getLogger("diffusers.configuration_utils")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)

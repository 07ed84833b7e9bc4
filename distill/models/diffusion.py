"""The one door to diffusers: autoencoder, class-conditional transformer and scheduler, made new or loaded, and their files."""

import json
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


def load_autoencoder(folder: Path) -> Any:
    """The autoencoder in a folder, for inference."""
    return import_module("diffusers").AutoencoderKL.from_pretrained(folder, low_cpu_mem_usage=False, local_files_only=True).eval()


def load_transformer(folder: Path) -> Any:
    """The transformer in a folder, for inference."""
    model = import_module("diffusers").DiTTransformer2DModel
    return model.from_pretrained(folder, low_cpu_mem_usage=False, local_files_only=True).eval()


def load_scheduler(folder: Path) -> Any:
    """The scheduler whose configuration lies in a folder."""
    return import_module("diffusers").DDIMScheduler.from_pretrained(folder, local_files_only=True)


def files(model: Any) -> dict[str, Any]:
    """A model as the files that ``from_pretrained`` reads."""
    return {"config.json": json.loads(model.to_json_string()), "diffusion_pytorch_model.safetensors": model.state_dict()}


def scheduler_files(scheduler: Any) -> dict[str, Any]:
    """A scheduler as the file that ``from_pretrained`` reads."""
    return {"scheduler_config.json": json.loads(scheduler.to_json_string())}

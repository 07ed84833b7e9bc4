"""Where workers work: a GPU each, if the run computes on GPUs, and their share of the processors for decoding images."""

import os
from importlib import import_module

from distill.pipeline.environment import ONE_THREAD, READERS, processors


def gpus() -> list[str]:
    """The GPUs that this process sees, as ``CUDA_VISIBLE_DEVICES`` writes them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(index) for index in range(import_module("torch").cuda.device_count())]


def environments(workers: int, device: str, first: int = 0) -> list[dict[str, str]]:
    """What each of some workers finds in its environment: one compute thread, threads that decode, and its GPU.

    first: the place of the first of them among the workers of this machine, from which their GPUs follow.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * workers
    common = {**ONE_THREAD, READERS: str(max(1, processors() // here))}
    if device == "cpu":
        return [common] * workers
    visible = gpus() or ["0"]
    # Matrix products are only deterministic with a workspace of fixed size.
    common["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    return [{**common, "CUDA_VISIBLE_DEVICES": visible[(first + i) % len(visible)]} for i in range(workers)]

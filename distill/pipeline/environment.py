"""Where a run happens: a worker's threads, the memory it takes, and what a manifest says of the machine."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
# Of glibc: memory that networks free and ask for again at every batch stays with the process. Else large activations are mapped
# and zeroed by the kernel every time, which took twice as long as a small network's arithmetic.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
READERS = "DISTILL_READERS"  # the threads of a process that decode images, set by whoever starts it
_PACKAGES = (
    *("optimal-quantization", "numpy", "scipy", "numba", "torch", "torchvision", "diffusers", "transformers", "timm", "datasets"),
    *("safetensors", "scikit-learn", "pillow"),
)


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs that this process sees, as ``CUDA_VISIBLE_DEVICES`` writes them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(index) for index in range(import_module("torch").cuda.device_count())]


def environments(workers: int, device: str) -> list[dict[str, str]]:
    """What each of some workers finds in its environment: one compute thread, threads that decode, and its GPU."""
    common = {**ONE_THREAD, READERS: str(max(1, processors() // workers))}
    if device == "cpu":
        return [{**common, **_KEEP_MEMORY}] * workers
    visible = gpus() or ["0"]
    # Matrix products are only deterministic with a workspace of fixed size.
    common["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    return [{**common, "CUDA_VISIBLE_DEVICES": visible[i % len(visible)]} for i in range(workers)]


def reset_peak_memory() -> None:
    """Start measuring the peak memory of this process again, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak resident memory of this process in bytes, since the last reset where the system can."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def describe(workers: int | None) -> dict[str, Any]:
    """Versions, hardware and commit, for manifests. workers: None where a cluster says how many."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "system": platform.platform(),
        "processor": _processor(),
        "processors": processors(),
        "workers": workers,
        "threads_per_worker": 1,
        "commit": _commit(),
    }


def version(name: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the checkout this package lies in, with ``+changes`` where files differ; None outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(here)]
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True, timeout=10
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed.strip() else "")

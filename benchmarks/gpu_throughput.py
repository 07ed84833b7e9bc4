"""Images a second of what ImageNet's recipes do most, and the share of the device's peak: `python -m benchmarks.gpu_throughput`.

The networks have the published models' shapes and random weights; each is given one batch over and over, by the very
microbenchmarks that `--dry-run` times. The peak is measured too: the best of large matrix products in the same precision. A
prediction is one call of the prior; an image takes as many as its sampler has steps, twice as many under guidance.
"""

import argparse
import time
from functools import partial

import torch

from distill.costs import Microbenchmark, measure
from distill.costs.networks import autoencoding, classifier, prediction
from distill.models.diffusion import untrained
from distill.models.networks import new_student

DIT = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 28,
    "sample_size": 32,
    "patch_size": 2,
    "num_embeds_ada_norm": 1000,
}
UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
LEVELS = 4
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * LEVELS,
    "up_block_types": ("UpDecoderBlock2D",) * LEVELS,
    "layers_per_block": 2,
    "latent_channels": 4,
}
STUDENTS = ("resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0", "swin_tiny_patch4_window7_224")


def rows(precision: str, scale: int) -> list[tuple[str, Microbenchmark]]:
    """What is timed, with its name; batches are those of the recipes over ``scale``."""
    vae, dit, unet = (
        partial(untrained, kind, config)
        for kind, config in (("AutoencoderKL", VAE), ("DiTTransformer2DModel", DIT), ("UNet2DConditionModel", UNET))
    )

    def batch(size: int) -> int:
        return max(1, size // scale)

    found = [
        ("encode, SD's KL, 256 px", autoencoding("vae256", vae, "encoder", (3, 256, 256), batch(32), precision)),
        ("decode, SD's KL, 256 px", autoencoding("vae256", vae, "decoder", (4, 32, 32), batch(32), precision)),
        ("encode, SD's KL, 512 px", autoencoding("vae512", vae, "encoder", (3, 512, 512), batch(16), precision)),
        ("decode, SD's KL, 512 px", autoencoding("vae512", vae, "decoder", (4, 64, 64), batch(16), precision)),
        ("predict, DiT-XL/2, 256 px", prediction("dit", dit, (4, 32, 32), batch(64), precision)),
        ("predict, SD 1.5's UNet, 512 px", prediction("unet", unet, (4, 64, 64), batch(32), precision, text=768)),
    ]
    for name in STUDENTS:
        student = partial(new_student, name, channels=3, size=224, classes=1000)
        found.append((f"train, {name}, 224 px", classifier(name, student, (3, 224, 224), batch(256), precision, learns=True)))
    return found


def peak(device: str, precision: str) -> float:
    """Operations a second of the best of a few large matrix products."""
    best, dtype = 0.0, getattr(torch, precision)
    for n in (2048, 8192) if device == "cuda" else (1024,):
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        for _ in range(10):
            seconds = clocked(lambda a=a, b=b: a @ b, device)
            best = max(best, 2 * n**3 / seconds)
    return best


def clocked(work, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--over", type=int, default=1, metavar="N", help="divide the batches by N, for a small device")
    parser.add_argument("--count", action="store_true", help="count the memory of a GPU instead of timing anything; needs none")
    parser.add_argument("--only", default="", help="rows whose names hold this")
    options = parser.parse_args()
    if options.count:
        print(f"torch {torch.__version__}, {options.precision}\n\n| what | batch | memory, counted |\n|---|---|---|")
        for what, each in rows(options.precision, options.over):
            if options.only in what:
                print(f"| {what} | {each.batch} | {(measure.peak(each) or 0) / 1e9:.3g} GB |", flush=True)
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is to be seen here; --device cpu --over 64 --only resnet18 shows what it would print")
    torch.set_num_threads(1)
    top = peak(options.device, options.precision)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "a CPU, one thread"
    print(f"{name}, torch {torch.__version__}, {options.precision}; matrix products reach {top / 1e12:.3g} Tflop/s\n")
    print("| what | batch | operations an image | images/s | share of the peak | memory |\n|---|---|---|---|---|---|")
    for what, each in rows(options.precision, options.over):
        if options.only not in what:
            continue
        found = measure.timed(each, options.device)
        if found.seconds is None:
            print(f"| {what} | {each.batch} | {found.operations:.3g} | does not fit | | |", flush=True)
            continue
        memory = f"{found.memory / 1e9:.3g} GB" if found.memory else ""
        share = (found.operations or 0) / found.seconds / top
        print(
            f"| {what} | {each.batch} | {found.operations:.3g} | {1 / found.seconds:.3g} | {100 * share:.0f} % | {memory} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

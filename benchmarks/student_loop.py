"""How much of a student's training is the model: `python -m benchmarks.student_loop [--device cuda]`.

Each row trains by the loop that recipes use, and again with nothing but the model's own work: forward passes of student and
teacher, backward pass and optimizer, on a batch at hand. The share is the ratio of the two times, the median over rounds that
take turns. The loop is to spend at least 90 % in the model.
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch

from distill.models.networks import new_student, optimizer_for
from distill.models.student import Passes, autocast, hard_targets, image_targets, online_targets, train_student
from distill.models.training import weighted_cross_entropy
from distill.protocols import PRESETS

# name, student, protocol, pixels, channels, classes, images, batch, steps
ROWS = (
    ("digits", "convnet", "small", 16, 1, 10, 100, 32, 60),
    ("digits", "convnet", "rded", 16, 1, 10, 100, 32, 60),
    ("digits", "convnet", "hard", 16, 1, 10, 100, 32, 60),
    ("imagenette, ConvNet", "convnet", "rded", 64, 3, 10, 100, 50, 6),
    ("imagenette, ResNet-18", "resnet18", "rded", 64, 3, 10, 100, 50, 4),
    ("imagenet, ResNet-18", "resnet18", "rded", 224, 3, 100, 200, 20, 2),
    ("imagenet, ResNet-18, hard", "resnet18", "hard", 224, 3, 100, 200, 20, 2),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--only", default="", help="rows whose names hold this")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    print("| student | protocol | pixels | batch | images/s | share in the model |\n|---|---|---|---|---|---|")
    for row in (row for row in ROWS if options.only in row[0]):
        name, rule, pixels, batch, steps = row[0], row[2], row[3], row[7], row[8]
        loop, model = prepared(row, device, options.precision)
        loop(), model()
        times = [(timed(loop, device), timed(model, device)) for _ in range(options.rounds)]
        share = statistics.median(alone / whole for whole, alone in times)
        rate = batch * steps / statistics.median(whole for whole, _ in times)
        print(f"| {name} | `{rule}` | {pixels} | {batch} | {rate:.0f} | {100 * share:.0f} % |", flush=True)


def prepared(row, device, precision):
    """The loop, and the model's own work, as two functions of no arguments."""
    _, student, rule, pixels, channels, classes, n, batch, steps = row
    preset = PRESETS[rule]
    rules = replace(preset, epochs=None, steps=steps, batch=batch, evaluations=1, schedule="cycle")
    images = torch.randint(256, (n, channels, pixels, pixels), dtype=torch.uint8).to(device)
    weights, labels = torch.ones(n, dtype=torch.float64), torch.arange(n) % classes

    def fresh():
        return new_student(student, channels=channels, size=pixels, classes=classes, width=16 if channels == 1 else 128).to(
            device
        )

    teacher = fresh().eval() if rules.labels == "online" else None
    targets = (
        online_targets(teacher, rules.temperature, device, precision)
        if teacher is not None
        else image_targets(torch.randn(n, classes), rules.temperature, device)
        if rules.labels == "fixed"
        else hard_targets(labels, classes, device)
    )
    first = Passes(images, weights, rules, pixels, 0, device).batch(0, batch, whole=True)

    def loop():
        passes = Passes(images, weights, rules, pixels, 0, device)
        look = lambda model: {"top1": 0.0, "top5": 0.0}  # noqa: E731
        train_student(fresh(), passes, weights, rules, targets, look, lambda f: None, student=student, ipc=1, precision=precision)

    def model():
        network = fresh().train()
        optimizer = optimizer_for(network, rules, student, device)
        ones = torch.ones(batch, device=device)
        for _ in range(steps):
            with autocast(device, precision):
                logits = network(first.pixels)
            loss = weighted_cross_entropy(logits.float(), targets(first), ones, rules.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return loop, model


def timed(work, device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

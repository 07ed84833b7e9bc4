"""The tables and figures of docs/results/imagenette.md, made again from run folders.

    python -m distill run imagenette-probe --out runs/probe
    python -m benchmarks.imagenette probe=runs/probe images=runs/imagenette32 --write docs/results/imagenette.md

A run goes between the lines ``<!-- NAME -->`` and ``<!-- end of NAME -->`` of the page, its figures into docs/pictures: of images
none but decoded codes, as photographs are not ours to show.
"""

import argparse
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.report import figures


def main(arguments: list[str] | None = None) -> int:
    """Print the tables of run folders, or put them into a page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imagenette", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER", help="a finished run, and what the page calls it")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page, and the figures beside it")
    asked = parser.parse_args(arguments)
    page = asked.write.read_text(encoding="utf-8") if asked.write else ""
    for each in asked.runs:
        name, _, folder = each.partition("=")
        report = Path(folder) / "report" / "report.json"
        if not report.is_file():
            print(f"{folder} holds no finished run: there is no {report}", file=sys.stderr)
            return 2
        metrics = json.loads(report.read_bytes())
        text = tables(metrics)
        if not asked.write:
            print(text)
            continue
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end of {re.escape(name)} -->)", re.DOTALL)
        if not pattern.search(page):
            print(f"{asked.write} has no lines <!-- {name} --> and <!-- end of {name} --> to put it between", file=sys.stderr)
            return 2
        shown = drawn(name, metrics, Path(folder), asked.write)
        page = pattern.sub(lambda found, body=f"{text}\n\n{shown}\n": found[1] + body + found[2], page)
    if asked.write:
        asked.write.write_text(page, encoding="utf-8")
    return 0


def tables(metrics: Mapping[str, Any]) -> str:
    """A table of accuracies for each regime of labels, and one of the comparisons."""
    rows, parts = metrics["rows"], list[str]()
    seeds = max(row["seeds"] for row in rows)
    for labels in dict.fromkeys(row["labels"] for row in rows):
        parts.append(
            f"Top-1, {labels} labels: mean ± half its 95 % t interval over {seeds} seeds, in per cent.\n\n"
            + accuracies(rows, labels)
        )
    if metrics["comparisons"]:
        parts.append(
            "Differences in points, first minus second, with 95 % intervals: paired t over seeds, paired bootstrap over test "
            "images. Bold where both leave out zero.\n\n" + differences(metrics["comparisons"])
        )
    return "\n\n".join(parts)


def accuracies(rows: Sequence[Mapping[str, Any]], labels: str) -> str:
    """A row a method, a column a budget, of one regime; the best of each column in bold."""
    own = [row for row in rows if row["labels"] == labels]
    budgets = sorted({row["ipc"] for row in own if row["ipc"] is not None})
    best = {k: max(row["top1_mean"] for row in own if row["ipc"] == k) for k in budgets}
    lines = ["| method | " + " | ".join(map(str, budgets)) + " |", "|---" * (1 + len(budgets)) + "|"]
    for method in dict.fromkeys(row["method"] for row in own if row["ipc"] is not None):
        found = {row["ipc"]: row for row in own if row["method"] == method}
        cells = [_cell(found[k], bold=found[k]["top1_mean"] == best[k]) if k in found else "" for k in budgets]
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    lines += [
        f"| `{row['method']}`: all images | {_cell(row)} |" + " |" * (len(budgets) - 1) for row in own if row["ipc"] is None
    ]
    return "\n".join(lines)


def differences(found: Sequence[Mapping[str, Any]]) -> str:
    """A row a comparison, regime and budget."""
    lines = ["| first | second | labels | per class | difference | over seeds | over test images |", "|---" * 7 + "|"]
    for each in found:
        low, high = min(each["seeds_low"], each["images_low"]), max(each["seeds_high"], each["images_high"])
        mark = "**" if low > 0 or high < 0 else ""
        seeds, images = (f"{100 * each[f'{kind}_low']:+.2f} to {100 * each[f'{kind}_high']:+.2f}" for kind in ("seeds", "images"))
        lines.append(
            f"| `{each['first']}` | `{each['second']}` | {each['labels']} | {each['ipc']} "
            f"| {mark}{100 * each['difference']:+.2f}{mark} | {seeds} | {images} |"
        )
    return "\n".join(lines)


def drawn(name: str, metrics: Mapping[str, Any], run: Path, page: Path) -> str:
    """The figures of a run, written beside the page's others, as Markdown."""
    rows = metrics["rows"]
    made = {"accuracy": figures.accuracy(rows, metrics["split"])}
    if metrics["comparisons"]:
        made["comparisons"] = figures.comparisons(metrics["comparisons"])
    if metrics["predicts"]:
        made["distances"] = figures.distances(rows, metrics["split"])
    if (codes := decoded(run)) is not None:
        made["codes"] = _few_colours(figures.sheet(*codes, columns=10))
    folder = page.parent.parent / "pictures"
    for kind, png in made.items():
        (folder / f"imagenette-{name}-{kind}.png").write_bytes(png)
    return "\n\n".join(f"![{kind.capitalize()}](../pictures/imagenette-{name}-{kind}.png)" for kind in made)


def decoded(run: Path) -> tuple[list[tuple[Any, Any]], list[str]] | None:
    """The decoded codes of the first seed of the largest budget, and their masses, by class; None where none are decoded."""
    from safetensors.numpy import load_file

    graph = json.loads((run / "graphs.json").read_bytes())["recipe.json"]["graph"]
    folders = [folder for _, _, folder, title, _ in graph["stages"] if title == "decode diffusion"]
    if not folders:
        return None
    parts = [load_file(run / folders[0] / f"{part}.safetensors") for part in graph["part_names"]]
    draws = [name.removesuffix(".images") for name in parts[0] if name.endswith(".images")]
    largest = max(draws, key=lambda draw: len(parts[0][f"{draw}.images"]))  # the first of the largest
    return [(part[f"{largest}.images"], part[f"{largest}.weights"]) for part in parts], graph["names"]


def _few_colours(png: bytes) -> bytes:
    """A picture in 256 colours, a quarter of the bytes."""
    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(file, "PNG", optimize=True)
    return file.getvalue()


def _cell(row: Mapping[str, Any], *, bold: bool = False) -> str:
    mean = f"{100 * row['top1_mean']:.2f}"
    half = f" ± {50 * (row['top1_high'] - row['top1_low']):.2f}" if row["seeds"] > 1 else ""
    return f"**{mean}**{half}" if bold else mean + half


if __name__ == "__main__":
    sys.exit(main())

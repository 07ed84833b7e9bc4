"""The report's table on a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def accuracies(metrics: Mapping[str, Any]) -> Table:
    """Every method and budget with its measured figures: distances where they were measured, else the bytes of labels."""
    rows = metrics["rows"]
    seeds = sorted({row["seeds"] for row in rows})
    over = "one seed" if seeds == [1] else f"mean ± standard deviation over {', '.join(map(str, seeds))} seeds"
    table = Table(title=f"On the real {metrics['split']} split, as fractions; {over}")
    encoded = any(row["w2_latent"] is not None for row in rows)
    for column in ("method", "IPC", "top-1 last", "best", "top-5", *(("W₂", "decoded") if encoded else ("labels",))):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        table.add_row(
            row["method"],
            "all" if row["ipc"] is None else str(row["ipc"]),
            top1(row),
            f"{row['best_mean']:.4f}",
            f"{row['top5_mean']:.4f}",
            *((number(row["w2_latent"]), number(row["w2_decoded"])) if encoded else (size(row["label_bytes"]),)),
        )
    table.caption = teacher(metrics)
    return table


def teacher(metrics: Mapping[str, Any]) -> str | None:
    """What stands under every table: how well the teacher knows the classes that it labels; None where nobody labels."""
    known = metrics["teacher"]
    if known is None:
        return None
    warning = f" Warning: {known['warning']}." if known["warning"] else ""
    return f"The teacher, {known['model']}, has a top-1 of {known['top1']:.4f} on the {metrics['split']} split.{warning}"


def top1(row: Mapping[str, Any]) -> str:
    """The mean over seeds, with their standard deviation where there are several."""
    return f"{row['top1_mean']:.4f}" + (f" ± {row['top1_std']:.4f}" if row["seeds"] > 1 else "")


def number(value: float | None) -> str:
    """A figure with four decimals, or nothing where it was not measured."""
    return "" if value is None else f"{value:.4f}"


def size(count: int) -> str:
    """Bytes in words; nothing for none."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B" if count else ""

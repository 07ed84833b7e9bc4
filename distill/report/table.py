"""The report's table on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text


def accuracies(metrics: Mapping[str, Any]) -> Table:
    """Every method and budget with its measured figures: distances where they were measured, else the bytes of labels."""
    rows = metrics["rows"]
    seeds = sorted({row["seeds"] for row in rows})
    over = "one seed" if seeds == [1] else f"mean ± standard deviation over {', '.join(map(str, seeds))} seeds"
    regimes = list(dict.fromkeys(row["labels"] for row in rows))
    table = Table(title=f"On the real {metrics['split']} split, as fractions; {over}; {' and '.join(regimes)} labels")
    encoded = any(row["w2_codes"] is not None for row in rows)
    several, highest = ["labels"] if len(regimes) > 1 else [], best(rows)
    figures = ("W₂", "decoded") if encoded else ("label bytes",)
    for column in (*several, "method", "IPC", "top-1 last", "95 %", "best", "top-5", "in effect", *figures):
        table.add_column(column, justify="left" if column in ("labels", "method") else "right")
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(
            *(row[key] for key in several),
            row["method"],
            "all" if row["ipc"] is None else str(row["ipc"]),
            Text(top1(row), "bold" if (row["method"], row["labels"], row["ipc"]) in highest else ""),
            interval(row),
            f"{row['best_mean']:.4f}",
            f"{row['top5_mean']:.4f}",
            f"{row['effective']:.1f}",
            *((number(row["w2_codes"]), number(row["distances"][space(metrics)])) if encoded else (size(row["label_bytes"]),)),
            end_section=after is not None and after["labels"] != row["labels"],
        )
    table.caption = "\n".join(decides(metrics)) or None
    return table


def decides(metrics: Mapping[str, Any]) -> list[str]:
    """What stands under every table: the teacher, what it recognizes, images left out, costly decoding, uneven weights."""
    rows = metrics["rows"]
    known = (teacher(metrics), recognized(rows), left_out(metrics), *decoding(metrics), *metrics["warnings"])
    return [said for said in known if said]


def space(metrics: Mapping[str, Any]) -> str:
    """Where decoded images are measured beside their codes: where these were sought; of noise, among latents."""
    return "features" if metrics.get("space") == "features" else "latent"


def recognized(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """What share of each method's images the teacher takes for their class, at the largest budget; None if that is not known."""
    known = [row for row in rows if row["recognized"] is not None and row["ipc"] is not None]
    if not known:
        return None
    most = max(row["ipc"] for row in known)
    shares = ", ".join(f"{row['method']} {row['recognized']:.3f}" for row in known if row["ipc"] == most)
    return f"Images that the teacher takes for their class, at {most} per class: {shares}."


def left_out(metrics: Mapping[str, Any]) -> str | None:
    """How many images can't be read; None where all can."""
    images = metrics["images"]
    if not images["left_out"]:
        return None
    whole = images["train"] + images["test"]
    return f"{images['left_out']:,} of {whole:,} images are left out, as they can't be read: the manifest of validate lists them."


def decoding(metrics: Mapping[str, Any]) -> list[str]:
    """For every method whose decoded images are farther from the data than random real ones, where its codes are not.

    All three in the space of the codes; of codes that are noise nothing is said, as no image is measured there.
    """
    rows, where = metrics["rows"], space(metrics)
    if metrics.get("space") == "noise":
        return []
    real = {row["ipc"]: row["w2_codes"] for row in rows if row["method"] == "random"}
    said = list[str]()
    for row in rows:
        random, codes, decoded = real.get(row["ipc"]), row["w2_codes"], row["distances"][where]
        if row["method"] != "random" and None not in (random, codes, decoded) and codes < random < decoded:
            said.append(
                f"At {row['ipc']} images per class decoding costs {row['method']} more than its codes gain: W₂ is {codes:.3f} "
                f"before decoding, {decoded:.3f} after, and {random:.3f} of random real images. Look at decode.strength, the "
                "prior and the codec."
            )
    return said


def teacher(metrics: Mapping[str, Any]) -> str | None:
    """How well the teacher knows the classes that it labels; None where nobody labels."""
    known = metrics["teacher"]
    if known is None:
        return None
    warning = f" Warning: {known['warning']}." if known["warning"] else ""
    return f"The teacher, {known['model']}, has a top-1 of {known['top1']:.4f} on the {metrics['split']} split.{warning}"


def top1(row: Mapping[str, Any]) -> str:
    """The mean over seeds, with their standard deviation where there are several."""
    return f"{row['top1_mean']:.4f}" + (f" ± {row['top1_std']:.4f}" if row["seeds"] > 1 else "")


def interval(row: Mapping[str, Any]) -> str:
    """The 95 % interval of the mean over seeds; nothing for one seed."""
    return "" if row["top1_low"] is None else f"{row['top1_low']:.3f} to {row['top1_high']:.3f}"


def best(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, str, int]]:
    """Of each regime of labels and budget the method of the highest mean, where there are several, with these two."""
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["ipc"] is not None:
            found.setdefault((row["labels"], row["ipc"]), []).append(row)
    chosen = [max(some, key=lambda row: row["top1_mean"]) for some in found.values() if len(some) > 1]
    return {(row["method"], row["labels"], row["ipc"]) for row in chosen}


def number(value: float | None) -> str:
    """A figure with four decimals, or nothing where it was not measured."""
    return "" if value is None else f"{value:.4f}"


def size(count: int) -> str:
    """Bytes in words; nothing for none."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B" if count else ""

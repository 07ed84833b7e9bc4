"""The comparisons that a recipe names, in words and as a table on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

_HEADS = ("difference of top-1", "labels", "IPC", "points", "95 % over seeds", "95 % over test images", "so")


def compared(metrics: Mapping[str, Any]) -> Table | None:
    """Every pair, labels and budget: the difference in points, its two intervals, and what they say; None without comparisons."""
    if not metrics["comparisons"]:
        return None
    table = Table(title="What the recipe compares, first less second, in percentage points")
    for column in _HEADS:
        table.add_column(column, justify="right" if column in _HEADS[2:6] else "left")
    for each in metrics["comparisons"]:
        table.add_row(*cells(each))
    return table


def cells(each: Mapping[str, Any]) -> Sequence[str]:
    """A row of that table."""
    return (
        f"{each['first']} − {each['second']}",
        each["labels"],
        "all" if each["ipc"] is None else str(each["ipc"]),
        points(each["difference"]),
        between(each["seeds_low"], each["seeds_high"]),
        between(each["images_low"], each["images_high"]),
        verdict(each),
    )


def verdict(each: Mapping[str, Any]) -> str:
    """What both intervals say together: which of the two is better, or that they are not told apart."""
    lows = [each[key] for key in ("seeds_low", "images_low") if each[key] is not None]
    highs = [each[key] for key in ("seeds_high", "images_high") if each[key] is not None]
    seeds = "" if each["seeds"] > 1 else ", of one seed"
    if min(lows) > 0:
        return f"{each['first']} is better{seeds}"
    if max(highs) < 0:
        return f"{each['second']} is better{seeds}"
    return f"not told apart{seeds}"


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.1f}"


def between(low: float | None, high: float | None) -> str:
    """An interval in percentage points; nothing where there is none."""
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"

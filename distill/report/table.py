"""The report's table on a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def accuracies(metrics: Mapping[str, Any]) -> Table:
    """Every method and budget with its measured figures."""
    table = Table(title=f"Top-1 on the real {metrics['split']} split, as a fraction; mean ± standard deviation over seeds")
    for column in ("method", "IPC", "last", "best", "seeds", "W₂ latent", "W₂ decoded"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in metrics["rows"]:
        table.add_row(
            row["method"],
            "all" if row["ipc"] is None else str(row["ipc"]),
            f"{row['top1_mean']:.4f} ± {row['top1_std']:.4f}",
            f"{row['best_mean']:.4f}",
            str(row["seeds"]),
            f"{row['w2_latent']:.4f}",
            f"{row['w2_decoded']:.4f}",
        )
    return table

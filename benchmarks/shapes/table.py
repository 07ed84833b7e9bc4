"""Rows as Markdown: a summary by dimension, what is slow, and a heat map of the grid."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shapes.peers import LLOYD
from benchmarks.shapes.work import AGAIN, Row, Shape, shape_of

COLOUR_RANGE = (1 / 16, 16)  # ratios at the ends of the colour bar


def counted(rows: Iterable[Row]) -> dict[Shape, Row]:
    """For every measured shape the attempt that counts: the faster one, as a slow one counts only if it is slow twice."""
    kept: dict[Shape, Row] = {}
    for row in rows:
        shape = shape_of(row)
        if "ratio" in row and (shape not in kept or row["ratio"] < kept[shape]["ratio"]):
            kept[shape] = row
    return kept


def geometric_mean(values: Iterable[float]) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))


def summary(rows: Iterable[Row]) -> list[str]:
    """The lines of a table by dimension, all shapes last."""
    rows = list(counted(rows).values())
    defaults = any("distortion" in row for row in rows)
    last = "distortion: geometric mean, worst" if defaults else "geometric mean to scikit-learn alone"
    lines = [f"| d | shapes | geometric mean | worst | share slower | {last} |", "|---|---|---|---|---|---|"]
    for low, high in (*_dimensions(rows), (1, None)):
        part = [row for row in rows if low <= row["d"] <= (high or row["d"])]
        worst = max(part, key=lambda row: row["ratio"])
        if defaults:
            values = [row["distortion"] for row in part]
            figure = f"{geometric_mean(values):.4f}, {max(values):.4f}"
        else:
            figure = f"{geometric_mean(max(r for name, r in row['ratios'].items() if name != 'faiss') for row in part):.3f}"
        name = "all" if high is None else f"{low}" if low == high else f"{low} – {high}"
        slower = sum(row["ratio"] > 1 for row in part) / len(part)
        shown = f"{worst['ratio']:.3f} ({shape_of(worst)})"
        mean = geometric_mean(row["ratio"] for row in part)
        lines.append(f"| {name} | {len(part)} | {mean:.3f} | {shown} | {slower:.0%} | {figure} |")
    return lines


def _dimensions(rows: list[Row]) -> list[tuple[int, int | None]]:
    """Each dimension by itself where they are few, as in the grid; doubling ranges otherwise."""
    present = sorted({row["d"] for row in rows})
    if len(present) <= 8:
        return [(d, d) for d in present]
    ranges = [(1, 1), (2, 4), (5, 16), (17, 64), (65, 512)]
    return [(low, high) for low, high in ranges if any(low <= d <= high for d in present)]


def slow(rows: Iterable[Row]) -> list[str]:
    """One line for each shape that was above the goal twice, the worst first."""
    rows = list(rows)
    seen = {(shape_of(row), row["attempt"]) for row in rows}
    above = [(s, row) for s, row in counted(rows).items() if row["ratio"] > AGAIN and (s, 2) in seen]
    above.sort(key=lambda pair: -pair[1]["ratio"])
    return [f"* {shape}: {row['ratio']:.2f} of {row['best']}" for shape, row in above]


def each(rows: Iterable[Row]) -> list[str]:
    """A table with one line a shape, for those drawn at random."""
    lines = ["| shape | ratio to the best | of | seconds | note |", "|---|---|---|---|---|"]
    for shape, row in sorted(counted(rows).items(), key=lambda pair: pair[0].size):
        lines.append(f"| {shape} | {row['ratio']:.3f} | {row['best']} | {row['seconds']['ours']:.3g} | {row.get('note', '')} |")
    return lines


def agreement(rows: Iterable[Row]) -> str:
    """How the distortions compare with scikit-learn's, in a sentence."""
    rows = list(counted(rows).values())
    beyond = [row for row in rows if row["note"]]
    text = f"Distortions agree with scikit-learn's within round-off on {len(rows) - len(beyond)} of {len(rows)} shapes"
    for kind in ("tie", "empty cell", "DISAGREES"):
        if apart := [abs(row["apart"][LLOYD]) for row in beyond if row["note"].startswith(kind)]:
            text += f"; {kind}: {len(apart)}, by {max(apart):.1e} at most"
    return text + "."


def heat_map(rows: Iterable[Row], path: Path) -> None:
    """Ratios in logarithmic colours: a row of panels a dtype, a column a dimension, n × K in each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    shapes = counted(rows)
    ds, dtypes = (sorted({getattr(shape, name) for shape in shapes}) for name in ("d", "dtype"))
    ns, ks = (sorted({getattr(shape, name) for shape in shapes}) for name in ("n", "k"))
    figure = Figure(figsize=(2.1 * len(ds) + 1.6, 2.1 * len(dtypes) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(len(dtypes), len(ds), sharex=True, sharey=True, squeeze=False)
    image: Any = None
    for i, dtype in enumerate(dtypes):
        for j, d in enumerate(ds):
            panel, ratios = panels[i][j], np.full((len(ns), len(ks)), np.nan)
            for shape, row in shapes.items():
                if (shape.dtype, shape.d) == (dtype, d):
                    at = ns.index(shape.n), ks.index(shape.k)
                    ratios[at] = row["ratio"]
                    dark = abs(np.log2(row["ratio"])) > 2
                    text = f"{row['ratio']:.2g}".replace("0.", ".", 1)
                    panel.text(at[1], at[0], text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
            image = panel.imshow(ratios, norm=LogNorm(*COLOUR_RANGE), cmap="RdBu_r", origin="lower", aspect="auto")
            panel.set_facecolor("0.9")
            panel.set_xticks(range(len(ks)), [str(k) for k in ks], fontsize=7)
            panel.set_yticks(range(len(ns)), [f"{n:g}" if n < 1e4 else f"1e{round(np.log10(n))}" for n in ns], fontsize=7)
            panel.set_title(f"d = {d}, {dtype}", fontsize=8)
    for panel in panels[-1]:
        panel.set_xlabel("K", fontsize=8)
    for line in panels:
        line[0].set_ylabel("n", fontsize=8)
    bar = figure.colorbar(image, ax=panels, label="wall time, ours / the best peer", ticks=[1 / 16, 1 / 4, 1, 4, 16])
    bar.ax.set_yticklabels(["1/16", "1/4", "1", "4", "16"])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})

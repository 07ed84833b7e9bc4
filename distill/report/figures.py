"""The report's pictures as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from textwrap import fill
from typing import Any

import matplotlib

matplotlib.use("Agg")  # there may be no screen
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

_COLOURS = {"ddoq": "#c0392b", "uniform": "#2471a3", "random": "#7f8c8d", "nearest": "#27ae60", "full": "#2c3e50"}
_MARKS = {"ddoq": "o", "uniform": "s", "random": "^", "nearest": "D"}


def accuracy(rows: Sequence[Mapping[str, Any]], split: str) -> bytes:
    """Top-1 of the last step against images per class, mean ± standard deviation over seeds; the ceiling as a line.

    A panel per regime of labels.
    """
    regimes = list(dict.fromkeys(row["labels"] for row in rows))
    figure, panels = plt.subplots(
        1,
        len(regimes),
        figsize=(7 if len(regimes) == 1 else 4.5 * len(regimes), 4.5),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    for axes, labels in zip(panels[0], regimes, strict=True):
        _accuracies(axes, [row for row in rows if row["labels"] == labels], _colours(rows))
        if len(regimes) > 1:
            axes.set_title(f"{labels} labels")
    panels[0][0].set_ylabel(f"top-1 on the real {split} split")
    max(panels[0], key=lambda axes: len(axes.get_legend_handles_labels()[1])).legend()  # not every regime has all methods
    return _png(figure)


def comparisons(found: Sequence[Mapping[str, Any]]) -> bytes:
    """A panel per pair of methods, each on its own scale: differences in points, with the interval over seeds thick and the one
    over test images thin; a line at zero.
    """
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in found:
        pairs.setdefault((each["first"], each["second"]), []).append(each)
    several = len({each["labels"] for each in found}) > 1
    heights = [len(rows) + 1.5 for rows in pairs.values()]
    figure, panels = plt.subplots(
        len(pairs), 1, figsize=(7, 0.3 * sum(heights) + 0.5), layout="constrained", squeeze=False, height_ratios=heights
    )
    for axes, ((first, second), rows) in zip(panels[:, 0], pairs.items(), strict=True):
        for row, each in enumerate(rows):
            _difference(axes, row, each)
        budgets = ["all images" if each["ipc"] is None else f"{each['ipc']} per class" for each in rows]
        names = [f"{each['labels']}, {k}" if several else k for each, k in zip(rows, budgets, strict=True)]
        axes.set_yticks(range(len(rows)), names, parse_math=False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.axvline(0, color="black", linewidth=1)
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(f"{first} − {second}", fontsize=10, loc="left", parse_math=False)
    panels[-1, 0].set_xlabel("difference of top-1, percentage points")
    return _png(figure)


def _difference(axes: Any, row: int, each: Mapping[str, Any]) -> None:
    for kind, width in (("images", 1.2), ("seeds", 5)):
        if each[f"{kind}_low"] is not None:
            ends = [100 * each[f"{kind}_low"], 100 * each[f"{kind}_high"]]
            shade = 0.55 if width > 2 else 1
            axes.plot(ends, [row, row], color="#2471a3", linewidth=width, alpha=shade, solid_capstyle="butt")
    axes.plot(100 * each["difference"], row, "o", color="black", markersize=4)


def distances(rows: Sequence[Mapping[str, Any]], split: str) -> bytes:
    """Top-1 against each distance that was measured, a panel per space, a mark per method, budget and regime of labels."""
    shown = [row for row in rows if row["ipc"] is not None]
    spaces = list(dict.fromkeys(space for row in shown for space, value in row["distances"].items() if value is not None))
    regimes = list(dict.fromkeys(row["labels"] for row in shown))
    colours = _colours(shown)
    marks = dict(zip(regimes, "os^D", strict=False))
    size = (1.8 + 4.2 * len(spaces), 4.5)
    figure, panels = plt.subplots(1, len(spaces), figsize=size, layout="constrained", sharey=True, squeeze=False)
    for axes, space in zip(panels[0], spaces, strict=True):
        for row in (row for row in shown if row["distances"][space] is not None):
            at = (row["distances"][space], row["top1_mean"])
            axes.plot(*at, marks[row["labels"]], color=colours[row["method"]])
            axes.annotate(row["ipc"], at, (4, 3), textcoords="offset points", fontsize=7)
        axes.set_xlabel(f"W₂, {space}")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel(f"top-1 on the real {split} split")
    named = [("o", colour, name) for name, colour in colours.items()]
    named += [(mark, "gray", f"{name} labels") for name, mark in marks.items() if len(marks) > 1]
    handles = [Line2D([], [], linestyle="", marker=mark, color=colour, label=name) for mark, colour, name in named]
    panels[0][-1].legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5))
    return _png(figure)


def _accuracies(axes: Any, rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> None:
    for method, series in _by_method(rows).items():
        if series[0]["ipc"] is None:
            axes.axhline(series[0]["top1_mean"], color=colours[method], linestyle="--", label=f"{method} (all images)")
            continue
        ks, means, stds = ([row[key] for row in series] for key in ("ipc", "top1_mean", "top1_std"))
        axes.errorbar(ks, means, stds, label=method, color=colours[method], marker=_MARKS.get(method, "o"), capsize=3)
    _count_axis(axes, rows)


def distortion(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Squared distances in the space of the codes against images per class, mean over classes, both axes logarithmic."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    rows = list({(row["method"], row["ipc"]): row for row in rows}.values())  # the same under all labels
    for method, series in _by_method(rows).items():
        if series[0]["ipc"] is None or series[0]["w2_codes"] is None:
            continue
        ks = [row["ipc"] for row in series]
        axes.plot(
            ks,
            [row["w2_codes"] ** 2 for row in series],
            label=f"{method}: $W_2^2$",
            color=_COLOURS.get(method),
            marker=_MARKS.get(method, "o"),
        )
        if method == "ddoq":
            axes.plot(
                ks, [row["distortion"] for row in series], label="ddoq: distortion", color="black", linestyle=":", linewidth=2
            )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    _count_axis(axes, rows)
    axes.set_ylabel("squared distance in the space of the codes")
    axes.legend()
    return _png(figure)


def weights(by_budget: Mapping[int, Any]) -> bytes:
    """Histograms of the weights relative to equal ones, K w_k, over all classes and seeds."""
    shown = {k: values for k, values in by_budget.items() if k > 1} or dict(by_budget)
    figure, panels = plt.subplots(1, len(shown), figsize=(4 * len(shown), 3.2), layout="constrained", squeeze=False)
    for axes, (k, values) in zip(panels[0], shown.items(), strict=True):
        axes.hist(values, bins=24, color=_COLOURS["ddoq"])
        axes.axvline(1, color="black", linestyle="--", linewidth=1)
        axes.set_title(f"{k} images per class")
        axes.set_xlabel("weight × images per class (equal weights: 1)")
    panels[0][0].set_ylabel("images, all classes and seeds")
    return _png(figure)


def sheet(
    classes: Sequence[tuple[Any, Any]], names: Sequence[str], columns: int = 20, nearest: Sequence[Any] | None = None
) -> bytes:
    """A row per class: its images (K, C, H, W), at most ``columns``, heaviest first, each under its weight in per cent.

    nearest: of each class real images (K, C, H, W) in the order of the others, for a row below.
    """
    width = min(columns, max(len(images) for images, _ in classes))
    rows = 1 if nearest is None else 2
    figure, panels = plt.subplots(rows * len(classes), width, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    texts = []
    for i, (name, (images, masses)) in enumerate(zip(names, classes, strict=True)):
        order = (-masses).argsort(kind="stable")
        row = panels[rows * i]
        _images(row, images[order])
        for axes, k in zip(row, order, strict=False):
            axes.set_title(f"{100 * masses[k]:.0f} %", fontsize=7, pad=2)
        style = {"ha": "right", "va": "center", "fontsize": 9, "parse_math": False, "fontproperties": font_of(name)}
        shown = fill(name, 14) if style["fontproperties"] else f"class {i}"
        texts.append(row[0].text(-0.25, 0.5, shown, transform=row[0].transAxes, **style))
        if nearest is not None:
            below = panels[rows * i + 1]
            _images(below, nearest[i][order])
            below[0].text(
                -0.25, 0.5, "nearest real", ha="right", va="center", fontsize=7, color="#555", transform=below[0].transAxes
            )
    canvas: Any = figure.canvas
    margin = 0.3 + max(text.get_window_extent(canvas.get_renderer()).width for text in texts) / figure.dpi
    inches = margin + 0.8 * width + 0.1
    figure.set_size_inches(inches, 0.98 * rows * len(classes))
    figure.subplots_adjust(left=margin / inches, right=1 - 0.1 / inches, top=0.97, bottom=0.01, wspace=0.12, hspace=0.28)
    return _png(figure)


def _images(row: Any, images: Any) -> None:
    for axes, image in zip(row, images, strict=False):
        axes.imshow(image[0] if len(image) == 1 else image.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255)


@cache
def font_of(name: str) -> font_manager.FontProperties | None:
    """A font of this machine that has every letter of a name, matplotlib's own if it does; None where there is none."""
    own = font_manager.findfont("DejaVu Sans")
    others = sorted(entry.fname for entry in font_manager.fontManager.ttflist if not entry.name.startswith("Last Resort"))
    for path in dict.fromkeys([own, *others]):  # the last resort has boxes for all there is
        known = font_manager.get_font(path).get_charmap()
        if all(ord(letter) in known for letter in name if not letter.isspace()):
            return font_manager.FontProperties(fname=path, size=9)
    return None


def _colours(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The colour of each method, whichever panels it is in."""
    return {name: _COLOURS.get(name, f"C{i % 10}") for i, name in enumerate(dict.fromkeys(row["method"] for row in rows))}


def _by_method(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["ipc"] or 0):
        found.setdefault(row["method"], []).append(row)
    order = [row["method"] for row in rows]
    return {method: found[method] for method in dict.fromkeys(order)}


def _count_axis(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    ticks = sorted({row["ipc"] for row in rows if row["ipc"] is not None})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("images per class")
    axes.grid(alpha=0.3)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    plt.close(figure)
    return file.getvalue()

"""The figures of a run: how much of its slack each claim used, and the curves that limits and rates were read from."""

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from theory_checks.evidence import Curve, Evidence
from theory_checks.trial import Finding

_EDGE = 1e17  # where infinite excesses are drawn
_TICKS = {-1e12: "$-10^{12}$", -1e6: "$-10^6$", 0.0: "0", 1.0: "1", 1e6: "$10^6$", 1e12: "$10^{12}$"}
_HOLDS, _REJECTED = "#2a7f62", "#b3402a"
_COLOURS = (_HOLDS, "#4a6fa5", _REJECTED, "#8a6d3b")


def drawn(findings: Sequence[Finding]) -> dict[str, bytes]:
    """Every figure as a PNG by its name: ``margins``, and one of the claim's name for each that has curves to show."""
    figures = {"margins": margins(findings)}
    for finding in findings:
        curves = _curves(finding)
        if curves:
            figures[finding.claim.name] = panels(finding.claim.name, curves)
    return figures


def margins(findings: Sequence[Finding]) -> bytes:
    r"""A row per claim, its trials at (observed − bound) / slack: true left of 1, rejected right of it."""
    figure, axes = _figure(11.0, 1.6 + 0.3 * len(findings), 1)
    axes = axes[0]
    _excess_axis(axes)
    for row, finding in enumerate(findings):
        label = {"claim": "claim", "control": "false variant"} if row == 0 else {"claim": None, "control": None}
        excesses = _excesses(t.evidence for t in finding.trials)
        axes.plot(excesses, [row] * len(excesses), "o", ms=4, alpha=0.4, mew=0, color=_HOLDS, label=label["claim"])
        rejected = _excesses(t.control for t in finding.trials)
        axes.plot(rejected, [row] * len(rejected), "x", ms=4, alpha=0.5, color=_REJECTED, label=label["control"])
    axes.set_yticks(range(len(findings)), [f.claim.name.replace("_", " ") for f in findings])
    axes.set_ylim(len(findings) - 0.4, -0.6)
    if findings:
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return _png(figure)


def extremes(title: str, nearest: float | None, control: float | None) -> bytes:
    r"""(observed − bound) / slack of one claim: the case nearest to failing, and the false variant nearest to holding."""
    figure, axes = _figure(6.4, 1.8, 1)
    axes = axes[0]
    _excess_axis(axes)
    for row, (excess, marker, colour) in enumerate([(nearest, "o", _HOLDS), (control, "X", _REJECTED)]):
        axes.plot([_clipped(math.inf if excess is None else excess)], [row], marker, ms=7, color=colour)
    axes.set_yticks([0, 1], ["nearest to failing", "false variant"])
    axes.set_ylim(1.6, -0.6)
    axes.set_title(title, fontsize=10)
    return _png(figure)


def panels(name: str, curves: dict[str, Curve]) -> bytes:
    """A panel per kind of law, with the measured lines and the levels that they should converge to."""
    figure, axes = _figure(min(4.2 * len(curves), 12.6), 3.4 * -(-len(curves) // 3), len(curves))
    figure.suptitle(name.replace("_", " "), fontsize=10)
    for ax, (kind, curve) in zip(axes, curves.items(), strict=True):
        for colour, (label, values) in zip(_COLOURS, curve.lines.items(), strict=False):
            ax.plot(curve.x, values, "o-", ms=3.5, lw=1.2, color=colour, label=label)
        for label, level in curve.levels.items():
            ax.axhline(level, color="black", lw=0.8, ls="--")
            ax.annotate(label, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
        if "x" in curve.logs:
            ax.set_xscale("log", base=2)
        if "y" in curve.logs:
            ax.set_yscale("log")
        ax.set_title(kind, fontsize=9)
        ax.set_xlabel(curve.x_label, fontsize=9)
        ax.set_ylabel(curve.y_label, fontsize=9)
        ax.tick_params(which="both", labelsize=8)
        ax.margins(y=0.15)
        if len(curve.lines) > 1:
            ax.legend(fontsize=8, frameon=False)
    return _png(figure)


def _curves(finding: Finding) -> dict[str, Curve]:
    """The first curve of each kind of law, and of each dimension where there are several; six at most."""
    several = len({t.case.dim for t in finding.trials}) > 1
    found: dict[str, Curve] = {}
    for trial in finding.trials:
        if trial.evidence is not None and trial.evidence.curve is not None:
            kind = trial.case.kind + (f", d = {trial.case.dim}" if several else "")
            found.setdefault(kind, trial.evidence.curve)
    return dict(sorted(found.items())[:6])


def _excess_axis(axes: Any) -> None:
    axes.set_xscale("symlog", linthresh=1.0, linscale=2.0)
    axes.set_xlim(-10 * _EDGE, 10 * _EDGE)
    axes.set_xticks(list(_TICKS), list(_TICKS.values()))
    axes.minorticks_off()
    left = [-10 * _EDGE, -1.0, 1.0]  # axvspan adds a width to its left end: 1 is lost beside 1e18
    axes.fill_between(left, 0, 1, transform=axes.get_xaxis_transform(), color=_HOLDS, alpha=0.07, lw=0)
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xlabel("(observed − bound) / slack: a claim holds up to 1")


def _figure(width: float, height: float, count: int) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not at the top: only a run needs it, and it loads for a second
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    columns = min(count, 3)
    axes = [figure.add_subplot(-(-count // columns), columns, i + 1) for i in range(count)]
    for ax in axes:
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, dpi=120, format="png", metadata={"Software": None})
    return png.getvalue()


def _excesses(evidence: Iterable[Evidence | None]) -> list[float]:
    return [_clipped(math.inf if e is None else e.excess) for e in evidence]


def _clipped(excess: float) -> float:
    return max(-_EDGE, min(excess, _EDGE))

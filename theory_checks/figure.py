"""The figure of a run: for every claim how much of its slack was used, and how far beyond it the false variants lie."""

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from theory_checks.evidence import Evidence
from theory_checks.trial import Finding

_EDGE = 1e17  # where excesses without end are drawn
_TICKS = {-1e12: "$-10^{12}$", -1e6: "$-10^6$", 0.0: "0", 1.0: "1", 1e6: "$10^6$", 1e12: "$10^{12}$"}


def margins(findings: Sequence[Finding]) -> bytes:
    r"""A PNG: a row a claim, its trials at (observed − bound) / slack: true left of 1, rejected right of it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not at the top: only a run needs it, and it loads for a second
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(9.5, 1.6 + 0.36 * len(findings)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xscale("symlog", linthresh=1.0, linscale=2.0)
    axes.set_xlim(-10 * _EDGE, 10 * _EDGE)
    axes.set_xticks(list(_TICKS), list(_TICKS.values()))
    axes.minorticks_off()
    axes.fill_between([-10 * _EDGE, -1.0, 1.0], -1, len(findings), color="#2a7f62", alpha=0.07, lw=0)
    axes.axvline(1, color="black", lw=0.8)
    for row, finding in enumerate(findings):
        label = {"claim": "claim", "control": "false variant"} if row == 0 else {"claim": None, "control": None}
        excesses = _drawn(t.evidence for t in finding.trials)
        axes.plot(excesses, [row] * len(excesses), "o", ms=4, alpha=0.5, mew=0, color="#2a7f62", label=label["claim"])
        rejected = _drawn(t.control for t in finding.trials)
        axes.plot(rejected, [row] * len(rejected), "x", ms=4, alpha=0.6, color="#b3402a", label=label["control"])
    axes.set_yticks(range(len(findings)), [f.claim.name.replace("_", " ") for f in findings])
    axes.set_ylim(len(findings) - 0.4, -0.6)
    axes.set_xlabel("(observed − bound) / slack: a claim holds up to 1")
    if findings:
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    png = io.BytesIO()
    figure.savefig(png, dpi=150, format="png")
    return png.getvalue()


def _drawn(evidence: Iterable[Evidence | None]) -> list[float]:
    excesses = [math.inf if e is None else e.excess for e in evidence]
    return [max(-_EDGE, min(x, _EDGE)) for x in excesses]

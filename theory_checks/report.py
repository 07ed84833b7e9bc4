"""What a run leaves behind: report.json and report.md, each written whole or not at all."""

import json
import math
import os
import platform
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from theory_checks.evidence import Evidence
from theory_checks.trial import Finding, Trial, Verdict


@dataclass(frozen=True)
class Report:
    """The findings of a run, with what they depend on."""

    profile: str
    seed: int
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Whether every claim holds and every false variant was rejected."""
        return all(f.verdict is Verdict.HOLDS for f in self.findings)


def write(report: Report, out: Path, figure: bytes) -> None:
    """report.json, report.md and margins.png into the folder ``out``, made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / "margins.png", figure)
    _replace(out / "report.md", as_markdown(report).encode())
    _replace(out / "report.json", (json.dumps(as_dict(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def as_dict(report: Report) -> dict[str, Any]:
    """The report as JSON has it; numbers that are not finite become null."""
    return {
        "holds": report.holds,
        "profile": report.profile,
        "seed": report.seed,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "scipy", "POT")}},
        "claims": [_finding(f) for f in report.findings],
    }


def as_markdown(report: Report) -> str:
    """A page: the table, the figure, and for every claim the case that came nearest to failing."""
    held = sum(f.verdict is Verdict.HOLDS for f in report.findings)
    rows = [
        f"| {_cell(f.claim.statement)} | {f.claim.reference} | {_cell(f.claim.laws.words)}; {len(f.trials)} cases "
        f"| {margin(f)} | {f.verdict.value} |"
        for f in report.findings
    ]
    lines = [
        "# Theory checks",
        "",
        f"{held} of {len(report.findings)} claims hold, each with its false variant rejected. "
        f"Profile `{report.profile}`, seed {report.seed}.",
        "",
        "| statement | source | laws | worst margin | verdict |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "A claim is observed ≤ bound + slack; the margin is bound + slack − observed, in the claim's own units. The figure",
        "compares them by the excess (observed − bound) / slack: claims lie left of 1, false variants right of it.",
        "",
        "![margins](margins.png)",
        "",
        "## Nearest to failing",
        "",
    ]
    for f in report.findings:
        lines += [f"* `{f.claim.name}`: {_nearest(f.worst, control=False)}"]
        lines += [f"  False variant: {_nearest(f.weakest_control, control=True)}"]
    return "\n".join(lines) + "\n"


def margin(finding: Finding) -> str:
    """The worst margin of a finding, to show."""
    trial = finding.worst
    return "none" if trial is None or trial.evidence is None else f"{trial.evidence.margin:.2g}"


def _nearest(trial: Trial | None, *, control: bool) -> str:
    if trial is None:
        return "none."
    c = trial.case
    law = f"{c.kind}, d = {c.dim}, size {c.size}, K = {c.k}, seed {c.seed}"
    evidence = trial.control if control else trial.evidence
    if evidence is None:
        return f"{trial.error or 'none'} ({law})."
    return f"observed {evidence.observed:.6g}, bound {evidence.bound:.6g}, slack {evidence.slack:.2g} ({law})."


def _finding(finding: Finding) -> dict[str, Any]:
    claim, near, control = finding.claim, finding.worst, finding.weakest_control
    return {
        "name": claim.name,
        "statement": claim.statement,
        "reference": claim.reference,
        "laws": claim.laws.words,
        "cases": dict(Counter(t.case.kind for t in finding.trials)),
        "verdict": finding.verdict.name.lower(),
        "seconds": round(finding.seconds, 3),
        "worst": None if near is None else {"case": asdict(near.case), "error": near.error, **_numbers(near.evidence)},
        "control": None if control is None else {"case": asdict(control.case), **_numbers(control.control)},
    }


def _numbers(evidence: Evidence | None) -> dict[str, float | None]:
    names = ("observed", "bound", "slack", "margin", "excess")
    values = {name: math.nan if evidence is None else float(getattr(evidence, name)) for name in names}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _cell(latex: str) -> str:
    """LaTeX without the bars that would end a cell of a Markdown table."""
    return latex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

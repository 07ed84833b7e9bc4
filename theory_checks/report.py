"""What a run leaves behind: report.json, report.md and figures, each written whole or not at all."""

import json
import math
import os
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from theory_checks.chance import FALSE_ALARMS, false_alarms
from theory_checks.evidence import Evidence
from theory_checks.trial import Finding, Trial, Verdict


@dataclass(frozen=True)
class Report:
    """The findings of a run, with what they depend on. seconds: wall time of the run."""

    profile: str
    seed: int
    findings: tuple[Finding, ...]
    seconds: float = 0.0
    processes: int = 1
    made: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def holds(self) -> bool:
        """Whether every claim holds and every false variant was rejected."""
        return all(f.verdict is Verdict.HOLDS for f in self.findings)

    @property
    def false_alarms(self) -> float:
        """The probability, at most, that this run refused a true claim by chance."""
        return false_alarms(len(f.trials) for f in self.findings if f.claim.random)


def write(report: Report, out: Path, figures: Mapping[str, bytes]) -> None:
    """Write report.json, report.md and the figures into the folder ``out``, created if missing."""
    out.mkdir(parents=True, exist_ok=True)
    for name, png in figures.items():
        replace(out / f"{name}.png", png)
    replace(out / "report.md", as_markdown(report, figures).encode())
    replace(out / "report.json", _json(report))


def write_record(report: Report, record: Path, figures: Mapping[str, bytes]) -> None:
    """The report as the documentation reads it: a JSON file, and the figures in a folder of its name beside it."""
    folder = record.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in figures.items():
        replace(folder / f"{name}.png", png)
    replace(record, _json(report))


def as_dict(report: Report) -> dict[str, Any]:
    """The report as JSON has it; numbers that are not finite become null."""
    return {
        "holds": report.holds,
        "profile": report.profile,
        "seed": report.seed,
        "made": report.made,
        "machine": machine(),
        "seconds": round(report.seconds, 1),
        "processes": report.processes,
        "false_alarms": report.false_alarms,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "scipy", "numba")}},
        "claims": [_finding(f) for f in report.findings],
    }


def as_markdown(report: Report, figures: Mapping[str, bytes]) -> str:
    """A page: the table, the figures, and for every claim the case that came nearest to failing."""
    held = sum(f.verdict is Verdict.HOLDS for f in report.findings)
    cases = sum(len(f.trials) for f in report.findings)
    rows = [
        f"| {_cell(f.claim.statement)} | {f.claim.reference} | {_cell(f.claim.laws.words)}; {len(f.trials)} cases "
        f"| {margin(f)} | {f.verdict.value} |"
        for f in report.findings
    ]
    command = f"python -m theory_checks run --profile {report.profile} --seed {report.seed}"
    lines = [
        "# Theorems, checked in numbers",
        "",
        f"{held} of {len(report.findings)} claims hold on {cases} cases, each with its false variant rejected. "
        f"Made by `{command}` on "
        f"{report.made}: {machine()}, {report.processes} process{'es' * (report.processes > 1)}, "
        f"{report.seconds:.0f} s by the clock, "
        f"{sum(f.seconds for f in report.findings):.0f} s of work. By chance a run of this profile refuses a true "
        f"claim with probability at most "
        f"{report.false_alarms:.1e} (allowed: {FALSE_ALARMS:g}).",
        "",
        "| statement | source | laws | worst margin | verdict |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "A claim is observed ≤ bound + slack; the margin is bound + slack − observed, in the claim's own units. "
        "How each slack is derived "
        "stands in the claim's docstring. The figure compares them by the excess (observed − bound) / slack: "
        "claims lie left of 1, false "
        "variants right of it.",
        "",
        "![margins](margins.png)",
        "",
        *(f"![{name.replace('_', ' ')}]({name}.png)\n" for name in figures if name != "margins"),
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


def machine() -> str:
    """The processor and how many of them this process may use, in words."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    named = [line.split(":", 1)[1].strip() for line in _cpuinfo().splitlines() if line.startswith("model name")]
    return f"{usable} × {named[0] if named else platform.processor() or platform.machine()}"


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _json(report: Report) -> bytes:
    return (json.dumps(as_dict(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def _nearest(trial: Trial | None, *, control: bool) -> str:
    if trial is None:
        return "none."
    evidence = trial.control if control else trial.evidence
    if evidence is None:
        return f"{trial.error or 'none'} ({trial.case})."
    return f"observed {evidence.observed:.6g}, bound {evidence.bound:.6g}, slack {evidence.slack:.2g} ({trial.case})."


def _finding(finding: Finding) -> dict[str, Any]:
    claim, near, control = finding.claim, finding.worst, finding.weakest_control
    return {
        "name": claim.name,
        "topic": claim.topic,
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

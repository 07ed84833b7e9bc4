"""``python -m theory_checks list | run``: check every claim in numbers, and write a report."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from theory_checks import CLAIMS
from theory_checks.console import progress, show, tell
from theory_checks.figure import margins
from theory_checks.report import Report, write
from theory_checks.trial import ROUNDS, Finding, Verdict, examine

_ABOUT = """\
Theorems of optimal quantization, each checked in numbers on random laws, and each with a
variant known to be false that the same check must reject.

exit status: 0 all claims hold, 1 a claim fails or a false variant passes, 2 misuse."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Misuse leaves by ``SystemExit(2)``."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "list":
        for claim in CLAIMS.values():
            print(f"{claim.name}\n    {claim.statement}\n    {claim.reference}; {claim.laws.words}")
        return 0
    return _run(list(options.claim or CLAIMS), options.profile, options.seed, options.out)


def _run(names: list[str], profile: str, seed: int, out: Path) -> int:
    console = Console()
    findings: list[Finding] = []
    with progress(console, len(names)) as following:
        for name in names:
            following(name)
            findings.append(examine(CLAIMS[name], profile=profile, seed=seed))
            tell(console, findings[-1])
    show(console, findings)
    report = Report(profile, seed, tuple(findings))
    write(report, out, margins(findings))
    for finding in findings:
        if finding.verdict is not Verdict.HOLDS:
            print(_complaint(finding), file=sys.stderr)
    held = sum(f.verdict is Verdict.HOLDS for f in findings)
    print(f"{held} of {len(findings)} claims hold, their false variants rejected. Report: {out / 'report.md'}")
    return 0 if report.holds else 1


def _complaint(finding: Finding) -> str:
    near = finding.weakest_control if finding.verdict is Verdict.CONTROL_HELD else finding.worst
    what = (
        ""
        if near is None
        else f": {near.error or (near.control if near is finding.weakest_control else near.evidence)}, {near.case}"
    )
    return f"{finding.claim.name} {finding.verdict.value}{what}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m theory_checks",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{list,run}")
    commands.add_parser("list", help="the claims: name, statement, source, laws", allow_abbrev=False)
    run = commands.add_parser(
        "run", help="check them and write a report", description="Check the claims and write a report.", allow_abbrev=False
    )
    run.add_argument(
        "--profile",
        choices=tuple(ROUNDS),
        default="quick",
        help="how many random laws: "
        + ", ".join(f"{name} {rounds} of every kind" for name, rounds in ROUNDS.items())
        + " (default: %(default)s)",
    )
    run.add_argument(
        "--claim", action="append", type=_claim_name, metavar="NAME", help="only this claim; may be given again (default: all)"
    )
    run.add_argument("--seed", type=_seed, default=0, help="an integer ≥ 0; equal seeds give equal cases (default: %(default)s)")
    run.add_argument(
        "--out",
        type=_folder,
        default=Path("runs/theory_checks"),
        metavar="DIR",
        help="folder for report.md, report.json and margins.png (default: %(default)s)",
    )
    return parser


def _claim_name(text: str) -> str:
    if text in CLAIMS:
        return text
    near = difflib.get_close_matches(text, CLAIMS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "`list` names them all"
    raise argparse.ArgumentTypeError(f"no claim is named {text!r}; {hint}")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"the seed must be an integer ≥ 0; received {text!r}")
    return int(text)


def _folder(text: str) -> Path:
    path = Path(text)
    blocking = next((p for p in (path, *path.parents) if p.exists()), None)
    if blocking is not None and not (blocking.is_dir() and os.access(blocking, os.W_OK)):
        raise argparse.ArgumentTypeError(f"{text!r} can't be a folder to write into: {blocking} is no writable folder")
    return path


if __name__ == "__main__":
    os.environ.setdefault("POT_BACKEND_DISABLE_PYTORCH", "1")  # POT would load torch, which nothing here needs
    sys.exit(main())

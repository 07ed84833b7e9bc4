"""``python -m theory_checks list | run``: check every claim in numbers, and write a report."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from theory_checks import CLAIMS
from theory_checks.claim import PROFILES
from theory_checks.figures import drawn
from theory_checks.report import Report, write, write_record
from theory_checks.trial import Finding, Verdict, examine

_NEEDED = [name for name in ("rich", "matplotlib") if find_spec(name) is None]
if _NEEDED:  # before any work: matplotlib is imported only when a run is over
    sys.exit(f"python -m theory_checks needs {' and '.join(_NEEDED)}: pip install 'optimal-quantization[theory]'")

from rich.console import Console  # noqa: E402

from theory_checks.console import progress, show, tell  # noqa: E402

_ABOUT = """\
Theorems of optimal quantization, each checked in numbers on random laws, and each with a
variant known to be false that the same check must reject.

exit status: 0 all claims hold, 1 a claim fails or a false variant passes, 2 misuse."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Misuse leaves by ``SystemExit(2)``."""
    options = _parser().parse_args(arguments)
    if options.command == "list":
        for claim in CLAIMS.values():
            print(f"{claim.name}\n    {claim.statement}\n    {claim.reference}; {claim.laws.words}")
        return 0
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    console, started = Console(), perf_counter()
    names = list(dict.fromkeys(options.claim or CLAIMS))
    findings: list[Finding] = []
    with progress(console, sum(CLAIMS[name].effort.cases(options.profile) for name in names)) as done:
        for finding in examine(names, profile=options.profile, seed=options.seed, processes=options.processes, done=done):
            findings.append(finding)
            tell(console, finding)
    show(console, findings)
    report = Report(options.profile, options.seed, tuple(findings), perf_counter() - started, options.processes)
    figures = drawn(findings)
    write(report, options.out, figures)
    if options.write is not None:
        write_record(report, options.write, figures)
    for finding in findings:
        if finding.verdict is not Verdict.HOLDS:
            print(_complaint(finding, options.profile, options.seed), file=sys.stderr)
    held = sum(f.verdict is Verdict.HOLDS for f in findings)
    print(f"{held} of {len(findings)} claims hold, their false variants rejected. Report: {options.out / 'report.md'}")
    return 0 if report.holds else 1


def _complaint(finding: Finding, profile: str, seed: int) -> str:
    control = finding.verdict is Verdict.CONTROL_HELD
    near = finding.weakest_control if control else finding.worst
    what = "" if near is None else f": {near.error or (near.control if control else near.evidence)} on {near.case}"
    again = f"python -m theory_checks run --profile {profile} --claim {finding.claim.name} --seed {seed}"
    return f"{finding.claim.name} {finding.verdict.value}{what}\n    again: {again}"


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
        choices=tuple(PROFILES),
        default="quick",
        help="; ".join(f"{name}: {words}" for name, words in PROFILES.items()) + " (default: %(default)s)",
    )
    run.add_argument(
        "--claim", action="append", type=_claim_name, metavar="NAME", help="only this claim; may be given again (default: all)"
    )
    run.add_argument("--seed", type=_seed, default=0, help="an integer ≥ 0; equal seeds give equal cases (default: %(default)s)")
    run.add_argument(
        "--out",
        type=_folder,
        default="runs/theory_checks",  # a string, so that it is checked like any other folder
        metavar="DIR",
        help="folder for report.md, report.json and the figures (default: %(default)s)",
    )
    run.add_argument(
        "--processes",
        type=_processes,
        default=min(2, os.cpu_count() or 1),
        metavar="N",
        help="processes that share the cases; no result depends on it (default: %(default)s)",
    )
    run.add_argument(
        "--write", type=_record, metavar="FILE", help="what the documentation shows too, such as docs/results/theorems.json"
    )
    return parser


def _claim_name(text: str) -> str:
    if text in CLAIMS:
        return text
    near = difflib.get_close_matches(text, CLAIMS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise argparse.ArgumentTypeError(f"no claim is named {text!r}; {hint}There are: {', '.join(CLAIMS)}")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"the seed must be an integer ≥ 0; received {text!r}")
    return int(text)


def _processes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"the number of processes must be an integer from 1 to 64; received {text!r}")
    return int(text)


def _folder(text: str) -> Path:
    path = Path(text)
    blocking = next((p for p in (path, *path.parents) if p.exists()), None)
    if blocking is not None and not (blocking.is_dir() and os.access(blocking, os.W_OK)):
        raise argparse.ArgumentTypeError(f"{text!r} can't be a folder to write into: {blocking} is no writable folder")
    return path


def _record(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".json" or path.is_dir():
        raise argparse.ArgumentTypeError(f"the record must be a file named *.json; received {text!r}")
    _folder(str(path.parent))
    return path


if __name__ == "__main__":
    sys.exit(main())

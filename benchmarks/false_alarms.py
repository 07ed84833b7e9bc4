"""Quick runs of ``theory_checks`` with fresh seeds: how many of them raise an alarm.

    python -m benchmarks.false_alarms [--runs 20] [--first-seed 1000] [--processes 2]

Exit status 1 if any does.
"""

import argparse
import sys
from statistics import median
from time import perf_counter


def main() -> int:
    from theory_checks import CLAIMS
    from theory_checks.trial import Verdict, examine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    alarms, times = 0, []
    for seed in range(options.first_seed, options.first_seed + options.runs):
        started = perf_counter()
        findings = list(examine(list(CLAIMS), profile="quick", seed=seed, processes=options.processes))
        times.append(perf_counter() - started)
        refused = [f for f in findings if f.verdict is not Verdict.HOLDS]
        alarms += bool(refused)
        told = "; ".join(f"{f.claim.name} {f.verdict.value} on {f.worst.case if f.worst else 'no case'}" for f in refused)
        print(f"seed {seed}: {len(findings)} claims in {times[-1]:.0f} s, {told or 'no alarm'}", flush=True)
    print(f"{alarms} of {options.runs} runs raised an alarm; median {median(times):.0f} s")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())

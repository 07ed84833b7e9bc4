r"""Optimal grids of the standard Gaussian N(0, I_d), each with a certificate of how good it is.

    python -m benchmarks.gaussian_grids --dim 3 --codes 10 50 100 --out grids/

writes for every K a grid, gaussian-d3-k10.npz (points and weights: quantization.DiscreteMeasure.load reads it), and beside it a
manifest, gaussian-d3-k10.json: the distortion E min_k |X - x_k|^2 with its confidence interval, the stationarity residual,
options, seeds, versions and wall time. For another Gaussian N(m, C) with C = A A^T take A x_k + m, with the same weights (optimal
again where A is a multiple of a rotation; else a good start).

How: d = 1 and 2 by the package's default, exact cells; d = 2 by the best of several searches. d >= 3 in four stages: several
searches by CLVQ with large steps (they leave poor optima that Lloyd stays in), each polished by Lloyd on a randomized quasi-Monte
Carlo sample; the best is refined by Lloyd on a larger sample and by averaged CLVQ on fresh draws; the distortion and the weights
are measured on draws that no other stage has seen.

Run it again to resume: grids that are done with the same options are skipped, a changed or damaged file is made again. Files
appear whole or not at all. --table prints what lies in --out as Markdown, and makes nothing.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from quantization.grids.gaussian import METHOD, SearchEffort, find_grid

Say = Callable[[str], None]


def make(dim: int, k: int, folder: Path, effort: SearchEffort, seed: int = 0, say: Say = lambda stage: None) -> bool:
    """Write the grid and its manifest into ``folder``, unless they are there; whether there was anything to do."""
    path, manifest = folder / f"gaussian-d{dim}-k{k}.npz", folder / f"gaussian-d{dim}-k{k}.json"
    options = {"method": METHOD, "dim": dim, "codes": k, "seed": seed, **asdict(effort)}
    if _is_done(path, manifest, options):
        return False
    began = time.perf_counter()
    made = find_grid(dim, k, effort, seed, say=say)
    seconds = time.perf_counter() - began
    folder.mkdir(parents=True, exist_ok=True)
    made.measure.save(path)
    estimate = made.distortion
    about = {
        "options": options,
        "distortion": {**asdict(estimate), "confidence": 0.95, "exact": estimate.standard_error == 0},
        "stationarity": made.stationarity,
        "solver": made.method,
        "seconds": round(seconds, 2),
        "sha256": _digest(path),
        "made": time.strftime("%Y-%m-%d"),
        "versions": {name: version(name) for name in ("optimal-quantization", "numpy", "scipy")}
        | {"python": platform.python_version()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    partial = manifest.with_name(f".{manifest.name}.{os.getpid()}")
    partial.write_text(json.dumps(about, indent=2) + "\n")
    partial.replace(manifest)  # last: a manifest vouches for a grid that is there
    return True


def _is_done(path: Path, manifest: Path, options: dict[str, Any]) -> bool:
    try:
        about = json.loads(manifest.read_text())
        return bool(about["options"] == options and about["sha256"] == _digest(path))
    except (OSError, ValueError, KeyError):
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bounds(dim: int, k: int) -> tuple[float, float]:
    r"""What D_K of N(0, I_d) lies between: $d K^{-2/d}$ (Shannon's lower bound) and what simple constructions reach.

    Those are the regular simplex in the first K − 1 ≤ d coordinates, and products of one-dimensional two-point grids.
    """
    lower = dim * k ** (-2 / dim)
    halved = min(dim, int(np.log2(k)))
    products = dim - halved * 2 / np.pi
    if not 2 <= k <= dim + 1:
        return lower, products
    x, w = np.polynomial.legendre.leggauss(200)
    x, w = 10 * x, 10 * w
    from scipy.stats import norm

    greatest = float(w @ (x * k * norm.pdf(x) * norm.cdf(x) ** (k - 1)))  # E max of K independent normals
    return lower, min(products, dim - k / (k - 1) * greatest**2)


def table(folder: Path) -> str:
    """The grids of a folder as a Markdown table, by dimension and size."""
    manifests = [json.loads(path.read_text()) for path in folder.glob("gaussian-d*-k*.json")]
    rows = ["| d | K | distortion | 95 % interval | lower bound | simple construction | residual | seconds |", "|" + "---|" * 8]
    for about in sorted(manifests, key=lambda m: (m["options"]["dim"], m["options"]["codes"])):
        dim, k, found = about["options"]["dim"], about["options"]["codes"], about["distortion"]
        low, high = bounds(dim, k)
        shown = "exact" if found["exact"] else f"± {(found['high'] - found['low']) / 2:.1e}"
        digits = 12 if found["exact"] else 6
        rows.append(
            f"| {dim} | {k} | {found['value']:.{digits}f} | {shown} | {low:.4g} | {high:.4f} | {about['stationarity']:.1e} "
            f"| {about['seconds']:.1f} |"
        )
    return "\n".join(rows)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, bool], None]]:
    """A function that shows what is being done, and whether a grid is finished: a bar where rich and a terminal are there."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ModuleNotFoundError:
        Progress = None
    if Progress is None or not sys.stderr.isatty():

        def line(text: str, finished: bool) -> None:
            print(text, file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda text, finished: progress.update(task, description=text, advance=int(finished))


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of 1 or more; received {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gaussian_grids", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = SearchEffort()
    parser.add_argument("--dim", type=_positive, nargs="+", default=[1], metavar="D", help="dimensions; any, meant for 1 to 10")
    parser.add_argument("--codes", type=_positive, nargs="+", default=[10], metavar="K", help="sizes of the grids")
    parser.add_argument("--out", type=Path, default=Path("grids"), metavar="DIR", help="where grids and manifests go (grids/)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="an integer ≥ 0; equal seeds give equal grids (0)")
    parser.add_argument(
        "--restarts", type=_positive, default=usual.restarts, metavar="N",
        help=f"searches for every grid ({usual.restarts}); more find better optima, most of all for K of 50 and above",
    )  # fmt: skip
    parser.add_argument("--search", type=_positive, default=usual.search, metavar="N", help=f"draws of each ({usual.search})")
    parser.add_argument("--points", type=_positive, default=usual.points, metavar="N", help=f"Lloyd's sample ({usual.points})")
    parser.add_argument("--refine", type=_positive, default=usual.refine, metavar="N", help=f"draws of CLVQ ({usual.refine})")
    parser.add_argument(
        "--certify", type=_positive, default=usual.certify, metavar="N",
        help=f"draws that measure the result ({usual.certify}); the interval shrinks faster than one over their root",
    )  # fmt: skip
    parser.add_argument("--table", action="store_true", help="print the grids of --out as Markdown, and make none")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    if options.table:
        print(table(options.out))
        return
    if options.seed < 0:
        _parser().error(f"--seed must be 0 or more; received {options.seed}")
    effort = SearchEffort(options.restarts, options.search, options.points, options.refine, options.certify)
    wanted = [(dim, k) for dim in options.dim for k in options.codes]
    with _progress(len(wanted)) as show:
        for dim, k in wanted:
            name = f"d = {dim}, K = {k}"
            made = make(dim, k, options.out, effort, options.seed, lambda stage, name=name: show(f"{name}: {stage}", False))
            show(f"{name}: {'done' if made else 'there already'}", True)


if __name__ == "__main__":
    main()

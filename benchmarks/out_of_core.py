"""Lloyd's algorithm on a file that no memory need hold: `python -m benchmarks.out_of_core --gigabytes 20`.

Writes so many GB of weighted points to the folder, which must have three times as much free, and deletes them in the end.
Measured are the rate at which this machine reads the file (by as many threads, 4 MB at a time, and does nothing with it) and that
of a step of ``Lloyd`` on it, both with an empty page cache and with what the steps before left there; the rate of the same
arithmetic on 64 MB of the points in memory; the peak of anonymous memory; whether pools of processes get the same bits. The share
is of whichever of the two rates is the lower, which binds. Linux alone.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import quantization as qz
from quantization.shards import Executor
from quantization.threads import available, parallel_map

_PIECE, _GIGABYTE, _NEEDED = 2**22, 10**9, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--codes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4], help="sizes of pools, beside threads")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    free, needed = shutil.disk_usage(options.folder).free / _GIGABYTE, _NEEDED * options.gigabytes
    if free < needed:
        parser.error(f"{options.folder} has {free:.0f} GB free; {options.gigabytes:g} GB need {needed:.0f}")
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        points, weights = write(Path(place), options.gigabytes, options.dim)
        rows = [row for k in options.codes for row in measure(points, weights, k, options.rounds, options.processes)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print(
        "| K | who | page cache | file read, GB/s | arithmetic, GB/s | a step, GB/s | share | anonymous memory, MB | same bits |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.codes} | {row.who} | {row.cache} | {row.read:.2f} | {row.arithmetic:.2f} | {row.step:.2f} | "
            f"{row.share:.0%} | {row.anonymous / 1e6:.0f} | {row.same} |"
        )


@dataclass(frozen=True)
class Row:
    """Rates in GB/s, medians of the rounds; the share is that of a step in the lower of the other two, round by round."""

    codes: int
    who: str
    cache: str
    read: float
    arithmetic: float
    step: float
    share: float
    anonymous: int
    same: bool


def write(folder: Path, gigabytes: float, dim: int) -> tuple[Path, Path]:
    """Points about eight centres in float32, and weights, in two files of so many GB together."""
    n, points, weights = int(gigabytes * _GIGABYTE / (4 * dim + 4)), folder / "points.npy", folder / "weights.npy"
    x = np.lib.format.open_memmap(points, "w+", np.float32, (n, dim))
    w = np.lib.format.open_memmap(weights, "w+", np.float32, (n,))
    rng = np.random.default_rng(0)
    some = rng.standard_normal((2**20, dim), dtype=np.float32) + 4 * rng.integers(2, size=(2**20, 1)).astype(np.float32)
    for start in range(0, n, len(some)):
        stop = min(start + len(some), n)
        x[start:stop] = some[: stop - start] + np.float32(start // len(some) % 8) / 2
        w[start:stop] = rng.random(stop - start, dtype=np.float32)
    x.flush()
    w.flush()
    return points, weights


def measure(points: Path, weights: Path, k: int, rounds: int, processes: list[int]) -> list[Row]:
    """A row for threads with and without the page cache, and one for each pool."""
    size, x = points.stat().st_size + weights.stat().st_size, np.load(points, mmap_mode="r")
    codes = np.array(x[np.arange(k) * (len(x) // k)])
    first = _answer(qz.Shards(points, weights), codes)[1]

    def row(who: str, cache: str, executor: Executor | None) -> Row:
        law, found, same = qz.Shards(points, weights, executor=executor), list[tuple[float, float, float]](), True
        _arithmetic_rate(x, codes, executor)  # the pool has started, and has compiled what it needs
        peaks = list[int]()
        for _ in range(rounds):
            read, arithmetic = _read_rate([points, weights], cache == "empty"), _arithmetic_rate(x, codes, executor)
            if cache == "empty":
                forget([points, weights])
            with peak_of_anonymous_memory() as peak:
                took, bits = _answer(law, codes)
            peaks += peak
            found.append((read, arithmetic, 2 * size / took / _GIGABYTE))
            same &= bits == first
        share = np.median([step / min(read, arithmetic) for read, arithmetic, step in found])
        read, arithmetic, step = (float(np.median(rates)) for rates in zip(*found, strict=True))
        return Row(k, who, cache, read, arithmetic, step, float(share), max(peaks), same)

    rows = [row(f"{available()} threads", cache, None) for cache in ("empty", "as left")]
    for count in processes:
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
            rows.append(row(f"{count} processes", "as left", pool))
    return rows


def _answer(law: qz.Shards, codes: np.ndarray) -> tuple[float, bytes]:
    """Seconds of one step, which passes over the file twice, and the bits of its answer."""
    begun = time.perf_counter()
    answer = qz.quantize(law, len(codes), init=codes, solver=qz.Lloyd(rtol=0), max_iter=1, rng=0)
    return time.perf_counter() - begun, answer.points.tobytes() + answer.trace.distortion.tobytes()


def _arithmetic_rate(x: np.ndarray, codes: np.ndarray, executor: Executor | None) -> float:
    """GB a second of a pass over points in memory, by threads; of a pool over as much of the file, which the page cache has."""
    rows = min(len(x), 2**26 // (4 * x.shape[1]))
    law = qz.Shards(np.array(x[:rows]) if executor is None else x[:rows], executor=executor)
    begun = time.perf_counter()
    qz.distortion(law, codes)
    return law.size * 4 * x.shape[1] / (time.perf_counter() - begun) / _GIGABYTE


def _read_rate(files: list[Path], cold: bool) -> float:
    """GB a second at which as many threads as Lloyd has read the files."""
    if cold:
        forget(files)
    pieces = [(file, start) for file in files for start in range(0, file.stat().st_size, 16 * _PIECE)]
    begun = time.perf_counter()

    def read(i: int) -> int:
        file, start = pieces[i]
        buffer, total = bytearray(_PIECE), 0
        with file.open("rb", buffering=0) as stream:
            stream.seek(start)
            while total < 16 * _PIECE and (got := stream.readinto(buffer)):
                total += got
        return total

    return sum(parallel_map(read, len(pieces))) / (time.perf_counter() - begun) / _GIGABYTE


def forget(files: list[Path]) -> None:
    """Takes the files out of the page cache."""
    for file in files:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def peak_of_anonymous_memory() -> Iterator[list[int]]:
    """The most, in bytes, that this process and each of its children had of it, looked at now and then."""
    peaks, stop = dict[str, int](), threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            for pid in [str(os.getpid()), *Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]:
                peaks[pid] = max(peaks.get(pid, 0), anonymous_memory(pid))

    thread, found = threading.Thread(target=look), list[int]()
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        found += peaks.values() or [anonymous_memory("self")]


def anonymous_memory(pid: str) -> int:
    """RssAnon in bytes; 0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()

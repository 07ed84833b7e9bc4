"""Which shapes are measured, what data they get, the rows that a run leaves and the time it may take."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Row = dict[str, Any]

DTYPES = ("float32", "float64")
FULL = 2e9  # n·d·K up to which a shape gets 20 steps and 5 rounds
SAMPLE_MOST = 2e10  # n·d·K of the largest random shape: half a minute for everyone on two cores
AGAIN = 1.15  # a ratio above this is measured a second time
MEMORY_SHARE = 0.6  # of the free memory, for the data and the peers' copies
ELKAN_BYTES = 2e9  # of the bounds of scikit-learn's elkan, n·K numbers
SIDES = 4  # ours, scikit-learn lloyd and elkan, faiss
CHUNK = 2**22  # entries of a block of temporary numbers


@dataclass(frozen=True)
class Shape:
    """n points in dimension d, K codes, and what kind of data: ``data`` is "normal" or "blobs"."""

    n: int
    d: int
    k: int
    dtype: str
    weighted: bool
    data: str

    def __str__(self) -> str:
        return f"{self.n:,} × {self.d}, K = {self.k}, {self.dtype}, {self.data}{', weighted' * self.weighted}"

    @property
    def size(self) -> int:
        return self.n * self.d * self.k

    @property
    def full(self) -> bool:
        """Whether it is measured in several rounds of 20 steps; once with 3 steps otherwise."""
        return self.size <= FULL

    @property
    def steps(self) -> int:
        return 20 if self.full else 3

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    @property
    def elkan(self) -> bool:
        return self.n * self.k * self.itemsize < ELKAN_BYTES

    def bytes(self) -> int:
        """The data, scikit-learn's centred copy of them, the bounds of its elkan, and blocks of temporary numbers."""
        return 2 * self.n * self.d * self.itemsize + self.elkan * self.n * self.k * self.itemsize + 4 * 8 * CHUNK

    def expected_seconds(self) -> float:
        """Pessimistic: everyone at 10 Gflop/s and the warm-up, one round. Thin shapes cost as much as d = 8, K = 16."""
        work = 2 * self.n * max(self.d, 8) * max(self.k, 16) * self.steps
        return (SIDES + 1) * (0.3 + work / 1e10)


def grid() -> list[Shape]:
    """The grid as far as 10 K ≤ n, the small shapes first. What data a shape gets follows from its digits alone."""
    shapes: list[Shape] = []
    for n, d, k, dtype in product((10**3, 10**4, 10**5, 10**6), (1, 2, 3, 8, 32, 128, 512), (5, 20, 100, 1000), DTYPES):
        if 10 * k <= n:
            digits = _digits(f"{n} {d} {k} {dtype}")
            shapes.append(Shape(n, d, k, dtype, digits % 4 == 0, "blobs" if digits & 4 else "normal"))
    return sorted(shapes, key=lambda shape: (shape.size, shape.n, shape.d, shape.dtype))


def sample(count: int, seed: int) -> list[Shape]:
    """Shapes between the grid's points: n, d and K log-uniform, 10 K ≤ n and n·d·K bounded."""
    rng, shapes = np.random.default_rng(seed), list[Shape]()
    while len(shapes) < count:
        n, d, k = (round(float(np.exp(log))) for log in rng.uniform(np.log([1e3, 1, 5]), np.log([1e6, 512, 1e3])))
        shape = Shape(n, d, k, str(rng.choice(DTYPES)), bool(rng.random() < 0.25), str(rng.choice(["normal", "blobs"])))
        if 10 * k <= n and shape.size <= SAMPLE_MOST:
            shapes.append(shape)
    return shapes


def make(shape: Shape) -> tuple[Array, Array | None, Array]:
    """Points (n, d), weights (n,) of sum 1 or None, and K distinct points as starting codes."""
    rng = np.random.default_rng(_digits(str(shape)))
    points = rng.standard_normal((shape.n, shape.d), dtype=np.dtype(shape.dtype).type)
    if shape.data == "blobs":
        # Half to twice as many blobs as codes, apart by a few of their own deviations where the dimension has room for so many.
        blobs = max(1, round(shape.k * float(rng.choice([0.5, 1.0, 2.0]))))
        centres = rng.standard_normal((blobs, shape.d)) * 3 * min(3.0, blobs ** (1 / shape.d))
        for first in range(0, shape.n, rows := max(1, CHUNK // shape.d)):
            block = points[first : first + rows]
            block += centres[rng.integers(blobs, size=len(block))].astype(shape.dtype)
    masses = rng.exponential(size=shape.n) if shape.weighted else None
    weights = masses if masses is None else masses / masses.sum()
    while True:
        codes = points[rng.choice(shape.n, shape.k, replace=False)].copy()
        if len(np.unique(codes, axis=0)) == shape.k:
            return points, weights, codes


def _digits(text: str) -> int:
    """Digits that depend on every letter: of a checksum like CRC-32 those of float32 and float64 would be tied to each other."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


class Budget:
    """Seconds that are left of a limit, and the share of each of the shapes that are left."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end = clock, clock() + seconds

    def left(self) -> float:
        return self._end - self._clock()

    def allows(self, shape: Shape) -> bool:
        return shape.expected_seconds() <= self.left()

    def spent_after(self, shapes: int) -> Callable[[], bool]:
        """Asked by a shape between rounds: whether it has had its share of what ``shapes`` shapes have left."""
        end = self._clock() + self.left() / shapes
        return lambda: self._clock() >= end


def free_memory() -> int:
    """Bytes that can be had without swapping."""
    available = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(available.split()[1]) * 1024


def fits(shape: Shape, free: int) -> bool:
    return shape.bytes() <= MEMORY_SHARE * free


def shape_of(row: Row) -> Shape:
    return Shape(**{field.name: row[field.name] for field in fields(Shape)})


def load(path: Path) -> list[Row]:
    """The rows of a file, one JSON object a line; a line that a killed run left torn is passed over."""
    rows: list[Row] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def save(path: Path, shape: Shape, row: Row) -> Row:
    """Append a row to the file, on a line of its own whatever a killed run left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = asdict(shape) | row
    with path.open("a+b") as file:
        file.seek(max(0, file.tell() - 1))
        torn = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * torn + json.dumps(row).encode() + b"\n")
    return row


def pending(shapes: Iterable[Shape], rows: Iterable[Row], attempt: int) -> list[Shape]:
    """Shapes that are still to be measured: all at the first attempt, those that were slow at the second."""
    seen = {(shape_of(row), row["attempt"]): row for row in rows}
    if attempt == 1:
        return [shape for shape in shapes if (shape, 1) not in seen]
    first = {shape: seen.get((shape, 1), {}) for shape in shapes}
    return [shape for shape, row in first.items() if row.get("ratio", 0) > AGAIN and (shape, attempt) not in seen]

"""What a first call costs above the second, in a fresh process whose NUMBA_CACHE_DIR is empty.

``python -m benchmarks.shapes.first_call NUMBER`` is one such process; it prints the seconds of two calls as JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Any

import numpy as np

import quantization as qz

IMPORT = "import time; begun = time.perf_counter(); import quantization; print(time.perf_counter() - begun)"

CASES: list[tuple[str, float, Any]] = [  # a goal in seconds, and the call
    ("quantize 1000 × 2, K = 5", 3, lambda: qz.quantize(x(1000, 2), 5, rng=0)),
    ("quantize 100,000 × 1, K = 20", 3, lambda: qz.quantize(x(100_000, 1), 20, rng=0)),
    ("quantize 10,000 × 1, K = 20, r = 1", 3, lambda: qz.quantize(x(10_000, 1), 20, r=1, rng=0)),
    ("quantize 100,000 × 2, K = 100", 3, lambda: qz.quantize(x(100_000, 2), 100, rng=0)),
    ("quantize 5000 × 16, K = 20", 3, lambda: qz.quantize(x(5000, 16), 20, rng=0)),
    ("quantize 10,000 × 32, K = 100, float64", 3, lambda: qz.quantize(x(10_000, 32, np.float64), 100, rng=0)),
    ("quantize 1300 × 512, K = 10, n_init = 10", 3, lambda: qz.quantize(x(1300, 512), 10, n_init=10, rng=0)),
    ("quantize 10,000 × 8, K = 20, weighted", 3, lambda: qz.quantize(qz.DiscreteMeasure(x(10_000, 8), W), 20, rng=0)),
    ("quantize a normal law on the line, K = 10", 3, lambda: qz.quantize(qz.Gaussian([0.0], [[1.0]]), 10, rng=0)),
    ("quantize a Gaussian in the plane, K = 10", 3, lambda: qz.quantize(qz.Gaussian(np.zeros(2), np.eye(2)), 10, rng=0)),
    ("quantize_many 100 × (300 × 8), K = 10", 3, lambda: qz.quantize_many(x(30_000, 8).reshape(100, 300, 8), 10, rng=0)),
    ("barycenter of 3 × (100 × 2), K = 10", 3, lambda: qz.barycenter(x(300, 2).reshape(3, 100, 2), 10, rng=0)),
    ("wasserstein 200 × 2 to 300 × 2", 1, lambda: qz.wasserstein(x(200, 2), x(300, 2))),
    ("OptimalQuantizer.fit 2000 × 8, K = 8", 3, lambda: qz.OptimalQuantizer(8, random_state=0).fit(x(2000, 8))),
]
W = np.tile([0.5e-4, 1.5e-4], 5000)


def x(n: int, d: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(0).standard_normal((n, d), dtype=dtype)


def two_calls(number: int) -> list[float]:
    """Seconds of the first and the second call; drawing the data is in both, and takes milliseconds."""
    seconds: list[float] = []
    for _ in range(2):
        begun = time.perf_counter()
        CASES[number][2]()
        seconds.append(time.perf_counter() - begun)
    return seconds


def measured(number: int) -> list[float]:
    """``two_calls`` in a process of its own with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        return json.loads(_python(["-m", "benchmarks.shapes.first_call", str(number)], NUMBA_CACHE_DIR=cache))


def import_seconds(rounds: int = 5) -> float:
    """``import quantization`` in fresh processes, the median."""
    return median(float(_python(["-c", IMPORT])) for _ in range(rounds))


def _python(arguments: list[str], **environment: str) -> str:
    run = subprocess.run([sys.executable, *arguments], env=os.environ | environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {run.returncode}:\n{run.stderr}")
    return run.stdout.splitlines()[-1]


if __name__ == "__main__":
    print(json.dumps(two_calls(int(sys.argv[1]))))

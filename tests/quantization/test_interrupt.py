"""Ctrl-C is answered within a second or so, in the middle of whatever is computed.

The small call compiles what the long one needs: while numba compiles, Python may drop the interrupt in a finalizer of llvmlite's.
"""

import signal
import subprocess
import sys
import threading
import time

import pytest

pytestmark = pytest.mark.slow

CHILD = """
import numpy as np
import quantization as qz

def x(n, d, dtype=np.float32):
    return np.random.default_rng(0).standard_normal((n, d), dtype=dtype)

def run(small):
    {call}

run(True)
print("begun", flush=True)
try:
    while True:
        run(False)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
CALLS = {
    "Lloyd, few dimensions": "qz.quantize(x(2000 if small else 10**6, 8), 5 if small else 1000, init='random', rng=0)",
    "Lloyd, an order of points": "qz.quantize(x(20_000 if small else 10**6, 2), 300 if small else 20_000, init='random', rng=0)",
    "k-means++": "qz.quantize(x(60_000 if small else 10**6, 8), 20 if small else 2000, max_iter=1, rng=0)",
    "the line": "qz.quantize(x(100_000 if small else 10**6, 1, float), 10 if small else 10_000, rng=0)",
    "the line, another order": "qz.quantize(x(2000 if small else 50_000, 1, float), 5, r=1.5, init='global', rng=0)",
    "transport": "qz.wasserstein(x(100 if small else 6000, 3, float), x(100 if small else 6000, 3, float)[::-1] ** 3)",
    "transports in threads": "qz.barycenter([x(50 if small else 5000, 3) + j for j in range(4)], 20 if small else 2000, rng=0,"
    " atom_weights='uniform')",
    "the plane": "qz.quantize(qz.Gaussian(np.zeros(2), np.eye(2)), 2 if small else 200, rng=0)",
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to a child as on POSIX")
@pytest.mark.parametrize("call", CALLS)
def test_an_interrupt_is_answered_within_a_second(call):
    child = subprocess.Popen([sys.executable, "-c", CHILD.format(call=CALLS[call])], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    deadline = threading.Timer(120, child.kill)
    deadline.start()
    try:
        assert child.stdout.readline() == "begun\n"
        time.sleep(1.5)
        sent = time.perf_counter()
        child.send_signal(signal.SIGINT)
        answer = child.stdout.readline()
        waited = time.perf_counter() - sent
    finally:
        deadline.cancel()
        child.kill()
        child.wait()
        child.stdout.close()
    assert answer == "interrupted\n"
    assert waited < 1.5

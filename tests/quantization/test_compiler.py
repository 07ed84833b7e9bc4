"""What is compiled: loops over points as vectors; garbage is collected again afterwards, whatever came of it."""

import gc
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_after_compiling_as_before(collects):
    from numba.core.errors import TypingError

    from quantization.compiler import compiled

    def plain(x):
        return x + 1

    def wrong(x):
        return x.there_is_no_such_attribute

    (gc.enable if collects else gc.disable)()
    try:
        assert compiled(plain)(2) == 3
        assert gc.isenabled() == collects
        with pytest.raises(TypingError):
            compiled(wrong)(2)
        assert gc.isenabled() == collects
    finally:
        gc.enable()


_SCANS = """
import re
import numpy as np
from quantization.assignment import low_dim_kernels, make_strategy

for dim in (1, 2, 3, 8):
    points = np.random.default_rng(0).normal(size=(1000, dim))
    make_strategy("low_dim", points, np.full(1000, 1 / 1000)).sums(points[:20])
for signature, code in low_dim_kernels.assign_rows.inspect_llvm().items():
    print(len(signature[-1]), re.search("(fma|fmul|fadd)[^\\n]*<[0-9]+ x float>", code) is not None)
"""


def test_scans_over_codes_are_vectorized(tmp_path):
    # Unless the compiler unrolls loops over coordinates before it looks at those over points, they are not: five times slower.
    fresh = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}  # code from the disk can't be looked at
    said = subprocess.run([sys.executable, "-c", _SCANS], env=fresh, capture_output=True, text=True, check=True).stdout
    assert sorted(said.splitlines()) == ["1 True", "2 True", "3 True", "8 True"]

"""Without a GPU the Triton kernels run in Triton's interpreter, which a process chooses before it imports them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="test_triton_blocks runs on the GPU")
def test_the_kernels_in_triton_interpreter():
    pytest.importorskip("triton")
    here = Path(__file__).parent
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::UserWarning:triton",
        str(here / "test_triton_blocks.py"),
    ]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=here.parents[2], timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert " skipped" not in run.stdout
    assert " passed" in run.stdout

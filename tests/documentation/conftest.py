"""The site, built once without running the gallery."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the site's pages; warnings are errors."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    made = shutil.ignore_patterns("gallery", "generated", "backreferences")  # what builds leave
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=made)
    for name in ("benchmarks", "deploy", "distill", "quantization", "theory_checks"):  # what pages link to
        (folder / name).symlink_to(ROOT / name)
    options = ["-W", "--keep-going", "-q", "-b", "html", "-D", "plot_gallery=0", "-d", "doctrees"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DOCS_REF": "refs/heads/main"}  # as it is published
    command = [sys.executable, "-m", "sphinx", *options, "docs", "html"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder / "html"

"""What a table says of its machine, and how tables get into a page."""

import os
import platform
import re
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def updated(page: str, parts: list[str]) -> str:
    """The page with these tables in the place of those of the same titles, the others kept."""
    head, rest = page.split(BEGIN)
    kept, tail = rest.split(END)
    before = [part for part in re.split(r"\n\n(?=### )", kept.strip()) if part]
    body = "\n\n".join({part.split("\n")[0]: part for part in [*before, *parts]}.values())
    return f"{head}{BEGIN}\n{body}\n{END}{tail}"


def machine(packages: Iterable[str]) -> str:
    """When and where: the date, the processor and the versions of these packages, where they are installed."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    versions = ", ".join(f"{name} {number}" for name in packages if (number := installed(name)))
    cores = len(os.sched_getaffinity(0))
    where = f"{time.strftime('%Y-%m-%d', time.gmtime())}, {model or platform.machine()}, {cores} shared cores, two threads"
    return f"{where}, Python {platform.python_version()}, {versions}."


def installed(name: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None

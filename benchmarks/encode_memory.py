"""What memory encoding takes as a data set grows: `python -m benchmarks.encode_memory FOLDER_OF_TAESD`.

For each count a tree of that many small JPEGs of noise is written (20 files, the others hard links), validated and encoded by the
stages that recipes use, in a process of its own with one thread; the figure is the highest resident memory of a part. It is to
stay flat from 2,000 images, one shard, to 20,000.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from distill.engines.worker import make_part
from distill.graph import build
from distill.pipeline.environment import ONE_THREAD, peak_memory
from distill.pipeline.store import Store
from distill.recipe import check, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codec", type=Path, help="a folder that AutoencoderTiny.from_pretrained reads, such as TAESD's")
    parser.add_argument("--images", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--size", type=int, default=32, help="pixels a side of what the codec sees")
    options = parser.parse_args()
    print("| images | peak, MB |\n|---|---|")
    for count in options.images:
        print(f"| {count:,} | {peak(options.codec, count, options.size) / 1e6:.0f} |", flush=True)


def peak(codec: Path, count: int, size: int = 32) -> int:
    """The highest resident memory, in bytes, of validating and encoding ``count`` images of one class."""
    with tempfile.TemporaryDirectory() as place:
        _write(Path(place), count)
        recipe = read("digits").model_dump() | {"seeds": [0], "methods": ["ddoq"], "prior": {"source": "none"}}
        recipe["data"] = {"source": "folder", "path": f"{place}/data", "size": size}
        recipe["codec"] = {"source": "pretrained", "kind": "AutoencoderTiny", "path": str(codec.resolve())}
        measure = "from benchmarks.encode_memory import measured; measured()"
        work = [sys.executable, "-c", measure, f"{place}/run", json.dumps(recipe)]
        done = subprocess.run(work, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def measured() -> None:
    """In the process that is measured: make the parts of the recipe on the command line, and print the peak."""
    store, highest = Store(Path(sys.argv[1])), 0
    for stage in build(check(json.loads(sys.argv[2]))):
        if stage.name in ("validate", "codec", "encode"):
            for part in stage.parts():
                make_part(store, stage, part, lambda fraction: None)
                highest = max(highest, peak_memory())
    print(highest)


def _write(place: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    sources = [place / f"{i}.JPEG" for i in range(20)]
    for source in sources:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(source)
    for split, n in (("train", count), ("val", 1)):
        folder = place / "data" / split / "n01440764"
        folder.mkdir(parents=True)
        for i in range(n):
            (folder / f"{i:05d}.JPEG").hardlink_to(sources[i % 20])


if __name__ == "__main__":
    main()

"""Real photographs through a real codec, where Imagenette and TAESD lie beside the project; and what memory encoding takes."""

from pathlib import Path

import pytest

from benchmarks import encode_memory
from distill.engines.worker import make_part
from distill.graph import build
from distill.pipeline.store import Store
from distill.recipe import read

SHARED = Path(__file__).resolve().parents[3] / "shared"
needs_shared = pytest.mark.skipif(not (SHARED / "models" / "taesd").is_dir(), reason="Imagenette and TAESD are not in ../shared")


def table(path, size, **data):
    recipe = read("digits").model_dump() | {"seeds": [0], "methods": ["ddoq"]}
    recipe["data"] = {"source": "folder", "path": str(path), "size": size, **data}
    recipe["codec"] = {"source": "pretrained", "kind": "AutoencoderTiny", "path": str(SHARED / "models" / "taesd")}
    recipe["select"] |= {"k": [2], "solver": "lloyd", "max_iter": 5}
    return recipe | {"prior": {"source": "none"}}


@needs_shared
def test_imagenette_through_taesd_and_back(tmp_path):
    """Five validation photos a class at 64 pixels: PSNR measured elsewhere as 20.3 dB on 30 such images, so far above 15."""
    import numpy as np
    import torch

    # The validation folder is the small one; two images per class are enough.
    for split in ("train", "val"):
        for folder in (SHARED / "data" / "imagenette" / "val").iterdir():
            (tmp_path / "data" / split / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[:5]:
                (tmp_path / "data" / split / folder.name / path.name).symlink_to(path)
    stages = {stage.name: stage for stage in build(read(table(tmp_path / "data", 64, subset="imagenette")))}
    store = Store(tmp_path / "run")
    for name in ("validate", "codec", "encode", "select", "decode"):
        for part in stages[name].parts():
            make_part(store, stages[name], part, lambda fraction: None)
    data, codec = stages["encode"].data, stages["codec"].load(store)
    assert data.names[:2] == ("tench", "English springer")
    photos = torch.from_numpy(data.train.read(range(len(data.train))))
    back = codec.decode(codec.encode(photos)).float()
    psnr = 10 * np.log10(255**2 / (back - photos.float()).square().mean((1, 2, 3)).numpy())
    assert psnr.mean() > 18
    decoded = store.tensors(stages["decode"], stages["decode"].parts()[0])["k2.seed0.images"]
    assert decoded.shape == (2, 3, 64, 64)


@needs_shared
@pytest.mark.slow
def test_memory_while_encoding_is_flat_in_the_number_of_images():
    peaks = {count: encode_memory.peak(SHARED / "models" / "taesd", count) for count in (2_000, 20_000)}
    # Ten shards instead of one: a list of 18,000 more names, about 3 MB, and what the allocator keeps.
    assert peaks[20_000] < peaks[2_000] + 32e6, peaks

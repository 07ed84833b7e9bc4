"""What the stages make of a recipe, part after part in this process, and the images among it."""

import numpy as np
import torch

from distill.engines.worker import make_part
from distill.graph import build
from distill.pipeline.store import Store
from distill.recipe import read

WNIDS = ("n01440764", "n02102040", "n03126707")
EPS32 = float(np.finfo(np.float32).eps)


def made(table, folder, last="decode", *changes):
    """The store and the stages by name, all parts made as far as ``last``."""
    store, stages = Store(folder), build(read(table, changes))
    names = [stage.name for stage in stages]
    for stage in stages[: len(names) - names[::-1].index(last)]:
        if stage.name in ("validate", "codec", "encode", "prior", "invert", "select", "decode"):
            for part in stage.parts():
                if not store.holds(stage, part):
                    make_part(store, stage, part, lambda fraction: None)
    return store, {stage.name: stage for stage in stages}


def images_of(store, stages, key="images"):
    stage = stages["decode"]
    return torch.cat([store.tensors(stage, part)[f"k2.seed0.{key}"] for part in stage.parts()])

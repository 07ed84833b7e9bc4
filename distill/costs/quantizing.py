"""What quantizing a class's latents costs, and measuring how far the codes are from them."""

from collections.abc import Callable
from typing import Any

import numpy as np

import quantization as qz
from distill.costs.microbenchmark import Bytes, Microbenchmark, Repeated
from distill.costs.random_class import RandomClass
from distill.methods import METHODS
from distill.stages.codebooks import quantized
from distill.stages.distances import DistancesStage, w2_squared
from distill.stages.draw import draws
from distill.stages.quantize import QuantizeStage

_FEW = 100  # steps of a microbenchmark whose steps are short


def quantize(stage: QuantizeStage) -> list[Repeated]:
    """Every codebook begun, and moved for all steps but the first."""
    select, classes = stage.recipe.select, len(stage.data.classes)
    todo = draws(stage.recipe, "quantize")
    # Draws of other seeds take as long again; a GPU solves all of them in one batch.
    some = todo if stage.device != "cpu" and not select.streaming else [draw for draw in todo if draw.seed == todo[0].seed]
    law = RandomClass(-(-len(stage.data.train) // classes), stage.space.entries)
    sizes = [min(draw.k or law.n, law.held) for draw in some]
    ground = f"{law.ground}{', not read from a disk' if select.streaming else ''}"
    solves, what = classes * len(todo) / len(some), f"{classes * len(todo) // len(some):,} × {len(some)} codebooks"
    more = select.max_iter - 1
    # Lloyd's algorithm may come to rest after a step or two on noise; CLVQ takes all it is given.
    few = min(more, _FEW if select.solver == "clvq" else 1)

    def benchmark(steps: int, *, begun: bool) -> Microbenchmark:
        asked = select.model_copy(update={"max_iter": steps, "medoids": select.medoids and not begun})

        def on(device: str) -> Callable[[], Any]:
            points = law.points()
            starts = [points[:size] for size in sizes] if begun else None
            return lambda: quantized([lambda: points], sizes, range(len(sizes)), asked, device, starts=starts)

        return Microbenchmark(f"quantize/{law}/{sizes}/{asked}/{begun}", steps, on, network=False)

    begin = Repeated(solves * law.times, f"{what} begun{ground}", benchmark(1, begun=False))
    if not more:
        return [begin]
    moved = f"{what} × {more:,} more steps at most{ground}"
    return [begin, Repeated(solves * more * law.times, moved, benchmark(few, begun=True))]


def codes_disk(stage: QuantizeStage) -> Bytes:
    """Codes and masses, in float64."""
    codes, entries = stage.count(), stage.space.entries
    return Bytes(8.0 * codes * (entries + 1), f"{codes:,} codes × {entries + 1:,} numbers × 8 bytes")


def transport(stage: DistancesStage) -> list[Repeated]:
    """For every codebook the exact transports that are solved, and its distortion."""
    method, classes = METHODS[stage.method], len(stage.data.classes)
    law = RandomClass(-(-len(stage.data.train) // classes), stage.space.entries)
    moves = method.decode != "real" or stage.space is not stage.encode
    plans = 1 + moves + (method.weights == "mass")
    todo, found = draws(stage.recipe, method.select), list[Repeated]()
    for k in dict.fromkeys(draw.k for draw in todo if draw.k is not None):
        count = classes * sum(draw.k == k for draw in todo)

        def on(device: str, k: int = min(k, law.held)) -> Callable[[], Any]:
            points, rng = law.points(), np.random.default_rng(1)
            images, codes, weights = qz.DiscreteMeasure(points), rng.standard_normal((k, law.d)), rng.dirichlet(np.ones(k))
            return lambda: (qz.distortion(images, codes, rng=0), [w2_squared(images, codes, weights) for _ in range(plans)])

        benchmark = Microbenchmark(f"transport/{law}/{k}/{plans}", 1, on, network=False)
        squared = ", as if time grew with their square" if law.ground else ""  # from 5,200 to 10,400 it tripled
        what = f"{count:,} codebooks of {k} × {plans} exact transports{law.ground}{squared}"
        found.append(Repeated(count * law.times**2, what, benchmark))
    return found

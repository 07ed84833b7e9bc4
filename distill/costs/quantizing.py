"""What quantizing a class's latents costs, and measuring how far the codes are from them."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

import quantization as qz
from distill.costs.microbenchmark import Bytes, Microbenchmark, Repeated
from distill.costs.random_class import RandomClass
from distill.methods import METHODS
from distill.stages.balanced import BalancedStage
from distill.stages.codebooks import balanced, quantized
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


def codes_disk(stage: QuantizeStage | BalancedStage) -> Bytes:
    """Codes and masses, in float64."""
    codes, entries = stage.count(), stage.space.entries
    return Bytes(8.0 * codes * (entries + 1), f"{codes:,} codes × {entries + 1:,} numbers × 8 bytes")


def balanced_codes(stage: BalancedStage) -> list[Repeated]:
    """Every codebook of equal masses, from its start to its end."""
    classes, todo = len(stage.data.classes), draws(stage.recipe, stage.kind)
    law, select, found = (
        RandomClass(-(-len(stage.data.train) // classes), stage.space.entries),
        stage.recipe.select,
        list[Repeated](),
    )
    for k in dict.fromkeys(draw.k for draw in todo if draw.k is not None):
        count = classes * sum(draw.k == k for draw in todo)

        def on(device: str, k: int = min(k, law.held)) -> Callable[[], Any]:
            points = law.points()
            return lambda: balanced(points, [k], [0], select, lambda done: None)

        benchmark = Microbenchmark(f"balanced/{law}/{k}/{select}", 1, on, network=False)
        found.append(Repeated(count * law.times, f"{count:,} codebooks of {k} equal masses{law.ground}", benchmark))
    return found


def transport(stage: DistancesStage) -> list[Repeated]:
    """For every codebook its distortion and the exact transports that are solved, in its own space and in those of the images."""
    classes, own = len(stage.data.classes), stage.space.entries
    plans = Counter({own: 1 + (METHODS[stage.method].weights == "mass")})  # by dimension
    for space in stage.spaces.values():
        if space is not stage.space or METHODS[stage.method].decode != "real":
            plans[stage.data.bytes_an_image if space is None else space.entries] += 1
    todo, found = draws(stage.recipe, METHODS[stage.method].select), list[Repeated]()
    for k in dict.fromkeys(draw.k for draw in todo if draw.k is not None):
        count = classes * sum(draw.k == k for draw in todo)
        for entries, times in plans.items():
            law = RandomClass(-(-len(stage.data.train) // classes), entries)

            def on(device: str, law: RandomClass = law, k: int = min(k, law.held), times: int = times) -> Callable[[], Any]:
                points, rng = law.points(), np.random.default_rng(1)
                images, codes, weights = qz.DiscreteMeasure(points), rng.standard_normal((k, law.d)), rng.dirichlet(np.ones(k))
                return lambda: (qz.distortion(images, codes, rng=0), [w2_squared(images, codes, weights) for _ in range(times)])

            benchmark = Microbenchmark(f"transport/{law}/{k}/{times}", 1, on, network=False)
            squared = ", as if time grew with their square" if law.ground else ""  # from 5,200 to 10,400 it tripled
            what = f"{count:,} codebooks of {k} × {times} exact transports in {entries:,} dimensions{law.ground}{squared}"
            found.append(Repeated(count * law.times**2, what, benchmark))
    return found

"""Laws on the line with a density, frozen scipy distributions at a random place and scale."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from theory_checks.laws.case import Family, Make


def _stats() -> Any:
    from scipy import stats  # not at the top: it loads for half a second

    return stats


def _placed(name: str, shapes: Callable[[np.random.Generator], tuple[float, ...]] = lambda rng: ()) -> Make[Any]:
    """The scipy law of this name, with random shapes, location and scale."""

    def make(rng: np.random.Generator, dim: int, size: int) -> Any:
        return getattr(_stats(), name)(*shapes(rng), loc=float(3 * rng.standard_normal()), scale=float(2 ** rng.uniform(-4, 4)))

    return make


_STRICT: Mapping[str, Make[Any]] = {
    "normal": _placed("norm"),
    "logistic": _placed("logistic"),
    "Gumbel": _placed("gumbel_r"),
    "gamma": _placed("gamma", lambda rng: (float(rng.uniform(1.5, 6)),)),
    "Weibull": _placed("weibull_min", lambda rng: (float(rng.uniform(1.3, 3)),)),
    "beta": _placed("beta", lambda rng: (float(rng.uniform(1.5, 4)), float(rng.uniform(1.5, 4)))),
}

LINE = Family[Any](
    "laws on the line: normal, logistic, Gumbel, gamma, Weibull, beta, exponential, Laplace, Student",
    {
        **_STRICT,
        "exponential": _placed("expon"),
        "Laplace": _placed("laplace"),
        "Student": _placed("t", lambda rng: (float(rng.uniform(5, 9)),)),
    },
    (1,),
    (1,),
    "law",
    (2, 3, 4, 5, 6, 10, 20),
)
STRICTLY_LOG_CONCAVE = Family[Any](
    "strictly log-concave laws on the line: normal, logistic, Gumbel, gamma, Weibull, beta",
    _STRICT,
    (1,),
    (1,),
    "law",
    (2, 3, 4, 5),
)
# Those whose least distortion is K² D = const (1 + c/K + ...) early on, with a smooth density all the way down in the tails.
SMOOTH_TAILS = Family[Any](
    "laws on the line with thin tails: normal, logistic, Gumbel, gamma, exponential, Laplace, Weibull",
    {
        **{kind: _STRICT[kind] for kind in ("normal", "logistic", "Gumbel", "gamma", "Weibull")},
        "exponential": _placed("expon"),
        "Laplace": _placed("laplace"),
    },
    (1,),
    (1,),
    "law",
    (256,),
)
LAPLACE = Family[Any]("Laplace laws", {"Laplace": _placed("laplace")}, (1,), (1,), "law", (2, 4, 6, 8, 12, 20))
# Those whose partial means are elementary; see theory_checks.line.
ELEMENTARY = Family[Any](
    "the normal, exponential and uniform laws",
    {"normal": _placed("norm"), "exponential": _placed("expon"), "uniform": _placed("uniform")},
    (1,),
    (1,),
    "law",
    (5, 6, 8),
)


def _with_companion(
    name: str, companion: Callable[[tuple[float, ...]], Any], shapes: Callable[[np.random.Generator], Any]
) -> Make[Any]:
    """The standard scipy law of this name, and the law whose density is proportional to the third root of its own."""

    def make(rng: np.random.Generator, dim: int, size: int) -> Any:
        parameters = tuple(map(float, shapes(rng)))
        return getattr(_stats(), name)(*parameters, loc=0.0, scale=1.0), companion(parameters)

    return make


COMPANIONS = Family[Any](
    "normal, exponential, Laplace, gamma, Weibull and beta laws",
    {
        "normal": _with_companion("norm", lambda p: _stats().norm(scale=3**0.5), lambda rng: ()),
        "exponential": _with_companion("expon", lambda p: _stats().expon(scale=3), lambda rng: ()),
        "Laplace": _with_companion("laplace", lambda p: _stats().laplace(scale=3), lambda rng: ()),
        "gamma": _with_companion("gamma", lambda p: _stats().gamma((p[0] + 2) / 3, scale=3), lambda rng: rng.uniform(1.5, 6, 1)),
        "Weibull": _with_companion(
            "weibull_min",
            lambda p: _stats().gengamma((p[0] + 2) / (3 * p[0]), p[0], scale=3 ** (1 / p[0])),
            lambda rng: rng.uniform(1.3, 3, 1),
        ),
        "beta": _with_companion(
            "beta", lambda p: _stats().beta((p[0] + 2) / 3, (p[1] + 2) / 3), lambda rng: rng.uniform(2, 4, 2)
        ),
    },
    (1,),
    (1,),
    "law",
    (50, 100, 200),
)
NORMALS = Family[Any]("normal laws on the line", {"normal": _placed("norm")}, (1,), (1,), "law", (32, 64, 128))

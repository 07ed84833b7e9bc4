"""Codes of prescribed masses: no plan to them costs less than the distortion of the codes, whose masses are free."""

import numpy as np

import quantization as qz
from theory_checks.cells import codebook, largest_cost
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, worst
from theory_checks.laws import FINITE
from theory_checks.rounding import round_off


@claim(
    statement=r"$D_2(x) \le W_2^2(\mu, \sum_k w_k \delta_{x_k})$ for all codes x and masses w, so that at their "
    r"optima free masses do no worse than prescribed ones",
    reference="graf2000",
    laws=FINITE,
)
def prescribed_masses_cost_no_less(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$D_2(x) \le W_2^2(\mu, \sum_k w_k \delta_{x_k})$ at random codes and at those of these masses, w drawn evenly; the worst.

    The right side is the cost of the plan that ``quantize`` finds, at most $W_2^2$ but for round-off: a plan of a wrong marginal
    could cost less. Slack: two sums over n + k terms of costs, $\gamma_{n+k+d+8}$ of the largest one.
    """
    return worst(Evidence(free, prescribed, slack) for free, prescribed, slack in _costs(law, k, seed))


@prescribed_masses_cost_no_less.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The other way round: as if the masses of the cells could be chosen at no cost."""
    return worst(Evidence(prescribed, free, slack) for free, prescribed, slack in _costs(law, k, seed))


def _costs(law: qz.DiscreteMeasure, k: int, seed: int) -> list[tuple[float, float, float]]:
    """The distortion of codes, what they cost with prescribed masses, and the round-off of both."""
    rng = np.random.default_rng(seed)
    codes, masses = codebook(law, k, rng), rng.dirichlet(np.ones(k))
    found = [qz.quantize(law, k, masses=masses, init=codes, max_iter=steps, rng=seed) for steps in (0, 20)]
    return [
        (
            float(qz.distortion(law, s.points, rng=0)),
            s.distortion,
            round_off(law.size + k + law.dim + 8, largest_cost(law, s.measure)),
        )
        for s in found
    ]

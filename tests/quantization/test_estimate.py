import numpy as np
import pytest
import torch
from scipy import stats

import quantization as qz


def test_exact_on_samples(rng, brute):
    points, codes = rng.normal(size=(200, 3)), rng.normal(size=(7, 3))
    weights = rng.dirichlet(np.ones(200))
    for r in (1, 2, 3):
        found = qz.distortion(qz.DiscreteMeasure(points, weights), codes, r=r)
        truth = weights @ brute.squared(points, codes).min(1) ** (r / 2)
        assert found.low == found.value == found.high == pytest.approx(truth, rel=1e-13)
    assert qz.distortion(torch.from_numpy(points), torch.from_numpy(codes)).value == pytest.approx(
        qz.distortion(points, codes).value, rel=1e-13
    )


def test_intervals_cover_as_often_as_they_say():
    law, codes, truth = stats.norm(), [[-np.sqrt(2 / np.pi)], [np.sqrt(2 / np.pi)]], 1 - 2 / np.pi
    found = [qz.distortion(law, codes, draws=2000, seed=s, confidence=0.9) for s in range(200)]
    hits = sum(e.low <= truth <= e.high for e in found)
    # Binomial(200, 0.9) has a standard deviation of 4.3; four of them, and one for the skewness of 2000 draws.
    assert abs(hits - 180) <= 5 * 4.3


def test_draws_are_what_was_asked_for():
    class Counting:
        drawn = 0

        def sample(self, n, rng):
            self.drawn += n
            return rng.normal(size=(n, 1))

    law = Counting()
    qz.distortion(law, [[0.0]], draws=300_000)
    assert law.drawn - 1 == pytest.approx(300_000, abs=2**17)  # one probe; the last batch may be cut
    wide = qz.distortion(stats.norm(), [[0.0]], draws=1000)
    narrow = qz.distortion(stats.norm(), [[0.0]], draws=1_000_000)
    # The standard error falls like the root of the draws; its own estimate is good to a tenth at 1000 draws of X².
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(np.sqrt(1000), rel=0.5)


def test_streams_give_their_first_draws():
    data = np.arange(10.0)[:, None]
    stream = qz.Stream(lambda: np.split(data, 5))
    assert qz.distortion(stream, [[0.0]]).value == pytest.approx(28.5)
    assert qz.distortion(stream, [[0.0]], draws=3).value == pytest.approx(5 / 3)


def test_a_tiny_spread_of_costs_is_seen():
    class Shell:
        def sample(self, n, rng):
            return 1 + 1e-9 * rng.normal(size=(n, 1))

    found = qz.distortion(Shell(), [[0.0]], draws=10_000)
    # The costs 1 ± 2e-9 have a standard error of 2e-11, which E[c²] - E[c]² would lose to cancellation.
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2e-11, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"points": [0.0]}, "x\\[:, None\\]"),
        ({"points": [[0.0, 1.0]]}, "dimension 1"),
        ({"confidence": 1.0}, "confidence"),
        ({"draws": 1}, "draws"),
        ({"seed": -1}, "seed"),
        ({"r": 0}, "order r"),
    ],
)
def test_refuses_misuse(arguments, hint):
    with pytest.raises(ValueError, match=hint):
        qz.distortion(**{"law": stats.norm(), "points": [[0.0]], **arguments})

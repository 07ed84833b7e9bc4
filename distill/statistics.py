r"""What a difference between methods is worth: intervals over seeds and over test images, rank correlations, sample sizes.

Seeds and test images vary independently of each other, and each interval is of one of the two alone: other seeds on the same test
images, or other test images under the same seeds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interval = tuple[float, float] | tuple[None, None]

RESAMPLES = 10_000


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    r"""$\bar x \pm t_{n-1}\, s / \sqrt n$: of the mean of n seeds; nothing for one seed. Of paired differences it is the paired t
    interval.
    """
    from scipy.stats import t

    x = np.asarray(values, float)
    if len(x) < 2:
        return None, None
    half = float(t.ppf((1 + level) / 2, len(x) - 1)) * float(x.std(ddof=1)) / len(x) ** 0.5
    return float(x.mean()) - half, float(x.mean()) + half


def bootstrap_interval(values: ArrayLike, rng: np.random.Generator, level: float = 0.95, resamples: int = RESAMPLES) -> Interval:
    """Percentiles of the mean of n values drawn with replacement, by ``resamples`` draws.

    Values come in few levels (differences of right and wrong, over few seeds), so a draw is how often each level comes: the same
    law as drawing images, for the work of levels.
    """
    levels, counts = np.unique(np.asarray(values, float), return_counts=True)
    n = int(counts.sum())
    means = rng.multinomial(n, counts / n, resamples) @ levels / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def comparison(first: Sequence[NDArray[np.bool_]], second: Sequence[NDArray[np.bool_]]) -> dict[str, Any]:
    """The difference in top-1 of two methods, first less second, whose students are paired: by seed, and by test image.

    first, second: of each seed, whether the student was right on each test image, (n,).
    """
    differences = np.stack(first).astype(float) - np.stack(second)
    seeds_low, seeds_high = t_interval(differences.mean(axis=1))
    images_low, images_high = bootstrap_interval(differences.mean(axis=0), np.random.default_rng(0))
    return {
        "difference": float(differences.mean()),
        "seeds_low": seeds_low,
        "seeds_high": seeds_high,
        "images_low": images_low,
        "images_high": images_high,
        "seeds": len(differences),
    }


def effective_size(weights: ArrayLike) -> float:
    r"""$(\sum_k w_k)^2 / \sum_k w_k^2$: of how many equally weighted images the mean has the variance."""
    w = np.asarray(weights, float)
    return float(w.sum() ** 2 / np.square(w).sum())


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's, of pairs; None of fewer than three pairs, and where one of the two does not vary."""
    from scipy.stats import spearmanr

    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)


def predictions(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How sets rank by each row's ``distances`` beside ``top1_mean``: for each space and regime of labels.

    Over all budgets (``ipc`` None) and within each, where at least three sets have the distance. All images are no set.
    """
    found: list[dict[str, Any]] = []
    known = [row for row in rows if row["ipc"] is not None]
    for space in known[0]["distances"] if known else ():
        for labels in dict.fromkeys(row["labels"] for row in known):
            sets = [row for row in known if row["labels"] == labels and row["distances"][space] is not None]
            for k in (None, *sorted({row["ipc"] for row in sets})):
                some = [row for row in sets if k in (None, row["ipc"])]
                ranked = rank_correlation([row["distances"][space] for row in some], [row["top1_mean"] for row in some])
                if ranked is not None:
                    about = {"space": space, "labels": labels, "ipc": k, "sets": len(some)}
                    found.append({**about, "rank_correlation": ranked})
    return found

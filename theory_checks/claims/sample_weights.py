r"""Weights of training images: bias against variance, equal totals of classes, and pairs that are mixed."""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import codebook, host
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE
from theory_checks.network import network
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]


@claim(
    statement=r"weights $\propto w^a$, $a = 0, \frac12, 1$: the worst bias $\|w^{(a)} - w\|_1$ falls to 0, the variance of "
    r"the sample "
    r"weights rises",
    reference="tan2026",
    laws=FINITE,
)
def weights_trade_bias_for_variance(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""By enumeration of the code drawn: $E[K w_I^{(a)} F_I] = \sum_k w_k F_k$ for `mass`, a = 1, and every F.

    $w^{(a)} \propto w^a$ is a family with monotone likelihood ratios in w, so that $\sup_{|F| \le 1} |\sum_k (w^{(a)}_k - w_k)
    F_k| = \|w^{(a)} - w\|_1$ falls with a up to 1; and $\operatorname{Var}(K w_I^{(a)}) = K \sum_k (w_k^{(a)})^2 - 1$ rises, as
    its logarithm's derivative is the difference of the means of $2 \log w$ under $w^{(2a)}$ and $w^{(a)}$. Slack:
    $\gamma_{4K+10}$ of sums of K terms, K the largest.
    """
    return _trade(law, k, seed, (0.0, 0.5, 1.0))


@weights_trade_bias_for_variance.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The order reversed: `uniform` taken for unbiased, `mass` for the one of least variance."""
    return _trade(law, k, seed, (1.0, 0.5, 0.0))


def _trade(law: qz.DiscreteMeasure, k: int, seed: int, powers: tuple[float, ...]) -> Evidence:
    rng = np.random.default_rng(seed)
    measure = law.project(codebook(law, k, rng))
    net = network(law, rng)
    values, w = net.gradients(host(measure)[0])[:, 0], host(measure)[1]
    weights = [np.where(w > 0, w, 0) ** a if a else np.ones(k) for a in powers]
    weights = [v / v.sum() for v in weights]
    slack = round_off(4 * k + 10, float(k))
    unbiased = equal(float((k * weights[-1] * values).mean()), float(measure.expect(net.gradients)[0]), slack)
    biases = [float(np.abs(v - w).sum()) for v in weights]
    variances = [float(np.square(k * v).mean()) - 1 for v in weights]
    ordered = [Evidence(after, before, slack) for before, after in itertools.pairwise(biases)]
    rising = [Evidence(before, after, slack) for before, after in itertools.pairwise(variances)]
    return worst([unbiased, Evidence(biases[-1], 0.0, slack), *ordered, *rising])


@claim(
    statement=r"sample weights $w_{ck} N / C$ have mean 1 and the total $N/C$ in each of $C$ classes, and their mean loss "
    r"is that "
    r"of $\frac1C \sum_c \mu_c$",
    reference="tan2026",
    laws=FINITE,
)
def classes_have_equal_totals(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""Three classes of different sizes and numbers of codes: totals, mean, and the mean weighted gradient against the
    population's.

    The population gradient is that of the classes' own codebooks, weighted by $1/C$. Slack: $\gamma_{2N+20}$ of sums of N
    terms.
    """
    return _classes(law, k, seed, normalized=True)


@classes_have_equal_totals.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Counts in place of masses: a class weighs as much as it has samples."""
    return _classes(law, k, seed, normalized=False)


def _classes(law: qz.DiscreteMeasure, k: int, seed: int, *, normalized: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    points, masses = host(law)
    # Nested, so that even eleven points have three classes of different sizes with more points than codes.
    parts = [qz.DiscreteMeasure.from_unnormalized(points[:n], masses[:n]) for n in (law.size, law.size - 1, law.size - 2)]
    books = [part.project(codebook(part, count, rng)) for part, count in zip(parts, (k, k + 1, k + 2), strict=True)]
    total, net = sum(book.size for book in books), network(law, rng)
    shares = np.array([1 / 3] * 3 if normalized else [part.size for part in parts])
    if not normalized:
        shares = shares / shares.sum()
    samples = [share * total * host(book)[1] for share, book in zip(shares, books, strict=True)]
    slack = round_off(2 * total + 20, float(total))
    found = [equal(float(weights.sum()), total / 3, slack) for weights in samples]
    found.append(equal(float(np.concatenate(samples).mean()), 1.0, slack))
    loss = sum(float(w @ net.gradients(host(book)[0])[:, 0]) for w, book in zip(samples, books, strict=True)) / total
    found.append(equal(loss, float(np.mean([book.expect(net.gradients)[0] for book in books])), slack))
    return worst(found)


@claim(
    statement=r"CutMix: $K^2 w_i w_j$ on uniform pairs, or weight 1 on pairs drawn by weight, are unbiased; $K(\lambda w_i "
    r"+ (1 - \lambda) w_j)$ "
    r"is not",
    reference="yun2019",
    laws=FINITE,
)
def cutmix_needs_the_product_of_weights(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$\frac1{K^2} \sum_{ij} \omega_{ij} F_{ij} = \sum_{ij} w_i w_j F_{ij}$, by enumeration of all pairs, for three λ.

    F is the gradient of the loss at the mixed image $\lambda g(z_i) + (1 - \lambda) g(z_j)$ with mixed labels; the right side
    by two nested expectations under the measure. Slack: $\gamma_{4K+30}$ of sums of K² terms below K.
    """
    return _cutmix(law, k, seed, _product)


@cutmix_needs_the_product_of_weights.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$K(\lambda w_i + (1 - \lambda) w_j)$ on uniform pairs."""
    return _cutmix(law, k, seed, _mixed)


def _product(w: FloatArray, share: float) -> FloatArray:
    """$K^2 w_i w_j$, (K, K)."""
    return len(w) ** 2 * w[:, None] * w


def _mixed(w: FloatArray, share: float) -> FloatArray:
    r"""$K(\lambda w_i + (1 - \lambda) w_j)$, (K, K)."""
    return len(w) * (share * w[:, None] + (1 - share) * w)


def _cutmix(law: qz.DiscreteMeasure, k: int, seed: int, omega: Callable[[FloatArray, float], FloatArray]) -> Evidence:
    rng = np.random.default_rng(seed)
    measure, net = law.project(codebook(law, k, rng)), network(law, rng)
    images, w = np.tanh(host(measure)[0] @ net.inner.T), host(measure)[1]
    labels, found = rng.random(k), list[Evidence]()
    for share in (0.1, 0.5, 0.8):
        mixed = share * images[:, None] + (1 - share) * images
        logits, targets = mixed @ net.theta, share * labels[:, None] + (1 - share) * labels
        loss = (1 / (1 + np.exp(-logits)) - targets) * mixed[..., 0]
        enumerated = float((omega(w, share) * loss).mean())
        nested = measure.expect(lambda _, loss=loss: np.asarray([float(measure.expect(lambda _, row=row: row)) for row in loss]))
        found.append(equal(enumerated, float(nested), round_off(4 * k + 30, float(k))))
    return worst(found)

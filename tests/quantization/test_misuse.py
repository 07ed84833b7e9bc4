"""Mistakes that are easy to make get a ValueError that says what was received, not whatever happens further down."""

import numpy as np
import pytest
import scipy.sparse
import scipy.stats

import quantization as qz

X = np.random.default_rng(0).normal(size=(30, 2))


class Odd:
    def sample(self, size):
        return np.zeros((size, 2))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: qz.quantize(scipy.stats.gamma, 2, rng=0), "law must be .* received gamma_gen"),
        (lambda: qz.quantize(Odd(), 2, rng=0), r"Odd\.sample\(1, rng\) raised TypeError"),
        (lambda: qz.quantize(lambda n: X, 2, rng=0), "law must be"),
        (lambda: qz.CLVQ(schedule=0.1), "schedule must be CountPower.* received 0.1"),
        (lambda: qz.CLVQ(schedule=qz.CountPower), "schedule must be"),
        (lambda: qz.Lloyd(rtol="a"), "rtol must be a finite number ≥ 0; received 'a'"),
        (lambda: qz.CLVQ(rtol=-1.0), "rtol must be a finite number ≥ 0; received -1.0"),
        (lambda: qz.wasserstein(qz.DiscreteMeasure(X), qz.DiscreteMeasure(X), method="exact"), "received 'exact'"),
        (lambda: qz.wasserstein(qz.DiscreteMeasure(X), qz.DiscreteMeasure(X), method=qz.NetworkSimplex), "method must be"),
        (lambda: qz.distortion(X, X[:2], confidence="a", rng=0), "confidence must lie .* received 'a'"),
        (
            lambda: qz.quantize(np.ma.masked_greater(X, 1), 2, rng=0),
            "no masked entries; received a masked array. Drop or fill these entries",
        ),
        (
            lambda: qz.DiscreteMeasure(scipy.sparse.csr_array(X)),
            r"a CSR matrix; received csr_array\. .* points\.toarray\(\) elsewhere",
        ),
        (lambda: qz.quantize(scipy.sparse.csc_matrix(X), 2, rng=0), r"a CSR .* csc_matrix\. Write points\.tocsr\(\)"),
        (lambda: qz.quantize(scipy.sparse.csr_array(X), 2, r=1, rng=0), "sparse samples are for r = 2; received r = 1"),
        (
            lambda: qz.quantize(X, 2, r=1, solver=qz.Newton(), rng=0),
            r"received samples in dimension 2\. Use Lloyd\(\) or CLVQ\(\)",
        ),
        (lambda: qz.DiscreteMeasure(X).sample(3, 0), "rng must be a numpy Generator.* received 0"),
    ],
)
def test_misuse_is_told_what_was_received(act, words):
    with pytest.raises(ValueError, match=words):
        act()


def test_a_text_file_is_no_measure(tmp_path):
    (tmp_path / "notes.npz").write_text("not an array")
    with pytest.raises(ValueError, match=r"notes\.npz is not a saved DiscreteMeasure"):
        qz.DiscreteMeasure.load(tmp_path / "notes.npz")

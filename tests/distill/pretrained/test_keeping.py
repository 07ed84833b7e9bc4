"""Models and batches on a device: kept while asked for, halved until they fit."""

from collections import OrderedDict

import pytest
import torch

from distill.models.batches import Batches
from distill.models.model_cache import cached


def test_models_are_made_once_and_the_one_not_asked_for_longest_goes(monkeypatch):
    monkeypatch.setattr("distill.models.model_cache._cached", OrderedDict())
    made = []
    for key in (1, 2, 3, 4, 1, 5, 1, 3, 2):
        assert cached(key, lambda key=key: made.append(key) or key) == key
    assert made == [1, 2, 3, 4, 5, 2]


@pytest.mark.parametrize("fits", [1, 3, 8, 100])
def test_batches_halve_until_they_fit_and_nothing_is_lost(fits):
    sizes = []

    def work(some):
        if some.stop - some.start > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(some.stop - some.start)
        return list(range(some.start, some.stop))

    assert [i for batch in Batches(16).of(work, 37) for i in batch] == list(range(37))
    assert max(sizes) <= fits


def test_one_that_does_not_fit_alone_is_reported():
    def work(some):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        list(Batches(4).of(work, 3))
    with pytest.raises(RuntimeError, match="shapes"):
        list(Batches(4).of(lambda some: (_ for _ in ()).throw(RuntimeError("shapes")), 3))


def test_memory_runs_out_once_and_not_again_for_every_class():
    asked, batches = [], Batches(32)

    def work(some):
        asked.append(some.stop - some.start)
        if asked[-1] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(some.start, some.stop))

    for _ in range(3):
        assert [i for batch in batches.of(work, 9) for i in batch] == list(range(9))
    assert asked == [9, 5, *[3, 3, 3] * 3]

"""Problems for batches, and the answers of each one alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import quantization as qz
from quantization.iteration import solve_tasks
from quantization.solvers import lloyd
from quantization.task import make_task


@pytest.fixture
def ragged(rng):
    """Measures of several sizes, weights and dtypes' worth of noise; one dimension for all."""

    def make(dtype, dim, sizes=(60, 70, 56, 40, 25, 66)):
        arrays = [torch.from_numpy(rng.normal(size=(n, dim)) + 3).to(dtype) for n in sizes]
        weights = rng.dirichlet(np.ones(sizes[0])) * (rng.random(sizes[0]) > 0.2)
        return [qz.DiscreteMeasure.from_unnormalized(arrays[0], weights), *arrays[1:]]

    return make


@pytest.fixture
def solved(monkeypatch):
    """Both ways of one call: the batch's answers, and those of quantize one by one."""

    def solve(measures, ks, *, seeds=None, solver=None, start=None, restarts=1, max_iter=12):
        seeds = range(len(measures)) if seeds is None else seeds
        tasks, alone = [], []
        for measure, k, seed in zip(measures, ks, seeds, strict=True):
            tasks.append(make_task(measure, k, 2.0, solver, start, restarts, seed, max_iter))
            alone.append(qz.quantize(measure, k, rng=seed, solver=solver, init=start, n_init=restarts, max_iter=max_iter))
        with monkeypatch.context() as patch:
            patch.setattr(lloyd, "BATCHED_DEVICES", {"cpu"})
            return SimpleNamespace(together=solve_tasks(tasks), alone=alone)

    return solve

"""Microbenchmarks of what is no network: quantizing, exact transport, reading images."""

import time

import pytest
import torch

import quantization as qz
from distill.costs import Microbenchmark, cost
from distill.costs.measure import timed
from distill.costs.random_class import RandomClass
from distill.estimate import estimate
from distill.graph import build
from distill.images.pixels import Unreadable
from distill.pipeline.store import Store
from distill.recipe import read
from quantization.threads import available


@pytest.fixture
def recipe(table):
    return table | {"methods": ["ddoq", "random"]}


def test_what_is_no_network_is_timed_in_one_thread():
    seen = []

    def on(device):
        def run():
            seen.append((device, available()))
            time.sleep(0.01)

        return run

    found = timed(Microbenchmark("no network", 4, on, network=False), "cpu")
    assert found.operations is None
    assert 0.0025 <= found.seconds < 0.025
    assert set(seen) == {("cpu", 1)}


def test_what_is_no_network_is_timed_on_the_cpu_where_no_gpu_is(recipe, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("its device is here")
    select = next(s for s in build(read(recipe, ["compute.device=cuda"])) if s.title == "select quantize")
    found = estimate(select, Store(tmp_path))
    assert found.hours == pytest.approx(
        sum(work.times * timed(work.microbenchmark, "cpu").seconds for work in cost(select)) / 3600
    )
    assert "timed on the CPU, as no GPU is here" in found.ground
    assert found.memory is None


@pytest.fixture
def solves(monkeypatch):
    """What quantization is asked for: points, codes, solver, steps, restarts, whether a start was given."""
    asked, real = [], qz.quantize_many

    def watched(laws, k, *, solver, init, max_iter, n_init, **rest):
        for law in laws:
            asked.append((law.points.shape, k, type(solver).__name__, max_iter, n_init, init is not None))
        return real(laws, k, solver=solver, init=init, max_iter=max_iter, n_init=n_init, **rest)

    monkeypatch.setattr(qz, "quantize_many", watched)
    return asked


@pytest.mark.parametrize(("solver", "few"), [("lloyd", 1), ("clvq", 39)])
def test_quantizing_is_timed_as_it_is_done(recipe, solves, solver, few):
    """A class of 5 at 4 × 16 × 16 entries: begun once under every seed, and moved on for all but the first of the steps."""
    settings = [f"select.solver={solver}", "select.k=[2, 3]", "seeds=[0, 1]", "select.max_iter=40", "select.n_init=2"]
    select = next(stage for stage in build(read(recipe, settings)) if stage.title == "select quantize")
    begun, moved = cost(select)
    assert (begun.times, moved.times) == (3 * 2, 3 * 2 * 39)
    assert (begun.microbenchmark.batch, moved.microbenchmark.batch) == (1, few)
    assert "39 more steps at most" in moved.what
    begun.microbenchmark.on("cpu")()
    moved.microbenchmark.on("cpu")()
    name = {"lloyd": "Lloyd", "clvq": "CLVQ"}[solver]
    assert solves == [((5, 1024), k, name, steps, 2, given) for steps, given in ((1, False), (few, True)) for k in (2, 3)]


def test_streams_are_timed_as_streams(recipe, monkeypatch):
    asked, real = [], qz.quantize

    def watched(law, k, *, max_iter, **rest):
        asked.append((type(law).__name__, k, max_iter))
        return real(law, k, max_iter=max_iter, **rest)

    monkeypatch.setattr(qz, "quantize", watched)
    settings = ["select.solver=clvq", "select.streaming=true", "select.max_iter=8"]
    select = next(stage for stage in build(read(recipe, settings)) if stage.title == "select quantize")
    for work in cost(select):
        work.microbenchmark.on("cpu")()
        assert "not read from a disk" in work.what
    assert asked == [("Stream", 2, 1), ("Stream", 2, 7)]


def test_one_step_is_a_beginning(recipe):
    select = next(stage for stage in build(read(recipe, ["select.max_iter=1"])) if stage.title == "select quantize")
    assert [work.times for work in cost(select)] == [3]


def test_a_class_too_large_for_a_microbenchmark_is_taken_in_part():
    small, large = RandomClass(1300, 4096), RandomClass(10**6, 4096)
    assert (small.held, small.times, small.ground) == (1300, 1, "")
    assert large.held * 4096 == 2**25
    assert large.held * large.times == 10**6
    assert "8,192 of 1,000,000 images per class timed" in large.ground
    assert RandomClass(3, 2).points().shape == (3, 2)


def test_transports_are_counted_as_they_are_made(finished, monkeypatch):
    """Those that are solved of a class: to codes, to decoded images, and where weights are masses to codes of equal ones."""
    solved, real = [], qz.wasserstein

    def watched(*given):
        solved.append(given)
        return real(*given)

    monkeypatch.setattr(qz, "wasserstein", watched)
    store, by_title = Store(finished.folder), {stage.title: stage for stage in build(finished.recipe)}
    for title, plans in (("ddoq", 3), ("uniform", 2), ("random", 1), ("nearest", 1), ("full", 0)):
        stage = by_title[f"distances {title}"]
        solved.clear()
        stage.make(stage.parts()[0], store, lambda fraction: None)
        made = len(solved)
        works = cost(stage)
        solved.clear()
        for work in works:
            work.microbenchmark.on("cpu")()
        assert made == plans * 4 == len(solved) * 2, "budgets 1 and 3 under two seeds; a microbenchmark of each budget"
        assert [work.times for work in works] == ([20, 20] if plans else [])


def test_noise_needs_a_transport_more(recipe):
    stages = {stage.title: stage for stage in build(read(recipe, ["select.space=noise"]))}
    (work,) = cost(stages["distances random"])
    assert "× 2 exact transports" in work.what


def test_reading_is_timed_on_the_images_at_hand(recipe, tmp_path, monkeypatch):
    stages = {stage.title: stage for stage in build(read(recipe))}
    validated, images = stages["validate"], stages["images random"]
    data, seen = validated.data, []
    content = type(data.train).content

    def watched(self, position):
        seen.append(position)
        if position == 2:
            raise Unreadable("empty file")
        return content(self, position)

    monkeypatch.setattr(type(data.train), "content", watched)
    (checks,), (reads,) = cost(validated), cost(images)
    assert (checks.times, reads.times) == (len(data.train) + len(data.test), 6)
    for work in (checks, reads):
        seen.clear()
        work.microbenchmark.on("cpu")()
        assert sorted(seen) == list(range(15)), "all there are, as they are few, whatever can't be read"
    assert estimate(validated, Store(tmp_path)).hours > 0
